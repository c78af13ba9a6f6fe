// Goes through segments in order: every record's layout, the tree over them, and what remembered
// heads say about it. Hands the records out. Changes nothing, decides nothing about snapshots.

package import TriageBase
internal import TriageIO

/// A head that something durable other than the journal remembers, and that the journal must pass.
struct Checkpoint {
    let head: JournalHead
    /// The file that remembers it.
    let file: String
    /// Where its root stands there.
    var offset = 64
}

/// Takes the records of a journal, in order.
package protocol RecordVisitor: ~Copyable {
    /// Takes one record.
    ///
    /// - Throws: ``RecordRejection`` when the record makes no sense to it.
    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection)
}

/// A record that verifies as bytes, but that the state machine does not understand.
package struct RecordRejection: Error, Equatable, Sendable {
    /// What is wrong with it, for an operator.
    package var what: String

    /// Says what is wrong.
    package init(_ what: String) {
        self.what = what
    }
}

/// Where the journal stands while its segments are gone through.
struct SegmentScanner: ~Copyable {
    /// In rising order of sequence.
    private let checkpoints: [Checkpoint]
    /// The first of them that the tree has not passed.
    private var nextCheckpoint = 0
    /// The last record up to which a remembered head has the tree's root.
    private var passed: UInt64 = 0
    /// Records up to this sequence are verified but not handed out.
    private let after: UInt64
    /// The tree over everything gone through; nil before the first segment, whose header is then
    /// believed.
    private(set) var tree: MerkleTree?
    /// The leaves of the segment gone through last, as far as it was.
    private(set) var leaves: [Digest] = []
    private var scratch: [Digest] = []

    init(_ checkpoints: [Checkpoint] = [], after: UInt64 = 0) {
        self.checkpoints = checkpoints.sorted { $0.head.sequence < $1.head.sequence }
        self.after = after
    }

    /// Goes through a segment, or a piece of one, that must go on where what came before ended.
    ///
    /// - Parameters:
    ///   - segment: What was read of it.
    ///   - visitor: Takes the records.
    /// - Throws: `.dataLoss`, `.gap`, `.rejected`: at the first place that is not as it was
    ///   written; records before it were handed out.
    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ segment: borrowing SegmentContent, into visitor: inout Visitor
    ) throws(JournalError) {
        var known = 0
        var current: MerkleTree
        if segment.goesOn, let tree {
            known = leaves.count
            leaves += segment.leaves
            current = tree
        } else {
            leaves = segment.leaves
            current = try start(segment.header, segment.file)
        }
        let bytes = segment.bytes
        for batch in segment.batches {
            let end = known + Int(batch.count)
            var grown = current
            grown.append(leaves, from: known, to: end, scratch: &scratch)
            guard grown.root == bytes.loadDigest(at: batch.root) else {
                throw .dataLoss(
                    file: segment.file, offset: segment.base + batch.root,
                    what: "the root after record \(grown.size) is not that of its records")
            }
            try passCheckpoints(current, leaves, from: known, grown)
            current = grown
            known = end
            try segment.visit(batch, after: after, &visitor)
        }
        tree = current
        if let problem = segment.problem { throw problem }
    }

    /// Goes through the leaves of a segment that is not there any more.
    ///
    /// - Throws: `.dataLoss`, `.gap`.
    mutating func scan(_ file: LeavesFile) throws(JournalError) {
        let current = try start(file.header, FileName.leaves(file.header.sequence))
        var grown = current
        grown.append(file.leaves, scratch: &scratch)
        try passCheckpoints(current, file.leaves, from: 0, grown)
        tree = grown
    }

    /// Forgets where the journal stands, after something that did not verify: the next header is
    /// believed.
    mutating func forget() { tree = nil }

    /// The tree before a segment, which must be that after what came before it.
    private mutating func start(
        _ header: HeaderBlock, _ file: String
    ) throws(JournalError) -> MerkleTree {
        let first = header.sequence
        guard let start = header.tree else {
            throw .dataLoss(file: file, offset: 64, what: "it has no root")
        }
        if let tree {
            guard first == tree.size + 1 else {
                if first > tree.size + 1 { throw .gap(file: file, missing: tree.size + 1) }
                throw .dataLoss(
                    file: file, offset: 32,
                    what: "record \(first) is in the segment before it too")
            }
            guard start == tree else {
                throw .dataLoss(
                    file: file, offset: 64,
                    what: "its root before record \(first) is not that of the segment before")
            }
        }
        // Those of before are about what is not read.
        while nextCheckpoint < checkpoints.count,
            checkpoints[nextCheckpoint].head.sequence < start.size
        {
            nextCheckpoint += 1
        }
        if let contradicted = contradicted(by: start) { throw contradiction(contradicted) }
        return start
    }

    /// Compares every remembered head from behind `before` to `after` with the tree.
    private mutating func passCheckpoints(
        _ before: MerkleTree, _ leaves: [Digest], from known: Int, _ after: MerkleTree
    ) throws(JournalError) {
        guard nextCheckpoint < checkpoints.count,
            checkpoints[nextCheckpoint].head.sequence <= after.size
        else { return }
        var part = before
        while nextCheckpoint < checkpoints.count,
            checkpoints[nextCheckpoint].head.sequence < after.size
        {
            while part.size < checkpoints[nextCheckpoint].head.sequence {
                part.append(leaves[known + Int(part.size - before.size)])
            }
            if let contradicted = contradicted(by: part) { throw contradiction(contradicted) }
        }
        if let contradicted = contradicted(by: after) { throw contradiction(contradicted) }
    }

    /// Passes the heads of this size; the first one with another root.
    private mutating func contradicted(by tree: MerkleTree) -> Checkpoint? {
        while nextCheckpoint < checkpoints.count,
            checkpoints[nextCheckpoint].head.sequence == tree.size
        {
            if checkpoints[nextCheckpoint].head.root != tree.root {
                return checkpoints[nextCheckpoint]
            }
            passed = tree.size
            nextCheckpoint += 1
        }
        return nil
    }

    /// Names the records among which one is another than when the head was remembered.
    private func contradiction(_ checkpoint: Checkpoint) -> JournalError {
        let last = checkpoint.head.sequence
        let records =
            passed + 1 < last ? "one of records \(passed + 1) to \(last)" : "record \(last)"
        return .dataLoss(
            file: checkpoint.file, offset: checkpoint.offset,
            what: "its root at record \(last) is not the journal's: \(records) is not the one that "
                + "was committed")
    }
}

extension SegmentContent {
    /// Hands out the records of a batch that are behind a sequence.
    ///
    /// - Throws: `.rejected`.
    func visit<Visitor: RecordVisitor & ~Copyable>(
        _ batch: BatchPlace, after: UInt64, _ visitor: inout Visitor
    ) throws(JournalError) {
        guard batch.first + batch.count - 1 > after else { return }
        let records = bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        var sequence = batch.first
        while let record = RecordLayout(records, at: offset) {
            if sequence > after, let view = record.view(records) {
                do {
                    try visitor.journalRecord(
                        sequence: sequence, time: record.time(records), view)
                } catch {
                    throw .rejected(file: file, offset: base + offset, what: error.what)
                }
            }
            sequence += 1
            offset = record.end
        }
    }

    /// Where the record stands that is so many behind the first one after `sequence`.
    func place(ofRecord index: Int, _ sequence: UInt64) -> Int {
        let first = batches.first?.first ?? header.sequence
        let wanted = max(first, sequence + 1) + UInt64(index)
        guard let batch = batches.last(where: { $0.first <= wanted }) else { return base + end }
        let records = bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        for _ in batch.first..<wanted {
            guard let record = RecordLayout(records, at: offset) else { break }
            offset = record.end
        }
        return base + offset
    }
}
