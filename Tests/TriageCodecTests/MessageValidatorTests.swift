// The wire validator, malformation by malformation, at the top and inside nested messages.

import CProtobufC
import CTriageProtos
import Testing
import TriageBase

@testable import TriageCodec

/// Wire bytes by hand, so that they can be wrong.
struct Wire {
    var bytes: [UInt8] = []

    static func varint(_ value: UInt64) -> [UInt8] {
        var out: [UInt8] = []
        var rest = value
        while rest >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return out + [UInt8(rest)]
    }

    static func tag(_ field: UInt64, _ type: UInt64) -> [UInt8] { varint(field << 3 | type) }

    static func text(_ field: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        tag(field, 2) + varint(UInt64(bytes.count)) + bytes
    }

    static func text(_ field: UInt64, _ text: String) -> [UInt8] {
        self.text(field, Array(text.utf8))
    }
}

@Suite("Message validator") struct MessageValidatorTests {
    /// Checks bytes as a SubmitReportRequest.
    static func validate(
        _ bytes: [UInt8], _ limits: WireLimits = .request
    ) throws(MessageFault) {
        let arena = Arena()
        _ = unsafe try arena.unpack(bytes.span, limits, triaged__v1__submit_report_request__init)
    }

    static func error(_ bytes: [UInt8], _ limits: WireLimits = .request) -> MessageFault? {
        do {
            try validate(bytes, limits)
            return nil
        } catch { return error }
    }

    /// Puts a fragment at depth 1 (request), 2 (report) and 3 (subject), behind a field that is
    /// right.
    static func nested(_ fragment: [UInt8], depth: Int) -> [UInt8] {
        switch depth {
        case 1: Wire.text(1, "id") + fragment
        case 2: Wire.text(2, Wire.text(13, "words") + fragment)
        default: Wire.text(2, Wire.text(13, "w") + Wire.text(4, Wire.text(2, "id") + fragment))
        }
    }

    static let malformations: [(what: String, fragment: [UInt8], kind: MessageFault.Kind)] = [
        ("tag cut short", [0x80], .truncated),
        ("tag of six bytes", [0x81, 0x80, 0x80, 0x80, 0x80, 0x01, 0], .varintTooLong),
        ("field number 0", [0x02, 0], .invalidFieldNumber),
        ("field number above 2^29", [0xF8, 0xFF, 0xFF, 0xFF, 0x7F, 0], .invalidFieldNumber),
        ("group start", [0x9B, 0x06], .groupWireType),
        ("group end", [0x9C, 0x06], .groupWireType),
        ("wire type 6", [0x9E, 0x06], .reservedWireType),
        ("wire type 7", [0x9F, 0x06], .reservedWireType),
        ("unknown varint cut short", [0x98, 0x06, 0xFF], .truncated),
        (
            "varint of eleven bytes",
            [0x98, 0x06] + [UInt8](repeating: 0x80, count: 10) + [0x01], .varintTooLong
        ),
        (
            "varint above 64 bits",
            [0x98, 0x06] + [UInt8](repeating: 0xFF, count: 9) + [0x02], .varintTooLong
        ),
        ("unknown fixed64 cut short", [0x99, 0x06, 1, 2, 3, 4, 5, 6, 7], .truncated),
        ("unknown fixed32 cut short", [0x9D, 0x06, 1, 2, 3], .truncated),
        ("unknown bytes cut short", [0x9A, 0x06, 5, 1, 2], .truncated),
        (
            "length above the message",
            [0x9A, 0x06, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], .truncated
        ),
        (
            "length of six bytes",
            [0x9A, 0x06, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00], .varintTooLong
        ),
    ]

    @Test(
        "a malformation is refused at every depth", arguments: 0..<malformations.count, [1, 2, 3])
    func refusesMalformation(_ row: Int, _ depth: Int) {
        let (what, fragment, kind) = Self.malformations[row]
        #expect(Self.error(Self.nested(fragment, depth: depth))?.kind == kind, "\(what)")
    }

    /// Text fields: request_id (depth 1), report.description (2), report.subject.uri (3).
    static let textFields: [(depth: Int, field: UInt64, path: String)] = [
        (1, 1, "request_id"), (2, 13, "report.description"), (3, 4, "report.subject.uri"),
    ]

    static let texts: [(bytes: [UInt8], kind: MessageFault.Kind?)] = [
        (Array("ascii".utf8), nil), (Array("a much longer ascii text, with words".utf8), nil),
        (Array("é€😀".utf8), nil), ([0xEF, 0xBF, 0xBF], nil), ([0xF4, 0x8F, 0xBF, 0xBF], nil),
        ([0x7F], nil), ([], nil),
        ([0x61, 0x00, 0x62], .embeddedNUL), ([0x00], .embeddedNUL),
        (Array("eight by".utf8) + [0x00], .embeddedNUL),
        (Array("eig".utf8) + [0x00] + Array("t bytes and more".utf8), .embeddedNUL),
        ([0x80], .invalidUTF8), ([0xC0, 0xAF], .invalidUTF8), ([0xC1, 0xBF], .invalidUTF8),
        ([0xC2], .invalidUTF8), ([0xC2, 0x41], .invalidUTF8), ([0xE0, 0x9F, 0xBF], .invalidUTF8),
        ([0xE2, 0x82], .invalidUTF8), ([0xE2, 0x82, 0x41], .invalidUTF8),
        ([0xED, 0xA0, 0x80], .invalidUTF8), ([0xF0, 0x8F, 0xBF, 0xBF], .invalidUTF8),
        ([0xF0, 0x9F, 0x98, 0x41], .invalidUTF8), ([0xF4, 0x90, 0x80, 0x80], .invalidUTF8),
        ([0xF5, 0x80, 0x80, 0x80], .invalidUTF8), ([0xFF], .invalidUTF8),
        (Array("seven b".utf8) + [0xFF], .invalidUTF8),
    ]

    @Test("text is UTF-8 without NUL at every depth", arguments: 0..<texts.count, 0..<3)
    func checksText(_ row: Int, _ place: Int) {
        let (depth, field, path) = Self.textFields[place]
        let (bytes, kind) = Self.texts[row]
        let error = Self.error(Self.nested(Wire.text(field, bytes), depth: depth))
        #expect(error?.kind == kind)
        if kind != nil { #expect(error?.field == path) }
    }

    @Test func namesTheElementOfARepeatedField() {
        let good = Wire.text(10, Wire.text(1, "model") + Wire.text(3, "label"))
        let bad = Wire.text(10, Wire.text(1, "model") + Wire.text(3, [0xFF]))
        let other = Wire.text(11, "en")
        let error = Self.error(Wire.text(2, good + other + good + bad))
        #expect(
            error == MessageFault(kind: .invalidUTF8, offset: 49, field: "report.signals[2].label"))
    }

    /// A value of each wire type, for each type of field that has another one.
    static let mismatches: [(what: String, bytes: [UInt8])] = [
        ("text as varint", [0x08, 1]), ("text as fixed64", [0x09, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("text as fixed32", [0x0D, 1, 2, 3, 4]), ("message as varint", [0x10, 1]),
        ("message as fixed32", [0x15, 1, 2, 3, 4]),
        ("enum as fixed64", Wire.text(2, [0x31, 1, 2, 3, 4, 5, 6, 7, 8])),
        ("enum as bytes", Wire.text(2, Wire.text(6, [1]))),
        ("double as varint", Wire.text(2, Wire.text(10, [0x20, 1]))),
        ("double as fixed32", Wire.text(2, Wire.text(10, [0x25, 1, 2, 3, 4]))),
        (
            "double as bytes",
            Wire.text(2, Wire.text(10, Wire.text(4, [UInt8](repeating: 0, count: 8))))
        ),
        ("repeated enum as fixed32", Wire.text(2, [0x45, 1, 2, 3, 4])),
        ("repeated text as varint", Wire.text(2, [0x70, 1])),
    ]

    @Test("a field has the wire type of its type", arguments: 0..<mismatches.count)
    func refusesMismatch(_ row: Int) {
        let (what, bytes) = Self.mismatches[row]
        #expect(Self.error(bytes)?.kind == .wireTypeMismatch, "\(what)")
    }

    @Test func takesPackedAndUnpackedElements() {
        #expect(Self.error(Wire.text(2, Wire.text(8, [1, 2, 3]))) == nil)
        #expect(Self.error(Wire.text(2, [0x40, 1, 0x40, 2])) == nil)
    }

    @Test func refusesPackedElementCutShort() {
        #expect(Self.error(Wire.text(2, Wire.text(8, [1, 0x80])))?.kind == .packedLength)
        let long = [UInt8](repeating: 0x80, count: 10) + [1]
        #expect(Self.error(Wire.text(2, Wire.text(8, long)))?.kind == .varintTooLong)
    }

    @Test func countsFieldsNestedOnesAndPackedElements() {
        let one = Wire.text(14, "u")
        func report(_ count: Int) -> [UInt8] {
            Wire.text(2, [[UInt8]](repeating: one, count: count).flatMap { $0 })
        }
        // The report itself is a field too.
        #expect(Self.error(report(Limits.messageFieldsMax - 1)) == nil)
        #expect(Self.error(report(Limits.messageFieldsMax))?.kind == .tooManyFields)
        func packed(_ count: Int) -> [UInt8] {
            Wire.text(2, Wire.text(8, [UInt8](repeating: 1, count: count)))
        }
        #expect(Self.error(packed(Limits.messageFieldsMax - 2)) == nil)
        #expect(Self.error(packed(Limits.messageFieldsMax - 1))?.kind == .tooManyFields)
        let unknown = [[UInt8]](repeating: [0x98, 0x06, 0], count: Limits.messageFieldsMax + 1)
        #expect(Self.error(unknown.flatMap { $0 })?.kind == .tooManyFields)
    }

    @Test func boundsUnknownBytesAndSkipsThem() {
        let at = Limits.messageUnknownBytesMax
        // Tag of two bytes, length of three.
        #expect(Self.error(Wire.text(99, [UInt8](repeating: 0xFF, count: at - 5))) == nil)
        let error = Self.error(Wire.text(99, [UInt8](repeating: 0xFF, count: at - 4)))
        #expect(error?.kind == .tooManyUnknownBytes)
    }

    @Test func boundsTheMessage() {
        let limits = WireLimits(bytes: 10, fields: 10, unknownBytes: 10)
        #expect(Self.error(Wire.text(1, "12345678"), limits) == nil)
        #expect(Self.error(Wire.text(1, "123456789"), limits)?.kind == .tooLarge)
        #expect(Self.error([]) == nil)
    }

    /// No type of ours is recursive, so a descriptor that contains itself is made here.
    @Test func boundsDepth() throws {
        func innermost(_ depth: Int) -> [UInt8] {
            (1..<depth).reduce([]) { inner, _ in Wire.text(1, inner) }
        }
        let field = UnsafeMutablePointer<ProtobufCFieldDescriptor>.allocate(capacity: 1)
        let range = UnsafeMutablePointer<ProtobufCIntRange>.allocate(capacity: 2)
        let descriptor = UnsafeMutablePointer<ProtobufCMessageDescriptor>.allocate(
            capacity: 1)
        defer {
            unsafe field.deallocate()
            unsafe range.deallocate()
            unsafe descriptor.deallocate()
        }
        unsafe range.initialize(to: ProtobufCIntRange(start_value: 1, orig_index: 0))
        unsafe (range + 1).initialize(to: ProtobufCIntRange(start_value: 0, orig_index: 1))
        unsafe field.initialize(to: ProtobufCFieldDescriptor())
        unsafe field.pointee.id = 1
        unsafe field.pointee.type = PROTOBUF_C_TYPE_MESSAGE
        unsafe field.pointee.label = PROTOBUF_C_LABEL_NONE
        unsafe field.pointee.descriptor = UnsafeRawPointer(descriptor)
        unsafe descriptor.initialize(to: ProtobufCMessageDescriptor())
        unsafe descriptor.pointee.n_fields = 1
        unsafe descriptor.pointee.fields = UnsafePointer(field)
        unsafe descriptor.pointee.n_field_ranges = 1
        unsafe descriptor.pointee.field_ranges = UnsafePointer(range)
        func error(_ bytes: [UInt8]) -> MessageFault.Kind? {
            unsafe bytes.withUnsafeBufferPointer { buffer in
                do throws(MessageFault) {
                    unsafe try MessageValidator.validate(buffer, descriptor, .request)
                    return nil
                } catch { return error.kind }
            }
        }
        #expect(error(innermost(Limits.messageDepthMax)) == nil)
        #expect(error(innermost(Limits.messageDepthMax + 1)) == .tooDeep)
        #expect(error(innermost(1_000)) == .tooDeep)
    }

    @Test("the validator's bit set has room for the fields of every message")
    func messagesHaveAtMost64Fields() {
        for schema in MethodSchema.all {
            #expect(schema.request.fieldNames.count <= 64)
            #expect(schema.reply.fieldNames.count <= 64)
        }
        let arena = Arena()
        let event = unsafe arena.new(triaged__storage__v1__event__init)
        #expect(unsafe event.pointee.base.descriptor.pointee.n_fields <= 64)
        let filing = unsafe arena.new(triaged__v1__disclosure_request__init)
        #expect(unsafe filing.pointee.base.descriptor.pointee.n_fields <= 64)
        let record = unsafe arena.new(triaged__storage__v1__case_record__init)
        #expect(unsafe record.pointee.base.descriptor.pointee.n_fields <= 64)
    }

    @Test func everyTruncationOfAValidMessageIsRefusedOrAPrefix() throws {
        let bytes = try request("SubmitReport", Valid.submitReport)
        #expect(Self.error(bytes) == nil)
        // Whole messages are the empty one and the one that ends behind request_id.
        for count in 1..<bytes.count where count != 38 {
            #expect(Self.error(Array(bytes.prefix(count))) != nil, "\(count)")
        }
    }
}
