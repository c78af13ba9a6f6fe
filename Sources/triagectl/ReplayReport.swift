// What a replay measured: latencies by level, and what became of the reports.

internal import Histogram
internal import TriageCodec

/// Latencies and counts of a replay, gathered by many tasks.
actor ReplayReport {
    private var submit: [String: Histogram<UInt64>] = [:]
    private var claimWait: [String: Histogram<UInt64>] = [:]
    private(set) var sent = 0
    private(set) var opened = 0
    private(set) var joined = 0
    private(set) var closed = 0
    private var refusals: [String: Int] = [:]

    /// A report was acknowledged; latency from the intended time of sending, microseconds.
    func acknowledged(level: String, opened: Bool, microseconds: UInt64) {
        sent += 1
        if opened { self.opened += 1 } else { joined += 1 }
        submit[level, default: Self.histogram()].record(microseconds)
    }

    /// A call was refused.
    func refused(reason: String) {
        refusals[reason, default: 0] += 1
    }

    /// A specialist got a case; virtual time from its receipt, milliseconds.
    func claimed(level: String, waitMilliseconds: UInt64) {
        claimWait[level, default: Self.histogram()].record(waitMilliseconds)
    }

    /// A specialist closed a case.
    func closedCase() {
        closed += 1
    }

    private static func histogram() -> Histogram<UInt64> {
        Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    }

    /// The progress bar's text.
    func progress(planned: Int) -> String {
        let share = planned == 0 ? 1 : Double(sent) / Double(planned)
        let filled = Int(share * 30)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        let refused = refusals.values.reduce(0, +)
        return "[\(bar)] \(sent)/\(planned) reports, \(opened) cases, \(closed) closed"
            + (refused > 0 ? ", \(refused) refused" : "")
    }

    /// The tables at the end.
    func tables() -> [String] {
        var lines = ["SubmitReport, from the intended time of sending, ms"]
        lines += Self.table(submit, scale: 1_000)
        if !claimWait.isEmpty {
            lines += ["", "Wait for a specialist, virtual s"]
            lines += Self.table(claimWait, scale: 1_000)
        }
        for (reason, count) in refusals.sorted(by: { $0.key < $1.key }) {
            lines.append("refused: \(count) x \(reason)")
        }
        return lines
    }

    /// The same as one message, for `--json`.
    func message() -> DynamicMessage {
        var message = DynamicMessage()
        message["sent_count"] = .int(Int64(sent))
        message["opened_count"] = .int(Int64(opened))
        message["joined_count"] = .int(Int64(joined))
        message["closed_count"] = .int(Int64(closed))
        message["refused_count"] = .int(Int64(refusals.values.reduce(0, +)))
        message["submit_ms"] = .list(Self.rows(submit, scale: 1_000))
        message["claim_wait_virtual_s"] = .list(Self.rows(claimWait, scale: 1_000))
        return message
    }

    /// True when nothing was refused.
    var isClean: Bool { refusals.isEmpty }

    private static let percentiles: [(String, Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9),
    ]

    private static func table(_ all: [String: Histogram<UInt64>], scale: Double) -> [String] {
        var table = Table(["LEVEL", "COUNT"] + percentiles.map { $0.0.uppercased() } + ["MAX"])
        for (level, histogram) in all.sorted(by: { $0.key < $1.key }) {
            let values = percentiles.map { shown(histogram.valueAtPercentile($0.1), scale) }
            table.add([level, "\(histogram.totalCount)"] + values + [shown(histogram.max, scale)])
        }
        return table.lines
    }

    private static func rows(
        _ all: [String: Histogram<UInt64>], scale: Double
    ) -> [DynamicValue] {
        all.sorted { $0.key < $1.key }.map { level, histogram in
            var row = DynamicMessage()
            row["level"] = .string(level)
            row["count"] = .int(Int64(histogram.totalCount))
            for (name, percentile) in percentiles {
                let value = Double(histogram.valueAtPercentile(percentile)) / scale
                row[name.replacing(".", with: "_")] = .double(value)
            }
            row["max"] = .double(Double(histogram.max) / scale)
            return .message(row)
        }
    }

    private static func shown(_ value: UInt64, _ scale: Double) -> String {
        let tenths = (Double(value) / scale * 10).rounded() / 10
        return "\(tenths)"
    }
}
