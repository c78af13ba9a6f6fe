// The journal of a server that keeps nothing: it counts records and calls them durable. What a call
// costs over it is what it costs without a disk.

internal import TriageBase
internal import TriageJournal

/// Acknowledges at once.
final class VolatileJournal: Journal {
    private var appended: UInt64 = 0
    private var committed: UInt64 = 0
    private(set) var pendingBytes = 0

    var nextSequence: UInt64 { appended + 1 }
    var durableHead: JournalHead { JournalHead(sequence: committed, root: .zero) }
    var durableTree: MerkleTree { MerkleTree(size: committed) { _ in .zero } }

    func append(_ record: RecordParts, time: WallTime) throws(JournalError) -> UInt64 {
        appended += 1
        pendingBytes += record.body.count
        return appended
    }

    func commit() throws(JournalError) {
        committed = appended
        pendingBytes = 0
    }
}
