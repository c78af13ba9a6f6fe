// Messages come out as they went in, however they were cut; wrong prefixes are refused.

import Testing
import TriageBase
import TriageGRPC

@Suite struct MessageDeframerTests {
    @Test(arguments: 1...40) func messages_cutAnywhere_comeOutWhole(chunk: Int) throws {
        let messages: [[UInt8]] = [[], [1], Array(repeating: 2, count: 30), [], [3, 4, 5]]
        let wire = messages.flatMap { frame($0) }
        var deframer = MessageDeframer()
        var out: [[UInt8]] = []
        for start in stride(from: 0, to: wire.count, by: chunk) {
            let piece = Array(wire[start..<min(start + chunk, wire.count)])
            deframer.append(piece)
            out += try deframer.drain()
        }
        #expect(out == messages)
        #expect(deframer.isAtBoundary)
        #expect(deframer.bufferedCount == 0)
    }

    @Test func randomMessages_randomCuts_comeOutWhole() throws {
        var random = SeededRandom(seed: 0x6772_7063)
        for _ in 0..<50 {
            let messages = (0..<Int(random.next() % 20)).map { _ in
                (0..<Int(random.next() % 2_000)).map { _ in UInt8(truncatingIfNeeded: random.next())
                }
            }
            let wire = messages.flatMap { frame($0) }
            var deframer = MessageDeframer()
            var out: [[UInt8]] = []
            var start = 0
            while start < wire.count {
                let end = min(wire.count, start + 1 + Int(random.next() % 700))
                let piece = Array(wire[start..<end])
                deframer.append(piece)
                if random.next() % 2 == 0 { out += try deframer.drain() }
                start = end
            }
            out += try deframer.drain()
            #expect(out == messages)
        }
    }

    @Test(arguments: [UInt8(2), 3, 127, 128, 255]) func flag_otherThan0And1_isRefused(flag: UInt8) {
        #expect(throws: DeframeError.invalidFlag(flag)) { try deframe([flag]) }
    }

    @Test func compressedFlag_withoutEncoding_isRefused() {
        #expect(throws: DeframeError.compressedWithoutEncoding) { try deframe([1, 0, 0, 0, 0]) }
    }

    @Test func length_aboveLimit_isRefusedFromThePrefixAlone() {
        #expect(throws: DeframeError.tooLarge(announced: 11, limit: 10)) {
            try deframe([0, 0, 0, 0, 11], limit: 10)
        }
    }

    @Test func length_atLimit_isTaken() throws {
        let message = [UInt8](repeating: 1, count: 10)
        let messages = try deframe(frame(message), limit: 10)
        #expect(messages == [message])
    }

    @Test func hugePromise_holdsOnlyWhatArrived() throws {
        var deframer = MessageDeframer()
        deframer.append([0, 0, 0x0F, 0xFF, 0xFF, 1, 2])
        let messages = try deframer.drain()
        #expect(messages.isEmpty)
        #expect(deframer.bufferedCount == 7)
        #expect(!deframer.isAtBoundary)
    }

    @Test func wholeMessage_isOnlyExactlyOneUncompressedMessage() {
        let good = frame([7, 8, 9])
        #expect(wholeMessage(good) == 5..<8)
        #expect(wholeMessage(good, limit: 2) == nil)
        #expect(wholeMessage(good + [0]) == nil)
        #expect(wholeMessage(Array(good.dropLast())) == nil)
        #expect(wholeMessage([1] + good.dropFirst()) == nil)
        #expect(wholeMessage(frame([])) == 5..<5)
    }

    @Test func reset_forgetsAHalfMessage() throws {
        var deframer = MessageDeframer()
        deframer.append([0, 0, 0, 0, 9, 1])
        deframer.reset()
        #expect(deframer.isAtBoundary)
        deframer.append(frame([5]))
        let messages = try deframer.drain()
        #expect(messages == [[5]])
    }
}
