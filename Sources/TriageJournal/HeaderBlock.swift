// The header block that every file begins with (FORMAT.md §3): which kind of file, of which
// deployment and version, at which place of the tree. Pure: bytes in, values out.

package import TriageBase
package import TriageIO

/// What kind of file a header block begins.
package enum FileKind: CaseIterable, Sendable {
    case identity, keys, segment, leaves, snapshot, heads, mark, vaultKeys, object

    /// The magic, lowest byte first.
    var magic: UInt64 {
        let family: UInt64 =
            switch self {
            case .identity: 0x4449
            case .keys: 0x594B
            case .segment: 0x4C4A
            case .leaves: 0x564C
            case .snapshot: 0x4E53
            case .heads: 0x4448
            case .mark: 0x4B4D
            case .vaultKeys: 0x4B56
            case .object: 0x424F
            }
        return family << 48 | 0x4547_4149_5254
    }

    /// What its header must say.
    fileprivate var rules: HeaderRules {
        switch self {
        case .identity, .heads, .vaultKeys: HeaderRules()
        case .keys, .object: HeaderRules(hasSize: true)
        case .segment:
            HeaderRules(hasSize: true, isEncrypted: true, tree: .before)
        case .leaves: HeaderRules(hasSize: true, tree: .before)
        case .snapshot:
            HeaderRules(hasSize: true, isEncrypted: true, tree: .after)
        case .mark: HeaderRules(hasSize: true, tree: .after)
        }
    }
}

/// Which fields of a header mean something in a file of some kind; the others hold zeros.
private struct HeaderRules {
    enum Tree {
        /// No tree.
        case none
        /// That before the record of the header's sequence.
        case before
        /// That after it.
        case after
    }

    var hasSize = false
    /// Whether its content may be encrypted.
    var isEncrypted = false
    var tree = Tree.none
}

/// How a file's content is encrypted.
package enum Cipher: UInt16, Sendable {
    /// It stands as it is.
    case none = 0
    /// AES-256-GCM.
    case aes256GCM = 1
}

/// The first block of a file (FORMAT.md §3).
package struct HeaderBlock: Equatable, Sendable {
    /// Which kind of file.
    package var kind: FileKind
    /// Which deployment.
    package var cluster: ClusterID
    /// Sequence; its meaning depends on the kind.
    package var sequence: UInt64
    /// When it was made.
    package var time: WallTime
    /// Bytes of the file or of a block, or a generation; its meaning depends on the kind.
    package var size: UInt64
    /// How the content is encrypted.
    package var cipher = Cipher.none
    /// Number of the data key; 0 without encryption.
    package var keyNumber: UInt32 = 0
    /// Random bytes that the file key is derived with; zero without encryption.
    package var salt = Digest.zero
    /// The tree before the first record (segment, leaves) or after the last one (snapshot, mark);
    /// nil in files of other kinds.
    package var tree: MerkleTree?

    /// Describes a block to be written.
    package init(
        kind: FileKind, cluster: ClusterID, sequence: UInt64 = 0, time: WallTime, size: UInt64 = 0,
        tree: MerkleTree? = nil
    ) {
        self.kind = kind
        self.cluster = cluster
        self.sequence = sequence
        self.time = time
        self.size = size
        self.tree = tree
    }

    /// Writes the block at `offset`.
    package func store(in buffer: inout PageBuffer, at offset: Int = 0) {
        buffer.zero(offset..<offset + Format.blockBytes)
        buffer.store(kind.magic, at: offset)
        buffer.store(Format.version, at: offset + 8)
        buffer.store(cluster, at: offset + 16)
        buffer.store(sequence, at: offset + 32)
        buffer.store(UInt64(bitPattern: time.milliseconds), at: offset + 40)
        buffer.store(size, at: offset + 48)
        buffer.store(UInt32(cipher.rawValue), at: offset + 56)
        buffer.store(keyNumber, at: offset + 60)
        buffer.store(salt, at: offset + 96)
        if let tree {
            buffer.store(tree.root, at: offset + 64)
            buffer.store(UInt64(tree.frontierCount), at: offset + 128)
            var position = offset + 136
            tree.forEachSubtree { digest in
                buffer.store(digest, at: position)
                position += 32
            }
        }
        buffer.store(
            Self.checksum(buffer.span(offset..<offset + Format.blockBytes)), at: offset + 12)
    }

    private static func checksum(_ block: Span<UInt8>) -> UInt32 {
        crc32c(block.extracting(16..<Format.blockBytes), after: crc32c(block.extracting(0..<12)))
    }

    /// The version that a block says it is of, if its checksum is right, whatever kind it is.
    package static func version(_ block: Span<UInt8>) -> UInt32? {
        guard block.count == Format.blockBytes, block.loadUInt32(at: 12) == checksum(block) else {
            return nil
        }
        return block.loadUInt32(at: 8)
    }

    /// Reads a block of the wanted kind.
    ///
    /// - Parameters:
    ///   - block: The bytes; fewer than a block means that the file is too short.
    ///   - kind: The kind it must be.
    ///   - file: For errors.
    ///   - offset: Where the block begins in the file, for errors.
    /// - Throws: `.dataLoss`, `.newerVersion`, `.olderVersion`.
    package init(
        _ block: Span<UInt8>, _ kind: FileKind, file: String, offset: Int = 0
    ) throws(JournalError) {
        guard block.count == Format.blockBytes else {
            throw .dataLoss(
                file: file, offset: offset + block.count, what: "the file ends in its header")
        }
        guard block.loadUInt64(at: 0) == kind.magic else {
            throw .dataLoss(file: file, offset: offset, what: "this is not a \(kind) file")
        }
        guard let version = Self.version(block) else {
            throw .dataLoss(file: file, offset: offset, what: "the header's checksum is wrong")
        }
        guard version <= Format.version else {
            throw .newerVersion(file: file, found: version, supported: Format.version)
        }
        guard version > 0 else {
            throw .dataLoss(file: file, offset: offset + 8, what: "no version is 0")
        }
        guard version == Format.version else {
            throw .olderVersion(file: file, found: version, supported: Format.version)
        }
        self.init(
            kind: kind,
            cluster: ClusterID(low: block.loadUInt64(at: 16), high: block.loadUInt64(at: 24)),
            sequence: block.loadUInt64(at: 32),
            time: WallTime(milliseconds: Int64(bitPattern: block.loadUInt64(at: 40))),
            size: block.loadUInt64(at: 48))
        let ciphers = block.loadUInt32(at: 56)
        guard let cipher = UInt16(exactly: ciphers).flatMap(Cipher.init) else {
            throw .dataLoss(file: file, offset: offset + 56, what: "an unknown cipher")
        }
        self.cipher = cipher
        keyNumber = block.loadUInt32(at: 60)
        salt = block.loadDigest(at: 96)
        guard keepsRules else {
            throw .dataLoss(
                file: file, offset: offset + 32, what: "the header says what such a file has not")
        }
        try readTree(block, file, offset)
    }

    /// Whether the fields that mean nothing in such a file are zero.
    private var keepsRules: Bool {
        let rules = kind.rules
        let isSequenceRight: Bool =
            switch rules.tree {
            case .none: sequence == 0
            case .before: sequence > 0
            case .after: true
            }
        let isCipherRight =
            cipher == .none
            ? keyNumber == 0 && salt == .zero : rules.isEncrypted && keyNumber > 0
        return isSequenceRight && isCipherRight && (rules.hasSize || size == 0)
    }

    private mutating func readTree(
        _ block: Span<UInt8>, _ file: String, _ offset: Int
    ) throws(JournalError) {
        let count = block.loadUInt64(at: 128)
        let leaves: UInt64? =
            switch kind.rules.tree {
            case .none: nil
            case .before: sequence - 1
            case .after: sequence
            }
        guard count == UInt64(leaves?.nonzeroBitCount ?? 0),
            block.extracting(136 + 32 * Int(count)..<Format.blockBytes).isZero
        else {
            throw .dataLoss(
                file: file, offset: offset + 128, what: "the frontier has a wrong length")
        }
        let root = block.loadDigest(at: 64)
        guard let leaves else {
            guard root == .zero else {
                throw .dataLoss(file: file, offset: offset + 64, what: "such a file has no root")
            }
            return
        }
        let tree = MerkleTree(size: leaves) { block.loadDigest(at: 136 + 32 * $0) }
        guard tree.root == root else {
            throw .dataLoss(
                file: file, offset: offset + 64, what: "the root does not follow from the frontier")
        }
        self.tree = tree
    }
}

/// Makes a file of a header and zeros behind it, under its final name once it is durable.
///
/// - Durability: on disk when this returns
func makeFile(
    _ disk: any Disk, _ directory: String, _ name: String, _ header: HeaderBlock, bytes: Int
) throws(IOError) {
    let path = directory + "/" + name
    let file = try disk.open(path + ".tmp", .createDirect)
    try file.allocate(bytes)
    var chunk = PageBuffer(capacity: min(bytes, 1 << 20))
    header.store(in: &chunk)
    var offset = 0
    while offset < bytes {
        let count = min(chunk.capacity, bytes - offset)
        try file.write(chunk.span(0..<count), at: offset)
        if offset == 0 { chunk.zero(0..<Format.blockBytes) }
        offset += count
    }
    try file.sync()
    try disk.rename(path + ".tmp", to: path)
    try disk.syncDirectory(directory)
}
