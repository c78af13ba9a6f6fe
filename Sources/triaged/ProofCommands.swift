// `triaged inspect heads|prove|export|check`: signed heads, proofs and exports from a data
// directory, and their check with nothing but a public key. Text forms are FORMAT.md §15's.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageIO
internal import TriageJournal

extension InspectCommand {
    /// Runs `body` with a prover; what cannot be proved is one line and an exit code.
    fileprivate static func proving(
        _ place: Place, _ body: (inout Prover) throws(ProverError) -> Void
    ) throws {
        try inspecting(place) { inspection in
            do throws(ProverError) {
                var prover = try Prover(inspection)
                try body(&prover)
            } catch {
                switch error {
                case .journal(let error): throw error
                case .request(let what):
                    StandardStream.error.write("triaged: \(what)\n")
                    throw ExitCode(64)
                }
            }
        }
    }

    /// Shows signed heads.
    struct Heads: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the signed heads, and the public keys that they verify with.",
            discussion: "Whoever keeps a head, outside, can prove later that nothing up to it was "
                + "changed. With --note, the newest head, or that of --records, as a signed note.")
        @OptionGroup var place: Place
        @Flag(help: "Print one head as a signed note: a C2SP checkpoint.")
        var note = false
        @Option(help: "Records of the head to print.")
        var records: UInt64?

        mutating func run() throws {
            let (place, note, records) = (place, note, records)
            if note {
                return try InspectCommand.proving(place) { prover throws(ProverError) in
                    StandardStream.output.write("\(try prover.head(of: records).note)")
                }
            }
            try InspectCommand.inspecting(place) { inspection in
                let heads = try inspection.signedHeads()
                for head in heads {
                    StandardStream.output.write(
                        "records \(head.signed.head.sequence)  root \(head.signed.head.root)  "
                            + "signed \(Timestamp.rfc3339(head.signed.time))  by key "
                            + "\(head.signed.keyNumber)\n")
                }
                for (number, key) in inspection.signingKeys() {
                    StandardStream.output.write("signing key \(number)  \(key)\n")
                }
            }
        }
    }

    /// Makes a proof.
    struct Prove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Prove that a record stands in a signed head, or that history was not changed.",
            discussion: "With --record, a C2SP tlog-proof with the record, its sealed fields "
                + "redacted. With --from, that the journal of that head is the beginning of that "
                + "of a later one. The proof goes to standard output.")
        @OptionGroup var place: Place
        @Option(help: "Sequence of the record.")
        var record: UInt64?
        @Option(help: "Records of the signed head that it leads to; the newest one unless given.")
        var head: UInt64?
        @Option(help: "Records of the earlier signed head.")
        var from: UInt64?

        func validate() throws {
            guard (record == nil) != (from == nil) else {
                throw ValidationError("give --record or --from")
            }
        }

        mutating func run() throws {
            let (place, record, head, from) = (place, record, head, from)
            try InspectCommand.proving(place) { prover throws(ProverError) in
                let later = try prover.head(of: head)
                let text =
                    if let record {
                        try prover.prove(record, in: later).description
                    } else {
                        try prover.prove(from: try prover.head(of: from), to: later).description
                    }
                StandardStream.output.write(text)
            }
        }
    }

    /// Writes records with their proof.
    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a run of records with the proof that they are those of a signed head.",
            discussion: "Sealed fields, which are what people wrote and whom it is about, are "
                + "redacted unless they are asked for; the proof holds either way. It goes to "
                + "standard output.")
        @OptionGroup var place: Place
        @Option(help: "First sequence.")
        var first: UInt64
        @Option(help: "Last sequence.")
        var last: UInt64
        @Option(help: "Records of the signed head that it leads to; the newest one unless given.")
        var head: UInt64?
        @Flag(help: "Show every sealed field. Sensitive.")
        var content = false
        @Option(help: "Show one sealed field, as SEQUENCE/NUMBER; may be repeated. Sensitive.")
        var reveal: [SealedPlace] = []

        func validate() throws {
            guard first > 0, first <= last else {
                throw ValidationError("--first must be at least 1 and at most --last")
            }
        }

        mutating func run() throws {
            let (place, range, head, content) = (place, first...last, head, content)
            let shown = Set(reveal)
            try InspectCommand.proving(place) { prover throws(ProverError) in
                try prover.export(
                    range, in: try prover.head(of: head),
                    shows: { content || shown.contains(SealedPlace(sequence: $0, number: $1)) },
                    write: { StandardStream.output.write($0) })
            }
        }
    }
}

/// A sealed field of a record.
struct SealedPlace: Hashable, ExpressibleByArgument {
    var sequence: UInt64
    /// From 1.
    var number: Int

    init(sequence: UInt64, number: Int) {
        self.sequence = sequence
        self.number = number
    }

    init?(argument: String) {
        let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let sequence = UInt64(parts[0]), let number = Int(parts[1]) else {
            return nil
        }
        self.init(sequence: sequence, number: number)
    }
}

extension InspectCommand {
    /// Checks a proof.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a proof or an export; needs the file and the public key alone.",
            discussion:
                "Exit codes: 0 it proves what is printed; 65 it does not; 74 the file cannot "
                + "be read.")
        @Argument(help: "The file.")
        var path: String
        @Option(
            help: "Public key of the signer, as `triaged inspect heads` prints it; may be repeated."
        )
        var signer: [String]
        @Option(
            name: .customLong("leaf"),
            help: ArgumentHelp(
                "Leaf hash that the record must have, in hexadecimal digits; needed if the proof "
                    + "does not hold the record."))
        var leaf: String?
        @Flag(help: "Print the records, once they are proved, as JSON lines.")
        var records = false

        private static let lineBytesMax = 8 << 20

        mutating func run() throws {
            guard !signer.isEmpty else { throw ValidationError("give --signer") }
            let keys = try signer.map { text in
                guard let key = NoteKey(text), key.kind == .ed25519 else {
                    throw ValidationError("\(text) is no public key: NAME+ID+KEY")
                }
                return key
            }
            do {
                let proven = try Self.check(path, keys, try leafDigest(), prints: records)
                StandardStream.output.write(Self.words(proven))
            } catch let error as ProofError {
                StandardStream.error.write("triaged: \(path) proves nothing: \(error)\n")
                throw ExitCode(65)
            } catch let error as TextFileError {
                StandardStream.error.write("triaged: \(path): \(error)\n")
                throw ExitCode(74)
            }
        }

        private func leafDigest() throws -> Digest? {
            guard let leaf else { return nil }
            guard let digest = Digest(hexadecimal: Array(leaf.utf8).span) else {
                throw ValidationError("--leaf must be 64 hexadecimal digits")
            }
            return digest
        }

        private static func check(
            _ path: String, _ keys: [NoteKey], _ leaf: Digest?, prints: Bool
        ) throws -> Proven {
            // It is read more than once.
            guard TextFile.isRegular(path: path) else {
                throw TextFileError.notRegular
            }
            var reader = try LineReader(path: path, lineBytesMax: lineBytesMax)
            guard let first = try reader.next() else {
                throw ProofError.malformed(line: 1, what: "the file is empty")
            }
            if first == ExportHeader.magic {
                let proven = try checkExport(path, keys) { _ in }
                // Read again once it is proved, so that nothing is shown that is not.
                return prints ? try checkExport(path, keys, Self.print) : proven
            }
            var text = first + "\n"
            while let line = try reader.next() {
                text += line + "\n"
                guard text.utf8.count <= lineBytesMax else {
                    throw TextFileError.tooLarge(limitBytes: lineBytesMax)
                }
            }
            if first == HistoryProof.magic { return try HistoryProof(text).verify(keys) }
            let proof = try RecordProof(text)
            let proven = try proof.verify(keys, leaf: leaf)
            if prints, let entry = proof.entry { print(entry) }
            return proven
        }

        private static func checkExport(
            _ path: String, _ keys: [NoteKey], _ each: @escaping (RecordEntry) -> Void
        ) throws -> Proven {
            var reader = try LineReader(path: path, lineBytesMax: lineBytesMax)
            var checker = ExportChecker(keys, each: each)
            while let line = try reader.next() { try checker.take(line) }
            return try checker.finish()
        }

        private static func print(_ entry: RecordEntry) {
            var printer = RecordPrinter(
                range: 1...UInt64.max, content: true, version: Inspection.currentVersion)
            do throws(RecordRejection) {
                try entry.withView { view throws(RecordRejection) in
                    try printer.journalRecord(sequence: entry.sequence, time: entry.time, view)
                }
            } catch {
                StandardStream.error.write(
                    "triaged: record \(entry.sequence) is not of a kind that this release knows: "
                        + "\(error.what)\n")
            }
        }

        private static func words(_ proven: Proven) -> String {
            func head(_ text: HeadText) -> String {
                let time = text.time.map { ", signed \(Timestamp.rfc3339($0))" } ?? ""
                return
                    "the journal of \(text.head.sequence) records of cluster \(text.cluster)\(time)"
            }
            switch proven {
            case .record(let sequence, let entry, let text):
                let time = entry.map { " of \(Timestamp.rfc3339($0.time))" } ?? ""
                return "proved: record \(sequence)\(time) stands in \(head(text))\n"
            case .history(let earlier, let later):
                return "proved: \(head(earlier)) is the beginning of \(head(later))\n"
            case .records(let range, let shown, let redacted, let text):
                return
                    "proved: records \(range.lowerBound) to \(range.upperBound), \(shown) sealed "
                    + "fields shown and \(redacted) redacted, stand in \(head(text))\n"
            }
        }
    }
}
