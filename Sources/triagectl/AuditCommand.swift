// `triagectl audit`: signed heads of the server's journal and proofs that lead to them. What it
// prints is checked by `triaged inspect check`, or by anybody who follows FORMAT.md.

internal import ArgumentParser
internal import TriageCodec

/// Asks for heads and proofs.
struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Have heads of the journal signed, and proofs made.",
        discussion: "Keep heads where the server's operators cannot change them: with one, "
            + "`audit history` shows later that nothing up to it was changed.",
        subcommands: [Head.self, Record.self, History.self])

    /// Signs a head.
    struct Head: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign the journal as it is now; print the head as a signed note.")
        @OptionGroup var global: GlobalOptions

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                let reply = try await command.global.call("SignHead", DynamicMessage())
                if command.global.json { return Output.json(reply) }
                Output.text(reply.text("checkpoint"))
            }
        }
    }

    /// Proves a record.
    struct Record: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prove that a record stands in the journal of a signed head.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "Sequence of the record.")
        var sequence: Int64
        @Option(help: "Records of the signed head; the newest one unless given.")
        var head: Int64?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["sequence"] = .long(command.sequence)
                request["record_count"] = .long(command.head ?? 0)
                let reply = try await command.global.call("ProveRecord", request)
                if command.global.json { return Output.json(reply) }
                Output.text(reply.text("proof"))
            }
        }
    }

    /// Proves that history was not changed.
    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prove that the journal of one signed head is the beginning of a later one's."
        )
        @OptionGroup var global: GlobalOptions
        @Option(help: "Records of the earlier signed head.")
        var from: Int64
        @Option(help: "Records of the later one; the newest one unless given.")
        var to: Int64?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["from_record_count"] = .long(command.from)
                request["to_record_count"] = .long(command.to ?? 0)
                let reply = try await command.global.call("ProveHistory", request)
                if command.global.json { return Output.json(reply) }
                Output.text(reply.text("proof"))
            }
        }
    }
}
