// One record as proofs speak of it: what the tree hashes, with each sealed field either in the open
// or as its commitment. Bytes, and lines of an export; knows no file.

package import TriageBase
internal import TriageIO

/// A record with what of its sealed fields is shown.
package struct RecordEntry: Equatable, Sendable {
    /// A sealed field.
    package enum Field: Equatable, Sendable {
        /// As it was written.
        case shown(salt: [UInt8], [UInt8])
        /// Left out, or erased in the journal: its commitment stands for it.
        case redacted(Digest)

        /// What the tree has of it (FORMAT.md §7).
        package var commitment: Digest {
            switch self {
            case .shown(let salt, let bytes): SHA256.hash(prefix: 2, (salt + bytes).span)
            case .redacted(let digest): digest
            }
        }
    }

    /// Its sequence.
    package var sequence: UInt64
    /// Its wall time.
    package var time: WallTime
    /// Its sealed fields, in order.
    package var fields: [Field]
    /// Its body.
    package var body: [UInt8]

    /// A record in a batch's bytes; nil when it does not verify.
    init?(
        _ records: Span<UInt8>, _ layout: RecordLayout, sequence: UInt64, shows: (Int) -> Bool
    ) {
        self.sequence = sequence
        time = layout.time(records)
        body = [UInt8](copying: records.extracting(layout.bodyStart..<layout.bodyEnd))
        fields = []
        var position = layout.bodyEnd
        while position < layout.sealedEnd {
            guard
                let place = SealedLayout(records, at: position, limit: layout.sealedEnd)
            else { return nil }
            let field: Field
            if place.isErased {
                field = .redacted(records.loadDigest(at: place.saltStart))
            } else {
                let salt = place.saltStart..<place.saltStart + Format.saltBytes
                field = .shown(
                    salt: [UInt8](copying: records.extracting(salt)),
                    [UInt8](copying: records.extracting(place.start..<place.end)))
            }
            fields.append(shows(fields.count + 1) ? field : .redacted(field.commitment))
            position = place.end
        }
    }

    /// What the tree hashes (FORMAT.md §7).
    package var bytes: [UInt8] {
        Self.little(sequence) + Self.little(UInt64(bitPattern: time.milliseconds))
            + Self.little(UInt64(fields.count)) + fields.flatMap { $0.commitment.bytes } + body
    }

    /// Its leaf.
    package var leaf: Digest { SHA256.hash(prefix: 0, bytes.span) }

    /// Reads what the tree hashes; every field is redacted in it.
    ///
    /// - Returns: nil for what is no entry.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= 24 else { return nil }
        let span = bytes.span
        sequence = span.loadUInt64(at: 0)
        time = WallTime(milliseconds: Int64(bitPattern: span.loadUInt64(at: 8)))
        let count = span.loadUInt64(at: 16)
        guard count <= UInt64(Limits.sealedFieldsMax), 24 + 32 * Int(count) <= bytes.count else {
            return nil
        }
        fields = (0..<Int(count)).map { .redacted(span.loadDigest(at: 24 + 32 * $0)) }
        body = Array(bytes[(24 + 32 * Int(count))...])
    }

    private static func little(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    /// Lends the record as whoever reads a journal gets it: a redacted field is an erased one.
    package func withView<R, E: Error>(_ read: (RecordView) throws(E) -> R) throws(E) -> R {
        var together: [UInt8] = []
        var places: [Range<Int>?] = []
        for field in fields {
            guard case .shown(_, let bytes) = field else {
                places.append(nil)
                continue
            }
            places.append(together.count..<together.count + bytes.count)
            together += bytes
        }
        var view = RecordView(body: body.span, sealed: together.span)
        for place in places { view.addField(place) }
        return try read(view)
    }

    // MARK: Lines

    /// A record without fields, as a line of an export says it; nil when the line does not.
    init?(line words: [Substring]) {
        guard words.count == 4, words[0] == "record", let sequence = UInt64(words[1]),
            String(sequence) == words[1], let time = Int64(words[2]), String(time) == words[2],
            let body = Base64.decode(text: words[3])
        else { return nil }
        self.sequence = sequence
        self.time = WallTime(milliseconds: time)
        fields = []
        self.body = body
    }

    /// Adds the field that a line of an export says; false when the line does not, or is one too
    /// many.
    mutating func addField(line words: [Substring]) -> Bool {
        guard fields.count < Limits.sealedFieldsMax, words.count > 1,
            let first = Base64.decode(text: words[1])
        else { return false }
        if words[0] == "redacted", words.count == 2, let digest = Digest(bytes: first.span) {
            fields.append(.redacted(digest))
            return true
        }
        guard words[0] == "field", words.count == 3, first.count == Format.saltBytes,
            let bytes = Base64.decode(text: words[2])
        else { return false }
        fields.append(.shown(salt: first, bytes))
        return true
    }

    /// The lines of an export.
    package var lines: String {
        var text = "record \(sequence) \(time.milliseconds) \(Base64.text(body.span))\n"
        for field in fields {
            switch field {
            case .shown(let salt, let bytes):
                text += "field \(Base64.text(salt.span)) \(Base64.text(bytes.span))\n"
            case .redacted(let digest):
                text += "redacted \(Base64.text(digest.bytes.span))\n"
            }
        }
        return text
    }
}
