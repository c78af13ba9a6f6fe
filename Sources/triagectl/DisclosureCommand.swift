// `triagectl disclosure`: law enforcement's requests, from filing to approval or rejection.

internal import ArgumentParser
internal import TriageClient
internal import TriageCodec

/// Files and carries disclosure requests.
struct DisclosureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disclosure",
        abstract: "Submit, list, show, verify, scope, approve or reject disclosure requests.",
        subcommands: [
            Submit.self, List.self, Show.self, Verify.self, SetScope.self, Approve.self,
            Reject.self, Watch.self,
        ])

    /// Sends a request and shows the disclosure request that comes back.
    fileprivate static func send(
        _ method: String, _ request: DynamicMessage, _ global: GlobalOptions
    ) async throws {
        let reply = try await global.call(method, request)
        if global.json { Output.json(reply) } else { Output.line(Shown.disclosure(reply)) }
    }

    /// A request about a disclosure request: its name, a request id, an etag if any.
    fileprivate static func request(
        _ name: String, _ requestID: String?, etag: String? = nil
    ) -> DynamicMessage {
        var request = DynamicMessage()
        request["request_id"] = .string(requestID ?? RequestIDText.fresh())
        request["name"] = .string(name)
        if let etag { request["etag"] = .string(etag) }
        return request
    }

    /// Reads the one message of a file that a request's field takes.
    fileprivate static func read(
        _ file: String, field: String, of method: String
    ) throws -> DynamicMessage {
        guard case .message(let schema)? = MethodSchema.named(method).request.shape(ofField: field)
        else { preconditionFailure("\(method) has no message \(field)") }
        let messages = try RequestFile.read(path: file, schema: schema)
        guard messages.count == 1 else {
            throw ValidationError("\(file): holds \(messages.count) messages, one is wanted")
        }
        return messages[0]
    }

    /// Files a request.
    struct Submit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "File a request.",
            discussion: "See Deploy/sample/disclosure-request.yaml for an emergency request.")
        @OptionGroup var global: GlobalOptions
        @Option(help: "File with the request, fields as in triaged.v1.DisclosureRequest.")
        var file: String
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["disclosure_request"] = .message(
                    try read(
                        command.file, field: "disclosure_request", of: "SubmitDisclosureRequest"))
                try await send("SubmitDisclosureRequest", request, command.global)
            }
        }
    }

    /// Lists requests.
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List requests, newest first.")
        @OptionGroup var global: GlobalOptions
        @Option(help: "How many.")
        var limit: Int64 = 50
        @Option(help: "Only this state, such as verifying; may be repeated.")
        var state: [String] = []

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                if !command.state.isEmpty {
                    request["states"] = .list(command.state.map { .enumeration($0) })
                }
                let pages = try await command.global.pages(
                    "ListDisclosureRequests", request, of: "disclosure_requests",
                    limit: command.limit)
                if command.global.json {
                    for page in pages { Output.json(page) }
                    return
                }
                var table = Table([
                    "REQUEST", "KIND", "STATE", "INSTRUMENT", "RECEIVED", "NEXT CLOCK",
                ])
                for value in pages.flatMap({ $0.messages("disclosure_requests") }) {
                    let clock = value.messages("clocks").compactMap { $0.time("deadline_time") }
                        .min()
                    table.add([
                        value.text("name"),
                        Shown.value(value, "kind", prefix: "DISCLOSURE_KIND_"),
                        Shown.value(value, "state", prefix: "DISCLOSURE_STATE_"),
                        value.text("instrument"), Shown.time(value.time("create_time")),
                        Shown.relative(clock),
                    ])
                }
                table.print()
                Shown.leftOut(pages)
            }
        }
    }

    /// Shows a request.
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a request.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String
        @Option(help: "Why you need it; recorded. Required inside the house.")
        var purpose: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["name"] = .string(command.name)
                if let purpose = command.purpose { request["purpose"] = .string(purpose) }
                let reply = try await command.global.call("GetDisclosureRequest", request)
                if command.global.json { return Output.json(reply) }
                Listing.print(reply, indent: 0)
            }
        }
    }

    /// Records a verification step.
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Record a verification step.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String
        @Option(help: "How, such as call-back or official-email.")
        var method: String
        @Option(help: "passed or failed.")
        var outcome: String
        @Option(help: "What was found.")
        var note: String?
        @Option(help: "Refuse when the request is no longer as this etag says.")
        var etag: String?
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var verification = DynamicMessage()
                verification["method"] = .enumeration(command.method)
                verification["outcome"] = .enumeration(command.outcome)
                if let note = command.note { verification["note"] = .string(note) }
                var request = DisclosureCommand.request(
                    command.name, command.requestID, etag: command.etag)
                request["verification"] = .message(verification)
                try await send("AddVerification", request, command.global)
            }
        }
    }

    /// Sets the scope.
    struct SetScope: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "scope", abstract: "Set what may leave, at most.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String
        @Option(help: "File with the scope, fields as in triaged.v1.Scope.")
        var file: String
        @Option(help: "Refuse when the request is no longer as this etag says.")
        var etag: String?
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DisclosureCommand.request(
                    command.name, command.requestID, etag: command.etag)
                request["scope"] = .message(try read(command.file, field: "scope", of: "SetScope"))
                try await send("SetScope", request, command.global)
            }
        }
    }

    /// Approves the scope.
    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Approve the scope, as somebody who neither verified nor scoped.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String
        @Option(help: "Etag of what you read; nothing else is approved.")
        var etag: String
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                let request = DisclosureCommand.request(
                    command.name, command.requestID, etag: command.etag)
                try await send("ApproveDisclosure", request, command.global)
            }
        }
    }

    /// Rejects the request.
    struct Reject: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Reject the request.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String
        @Option(help: "Why, such as no-danger-to-life or overly-broad.")
        var reason: String
        @Option(help: "What the requester is told beyond it.")
        var explanation: String?
        @Option(help: "Refuse when the request is no longer as this etag says.")
        var etag: String?
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var rejection = DynamicMessage()
                rejection["reason"] = .enumeration(command.reason)
                if let text = command.explanation { rejection["explanation"] = .string(text) }
                var request = DisclosureCommand.request(
                    command.name, command.requestID, etag: command.etag)
                request["rejection"] = .message(rejection)
                try await send("RejectDisclosure", request, command.global)
            }
        }
    }

    /// Follows a request.
    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Follow a request until it ends.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "disclosureRequests/{disclosure_request}")
        var name: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                try await command.global.withClient { client in
                    try await client.follow(.disclosure(command.name)) { event in
                        guard case .message(let message) = event else { return }
                        if command.global.json {
                            Output.json(message)
                        } else if let value = message.message("disclosure_request") {
                            Output.line(Shown.disclosure(value))
                        }
                    }
                }
            }
        }
    }
}
