// `triagectl case`: one case.

internal import ArgumentParser
internal import TriageCodec

/// Shows a case.
struct CaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "case", abstract: "Show a case.", subcommands: [CaseShowCommand.self])
}

/// Shows a case.
struct CaseShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a case; with --purpose everything, which is recorded.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "cases/{case}")
    var name: String
    @Option(help: "Show everything, for this reason; the read is recorded with it.")
    var purpose: String?

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            var request = DynamicMessage()
            request["name"] = .string(command.name)
            if let purpose = command.purpose {
                request["view"] = .enumeration("CASE_VIEW_FULL")
                request["purpose"] = .string(purpose)
            }
            let reply = try await command.global.call("GetCase", request)
            if command.global.json { return Output.json(reply) }
            Listing.print(reply, indent: 0)
        }
    }
}

/// Prints any message as indented `field: value` lines.
enum Listing {
    /// Prints a message's fields; nested messages and lists are indented below their field.
    static func print(_ message: DynamicMessage, indent: Int) {
        let space = String(repeating: " ", count: indent)
        for field in message.fields {
            switch field.value {
            case .message(let nested):
                Output.line("\(space)\(field.name):")
                print(nested, indent: indent + 2)
            case .list(let values):
                Output.line("\(space)\(field.name):")
                for value in values {
                    if case .message(let nested) = value {
                        Output.line("\(space)  -")
                        print(nested, indent: indent + 4)
                    } else {
                        Output.line("\(space)  - \(text(value, indent + 4))")
                    }
                }
            default: Output.line("\(space)\(field.name): \(text(field.value, indent + 2))")
            }
        }
    }

    private static func text(_ value: DynamicValue, _ indent: Int) -> String {
        switch value {
        case .string(let text), .enumeration(let text):
            Output.visible(text, margin: String(repeating: " ", count: indent) + "| ")
        case .int(let number), .long(let number): String(number)
        case .timestamp(let time): Shown.time(time)
        default: JSONMapping.text(value)
        }
    }
}
