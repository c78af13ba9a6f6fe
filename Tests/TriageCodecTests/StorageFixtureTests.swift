// Stored bytes of every version against what is written and read today; the files are never
// overwritten.

import Foundation
import Testing
import TriageBase

@testable import TriageCodec
@testable import TriageDomain

/// Bytes that version 2 writes, and that version 1 wrote: kept for ever.
@Suite("Stored bytes") struct StorageFixtureTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures").standardized

    /// What the fixtures hold.
    ///
    /// Records of snapshots, and content, of the first release are as they
    /// were in version 1; what came with version 2 has fixtures of its own.
    static let makers: [(name: String, make: @Sendable () throws -> [[[UInt8]]])] = [
        (
            "storage-v2/journal-records",
            {
                var arbitrary = Arbitrary(seed: 2_026)
                let codec = EventCodec()
                return (0..<Arbitrary.eventKindsAtFirst * 2).map {
                    let header = arbitrary.header()
                    let record = codec.encode(
                        header, [arbitrary.event($0 % Arbitrary.eventKindsAtFirst)])
                    return [record.body] + record.sealed
                }
            }
        ),
        (
            "storage-v2/later-journal-records",
            {
                var arbitrary = Arbitrary(seed: 2_027)
                let codec = EventCodec()
                return (Arbitrary.eventKindsAtFirst..<Arbitrary.eventKinds).map {
                    let record = codec.encode(arbitrary.header(), [arbitrary.event($0)])
                    return [record.body] + record.sealed
                }
            }
        ),
        (
            "storage-v1/snapshot-records",
            {
                SnapshotCodecTests.records(
                    try SnapshotCodecTests.state(2_026, isOfFirstRelease: true)
                ).map { [$0.bytes] }
            }
        ),
        (
            "storage-v2/snapshot-records",
            { SnapshotCodecTests.records(try SnapshotCodecTests.state(2_027)).map { [$0.bytes] } }
        ),
        ("storage-v1/report-content", { [[try CaseSamples.content()]] }),
    ]

    /// A line a record: the body, then each sealed field behind a space.
    static func hex(_ records: [[[UInt8]]]) -> String {
        records.map { record in
            record.map { part in
                part.map { byte in
                    let digits = String(byte, radix: 16)
                    return digits.count == 1 ? "0" + digits : digits
                }.joined()
            }.joined(separator: " ") + "\n"
        }.joined()
    }

    @Test("they are what is written today", arguments: 0..<makers.count)
    func areWrittenToday(_ row: Int) throws {
        let (name, make) = Self.makers[row]
        let file = Self.folder.appending(path: name + ".hex")
        let written = Self.hex(try make())
        // A fixture is made once, with its format, and never again.
        if ProcessInfo.processInfo.environment["TRIAGED_MAKE_FIXTURES"] != nil,
            !FileManager.default.fileExists(atPath: file.path)
        {
            try written.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == written)
    }

    /// The lines of a fixture, as bytes.
    private func lines(_ name: String) throws -> [[[UInt8]]] {
        try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
            .split(separator: "\n").map { line in
                line.split(separator: " ", omittingEmptySubsequences: false).map { part in
                    let digits = Array(part.utf8)
                    return stride(from: 0, to: digits.count, by: 2).map {
                        (hexDigitValue(digits[$0]) ?? 0) << 4 | (hexDigitValue(digits[$0 + 1]) ?? 0)
                    }
                }
            }
    }

    @Test("records of version 1 are lifted to exactly what version 2 writes")
    func firstVersionIsLifted() throws {
        let old = try lines("storage-v1/journal-records.hex")
        let new = try lines("storage-v2/journal-records.hex")
        #expect(old.count == Arbitrary.eventKindsAtFirst * 2 && new.count == old.count)
        var record = RecordParts()
        for (before, after) in zip(old, new) {
            let payload = before[0]
            try RecordLift.lift(payload.span, into: &record)
            #expect([record.body] + record.sealed == after)
        }
    }

    @Test func areReadToday() throws {
        let records = try lines("storage-v2/journal-records.hex")
        let codec = EventCodec()
        var arbitrary = Arbitrary(seed: 2_026)
        for (index, parts) in records.enumerated() {
            var record = RecordParts()
            record.body = parts[0]
            for field in parts.dropFirst() { _ = record.seal(field) }
            let header = arbitrary.header()
            let event = arbitrary.event(index % Arbitrary.eventKindsAtFirst)
            let read = try codec.decode(record, header)
            #expect("\(read.0)" == "\(header)")
            #expect("\(read.1)" == "\([event])")
        }
    }

    @Test("a damaged record of version 1 is refused, and never traps")
    func damagedLiftNeverTraps() throws {
        let old = try lines("storage-v1/journal-records.hex")
        var arbitrary = Arbitrary(seed: 29)
        var record = RecordParts()
        var refused = 0
        for round in 0..<4_000 {
            var payload = old[round % old.count][0]
            mutate(&payload, &arbitrary)
            do { try RecordLift.lift(payload.span, into: &record) } catch { refused += 1 }
        }
        #expect(refused > 500)
    }
}
