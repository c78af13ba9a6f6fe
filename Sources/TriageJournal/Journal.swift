// The journal as the engine sees it: append, commit, where it stands. The file backend is one
// implementation; one on a replicated log may take its place.

package import TriageBase

/// Where a journal ends: the last record and the root of the tree over everything up to it.
package struct JournalHead: Hashable, Sendable {
    /// Sequence of the last record; 0 when there is none.
    package var sequence: UInt64
    /// Root of the tree after that record.
    package var root: Digest

    /// Names a head.
    package init(sequence: UInt64, root: Digest) {
        self.sequence = sequence
        self.root = root
    }

    /// The head of a tree.
    package init(_ tree: MerkleTree) {
        self.init(sequence: tree.size, root: tree.root)
    }
}

/// An append-only log of opaque records with group commit.
///
/// - Isolation: one thread at a time; the engine's.
package protocol Journal: AnyObject {
    /// The sequence that the next appended record gets.
    var nextSequence: UInt64 { get }
    /// The head of what is durable: every record up to it survives a power cut.
    var durableHead: JournalHead { get }
    /// The tree over what is durable.
    var durableTree: MerkleTree { get }
    /// Bytes appended since the last commit, framing included.
    var pendingBytes: Int { get }

    /// Appends one record to the commit buffer.
    ///
    /// - Returns: The record's sequence.
    /// - Throws: `.bufferFull`, `.recordTooLarge`, `.noSpace`: nothing appended, the journal is as
    ///   before; `.poisoned`.
    /// - Durability: buffered
    func append(_ record: RecordParts, time: WallTime) throws(JournalError) -> UInt64

    /// Makes everything appended durable: one write, one sync. Nothing to do is no call at all.
    ///
    /// - Throws: `.poisoned`, now and for ever after.
    /// - Durability: on disk when this returns
    func commit() throws(JournalError)
}
