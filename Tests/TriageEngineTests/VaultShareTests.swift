// Who gets one of the vault's places when somebody else wants them all: on a real vault with its
// thread.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

@Suite struct VaultShareTests {
    /// Keeps answers in words, in order.
    private final class Answers: VaultSink {
        private let kept = Monitor<[String]>([])

        func deliver(_ call: UInt64, _ reply: VaultReply) {
            let word =
                switch reply {
                case .ready: "ready"
                case .failed(let failure): "\(failure)"
                case .stored: "stored"
                case .opened, .chunk, .ended, .erased: "?"
                }
            kept.change { $0.append(word) }
        }

        var all: [String] { kept.change { $0 } }
    }

    private static func start(_ directory: TempDirectory) throws -> Engine {
        var options = StorageOptions()
        options.segmentBytes = 4 << 20
        options.preparationBytesPerSecond = nil
        var secret = [UInt8](repeating: 7, count: 32)
        let key = try #require(KeyEncryptionKey(wiping: &secret))
        let engine = try Engine.open(
            directory.path, storage: options, keys: KeySource(current: key))
        engine.start()
        return engine
    }

    /// What a vault answers requests that come one after the other.
    private func answers(_ requests: [(VaultRequest, call: UInt64)]) throws -> [String] {
        let directory = try TempDirectory()
        let engine = try Self.start(directory)
        let vault = try #require(engine.vault)
        let sink = Answers()
        vault.connect(reactor: 0, sink: sink)
        for (request, call) in requests { vault.submit(request, call: call, reactor: 0) }
        engine.stop()
        return sink.all
    }

    private static let ada = Principal(spiffeID: "spiffe://triaged.example/ada")
    private static let share = Limits.evidenceStreamsPerIdentityMax

    private static func principal(_ index: Int) -> Principal {
        Principal(spiffeID: "spiffe://triaged.example/\(index)")
    }

    @Test func whoeverTakesAllPlacesThatItMay_leavesTheOthersTheirs() throws {
        let name = ObjectName(Digest(1, 2, 3, 4))
        var requests: [(VaultRequest, call: UInt64)] = (0..<Self.share).map {
            (.begin(size: 1, Self.ada), call: UInt64($0))
        }
        requests += [
            (.begin(size: 1, Self.ada), call: 100), (.open(name, Self.ada), call: 101),
            (.begin(size: 1, Self.principal(1)), call: 102),
            (.open(name, Self.principal(1)), call: 103),
        ]
        let taken = [String](repeating: "ready", count: Self.share)
        // There is no such object: that is said to who may look.
        #expect(try answers(requests) == taken + ["shareUsed", "shareUsed", "ready", "damaged"])
    }

    /// Who reads it has an open file and its key.
    @Test func whatIsErased_isReadNoFurther_andIsNoDamage() throws {
        let directory = try TempDirectory()
        let engine = try Self.start(directory)
        defer { engine.stop() }
        let vault = try #require(engine.vault)
        let replies = Monitor<[VaultReply]>([])
        let sink = Replies(replies)
        vault.connect(reactor: 0, sink: sink)
        func ask(_ request: VaultRequest, call: UInt64) -> VaultReply? {
            vault.submit(request, call: call, reactor: 0)
            return replies.wait(before: .never) { $0.isEmpty ? nil : $0.removeFirst() }
        }
        _ = ask(.begin(size: 200_000, Self.ada), call: 1)
        _ = ask(.append([UInt8](repeating: 9, count: 200_000)), call: 1)
        guard case .stored(let name, _) = ask(.finish(expected: nil), call: 1) else {
            Issue.record("not stored")
            return
        }
        for call in [2, 3] as [UInt64] { _ = ask(.open(name, Self.ada), call: call) }
        guard case .chunk = ask(.next, call: 2) else {
            Issue.record("not read")
            return
        }
        guard case .erased = ask(.erase(name), call: 4) else {
            Issue.record("not erased")
            return
        }
        for (request, call) in [
            (VaultRequest.next, 2), (.next, 3), (.open(name, Self.ada), 5),
        ] as [(VaultRequest, UInt64)] {
            guard case .failed(.erased) = ask(request, call: call) else {
                Issue.record("call \(call) was not told")
                continue
            }
        }
        #expect(vault.status.damaged == 0 && vault.status.open == 0)
    }

    private final class Replies: VaultSink {
        private let kept: Monitor<[VaultReply]>
        init(_ kept: Monitor<[VaultReply]>) { self.kept = kept }
        func deliver(_ call: UInt64, _ reply: VaultReply) { kept.change { $0.append(reply) } }
    }

    @Test func whatIsGivenUpOrStored_makesRoom() throws {
        var requests: [(VaultRequest, call: UInt64)] = (0..<Self.share).map {
            (.begin(size: 1, Self.ada), call: UInt64($0))
        }
        requests += [
            (.cancel, call: 0), (.begin(size: 1, Self.ada), call: 100), (.append([7]), call: 1),
            (.finish(expected: nil), call: 1), (.begin(size: 1, Self.ada), call: 101),
            (.begin(size: 1, Self.ada), call: 102),
        ]
        let taken = [String](repeating: "ready", count: Self.share)
        #expect(
            try answers(requests)
                == taken + ["ready", "ready", "stored", "ready", "shareUsed"])
    }

    @Test func allPlacesTogether_areBounded() throws {
        let requests: [(VaultRequest, call: UInt64)] = (0...Limits.evidenceStreamsMax).map {
            (.begin(size: 1, Self.principal($0)), call: UInt64($0))
        }
        let taken = [String](repeating: "ready", count: Limits.evidenceStreamsMax)
        #expect(try answers(requests) == taken + ["busy"])
    }
}
