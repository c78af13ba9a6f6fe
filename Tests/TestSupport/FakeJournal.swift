// A journal for tests: in memory, and it fails when it is told to.

package import TriageBase
package import TriageJournal

/// A journal in memory whose disk fails when told.
package final class FakeJournal: Journal {
    package var records: [RecordParts] = []
    package var durableCount = 0
    package var commitCount = 0
    package var appendError: JournalError?
    package var commitError: JournalError?
    /// Called at the begin of a commit.
    package var committing: () -> Void = {}

    /// Makes an empty journal.
    package init() {}

    package var nextSequence: UInt64 { UInt64(records.count) + 1 }
    package var durableHead: JournalHead {
        JournalHead(sequence: UInt64(durableCount), root: .zero)
    }
    package var durableTree: MerkleTree { MerkleTree(size: UInt64(durableCount)) { _ in .zero } }
    package var pendingBytes: Int {
        records[durableCount...].reduce(0) { $0 + $1.body.count + 1 }
    }

    package func append(_ record: RecordParts, time: WallTime) throws(JournalError) -> UInt64 {
        if let appendError { throw appendError }
        records.append(record)
        return UInt64(records.count)
    }

    package func commit() throws(JournalError) {
        committing()
        if let commitError { throw commitError }
        commitCount += 1
        durableCount = records.count
    }
}

extension Journal {
    /// Appends a record of a body alone.
    package func append(_ body: Span<UInt8>, time: WallTime) throws(JournalError) -> UInt64 {
        var record = RecordParts()
        record.body.append(copying: body)
        return try append(record, time: time)
    }
}
