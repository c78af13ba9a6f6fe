// `triagectl board`: the open cases in the order in which they should be taken.

internal import ArgumentParser
internal import TriageClient
internal import TriageCodec

/// Shows the board, once or as it changes.
struct BoardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "board", abstract: "Show the open cases, most urgent first.")

    @OptionGroup var global: GlobalOptions
    @Option(help: "How many cases.")
    var limit: Int64 = 20
    @Flag(help: "Stay, and print every change.")
    var watch = false
    @Option(name: .customLong("resume"), help: "With --watch: continue after this revision.")
    var resume: Int64 = 0
    @Option(help: "Only this level, such as p0; may be repeated.")
    var level: [String] = []
    @Option(help: "Only this state, such as queued; may be repeated.")
    var state: [String] = []
    @Option(help: "Only this kind of harm; may be repeated.")
    var family: [String] = []
    @Option(help: "Only this language; may be repeated.")
    var language: [String] = []
    @Option(help: "Only cases that this identity holds; may be repeated.")
    var assignee: [String] = []

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            if command.watch {
                try await command.follow()
            } else {
                try await command.list()
            }
        }
    }

    private var filter: DynamicMessage {
        var filter = DynamicMessage()
        if !level.isEmpty { filter["levels"] = .list(level.map { .enumeration($0) }) }
        if !state.isEmpty { filter["states"] = .list(state.map { .enumeration($0) }) }
        if !family.isEmpty { filter["harm_families"] = .list(family.map { .enumeration($0) }) }
        if !language.isEmpty { filter["language_codes"] = .list(language.map { .string($0) }) }
        if !assignee.isEmpty { filter["assignees"] = .list(assignee.map { .string($0) }) }
        return filter
    }

    private func list() async throws {
        var request = DynamicMessage()
        request["filter"] = .message(filter)
        let pages = try await global.pages("ListCases", request, of: "cases", limit: limit)
        if global.json {
            for page in pages { Output.json(page) }
            return
        }
        var table = Table(Shown.caseColumns)
        for value in pages.flatMap({ $0.messages("cases") }) {
            table.add(Shown.row(value), colour: Output.colour(ofLevel: Shown.level(value)))
        }
        table.print()
        Output.line("\(pages.last?.int("open_count") ?? 0) open")
        Shown.leftOut(pages)
    }

    private func follow() async throws {
        try await global.withClient { client in
            try await client.follow(.board(filter: filter), from: resume) { event in
                switch event {
                case .message(let message): show(message)
                case .gone(let name, let revision):
                    var message = DynamicMessage()
                    message["revision"] = .long(revision)
                    message["removed_case"] = .string(name)
                    show(message)
                case .interrupted: break
                }
            }
        }
    }

    private func show(_ message: DynamicMessage) {
        if global.json { return Output.json(message) }
        let revision = message.int("revision")
        if let value = message.message("case") {
            let line = Output.visible("\(revision)  " + Shown.row(value).joined(separator: "  "))
            let colour = Output.colour(ofLevel: Shown.level(value))
            Output.line(colour.map { Output.coloured(line, $0) } ?? line)
        } else if !message.text("removed_case").isEmpty {
            Output.line("\(revision)  \(message.text("removed_case")) left the board")
        } else if let bookmark = message.message("bookmark") {
            Output.line("\(revision)  \(bookmark.int("open_count")) open")
        }
    }
}
