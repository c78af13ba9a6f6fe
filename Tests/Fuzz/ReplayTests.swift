// The committed corpus through every target, then the same damaged at random from a fixed seed:
// what the fuzzer once found, and the likes of it, in every run of the tests.

import Foundation
import Testing
import TriageBase

@Suite("Fuzz targets") struct ReplayTests {
    /// The inputs of a target; the folder lies beside this file.
    private static func corpus(_ target: FuzzTarget) throws -> [String: [UInt8]] {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appending(path: "corpus/\(target.rawValue)")
        var inputs: [String: [UInt8]] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path()) {
            inputs[name] = try [UInt8](Data(contentsOf: folder.appending(path: name)))
        }
        return inputs
    }

    @Test("the corpus holds", arguments: FuzzTarget.allCases)
    func corpusHolds(target: FuzzTarget) throws {
        let inputs = try Self.corpus(target)
        #expect(!inputs.isEmpty)
        for input in inputs.values { target.run(input) }
    }

    @Test("damaged inputs hold", arguments: FuzzTarget.allCases)
    func damageHolds(target: FuzzTarget) throws {
        let inputs = try Self.corpus(target).sorted { $0.key < $1.key }.map(\.value)
        var random = SeededRandom(seed: 0xF022)
        let rounds = target == .connection ? 200 : 2_000
        for _ in 0..<rounds {
            var bytes = inputs[Int(random.next() % UInt64(inputs.count))]
            for _ in 0..<1 + random.next() % 4 { Self.damage(&bytes, &random) }
            target.run(bytes)
        }
    }

    private static func damage(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        let at = bytes.isEmpty ? 0 : Int(random.next() % UInt64(bytes.count))
        let some = Int(random.next() % 16)
        switch random.next() % 5 {
        case 0 where !bytes.isEmpty: bytes[at] ^= 1 << UInt8(random.next() % 8)
        case 1 where !bytes.isEmpty: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 2: bytes.removeSubrange(at..<min(bytes.count, at + some))
        case 3: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + some)], at: at)
        default:
            bytes.insert(
                contentsOf: (0..<some).map { _ in UInt8(truncatingIfNeeded: random.next()) }, at: at
            )
        }
    }
}
