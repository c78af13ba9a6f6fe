// Base64, for binary metadata on the wire, for bytes in JSON and for signed notes.

/// Base64; with or without padding when read.
///
/// Source: RFC 4648 §4; gRPC PROTOCOL-HTTP2: "implementations must accept padded and un-padded
/// values and should emit un-padded values".
package enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// Encodes bytes.
    ///
    /// - Parameters:
    ///   - bytes: Any bytes.
    ///   - padded: Whether `=` fills the last four characters up.
    /// - Returns: ASCII.
    package static func encode(_ bytes: Span<UInt8>, padded: Bool = false) -> [UInt8] {
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
        while padded, out.count % 4 != 0 { out.append(UInt8(ascii: "=")) }
        return out
    }

    /// Encodes bytes as text, padded.
    package static func text(_ bytes: Span<UInt8>) -> String {
        String(decoding: encode(bytes, padded: true), as: UTF8.self)
    }

    /// Decodes text that has its padding.
    ///
    /// - Returns: As ``decode(_:)``; nil without padding, too.
    package static func decode(text: some StringProtocol) -> [UInt8]? {
        let bytes = Array(text.utf8)
        return bytes.count % 4 == 0 ? decode(bytes.span) : nil
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
