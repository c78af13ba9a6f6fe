// Where the parts of a record lie in a batch's bytes (FORMAT.md §6), and how a record becomes a
// leaf of the tree (§7). Trusts no length; knows nothing of batches, files or what a record says.

internal import TriageBase
internal import TriageIO

/// The places of a record's parts, as offsets in the bytes that hold it.
struct RecordLayout {
    let bodyStart: Int
    /// Also where the sealed fields begin.
    let bodyEnd: Int
    let sealedEnd: Int
    /// Where the next record begins.
    let end: Int

    /// Reads a record's lengths, and checks that it lies within the bytes and is padded with
    /// zeros; nil otherwise.
    @inline(__always)
    init?(_ bytes: Span<UInt8>, at offset: Int) {
        guard offset <= bytes.count - Format.recordHeaderBytes else { return nil }
        let body = Int(bytes.loadUInt32(at: offset))
        let sealed = Int(bytes.loadUInt32(at: offset + 4))
        guard body + sealed <= Limits.recordBytesMax,
            Format.recordBytes(body + sealed) <= bytes.count - offset
        else { return nil }
        bodyStart = offset + Format.recordHeaderBytes
        bodyEnd = bodyStart + body
        sealedEnd = bodyEnd + sealed
        end = offset + Format.recordBytes(body + sealed)
        guard bytes.extracting(sealedEnd..<end).isZero else { return nil }
    }

    /// The record's wall time.
    @inline(__always)
    func time(_ bytes: Span<UInt8>) -> WallTime {
        WallTime(
            milliseconds: Int64(bitPattern: bytes.loadUInt64(at: bodyStart - 8)))
    }

    /// The record as its reader sees it; nil when its sealed fields do not verify.
    @inline(__always)
    @_lifetime(copy bytes)
    func view(_ bytes: Span<UInt8>) -> RecordView? {
        var view = RecordView(
            body: bytes.extracting(bodyStart..<bodyEnd),
            sealed: bytes.extracting(bodyEnd..<sealedEnd))
        var position = bodyEnd
        while position < sealedEnd {
            guard view.fieldCount < Limits.sealedFieldsMax,
                let field = SealedLayout(bytes, at: position, limit: sealedEnd)
            else { return nil }
            view.addField(
                field.isErased ? nil : field.start - bodyEnd..<field.end - bodyEnd)
            position = field.end
        }
        return view
    }
}

/// The places of a sealed field's parts.
struct SealedLayout {
    let isErased: Bool
    /// Where the salt is; where the commitment is, of an erased field.
    let saltStart: Int
    let start: Int
    let end: Int

    /// Reads a field's length and checks that it lies before `limit`; nil otherwise.
    @inline(__always)
    init?(_ bytes: Span<UInt8>, at offset: Int, limit: Int) {
        guard offset <= limit - Format.sealedHeaderBytes else { return nil }
        let length = bytes.loadUInt32(at: offset)
        saltStart = offset + 4
        isErased = length & Format.erasedBit != 0
        if isErased {
            guard length == Format.erasedBit, offset <= limit - Format.erasedBytes else {
                return nil
            }
            start = offset + Format.erasedBytes
            end = start
        } else {
            start = offset + Format.sealedHeaderBytes
            end = start + Int(length)
            guard end <= limit else { return nil }
        }
    }
}

/// Hashes records to leaves, two records at a time: two messages of about one length take a third
/// less time than one after the other.
struct RecordHasher: ~Copyable {
    /// The heads of two leaves, up to their bodies, and the byte before a salt.
    private var heads = PageBuffer(capacity: Format.blockBytes)

    private static let otherHead = 1024
    private static let prefixPlace = 2048
    /// One byte, sequence, time, count.
    private static let fixedHeadBytes = 25

    init() {
        heads.store(UInt32(2), at: Self.prefixPlace)
    }

    /// Adds the leaf of every record.
    ///
    /// - Parameters:
    ///   - records: Records whose layout and sealed fields verified, one after the other.
    ///   - sequence: The first one's.
    ///   - leaves: Where the leaves go.
    mutating func hash(
        _ records: Span<UInt8>, from sequence: UInt64, into leaves: inout [Digest]
    ) {
        var sequence = sequence
        var offset = 0
        while let first = RecordLayout(records, at: offset) {
            guard let second = RecordLayout(records, at: first.end) else {
                let fields = commit(records, first, at: 0, from: first.bodyEnd, fields: 0)
                storeHead(records, first, sequence, fields, at: 0)
                leaves.append(
                    SHA256.hash(head: head(fields, at: 0), Self.body(records, first)))
                return
            }
            let fields = commitBoth(records, first, second)
            storeHead(records, first, sequence, fields.0, at: 0)
            storeHead(records, second, sequence + 1, fields.1, at: Self.otherHead)
            let pair = SHA256.hashPair(
                head: head(fields.0, at: 0), Self.body(records, first),
                otherHead: head(fields.1, at: Self.otherHead), Self.body(records, second))
            leaves.append(pair.0)
            leaves.append(pair.1)
            sequence += 2
            offset = second.end
        }
    }

    @inline(__always)
    private mutating func storeHead(
        _ records: Span<UInt8>, _ record: RecordLayout, _ sequence: UInt64, _ fields: Int,
        at offset: Int
    ) {
        heads.store(sequence, at: offset + 1)
        heads.store(records.loadUInt64(at: record.bodyStart - 8), at: offset + 9)
        heads.store(UInt64(fields), at: offset + 17)
    }

    @inline(__always)
    @_lifetime(borrow self)
    private func head(_ fields: Int, at offset: Int) -> Span<UInt8> {
        heads.span(offset..<offset + Self.fixedHeadBytes + 32 * fields)
    }

    @inline(__always)
    @_lifetime(copy records)
    private static func body(_ records: Span<UInt8>, _ record: RecordLayout) -> Span<UInt8> {
        records.extracting(record.bodyStart..<record.bodyEnd)
    }

    private var sealedPrefix: Span<UInt8> {
        @_lifetime(borrow self) get { heads.span(Self.prefixPlace..<Self.prefixPlace + 1) }
    }

    /// Puts the commitments of two records' fields into their heads.
    ///
    /// - Returns: How many fields each has.
    private mutating func commitBoth(
        _ records: Span<UInt8>, _ first: RecordLayout, _ second: RecordLayout
    ) -> (Int, Int) {
        var position = first.bodyEnd
        var other = second.bodyEnd
        var fields = 0
        while position < first.sealedEnd, other < second.sealedEnd,
            let a = SealedLayout(records, at: position, limit: first.sealedEnd),
            let b = SealedLayout(records, at: other, limit: second.sealedEnd),
            !a.isErased, !b.isErased
        {
            let pair = SHA256.hashPair(
                head: sealedPrefix, records.extracting(a.saltStart..<a.end),
                otherHead: sealedPrefix, records.extracting(b.saltStart..<b.end))
            heads.store(pair.0, at: Self.fixedHeadBytes + 32 * fields)
            heads.store(pair.1, at: Self.otherHead + Self.fixedHeadBytes + 32 * fields)
            fields += 1
            position = a.end
            other = b.end
        }
        return (
            commit(records, first, at: 0, from: position, fields: fields),
            commit(records, second, at: Self.otherHead, from: other, fields: fields)
        )
    }

    /// Puts the commitments of a record's fields from `position` on into its head.
    ///
    /// - Returns: How many fields it has, `fields` before `position` included.
    private mutating func commit(
        _ records: Span<UInt8>, _ record: RecordLayout, at head: Int, from position: Int,
        fields: Int
    ) -> Int {
        var position = position
        var fields = fields
        while position < record.sealedEnd,
            let field = SealedLayout(records, at: position, limit: record.sealedEnd)
        {
            let commitment =
                field.isErased
                ? records.loadDigest(at: field.saltStart)
                : SHA256.hash(prefix: 2, records.extracting(field.saltStart..<field.end))
            heads.store(commitment, at: head + Self.fixedHeadBytes + 32 * fields)
            fields += 1
            position = field.end
        }
        return fields
    }
}
