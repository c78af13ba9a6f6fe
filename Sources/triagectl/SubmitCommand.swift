// `triagectl submit`: one report from flags, or many from a file.

internal import ArgumentParser
internal import TriageCodec
internal import TriageIO

/// Submits reports.
struct SubmitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Submit a report from flags, or every report of a YAML or JSON file.",
        discussion: """
            Values of enums are written by their end: suicide-self-harm, live-stream, now. Given \
            the same --request-id again, a file's reports that were taken are not taken twice; \
            each is known by its place in the file.
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: "File with one report or a list of them, fields as in triaged.v1.Report.")
    var file: String?
    @Option(help: "Kind of harm, such as suicide-self-harm.")
    var family: String?
    @Option(help: "What it is about, as KIND:ID, such as live-stream:7300000000000000001.")
    var subject: String?
    @Option(name: .customLong("account"), help: "The account that owns it.")
    var account: String?
    @Flag(help: "The live stream is on air.")
    var live = false
    @Option(help: "Who reports: classifier, user, partner, staff, authority.")
    var reporter: String = "staff"
    @Option(help: "How soon: now, within-24-hours, within-7-days, not-imminent.")
    var imminence: String?
    @Option(help: "A circumstance, such as minor; may be repeated.")
    var modifier: [String] = []
    @Option(help: "A machine signal as SOURCE:LABEL:CONFIDENCE; may be repeated.")
    var signal: [String] = []
    @Option(help: "Language tag, such as en.")
    var language: String?
    @Option(help: "Country code, such as US.")
    var region: String?
    @Option(help: "What the reporter wrote.")
    var description: String?
    @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
    var requestID: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            if let file = command.file {
                try await command.submitFile(file)
            } else {
                try await command.submitOne(try command.report())
            }
        }
    }

    private func report() throws -> DynamicMessage {
        guard let family, let named = self.subject else {
            throw ValidationError("give --family and --subject, or --file")
        }
        guard let colon = named.firstIndex(of: ":") else {
            throw ValidationError("--subject takes KIND:ID, such as post:7300000000000000001")
        }
        var subject = DynamicMessage()
        subject["kind"] = .enumeration(String(named[..<colon]))
        subject["id"] = .string(String(named[named.index(after: colon)...]))
        if let account { subject["account_id"] = .string(account) }
        if live {
            var stream = DynamicMessage()
            stream["live"] = .bool(true)
            subject["live_stream"] = .message(stream)
        }
        var who = DynamicMessage()
        who["kind"] = .enumeration(reporter)
        var report = DynamicMessage()
        report["subject"] = .message(subject)
        report["harm_family"] = .enumeration(family)
        report["reporter"] = .message(who)
        if let imminence { report["imminence"] = .enumeration(imminence) }
        if !modifier.isEmpty { report["modifiers"] = .list(modifier.map { .enumeration($0) }) }
        if !signal.isEmpty {
            report["signals"] = .list(try signal.map { .message(try Self.signal($0)) })
        }
        if let language { report["language_code"] = .string(language) }
        if let region { report["region_code"] = .string(region) }
        if let description { report["description"] = .string(description) }
        return report
    }

    private static func signal(_ text: String) throws -> DynamicMessage {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let confidence = Double(parts[2]) else {
            throw ValidationError(
                "--signal takes SOURCE:LABEL:CONFIDENCE, such as nsfw-v3:gore:0.93")
        }
        var signal = DynamicMessage()
        signal["source"] = .string(parts[0])
        signal["label"] = .string(parts[1])
        signal["confidence"] = .double(confidence)
        return signal
    }

    private func submitOne(_ report: DynamicMessage) async throws {
        var request = DynamicMessage()
        request["request_id"] = .string(requestID ?? RequestIDText.fresh())
        request["report"] = .message(report)
        let reply = try await global.withClient { client in
            try await client.write(
                "SubmitReport", request, timeoutMilliseconds: global.timeoutMilliseconds)
        }
        if global.json { return Output.json(reply) }
        let verb = reply.bool("opened") ? "opened" : "joined"
        Output.line(
            "\(reply.text("report")) \(verb) \(reply.text("case")) at \(Shown.level(reply))")
    }

    private func submitFile(_ file: String) async throws {
        guard
            case .message(let schema)? = MethodSchema.named("SubmitReport").request
                .shape(ofField: "report")
        else { preconditionFailure("SubmitReport takes a report") }
        let id = requestID ?? RequestIDText.fresh()
        let reports = try RequestFile.read(path: file, schema: schema)
        let requests = try reports.enumerated().map { index, report in
            var request = DynamicMessage()
            request["request_id"] = .string(try RequestIDText.derived(from: id, "\(index)"))
            request["report"] = .message(report)
            return request
        }
        let reply: DynamicMessage
        do {
            reply = try await global.withClient { client in
                try await client.upload(
                    "SubmitReports", requests, timeoutMilliseconds: global.timeoutMilliseconds)
            }
        } catch var failure as CallFailure {
            // Whatever ended the stream: what came before it has been taken.
            failure.repetition = "--request-id \(id)"
            throw failure
        }
        if global.json { Output.json(reply) }
        for (index, result) in reply.messages("results").enumerated() where !global.json {
            if let response = result.message("response") {
                let verb = response.bool("opened") ? "opened" : "joined"
                Output.line(
                    "\(index + 1): \(verb) \(response.text("case")) at \(Shown.level(response))")
            } else {
                let why = Output.visible(result.text("message"))
                Output.line("\(index + 1): refused: \(why) (\(result.text("reason")))")
            }
        }
        if !global.json {
            Output.line(
                "\(reply.int("accepted_count")) accepted, \(reply.int("refused_count")) refused")
        }
        if reply.int("refused_count") > 0 { throw ExitCode(6) }
    }
}
