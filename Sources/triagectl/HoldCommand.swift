// `triagectl hold`: what keeps a case from being erased.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec

/// Places, releases and lists holds.
struct HoldCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Place, release or list the legal holds of a case.",
        subcommands: [Place.self, Release.self, List.self, Rules.self])

    /// Places a hold.
    struct Place: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Place a hold: nothing of the case is erased while it is active.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}")
        var name: String
        @Option(help: "Key of the rule; `triagectl hold rules` lists them.")
        var rule: String
        @Option(help: "Who asks for it or orders it, verbatim.")
        var authority: String
        @Option(help: "The authority's own reference.")
        var reference: String?
        @Option(help: "Why.")
        var reason: String
        @Option(help: "Until when, such as 2027-11-26T00:00:00Z; without it the rule's period.")
        var until: String?
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var hold = DynamicMessage()
                hold["rule"] = .string(command.rule)
                hold["authority"] = .string(command.authority)
                if let reference = command.reference { hold["reference"] = .string(reference) }
                hold["reason"] = .string(command.reason)
                if let until = command.until {
                    guard let time = Timestamp.parse(rfc3339: until) else {
                        throw ValidationError("--until takes a time such as 2027-11-26T00:00:00Z")
                    }
                    hold["expire_time"] = .timestamp(time)
                }
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["case"] = .string(command.name)
                request["hold"] = .message(hold)
                let reply = try await command.global.call("PlaceHold", request)
                if command.global.json { return Output.json(reply) }
                Output.line(Shown.hold(reply))
            }
        }
    }

    /// Releases a hold.
    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Release a hold before its time.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}/holds/{hold}")
        var name: String
        @Option(help: "Who allows it, verbatim.")
        var authority: String
        @Option(help: "Why.")
        var reason: String
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var release = DynamicMessage()
                release["authority"] = .string(command.authority)
                release["reason"] = .string(command.reason)
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["name"] = .string(command.name)
                request["release"] = .message(release)
                let reply = try await command.global.call("ReleaseHold", request)
                if command.global.json { return Output.json(reply) }
                Output.line(Shown.hold(reply))
            }
        }
    }

    /// Lists holds.
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the holds of a case, oldest first.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}")
        var name: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var table = Table(["HOLD", "STATE", "RULE", "MARK", "AUTHORITY", "UNTIL", "BY"])
                try await command.global.pages("ListHolds", of: command.name) { page in
                    if command.global.json { return Output.json(page) }
                    for value in page.messages("holds") {
                        table.add([
                            value.text("name"), Shown.value(value, "state", prefix: "HOLD_STATE_"),
                            value.text("rule"), value.text("verification_mark"),
                            value.text("authority"), Shown.time(value.time("expire_time")),
                            Shown.identity(value.text("principal")),
                        ])
                    }
                }
                if !command.global.json { table.print() }
            }
        }
    }

    /// Lists rules.
    struct Rules: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the rules that holds can be placed under.")
        @OptionGroup var global: GlobalOptions

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                let reply = try await command.global.call("ListHoldRules", DynamicMessage())
                if command.global.json { return Output.json(reply) }
                var table = Table(["RULE", "MARK", "DAYS", "FROM", "WHAT", "SOURCE"])
                for rule in reply.messages("rules") {
                    let days = rule.int("period_days")
                    table.add([
                        rule.text("key"), rule.text("verification_mark"),
                        days == 0 ? "-" : String(days), Shown.time(rule.time("effective_time")),
                        rule.text("title"), rule.text("source"),
                    ])
                }
                table.print()
            }
        }
    }
}

/// Rotates the server's keys.
struct KeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "Rotate the keys of the data on the server's disk.",
        subcommands: [Rotate.self])

    /// Makes a new key.
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new data key, or signing key, and use it from now on.",
            discussion: "A new key-encryption key is made on the server: `triaged keys generate`, "
                + "then SIGHUP.")
        @OptionGroup var global: GlobalOptions
        @Flag(name: .customLong("signing-key"), help: "A signing key instead of a data key.")
        var signingKey = false
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["kind"] = .enumeration(command.signingKey ? "signing" : "data")
                let reply = try await command.global.call("RotateKeys", request)
                if command.global.json { return Output.json(reply) }
                Output.line(
                    "key \(reply.int("key_number")) in use, \(reply.int("object_count")) objects "
                        + "wrapped anew")
            }
        }
    }
}
