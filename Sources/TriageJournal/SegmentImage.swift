// The bytes that one segment gets at the next commit, from the page boundary before them: what of
// that page is durable already, then the batch that gathers. Pure memory; the writer does the rest.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// The end of a segment, in memory.
struct SegmentImage: ~Copyable {
    private(set) var buffer: PageBuffer
    /// Offset in the file of the buffer's first byte; a multiple of 4096.
    private(set) var base: Int
    /// Bytes of the buffer in use.
    private(set) var used: Int
    /// Where the open batch begins in the buffer; nil when none is open.
    private var batchStart: Int?
    private var batchFirst: UInt64 = 0
    private var batchCount: UInt32 = 0
    private let key: UInt32

    /// An image whose next batch comes at `offset` of the file; the caller fills what of its page
    /// lies before.
    init(key: UInt32, offset: Int, capacity: Int) {
        self.key = key
        buffer = PageBuffer(capacity: capacity)
        base = offset / Format.blockBytes * Format.blockBytes
        used = offset - base
    }

    /// Restarts for the batches of a fresh segment.
    mutating func restart() {
        base = Format.blockBytes
        used = 0
        batchStart = nil
        batchCount = 0
    }

    /// Whether a batch is open.
    var hasBatch: Bool { batchStart != nil }

    /// Bytes that a record needs up to the end of its batch: `count` are those of its body and its
    /// sealed fields, with what precedes each field.
    func bytesNeeded(_ count: Int) -> Int {
        (batchStart == nil ? Format.batchHeaderBytes : 0) + Format.recordBytes(count)
            + Format.batchTrailerBytes
    }

    /// Copies the durable part of the first page in.
    mutating func fillCarry(from file: any DiskFile) throws(IOError) {
        guard used > 0 else { return }
        // A whole page: the file may be open past the page cache.
        let count = try file.read(into: &buffer, 0..<Format.blockBytes, at: base)
        guard count >= used else { throw IOError(.read, path: FileName.spare, .inputOutput) }
    }

    /// Adds a record to the open batch, or to a new one.
    ///
    /// - Parameters:
    ///   - record: What it says.
    ///   - count: Bytes of its body and sealed fields, with what precedes each field.
    ///   - sequence: Its sequence.
    ///   - time: Its wall time.
    ///   - random: Gives the salts.
    /// - Returns: Bytes that it takes.
    @inline(__always)
    mutating func append(
        _ record: RecordParts, _ count: Int, _ sequence: UInt64, _ time: WallTime,
        random: inout RandomBytes
    ) -> Int {
        reserve(count)
        begin(sequence)
        let body = record.body.count
        buffer.store(UInt32(truncatingIfNeeded: body), at: used)
        buffer.store(UInt32(truncatingIfNeeded: count - body), at: used + 4)
        buffer.store(UInt64(bitPattern: time.milliseconds), at: used + 8)
        var position = used + Format.recordHeaderBytes
        buffer.copy(record.body.span, to: position)
        position += body
        for index in record.sealed.indices {
            let field = record.sealed[index]
            buffer.store(UInt32(truncatingIfNeeded: field.count), at: position)
            buffer.store(random.word(), at: position + 4)
            buffer.store(random.word(), at: position + 12)
            buffer.copy(field.span, to: position + Format.sealedHeaderBytes)
            position += Format.sealedHeaderBytes + field.count
        }
        let bytes = Format.recordBytes(count)
        buffer.zero(position..<used + bytes)
        used += bytes
        batchCount += 1
        return bytes
    }

    /// Adds records that were laid out before, as a batch of their own.
    mutating func append(records: Span<UInt8>, from first: UInt64, count: UInt64) {
        reserve(records.count)
        begin(first)
        buffer.copy(records, to: used)
        used += records.count
        batchCount = UInt32(count)
    }

    /// Makes room for a record.
    private mutating func reserve(_ count: Int) {
        // One page more, for the zeros up to the page's end.
        let needed = used + bytesNeeded(count) + Format.blockBytes
        if needed > buffer.capacity {
            buffer.grow(to: max(needed, 2 * buffer.capacity), keeping: used)
        }
    }

    @inline(__always)
    private mutating func begin(_ sequence: UInt64) {
        guard batchStart == nil else { return }
        batchStart = used
        batchFirst = sequence
        batchCount = 0
        used += Format.batchHeaderBytes
    }

    /// Hashes the records of the open batch, and adds their leaves.
    func hash(with hasher: inout RecordHasher, into leaves: inout [Digest]) {
        guard let start = batchStart else { return }
        hasher.hash(
            buffer.span(start + Format.batchHeaderBytes..<used), from: batchFirst, into: &leaves)
    }

    /// Ends the open batch: encrypts it, writes header and trailer.
    ///
    /// - Parameters:
    ///   - root: Of the tree with the batch's records.
    ///   - cipher: The segment's.
    ///   - random: Gives the nonce.
    mutating func seal(root: Digest, cipher: inout FileCipher, random: inout RandomBytes) {
        guard let start = batchStart else { return }
        let records = start + Format.batchHeaderBytes..<used
        buffer.store(UInt32(truncatingIfNeeded: records.count), at: start + 4)
        buffer.store(batchFirst, at: start + 8)
        buffer.store(batchCount, at: start + 16)
        let header = Format.batchAdditional
        let (nonce, tag) = cipher.seal(
            &buffer, records, header: start + header.lowerBound..<start + header.upperBound,
            random: &random)
        buffer.store(nonce, at: start + 20)
        buffer.store(
            crc32c(buffer.span(start + 4..<records.lowerBound), after: key), at: start)
        buffer.store(tag, at: used)
        buffer.store(root, at: used + 16)
        buffer.store(
            crc32c(buffer.span(records.lowerBound..<used + 48), after: key), at: used + 48)
        buffer.store(Format.batchEnd, at: used + 52)
        used += Format.batchTrailerBytes
        batchStart = nil
    }

    /// Writes whole pages up to the end of what is used.
    mutating func write(to file: any DiskFile) throws(IOError) {
        let end = roundUp(used, to: Format.blockBytes)
        buffer.zero(used..<end)
        try file.write(buffer.span(0..<end), at: base)
    }

    /// Everything written is durable: keeps the page that the next batch shares.
    mutating func advance() {
        let pages = used / Format.blockBytes * Format.blockBytes
        buffer.move(from: pages, to: 0, count: used - pages)
        base += pages
        used -= pages
    }
}
