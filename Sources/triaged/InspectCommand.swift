// `triaged inspect`: reads a data directory without the server and without changing anything; also
// while the server runs.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageIO
internal import TriageJournal

/// Looks into a data directory.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Look into a data directory, offline: what it holds, whether it verifies.",
        discussion:
            "Exit codes: 0 all is well; 1 directories differ; 64 there is no such record; 65 "
            + "something does not verify; 74 it cannot be read; 78 the key is wrong.",
        subcommands: [
            Stat.self, Verify.self, Dump.self, Diff.self, Heads.self, Prove.self, Export.self,
            Check.self,
        ], defaultSubcommand: Stat.self)

    /// Where the files are.
    struct Place: ParsableArguments {
        @Option(name: .customLong("data"), help: "The data directory.")
        var directory: String
        @Option(
            name: .customLong("journal-archive"),
            help: "Where older segments were moved, to read them too.")
        var archive: String?
        @OptionGroup var key: KeyFlags
    }

    /// Runs `body` on a directory; a directory that cannot be read is one line and an exit code.
    static func inspecting(
        _ place: Place, _ body: (Inspection) throws -> Void
    ) throws {
        try reporting {
            let source = try place.key.source()
            try body(
                try Inspection(
                    path: place.directory, archive: place.archive, keys: source,
                    threads: Thread.processorCount))
        }
    }

    /// Runs `body`; what goes wrong with a directory or a key is one line and an exit code.
    static func reporting(_ body: () throws -> Void) throws {
        do { try body() } catch let error as JournalError {
            StandardStream.error.write("triaged: \(error)\n")
            if case .noSuchPoint = error { throw ExitCode(64) }
            throw ExitCode(error.isAboutKeys ? 78 : error.isDamage ? 65 : 74)
        } catch let error as ConfigurationError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }

    /// Counts what a directory holds.
    struct Stat: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show segments, snapshots, the journal's end, and what its records hold.")
        @OptionGroup var place: Place

        mutating func run() throws {
            try inspecting(place) { inspection in
                var content = ContentCount()
                InspectCommand.show(try inspection.readJournal(into: &content))
                StandardStream.output.write(
                    "records \(content.records)  \(content.bodyBytes) bytes of bodies  "
                        + "\(content.fieldBytes) bytes in \(content.fields) sealed fields\n")
            }
        }
    }

    /// Checks everything.
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every checksum, tag and sequence, the tree, every snapshot and head.")
        @OptionGroup var place: Place

        mutating func run() throws {
            try inspecting(place) { inspection in
                var bar = ProgressBar()
                defer { bar.finish() }
                let result = try inspection.verify { bar.show("verifying", $0, of: $1) }
                bar.finish()
                InspectCommand.show(result.statistics)
                Self.show(result.vault)
                for problem in result.problems {
                    StandardStream.error.write("triaged: \(problem)\n")
                }
                let isUnread = result.problems.allSatisfy { problem in
                    if case .io = problem { true } else { false }
                }
                guard result.problems.isEmpty else { throw ExitCode(isUnread ? 74 : 65) }
                StandardStream.output.write(
                    "verified, \(result.signedHeads) signed heads with it\n")
            }
        }

        private static func show(_ vault: VaultCount?) {
            guard let vault else { return }
            var lines: [String] = []
            if vault.aside > 0 {
                lines.append("vault: \(vault.aside) objects are set aside")
            }
            if vault.withoutKey > 0 {
                lines.append(
                    "vault: \(vault.withoutKey) objects have no key, as a kill leaves them: the "
                        + "next start names those that should have one")
            }
            if vault.withoutObject > 0 {
                lines.append("vault: \(vault.withoutObject) keys have no object")
            }
            for line in lines { StandardStream.output.write(line + "\n") }
        }
    }

    /// Prints records.
    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print journal records as JSON lines.",
            discussion: "Without --content, what people wrote and whom it is about is left out.")
        @OptionGroup var place: Place
        @Option(help: "First sequence.")
        var from: UInt64 = 1
        @Option(help: "Last sequence.")
        var to: UInt64 = .max
        @Flag(help: "Print everything, sensitive fields too.")
        var content = false

        func validate() throws {
            guard from <= to else { throw ValidationError("--from must be at most --to") }
        }

        mutating func run() throws {
            let options = self
            try inspecting(place) { inspection in
                var printer = RecordPrinter(
                    range: options.from...options.to,
                    content: options.content, version: inspection.version)
                _ = try inspection.readJournal(into: &printer)
            }
        }
    }

    fileprivate static func show(_ statistics: DirectoryStatistics) {
        var lines = ["cluster \(statistics.cluster)", "format version \(statistics.version)"]
        for segment in statistics.segments {
            lines.append(
                "segment \(segment.file)  records \(segment.first)-\(segment.last)  commits "
                    + "\(segment.batches)  \(segment.bytesUsed) of \(segment.bytes) bytes")
        }
        for snapshot in statistics.snapshots {
            lines.append(
                "snapshot \(snapshot.file)  at \(snapshot.head.sequence)  "
                    + "\(Timestamp.rfc3339(snapshot.time))  \(snapshot.bytes) bytes")
        }
        if let first = statistics.segments.first?.first, first > 1 {
            lines.append("journal begins with record \(first): what was before is elsewhere")
        }
        if let head = statistics.head {
            lines.append("journal ends with record \(head.sequence), root \(head.root)")
        }
        if let torn = statistics.tornTail {
            lines.append(
                "unfinished write of \(torn.bytes) bytes at \(torn.file) byte \(torn.offset); "
                    + "the next start cuts it")
        }
        for line in lines { StandardStream.output.write(line + "\n") }
    }
}

/// What records hold: the bytes of the events themselves, which is what a journal's size is to be
/// compared with.
private struct ContentCount: RecordVisitor {
    var records = 0
    var bodyBytes = 0
    var fields = 0
    var fieldBytes = 0

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        records += 1
        bodyBytes += record.body.count
        fields += record.fieldCount
        for number in 0..<record.fieldCount { fieldBytes += record.field(number + 1).count }
    }
}

/// Prints records as JSON lines.
struct RecordPrinter: RecordVisitor {
    let range: ClosedRange<UInt64>
    let content: Bool
    /// Of the directory's format.
    let version: UInt32
    private var parts = RecordParts()

    init(range: ClosedRange<UInt64>, content: Bool, version: UInt32) {
        self.range = range
        self.content = content
        self.version = version
    }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        guard range.contains(sequence) else { return }
        let message = try version == 1 ? lifted(record) : Self.decode(record)
        let shown = content ? message : Self.withoutContent(message)
        StandardStream.output.write(
            "{\"sequence\":\"\(sequence)\",\"time\":\"\(Timestamp.rfc3339(time))\","
                + "\"record\":\(JSONMapping.text(.message(shown)))}\n")
    }

    private static func decode(_ record: RecordView) throws(RecordRejection) -> DynamicMessage {
        do { return try RecordMessage.decode(record) } catch { throw RecordRejection("\(error)") }
    }

    private mutating func lifted(_ record: RecordView) throws(RecordRejection) -> DynamicMessage {
        try StoredRecords().lift(record.body, into: &parts)
        return try parts.withView { view throws(RecordRejection) in try Self.decode(view) }
    }

    /// Keeps numbers, enums, times and identities of callers; leaves out all other text and bytes.
    private static func withoutContent(_ message: DynamicMessage) -> DynamicMessage {
        var kept = DynamicMessage()
        for field in message.fields {
            switch field.value {
            case .string: if field.name == "principal" { kept[field.name] = field.value }
            case .bytes: continue
            case .message(let nested): kept[field.name] = .message(withoutContent(nested))
            case .list(let values):
                let messages = values.compactMap { value -> DynamicValue? in
                    switch value {
                    case .message(let nested): .message(withoutContent(nested))
                    case .string, .bytes: nil
                    default: value
                    }
                }
                if !messages.isEmpty { kept[field.name] = .list(messages) }
            default: kept[field.name] = field.value
            }
        }
        return kept
    }
}
