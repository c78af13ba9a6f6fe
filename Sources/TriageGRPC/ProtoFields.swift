// The few lines of the protobuf wire format that the wire layer needs to write and read
// google.rpc.Status itself. Knows no message type.
//
// Source: protobuf "Encoding": tag = field number << 3 | wire type; 0 varint, 1 and 5 fixed, 2
// length-delimited.

/// Writes fields of a protobuf message.
package struct ProtoWriter {
    /// The fields so far.
    package private(set) var bytes: [UInt8] = []

    /// Starts empty.
    package init() {}

    /// Writes a number; zero is left out.
    package mutating func varint(_ field: Int, _ value: UInt64) {
        guard value != 0 else { return }
        raw(UInt64(field) << 3)
        raw(value)
    }

    /// Writes bytes, also none.
    package mutating func lengthDelimited(_ field: Int, _ value: [UInt8]) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    /// Writes text; none is left out.
    package mutating func text(_ field: Int, _ value: String) {
        guard !value.isEmpty else { return }
        lengthDelimited(field, Array(value.utf8))
    }

    /// Writes a message, also an empty one.
    package mutating func message(_ field: Int, _ build: (inout ProtoWriter) -> Void) {
        var inner = ProtoWriter()
        build(&inner)
        lengthDelimited(field, inner.bytes)
    }

    private mutating func raw(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// Walks the fields of a protobuf message that came from a peer.
package struct ProtoReader {
    /// What a field holds.
    package enum Value {
        case varint(UInt64)
        /// Where the bytes lie in the whole message.
        case bytes(Range<Int>)
        /// Four or eight bytes, which no message here has a use for.
        case fixed
    }

    private let bytes: [UInt8]
    private var at: Int
    private let end: Int

    /// Walks a part of `bytes`.
    package init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
    }

    /// The next field; nil at the end and for anything malformed, after which nothing follows.
    package mutating func next() -> (field: Int, value: Value)? {
        guard at < end, let tag = raw() else { return stop() }
        switch tag & 7 {
        case 0:
            guard let value = raw() else { return stop() }
            return (Int(clamping: tag >> 3), .varint(value))
        case 1:
            guard end - at >= 8 else { return stop() }
            at += 8
            return (Int(clamping: tag >> 3), .fixed)
        case 2:
            guard let count = raw(), count <= UInt64(end - at) else { return stop() }
            let range = at..<(at + Int(count))
            at = range.upperBound
            return (Int(clamping: tag >> 3), .bytes(range))
        case 5:
            guard end - at >= 4 else { return stop() }
            at += 4
            return (Int(clamping: tag >> 3), .fixed)
        default:
            return stop()
        }
    }

    /// Bytes of the message as text.
    package func text(_ range: Range<Int>) -> String {
        String(decoding: bytes[range], as: UTF8.self)
    }

    /// Walks a message within the message.
    package func reader(_ range: Range<Int>) -> ProtoReader { ProtoReader(bytes, range) }

    private mutating func stop() -> (field: Int, value: Value)? {
        at = end
        return nil
    }

    private mutating func raw() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end, shift < 64 {
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
