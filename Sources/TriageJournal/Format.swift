// The constants of FORMAT.md, and how its identifiers and digests lie in memory. Knows sizes and
// nothing of reading order, recovery or policy.

internal import TriageBase
internal import TriageIO

/// Sizes and marks of FORMAT.md.
enum Format {
    static let version: UInt32 = 2
    static let blockBytes = 4096
    static let sectorBytes = 512
    static let batchHeaderBytes = 32
    /// Bytes of a batch's header that are additional data of its encryption.
    static let batchAdditional = 4..<20
    static let batchTrailerBytes = 56
    static let recordHeaderBytes = 16
    /// Length and salt of a sealed field.
    static let sealedHeaderBytes = 20
    static let saltBytes = 16
    /// Length and commitment of a sealed field that was erased.
    static let erasedBytes = 36
    /// Set in the length of a sealed field that was erased.
    static let erasedBit: UInt32 = 1 << 31
    /// `DONE`, lowest byte first.
    static let batchEnd: UInt32 = 0x454E_4F44
    static let snapshotBlockHeaderBytes = 64
    /// Bytes of a block's header that are additional data of its encryption.
    static let snapshotAdditional = 4..<24
    static let leavesHeaderBytes = 32
    static let leavesPerBlock = 127
    /// Messages that one file key may encrypt (§5).
    static let messagesMax = 1 << 24
    /// A segment longer than this is refused before memory is taken for it.
    static let segmentBytesCap = 1 << 30
    static let sectionsMax = 128

    /// Bytes that a record takes in a batch whose body and sealed fields, with what precedes each
    /// field, have `count` bytes.
    @inline(__always)
    static func recordBytes(_ count: Int) -> Int {
        (recordHeaderBytes + count + 7) & ~7
    }

    /// The CRC state after the cluster id: what keyed CRCs start from.
    static func key(_ cluster: ClusterID) -> UInt32 {
        var bytes = PageBuffer(capacity: blockBytes)
        bytes.store(cluster, at: 0)
        return crc32c(bytes.span(0..<16))
    }
}

extension PageBuffer {
    @inline(__always)
    mutating func store(_ cluster: ClusterID, at offset: Int) {
        store(cluster.low, at: offset)
        store(cluster.high, at: offset + 8)
    }

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
