// How API values read on a terminal.

internal import TriageBase
internal import TriageCodec
internal import TriageIO

/// Short forms of API values.
enum Shown {
    /// `P0` for `LEVEL_P0`.
    static func level(_ message: DynamicMessage) -> String {
        value(message, "level", prefix: "LEVEL_").uppercased()
    }

    /// An enum value without its prefix, in lower case.
    static func value(_ message: DynamicMessage, _ field: String, prefix: String) -> String {
        let name = message.text(field)
        return (name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name).lowercased()
    }

    /// The last part of a SPIFFE or DNS identity.
    static func identity(_ text: String) -> String {
        text.split(separator: "/").last.map(String.init) ?? ""
    }

    /// A time, to the second; `-` when there is none.
    static func time(_ time: WallTime?) -> String {
        time.map { String(Timestamp.rfc3339($0).prefix(19)) + "Z" } ?? "-"
    }

    /// How long until a time, or since: `in 4 min`, `2 h ago`.
    static func relative(_ time: WallTime?, now: WallTime = SystemClock().wallTime()) -> String {
        guard let time else { return "-" }
        let seconds = (time.milliseconds - now.milliseconds) / 1_000
        let size = seconds.magnitude
        let text =
            switch size {
            case ..<90: "\(size) s"
            case ..<5_400: "\(size / 60) min"
            case ..<172_800: "\(size / 3_600) h"
            default: "\(size / 86_400) d"
            }
        return seconds < 0 ? "\(text) ago" : "in \(text)"
    }

    /// Says what pages of a list do not show.
    static func leftOut(_ pages: [DynamicMessage]) {
        if pages.last?.text("next_page_token").isEmpty == false {
            Output.line("there are more: give a larger --limit")
        }
        let withheld = pages.reduce(0) { $0 &+ $1.int("withheld_count") }
        if withheld > 0 {
            Output.line("\(withheld) left out: the server's storage failed; try again shortly")
        }
    }

    /// The header of a table of cases.
    static let caseColumns = [
        "CASE", "LEVEL", "CODE", "DUE", "STATE", "HARM", "LANG", "REPORTS", "HELD BY",
    ]

    /// The row of a case in that table.
    static func row(_ value: DynamicMessage) -> [String] {
        [
            value.text("name"), level(value), value.text("level_code"),
            relative(value.message("order")?.time("effective_deadline_time")),
            self.value(value, "state", prefix: "CASE_STATE_"),
            self.value(value, "harm_family", prefix: "HARM_FAMILY_"),
            value.text("language_code"), String(value.int("report_count")),
            value.text("waits_for") == "CASE_WAIT_CLOSING"
                ? "nobody: to be closed" : identity(value.text("assignee")),
        ]
    }

    /// One line for an assignment.
    static func assignment(_ value: DynamicMessage) -> String {
        let state = self.value(value, "state", prefix: "ASSIGNMENT_STATE_")
        let token = value.int("fencing_token")
        return
            "\(value.text("name")) \(state) \(value.text("case")) token \(token)"
            + " expires \(relative(value.time("expire_time")))"
    }

    /// One line for a case.
    static func `case`(_ value: DynamicMessage) -> String {
        let state = self.value(value, "state", prefix: "CASE_STATE_")
        return "\(value.text("name")) \(level(value)) \(value.text("level_code")) \(state)"
    }

    /// One line for a disclosure request.
    static func disclosure(_ value: DynamicMessage) -> String {
        let state = self.value(value, "state", prefix: "DISCLOSURE_STATE_")
        let kind = self.value(value, "kind", prefix: "DISCLOSURE_KIND_")
        return "\(value.text("name")) \(kind) \(state) etag \(value.text("etag"))"
    }

    /// One line for evidence.
    static func evidence(_ value: DynamicMessage) -> String {
        let state = self.value(value, "state", prefix: "EVIDENCE_STATE_")
        return "\(value.text("name")) \(state) \(value.text("media_type")) "
            + "\(value.int("size_bytes")) bytes sha256 \(value.text("sha256"))"
    }

    /// One line for a hold.
    static func hold(_ value: DynamicMessage) -> String {
        let state = self.value(value, "state", prefix: "HOLD_STATE_")
        return "\(value.text("name")) \(state) \(value.text("rule")) until "
            + time(value.time("expire_time"))
    }
}
