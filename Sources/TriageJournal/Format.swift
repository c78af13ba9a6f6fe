// The constants of FORMAT.md, the header block that every file begins with, and file names.
// Knows the layout and nothing of reading order, recovery or policy.

package import TriageBase
internal import TriageIO

/// Sizes and marks of FORMAT.md.
enum Format {
    static let version: UInt32 = 1
    static let blockBytes = 4096
    static let sectorBytes = 512
    static let batchHeaderBytes = 16
    static let batchTrailerBytes = 40
    static let recordHeaderBytes = 24
    /// `DONE`, lowest byte first.
    static let batchEnd: UInt32 = 0x454E_4F44
    static let snapshotBlockHeaderBytes = 32
    /// A segment longer than this is refused before memory is taken for it.
    static let segmentBytesCap = 1 << 30
    static let sectionsMax = 128

    /// Bytes that a record with a payload of `count` bytes takes in a batch.
    @inline(__always)
    static func recordBytes(_ count: Int) -> Int {
        (recordHeaderBytes + count + 7) & ~7
    }

    /// The CRC state after the cluster id: what keyed CRCs start from.
    static func key(_ cluster: ClusterID) -> UInt32 {
        var bytes = PageBuffer(capacity: blockBytes)
        bytes.store(cluster.low, at: 0)
        bytes.store(cluster.high, at: 8)
        return crc32c(bytes.span(0..<16))
    }

    /// The chain hash before the first record.
    static func genesis(_ cluster: ClusterID) -> Digest {
        var bytes = PageBuffer(capacity: blockBytes)
        bytes.store(cluster.low, at: 0)
        bytes.store(cluster.high, at: 8)
        return SHA256.hash(prefix: 2, bytes.span(0..<16))
    }
}

/// What kind of file a header block begins.
package enum FileKind: CaseIterable, Sendable {
    case identity, keys, segment, snapshot, mark, vaultKeys, object

    /// The magic, lowest byte first.
    var magic: UInt64 {
        switch self {
        case .identity: 0x4449_4547_4149_5254
        case .keys: 0x594B_4547_4149_5254
        case .segment: 0x4C4A_4547_4149_5254
        case .snapshot: 0x4E53_4547_4149_5254
        case .mark: 0x4B4D_4547_4149_5254
        case .vaultKeys: 0x4B56_4547_4149_5254
        case .object: 0x424F_4547_4149_5254
        }
    }
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
    /// File bytes of a segment, block bytes of a snapshot, generation of a mark, 0 of an identity.
    package var size: UInt64
    /// Chain hash; its position depends on the kind.
    package var chain: Digest

    /// Writes the block at `offset`.
    func store(in buffer: inout PageBuffer, at offset: Int = 0) {
        buffer.zero(offset..<offset + Format.blockBytes)
        buffer.store(kind.magic, at: offset)
        buffer.store(Format.version, at: offset + 8)
        buffer.store(cluster.low, at: offset + 16)
        buffer.store(cluster.high, at: offset + 24)
        buffer.store(sequence, at: offset + 32)
        buffer.store(UInt64(bitPattern: time.milliseconds), at: offset + 40)
        buffer.store(size, at: offset + 48)
        buffer.store(chain, at: offset + 64)
        buffer.store(
            Self.checksum(buffer.span(offset..<offset + Format.blockBytes)), at: offset + 12)
    }

    private static func checksum(_ block: Span<UInt8>) -> UInt32 {
        crc32c(block.extracting(16..<Format.blockBytes), after: crc32c(block.extracting(0..<12)))
    }

    /// Reads a block of the wanted kind.
    ///
    /// - Parameters:
    ///   - block: The bytes; fewer than a block means that the file is too short.
    ///   - kind: The kind it must be.
    ///   - file: For errors.
    ///   - offset: Where the block begins in the file, for errors.
    /// - Throws: `.dataLoss`, `.newerVersion`.
    init(
        _ block: Span<UInt8>, _ kind: FileKind, file: String, offset: Int = 0
    ) throws(JournalError) {
        guard block.count == Format.blockBytes else {
            throw .dataLoss(
                file: file, offset: offset + block.count, what: "the file ends in its header")
        }
        guard block.loadUInt64(at: 0) == kind.magic else {
            throw .dataLoss(file: file, offset: offset, what: "this is not a \(kind) file")
        }
        guard block.loadUInt32(at: 12) == Self.checksum(block) else {
            throw .dataLoss(file: file, offset: offset, what: "the header's checksum is wrong")
        }
        let version = block.loadUInt32(at: 8)
        guard version <= Format.version else {
            throw .newerVersion(file: file, found: version, supported: Format.version)
        }
        guard version == Format.version, block.extracting(56..<64).isZero,
            block.extracting(96..<Format.blockBytes).isZero
        else {
            throw .dataLoss(file: file, offset: offset, what: "the header is of no known version")
        }
        self.kind = kind
        cluster = ClusterID(low: block.loadUInt64(at: 16), high: block.loadUInt64(at: 24))
        sequence = block.loadUInt64(at: 32)
        time = WallTime(milliseconds: Int64(bitPattern: block.loadUInt64(at: 40)))
        size = block.loadUInt64(at: 48)
        chain = block.loadDigest(at: 64)
    }

    /// Describes a block to be written.
    init(
        kind: FileKind, cluster: ClusterID, sequence: UInt64 = 0, time: WallTime, size: UInt64 = 0,
        chain: Digest = .zero
    ) {
        self.kind = kind
        self.cluster = cluster
        self.sequence = sequence
        self.time = time
        self.size = size
        self.chain = chain
    }
}

extension PageBuffer {
    @inline(__always)
    mutating func store(_ digest: Digest, at offset: Int) {
        store(digest.words.0, at: offset)
        store(digest.words.1, at: offset + 8)
        store(digest.words.2, at: offset + 16)
        store(digest.words.3, at: offset + 24)
    }
}

extension Span<UInt8> {
    @inline(__always)
    func loadDigest(at offset: Int) -> Digest {
        Digest(
            loadUInt64(at: offset), loadUInt64(at: offset + 8), loadUInt64(at: offset + 16),
            loadUInt64(at: offset + 24))
    }
}

/// File names of FORMAT.md §2.
enum FileName {
    static let lock = "lock"
    static let identity = "identity"
    static let keys = "keys"
    static let mark = "mark"
    static let vault = "vault"
    static let spare = "spare.tmp"

    static func segment(_ first: UInt64) -> String { digits(first, 20) + ".journal" }
    static func snapshot(_ sequence: UInt64) -> String { digits(sequence, 20) + ".snapshot" }
    static func torn(_ first: UInt64, _ offset: Int) -> String {
        digits(first, 20) + "-" + digits(UInt64(offset), 8) + ".torn"
    }

    private static func digits(_ value: UInt64, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    /// What a name in the directory stands for.
    enum Meaning: Equatable {
        case segment(UInt64), snapshot(UInt64), identity, mark, temporary, ignored, foreign
    }

    static func meaning(of entry: DirectoryEntry) -> Meaning {
        let name = entry.name
        if entry.isDirectory {
            return name == "vault" || name == "lost+found" ? .ignored : .foreign
        }
        if name == lock { return .ignored }
        if name == identity { return .identity }
        if name == mark { return .mark }
        if name.hasSuffix(".tmp") { return .temporary }
        if let first = number(name, before: ".journal"), first > 0 { return .segment(first) }
        if let sequence = number(name, before: ".snapshot") { return .snapshot(sequence) }
        return isTorn(name) ? .ignored : .foreign
    }

    /// The number in front of `suffix`, if the name is 20 digits and the suffix.
    private static func number(_ name: String, before suffix: String) -> UInt64? {
        guard name.hasSuffix(suffix) else { return nil }
        let text = name.dropLast(suffix.count)
        guard text.utf8.count == 20, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            return nil
        }
        return UInt64(text)
    }

    private static func isTorn(_ name: String) -> Bool {
        guard name.hasSuffix(".torn") else { return false }
        let parts = name.dropLast(5).split(separator: "-", omittingEmptySubsequences: false)
        return parts.count == 2 && parts[0].utf8.count == 20 && parts[1].utf8.count >= 8
            && parts.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } }
    }
}
