// One batch in a segment's bytes: does it verify, and if not, was its write torn or is it corrupt
// (FORMAT.md §4, §5). Pure: bytes in, judgement out; never reads a file.

package import TriageBase
internal import TriageIO

/// A head that something durable other than the journal remembers, and that the journal must pass.
struct Checkpoint {
    let head: JournalHead
    /// The file that remembers it.
    let file: String
}

/// What was found where a batch should begin.
enum BatchCheck {
    /// A batch that verifies, the offset behind it, and the head after it.
    case good(end: Int, head: JournalHead)
    /// Something else; `end` is where the batch would end, if its header verifies.
    case bad(offset: Int, what: String, end: Int?)
    /// The chain passes the checkpoint's sequence with another hash.
    case contradicts(Checkpoint)
}

/// Verifies batches of one cluster.
struct BatchVerifier {
    /// CRC state after the cluster id.
    let key: UInt32
    /// In rising order of sequence.
    let checkpoints: [Checkpoint]

    /// The body length of the batch at `offset`, if its header's CRC is right and it fits.
    @inline(__always)
    func bodyBytes(_ bytes: Span<UInt8>, at offset: Int) -> Int? {
        guard offset <= bytes.count - Format.batchHeaderBytes else { return nil }
        let crc = crc32c(bytes.extracting(offset + 4..<offset + 16), after: key)
        guard bytes.loadUInt32(at: offset) == crc else { return nil }
        let body = Int(bytes.loadUInt32(at: offset + 4))
        let room = bytes.count - offset - Format.batchHeaderBytes - Format.batchTrailerBytes
        guard body >= Format.recordHeaderBytes, body % 8 == 0, body <= room else { return nil }
        return body
    }

    /// Verifies the batch at `offset`, which must go on from `head`.
    func check(_ bytes: Span<UInt8>, at offset: Int, after head: JournalHead) -> BatchCheck {
        guard let body = bodyBytes(bytes, at: offset) else {
            return .bad(offset: offset, what: "the batch header does not verify", end: nil)
        }
        let recordsEnd = offset + Format.batchHeaderBytes + body
        let end = recordsEnd + Format.batchTrailerBytes
        guard bytes.loadUInt64(at: offset + 8) == head.sequence + 1 else {
            return .bad(
                offset: offset, what: "the batch does not begin with record \(head.sequence + 1)",
                end: end)
        }
        let recordsStart = offset + Format.batchHeaderBytes
        var sequence = head.sequence
        var position = recordsStart
        while position < recordsEnd {
            sequence += 1
            guard let next = verifyRecord(bytes, position, recordsEnd, sequence) else {
                return .bad(offset: position, what: "record \(sequence) does not verify", end: end)
            }
            position = next
        }
        let count = sequence - head.sequence
        var next = checkpoints.firstIndex { $0.head.sequence > head.sequence } ?? checkpoints.count
        var contradicted: Checkpoint?
        var head = head
        head.chain = SHA256.chain(
            head.chain, records: bytes.extracting(recordsStart..<recordsEnd),
            headerBytes: Format.recordHeaderBytes
        ) { chain in
            head.sequence += 1
            while next < checkpoints.count, checkpoints[next].head.sequence == head.sequence {
                if checkpoints[next].head.chain != chain { contradicted = checkpoints[next] }
                next += 1
            }
        }
        if let contradicted { return .contradicts(contradicted) }
        guard bytes.loadDigest(at: recordsEnd) == head.chain else {
            return .bad(offset: recordsEnd, what: "the batch's chain hash is wrong", end: end)
        }
        guard UInt64(bytes.loadUInt32(at: recordsEnd + 32)) == count,
            bytes.loadUInt32(at: recordsEnd + 36) == Format.batchEnd
        else { return .bad(offset: recordsEnd + 32, what: "the batch's end is wrong", end: end) }
        return .good(end: end, head: head)
    }

    /// Verifies one record.
    ///
    /// - Returns: Where the next one begins; nil when it does not verify.
    @inline(__always)
    private func verifyRecord(
        _ bytes: Span<UInt8>, _ offset: Int, _ limit: Int, _ sequence: UInt64
    ) -> Int? {
        guard offset <= limit - Format.recordHeaderBytes else { return nil }
        let count = Int(bytes.loadUInt32(at: offset + 4))
        guard count <= Limits.recordBytesMax, Format.recordBytes(count) <= limit - offset else {
            return nil
        }
        let contentEnd = offset + Format.recordHeaderBytes + count
        let end = offset + Format.recordBytes(count)
        let crc = crc32c(bytes.extracting(offset + 4..<contentEnd), after: key)
        guard bytes.loadUInt32(at: offset) == crc, bytes.loadUInt64(at: offset + 8) == sequence,
            bytes.extracting(contentEnd..<end).isZero
        else { return nil }
        return end
    }

    /// Whether what stands at `offset` of a last segment can be an interrupted write (FORMAT.md
    /// §5).
    func isTorn(_ bytes: Span<UInt8>, at offset: Int, end: Int?) -> Bool {
        guard let end else {
            var candidate = offset + 8
            while candidate <= bytes.count - Format.batchHeaderBytes {
                // Skipping zeros by the word keeps this fast over the unused rest.
                let skipped = bytes.extracting(candidate..<bytes.count).zeroPrefixCount / 8 * 8
                candidate += skipped
                if bodyBytes(bytes, at: candidate) != nil { return false }
                candidate += 8
            }
            let headerEnd = min(offset + Format.batchHeaderBytes, bytes.count)
            return bytes.extracting(headerEnd..<bytes.count).isZero
                || Self.hasZeroSector(bytes, offset..<headerEnd)
        }
        guard bytes.extracting(end..<bytes.count).isZero else { return false }
        return bytes[end - 1] == 0 || Self.hasZeroSector(bytes, offset..<end)
    }

    /// Whether the part of some sector within `range` is all zero.
    private static func hasZeroSector(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(
                (start / Format.sectorBytes + 1) * Format.sectorBytes, range.upperBound)
            if bytes.extracting(start..<end).isZero { return true }
            start = end
        }
        return false
    }
}

/// Takes the records of a journal, in order.
package protocol RecordVisitor: ~Copyable {
    /// Takes one record.
    ///
    /// - Throws: ``RecordRejection`` when the payload makes no sense to it.
    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ payload: Span<UInt8>
    ) throws(RecordRejection)
}

/// A record that verifies as bytes, but that the state machine does not understand.
package struct RecordRejection: Error, Equatable, Sendable {
    /// What is wrong with it, for an operator.
    package var what: String

    /// Says what is wrong.
    package init(_ what: String) {
        self.what = what
    }
}
