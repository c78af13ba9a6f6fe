// Makes proofs from whoever knows the roots of perfect subtrees. Knows the shape of the tree, not
// where its digests are kept.

package import TriageBase

/// Knows the roots of the perfect subtrees of a tree.
package protocol SubtreeSource: ~Copyable {
    /// The root of the 2^level leaves from number `index` x 2^level on.
    ///
    /// - Throws: ``JournalError`` when they are not there, or cannot be read.
    mutating func subtree(level: Int, index: UInt64) throws(JournalError) -> Digest
}

extension SubtreeSource where Self: ~Copyable {
    /// The root of a run of leaves that is a part of the tree as RFC 9162 divides it: MTH(D[a:b]).
    ///
    /// - Precondition: The run is not empty and begins at a multiple of the smallest power of two
    ///   that is not below its length.
    package mutating func root(of range: Range<UInt64>) throws(JournalError) -> Digest {
        var digests = try subtrees(range)
        guard var digest = digests.popLast() else { preconditionFailure("no leaves") }
        while let left = digests.popLast() { digest = MerkleTree.node(left, digest) }
        return digest
    }

    /// The head of the tree at a size.
    package mutating func head(at size: UInt64) throws(JournalError) -> JournalHead {
        JournalHead(
            sequence: size, root: size == 0 ? MerkleTree.emptyRoot : try root(of: 0..<size))
    }

    /// Proves that leaf `index` stands in the tree of `size` leaves.
    ///
    /// - Precondition: `index` is below `size`.
    ///
    /// Source: RFC 9162 §2.1.3.1
    package mutating func inclusionProof(
        of index: UInt64, size: UInt64
    ) throws(JournalError) -> InclusionProof {
        precondition(index < size)
        var part = 0..<size
        var path: [Digest] = []
        while part.count > 1 {
            let (left, right) = Self.halves(part)
            let isLeft = index < right.lowerBound
            path.append(try root(of: isLeft ? right : left))
            part = isLeft ? left : right
        }
        path.reverse()
        return InclusionProof(index: index, size: size, path: path)
    }

    /// Proves that the tree of `from` leaves is the beginning of that of `to`.
    ///
    /// - Precondition: `from` is at most `to`.
    ///
    /// Source: RFC 9162 §2.1.4.1; beyond it, equal sizes and the empty tree
    package mutating func consistencyProof(
        from: UInt64, to: UInt64
    ) throws(JournalError) -> ConsistencyProof {
        precondition(from <= to)
        var path: [Digest] = []
        if from > 0, from < to {
            var part = 0..<to
            while part.upperBound != from {
                let (left, right) = Self.halves(part)
                let isLeft = from <= right.lowerBound
                path.append(try root(of: isLeft ? right : left))
                part = isLeft ? left : right
            }
            // Where the earlier tree is a node of the later one, who verifies has its root.
            if part.lowerBound > 0 { path.append(try root(of: part)) }
            path.reverse()
        }
        return ConsistencyProof(from: from, to: to, path: path)
    }

    /// Proves that `count` leaves from number `first` on stand in the tree of `size` leaves.
    ///
    /// - Precondition: They end within it.
    package mutating func rangeProof(
        first: UInt64, count: UInt64, size: UInt64
    ) throws(JournalError) -> RangeProof {
        precondition(first <= size && count <= size - first)
        return RangeProof(
            first: first, count: count, size: size, left: try subtrees(0..<first),
            right: try subtrees(first + count..<size))
    }

    /// The roots of the perfect subtrees that a run of leaves consists of.
    private mutating func subtrees(_ range: Range<UInt64>) throws(JournalError) -> [Digest] {
        var place = range.lowerBound
        var digests: [Digest] = []
        for level in RangeProof.levels(range) {
            digests.append(try subtree(level: level, index: place >> UInt64(level)))
            place += 1 << UInt64(level)
        }
        return digests
    }

    /// A part of more than one leaf, as the RFC splits it.
    private static func halves(_ part: Range<UInt64>) -> (Range<UInt64>, Range<UInt64>) {
        let count = part.upperBound - part.lowerBound
        let middle = part.lowerBound + 1 << UInt64(63 - (count - 1).leadingZeroBitCount)
        return (part.lowerBound..<middle, middle..<part.upperBound)
    }
}
