// API messages by their schema instead of by generated type: what a command line needs to build any
// request and show any reply. Works on wire bytes and the descriptors that protobuf-c generates.
// Not for the daemon's calls, whose codecs are typed.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase

/// A value of a message field.
package indirect enum DynamicValue: Equatable, Sendable {
    case bool(Bool)
    case int(Int64)
    /// A field of 64 bits; JSON shows it as text.
    case long(Int64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    /// An enum value by name; a number that the schema does not know has its digits as name.
    case enumeration(String)
    case timestamp(WallTime)
    /// A span, in milliseconds.
    case duration(milliseconds: Int64)
    case message(DynamicMessage)
    case list([DynamicValue])
}

/// The populated fields of a message, in schema order, by their `.proto` names.
package struct DynamicMessage: Equatable, Sendable {
    /// A field and its value.
    package struct Field: Equatable, Sendable {
        package var name: String
        package var value: DynamicValue
    }

    package private(set) var fields: [Field] = []

    /// A message without any field.
    package init() {}

    /// The value of a field; nil when it is not populated.
    package subscript(name: String) -> DynamicValue? {
        get { fields.first { $0.name == name }?.value }
        set {
            let index = fields.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): fields[index].value = value
            case (let index?, nil): fields.remove(at: index)
            case (nil, let value?): fields.append(Field(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// The text of a string or enum field; empty when it is not populated.
    package func text(_ name: String) -> String {
        switch self[name] {
        case .string(let text), .enumeration(let text): text
        default: ""
        }
    }

    /// The number in an integer field; 0 when it is not populated.
    package func int(_ name: String) -> Int64 {
        switch self[name] {
        case .int(let value), .long(let value): value
        default: 0
        }
    }

    /// The bytes in a field; none when it is not populated.
    package func bytes(_ name: String) -> [UInt8] {
        if case .bytes(let value) = self[name] { value } else { [] }
    }

    /// The truth of a bool field; false when it is not populated.
    package func bool(_ name: String) -> Bool {
        if case .bool(let value) = self[name] { value } else { false }
    }

    /// The time in a timestamp field; nil when it is not populated.
    package func time(_ name: String) -> WallTime? {
        if case .timestamp(let value) = self[name] { value } else { nil }
    }

    /// The message in a field; nil when it is not populated.
    package func message(_ name: String) -> DynamicMessage? {
        if case .message(let value) = self[name] { value } else { nil }
    }

    /// The elements of a repeated field.
    package func list(_ name: String) -> [DynamicValue] {
        if case .list(let values) = self[name] { values } else { [] }
    }

    /// The messages of a repeated field.
    package func messages(_ name: String) -> [DynamicMessage] {
        list(name).compactMap { if case .message(let value) = $0 { value } else { nil } }
    }
}

/// Why a value does not fit a schema, or bytes are not such a message.
package struct DynamicMessageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Path of the field, such as `report.subject.id`; empty for the whole message.
    package var path: String
    package var problem: String

    package var description: String { path.isEmpty ? problem : "\(path): \(problem)" }

    func within(_ name: String) -> DynamicMessageError {
        DynamicMessageError(path: path.isEmpty ? name : "\(name).\(path)", problem: problem)
    }
}

/// What a field holds.
enum FieldKind: Equatable {
    case bool
    case signedVarint
    case zigZagVarint
    case fixed32
    case fixed64
    case float
    case double
    case string
    case bytes
    case enumeration
    case message

    var wireType: UInt64 {
        switch self {
        case .bool, .signedVarint, .zigZagVarint, .enumeration: 0
        case .fixed64, .double: 1
        case .string, .bytes, .message: 2
        case .fixed32, .float: 5
        }
    }
}

/// The schema of a message type.
///
/// @safe: wraps a descriptor that protobuf-c generates as constant data, valid for the process's
/// life.
@safe package struct MessageSchema: @unchecked Sendable {
    let descriptor: UnsafePointer<ProtobufCMessageDescriptor>

    init(_ descriptor: UnsafePointer<ProtobufCMessageDescriptor>) {
        unsafe self.descriptor = descriptor
    }

    /// Its full name, such as `triaged.v1.Case`.
    package var name: String {
        unsafe String(cString: descriptor.pointee.name)
    }

    var fieldCount: Int { Int(unsafe descriptor.pointee.n_fields) }

    func field(at index: Int) -> FieldSchema {
        precondition(index >= 0 && index < fieldCount, "no such field")
        return unsafe FieldSchema(descriptor.pointee.fields + index)
    }

    func field(number: UInt32) -> FieldSchema? {
        for index in 0..<fieldCount where field(at: index).number == number {
            return field(at: index)
        }
        return nil
    }

    /// The `.proto` names of its fields, in order of declaration by number.
    package var fieldNames: [String] {
        (0..<fieldCount).map { field(at: $0).name }
    }
}

/// The schema of one field.
///
/// As safe as ``MessageSchema``, for the same reason.
@safe struct FieldSchema {
    private let descriptor: UnsafePointer<ProtobufCFieldDescriptor>

    init(_ descriptor: UnsafePointer<ProtobufCFieldDescriptor>) {
        unsafe self.descriptor = descriptor
    }

    var name: String { unsafe String(cString: descriptor.pointee.name) }
    var number: UInt32 { unsafe descriptor.pointee.id }
    var isRepeated: Bool { unsafe descriptor.pointee.label == PROTOBUF_C_LABEL_REPEATED }
    var isOneof: Bool {
        unsafe descriptor.pointee.flags & UInt32(PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue) != 0
    }

    /// An integer of 64 bits.
    var isLong: Bool {
        switch unsafe descriptor.pointee.type {
        case PROTOBUF_C_TYPE_INT64, PROTOBUF_C_TYPE_UINT64, PROTOBUF_C_TYPE_SINT64,
            PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_SFIXED64:
            true
        default: false
        }
    }

    var kind: FieldKind {
        switch unsafe descriptor.pointee.type {
        case PROTOBUF_C_TYPE_BOOL: .bool
        case PROTOBUF_C_TYPE_SINT32, PROTOBUF_C_TYPE_SINT64: .zigZagVarint
        case PROTOBUF_C_TYPE_SFIXED32, PROTOBUF_C_TYPE_FIXED32: .fixed32
        case PROTOBUF_C_TYPE_SFIXED64, PROTOBUF_C_TYPE_FIXED64: .fixed64
        case PROTOBUF_C_TYPE_FLOAT: .float
        case PROTOBUF_C_TYPE_DOUBLE: .double
        case PROTOBUF_C_TYPE_STRING: .string
        case PROTOBUF_C_TYPE_BYTES: .bytes
        case PROTOBUF_C_TYPE_ENUM: .enumeration
        case PROTOBUF_C_TYPE_MESSAGE: .message
        default: .signedVarint
        }
    }

    var messageSchema: MessageSchema {
        precondition(kind == .message, "only message fields have a schema")
        return unsafe MessageSchema(
            descriptor.pointee.descriptor.assumingMemoryBound(to: ProtobufCMessageDescriptor.self))
    }

    /// Names and numbers of an enum field's values.
    var enumValues: [(name: String, number: Int32)] {
        precondition(kind == .enumeration, "only enum fields have values")
        let values = unsafe descriptor.pointee.descriptor.assumingMemoryBound(
            to: ProtobufCEnumDescriptor.self)
        return (0..<Int(unsafe values.pointee.n_values)).map { index in
            let value = unsafe values.pointee.values[index]
            return (unsafe String(cString: value.name), unsafe value.value)
        }
    }
}

/// What a field takes, for reading it from text.
package indirect enum FieldShape {
    case bool
    case int
    case double
    case string
    case enumeration
    case timestamp
    case duration
    case message(MessageSchema)
    case list(FieldShape)

    /// What the user should write.
    package var expectation: String {
        switch self {
        case .bool: "true or false"
        case .int: "a whole number"
        case .double: "a number"
        case .string: "text"
        case .enumeration: "the name of a value"
        case .timestamp: "a time such as 2026-11-22T18:31:53Z"
        case .duration: "a span such as 90s"
        case .message: "fields"
        case .list: "a list"
        }
    }

    /// Reads a scalar.
    ///
    /// - Parameter text: What the user wrote.
    /// - Returns: nil when it is not what the field takes, and for messages and lists.
    package func parse(_ text: String) -> DynamicValue? {
        switch self {
        case .bool: Bool(text).map { .bool($0) }
        case .int: Int64(text).map { .int($0) }
        case .double: Double(text).map { .double($0) }
        case .string: .string(text)
        case .enumeration: .enumeration(text)
        case .timestamp: Timestamp.parse(rfc3339: text).map { .timestamp($0) }
        case .duration:
            text.hasSuffix("s")
                ? Double(text.dropLast()).map { .duration(milliseconds: Int64($0 * 1_000)) } : nil
        case .message, .list: nil
        }
    }
}

extension MessageSchema {
    /// What a field takes; nil when there is no such field.
    package func shape(ofField name: String) -> FieldShape? {
        guard let field = schema(ofField: name) else { return nil }
        let element: FieldShape =
            switch field.kind {
            case .bool: .bool
            case .signedVarint, .zigZagVarint, .fixed32, .fixed64: .int
            case .float, .double: .double
            case .string, .bytes: .string
            case .enumeration: .enumeration
            case .message:
                switch field.messageSchema.name {
                case "google.protobuf.Timestamp": .timestamp
                case "google.protobuf.Duration": .duration
                default: .message(field.messageSchema)
                }
            }
        return field.isRepeated ? .list(element) : element
    }
}
