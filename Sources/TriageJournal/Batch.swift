// One batch in a segment's bytes: is it as it was written, and if not, was its write torn or is it
// corrupt (FORMAT.md §6, §12). Bytes in, judgement out; never reads a file, and never looks into a
// record.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A batch whose checksums and tag are right; its records stand decrypted.
struct BatchPlace {
    let records: Range<Int>
    let first: UInt64
    let count: UInt64

    /// Where the batch begins.
    var start: Int { records.lowerBound - Format.batchHeaderBytes }
    /// Where the next one may begin.
    var end: Int { records.upperBound + Format.batchTrailerBytes }
    /// Where its root stands.
    var root: Int { records.upperBound + 16 }
}

/// What was found where a batch should begin.
struct BatchFault: Error {
    let offset: Int
    let what: String
    /// Where the batch would end, if its header verifies.
    let end: Int?
    /// False when everything was written: then it was not torn, whatever is wrong with it.
    let mayBeTorn: Bool
}

/// Finds batches by their headers.
struct BatchHeaders {
    /// CRC state after the cluster id.
    let key: UInt32

    /// Whether a batch's header stands at `offset`.
    @inline(__always)
    func isHeader(_ bytes: Span<UInt8>, at offset: Int) -> Bool {
        guard offset <= bytes.count - Format.batchHeaderBytes else { return false }
        let crc = crc32c(
            bytes.extracting(offset + 4..<offset + Format.batchHeaderBytes), after: key)
        return bytes.loadUInt32(at: offset) == crc
    }

    /// Where the records of the batch at `offset` are, if its header stands there and it ends at
    /// `limit` at the latest.
    func records(_ bytes: Span<UInt8>, at offset: Int, limit: Int) -> Range<Int>? {
        guard isHeader(bytes, at: offset) else { return nil }
        let count = Int(bytes.loadUInt32(at: offset + 4))
        let start = offset + Format.batchHeaderBytes
        guard count >= Format.recordHeaderBytes, count % 8 == 0,
            count <= limit - start - Format.batchTrailerBytes
        else { return nil }
        return start..<start + count
    }

    /// Where the batch at `offset` ends, and how many records it has, as its header tells.
    func batch(
        _ bytes: Span<UInt8>, at offset: Int, limit: Int
    ) -> (end: Int, records: UInt64)? {
        guard let records = records(bytes, at: offset, limit: limit) else { return nil }
        return (records.upperBound + Format.batchTrailerBytes, count(bytes, at: offset))
    }

    /// How many records the header at `offset` tells of.
    func count(_ bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        UInt64(bytes.loadUInt32(at: offset + 16))
    }
}

/// Reads the batches of one segment.
struct BatchReader: ~Copyable {
    /// CRC state after the cluster id.
    let key: UInt32
    private let headers: BatchHeaders
    private var cipher: FileCipher

    init(key: UInt32, cipher: consuming FileCipher) {
        self.key = key
        headers = BatchHeaders(key: key)
        self.cipher = cipher
    }

    /// Checks the batch at `offset` and decrypts its records where they stand.
    ///
    /// - Parameters:
    ///   - image: Holds the segment.
    ///   - size: The segment's bytes.
    ///   - offset: Where the batch should begin.
    ///   - sequence: That of its first record.
    /// - Returns: Where its parts lie.
    /// - Throws: ``BatchFault``.
    mutating func open(
        _ image: inout PageBuffer, size: Int, at offset: Int, expecting sequence: UInt64
    ) throws(BatchFault) -> BatchPlace {
        let (place, nonce, tag) = try check(image.span(0..<size), at: offset, sequence)
        let header = Format.batchAdditional
        guard
            cipher.open(
                &image, place.records,
                header: offset + header.lowerBound..<offset + header.upperBound, nonce: nonce,
                tag: tag)
        else {
            throw BatchFault(
                offset: offset, what: "the batch was not encrypted so by this directory's key",
                end: place.end, mayBeTorn: false)
        }
        return place
    }

    /// Checks what needs no key.
    private func check(
        _ bytes: Span<UInt8>, at offset: Int, _ sequence: UInt64
    ) throws(BatchFault) -> (BatchPlace, Nonce, Tag) {
        guard let records = headers.records(bytes, at: offset, limit: bytes.count) else {
            throw BatchFault(
                offset: offset, what: "the batch header does not verify", end: nil,
                mayBeTorn: true)
        }
        let place = BatchPlace(
            records: records, first: bytes.loadUInt64(at: offset + 8),
            count: headers.count(bytes, at: offset))
        let sum = place.end - 8
        let crc = crc32c(bytes.extracting(records.lowerBound..<sum), after: key)
        guard bytes.loadUInt32(at: sum) == crc, bytes.loadUInt32(at: sum + 4) == Format.batchEnd
        else {
            throw BatchFault(
                offset: offset, what: "the batch's checksum is wrong", end: place.end,
                mayBeTorn: true)
        }
        guard place.first == sequence, place.count > 0 else {
            throw BatchFault(
                offset: offset + 8, what: "the batch does not begin with record \(sequence)",
                end: place.end, mayBeTorn: false)
        }
        return (place, bytes.loadNonce(at: offset + 20), bytes.loadTag(at: records.upperBound))
    }

    /// Whether what stands at `offset` of a last segment can be an interrupted write (FORMAT.md
    /// §12).
    func isTorn(_ bytes: Span<UInt8>, at offset: Int, _ fault: BatchFault) -> Bool {
        guard fault.mayBeTorn else { return false }
        let rules = TornRules(
            offset: offset, end: fault.end, headerBytes: Format.batchHeaderBytes)
        return rules.areMet(bytes) { headers.isHeader(bytes, at: $0) }
    }
}
