// From a journal record of format version 1, which held everything in one message, to the body and
// sealed fields that version 2 has. Works on wire bytes: takes fields out, puts numbers in, and
// leaves everything else as it is. Knows nothing of what the fields say.

package import TriageBase

/// Lifts records of format version 1 to version 2.
package enum RecordLift {
    /// What becomes a sealed field in an event of some kind.
    private struct Rule {
        /// Numbers of the fields that lead to it, from the event's own message on.
        let path: [UInt64]
        /// Number of the field that says which sealed field it is; in the event's own message,
        /// behind all others.
        let number: UInt64
    }

    /// By the number of the field that holds the event in `Event`.
    private static let rules: [UInt64: Rule] = [
        1: Rule(path: [6], number: 7),  // ReportReceived.content
        2: Rule(path: [5], number: 7),  // ProtocolAnswered.lower_reason
        3: Rule(path: [2, 4], number: 3),  // CaseDecided.decision.rationale
        5: Rule(path: [2], number: 3),  // CaseReopened.reason
        6: Rule(path: [6], number: 8),  // CaseOffered.note
        10: Rule(path: [2], number: 5),  // DisclosureSubmitted.filing
        13: Rule(path: [2], number: 4),  // VerificationAdded.verification
        14: Rule(path: [2], number: 3),  // ScopeSet.scope
        16: Rule(path: [2], number: 3),  // DisclosureRejected.rejection
        17: Rule(path: [3], number: 4),  // SensitiveRead.purpose
    ]

    /// `JournalRecord.events`.
    private static let events: UInt64 = 6

    /// Lifts one record.
    ///
    /// - Parameters:
    ///   - payload: What version 1 had as the record's payload.
    ///   - record: Filled; what it held before is forgotten.
    /// - Throws: ``CodecError``: `.wire` when the payload is damaged.
    package static func lift(
        _ payload: Span<UInt8>, into record: inout RecordParts
    ) throws(CodecError) {
        record.removeAll()
        var body: [UInt8] = []
        var fields = WireFields(payload)
        while let field = try fields.next() {
            if field.number == events, let content = field.content {
                append(
                    try liftEvent(payload.extracting(content), into: &record), as: events, to: &body
                )
            } else {
                body.append(copying: payload.extracting(field.whole))
            }
        }
        record.body = body
    }

    private static func liftEvent(
        _ event: Span<UInt8>, into record: inout RecordParts
    ) throws(CodecError) -> [UInt8] {
        var lifted: [UInt8] = []
        var fields = WireFields(event)
        while let field = try fields.next() {
            guard let rule = rules[field.number], let content = field.content else {
                lifted.append(copying: event.extracting(field.whole))
                continue
            }
            var taken: [UInt8]?
            var kind = try take(rule.path[...], from: event.extracting(content), &taken)
            if let taken {
                guard record.sealed.count < Limits.sealedFieldsMax else {
                    throw .outOfRange("sealed fields of a record")
                }
                appendVarint(rule.number << 3, to: &kind)
                appendVarint(UInt64(record.seal(taken)), to: &kind)
            }
            append(kind, as: field.number, to: &lifted)
        }
        return lifted
    }

    /// The message without the field at the path, which is handed out if it is there and not
    /// empty.
    private static func take(
        _ path: ArraySlice<UInt64>, from message: Span<UInt8>, _ taken: inout [UInt8]?
    ) throws(CodecError) -> [UInt8] {
        var rest: [UInt8] = []
        var fields = WireFields(message)
        while let field = try fields.next() {
            guard field.number == path.first, let content = field.content else {
                rest.append(copying: message.extracting(field.whole))
                continue
            }
            if path.count > 1 {
                append(
                    try take(path.dropFirst(), from: message.extracting(content), &taken),
                    as: field.number, to: &rest)
                continue
            }
            guard taken == nil else {
                throw .wire(MessageFault(kind: .repeatedSubmessage, offset: field.whole.lowerBound))
            }
            if !content.isEmpty { taken = [UInt8](copying: message.extracting(content)) }
        }
        return rest
    }

    private static func append(_ content: [UInt8], as number: UInt64, to bytes: inout [UInt8]) {
        appendVarint(number << 3 | 2, to: &bytes)
        appendVarint(UInt64(content.count), to: &bytes)
        bytes += content
    }

    private static func appendVarint(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// Goes through the fields of one message.
private struct WireFields: ~Escapable {
    struct Field {
        let number: UInt64
        /// Tag and value.
        let whole: Range<Int>
        /// The bytes of a text, of bytes or of a message; nil of a number.
        let content: Range<Int>?
    }

    private let bytes: Span<UInt8>
    private var at = 0

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    /// The next field; nil at the end.
    @_lifetime(self: copy self)
    mutating func next() throws(CodecError) -> Field? {
        if at == bytes.count { return nil }
        let start = at
        let tag = try varint()
        var content: Range<Int>?
        switch tag & 7 {
        case 0: _ = try varint()
        case 1: try skip(8)
        case 2:
            let count = try varint()
            let from = at
            try skip(count)
            content = from..<at
        case 5: try skip(4)
        default: throw .wire(MessageFault(kind: .reservedWireType, offset: start))
        }
        return Field(number: tag >> 3, whole: start..<at, content: content)
    }

    @_lifetime(self: copy self)
    private mutating func skip(_ count: UInt64) throws(CodecError) {
        guard count <= UInt64(bytes.count - at) else {
            throw .wire(MessageFault(kind: .truncated, offset: at))
        }
        at += Int(count)
    }

    @_lifetime(self: copy self)
    private mutating func varint() throws(CodecError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard at < bytes.count else {
                throw .wire(MessageFault(kind: .truncated, offset: at))
            }
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw .wire(MessageFault(kind: .varintTooLong, offset: at))
    }
}
