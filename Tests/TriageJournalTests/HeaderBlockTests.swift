// The header block of every kind of file: what goes in comes out, every changed bit is seen, and
// fields that mean nothing in a kind of file must be zero there.

import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct HeaderBlockTests {
    private static let cluster = ClusterID(low: 0x0706_0504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908)

    private static func tree(_ size: Int) -> MerkleTree {
        var tree = MerkleTree()
        for leaf in MerkleTreeTests.leaves(size) { tree.append(leaf) }
        return tree
    }

    /// A header of a kind in which everything is set that may be.
    private static func header(_ kind: FileKind) -> HeaderBlock {
        var header = HeaderBlock(
            kind: kind, cluster: cluster, time: WallTime(milliseconds: -1_763_800_000_000))
        switch kind {
        case .identity, .heads, .vaultKeys: break
        case .keys, .object: header.size = 7
        case .segment, .leaves:
            header.sequence = 12
            header.size = 8192
            header.tree = tree(11)
        case .snapshot, .mark:
            header.sequence = 12
            header.size = 8192
            header.tree = tree(12)
        }
        if kind == .segment || kind == .snapshot {
            header.cipher = .aes256GCM
            header.keyNumber = 3
            header.salt = Digest(1, 2, 3, 4)
        }
        return header
    }

    private static func bytes(_ header: HeaderBlock) -> [UInt8] {
        var buffer = PageBuffer(capacity: 4096)
        header.store(in: &buffer)
        return [UInt8](copying: buffer.span(0..<4096))
    }

    @Test(arguments: FileKind.allCases) func comesBack(kind: FileKind) throws {
        let header = Self.header(kind)
        let bytes = Self.bytes(header)
        #expect(try HeaderBlock(bytes.span, kind, file: "f") == header)
        for other in FileKind.allCases where other != kind {
            #expect(throws: JournalError.self) { try HeaderBlock(bytes.span, other, file: "f") }
        }
    }

    /// The magics as the page spells them.
    @Test func magicsAreTheDocumentedOnes() {
        let documented: [(FileKind, String)] = [
            (.identity, "TRIAGEID"), (.keys, "TRIAGEKY"), (.segment, "TRIAGEJL"),
            (.leaves, "TRIAGELV"), (.snapshot, "TRIAGESN"), (.heads, "TRIAGEHD"),
            (.mark, "TRIAGEMK"), (.vaultKeys, "TRIAGEVK"), (.object, "TRIAGEOB"),
        ]
        #expect(documented.count == FileKind.allCases.count)
        for (kind, magic) in documented {
            #expect(Array(Self.bytes(Self.header(kind)).prefix(8)) == Array(magic.utf8))
        }
    }

    @Test(arguments: FileKind.allCases) func everyChangedByteIsRefused(kind: FileKind) {
        let bytes = Self.bytes(Self.header(kind))
        for offset in 0..<4096 {
            var changed = bytes
            changed[offset] ^= 1 << UInt8(offset % 8)
            let given = changed
            #expect(throws: JournalError.self, "byte \(offset)") {
                try HeaderBlock(given.span, kind, file: "f")
            }
        }
        for count in [0, 1, 4095] {
            #expect(throws: JournalError.self) {
                try HeaderBlock(bytes.span.extracting(0..<count), kind, file: "f")
            }
        }
    }

    /// With the checksum made right again, so that only the rules can refuse.
    @Test(arguments: FileKind.allCases) func whatAKindHasNotMustBeZero(kind: FileKind) throws {
        let bytes = Self.bytes(Self.header(kind))
        let count = Int(bytes.span.loadUInt64(at: 128))
        let hasTree = Self.header(kind).tree != nil
        // Where nothing may stand in any kind, or not in this one.
        var forbidden = [58, 59, 136 + 32 * count, 4095]
        if !hasTree { forbidden += [32, 64, 95, 128, 136] }
        if Self.header(kind).size == 0 { forbidden.append(48) }
        if Self.header(kind).cipher == .none { forbidden += [56, 60, 96, 127] }
        for offset in forbidden {
            var changed = bytes
            changed[offset] = 2
            sealHeader(&changed, at: 0)
            let given = changed
            #expect(throws: JournalError.self, "byte \(offset)") {
                try HeaderBlock(given.span, kind, file: "f")
            }
        }
        if hasTree {
            // A root that does not follow, a frontier of another length or size.
            for offset in [64, 128, 136, 32] {
                var changed = bytes
                changed[offset] ^= 1
                sealHeader(&changed, at: 0)
                let given = changed
                #expect(throws: JournalError.self, "byte \(offset)") {
                    try HeaderBlock(given.span, kind, file: "f")
                }
            }
        }
    }
}
