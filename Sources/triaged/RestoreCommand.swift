// `triaged restore`: a new data directory of an older state of another one, or of a backup, while
// no server runs on the new one.

internal import ArgumentParser
internal import TriageBase
internal import TriageIO
internal import TriageJournal

/// Restores a data directory into a new one.
struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make a new data directory of a backup, or of an older state of a directory.",
        discussion: """
            Copies everything up to a record, byte by byte, verifies it as `inspect verify` does, \
            and never touches the source. What was acknowledged behind that record is not in the \
            new directory, which therefore signs with a new key: hand its public key out as you \
            did the first one. Exit codes: 0 done; 64 there is no such record or time; 65 \
            something does not verify; 74 something cannot be read or written; 78 the key is wrong.
            """)

    @Option(help: "The backup, or the data directory.")
    var from: String
    @Option(
        name: .customLong("journal-archive"),
        help: "Where its older segments were moved, to bring them back too.")
    var archive: String?
    @Option(help: "The new data directory: not there yet, or empty.")
    var to: String
    @Option(help: "The last record that the new directory has; without it, all there are.")
    var sequence: UInt64?
    @Option(
        help: ArgumentHelp(
            "Keep the records before the first one that is later than this: UTC, as in "
                + "2026-11-26T09:30:00Z."))
    var time: String?
    @OptionGroup var key: KeyFlags

    func validate() throws {
        try NewDirectory.check("--to", to, outside: [from, archive])
        guard sequence == nil || time == nil else {
            throw ValidationError("--sequence or --time, not both")
        }
        if let time, Timestamp.parse(rfc3339: time) == nil {
            throw ValidationError("--time must be UTC, as in 2026-11-26T09:30:00Z, not \(time)")
        }
    }

    private var point: RestorePoint {
        if let sequence { return .sequence(sequence) }
        return time.flatMap(Timestamp.parse(rfc3339:)).map(RestorePoint.time) ?? .end
    }

    mutating func run() throws {
        let options = self
        try InspectCommand.reporting {
            let restore = try Restore(
                from: options.from, archive: options.archive, to: options.to,
                keys: try options.key.source(), threads: Thread.processorCount)
            var bar = ProgressBar()
            defer { bar.finish() }
            let report = try restore.run(options.point, time: SystemClock().wallTime()) {
                bar.show($0.rawValue, $1, of: $2, $0 == .searching ? .segments : .bytes)
            }
            bar.finish()
            Self.show(report, options.to)
        }
    }

    private static func show(_ report: RestoreReport, _ path: String) {
        for rejected in report.rejectedSnapshots {
            StandardStream.error.write(
                "triaged: left out \(rejected.file), which does not verify\n")
        }
        for damaged in report.damagedObjects {
            StandardStream.error.write(
                "triaged: of evidence: \(damaged); all else goes on without it\n")
        }
        var lines = [
            "records 1 to \(report.head.sequence), root \(report.head.root)",
            report.snapshot.map { "the newest snapshot is that of record \($0)" }
                ?? "without a snapshot: the first start replays every record",
        ]
        if report.headsLeftOut > 0 {
            lines.append(
                "left out \(report.headsLeftOut) signed heads of records behind that; whoever "
                    + "keeps one will find that it is not of this history")
        }
        if report.keysWithoutObject > 0 {
            lines.append(
                "\(report.keysWithoutObject) keys of evidence came without their object; the "
                    + "first start drops them, and names what is missing")
        }
        if let key = report.signingKey { lines.append("signs from now on with \(key)") }
        lines.append("verified; start the server with --data \(path)")
        for line in lines { StandardStream.output.write(line + "\n") }
    }
}
