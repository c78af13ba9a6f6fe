// The command line of specialists, leads, legal and operators. Each subcommand is a file of its
// own; all of them are calls that any other gRPC client could make.

internal import ArgumentParser
internal import TriageIO

/// `triagectl`: the whole API from a terminal or a script.
@main
struct TriageCtl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triagectl",
        abstract:
            "Works with a triaged server: reports, board, cases, leases, disclosure requests.",
        discussion: """
            Exit codes: 0 done; 3 not found; 4 not allowed or not identified; 5 the state does not \
            allow it, or somebody else was faster; 6 the request is wrong; 7 the server cannot be \
            reached or did not answer in time; 8 too large or too many; 9 nothing to claim; \
            64 wrong use of the command line; 1 anything else.
            """,
        subcommands: [
            SubmitCommand.self, BoardCommand.self, CaseCommand.self, ClaimCommand.self,
            LeaseCommand.self, AnswerCommand.self, DecideCommand.self, CloseCommand.self,
            ReopenCommand.self, DisclosureCommand.self, EvidenceCommand.self, HoldCommand.self,
            KeysCommand.self, AuditCommand.self, ReplayCommand.self, BenchCommand.self,
            StatusCommand.self, SnapshotCommand.self, BackupCommand.self,
        ])
}

extension TriageCtl {
    static func main() async {
        await main(nil)
        // What was to be read is not there: an empty file must not pass for a good one.
        guard let failure = StandardStream.outputFailure else { return }
        StandardStream.error.write("triagectl: \(failure)\n")
        exit(withError: ExitCode(1))
    }
}
