// The encoding of `grpc-message`: text that must survive in an HTTP header. Knows nothing else.

import TriageBase

/// Percent-encodes the message of a status, and reads it back leniently.
///
/// Source: gRPC PROTOCOL-HTTP2 "Responses": `Percent-Byte-Unencoded -> 1*( %x20-%x24 / %x26-%x7E
/// )`.
package enum PercentEncoding {
    /// Encodes UTF-8 text.
    ///
    /// - Parameters:
    ///   - text: Any text.
    ///   - bytesMax: Most bytes of the result; the rest of the text is cut off, never in the middle
    ///     of an encoded character.
    /// - Returns: The header value.
    package static func encode(_ text: String, bytesMax: Int = .max) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            let before = out.count
            for byte in UTF8.encode(scalar)?.map({ $0 }) ?? [] {
                if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
                    out.append(byte)
                } else {
                    out.append(UInt8(ascii: "%"))
                    out.append(upperHexDigit(byte >> 4))
                    out.append(upperHexDigit(byte & 15))
                }
            }
            if out.count > bytesMax {
                out.removeSubrange(before...)
                break
            }
        }
        return out
    }

    /// Decodes a header value; what is not valid encoding stays as it is.
    ///
    /// The specification forbids discarding a message for a decoding error.
    package static func decode(_ bytes: Span<UInt8>) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%"), index + 2 < bytes.count,
                let high = hexDigitValue(bytes[index + 1]),
                let low = hexDigitValue(bytes[index + 2])
            {
                out.append(high << 4 | low)
                index += 3
            } else {
                out.append(byte)
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func upperHexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }
}
