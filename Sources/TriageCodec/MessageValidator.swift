// Checks the wire bytes of a message against its generated descriptor before protobuf-c unpacks
// them, because protobuf-c checks neither UTF-8 nor NUL, has no limit on depth, and lets tiny
// fields grow twentyeight-fold. Knows the wire format and no message type.
//
// Source: protobuf "Encoding"; shared design `wire.md` point 3.

internal import CProtobufC
internal import TriageBase

/// What is wrong with the wire bytes of a message, and where.
package struct MessageFault: Error, Equatable, Sendable {
    /// Every way in which wire bytes are refused.
    package enum Kind: String, CaseIterable, Sendable {
        case tooLarge = "the message is too large"
        case truncated = "a field ends after its message"
        case varintTooLong = "a number has more bytes than a varint can have"
        case invalidFieldNumber = "a field number is out of range"
        case groupWireType = "groups are not supported"
        case reservedWireType = "a wire type is not defined"
        case wireTypeMismatch = "a field has another wire type than its type asks for"
        case packedLength = "a packed field does not hold whole elements"
        case invalidUTF8 = "a text is not valid UTF-8"
        case embeddedNUL = "a text has a NUL"
        case tooDeep = "the message is nested too deeply"
        case tooManyFields = "the message has too many fields"
        case tooManyUnknownBytes =
            "the message has too much in fields that this version does not know"
        /// protobuf-c would merge the two, and lose numbers of the first that the second does not
        /// have.
        case repeatedSubmessage = "a message that may occur once occurs twice"
        case notUnpacked = "the message cannot be unpacked"
    }

    package var kind: Kind
    /// Byte offset of the field at fault in the message.
    package var offset: Int
    /// Path of the innermost known field at fault, such as `report.signals[2].label`; may be empty.
    package var field: String

    package init(kind: Kind, offset: Int, field: String = "") {
        self.kind = kind
        self.offset = offset
        self.field = field
    }
}

/// How much one message may hold.
struct WireLimits {
    /// Size in bytes.
    var bytes: Int
    /// Fields, nested ones and elements of packed ones included.
    var fields: Int
    /// Bytes in fields that the descriptor does not have.
    var unknownBytes: Int

    /// For what comes from a peer.
    static let request = WireLimits(
        bytes: Limits.messageBytesMax, fields: Limits.messageFieldsMax,
        unknownBytes: Limits.messageUnknownBytesMax)
    /// For what comes from our own disk: only as much as keeps damage from taking all memory.
    static let storage = WireLimits(
        bytes: Limits.storedMessageBytesMax, fields: Limits.storedMessageFieldsMax,
        unknownBytes: Limits.messageUnknownBytesMax)
}

/// One walk over the wire bytes of one message; fails at the first fault.
///
/// `@safe`: lives only inside ``validate(_:_:_:)``, whose caller keeps the bytes, and every access
/// is to an index below the end that was checked against their count.
@safe
struct MessageValidator {
    private let base: UnsafePointer<UInt8>
    private var fieldsLeft: Int
    private var unknownBytesLeft: Int
    private var error: MessageFault?

    /// Checks a whole message.
    ///
    /// - Parameters:
    ///   - bytes: The wire bytes.
    ///   - descriptor: The generated descriptor of the message's type.
    ///   - limits: How much it may hold.
    /// - Throws: ``MessageFault`` with the first fault.
    /// - Complexity: O(bytes); no allocation unless it throws.
    static func validate(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>, _ limits: WireLimits
    ) throws(MessageFault) {
        guard bytes.count <= limits.bytes else {
            throw MessageFault(kind: .tooLarge, offset: limits.bytes)
        }
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        var walk = unsafe MessageValidator(
            base: base, fieldsLeft: limits.fields, unknownBytesLeft: limits.unknownBytes)
        if unsafe !walk.message(descriptor, 0, bytes.count, depth: 1) {
            throw walk.error ?? MessageFault(kind: .notUnpacked, offset: 0)
        }
    }

    /// Checks that a text that stands by itself is UTF-8 without NUL.
    static func validate(text: UnsafeBufferPointer<UInt8>) throws(MessageFault) {
        guard let base = text.baseAddress, text.count > 0 else { return }
        var walk = unsafe MessageValidator(base: base, fieldsLeft: 0, unknownBytesLeft: 0)
        if !walk.text(0..<text.count) {
            throw walk.error ?? MessageFault(kind: .invalidUTF8, offset: 0)
        }
    }

    private init(base: UnsafePointer<UInt8>, fieldsLeft: Int, unknownBytesLeft: Int) {
        unsafe self.base = unsafe base
        self.fieldsLeft = fieldsLeft
        self.unknownBytesLeft = unknownBytesLeft
    }

    private mutating func message(
        _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>, _ start: Int, _ end: Int,
        depth: Int
    ) -> Bool {
        guard depth <= Limits.messageDepthMax else { return fail(.tooDeep, start) }
        var at = start
        /// By index of the field: single sub-messages that were there already.
        var seen: UInt64 = 0
        while at < end {
            let fieldStart = at
            fieldsLeft &-= 1
            guard fieldsLeft >= 0 else { return fail(.tooManyFields, fieldStart) }
            guard let tag = unsafe Self.varint(base, &at, end, bytesMax: 5) else {
                return failVarint(fieldStart, end)
            }
            let number = tag >> 3
            guard number >= 1, number <= 0x1FFF_FFFF else {
                return fail(.invalidFieldNumber, fieldStart)
            }
            guard let value = extent(tag & 7, &at, end, fieldStart) else { return false }
            if let field = unsafe Self.field(UInt32(number), of: descriptor) {
                if unsafe Self.isSingleMessage(field) {
                    // No message type has more than 64 fields; a test says so.
                    let bit: UInt64 = unsafe 1 << UInt64(field - descriptor.pointee.fields)
                    guard seen & bit == 0 else {
                        _ = fail(.repeatedSubmessage, fieldStart)
                        unsafe locate(field, in: start..<fieldStart)
                        return false
                    }
                    seen |= bit
                }
                guard unsafe check(field, wireType: tag & 7, value, fieldStart, depth) else {
                    unsafe locate(field, in: start..<fieldStart)
                    return false
                }
            } else {
                unknownBytesLeft &-= at - fieldStart
                guard unknownBytesLeft >= 0 else { return fail(.tooManyUnknownBytes, fieldStart) }
            }
        }
        return true
    }

    /// Moves `at` past a field's value; nil after a fault.
    ///
    /// - Returns: Where the value is, without its length prefix.
    @inline(__always)
    private mutating func extent(
        _ wireType: UInt64, _ at: inout Int, _ end: Int, _ fieldStart: Int
    ) -> Range<Int>? {
        var start = at
        switch wireType {
        case 0:
            guard unsafe Self.varint(base, &at, end, bytesMax: 10) != nil else {
                _ = failVarint(start, end); return nil
            }
        case 2:
            guard let count = unsafe Self.varint(base, &at, end, bytesMax: 5) else {
                _ = failVarint(start, end)
                return nil
            }
            guard count <= UInt64(end - at) else { _ = fail(.truncated, fieldStart); return nil }
            start = at
            at += Int(count)
        case 1, 5:
            let size = wireType == 1 ? 8 : 4
            guard end - at >= size else { _ = fail(.truncated, fieldStart); return nil }
            at += size
        case 3, 4: _ = fail(.groupWireType, fieldStart); return nil
        default: _ = fail(.reservedWireType, fieldStart); return nil
        }
        return unsafe Range(uncheckedBounds: (start, at))
    }

    /// Checks the value of a known field.
    @inline(__always)
    private mutating func check(
        _ field: UnsafePointer<ProtobufCFieldDescriptor>, wireType: UInt64, _ value: Range<Int>,
        _ fieldStart: Int, _ depth: Int
    ) -> Bool {
        let type = unsafe field.pointee.type
        switch type {
        case PROTOBUF_C_TYPE_STRING:
            guard wireType == 2 else { return fail(.wireTypeMismatch, fieldStart) }
            return text(value)
        case PROTOBUF_C_TYPE_MESSAGE:
            guard wireType == 2, let inner = unsafe field.pointee.descriptor else {
                return fail(.wireTypeMismatch, fieldStart)
            }
            return unsafe message(
                inner.assumingMemoryBound(to: ProtobufCMessageDescriptor.self), value.lowerBound,
                value.upperBound, depth: depth + 1)
        case PROTOBUF_C_TYPE_BYTES:
            return wireType == 2 || fail(.wireTypeMismatch, fieldStart)
        default:
            let expected = Self.wireType(type)
            if wireType == expected { return true }
            guard wireType == 2, unsafe field.pointee.label == PROTOBUF_C_LABEL_REPEATED else {
                return fail(.wireTypeMismatch, fieldStart)
            }
            return packed(expected, value)
        }
    }

    /// Checks the elements of a packed field; each counts as a field.
    private mutating func packed(_ wireType: UInt64, _ value: Range<Int>) -> Bool {
        if wireType != 0 {
            let size = wireType == 1 ? 8 : 4
            guard value.count % size == 0 else { return fail(.packedLength, value.lowerBound) }
            fieldsLeft &-= value.count / size
        } else {
            var at = value.lowerBound
            while at < value.upperBound {
                let start = at
                guard unsafe Self.varint(base, &at, value.upperBound, bytesMax: 10) != nil else {
                    let long = value.upperBound - start >= 10
                    return fail(long ? .varintTooLong : .packedLength, start)
                }
                fieldsLeft &-= 1
            }
        }
        return fieldsLeft >= 0 || fail(.tooManyFields, value.lowerBound)
    }

    @inline(__always)
    private static func isSingleMessage(_ field: UnsafePointer<ProtobufCFieldDescriptor>) -> Bool {
        unsafe field.pointee.type == PROTOBUF_C_TYPE_MESSAGE
            && field.pointee.label != PROTOBUF_C_LABEL_REPEATED
    }

    /// The wire type of a scalar that is neither text nor bytes.
    @inline(__always)
    private static func wireType(_ type: ProtobufCType) -> UInt64 {
        switch type {
        case PROTOBUF_C_TYPE_SFIXED32, PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_FLOAT: 5
        case PROTOBUF_C_TYPE_SFIXED64, PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_DOUBLE: 1
        default: 0
        }
    }

    /// Reads a varint of at most `bytesMax` bytes and 64 bits; nil when it is longer or not whole.
    ///
    /// Static, because a method would be handed a copy of the whole walk (a third of its time).
    @inline(__always)
    private static func varint(
        _ base: UnsafePointer<UInt8>, _ at: inout Int, _ end: Int, bytesMax: Int
    ) -> UInt64? {
        guard at < end else { return nil }
        let first = unsafe base[at]
        if first < 0x80 {
            at &+= 1
            return UInt64(first)
        }
        return unsafe longVarint(base, &at, end, bytesMax: bytesMax)
    }

    @inline(never)
    private static func longVarint(
        _ base: UnsafePointer<UInt8>, _ at: inout Int, _ end: Int, bytesMax: Int
    ) -> UInt64? {
        var value: UInt64 = 0
        for index in 0..<min(bytesMax, end - at) {
            let byte = unsafe base[at + index]
            if index == 9, byte > 1 { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(7 * index)
            if byte < 0x80 {
                at += index + 1
                return value
            }
        }
        return nil
    }

    /// A varint could not be read: it was cut short, or it does not end.
    private mutating func failVarint(_ start: Int, _ end: Int) -> Bool {
        for index in start..<end where unsafe base[index] < 0x80 {
            return fail(.varintTooLong, start)
        }
        return fail(end - start >= 10 ? .varintTooLong : .truncated, start)
    }

    /// The field of that number, or nil.
    @inline(__always)
    private static func field(
        _ number: UInt32, of descriptor: UnsafePointer<ProtobufCMessageDescriptor>
    ) -> UnsafePointer<ProtobufCFieldDescriptor>? {
        guard let fields = unsafe descriptor.pointee.fields else { return nil }
        // Nearly every message numbers its fields 1, 2, 3 ...
        let guess = Int(number) - 1
        if unsafe guess < Int(descriptor.pointee.n_fields), unsafe fields[guess].id == number {
            return unsafe fields + guess
        }
        return unsafe protobuf_c_message_descriptor_get_field(descriptor, number)
    }

    @inline(__always)
    private mutating func fail(_ kind: MessageFault.Kind, _ offset: Int) -> Bool {
        error = MessageFault(kind: kind, offset: offset)
        return false
    }

    /// Puts the name of a field before the path of the fault inside it.
    ///
    /// - Parameters:
    ///   - field: The field of the enclosing message in which the fault is.
    ///   - before: What the enclosing message has before it; counted through for the index of a
    ///     repeated field.
    private mutating func locate(
        _ field: UnsafePointer<ProtobufCFieldDescriptor>, in before: Range<Int>
    ) {
        guard let name = unsafe field.pointee.name else { return }
        var path = unsafe String(cString: name)
        if unsafe field.pointee.label == PROTOBUF_C_LABEL_REPEATED {
            var index = 0
            var at = before.lowerBound
            while at < before.upperBound,
                let tag = unsafe Self.varint(base, &at, before.upperBound, bytesMax: 5)
            {
                if unsafe tag >> 3 == UInt64(field.pointee.id) { index += 1 }
                guard extent(tag & 7, &at, before.upperBound, at) != nil else { break }
            }
            path += "[\(index)]"
        }
        if let inner = error?.field, !inner.isEmpty { path += "." + inner }
        error?.field = path
    }

    // MARK: Text

    /// Checks that text is UTF-8 without NUL.
    ///
    /// Eight bytes at a time as long as they are ASCII, which is nearly always.
    @inline(__always)
    private mutating func text(_ range: Range<Int>) -> Bool {
        let plain = unsafe Self.plainTextBytes(base + range.lowerBound, range.count)
        return plain == range.count || slowText(range.lowerBound + plain, range.upperBound)
    }

    /// Whether bytes are such a text.
    @inline(__always)
    static func isText(_ start: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        let plain = unsafe plainTextBytes(start, count)
        return unsafe plain == count || isSlowText(start + plain, count - plain)
    }

    @inline(never)
    private static func isSlowText(_ start: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var walk = unsafe MessageValidator(base: start, fieldsLeft: 0, unknownBytesLeft: 0)
        return walk.slowText(0, count)
    }

    /// How many bytes from the start on are ASCII without NUL; may stop up to seven before the
    /// first that is not.
    @inline(__always)
    private static func plainTextBytes(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int {
        var at = 0
        let high: UInt64 = 0x8080_8080_8080_8080
        let ones: UInt64 = 0x0101_0101_0101_0101
        while count - at >= 8 {
            let word = unsafe UnsafeRawPointer(start + at).loadUnaligned(as: UInt64.self)
            // Any byte at or above 0x80, or equal to 0: the slow path tells which.
            if (word | (word &- ones)) & high != 0 { return at }
            at &+= 8
        }
        while at < count {
            let byte = unsafe start[at]
            if byte >= 0x80 || byte == 0 { return at }
            at &+= 1
        }
        return at
    }

    /// Source: Unicode 15, table 3-7 "Well-Formed UTF-8 Byte Sequences".
    @inline(never)
    private mutating func slowText(_ start: Int, _ end: Int) -> Bool {
        var at = start
        while at < end {
            let byte = unsafe base[at]
            if byte == 0 { return fail(.embeddedNUL, at) }
            if byte < 0x80 {
                at += 1
                continue
            }
            let (length, second): (Int, ClosedRange<UInt8>) =
                switch byte {
                case 0xC2...0xDF: (2, 0x80...0xBF)
                case 0xE0: (3, 0xA0...0xBF)
                case 0xED: (3, 0x80...0x9F)
                case 0xE1...0xEF: (3, 0x80...0xBF)
                case 0xF0: (4, 0x90...0xBF)
                case 0xF1...0xF3: (4, 0x80...0xBF)
                case 0xF4: (4, 0x80...0x8F)
                default: (0, 0...0)
                }
            guard length > 0, end - at >= length, unsafe second.contains(base[at + 1]) else {
                return fail(.invalidUTF8, at)
            }
            for index in 2..<max(2, length) where unsafe base[at + index] & 0xC0 != 0x80 {
                return fail(.invalidUTF8, at)
            }
            at += length
        }
        return true
    }
}
