// `triagectl backup`: copies a running server's data directory into a folder here, or brings an
// older backup up to date. Bytes as they lie on the server's disk; needs no key.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageGRPC
internal import TriageIO

/// Backs a server up.
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the server's data directory into a folder, while it runs.",
        discussion: """
            The server verifies each file before it sends it, and each digest is compared. Run \
            again, it goes on where it ended, and into a folder that has a backup it copies what \
            is new. What is encrypted stays so: `triaged inspect verify --data FOLDER` with the \
            key checks all of it, `triaged restore --from FOLDER` makes a data directory of it.
            """)

    @OptionGroup var global: GlobalOptions
    @Option(help: "The folder: not there yet, empty, or with a backup of the same directory.")
    var to: String
    @Flag(help: "Read everything back at the end, also what was there before.")
    var check = false

    /// How often the list is asked for again because retention took a file meanwhile.
    private static let attemptsMax = 5

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            do {
                let folder = try BackupFolder(command.to)
                let outcome = try await command.global.withClient { client in
                    try await command.copy(client, folder)
                }
                if command.check { try command.readBack(folder, outcome.manifest) }
                command.show(outcome)
            } catch let problem as BackupProblem {
                StandardStream.error.write(
                    "triagectl: \(Output.visible("\(problem)", margin: ""))\n")
                throw ExitCode(1)
            }
        }
    }

    private struct Outcome {
        var manifest: BackupManifest
        var copied = 0
        var bytes = 0
    }

    private func copy(
        _ client: CommandClient, _ folder: BackupFolder
    ) async throws -> Outcome {
        var attempt = 1
        while true {
            do {
                return try await copyOnce(client, folder)
            } catch let failure as CallFailure
                where failure.error.reason == "BACKUP_FILE_GONE" && attempt < Self.attemptsMax
            {
                attempt += 1
            }
        }
    }

    private func copyOnce(
        _ client: CommandClient, _ folder: BackupFolder
    ) async throws -> Outcome {
        let (listed, files) = try await list(client)
        var outcome = listed
        var bar = ProgressBar()
        defer { bar.finish() }
        var missing: [ListedFile] = []
        var entries: [String: ManifestFile] = [:]
        if let identity = files.last(where: { $0.name == BackupFolder.identityName }) {
            // First, so that nothing is mixed with another directory's files.
            let taken = try await fetch(identity, client, folder) { _ in }
            try folder.expect(identity: taken.sha256)
            entries[identity.name] = taken
        }
        for file in files where entries[file.name] == nil {
            if let kept = try folder.kept(file) {
                entries[file.name] = kept
            } else {
                missing.append(file)
            }
        }
        let total = missing.reduce(0) { $0 &+ $1.count }
        for file in missing {
            entries[file.name] = try await fetch(file, client, folder) { count in
                outcome.bytes += count
                bar.show("copying", outcome.bytes, of: total)
            }
        }
        outcome.copied = missing.count
        outcome.manifest.files = files.compactMap { entries[$0.name] }
        try folder.finish(outcome.manifest)
        return outcome
    }

    private func list(_ client: CommandClient) async throws -> (Outcome, [ListedFile]) {
        var outcome = Outcome(manifest: BackupManifest(sequence: 0, root: "", files: []))
        var files: [ListedFile] = []
        try await client.stream("ListBackup", DynamicMessage(), isEndless: true) { message in
            outcome.manifest.sequence = message.int("sequence")
            outcome.manifest.root = message.text("root")
            files += message.messages("files").map { file in
                ListedFile(
                    name: file.text("name"), count: Int(file.int("read_bytes")),
                    size: Int(file.int("size_bytes")), isFinal: file.bool("is_final"))
            }
            return true
        }
        for file in files where !Self.isSafe(file.name) {
            throw BackupProblem(
                "the server lists a file of the name \(Output.visible(file.name))")
        }
        for file in files where !file.isPossible {
            throw BackupProblem("the server lists \(file.name) with an impossible size")
        }
        return (outcome, files)
    }

    /// Whether a name stays in the folder, whatever the server says.
    static func isSafe(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return (parts.count == 1 || parts.count == 2 && parts[0] == "vault")
            && parts.allSatisfy { !$0.isEmpty && !$0.hasPrefix(".") }
            && Output.visible(name) == name && !name.contains(" ")
    }

    private func fetch(
        _ file: ListedFile, _ client: CommandClient, _ folder: BackupFolder,
        each: (Int) -> Void
    ) async throws -> ManifestFile {
        let incoming = try folder.begin(file)
        var request = DynamicMessage()
        request["name"] = .string(file.name)
        request["read_bytes"] = .long(Int64(file.count))
        request["size_bytes"] = .long(Int64(file.size))
        try await client.stream("ReadBackup", request, isEndless: true) { message in
            let bytes = message.bytes("chunk")
            if bytes.isEmpty {
                try incoming.end(sha256: message.text("sha256"))
            } else {
                try incoming.append(bytes)
                each(bytes.count)
            }
            return true
        }
        return try folder.take(incoming)
    }

    private func readBack(_ folder: BackupFolder, _ manifest: BackupManifest) throws {
        var bar = ProgressBar()
        defer { bar.finish() }
        let total = manifest.files.reduce(0) { $0 + $1.size }
        var done = 0
        let damaged = folder.damaged(manifest) { count in
            done += count
            bar.show("verifying", done, of: total)
        }
        bar.finish()
        guard damaged.isEmpty else {
            throw BackupProblem(
                damaged.map { "\(to)/\($0) is not as it was copied: remove it and run this again" }
                    .joined(separator: "\ntriagectl: "))
        }
    }

    private func show(_ outcome: Outcome) {
        let manifest = outcome.manifest
        Output.line(
            "records 1 to \(manifest.sequence), root \(manifest.root), in \(to): "
                + "\(outcome.copied) files copied, "
                + "\(manifest.files.count - outcome.copied) there already")
    }
}
