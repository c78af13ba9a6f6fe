// Dynamic messages to and from protobuf wire bytes. Accepts what any peer may send: unknown fields
// are skipped, packed and unpacked lists are both read.
//
// Source: protobuf.dev/programming-guides/encoding.

internal import TriageBase

extension MessageSchema {
    /// Serialises a message.
    ///
    /// - Parameter message: Fields of this schema; names unknown to it are refused.
    /// - Returns: Wire bytes.
    /// - Throws: ``DynamicMessageError`` when a value does not fit its field.
    package func encode(_ message: DynamicMessage) throws(DynamicMessageError) -> [UInt8] {
        var out: [UInt8] = []
        for field in message.fields {
            guard let schema = schema(ofField: field.name) else {
                throw DynamicMessageError(
                    path: field.name, problem: "no such field; \(name) has \(fieldNames)")
            }
            do throws(DynamicMessageError) {
                if schema.isRepeated {
                    guard case .list(let values) = field.value else {
                        throw DynamicMessageError(path: "", problem: "takes a list")
                    }
                    for value in values { try Self.append(value, schema, to: &out) }
                } else {
                    try Self.append(field.value, schema, to: &out)
                }
            } catch {
                throw error.within(field.name)
            }
        }
        return out
    }

    /// Reads a message.
    ///
    /// - Parameter bytes: Wire bytes.
    /// - Returns: Its populated fields in schema order.
    /// - Throws: ``DynamicMessageError`` when the bytes are not such a message.
    package func decode(_ bytes: Span<UInt8>) throws(DynamicMessageError) -> DynamicMessage {
        var reader = WireReader(bytes)
        var values = [DynamicValue?](repeating: nil, count: fieldCount)
        while !reader.isAtEnd {
            let tag = try reader.varint()
            let index = (0..<fieldCount).first {
                field(at: $0).number == UInt32(truncatingIfNeeded: tag >> 3)
            }
            guard let index else {
                try reader.skip(wireType: tag & 7)
                continue
            }
            let schema = field(at: index)
            do throws(DynamicMessageError) {
                try Self.read(&reader, wireType: tag & 7, schema, into: &values[index])
            } catch {
                throw error.within(schema.name)
            }
        }
        var message = DynamicMessage()
        for index in 0..<fieldCount {
            if let value = values[index] { message[field(at: index).name] = value }
        }
        return message
    }

    func schema(ofField name: String) -> FieldSchema? {
        for index in 0..<fieldCount where field(at: index).name == name { return field(at: index) }
        return nil
    }

    private static func append(
        _ value: DynamicValue, _ schema: FieldSchema, to out: inout [UInt8]
    ) throws(DynamicMessageError) {
        var writer = WireWriter()
        switch (schema.kind, value) {
        case (.bool, .bool(let flag)): writer.varint(flag ? 1 : 0)
        case (.signedVarint, .int(let number)), (.signedVarint, .long(let number)):
            writer.varint(UInt64(bitPattern: number))
        case (.zigZagVarint, .int(let number)), (.zigZagVarint, .long(let number)):
            writer.varint(UInt64(bitPattern: number << 1 ^ number >> 63))
        case (.fixed32, .int(let number)), (.fixed32, .long(let number)):
            writer.fixed(UInt64(UInt32(truncatingIfNeeded: number)), byteCount: 4)
        case (.fixed64, .int(let number)), (.fixed64, .long(let number)):
            writer.fixed(UInt64(bitPattern: number), byteCount: 8)
        case (.double, .double(let number)): writer.fixed(number.bitPattern, byteCount: 8)
        case (.double, .int(let number)): writer.fixed(Double(number).bitPattern, byteCount: 8)
        case (.float, .double(let number)):
            writer.fixed(UInt64(Float(number).bitPattern), byteCount: 4)
        case (.string, .string(let text)): writer.lengthDelimited(Array(text.utf8))
        case (.bytes, .bytes(let bytes)): writer.lengthDelimited(bytes)
        case (.enumeration, .enumeration(let name)), (.enumeration, .string(let name)):
            writer.varint(UInt64(bitPattern: Int64(try number(ofValue: name, schema))))
        case (.message, .message(let message)):
            writer.lengthDelimited(try schema.messageSchema.encode(message))
        case (.message, .timestamp(let time)):
            writer.lengthDelimited(WireWriter.secondsAndNanos(milliseconds: time.milliseconds))
        case (.message, .duration(let milliseconds)):
            writer.lengthDelimited(WireWriter.secondsAndNanos(milliseconds: milliseconds))
        default:
            throw DynamicMessageError(path: "", problem: "takes a value of another type")
        }
        out += WireWriter.tag(schema.number, schema.kind.wireType)
        out += writer.bytes
    }

    /// Takes a value's full name, or its end in any case (`p0` for `LEVEL_P0`), or its number.
    private static func number(
        ofValue name: String, _ schema: FieldSchema
    ) throws(DynamicMessageError) -> Int32 {
        let wanted = name.uppercased().replacing("-", with: "_")
        let values = schema.enumValues
        if let value = values.first(where: { $0.name == wanted }) { return value.number }
        if let number = Int32(name) { return number }
        let matching = values.filter { $0.name.hasSuffix("_" + wanted) }
        let shortest = matching.min { $0.name.utf8.count < $1.name.utf8.count }
        if let shortest { return shortest.number }
        let known = values.map(\.name).joined(separator: ", ")
        throw DynamicMessageError(path: "", problem: "unknown value; known are \(known)")
    }

    private static func read(
        _ reader: inout WireReader, wireType: UInt64, _ schema: FieldSchema,
        into slot: inout DynamicValue?
    ) throws(DynamicMessageError) {
        let kind = schema.kind
        if schema.isRepeated {
            var values: [DynamicValue] = []
            if case .list(let before) = slot {
                values = before
                // Else each element would copy those before it.
                slot = nil
            }
            if wireType == 2, kind.wireType != 2 {
                let end = try reader.lengthDelimitedEnd()
                while reader.offset < end { values.append(try scalar(&reader, schema)) }
                guard reader.offset == end else { throw WireReader.malformed }
            } else {
                guard wireType == kind.wireType else { throw WireReader.malformed }
                values.append(try scalar(&reader, schema))
            }
            slot = .list(values)
        } else {
            guard wireType == kind.wireType else { throw WireReader.malformed }
            slot = try scalar(&reader, schema)
        }
    }

    private static func scalar(
        _ reader: inout WireReader, _ schema: FieldSchema
    ) throws(DynamicMessageError) -> DynamicValue {
        switch schema.kind {
        case .bool: return .bool(try reader.varint() != 0)
        case .signedVarint:
            let number = Int64(bitPattern: try reader.varint())
            return schema.isLong ? .long(number) : .int(number)
        case .zigZagVarint:
            let raw = try reader.varint()
            let number = Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
            return schema.isLong ? .long(number) : .int(number)
        case .fixed32: return .int(Int64(Int32(truncatingIfNeeded: try reader.fixed(byteCount: 4))))
        case .fixed64: return .long(Int64(bitPattern: try reader.fixed(byteCount: 8)))
        case .float:
            let bits = UInt32(truncatingIfNeeded: try reader.fixed(byteCount: 4))
            return .double(Double(Float(bitPattern: bits)))
        case .double: return .double(Double(bitPattern: try reader.fixed(byteCount: 8)))
        case .string:
            guard let text = String(validating: try reader.lengthDelimited(), as: UTF8.self) else {
                throw DynamicMessageError(path: "", problem: "is not UTF-8")
            }
            return .string(text)
        case .bytes: return .bytes(try reader.lengthDelimited())
        case .enumeration:
            let number = Int32(truncatingIfNeeded: try reader.varint())
            let known = schema.enumValues.first { $0.number == number }
            return .enumeration(known?.name ?? String(number))
        case .message: return try nested(try reader.lengthDelimited(), schema.messageSchema)
        }
    }

    /// Source: google/protobuf/duration.proto.
    private static let durationSeconds: ClosedRange<Int64> = -315_576_000_000...315_576_000_000

    private static func nested(
        _ bytes: [UInt8], _ schema: MessageSchema
    ) throws(DynamicMessageError) -> DynamicValue {
        let message = try schema.decode(bytes.span)
        let (seconds, nanos) = (message.int("seconds"), message.int("nanos"))
        let isInRange: Bool
        switch schema.name {
        case "google.protobuf.Timestamp": isInRange = Form.isInRange(seconds: seconds, nanos: nanos)
        case "google.protobuf.Duration": isInRange = durationSeconds.contains(seconds)
        default: return .message(message)
        }
        guard isInRange else { throw DynamicMessageError(path: "", problem: "is out of range") }
        let milliseconds = seconds * 1_000 + nanos / 1_000_000
        return schema.name == "google.protobuf.Timestamp"
            ? .timestamp(WallTime(milliseconds: milliseconds))
            : .duration(milliseconds: milliseconds)
    }
}

/// Reads protobuf's wire types from bytes, refusing what runs past the end.
private struct WireReader: ~Escapable {
    static let malformed = DynamicMessageError(path: "", problem: "is not a protobuf message")

    private let bytes: Span<UInt8>
    private(set) var offset = 0

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func varint() throws(DynamicMessageError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard offset < bytes.count else { throw Self.malformed }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw Self.malformed
    }

    mutating func fixed(byteCount: Int) throws(DynamicMessageError) -> UInt64 {
        guard byteCount <= bytes.count - offset else { throw Self.malformed }
        var value: UInt64 = 0
        for index in 0..<byteCount { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
        offset += byteCount
        return value
    }

    mutating func lengthDelimitedEnd() throws(DynamicMessageError) -> Int {
        let length = try varint()
        guard length <= UInt64(bytes.count - offset) else { throw Self.malformed }
        return offset + Int(length)
    }

    mutating func lengthDelimited() throws(DynamicMessageError) -> [UInt8] {
        let end = try lengthDelimitedEnd()
        var out: [UInt8] = []
        out.reserveCapacity(end - offset)
        while offset < end {
            out.append(bytes[offset])
            offset += 1
        }
        return out
    }

    mutating func skip(wireType: UInt64) throws(DynamicMessageError) {
        switch wireType {
        case 0: _ = try varint()
        case 1: _ = try fixed(byteCount: 8)
        case 2: offset = try lengthDelimitedEnd()
        case 5: _ = try fixed(byteCount: 4)
        default: throw Self.malformed
        }
    }
}

/// Writes protobuf's wire types.
private struct WireWriter {
    private(set) var bytes: [UInt8] = []

    static func tag(_ number: UInt32, _ wireType: UInt64) -> [UInt8] {
        var writer = WireWriter()
        writer.varint(UInt64(number) << 3 | wireType)
        return writer.bytes
    }

    /// The body of a Timestamp or Duration: `seconds` (1) and `nanos` (2).
    static func secondsAndNanos(milliseconds: Int64) -> [UInt8] {
        var seconds = milliseconds / 1_000
        var rest = milliseconds % 1_000
        if rest < 0 {
            seconds -= 1
            rest += 1_000
        }
        var writer = WireWriter()
        writer.bytes += tag(1, 0)
        writer.varint(UInt64(bitPattern: seconds))
        writer.bytes += tag(2, 0)
        writer.varint(UInt64(rest * 1_000_000))
        return writer.bytes
    }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func fixed(_ value: UInt64, byteCount: Int) {
        for index in 0..<byteCount {
            bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index)))
        }
    }

    mutating func lengthDelimited(_ body: [UInt8]) {
        varint(UInt64(body.count))
        bytes += body
    }
}
