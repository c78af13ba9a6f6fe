// Dynamic messages as JSON text, for people and scripts.

internal import TriageBase

/// The protobuf JSON mapping.
///
/// Source: protobuf.dev/programming-guides/json.
package enum JSONMapping {
    /// The JSON text of a value, on one line.
    package static func text(_ value: DynamicValue) -> String {
        switch value {
        case .bool(let flag): flag ? "true" : "false"
        case .int(let number): String(number)
        case .long(let number): "\"\(number)\""
        case .double(let number): number.isFinite ? "\(number)" : "\"\(number)\""
        case .string(let text), .enumeration(let text): JSONText.quoted(text)
        case .bytes(let bytes):
            JSONText.quoted(String(decoding: Base64.encode(bytes.span), as: UTF8.self))
        case .timestamp(let time): JSONText.quoted(Timestamp.rfc3339(time))
        case .duration(let milliseconds): JSONText.quoted(seconds(milliseconds))
        case .list(let values): "[" + values.map(text).joined(separator: ",") + "]"
        case .message(let message):
            "{"
                + message.fields.map { JSONText.quoted(camelCase($0.name)) + ":" + text($0.value) }
                .joined(separator: ",") + "}"
        }
    }

    /// `page_size` as `pageSize`.
    package static func camelCase(_ name: String) -> String {
        let parts = name.split(separator: "_")
        return parts.prefix(1).joined()
            + parts.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// `pageSize` as `page_size`; leaves `page_size` as it is.
    package static func snakeCase(_ name: String) -> String {
        name.reduce(into: "") { text, character in
            text += character.isUppercase ? "_" + character.lowercased() : String(character)
        }
    }

    private static func seconds(_ milliseconds: Int64) -> String {
        let sign = milliseconds < 0 ? "-" : ""
        let rest = String(milliseconds.magnitude % 1_000)
        let padded = String(repeating: "0", count: 3 - rest.count) + rest
        return "\(sign)\(milliseconds.magnitude / 1_000).\(padded)s"
    }
}
