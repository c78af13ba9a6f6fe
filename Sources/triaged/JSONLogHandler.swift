// Log lines as one JSON object each, on standard error. Whoever logs keeps personal data and content
// out; this only formats.

internal import Logging
internal import TriageBase
internal import TriageIO

/// Writes log events as JSON lines: `ts`, `level`, `logger`, `msg`, then the event's metadata.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    var metadataProvider: Logger.MetadataProvider?
    private let label: String

    /// Makes the handler of one logger.
    init(label: String, level: Logger.Level) {
        self.label = label
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line = "{\"ts\":"
        JSONText.append(Timestamp.rfc3339(SystemClock().wallTime()), to: &line)
        line += ",\"level\":"
        JSONText.append(event.level.rawValue, to: &line)
        line += ",\"logger\":"
        JSONText.append(label, to: &line)
        line += ",\"msg\":"
        JSONText.append(event.message.description, to: &line)
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += ","
            JSONText.append(key, to: &line)
            line += ":"
            JSONText.append(value.description, to: &line)
        }
        line += "}\n"
        StandardStream.error.write(line)
    }
}

/// JSON string literals.
enum JSONText {
    /// Appends `text` as a JSON string (RFC 8259 §7).
    static func append(_ text: String, to line: inout String) {
        line += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            default:
                if scalar.value < 0x20 {
                    line += "\\u" + hexText(UInt64(scalar.value)).suffix(4)
                } else {
                    line.unicodeScalars.append(scalar)
                }
            }
        }
        line += "\""
    }
}
