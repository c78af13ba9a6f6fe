// Floods and what is counted of them (shared design, "Attacks"). The limits that need a clock are
// the owner's; here the counters that they rest on, and the limits that hold without one.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let good = HeaderFields.forever([.init(":status", "200")])

@Suite struct AbuseTests {
    @Test func rapidReset_isCounted_boundedAndEndsTheConnection() throws {
        let talk = try Conversation()
        var ended = false
        for index in 0..<3_000 where !ended {
            let id = Int32(index * 2 + 1)
            try talk.send(.headers(id, request, end: true), .reset(id, .cancel))
            #expect(talk.session.openStreamCount <= 1)
            _ = try talk.frames()
            ended = !talk.session.wantsRead || talk.session.counters.resets > 2_900
        }
        #expect(!talk.session.wantsRead, "nghttp2's own limit is the last resort")
        #expect(talk.session.counters.resets >= 1_000)
        // It refills by the time of day, which a slow machine spends here.
        #expect(talk.session.counters.resets < 2_900)
    }

    @Test func rapidResetInOneRead_usesNoMoreSlotsThanTheRead() throws {
        let session = try Conversation().session
        var bytes: [UInt8] = []
        for index in 0..<400 {
            let id = Int32(index * 2 + 1)
            bytes += Frame.headers(id, request, end: true).bytes + Frame.reset(id, .cancel).bytes
        }
        try session.receive(bytes.span)
        #expect(session.counters.resets == 400)
        #expect(session.openStreamCount == 0)
        let slots = Set(
            session.events.compactMap { event -> Int32? in
                if case .streamClosed(let stream, _) = event { stream.slot } else { nil }
            })
        #expect(slots.count == 400)
        session.clearEvents()
        try session.receive(Frame.headers(801, request, end: true).bytes.span)
        guard case .headers(let stream, _) = session.events.first else {
            Issue.record("the connection goes on")
            return
        }
        #expect(stream.slot < 400, "slots are used again")
    }

    @Test func resetsThatThePeerProvokes_areCounted() throws {
        let talk = try Conversation()
        for index in 0..<30 {
            let id = Int32(index * 6 + 1)
            try talk.send(
                .headers(id, request), .windowUpdate(id, 0x7FFF_FFFF),
                .headers(id + 2, request + [("Bad", "name")]),
                .headers(id + 4, request + [("content-length", "0")]), .data(id + 4, [1]))
            let resets = try talk.frames().filter { $0.type == 3 }
            #expect(resets.map(\.stream) == [id, id + 2, id + 4])
        }
        #expect(talk.session.counters.resetsProvoked == 90)
        #expect(talk.session.openStreamCount == 0)
    }

    @Test func pingsThatAreNotRead_floodTheQueue() throws {
        let talk = try Conversation()
        #expect(throws: HTTP2Error.flooded) {
            for _ in 0..<200 { try talk.send(.ping()) }
        }
        #expect(talk.session.counters.pings > 100)
    }

    @Test func settingsThatAreNotRead_floodTheQueue() throws {
        let talk = try Conversation()
        #expect(throws: HTTP2Error.flooded) {
            for _ in 0..<200 { try talk.send(.settings()) }
        }
        #expect(talk.session.counters.settings > 100)
    }

    @Test func pingsThatAreRead_areCounted() throws {
        let talk = try Conversation()
        for _ in 0..<500 { #expect(try talk.exchange(.ping()).answer == [.ping(ack: true)]) }
        #expect(talk.session.counters.pings == 500)
    }

    @Test func emptyAndPaddingOnlyData_areCountedInARow() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        for _ in 0..<7 { try talk.send(.data(1, [])) }
        for _ in 0..<5 { try talk.send(.data(1, [], padding: 200)) }
        #expect(talk.session.counters.emptyDataFramesInARow == 12)
        try talk.send(.data(1, [1]))
        #expect(talk.session.counters.emptyDataFramesInARow == 0)
        try talk.send(.data(1, []), .data(1, [], end: true))
        #expect(talk.session.counters.emptyDataFramesInARow == 0)
        #expect(talk.session.counters.dataFrames == 15)
    }

    @Test func cheapFrames_areCountedByKind() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        for _ in 0..<20 {
            try talk.send(
                .priority(1), .windowUpdate(1, 1), .windowUpdate(0, 1),
                Frame(type: 0xBA, flags: 0, stream: 0, payload: [1]), .settings())
            _ = try talk.frames()
        }
        let counters = talk.session.counters
        #expect(counters.priorities == 20)
        #expect(counters.windowUpdates == 40)
        #expect(counters.settings == 21)
        #expect(counters.headers == 1)
        #expect(counters.streamsOpened == 1)
    }

    @Test func settingsWithTooManyEntries_areCountedForTheOwner() throws {
        let max = Limits.settingsEntriesMax
        for (count, exceeded) in [(max, 0), (max + 1, 1), (2_730, 1)] {
            let talk = try Conversation()
            let entries = (0..<count).map { _ in (UInt16(0xFF), UInt32(0)) }
            let (happened, answer) = try talk.exchange(.settings(entries))
            #expect(happened == [.settings] && answer.map(\.type) == [4])
            #expect(talk.session.counters.settingsEntriesExceeded == exceeded, "\(count) entries")
        }
    }

    @Test func randomBytes_neverTrap() throws {
        var random = SeededRandom(seed: 0x4802_0001)
        for _ in 0..<2_000 {
            let talk = try Conversation()
            var bytes: [UInt8] = []
            for _ in 0..<1 + Int(random.next() % 12) {
                let count = Int(random.next() % 40)
                var frame = Frame(
                    type: UInt8(random.next() % 11), flags: UInt8(random.next() & 0x2D),
                    stream: Int32(random.next() % 8),
                    payload: (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) })
                if random.next() % 3 == 0 { frame = .headers(Int32(random.next() % 9), request) }
                bytes += frame.bytes
            }
            do {
                var at = 0
                while at < bytes.count {
                    let next = min(bytes.count, at + 1 + Int(random.next() % 50))
                    try talk.sendBytes(Array(bytes[at..<next]))
                    at = next
                    for stream in talk.streams.values where random.next() % 2 == 0 {
                        try talk.session.submitHeaders(
                            stream, good, endStream: random.next() % 2 == 0)
                        talk.session.submitData(
                            stream, [UInt8](repeating: 0, count: Int(random.next() % 99)))
                        talk.session.consume(stream, 10)
                        if random.next() % 3 == 0 { talk.session.endStream(stream) }
                        if random.next() % 3 == 0 { talk.session.reset(stream, .cancel) }
                    }
                    _ = try talk.output()
                }
            } catch is HTTP2Error {
                continue
            }
        }
    }
}
