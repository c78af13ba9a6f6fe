// Proofs against the published vectors of Certificate Transparency, against the RFC's recursive
// definitions for every size, and against whoever changes a bit of one.

import Testing
import TriageBase
import TriageIO
import TriageJournal

/// A tree whose leaves are all in memory, as RFC 9162 §2.1.1 defines it.
struct NaiveTree: SubtreeSource {
    var leaves: [Digest]

    mutating func subtree(level: Int, index: UInt64) -> Digest {
        let start = Int(index) << level
        return MerkleTreeTests.root(leaves[start..<start + 1 << level])
    }

    func head(_ size: Int) -> JournalHead {
        JournalHead(sequence: UInt64(size), root: MerkleTreeTests.root(leaves[..<size]))
    }

    /// RFC 9162 §2.1.3.1, word for word.
    static func path(_ m: Int, _ d: ArraySlice<Digest>) -> [Digest] {
        if d.count == 1 { return [] }
        var k = 1
        while 2 * k < d.count { k *= 2 }
        let (left, right) = (d.prefix(k), d.dropFirst(k))
        return m < k
            ? path(m, left) + [MerkleTreeTests.root(right)]
            : path(m - k, right) + [MerkleTreeTests.root(left)]
    }

    /// RFC 9162 §2.1.4.1, word for word.
    static func subproof(_ m: Int, _ d: ArraySlice<Digest>, _ b: Bool) -> [Digest] {
        if m == d.count { return b ? [] : [MerkleTreeTests.root(d)] }
        var k = 1
        while 2 * k < d.count { k *= 2 }
        let (left, right) = (d.prefix(k), d.dropFirst(k))
        return m <= k
            ? subproof(m, left, b) + [MerkleTreeTests.root(right)]
            : subproof(m - k, right, false) + [MerkleTreeTests.root(left)]
    }
}

/// The digest with one bit changed.
func flipped(_ digest: Digest, bit: Int) -> Digest {
    var words = [digest.words.0, digest.words.1, digest.words.2, digest.words.3]
    words[bit / 64] ^= 1 << UInt64(bit % 64)
    return Digest(words[0], words[1], words[2], words[3])
}

@Suite struct MerkleProofTests {
    private static let sizes = 1...130
    private static let published = NaiveTree(
        leaves: MerkleTreeTests.entries.map { SHA256.hash(prefix: 0, $0.span) })

    private static func digests(_ texts: [String]) throws -> [Digest] {
        try texts.map { text in
            let digest = Digest(hexadecimal: Array(text.utf8).span)
            return try #require(digest)
        }
    }

    private static let a = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
    private static let b = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    private static let c = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
    private static let d = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
    private static let e = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
    private static let f = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    private static let g = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    private static let h = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    private static let i = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"

    /// Source: certificate-transparency's Merkle tree tests.
    @Test(arguments: [
        (0, 1, []), (0, 8, [a, b, c]), (5, 8, [d, e, f]), (2, 3, [g]), (1, 5, [h, b, d]),
    ])
    func inclusionProofsAreThePublishedOnes(index: UInt64, size: Int, path: [String]) throws {
        var tree = Self.published
        let proof = try tree.inclusionProof(of: index, size: UInt64(size))
        #expect(proof.path == (try Self.digests(path)))
        #expect(proof.verifies(tree.leaves[Int(index)], in: tree.head(size)))
    }

    /// Source: certificate-transparency's Merkle tree tests.
    @Test(arguments: [(1, 1, []), (1, 8, [a, b, c]), (6, 8, [i, e, f]), (2, 5, [b, d])])
    func consistencyProofsAreThePublishedOnes(from: Int, to: Int, path: [String]) throws {
        var tree = Self.published
        let proof = try tree.consistencyProof(from: UInt64(from), to: UInt64(to))
        #expect(proof.path == (try Self.digests(path)))
        #expect(proof.verifies(tree.head(from), tree.head(to)))
    }

    @Test func everyInclusionProofIsTheDefinedOneAndVerifies() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(300))
        for size in Array(Self.sizes) + [255, 256, 257, 300] {
            let head = tree.head(size)
            for index in 0..<size {
                let proof = try tree.inclusionProof(of: UInt64(index), size: UInt64(size))
                #expect(proof.path == NaiveTree.path(index, tree.leaves[..<size]))
                #expect(proof.verifies(tree.leaves[index], in: head))
                #expect(!proof.verifies(tree.leaves[(index + 1) % 300], in: head))
            }
        }
    }

    @Test func everyConsistencyProofIsTheDefinedOneAndVerifies() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(300))
        let heads = (0...300).map { tree.head($0) }
        for to in Array(Self.sizes) + [255, 256, 257, 300] {
            for from in 0...to {
                let proof = try tree.consistencyProof(from: UInt64(from), to: UInt64(to))
                if from > 0 {
                    #expect(
                        proof.path == NaiveTree.subproof(from, tree.leaves[..<to], true))
                }
                #expect(proof.verifies(heads[from], heads[to]))
                if from > 1 { #expect(!proof.verifies(heads[from - 1], heads[to])) }
                if from < to { #expect(!proof.verifies(heads[from], heads[to - 1])) }
            }
        }
    }

    @Test func everyRangeVerifies() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(64))
        for size in 0...64 {
            let head = tree.head(size)
            for first in 0...size {
                for end in first...size {
                    let proof = try tree.rangeProof(
                        first: UInt64(first), count: UInt64(end - first), size: UInt64(size))
                    var verifier = try #require(proof.verifier())
                    for leaf in tree.leaves[first..<end] {
                        let isTaken = verifier.append(leaf)
                        #expect(isTaken)
                    }
                    let whole = verifier
                    #expect(whole.verifies(in: head), "\(first) ..< \(end) of \(size)")
                    let isOneTooMany = verifier.append(.zero)
                    #expect(!isOneTooMany)
                }
            }
        }
    }

    @Test func everyChangedBitOfAnInclusionProofIsRefused() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(80))
        for size in [1, 2, 3, 6, 7, 8, 13, 64, 77] {
            let head = tree.head(size)
            for index in stride(from: 0, to: size, by: max(1, size / 5)) {
                let proof = try tree.inclusionProof(of: UInt64(index), size: UInt64(size))
                let leaf = tree.leaves[index]
                for place in proof.path.indices {
                    for bit in 0..<256 {
                        var changed = proof
                        changed.path[place] = flipped(proof.path[place], bit: bit)
                        #expect(!changed.verifies(leaf, in: head))
                    }
                    var shorter = proof
                    shorter.path.remove(at: place)
                    #expect(!shorter.verifies(leaf, in: head))
                    var longer = proof
                    longer.path.insert(proof.path[place], at: place)
                    #expect(!longer.verifies(leaf, in: head))
                }
                for bit in 0..<256 {
                    #expect(!proof.verifies(flipped(leaf, bit: bit), in: head))
                    var other = head
                    other.root = flipped(head.root, bit: bit)
                    #expect(!proof.verifies(leaf, in: other))
                }
                for bit in 0..<64 {
                    var changed = proof
                    changed.index ^= 1 << UInt64(bit)
                    #expect(!changed.verifies(leaf, in: head))
                    changed = proof
                    changed.size ^= 1 << UInt64(bit)
                    #expect(!changed.verifies(leaf, in: head))
                    // With the head that such a tree has, if there is one.
                    if changed.size <= 80 {
                        #expect(!changed.verifies(leaf, in: tree.head(Int(changed.size))))
                    }
                }
            }
        }
    }

    @Test func everyChangedBitOfAConsistencyProofIsRefused() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(80))
        for (from, to) in [(1, 2), (2, 3), (3, 7), (4, 7), (6, 8), (8, 64), (33, 77), (64, 77)] {
            let (earlier, later) = (tree.head(from), tree.head(to))
            let proof = try tree.consistencyProof(from: UInt64(from), to: UInt64(to))
            for place in proof.path.indices {
                for bit in 0..<256 {
                    var changed = proof
                    changed.path[place] = flipped(proof.path[place], bit: bit)
                    #expect(!changed.verifies(earlier, later))
                }
                var shorter = proof
                shorter.path.remove(at: place)
                #expect(!shorter.verifies(earlier, later))
                var longer = proof
                longer.path.insert(proof.path[place], at: place)
                #expect(!longer.verifies(earlier, later))
            }
            for bit in 0..<256 {
                var other = earlier
                other.root = flipped(earlier.root, bit: bit)
                #expect(!proof.verifies(other, later))
                other = later
                other.root = flipped(later.root, bit: bit)
                #expect(!proof.verifies(earlier, other))
            }
            for bit in 0..<64 {
                var changed = proof
                changed.from ^= 1 << UInt64(bit)
                #expect(!changed.verifies(earlier, later))
                if changed.from <= 80 {
                    #expect(!changed.verifies(tree.head(Int(changed.from)), later))
                }
                changed = proof
                changed.to ^= 1 << UInt64(bit)
                #expect(!changed.verifies(earlier, later))
                if changed.to <= 80 {
                    #expect(!changed.verifies(earlier, tree.head(Int(changed.to))))
                }
            }
        }
    }

    private func verifies(
        _ proof: RangeProof, _ leaves: ArraySlice<Digest>, _ head: JournalHead
    ) -> Bool {
        guard var verifier = proof.verifier() else { return false }
        for leaf in leaves where !verifier.append(leaf) { return false }
        return verifier.verifies(in: head)
    }

    @Test func everyChangedBitOfARangeProofIsRefused() throws {
        var tree = NaiveTree(leaves: MerkleTreeTests.leaves(80))
        for (first, end, size) in [(0, 1, 1), (3, 5, 7), (1, 2, 8), (13, 40, 77), (64, 77, 77)] {
            let head = tree.head(size)
            let leaves = tree.leaves[first..<end]
            let proof = try tree.rangeProof(
                first: UInt64(first), count: UInt64(end - first), size: UInt64(size))
            for bit in 0..<256 {
                for place in proof.left.indices {
                    var changed = proof
                    changed.left[place] = flipped(proof.left[place], bit: bit)
                    #expect(!verifies(changed, leaves, head))
                }
                for place in proof.right.indices {
                    var changed = proof
                    changed.right[place] = flipped(proof.right[place], bit: bit)
                    #expect(!verifies(changed, leaves, head))
                }
                for place in leaves.indices {
                    var changed = leaves
                    changed[place] = flipped(leaves[place], bit: bit)
                    #expect(!verifies(proof, changed, head))
                }
            }
            for bit in 0..<64 {
                for field in [\RangeProof.first, \.count, \.size] {
                    var changed = proof
                    changed[keyPath: field] ^= 1 << UInt64(bit)
                    #expect(!verifies(changed, leaves, head))
                    if changed.size <= 80 {
                        #expect(!verifies(changed, leaves, tree.head(Int(changed.size))))
                    }
                }
            }
            #expect(!verifies(proof, leaves.dropLast(), head))
            #expect(!verifies(proof, leaves + [leaves[first]], head))
            if leaves.count > 1 {
                var swapped = leaves
                swapped.swapAt(first, first + 1)
                #expect(!verifies(proof, swapped, head))
            }
        }
    }

    @Test func numbersThatContradictEachOtherAreNoProof() {
        let none = RangeProof(first: .max, count: 2, size: .max, left: [], right: [])
        #expect(none.verifier() == nil)
        let short = RangeProof(first: 3, count: 1, size: 4, left: [.zero], right: [])
        #expect(short.verifier() == nil)
        let huge = RangeProof(
            first: 0, count: 1, size: .max, left: [], right: Array(repeating: .zero, count: 126))
        #expect(huge.verifier() != nil)
        let empty = InclusionProof(index: 0, size: 0, path: [])
        #expect(!empty.verifies(.zero, in: JournalHead(MerkleTree())))
        let back = ConsistencyProof(from: 2, to: 1, path: [])
        #expect(
            !back.verifies(
                JournalHead(sequence: 2, root: .zero), JournalHead(sequence: 1, root: .zero)))
    }
}
