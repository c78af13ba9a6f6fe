// Proofs over the tree: that a record is in it, that one tree is the beginning of another, that a
// run of records stands in it. Values and their verification, pure; where the digests come from is
// ProofMaker's.

package import TriageBase

/// Proves that a leaf stands in a tree.
///
/// Source: RFC 9162 §2.1.3
package struct InclusionProof: Equatable, Sendable {
    /// Number of the leaf, from 0: a record's sequence less one.
    package var index: UInt64
    /// Leaves of the tree.
    package var size: UInt64
    /// What the leaf is hashed together with on the way to the root, the nearest first.
    package var path: [Digest]

    /// Takes the parts of a proof from anywhere; nothing is believed before it verifies.
    package init(index: UInt64, size: UInt64, path: [Digest]) {
        self.index = index
        self.size = size
        self.path = path
    }

    /// Whether the leaf stands in the tree of that head at the proof's place.
    ///
    /// The proof's size is believed no more than the rest: it must be the head's, because a path
    /// alone does not tell trees apart whose sizes differ.
    ///
    /// - Complexity: O(log size) hashes; constant memory.
    ///
    /// Source: RFC 9162 §2.1.3.2
    package func verifies(_ leaf: Digest, in head: JournalHead) -> Bool {
        guard size == head.sequence, index < size else { return false }
        var node = index
        var last = size - 1
        var digest = leaf
        for sibling in path {
            if last == 0 { return false }
            if node & 1 == 1 || node == last {
                digest = MerkleTree.node(sibling, digest)
                while node & 1 == 0, node != 0 {
                    node >>= 1
                    last >>= 1
                }
            } else {
                digest = MerkleTree.node(digest, sibling)
            }
            node >>= 1
            last >>= 1
        }
        return last == 0 && digest == head.root
    }
}

/// Proves that a tree is the beginning of another: nothing in it was changed, dropped or moved
/// since.
///
/// Source: RFC 9162 §2.1.4
package struct ConsistencyProof: Equatable, Sendable {
    /// Leaves of the earlier tree.
    package var from: UInt64
    /// Leaves of the later tree.
    package var to: UInt64
    /// Nodes of the later tree from which both roots follow; none when the sizes are equal, or the
    /// earlier tree is empty.
    package var path: [Digest]

    /// Takes the parts of a proof from anywhere; nothing is believed before it verifies.
    package init(from: UInt64, to: UInt64, path: [Digest]) {
        self.from = from
        self.to = to
        self.path = path
    }

    /// Whether the tree of `earlier` is the beginning of that of `later`.
    ///
    /// - Complexity: O(log size) hashes; constant memory.
    ///
    /// Source: RFC 9162 §2.1.4.2; beyond it, equal sizes and the empty tree
    package func verifies(_ earlier: JournalHead, _ later: JournalHead) -> Bool {
        guard from == earlier.sequence, to == later.sequence, from <= to else { return false }
        if from == to { return path.isEmpty && earlier.root == later.root }
        if from == 0 { return path.isEmpty && earlier.root == MerkleTree.emptyRoot }
        var rest = path[...]
        // The earlier tree's own root is left out of the path where it is one of its nodes.
        guard let first = from & (from - 1) == 0 ? earlier.root : rest.popFirst() else {
            return false
        }
        var node = from - 1
        var last = to - 1
        let level = (~node).trailingZeroBitCount
        node >>= UInt64(level)
        last >>= UInt64(level)
        var before = first
        var after = first
        for sibling in rest {
            if last == 0 { return false }
            if node & 1 == 1 || node == last {
                before = MerkleTree.node(sibling, before)
                after = MerkleTree.node(sibling, after)
                while node & 1 == 0, node != 0 {
                    node >>= 1
                    last >>= 1
                }
            } else {
                after = MerkleTree.node(after, sibling)
            }
            node >>= 1
            last >>= 1
        }
        return last == 0 && before == earlier.root && after == later.root
    }
}

/// Proves that a run of leaves stands in a tree: what the tree has before and behind it, as roots
/// of perfect subtrees.
///
/// An inclusion proof for each of many neighbours would say the same nodes over and over. Which
/// subtrees these are follows from the numbers: those before the run are its frontier (FORMAT.md
/// §7); from the run's end on always the largest that begins there, its size a power of two that
/// divides the place, and that ends within the tree.
package struct RangeProof: Equatable, Sendable {
    /// Number of the run's first leaf, from 0.
    package var first: UInt64
    /// Leaves in the run.
    package var count: UInt64
    /// Leaves of the tree.
    package var size: UInt64
    /// The subtrees before the run, from left to right.
    package var left: [Digest]
    /// The subtrees behind it, from left to right.
    package var right: [Digest]

    /// Takes the parts of a proof from anywhere; nothing is believed before it verifies.
    package init(first: UInt64, count: UInt64, size: UInt64, left: [Digest], right: [Digest]) {
        self.first = first
        self.count = count
        self.size = size
        self.left = left
        self.right = right
    }

    /// The subtrees that a run of leaves behind the first `range.lowerBound` consists of, as
    /// levels, from left to right.
    static func levels(_ range: Range<UInt64>) -> [Int] {
        var levels: [Int] = []
        var place = range.lowerBound
        while place < range.upperBound {
            let room = 63 - (range.upperBound - place).leadingZeroBitCount
            let level = min(place.trailingZeroBitCount, room)
            levels.append(level)
            place += 1 << UInt64(level)
        }
        return levels
    }

    /// Begins to verify; nil when the numbers and the counts of digests contradict each other.
    package func verifier() -> RangeVerifier? {
        let (end, isOver) = first.addingReportingOverflow(count)
        guard !isOver, end <= size, left.count == first.nonzeroBitCount,
            right.count == Self.levels(end..<size).count
        else { return nil }
        return RangeVerifier(self, end)
    }
}

/// Takes the leaves of a run, one after the other, and tells the root that follows.
package struct RangeVerifier: Sendable {
    private let proof: RangeProof
    private let end: UInt64
    private var tree: MerkleTree

    fileprivate init(_ proof: RangeProof, _ end: UInt64) {
        self.proof = proof
        self.end = end
        tree = MerkleTree(size: proof.first) { proof.left[$0] }
    }

    /// Adds the next leaf; false when there is none in the run any more.
    package mutating func append(_ leaf: Digest) -> Bool {
        guard tree.size < end else { return false }
        tree.append(leaf)
        return true
    }

    /// Whether the leaves stand in the tree of that head at the proof's place.
    package consuming func verifies(in head: JournalHead) -> Bool {
        guard tree.size == end, proof.size == head.sequence else { return false }
        for (level, digest) in zip(RangeProof.levels(end..<proof.size), proof.right) {
            tree.append(subtree: digest, level: level)
        }
        return tree.root == head.root
    }
}
