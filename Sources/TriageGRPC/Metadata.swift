// Rules for the names and values of metadata, and base64 for binary values. HTTP/2 has already refused
// what RFC 9113 forbids; these are the rules that gRPC adds.

import TriageBase

/// One header or trailer field, owned.
package struct MetadataField: Equatable, Sendable {
    /// Lower-case name.
    package var name: [UInt8]
    /// The value as it stands on the wire.
    package var value: [UInt8]

    /// Groups a name and a value.
    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// Groups a name and a value given as text.
    package init(_ name: String, _ value: String) {
        self.init(name: Array(name.utf8), value: Array(value.utf8))
    }
}

/// Rules for metadata.
///
/// Source: gRPC PROTOCOL-HTTP2 "Custom-Metadata".
package enum Metadata {
    /// True for `1*( %x30-39 / %x61-7A / "_" / "-" / "." )`.
    package static func isValidName(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0 else { return false }
        for index in name.indices {
            switch name[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                continue
            default: return false
            }
        }
        return true
    }

    /// True for printable ASCII, the only bytes of a value that is not binary.
    package static func isValidASCIIValue(_ value: Span<UInt8>) -> Bool {
        for index in value.indices where value[index] < 0x20 || value[index] > 0x7E { return false }
        return true
    }

    /// True when the name ends in `-bin`: the value is base64.
    package static func isBinary(_ name: Span<UInt8>) -> Bool {
        let count = name.count
        return count > 4 && name[count - 4] == UInt8(ascii: "-")
            && name[count - 3] == UInt8(ascii: "b") && name[count - 2] == UInt8(ascii: "i")
            && name[count - 1] == UInt8(ascii: "n")
    }

    /// True when the name is gRPC's own and must not be set by an application.
    package static func isReserved(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0 else { return true }
        if name[0] == UInt8(ascii: ":") { return true }
        let reserved: [UInt8] = Array("grpc-".utf8)
        guard name.count >= reserved.count else { return false }
        return equal(name.extracting(first: reserved.count), reserved)
    }
}

/// Base64 without padding when written, with or without when read.
///
/// Source: RFC 4648 §4; gRPC PROTOCOL-HTTP2: "implementations must accept padded and un-padded values
/// and should emit un-padded values".
package enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// Encodes bytes, without padding.
    package static func encode(_ bytes: Span<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count * 4 + 2) / 3)
        var bits: UInt32 = 0
        var count = 0
        for index in bytes.indices {
            bits = bits << 8 | UInt32(bytes[index])
            count += 8
            while count >= 6 {
                count -= 6
                out.append(alphabet[Int(bits >> UInt32(count) & 63)])
            }
        }
        if count > 0 { out.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
        return out
    }

    /// Decodes text.
    ///
    /// - Returns: nil for a foreign character, a wrong length, or bits that are set beyond the end.
    package static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        var count = text.count
        if count % 4 == 0 {
            var padding = 0
            while padding < 2, count > 0, text[count - 1] == UInt8(ascii: "=") {
                count -= 1
                padding += 1
            }
        }
        guard count % 4 != 1 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(count * 3 / 4)
        var bits: UInt32 = 0
        var held = 0
        for index in 0..<count {
            guard let value = value(text[index]) else { return nil }
            bits = bits << 6 | UInt32(value)
            held += 6
            if held >= 8 {
                held -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
                bits &= 1 << UInt32(held) - 1
            }
        }
        return bits == 0 ? out : nil
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
