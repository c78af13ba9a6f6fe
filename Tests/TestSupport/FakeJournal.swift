// A journal for tests: in memory, and it fails when it is told to.

package import TriageBase
package import TriageJournal

/// A journal in memory whose disk fails when told.
package final class FakeJournal: Journal {
    package var records: [[UInt8]] = []
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
        JournalHead(sequence: UInt64(durableCount), chain: .zero)
    }
    package var pendingBytes: Int { records[durableCount...].reduce(0) { $0 + $1.count + 1 } }

    package func append(_ payload: Span<UInt8>, time: WallTime) throws(JournalError) -> UInt64 {
        if let appendError { throw appendError }
        records.append([UInt8](copying: payload))
        return UInt64(records.count)
    }

    package func append(
        time: WallTime, reserving bytesMax: Int, _ body: (inout OutputSpan<UInt8>) -> Void
    ) throws(JournalError) -> UInt64 {
        if let appendError { throw appendError }
        records.append([UInt8](capacity: bytesMax) { body(&$0) })
        return UInt64(records.count)
    }

    package func commit() throws(JournalError) {
        committing()
        if let commitError { throw commitError }
        commitCount += 1
        durableCount = records.count
    }
}
