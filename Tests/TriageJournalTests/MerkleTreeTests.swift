// The tree against the published vectors of Certificate Transparency, against the RFC's recursive
// definition, and against itself when leaves come in other portions.

import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct MerkleTreeTests {
    /// The leaves that the reference implementations of Certificate Transparency are tested with.
    static let entries: [[UInt8]] = [
        [], [0x00], [0x10], [0x20, 0x21], [0x30, 0x31], [0x40, 0x41, 0x42, 0x43],
        [0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        [
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D,
            0x6E, 0x6F,
        ],
    ]
    /// Their roots, by size.
    static let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]

    static func leaves(_ count: Int) -> [Digest] {
        (0..<count).map { SHA256.hash(prefix: 0, [UInt8($0 & 255), UInt8($0 >> 8)].span) }
    }

    /// The root as RFC 9162 §2.1.1 defines it.
    static func root(_ leaves: ArraySlice<Digest>) -> Digest {
        if leaves.isEmpty { return SHA256().finalize() }
        if leaves.count == 1 { return leaves[leaves.startIndex] }
        var split = 1
        while 2 * split < leaves.count { split *= 2 }
        let middle = leaves.startIndex + split
        return SHA256.hash(prefix: 1, root(leaves[..<middle]), root(leaves[middle...]))
    }

    /// Source: certificate-transparency's and certificate-transparency-go's Merkle tree tests.
    @Test func theRootsAreThePublishedOnes() {
        var tree = MerkleTree()
        #expect(tree.root.description == Self.roots[0])
        for (index, entry) in Self.entries.enumerated() {
            tree.append(SHA256.hash(prefix: 0, entry.span))
            #expect(tree.size == UInt64(index + 1))
            #expect(tree.root.description == Self.roots[index + 1])
        }
    }

    @Test func theRootIsTheDefinedOneForEverySize() {
        let leaves = Self.leaves(300)
        var tree = MerkleTree()
        for (index, leaf) in leaves.enumerated() {
            tree.append(leaf)
            #expect(tree.root == Self.root(leaves[...index]))
            #expect(tree.frontierCount == (index + 1).nonzeroBitCount)
        }
    }

    @Test func leavesThatComeTogetherMakeTheSameTree() {
        let leaves = Self.leaves(80)
        var trees = [MerkleTree()]
        for leaf in leaves {
            var next = trees[trees.count - 1]
            next.append(leaf)
            trees.append(next)
        }
        var scratch: [Digest] = []
        for start in 0...leaves.count {
            for end in start...leaves.count {
                var tree = trees[start]
                tree.append(Array(leaves[..<end]), from: start, scratch: &scratch)
                #expect(tree == trees[end], "\(start) ..< \(end)")
                #expect(tree.root == trees[end].root)
            }
        }
    }

    @Test func aTreeComesBackFromItsFrontier() {
        var tree = MerkleTree()
        for leaf in Self.leaves(70) {
            tree.append(leaf)
            var frontier: [Digest] = []
            tree.forEachSubtree { frontier.append($0) }
            #expect(frontier.count == tree.frontierCount)
            var other = MerkleTree(size: tree.size) { frontier[$0] }
            #expect(other == tree)
            frontier[0] = .zero
            #expect(MerkleTree(size: tree.size) { frontier[$0] } != tree)
            #expect(MerkleTree(size: tree.size) { frontier[$0] }.root != tree.root)
            other.append(leaf)
            #expect(other != tree)
        }
    }

    @Test func theLargestTreeHasAFrontierOfSixtyFour() {
        let tree = MerkleTree(size: .max) { SHA256.hash([UInt8($0)].span) }
        var count = 0
        tree.forEachSubtree {
            #expect($0 == SHA256.hash([UInt8(count)].span))
            count += 1
        }
        #expect(count == 64 && tree.frontierCount == 64)
    }
}
