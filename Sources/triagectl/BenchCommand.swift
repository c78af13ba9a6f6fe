// `triagectl bench`: loads a server with one kind of call and prints what it measured. Closed loop
// by default (each stream sends its next call when the last is answered); with --rate open loop,
// where times of sending are fixed beforehand and latency counts from them.

internal import ArgumentParser
internal import Histogram
internal import TriageBase
internal import TriageClient
internal import TriageGRPC
internal import TriageTransport

/// What a measurement sends.
enum Workload: String, CaseIterable, ExpressibleByArgument {
    /// GetStatus: a call that reads a few counters and writes nothing.
    case status
    /// SubmitReport, each about a subject of its own: every call opens a case.
    case submit
    /// SubmitReport until --cases have been opened, of which a share only few may take.
    case fill
    /// ClaimNext, one at a time; each case is then accepted, decided and closed, unmeasured.
    case claim

    /// Whom it acts as when --identity does not say.
    var identity: String {
        switch self {
        case .status: "sre"
        case .submit, .fill: "classifier"
        case .claim: "chloe"
        }
    }
}

/// Loads a server.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Load a server with one kind of call and measure it.",
        discussion: """
            Workloads: status, submit, fill, claim. A run is bounded by --seconds, --calls or \
            --cases. With --json one object: calls, errors, seconds, calls_per_second, and p50_us, \
            p90_us, p99_us, p999_us, max_us of the latency.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "status, submit, fill or claim.")
    var workload: Workload
    @Option(help: "Connections.")
    var connections = 8
    @Option(help: "Calls in flight on each connection.")
    var streams = 32
    @Option(help: "Measure so long; status and submit.")
    var seconds: Double = 5
    @Option(help: "Load so long before measuring; status and submit.")
    var warmup: Double = 1
    @Option(help: "Stop after so many calls; claim.")
    var calls = 1_000
    @Option(help: "Open so many cases; fill.")
    var cases = 100_000
    @Option(
        name: .customLong("ineligible-percent"),
        help: "Share that needs child-safety clearance; fill.")
    var ineligiblePercent = 0
    @Option(help: "Open loop: so many calls a second; status and submit.")
    var rate: Double?
    @Flag(
        name: .customLong("busy-poll"),
        help: """
            Never sleep while waiting, so that waking the client is no part of the latency; takes \
            a whole CPU; status and submit, closed loop.
            """)
    var busyPoll = false

    mutating func validate() throws {
        guard (1...1_000).contains(connections), (1...100).contains(streams), calls > 0, cases > 0,
            (0.001...86_400).contains(seconds), (0...86_400).contains(warmup),
            (0...100).contains(ineligiblePercent), (0.001...1e9).contains(rate ?? 1)
        else {
            throw ValidationError(
                "a count or time is out of range: 100 streams a connection at most")
        }
    }

    mutating func run() async throws {
        var command = self
        command.global.actByDefault(as: workload.identity)
        let fixed = command
        try await reportingFailures {
            switch fixed.workload {
            case .claim: try await ClaimBench(global: fixed.global, calls: fixed.calls).run()
            case .status, .submit, .fill: try await fixed.load()
            }
        }
    }

    private func load() async throws {
        let client = try global.clientConfiguration()
        let plan = LoadPlan(
            connections: connections, streams: streams,
            seconds: workload == .fill ? nil : seconds,
            warmup: workload == .fill ? 0 : warmup,
            callsMax: workload == .fill ? cases : nil, rate: workload == .fill ? nil : rate,
            busyPoll: busyPoll)
        let source: any CallSource =
            switch workload {
            case .status, .claim: StatusSource()
            case .submit: ReportSource(ineligiblePercent: 0)
            case .fill: ReportSource(ineligiblePercent: ineligiblePercent)
            }
        let result = try await LoadRun.run(plan, source, client)
        try BenchReport.show(result, json: global.json)
    }
}

/// Prints what was measured.
enum BenchReport {
    /// Prints a result; fails the command when calls failed.
    static func show(_ result: LoadResult, json: Bool) throws {
        let latency = result.latency
        let rate = Double(result.calls) / max(result.seconds, 1e-9)
        let figures: [(String, Double)] = [
            ("p50_us", 50), ("p90_us", 90), ("p99_us", 99), ("p999_us", 99.9), ("max_us", 100),
        ].map { ($0.0, Double(latency.valueAtPercentile($0.1)) / 1_000) }
        if json {
            var members = [
                "\"calls\":\(result.calls)", "\"errors\":\(result.errors)",
                "\"seconds\":\(result.seconds)", "\"calls_per_second\":\(rate)",
            ]
            members += figures.map { "\"\($0.0)\":\($0.1)" }
            if let reason = result.firstError {
                members.append("\"first_error\":\(JSONText.quoted(reason))")
            }
            Output.line("{\(members.joined(separator: ","))}")
        } else {
            Output.line("\(result.calls) calls in \(result.seconds) s: \(Int(rate)) a second")
            Output.line(figures.map { "\($0.0) \($0.1)" }.joined(separator: "  "))
            if let reason = result.firstError {
                Output.line("\(result.errors) calls failed, first: \(reason)")
            }
        }
        if result.errors > 0 { throw ExitCode(1) }
    }
}
