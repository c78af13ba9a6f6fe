// Log lines as one JSON object each, on standard error. Whoever logs keeps personal data and
// content out; this only formats.

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
        let time = Timestamp.rfc3339(SystemClock().wallTime())
        var fields = [
            ("ts", time), ("level", event.level.rawValue), ("logger", label),
            ("msg", event.message.description),
        ]
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        fields += all.sorted { $0.key < $1.key }.map { ($0.key, $0.value.description) }
        let members = fields.map { "\(JSONText.quoted($0.0)):\(JSONText.quoted($0.1))" }
        StandardStream.error.write("{\(members.joined(separator: ","))}\n")
    }
}
