// Tells a write that was interrupted from damage, by where zeros are left (FORMAT.md §12). Pure;
// the same for every version, which differ in what a batch's header is.

internal import TriageBase
internal import TriageIO

/// What stands where a batch of a last segment should begin, and does not verify.
struct TornRules {
    /// Where it should begin.
    let offset: Int
    /// Where it would end, if its header verifies.
    let end: Int?
    /// Bytes of a batch's header.
    let headerBytes: Int

    /// Whether it can be an interrupted write.
    ///
    /// - Parameters:
    ///   - bytes: The segment.
    ///   - isHeader: Whether a batch's header stands at an offset.
    /// - Returns: False: it is damage.
    func areMet(_ bytes: Span<UInt8>, _ isHeader: (Int) -> Bool) -> Bool {
        if let end {
            guard bytes.extracting(end..<bytes.count).isZero else { return false }
            return bytes[end - 1] == 0 || Self.hasZeroSector(bytes, offset..<end)
        }
        var candidate = offset + 8
        while candidate <= bytes.count - headerBytes {
            // Skipping zeros by the word keeps this fast over the unused rest.
            candidate += bytes.extracting(candidate..<bytes.count).zeroPrefixCount / 8 * 8
            if isHeader(candidate) { return false }
            candidate += 8
        }
        let headerEnd = min(offset + headerBytes, bytes.count)
        return bytes.extracting(headerEnd..<bytes.count).isZero
            || Self.hasZeroSector(bytes, offset..<headerEnd)
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

extension TornTail {
    /// What stands from `offset` to the last byte that is not zero.
    init(_ bytes: Span<UInt8>, file: String, offset: Int) {
        var end = bytes.count
        while end > offset, bytes[end - 1] == 0 { end -= 1 }
        self.init(file: file, offset: offset, bytes: end - offset)
    }
}
