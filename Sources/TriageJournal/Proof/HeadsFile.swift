// The `heads` file (FORMAT.md §10): a header block, then signed heads of a sector each. Reads and
// lays out; verifies no signature, because it has no keys.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// The signed heads of a directory, oldest first.
package struct HeadsFile: Equatable, Sendable {
    /// What is in it.
    package var heads: [SignedHead] = []
    /// Whether something stands where the next one belongs: it was being written when the power
    /// went, and is overwritten by the next one.
    package var isTorn = false

    static let slotBytes = Format.sectorBytes
    private static let usedBytes = 120
    private static let chunkBytes = 1 << 20

    static let withoutKeys = JournalError.dataLoss(
        file: FileName.heads, offset: 0, what: "heads were signed, and `keys` is missing")

    /// Where a slot stands.
    static func offset(of index: Int) -> Int { Format.blockBytes + index * slotBytes }

    /// The bytes of a new file: its header block.
    static func header(_ cluster: ClusterID, _ time: WallTime) -> HeaderBlock {
        HeaderBlock(kind: .heads, cluster: cluster, time: time)
    }

    /// Lays a slot out.
    static func store(_ head: SignedHead, _ cluster: ClusterID, in buffer: inout PageBuffer) {
        buffer.zero(0..<slotBytes)
        buffer.store(head.keyNumber, at: 4)
        buffer.store(head.head.sequence, at: 8)
        buffer.store(UInt64(bitPattern: head.time.milliseconds), at: 16)
        buffer.store(head.head.root, at: 24)
        buffer.copy(head.signature.span, to: 56)
        buffer.store(crc32c(buffer.span(4..<slotBytes), after: Format.key(cluster)), at: 0)
    }

    /// Reads the file.
    ///
    /// - Throws: `.dataLoss`, `.foreignCluster`, `.newerVersion`, `.olderVersion`, `.io`.
    static func read(
        _ disk: any Disk, _ directory: String, _ cluster: ClusterID
    ) throws(JournalError) -> HeadsFile {
        let path = directory + "/" + FileName.heads
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        _ = try readHeader(of: file, .heads, FileName.heads, cluster)
        let key = Format.key(cluster)
        var result = HeadsFile()
        var buffer = PageBuffer(capacity: chunkBytes)
        var hasEnded = false
        var offset = Format.blockBytes
        while true {
            let count: Int
            do { count = try file.read(into: &buffer, 0..<chunkBytes, at: offset) } catch {
                throw .io(error)
            }
            for start in stride(from: 0, to: count, by: slotBytes) {
                let slot = buffer.span(start..<min(start + slotBytes, count))
                if hasEnded {
                    guard slot.isZero else {
                        throw .dataLoss(
                            file: FileName.heads, offset: Self.offset(of: result.heads.count),
                            what: "a signed head does not verify, and others follow")
                    }
                } else if let head = Self.load(slot, key) {
                    if let last = result.heads.last, head.head.sequence < last.head.sequence {
                        throw .dataLoss(
                            file: FileName.heads, offset: offset + start,
                            what: "a signed head is smaller than the one before it")
                    }
                    result.heads.append(head)
                } else {
                    hasEnded = true
                    result.isTorn = !slot.isZero
                }
            }
            offset += count
            if count < chunkBytes { return result }
        }
    }

    /// The head in a slot; nil when it does not verify.
    private static func load(_ slot: Span<UInt8>, _ key: UInt32) -> SignedHead? {
        guard slot.count == slotBytes,
            slot.loadUInt32(at: 0) == crc32c(slot.extracting(4..<slotBytes), after: key),
            slot.loadUInt32(at: 4) > 0, slot.extracting(usedBytes..<slotBytes).isZero
        else { return nil }
        return SignedHead(
            head: JournalHead(sequence: slot.loadUInt64(at: 8), root: slot.loadDigest(at: 24)),
            time: WallTime(milliseconds: Int64(bitPattern: slot.loadUInt64(at: 16))),
            keyNumber: slot.loadUInt32(at: 4),
            signature: Signature(copying: slot.extracting(56..<usedBytes)))
    }
}
