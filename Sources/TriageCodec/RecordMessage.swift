// A journal record as a message that people can be shown: the body with each sealed field where its
// number stands.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
internal import TriageDomain

/// Shows journal records.
package enum RecordMessage {
    /// The body's schema.
    private static let schema: MessageSchema = {
        // The initialiser is where protobuf-c hands out the address of a descriptor.
        var record = unsafe Triaged__Storage__V1__JournalRecord()
        unsafe triaged__storage__v1__journal_record__init(&record)
        return unsafe MessageSchema(record.base.descriptor)
    }()

    /// Schemas of the sealed fields that are messages, by the name of the field that has their
    /// number; all others are texts.
    private static let sealedSchemas: [String: MessageSchema] = {
        var content = unsafe Triaged__Storage__V1__ReportContent()
        unsafe triaged__storage__v1__report_content__init(&content)
        var filing = unsafe Triaged__Storage__V1__DisclosureFiling()
        unsafe triaged__storage__v1__disclosure_filing__init(&filing)
        var verification = unsafe Triaged__Storage__V1__Verification()
        unsafe triaged__storage__v1__verification__init(&verification)
        var scope = unsafe Triaged__Storage__V1__Scope()
        unsafe triaged__storage__v1__scope__init(&scope)
        var rejection = unsafe Triaged__Storage__V1__Rejection()
        unsafe triaged__storage__v1__rejection__init(&rejection)
        return unsafe [
            "content": MessageSchema(content.base.descriptor),
            "filing": MessageSchema(filing.base.descriptor),
            "verification": MessageSchema(verification.base.descriptor),
            "scope": MessageSchema(scope.base.descriptor),
            "rejection": MessageSchema(rejection.base.descriptor),
        ]
    }()

    private static let suffix = "_sealed"

    /// Decodes a record, whose sealed fields then stand under their own names; what was erased is
    /// ``Erased/text``.
    ///
    /// - Throws: ``DynamicMessageError`` when it is damaged, or names a field that it has not.
    package static func decode(
        _ record: RecordView
    ) throws(DynamicMessageError) -> DynamicMessage {
        try unsealed(try schema.decode(record.body), record)
    }

    private static func unsealed(
        _ message: DynamicMessage, _ record: RecordView
    ) throws(DynamicMessageError) -> DynamicMessage {
        var shown = DynamicMessage()
        for field in message.fields {
            switch field.value {
            case .message(let nested):
                shown[field.name] = .message(try unsealed(nested, record))
            case .list(let values):
                var list: [DynamicValue] = []
                for value in values {
                    if case .message(let nested) = value {
                        list.append(.message(try unsealed(nested, record)))
                    } else {
                        list.append(value)
                    }
                }
                shown[field.name] = .list(list)
            case .int(let number) where field.name.hasSuffix(suffix):
                let name = String(field.name.dropLast(suffix.count))
                shown[name] = try sealed(Int(number), name, record)
            default: shown[field.name] = field.value
            }
        }
        return shown
    }

    private static func sealed(
        _ number: Int, _ name: String, _ record: RecordView
    ) throws(DynamicMessageError) -> DynamicValue {
        guard number > 0, number <= record.fieldCount else {
            throw DynamicMessageError(path: name, problem: "the record has no field \(number)")
        }
        if record.isErased(number) { return .string(Erased.text) }
        if let schema = sealedSchemas[name] {
            do { return .message(try schema.decode(record.field(number))) } catch {
                throw error.within(name)
            }
        }
        return .string(String(decoding: [UInt8](copying: record.field(number)), as: UTF8.self))
    }
}
