import Testing
import TriageBase
import TriageIO
import TriageJournal

/// A state that remembers everything it is given.
struct Recorded: RecoveryTarget {
    var snapshot: [(UInt16, [UInt8])] = []
    var records: [(UInt64, Int64, [UInt8])] = []
    var restarts = 0

    mutating func restart() {
        snapshot = []
        restarts += 1
    }

    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) {}

    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {
        snapshot.append((section, record.indices.map { record[$0] }))
    }

    mutating func journalRecord(sequence: UInt64, time: WallTime, _ payload: Span<UInt8>) {
        records.append((sequence, time.milliseconds, payload.indices.map { payload[$0] }))
    }
}

@Suite struct RoundTripTests {
    @Test func recordsAndSnapshotComeBackAsTheyWere() throws {
        let directory = try TemporaryDirectory()
        var options = StorageOptions()
        options.segmentBytes = 64 << 10
        var expected: [[UInt8]] = []
        for round in 0..<3 {
            let data = try DataDirectory(opening: directory.path, options: options)
            var state = Recorded()
            let report = try data.recover(into: &state)
            #expect(report.isFirstStart == (round == 0))
            #expect(state.records.map(\.2) == expected)
            #expect(state.records.map(\.0) == expected.indices.map { UInt64($0 + 1) })
            let journal = try data.makeJournal(after: report, time: WallTime(milliseconds: 7))
            for index in 0..<300 {
                let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: index * 2)
                let sequence = try journal.append(
                    payload.span, time: WallTime(milliseconds: Int64(index)))
                expected.append(payload)
                #expect(sequence == UInt64(expected.count))
                if index % 7 == 0 { try journal.commit() }
            }
            try journal.commit()
            #expect(journal.durableHead.sequence == UInt64(expected.count))
            journal.close()
        }
    }
}
