// `triaged inspect diff`: where two data directories part, by sequence; nothing of what a record
// says.

internal import ArgumentParser
internal import TriageBase
internal import TriageIO
internal import TriageJournal

extension InspectCommand {
    /// Compares two directories.
    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare two data directories or backups: where their journals part.",
            discussion: "Needs the digests alone, not every record; whether each directory is as "
                + "it was written, `inspect verify` says. Two keys: give one of them with "
                + "--previous-key-file. Exit code 0: the same records and evidence; 1: not so.")
        @Argument(help: "One data directory.")
        var a: String
        @Argument(help: "The other one.")
        var b: String
        @OptionGroup var key: KeyFlags

        mutating func run() throws {
            let (a, b, key) = (a, b, key)
            try InspectCommand.reporting {
                let source = try key.source()
                let difference = try DirectoryDifference(
                    try Inspection(path: a, keys: source), try Inspection(path: b, keys: source))
                Self.show(difference, a, b)
                guard difference.isNone else { throw ExitCode(1) }
            }
        }

        private static func show(_ difference: DirectoryDifference, _ a: String, _ b: String) {
            let sides = [("A", a, difference.a), ("B", b, difference.b)]
            var lines = sides.map { name, path, side in
                let snapshots =
                    side.snapshots.isEmpty
                    ? "" : "  snapshots \(side.snapshots.map { "\($0)" }.joined(separator: ", "))"
                return "\(name) \(path)  cluster \(side.cluster)  records \(side.records)"
                    + snapshots
            }
            if difference.a.cluster != difference.b.cluster {
                lines.append("they are of two clusters, and no states of one journal")
            }
            let common = difference.common
            lines.append(
                common.sequence == 0
                    ? "no record is the same in both"
                    : "records 1 to \(common.sequence) are the same in both, root \(common.root)")
            let first = common.sequence + 1
            if difference.a.next != nil, difference.b.next != nil {
                lines.append("record \(first) differs")
            }
            for (name, _, side) in sides {
                if let next = side.next {
                    let time = next.time.map { " of \(Timestamp.rfc3339($0))" } ?? ""
                    lines.append(
                        "only in \(name): records \(first) to \(side.records); record \(first)"
                            + "\(time), leaf \(next.leaf)")
                }
                if side.objects > 0 {
                    lines.append("only in \(name): \(side.objects) objects of evidence")
                }
            }
            if difference.isNone { lines.append("nothing differs") }
            for line in lines { StandardStream.output.write(line + "\n") }
        }
    }
}
