// `triagectl replay`: drives a server with real arrivals, open loop: times of sending are fixed
// before the first report leaves, and latency counts from them, so that a slow server cannot hide.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageGRPC
internal import TriageIO

/// Replays real arrivals.
struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Drive a server with real arrival traces, and measure it.",
        discussion: """
            Baseline and surges come from real data (Deploy/sample); bodies are synthetic and say \
            so. The same --seed gives the same reports at the same virtual times. With \
            --specialists, simulated ones claim, decide and close at the pace of real responders.
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: "Folder of the traces, laid out as Deploy/sample.")
    var sample = "Deploy/sample"
    @Option(help: "Seed of everything that is drawn.")
    var seed: UInt64 = 1
    @Option(help: "Baseline: reports a day.")
    var rate: Double = 2_000
    @Option(help: "Virtual hours to replay.")
    var hours: Double = 2
    @Option(
        name: .customLong("start-hour"), help: "Hour of the week to start at; Monday 00 h is 0.")
    var startHour = 114
    @Option(help: "NAME:xN, a real crisis, each arrival N times; may be repeated.")
    var surge: [String] = []
    @Option(name: .customLong("surge-at"), help: "Virtual minute at which the surges peak.")
    var surgeAt: Double = 30
    @Option(help: "Virtual seconds in a real one, such as 60 or 60x.")
    var speed = "60x"
    @Option(help: "Identities of simulated specialists, such as ana,ben; empty for none.")
    var specialists = ""
    @Option(name: .customLong("each"), help: "Simulated specialists for each of those identities.")
    var each = 4
    @Option(help: "Write the plan to this file as JSON lines instead of sending it.")
    var out: String?
    @Flag(name: .customLong("no-progress"), help: "No progress bar.")
    var noProgress = false

    mutating func run() async throws {
        var command = self
        command.global.actByDefault(as: "classifier")
        let fixed = command
        try await reportingFailures { try await fixed.replay() }
    }

    private func replay() async throws {
        guard let speed = Double(speed.hasSuffix("x") ? String(speed.dropLast()) : speed), speed > 0
        else { throw ValidationError("--speed takes a number, such as 60x") }
        let most = 1e6
        guard hours > 0, rate >= 0, (0..<168).contains(startHour), each > 0, hours <= most,
            rate <= 1e9, speed <= 1e9, speed >= 1e-6, surgeAt.magnitude <= most
        else {
            throw ValidationError(
                "--hours and --each are above 0, --rate is not below, --start-hour is 0 to 167, "
                    + "and nothing is beyond a million hours or a thousand million a day")
        }
        let data = try ReplayData(folder: sample)
        var planner = ReplayPlanner(
            data: data,
            parameters: ReplayParameters(
                seed: seed, ratePerDay: rate, spanMilliseconds: Int64(hours * 3_600_000),
                startHour: startHour, surges: try surge.map { try choice($0, data) }))
        let plan = planner.plan()
        if let out { return try write(plan, to: out) }
        let report = ReplayReport()
        try await drive(plan, data, speed, report)
        if global.json {
            Output.json(await report.message())
        } else {
            for line in await report.tables() { Output.line(line) }
        }
        guard await report.isClean else { throw ExitCode(1) }
    }

    private func choice(_ text: String, _ data: ReplayData) throws -> SurgeChoice {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let known = data.surges.map(\.name)
        guard parts.count == 2, known.contains(parts[0]), parts[1].hasPrefix("x"),
            let multiplier = Int(parts[1].dropFirst()), (1...1_000).contains(multiplier)
        else {
            let names = known.joined(separator: ", ")
            throw ValidationError("--surge takes NAME:xN with N up to 1000; names are \(names)")
        }
        return SurgeChoice(
            name: parts[0], multiplier: multiplier,
            peakAtMilliseconds: Int64(surgeAt * 60_000))
    }

    private func write(_ plan: [PlannedReport], to path: String) throws {
        var text =
            "{\"seed\":\"\(seed)\",\"rate\":\(rate),\"hours\":\(hours),\"count\":\(plan.count)}\n"
        for item in plan {
            text +=
                "{\"offsetMs\":\"\(item.offset)\",\"requestId\":\"\(item.requestID)\",\"report\":"
            text += JSONMapping.text(.message(item.report)) + "}\n"
        }
        do {
            try TextFile.write(text, path: path)
        } catch {
            throw ValidationError("\(path): \(error)")
        }
    }

    private func drive(
        _ plan: [PlannedReport], _ data: ReplayData, _ speed: Double, _ report: ReplayReport
    ) async throws {
        let specialists = try specialistClients()
        defer { for client in specialists { client.close() } }
        let holdings = ReplayHoldings()
        try await global.withClient { intake in
            await withThrowingTaskGroup(of: Void.self) { background in
                for (index, client) in specialists.enumerated() {
                    for copy in 0..<each {
                        let worker = ReplaySpecialist(
                            client: client, data: data, report: report, holdings: holdings,
                            speed: speed,
                            random: SeededRandom(seed: seed &+ UInt64(1 + index * each + copy)))
                        background.addTask {
                            var worker = worker
                            await worker.work()
                        }
                    }
                }
                if !noProgress, StandardStream.error.isTerminal || !global.json {
                    background.addTask { try await Self.showProgress(report, plan.count) }
                }
                await send(plan, speed, intake, report)
                background.cancelAll()
                try? await background.waitForAll()
            }
            await holdings.releaseAll()
        }
        if !noProgress {
            StandardStream.error.write("\r\(await report.progress(planned: plan.count))\n")
        }
    }

    private func specialistClients() throws -> [CommandClient] {
        try specialists.split(separator: ",").map { name in
            var options = global
            options.identity = String(name)
            options.cert = nil
            options.key = nil
            return try options.client()
        }
    }

    private static func showProgress(_ report: ReplayReport, _ planned: Int) async throws {
        while true {
            try await Task.sleep(nanoseconds: 500_000_000)
            guard StandardStream.error.isTerminal else { continue }
            StandardStream.error.write("\r\(await report.progress(planned: planned))")
        }
    }

    private func send(
        _ plan: [PlannedReport], _ speed: Double, _ client: CommandClient, _ report: ReplayReport
    ) async {
        let clock = SystemClock()
        let start = clock.monotonicTime()
        let timeout = global.timeoutMilliseconds
        await withDiscardingTaskGroup { group in
            for item in plan {
                let intended = start.advanced(
                    byNanoseconds: UInt64(Double(item.offset) * 1e6 / speed))
                let wait = intended.nanoseconds(since: clock.monotonicTime())
                if wait > 0 { try? await Task.sleep(nanoseconds: wait) }
                group.addTask {
                    await Self.submit(item, intended, client, timeout, report)
                }
            }
        }
    }

    private static func submit(
        _ item: PlannedReport, _ intended: MonotonicTime, _ client: CommandClient,
        _ timeoutMilliseconds: Int64, _ report: ReplayReport
    ) async {
        var request = DynamicMessage()
        request["request_id"] = .string(item.requestID)
        request["report"] = .message(item.report)
        do {
            let reply = try await client.call(
                "SubmitReport", request, timeoutMilliseconds: timeoutMilliseconds)
            let elapsed = SystemClock().monotonicTime().nanoseconds(since: intended)
            await report.acknowledged(
                level: Shown.level(reply), opened: reply.bool("opened"),
                microseconds: elapsed / 1_000)
        } catch let failure as CallFailure {
            await report.refused(reason: failure.error.reason)
        } catch {
            await report.refused(reason: "REQUEST_INVALID")
        }
    }
}
