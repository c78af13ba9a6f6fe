// `triagectl claim` and `triagectl lease`: getting a case, keeping it, giving it back.

internal import ArgumentParser
internal import TriageClient
internal import TriageCodec

/// Claims the most urgent case that the caller may take.
struct ClaimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "claim", abstract: "Claim the most urgent case that you may take.")

    @OptionGroup var global: GlobalOptions
    @Option(help: "Seconds to wait for a case when there is none, at most 55.")
    var wait = Seconds(0)
    @Flag(help: "Accept it at once.")
    var accept = false
    @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
    var requestID: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures { try await command.claim() }
    }

    private func claim() async throws {
        try await global.withClient { client in
            var request = DynamicMessage()
            request["request_id"] = .string(requestID ?? RequestIDText.fresh())
            request["wait_duration"] = .duration(milliseconds: wait.milliseconds)
            let timeout = global.timeoutMilliseconds + wait.milliseconds
            var reply = try await client.write("ClaimNext", request, timeoutMilliseconds: timeout)
            guard let offer = reply.message("assignment") else {
                if global.json {
                    Output.json(reply)
                } else {
                    Output.line("nothing that you may take")
                }
                throw ExitCode(9)
            }
            // A repeated claim is answered with its offer as it is now: it may be accepted.
            if accept, offer.text("state") != "ASSIGNMENT_STATE_ACTIVE" {
                do {
                    reply["assignment"] = .message(try await self.accept(offer, client))
                } catch {
                    // The case is offered to the caller, who has to know of it all the same.
                    show(reply)
                    throw error
                }
            }
            show(reply)
        }
    }

    private func accept(
        _ offer: DynamicMessage, _ client: CommandClient
    ) async throws -> DynamicMessage {
        var request = Lease.request(offer)
        request["request_id"] = .string(
            try requestID.map { try RequestIDText.derived(from: $0, "accept") }
                ?? RequestIDText.fresh())
        return try await client.call(
            "AcceptCase", request, timeoutMilliseconds: global.timeoutMilliseconds)
    }

    private func show(_ reply: DynamicMessage) {
        if global.json { return Output.json(reply) }
        guard let assignment = reply.message("assignment"), let value = reply.message("case") else {
            return
        }
        Output.line(Shown.assignment(assignment))
        Output.line(Shown.case(value))
        if let why = reply.message("explanation") {
            let due = Shown.relative(why.time("effective_deadline_time"))
            Output.line(
                "because of \(why.text("governed_by")), due \(due);"
                    + " at most \(why.int("skipped_count")) more urgent ones are not for you")
        }
    }
}

/// Finds and names leases.
enum Lease {
    /// The `name` and `fencing_token` of a request about an assignment.
    static func request(_ assignment: DynamicMessage) -> DynamicMessage {
        var request = DynamicMessage()
        request["name"] = .string(assignment.text("name"))
        request["fencing_token"] = .long(assignment.int("fencing_token"))
        return request
    }

    /// The caller's current assignment of a case (or of that name); nil when there is none.
    static func current(of name: String, _ client: CommandClient) async throws -> DynamicMessage? {
        var found: DynamicMessage?
        try await client.stream("WatchAssignments", DynamicMessage()) { message in
            guard let assignment = message.message("assignment") else { return false }
            if assignment.text("case") == name || assignment.text("name") == name {
                found = assignment
            }
            return true
        }
        return found
    }
}

/// Options of a write under a lease.
struct LeaseTarget: ParsableArguments {
    @Argument(help: "assignments/{assignment}, or cases/{case} that you hold")
    var name: String
    @Option(help: "Fencing token; looked up when not given.")
    var token: Int64?
    @Option(
        name: .customLong("request-id"),
        help: "UUID; give the same one to repeat safely. Needs --token and the assignment's name.")
    var requestID: String?

    /// What is looked up changes with what is done: a repeat would be another request.
    func validate() throws {
        guard requestID == nil || token != nil && name.hasPrefix("assignments/") else {
            throw ValidationError(
                "--request-id needs assignments/{assignment} and --token: a repeat is the same "
                    + "request to the last field")
        }
    }

    /// A request that names the assignment, its token and a request id.
    func request(_ client: CommandClient) async throws -> DynamicMessage {
        var request = DynamicMessage()
        if let token, name.hasPrefix("assignments/") {
            request["name"] = .string(name)
            request["fencing_token"] = .long(token)
        } else {
            guard let assignment = try await Lease.current(of: name, client) else {
                throw CommandFailure("you hold no lease of \(name)", ExitCode(5))
            }
            request = Lease.request(assignment)
            if let token { request["fencing_token"] = .long(token) }
        }
        request["request_id"] = .string(requestID ?? RequestIDText.fresh())
        return request
    }
}

/// Keeps, gives back or passes on a case.
struct LeaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lease", abstract: "Accept, renew, release, hand off or complete a case.",
        subcommands: [
            Accept.self, Renew.self, Release.self, HandOff.self, Complete.self, Watch.self,
        ])

    /// Sends one write under a lease and shows the assignment.
    fileprivate static func send(
        _ method: String, _ target: LeaseTarget, _ global: GlobalOptions,
        _ fill: (inout DynamicMessage) -> Void = { _ in }
    ) async throws {
        try await global.withClient { client in
            var request = try await target.request(client)
            fill(&request)
            let reply = try await client.write(
                method, request, timeoutMilliseconds: global.timeoutMilliseconds)
            if global.json { Output.json(reply) } else { Output.line(Shown.assignment(reply)) }
        }
    }

    /// Accepts an offer.
    struct Accept: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Accept an offered case.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: LeaseTarget

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await send("AcceptCase", command.target, command.global)
            }
        }
    }

    /// Renews a lease.
    struct Renew: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Extend the lease.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: LeaseTarget
        @Option(help: "Seconds from now; the level's default when not given.")
        var seconds = Seconds(0)

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await send("RenewLease", command.target, command.global) { request in
                    if command.seconds.milliseconds > 0 {
                        request["lease_duration"] = .duration(
                            milliseconds: command.seconds.milliseconds)
                    }
                }
            }
        }
    }

    /// Gives a case back.
    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a case back.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: LeaseTarget
        @Option(help: "wellness, conflict, skill, shift-end, other.")
        var reason: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await send("ReleaseLease", command.target, command.global) {
                    $0["reason"] = .enumeration(command.reason)
                }
            }
        }
    }

    /// Hands a case to another specialist.
    struct HandOff: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hand-off", abstract: "Give a case to another specialist.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: LeaseTarget
        @Option(help: "The specialist's identity.")
        var to: String
        @Option(help: "What they need to know.")
        var note: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await send("HandOffCase", command.target, command.global) {
                    $0["specialist"] = .string(command.to)
                    $0["note"] = .string(command.note)
                }
            }
        }
    }

    /// Ends the assignment of a decided case.
    struct Complete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End the assignment of a decided case.")
        @OptionGroup var global: GlobalOptions
        @OptionGroup var target: LeaseTarget

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await send("CompleteCase", command.target, command.global)
            }
        }
    }

    /// Follows the caller's assignments.
    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Follow your assignments.",
            discussion: """
                After the server was restarted, an assignment that ended meanwhile is shown by its \
                name alone.
                """)
        @OptionGroup var global: GlobalOptions

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await command.global.withClient { client in
                    try await client.follow(.assignments) { command.show($0) }
                }
            }
        }

        private func show(_ event: WatchEvent) {
            switch event {
            case .message(let message):
                if global.json {
                    Output.json(message)
                } else if let assignment = message.message("assignment") {
                    Output.line(Shown.assignment(assignment))
                }
            case .gone(let name, let revision):
                guard global.json else { return Output.line("\(name) is not yours any more") }
                var assignment = DynamicMessage()
                assignment["name"] = .string(name)
                var message = DynamicMessage()
                message["revision"] = .long(revision)
                message["assignment"] = .message(assignment)
                Output.json(message)
            case .interrupted: break
            }
        }
    }
}
