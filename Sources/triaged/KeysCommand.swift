// `triaged keys`: the key-encryption key and the keys that it wraps, while the server does not run.
// Shows numbers, ages and uses; never key material.

internal import ArgumentParser
internal import TriageBase
internal import TriageCrypto
internal import TriageIO
internal import TriageJournal

/// Looks after the keys of a data directory.
struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Make, show and rotate the keys of an encrypted data directory.",
        discussion: """
            The key-encryption key (KEK) lies outside the directory and wraps the data and signing \
            keys in its file `keys`. A running server rotates them itself: replace the file of \
            --key-file and send SIGHUP for a new KEK, call `triagectl keys rotate` for new keys.

            Exit codes: 0 done; 65 something does not verify; 74 it cannot be read or written; \
            78 the key or an option is wrong.
            """,
        subcommands: [Generate.self, Status.self, Rotate.self, Drop.self],
        defaultSubcommand: Status.self)

    /// Where the directory is, and what opens it.
    struct Place: ParsableArguments {
        @Option(name: .customLong("data"), help: "The data directory.")
        var directory: String
        @OptionGroup var key: KeyFlags

        func source() throws(ConfigurationError) -> KeySource {
            guard let source = try key.source() else {
                throw ConfigurationError("give the key: --key-file or --key-command")
            }
            return source
        }

        /// Opens the directory alone, and its keys.
        func open() throws -> (DataDirectory, KeyRing) {
            // Refused before anything is locked or made.
            _ = try keyFile(of: directory)
            let data = try DataDirectory(opening: directory, keys: try source())
            guard let ring = data.keys else { throw JournalError.keyUnexpected }
            return (data, ring)
        }
    }

    fileprivate static func running(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as JournalError {
            StandardStream.error.write("triaged: \(error)\n")
            switch error {
            case .keyMissing, .keyUnexpected, .wrongKey: throw ExitCode(78)
            default: throw ExitCode(error.isDamage ? 65 : 74)
            }
        } catch let error as SecretFileError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(74)
        } catch let error as ConfigurationError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }

    /// Makes a key-encryption key.
    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a KEK in a new file of mode 0600.",
            discussion: "Keep a copy where the directory's backups are not: without it they open "
                + "to nobody.")
        @Argument(help: "The file; one that is there is never overwritten.")
        var path: String

        mutating func run() throws {
            let path = path
            try running {
                var random = RandomBytes()
                let key = KeyEncryptionKey(SecretKey(random: &random))
                var text = key.text()
                defer {
                    var span = text.mutableSpan
                    wipe(&span)
                }
                do {
                    try SecretFile.make(path: path, text.span)
                } catch let error as SecretFileError {
                    if case .io(let cause) = error, cause.errno == .exists {
                        throw ConfigurationError(
                            "\(path) is there already and was not touched: name a new file")
                    }
                    throw error
                }
                StandardStream.output.write("key \(key.id) in \(path)\n")
            }
        }
    }

    /// Shows the keys.
    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the keys: numbers, kinds, states, ages and what needs them.",
            discussion: "Needs no key, and may run beside the server.")
        @Option(name: .customLong("data"), help: "The data directory.")
        var directory: String
        @Option(
            name: .customLong("journal-archive"),
            help: "Where older segments were moved, to count them too.")
        var archive: String?
        @Flag(help: "One JSON object instead of text.")
        var json = false

        mutating func run() throws {
            let (directory, archive, json) = (directory, archive, json)
            try running {
                let report = try KeyReport(directory, archive, SystemClock().wallTime())
                StandardStream.output.write(json ? report.json + "\n" : report.text)
            }
        }
    }

    /// Rotates keys.
    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Wrap the keys with another KEK, or make new ones; the server must not run.",
            discussion: "With --previous-key-file, keys that it wraps are wrapped by the KEK of "
                + "--key-file or --key-command. Destroy the old KEK only when no backup needs it.")
        @OptionGroup var place: Place
        @Flag(name: .customLong("data-key"), help: "Make a new data key, and wrap evidence anew.")
        var dataKey = false
        @Flag(name: .customLong("signing-key"), help: "Make a new signing key.")
        var signingKey = false

        mutating func run() throws {
            let (place, dataKey, signingKey) = (place, dataKey, signingKey)
            try running {
                let (data, ring) = try place.open()
                let time = SystemClock().wallTime()
                var random = RandomBytes()
                for repair in ring.repairs { StandardStream.output.write(repair + "\n") }
                let isRewrapped = !ring.repairs.isEmpty
                try ring.settle(time: time, random: &random)
                if isRewrapped { StandardStream.output.write("keys wrapped by \(ring.kek)\n") }
                if dataKey {
                    let number = try ring.renew(.data, time: time, random: &random)
                    let (count, unreadable) = try data.openVault()?.rewrap() ?? (0, [])
                    StandardStream.output.write(
                        "data key \(number) in use, \(count) objects wrapped anew\n")
                    for error in unreadable {
                        StandardStream.error.write(
                            "triaged: its key stays under the data key of before: \(error)\n")
                    }
                }
                if signingKey {
                    let number = try ring.renew(.signing, time: time, random: &random)
                    StandardStream.output.write("signing key \(number) in use\n")
                }
                if !isRewrapped, !dataKey, !signingKey {
                    StandardStream.output.write("nothing to do: keys wrapped by \(ring.kek)\n")
                }
            }
        }
    }

    /// Forgets keys.
    struct Drop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget old data keys that nothing needs; the server must not run.",
            discussion: "Refused while a file in the directory, or in --journal-archive, needs "
                + "one, and while segments are in neither. Backups are not looked at: what only "
                + "they hold opens to nobody afterwards.")
        @OptionGroup var place: Place
        @Option(
            name: .customLong("journal-archive"),
            help: "Where older segments were moved, to look at them too.")
        var archive: String?
        @Flag(
            name: .customLong("without-archive"),
            help: "Drop them although segments that may need one are not here, for good.")
        var withoutArchive = false
        @Argument(help: "Numbers of the keys.")
        var numbers: [UInt32]

        mutating func run() throws {
            let (place, archive, numbers) = (place, archive, numbers)
            let withoutArchive = withoutArchive
            try running {
                let (data, ring) = try place.open()
                let time = SystemClock().wallTime()
                try data.openVault()?.settle(time: time)
                let usage = try KeyUsage(of: place.directory, archive: archive)
                let known = ring.keys
                for number in numbers {
                    guard let key = known.first(where: { $0.number == number }) else {
                        throw ConfigurationError("there is no key \(number)")
                    }
                    guard key.kind == .data else {
                        throw ConfigurationError(
                            "key \(number) is a signing key: heads verify with it for ever")
                    }
                    guard key.state == .kept else {
                        throw ConfigurationError("key \(number) is in use")
                    }
                    guard usage.isFree(number) else {
                        throw ConfigurationError(
                            "key \(number) is needed: `triaged keys status` says by what")
                    }
                }
                guard usage.elsewhere == 0 || withoutArchive else {
                    throw ConfigurationError(
                        "\(usage.elsewhere) segments that may need one are not here: name "
                            + "--journal-archive, or say --without-archive if nobody has to read "
                            + "them any more")
                }
                var random = RandomBytes()
                try ring.drop(Set(numbers), time: time, random: &random)
                StandardStream.output.write("dropped \(numbers.count) keys\n")
            }
        }
    }
}

/// The keys of a directory, still wrapped.
private func keyFile(of directory: String) throws -> KeyFile {
    guard let file = try KeyFile.read(directory) else {
        throw ConfigurationError("\(directory) has no keys: it was begun without encryption")
    }
    return file
}

/// What `keys status` shows.
private struct KeyReport {
    let file: KeyFile
    let usage: KeyUsage
    let now: WallTime

    init(_ directory: String, _ archive: String?, _ now: WallTime) throws {
        file = try keyFile(of: directory)
        usage = try KeyUsage(of: directory, archive: archive)
        self.now = now
    }

    private func age(_ key: KeyEntry) -> Int64 {
        max(0, now.milliseconds - key.made.milliseconds) / 86_400_000
    }

    private func state(_ key: KeyEntry) -> String { key.state == .inUse ? "in use" : "kept" }

    var text: String {
        var lines = ["cluster \(file.cluster)  written \(Timestamp.rfc3339(file.written))"]
        if let damage = file.damage {
            lines.append(
                "damaged at byte \(damage.offset): \(damage.what); the next start mends it")
        }
        for key in file.entries {
            var line =
                "\(key.kind) key \(key.number)  \(state(key))  \(age(key)) days old  made "
                + "\(Timestamp.rfc3339(key.made))  wrapped by \(key.kek)"
            if key.kind == .data {
                line +=
                    "  segments \(usage.segments[key.number] ?? 0)  snapshots "
                    + "\(usage.snapshots[key.number] ?? 0)  objects "
                    + "\(usage.objects[key.number] ?? 0)"
            }
            lines.append(line)
        }
        if usage.elsewhere > 0 {
            lines.append(
                "\(usage.elsewhere) segments are not here and not counted: see --journal-archive")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    var json: String {
        let keys = file.entries.map { key in
            var fields = [
                "\"number\":\(key.number)", "\"kind\":\(JSONText.quoted("\(key.kind)"))",
                "\"state\":\(JSONText.quoted(key.state == .inUse ? "in_use" : "kept"))",
                "\"made\":\(JSONText.quoted(Timestamp.rfc3339(key.made)))",
                "\"age_days\":\(age(key))", "\"kek\":\(JSONText.quoted(key.kek.description))",
            ]
            if key.kind == .data {
                fields += [
                    "\"segments\":\(usage.segments[key.number] ?? 0)",
                    "\"snapshots\":\(usage.snapshots[key.number] ?? 0)",
                    "\"objects\":\(usage.objects[key.number] ?? 0)",
                ]
            }
            return "{" + fields.joined(separator: ",") + "}"
        }
        return "{\"cluster\":\(JSONText.quoted(file.cluster.description)),"
            + "\"generation\":\(file.generation),"
            + "\"written\":\(JSONText.quoted(Timestamp.rfc3339(file.written))),"
            + "\"damaged\":\(file.damage != nil),\"segments_elsewhere\":\(usage.elsewhere),"
            + "\"keys\":[\(keys.joined(separator: ","))]}"
    }
}
