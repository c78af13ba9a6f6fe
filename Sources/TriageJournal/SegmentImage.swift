// The bytes that one segment gets at the next commit, from the page boundary before them: what of
// that page is durable already, then the batch that gathers. Pure memory; the writer does the rest.

internal import TriageBase
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

    /// Bytes that a record of `count` payload bytes needs up to the end of its batch.
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

    /// Makes room for a record of at most `count` payload bytes.
    mutating func reserve(_ count: Int) {
        // One page more, for the zeros up to the page's end.
        let needed = used + bytesNeeded(count) + Format.blockBytes
        if needed > buffer.capacity {
            buffer.grow(to: max(needed, 2 * buffer.capacity), keeping: used)
        }
    }

    /// Adds a record whose payload is given.
    @inline(__always)
    mutating func append(_ payload: Span<UInt8>, _ sequence: UInt64, _ time: WallTime) -> Int {
        reserve(payload.count)
        let offset = begin(sequence)
        buffer.copy(payload, to: offset + Format.recordHeaderBytes)
        return finish(offset, payload.count, sequence, time)
    }

    /// Adds a record whose payload `body` writes.
    @inline(__always)
    mutating func append(
        _ bytesMax: Int, _ sequence: UInt64, _ time: WallTime,
        _ body: (inout OutputSpan<UInt8>) -> Void
    ) -> Int {
        reserve(bytesMax)
        let offset = begin(sequence)
        let count = buffer.fill(at: offset + Format.recordHeaderBytes, count: bytesMax, body)
        return finish(offset, count, sequence, time)
    }

    @inline(__always)
    private mutating func begin(_ sequence: UInt64) -> Int {
        if batchStart == nil {
            batchStart = used
            batchCount = 0
            buffer.store(sequence, at: used + 8)
            used += Format.batchHeaderBytes
        }
        return used
    }

    @inline(__always)
    private mutating func finish(
        _ offset: Int, _ count: Int, _ sequence: UInt64, _ time: WallTime
    ) -> Int {
        let contentEnd = offset + Format.recordHeaderBytes + count
        let bytes = Format.recordBytes(count)
        buffer.store(UInt32(truncatingIfNeeded: count), at: offset + 4)
        buffer.store(sequence, at: offset + 8)
        buffer.store(UInt64(bitPattern: time.milliseconds), at: offset + 16)
        buffer.zero(contentEnd..<offset + bytes)
        buffer.store(crc32c(buffer.span(offset + 4..<contentEnd), after: key), at: offset)
        used += bytes
        batchCount += 1
        return bytes
    }

    /// Ends the open batch: chains its records on `chain`, writes header and trailer.
    ///
    /// - Returns: The chain hash after its last record.
    mutating func seal(after chain: Digest) -> Digest {
        guard let start = batchStart else { return chain }
        let recordsStart = start + Format.batchHeaderBytes
        let chain = SHA256.chain(
            chain, records: buffer.span(recordsStart..<used), headerBytes: Format.recordHeaderBytes)
        buffer.store(UInt32(truncatingIfNeeded: used - recordsStart), at: start + 4)
        buffer.store(crc32c(buffer.span(start + 4..<start + 16), after: key), at: start)
        buffer.store(chain, at: used)
        buffer.store(batchCount, at: used + 32)
        buffer.store(Format.batchEnd, at: used + 36)
        used += Format.batchTrailerBytes
        batchStart = nil
        return chain
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
