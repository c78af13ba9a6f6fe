// `triaged upgrade`: from a data directory of format version 1 to a new one of the current version,
// while no server runs on either.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageIO
internal import TriageJournal

/// Copies an old data directory into a new one.
struct UpgradeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Copy a data directory of an earlier format version into a new one.",
        discussion: """
            Reads the old directory whole, proves its chain, writes the new one, reads both back \
            and compares; no server starts on it before that is done. The old directory stays as \
            it is; going back means going on with it. Exit codes: 0 done; 65 the old directory \
            does not verify; 74 something cannot be read or written; 78 the key is wrong.
            """)

    @Option(help: "The old data directory.")
    var from: String
    @Option(
        name: .customLong("journal-archive"),
        help: "Where its older segments were moved, if they were.")
    var archive: String?
    @Option(help: "The new data directory: not there yet, or empty.")
    var data: String
    @OptionGroup var key: KeyFlags

    func validate() throws {
        try NewDirectory.check("--data", data, outside: [from, archive])
    }

    mutating func run() throws {
        do {
            let keys = try key.source()
            let upgrade = try Upgrade(from: from, archive: archive, to: data, keys: keys)
            var bar = ProgressBar()
            defer { bar.finish() }
            let report = try upgrade.run(StoredRecords(), time: SystemClock().wallTime()) {
                bar.show($0.step.rawValue, $0.done, of: $0.total, .segments)
            }
            bar.finish()
            if let torn = report.tornTail {
                StandardStream.error.write(
                    "triaged: left out an unfinished write of \(torn.bytes) bytes at \(torn.file) "
                        + "byte \(torn.offset), which was never acknowledged\n")
            }
            StandardStream.output.write(
                "\(report.records) records, equal in both; root \(report.head.root)\n"
                    + (keys == nil ? "not encrypted, and it stays so\n" : "encrypted\n")
                    + "start the server with --data \(data)\n")
        } catch let error as JournalError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.isDamage ? 65 : 74)
        } catch let error as ConfigurationError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }
}

/// A directory that a command makes of others.
enum NewDirectory {
    /// Refuses one that lies in another: it would be a foreign folder there.
    ///
    /// - Parameters:
    ///   - name: The option's.
    ///   - path: The new directory.
    ///   - others: What it must not lie in.
    /// - Throws: `ValidationError` with what to do.
    static func check(_ name: String, _ path: String, outside others: [String?]) throws {
        for case let other? in others where ResolvedPath(other).contains(ResolvedPath(path)) {
            throw ValidationError("\(name) lies in \(other): name a directory outside of it")
        }
    }
}

/// Records of version 1 as the codec knows them.
struct StoredRecords: RecordLifting {
    func lift(_ payload: Span<UInt8>, into record: inout RecordParts) throws(RecordRejection) {
        do { try RecordLift.lift(payload, into: &record) } catch {
            throw RecordRejection("\(error)")
        }
    }
}
