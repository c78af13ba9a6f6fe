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

    /// What a vault answers requests that come one after the other.
    private func answers(_ requests: [(VaultRequest, call: UInt64)]) throws -> [String] {
        let directory = try TempDirectory()
        var options = StorageOptions()
        options.segmentBytes = 4 << 20
        options.preparationBytesPerSecond = nil
        var secret = [UInt8](repeating: 7, count: 32)
        let key = try #require(KeyEncryptionKey(wiping: &secret))
        let engine = try Engine.open(
            directory.path, storage: options, keys: KeySource(current: key))
        engine.start()
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
