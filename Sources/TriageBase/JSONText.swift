// JSON string literals, for log lines and for the command line's output.

/// Writes JSON string literals.
package enum JSONText {
    /// Quotes `text`, escaping what JSON demands, and all control characters.
    ///
    /// - Parameter text: Any text.
    /// - Returns: The literal, quotation marks included.
    ///
    /// Source: RFC 8259 §7.
    package static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default:
                // The last ones are no control characters to JSON, and are to terminals.
                if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
                    out += "\\u" + hexText(UInt64(scalar.value)).suffix(4)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }
}
