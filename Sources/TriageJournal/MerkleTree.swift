// The tree over all records as its frontier: what it takes to add leaves and to know the root
// (FORMAT.md §7). Knows nothing of what a leaf stands for, nor of where old leaves are kept.

package import TriageBase
internal import TriageIO

/// A Merkle tree of RFC 9162, reduced to the roots of the perfect subtrees that it consists of.
///
/// A value of a fixed size without references: it is copied at each commit, and an allocation there
/// would cost more than the bytes.
///
/// Source: RFC 9162 §2.1
package struct MerkleTree: Sendable {
    /// Leaves; the sequence of the last record.
    package private(set) var size: UInt64
    /// Where bit k of `size` is set: the root of the perfect subtree of 2^k leaves.
    private var subtrees: InlineArray<64, Digest>

    /// The tree without leaves.
    package init() {
        size = 0
        subtrees = InlineArray(repeating: .zero)
    }

    /// The root of the tree without leaves: SHA-256 of nothing.
    package static let emptyRoot = SHA256().finalize()

    /// The hash of an inner node.
    @inline(__always)
    package static func node(_ left: Digest, _ right: Digest) -> Digest {
        SHA256.hash(prefix: 1, left, right)
    }

    /// The root.
    ///
    /// - Complexity: O(log size) hashes; O(1) between trees that share most of their leaves.
    package var root: Digest {
        var rest = size
        if rest == 0 { return Self.emptyRoot }
        var digest = subtrees[rest.trailingZeroBitCount]
        rest &= rest - 1
        while rest != 0 {
            digest = Self.node(subtrees[rest.trailingZeroBitCount], digest)
            rest &= rest - 1
        }
        return digest
    }

    /// Adds a leaf.
    package mutating func append(_ leaf: Digest) { append(subtree: leaf, level: 0) }

    /// Adds a perfect subtree of 2^level leaves.
    ///
    /// - Precondition: The size is a multiple of 2^level.
    package mutating func append(subtree root: Digest, level: Int) {
        let count: UInt64 = 1 << UInt64(level)
        precondition(size & (count - 1) == 0)
        var digest = root
        var place = level
        while size >> UInt64(place) & 1 == 1 {
            digest = Self.node(subtrees[place], digest)
            place += 1
        }
        subtrees[place] = digest
        size += count
    }

    /// Adds leaves: level by level, because the nodes of one level can be hashed two at a time.
    ///
    /// - Parameters:
    ///   - leaves: Leaf hashes.
    ///   - first: The leaves to add are those from this index on,
    ///   - end: up to this one; nil: all.
    ///   - scratch: Memory that the caller keeps from call to call; its content means nothing.
    /// - Complexity: O(count) hashes; allocates only until `scratch` has its size.
    package mutating func append(
        _ leaves: [Digest], from first: Int = 0, to end: Int? = nil, scratch: inout [Digest]
    ) {
        let end = end ?? leaves.count
        var count = end - first
        if count == 0 { return }
        scratch.removeAll(keepingCapacity: true)
        // The first place is for what a level has already.
        scratch.append(.zero)
        scratch.append(contentsOf: leaves[first..<end])
        var before = size
        size += UInt64(count)
        var level = 0
        while count > 0 {
            let start = before & 1 == 1 ? 0 : 1
            if start == 0 { scratch[0] = subtrees[level] }
            count += 1 - start
            if count & 1 == 1 { subtrees[level] = scratch[start + count - 1] }
            SHA256.hashNodes(&scratch, from: start, count: count / 2, to: 1)
            count /= 2
            before >>= 1
            level += 1
        }
    }

    // MARK: Frontier

    /// The root of the perfect subtree of 2^level leaves; nil when the tree has none such.
    package func subtree(level: Int) -> Digest? {
        size >> UInt64(level) & 1 == 1 ? subtrees[level] : nil
    }

    /// Digests in the frontier.
    package var frontierCount: Int { size.nonzeroBitCount }

    /// Gives the roots of the perfect subtrees, the largest first.
    package func forEachSubtree(_ body: (Digest) -> Void) {
        var rest = size
        while rest != 0 {
            let level = 63 - rest.leadingZeroBitCount
            body(subtrees[level])
            rest &= ~(1 << UInt64(level))
        }
    }

    /// Takes a frontier.
    ///
    /// - Parameters:
    ///   - size: Leaves.
    ///   - subtree: Gives the roots of the perfect subtrees by their place, the largest first;
    ///     called once for each bit that is set in `size`.
    package init(size: UInt64, _ subtree: (Int) -> Digest) {
        self.init()
        self.size = size
        var rest = size
        var index = 0
        while rest != 0 {
            let level = 63 - rest.leadingZeroBitCount
            subtrees[level] = subtree(index)
            rest &= ~(1 << UInt64(level))
            index += 1
        }
    }
}

extension MerkleTree: Equatable {
    package static func == (a: MerkleTree, b: MerkleTree) -> Bool {
        guard a.size == b.size else { return false }
        var rest = a.size
        while rest != 0 {
            let level = rest.trailingZeroBitCount
            if a.subtrees[level] != b.subtrees[level] { return false }
            rest &= rest - 1
        }
        return true
    }
}
