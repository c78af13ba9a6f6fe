// `triagectl answer`, `decide`, `close`, `reopen`: the writes that carry a case to its end.

internal import ArgumentParser
internal import TriageCodec

/// Sends a write about a case and shows the case.
private func write(
    _ method: String, _ request: DynamicMessage, _ global: GlobalOptions, _ client: CommandClient
) async throws {
    let reply = try await client.write(
        method, request, timeoutMilliseconds: global.timeoutMilliseconds)
    if global.json { return Output.json(reply) }
    Output.line(Shown.case(reply))
    if let pending = reply.message("pending_lowering") {
        Output.line("lowering to \(Shown.level(pending)) waits for a second person")
    }
}

/// What every write about a case names.
struct CaseTarget: ParsableArguments {
    @Argument(help: "cases/{case}")
    var name: String
    @Option(help: "Fencing token, 0 for none; looked up when you hold the case.")
    var token: Int64?
    @Option(help: "Refuse when the case is no longer as this etag says.")
    var etag: String?
    @Option(
        name: .customLong("request-id"),
        help: "UUID; give the same one to repeat safely. Needs --token.")
    var requestID: String?

    /// What is looked up changes with what is done: a repeat would be another request.
    func validate() throws {
        guard requestID == nil || token != nil else {
            throw ValidationError(
                "--request-id needs --token, 0 when you hold no lease: a repeat is the same "
                    + "request to the last field")
        }
    }

    /// A request that names the case, the caller's token if any, and a request id.
    func request(_ client: CommandClient) async throws -> DynamicMessage {
        var request = DynamicMessage()
        request["request_id"] = .string(requestID ?? RequestIDText.fresh())
        request["name"] = .string(name)
        if let token {
            request["fencing_token"] = .long(token)
        } else {
            let assignment = try await Lease.current(of: name, client)
            request["fencing_token"] = .long(assignment?.int("fencing_token") ?? 0)
        }
        if let etag { request["etag"] = .string(etag) }
        return request
    }
}

/// Records answers to the triage protocol.
struct AnswerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "answer",
        abstract: "Record answers to the triage protocol; they give the level.",
        discussion: "Answers are yes, no or unknown; unknown counts as yes.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: CaseTarget
    @Option(name: .customLong("happening-now"), help: "A: is serious harm happening now?")
    var happeningNow: String
    @Option(name: .customLong("credible-threat"), help: "B: is there a credible, specific threat?")
    var credibleThreat: String
    @Option(help: "C: how many actions: none, one, two-or-more, unknown.")
    var actions: String
    @Option(
        help: "For suicide: none, wish, thoughts, method, intent, plan, recent-behaviour, unknown.")
    var rung: String?
    @Option(help: "D: a circumstance as NAME=ANSWER, such as minor=yes; may be repeated.")
    var modifier: [String] = []
    @Option(name: .customLong("protocol"), help: "Protocol version answered.")
    var protocolVersion: String = "2026-11"
    @Option(name: .customLong("lower-reason"), help: "Why the level may be lowered.")
    var lowerReason: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            let answers = try command.answers()
            try await command.global.withClient { client in
                var request = try await command.target.request(client)
                request["answers"] = .message(answers)
                if let reason = command.lowerReason { request["lower_reason"] = .string(reason) }
                try await write("AnswerProtocol", request, command.global, client)
            }
        }
    }

    private func answers() throws -> DynamicMessage {
        var answers = DynamicMessage()
        answers["protocol_version"] = .string(protocolVersion)
        answers["happening_now"] = .enumeration(happeningNow)
        answers["credible_threat"] = .enumeration(credibleThreat)
        answers["action_count"] = .enumeration(actions)
        if let rung { answers["suicide_rung"] = .enumeration(rung) }
        let modifiers = try modifier.map { text in
            let parts = text.split(separator: "=").map(String.init)
            guard parts.count == 2 else {
                throw ValidationError("--modifier takes NAME=ANSWER, such as minor=yes")
            }
            var answer = DynamicMessage()
            answer["modifier"] = .enumeration(parts[0])
            answer["answer"] = .enumeration(parts[1])
            return DynamicValue.message(answer)
        }
        if !modifiers.isEmpty { answers["modifiers"] = .list(modifiers) }
        return answers
    }
}

/// Records a decision.
struct DecideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decide", abstract: "Record the decision about a case that you hold.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: CaseTarget
    @Option(help: "Outcome, such as harm-referred or false-alarm-good-faith.")
    var outcome: String
    @Option(name: .customLong("policy-version"), help: "Version of the policy applied.")
    var policyVersion: String
    @Option(name: .customLong("policy-key"), help: "A rule applied; may be repeated.")
    var policyKey: [String] = []
    @Option(help: "Why.")
    var rationale: String?
    @Option(help: "Referral to an authority: done or not-applicable.")
    var referral: String?
    @Option(
        name: .customLong("statutory-report"), help: "Statutory report: done or not-applicable.")
    var statutoryReport: String?
    @Option(help: "Preservation of evidence: done or not-applicable.")
    var preservation: String?
    @Option(
        name: .customLong("welfare-resource"), help: "Welfare resource: done or not-applicable.")
    var welfareResource: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            try await command.global.withClient { client in
                var request = try await command.target.request(client)
                request["decision"] = .message(command.decision)
                try await write("DecideCase", request, command.global, client)
            }
        }
    }

    private var decision: DynamicMessage {
        var duties = DynamicMessage()
        for (field, answer) in [
            ("referral", referral), ("statutory_report", statutoryReport),
            ("preservation", preservation), ("welfare_resource", welfareResource),
        ] {
            if let answer { duties[field] = .enumeration(answer) }
        }
        var decision = DynamicMessage()
        decision["outcome"] = .enumeration(outcome)
        decision["policy_version"] = .string(policyVersion)
        if !policyKey.isEmpty { decision["policy_keys"] = .list(policyKey.map { .string($0) }) }
        if let rationale { decision["rationale"] = .string(rationale) }
        if !duties.fields.isEmpty { decision["duties"] = .message(duties) }
        return decision
    }
}

/// Closes a case.
struct CloseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close", abstract: "Close a decided case.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: CaseTarget
    @Flag(name: .customLong("live-risk-ended"), help: "The live risk is known to be over.")
    var liveRiskEnded = false

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            try await command.global.withClient { client in
                var request = try await command.target.request(client)
                if command.liveRiskEnded { request["live_risk_ended"] = .bool(true) }
                try await write("CloseCase", request, command.global, client)
            }
        }
    }
}

/// Reopens a case.
struct ReopenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reopen", abstract: "Reopen a closed case with its old place in the order.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "cases/{case}")
    var name: String
    @Option(help: "Why.")
    var reason: String
    @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
    var requestID: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            var request = DynamicMessage()
            request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
            request["name"] = .string(command.name)
            request["reason"] = .string(command.reason)
            try await command.global.withClient { client in
                try await write("ReopenCase", request, command.global, client)
            }
        }
    }
}
