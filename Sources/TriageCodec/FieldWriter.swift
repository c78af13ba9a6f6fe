// Protobuf's wire format, written straight into memory: for the few messages that are made for
// every report, where filling a generated structure, asking for its size and packing it costs ten
// times as much. Byte for byte what protobuf-c packs: fields in the order of their numbers, those
// with their defaults left out. Knows no message.
//
// Source: protobuf.dev "Encoding"; proto3's defaults.

/// The tags of fields: one byte for numbers below 16, two for the others.
enum WireTag {
    static let varintKind: UInt8 = 0, fixed64Kind: UInt8 = 1, bytesKind: UInt8 = 2
    @inline(__always) static func varint(_ field: UInt8) -> UInt8 { field << 3 }
    @inline(__always) static func fixed64(_ field: UInt8) -> UInt8 { field << 3 | 1 }
    @inline(__always) static func bytes(_ field: UInt8) -> UInt8 { field << 3 | 2 }
}

/// Writes fields one behind the other.
///
/// `@safe`: lives only inside functions of this module, each of which has made room for the most
/// that it can write; debug builds check every byte.
@safe struct FieldWriter {
    private(set) var cursor: UnsafeMutablePointer<UInt8>
    private let start: UnsafeMutablePointer<UInt8>
    private let end: UnsafeMutablePointer<UInt8>

    /// Writes from `start` on; there is room for `capacity` bytes.
    init(_ start: UnsafeMutablePointer<UInt8>, capacity: Int) {
        unsafe self.start = unsafe start
        unsafe cursor = unsafe start
        unsafe end = unsafe start + capacity
    }

    /// Bytes written.
    var count: Int { unsafe cursor - start }

    /// What was written.
    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: start, count: count) }

    /// The most bytes of a varint.
    static let varintBytesMax = 10

    @inline(__always)
    mutating func byte(_ byte: UInt8) {
        unsafe assert(cursor < end, "no room was made")
        unsafe cursor.initialize(to: byte)
        unsafe cursor += 1
    }

    @inline(__always)
    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            byte(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        byte(UInt8(truncatingIfNeeded: rest))
    }

    /// How many bytes a varint takes.
    @inline(__always)
    static func varintBytes(_ value: UInt64) -> Int {
        (63 - (value | 1).leadingZeroBitCount) / 7 + 1
    }

    @inline(__always)
    private mutating func tag(_ field: UInt8, _ kind: UInt8) {
        if field < 16 { return byte(field << 3 | kind) }
        byte(0x80 | (field & 15) << 3 | kind)
        byte(field >> 4)
    }

    /// An integer, a choice or a truth value.
    @inline(__always)
    mutating func number(_ field: UInt8, _ value: UInt64) {
        guard value != 0 else { return }
        tag(field, WireTag.varintKind)
        varint(value)
    }

    /// How many bytes a number takes with its tag of one byte.
    @inline(__always)
    static func numberBytes(_ value: UInt64) -> Int { value == 0 ? 0 : 1 + varintBytes(value) }

    /// An `int64`.
    @inline(__always)
    mutating func signed(_ field: UInt8, _ value: Int64) {
        number(field, UInt64(bitPattern: value))
    }

    /// A `fixed64`.
    @inline(__always)
    mutating func fixed(_ field: UInt8, _ value: UInt64) {
        guard value != 0 else { return }
        tag(field, WireTag.fixed64Kind)
        unsafe assert(end - cursor >= 8, "no room was made")
        unsafe UnsafeMutableRawPointer(cursor).storeBytes(of: value.littleEndian, as: UInt64.self)
        unsafe cursor += 8
    }

    /// The head of a text, of bytes or of a message, which follow.
    @inline(__always)
    mutating func head(_ field: UInt8, _ count: Int) {
        tag(field, WireTag.bytesKind)
        varint(UInt64(count))
    }

    /// Bytes as they are.
    @inline(__always)
    mutating func raw(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        unsafe assert(end - cursor >= bytes.count, "no room was made")
        unsafe UnsafeMutableRawPointer(cursor).copyMemory(
            from: source, byteCount: bytes.count)
        unsafe cursor += bytes.count
    }

    @inline(__always)
    mutating func ascii(_ text: StaticString) {
        unsafe raw(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// A number in decimal digits.
    mutating func decimal(_ value: UInt64) {
        var digits = 1
        var bound: UInt64 = 10
        while digits < 20, value >= bound {
            digits += 1
            bound = digits < 20 ? bound &* 10 : bound
        }
        unsafe assert(end - cursor >= digits, "no room was made")
        var rest = value
        for index in stride(from: digits - 1, through: 0, by: -1) {
            unsafe cursor[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        unsafe cursor += digits
    }

    /// A text or bytes; left out when empty.
    @inline(__always)
    mutating func text(_ field: UInt8, _ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        head(field, bytes.count)
        unsafe raw(bytes)
    }

    /// A message of less than 128 bytes, present even when it is empty.
    @inline(__always)
    mutating func small(_ field: UInt8, _ body: (inout FieldWriter) -> Void) {
        byte(WireTag.bytes(field))
        byte(0)
        let length = unsafe cursor - 1
        body(&self)
        let count = unsafe cursor - length - 1
        precondition(count < 0x80, "a small message")
        unsafe length.pointee = UInt8(truncatingIfNeeded: count)
    }
}
