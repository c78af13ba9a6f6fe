// The daemon's command line: what it can be asked to do. Each subcommand is a file of its own.

internal import ArgumentParser
internal import TriageIO

/// `triaged`: the service itself, and what can be done with its files while it does not run.
struct TriagedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triaged",
        abstract: "Emergency triage, assignment and disclosure, over gRPC.",
        version: Build.version,
        subcommands: [
            ServeCommand.self, CheckConfigCommand.self, InspectCommand.self, RestoreCommand.self,
            UpgradeCommand.self, KeysCommand.self,
        ])
}

/// Facts about this build.
enum Build {
    /// The version that `--version`, `GetStatus` and the logs show.
    static let version = "0.1.0"
}

extension TriagedCommand {
    /// What was to be read is not there: an empty file must not pass for a good one.
    static func exitIfOutputWasLost() {
        guard let failure = StandardStream.outputFailure else { return }
        StandardStream.error.write("triaged: \(failure)\n")
        exit(withError: ExitCode(74))
    }
}
