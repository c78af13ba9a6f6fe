// Proofs made from a directory: every record and every pair of heads, exports with every field
// shown and redacted, checked by us, and by a verifier in Python that knows nothing but FORMAT.md.
// Then all that may be done to a proof, line by line.

import Foundation
import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct ProverTests {
    /// A directory of several segments, closed, and the key that its heads verify with.
    private static func bench() throws -> (bench: Workbench, key: NoteKey) {
        let sizes = [100, 900, 3000, 3000, 50, 60, 2000, 9, 0, 1500, 700, 31]
        let (bench, journal, signed) = try SignedHeadTests.bench(sizes)
        journal.close(time: .epoch)
        return (bench, try signed.last().key)
    }

    @Test func everyRecordIsProvedInEveryHead() throws {
        let (bench, key) = try Self.bench()
        var prover = try Prover(bench.inspection())
        for size in UInt64(1)...12 {
            let head = try prover.head(of: size)
            for sequence in 1...size {
                let text = try prover.prove(sequence, in: head).description
                let proof = try RecordProof(text)
                #expect(proof.description == text)
                guard case .record(sequence, let entry?, let said) = try proof.verify([key]) else {
                    Issue.record("not proved")
                    continue
                }
                let written = bench.durable[Int(sequence) - 1]
                #expect(said.head == head.signed.head)
                #expect(
                    entry.body == written.body && entry.time.milliseconds == written.milliseconds)
                #expect(entry.fields.count == written.sealed.count)
            }
        }
        #expect(throws: ProverError.self) { try prover.prove(0, in: prover.head(of: 3)) }
        #expect(throws: ProverError.self) { try prover.prove(4, in: prover.head(of: 3)) }
        #expect(throws: ProverError.self) { try prover.head(of: 13) }
    }

    @Test func everyPairOfHeadsIsProved() throws {
        let (bench, key) = try Self.bench()
        var prover = try Prover(bench.inspection())
        for from in UInt64(1)...12 {
            for to in from...12 {
                let text = try prover.prove(from: prover.head(of: from), to: prover.head(of: to))
                    .description
                let proof = try HistoryProof(text)
                #expect(proof.description == text)
                guard case .history(let earlier, let later) = try proof.verify([key]) else {
                    Issue.record("not proved")
                    continue
                }
                #expect(earlier.head.sequence == from && later.head.sequence == to)
            }
        }
        #expect(throws: ProverError.self) {
            try prover.prove(from: prover.head(of: 4), to: prover.head(of: 3))
        }
    }

    /// Leaves are kept so that no old segment is needed (FORMAT.md §8).
    @Test func anArchiveThatIsNotThere_isMissedByWhatIsInItAlone() throws {
        let (bench, key) = try Self.bench()
        var options = bench.options
        options.journalRetention = .archive("elsewhere")
        let disk = bench.disk.copy()
        // In the archive by now, which nobody has mounted.
        disk.erase(Workbench.file("00000000000000000001.journal"))
        let data = try DataDirectory(
            opening: Workbench.path, disk: disk, options: options, keys: bench.keys)
        var prover = try data.makeProver()
        let history = try prover.prove(from: prover.head(of: 1), to: prover.head(of: 12))
        guard case .history = try HistoryProof(history.description).verify([key]) else {
            Issue.record("no history")
            return
        }
        let last = try prover.prove(12, in: prover.head(of: 12)).description
        guard case .record(12, .some, _) = try RecordProof(last).verify([key]) else {
            Issue.record("no record")
            return
        }
    }

    private static func export(
        _ prover: inout Prover, _ range: ClosedRange<UInt64>, size: UInt64?,
        shows: @escaping (UInt64, Int) -> Bool
    ) throws -> String {
        var text = ""
        try prover.export(range, in: prover.head(of: size), shows: shows) { text += $0 }
        return text
    }

    private static func check(
        _ text: String, _ key: NoteKey
    ) throws(ProofError) -> (Proven, [RecordEntry]) {
        let taken = Monitor<[RecordEntry]>([])
        var checker = ExportChecker([key]) { entry in taken.change { $0.append(entry) } }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        for line in lines { try checker.take(String(line)) }
        return (try checker.finish(), taken.change { $0 })
    }

    /// Which sealed fields an export shows.
    private enum Shown: CaseIterable {
        case none, all, some

        func shows(_ sequence: UInt64, _ number: Int) -> Bool {
            switch self {
            case .none: false
            case .all: true
            case .some: sequence % 2 == 0 && number == 1
            }
        }
    }

    @Test func everyRangeIsExported_shownAndRedacted() throws {
        let (bench, key) = try Self.bench()
        var prover = try Prover(bench.inspection())
        for first in UInt64(1)...12 {
            for last in first...12 {
                for shown in Shown.allCases {
                    let text = try Self.export(
                        &prover, first...last, size: nil, shows: shown.shows)
                    let (proven, entries) = try Self.check(text, key)
                    let fields = bench.durable[Int(first) - 1..<Int(last)].map(\.sealed.count)
                        .reduce(0, +)
                    guard case .records(first...last, let open, let redacted, _) = proven else {
                        Issue.record("not proved")
                        continue
                    }
                    #expect(open + redacted == fields)
                    #expect(shown != .none || open == 0)
                    #expect(shown != .all || redacted == 0)
                    #expect(entries.map(\.sequence) == Array(first...last))
                }
            }
        }
        // What is shown is what was written.
        let (_, entries) = try Self.check(
            Self.export(&prover, 1...12, size: nil) { _, _ in true }, key)
        for (entry, written) in zip(entries, bench.durable) {
            let fields: [[UInt8]?] = entry.fields.map {
                if case .shown(_, let bytes) = $0 { bytes } else { nil }
            }
            #expect(fields == written.sealed)
        }
    }

    @Test func proofsHoldWhenTheSegmentsAreGone() throws {
        let (bench, key) = try Self.bench()
        var whole = try Prover(bench.inspection())
        let leaf = try #require(whole.prove(2, in: whole.head(of: nil)).entry).leaf
        let segments = bench.disk.fileNames.filter { $0.hasSuffix(".journal") }
        for name in segments.dropLast() { bench.disk.erase(name) }
        var prover = try Prover(bench.inspection())
        let proof = try prover.prove(2, in: prover.head(of: nil))
        #expect(proof.entry == nil)
        _ = try RecordProof(proof.description).verify([key], leaf: leaf)
        #expect(throws: ProofError.self) { try proof.verify([key]) }
        _ = try prover.prove(from: prover.head(of: 1), to: prover.head(of: nil)).verify([key])
        #expect(throws: ProverError.self) {
            try Self.export(&prover, 2...3, size: nil) { _, _ in false }
        }
    }

    @Test func theWrongKeyProvesNothing() throws {
        let (bench, key) = try Self.bench()
        var other = Workbench(seed: 5, encrypted: true)
        let (_, journal) = try other.start()
        try other.write([[1]], to: journal)
        let foreign = try #require(other.inspection().signingKeys().first).key
        var prover = try Prover(bench.inspection())
        let proof = try prover.prove(5, in: prover.head(of: nil))
        #expect(throws: ProofError.notSigned(by: [key.name])) { try proof.verify([foreign]) }
        // One that says to be of this deployment.
        let forged = NoteKey(name: key.name, kind: .ed25519, key: foreign.key)
        #expect(throws: ProofError.notSigned(by: [key.name])) { try proof.verify([forged]) }
        var line = proof
        line.note.lines[0].keyID = forged.id
        #expect(throws: ProofError.badSignature) { try line.verify([forged]) }
    }

    @Test func whateverIsDoneToALineIsNoticed() throws {
        let (bench, key) = try Self.bench()
        var prover = try Prover(bench.inspection())
        let texts = [
            try prover.prove(4, in: prover.head(of: 11)).description,
            try prover.prove(from: prover.head(of: 5), to: prover.head(of: 11)).description,
            try Self.export(&prover, 3...8, size: 11) { sequence, _ in sequence % 2 == 1 },
        ]
        func verify(_ text: String) throws {
            if text.hasPrefix("c2sp.org/") {
                _ = try RecordProof(text).verify([key])
            } else if text.hasPrefix(HistoryProof.magic) {
                _ = try HistoryProof(text).verify([key])
            } else {
                _ = try Self.check(text, key)
            }
        }
        for text in texts {
            try verify(text)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            for index in lines.indices.dropLast() {
                var changed = lines
                changed.remove(at: index)
                #expect(throws: ProofError.self, "without line \(index + 1) of\n\(text)") {
                    try verify(changed.joined(separator: "\n"))
                }
                // A signature that stands there twice is one.
                if lines[index].hasPrefix("\u{2014}") { continue }
                changed = lines
                changed.insert(lines[index], at: index)
                #expect(throws: ProofError.self, "twice line \(index + 1) of\n\(text)") {
                    try verify(changed.joined(separator: "\n"))
                }
                guard index + 2 < lines.count, lines[index] != lines[index + 1] else { continue }
                changed = lines
                changed.swapAt(index, index + 1)
                #expect(throws: ProofError.self, "lines \(index + 1) and \(index + 2) of\n\(text)")
                {
                    try verify(changed.joined(separator: "\n"))
                }
            }
            var bytes = Array(text.utf8)
            for place in bytes.indices {
                bytes[place] ^= 1
                #expect(throws: ProofError.self, "byte \(place) of\n\(text)") {
                    try verify(String(decoding: bytes, as: UTF8.self))
                }
                bytes[place] ^= 1
            }
            // The empty text, and every beginning.
            for count in stride(from: 0, to: bytes.count, by: 7) {
                #expect(throws: ProofError.self) {
                    try verify(String(decoding: bytes[..<count], as: UTF8.self))
                }
            }
        }
    }

    // MARK: A stranger

    private static let verifier = GoldenTests.root.appendingPathComponent(
        "Tests/Interop/check_proof.py"
    ).path

    private func python(_ path: String, _ key: NoteKey) throws -> (output: String, status: Int32) {
        let prepared = GoldenTests.root.appendingPathComponent("Deploy/.venv/bin/python").path
        let isPrepared = FileManager.default.isExecutableFile(atPath: prepared)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            isPrepared ? prepared : "python3", Self.verifier, path, key.description,
        ]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: bytes, as: UTF8.self), process.terminationStatus)
    }

    @Test func aStrangerWithThePageAloneComesToTheSameVerdict() throws {
        let (bench, key) = try Self.bench()
        var prover = try Prover(bench.inspection())
        let texts: [(text: String, says: String)] = [
            (try prover.prove(7, in: prover.head(of: 11)).description, "record 7 of 11\n"),
            (try prover.prove(1, in: prover.head(of: 1)).description, "record 1 of 1\n"),
            (
                try prover.prove(from: prover.head(of: 5), to: prover.head(of: nil)).description,
                "history 5 12\n"
            ),
            (
                try prover.prove(from: prover.head(of: 8), to: prover.head(of: 12)).description,
                "history 8 12\n"
            ),
            (
                try Self.export(&prover, 3...9, size: nil) { $0 == 4 && $1 == 1 },
                "records 3-9 of 12, 1 fields shown\n"
            ),
            (
                try Self.export(&prover, 1...11, size: 11) { _, _ in false },
                "records 1-11 of 11, 0 fields shown\n"
            ),
        ]
        let directory = try TempDirectory()
        let path = directory.path + "/proof"
        for (text, says) in texts {
            try TextFile.write(text, path: path)
            let (output, status) = try python(path, key)
            #expect(output == says && status == 0)
            // Not one who says yes to everything.
            var bytes = Array(text.utf8)
            bytes[bytes.count / 2] ^= 1
            try TextFile.write(String(decoding: bytes, as: UTF8.self), path: path)
            #expect(try python(path, key).status != 0)
        }
    }

    /// Made once, in the release that brought the forms; never overwritten.
    @Test(arguments: ["record.tlog-proof", "history.proof", "records.export"])
    func theKeptProofsStillVerify(name: String) throws {
        let folder = GoldenTests.here.appendingPathComponent("Fixtures/proofs")
        let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
        let keyText = try String(
            contentsOf: folder.appendingPathComponent("verifier-key.txt"), encoding: .utf8)
        let key = try #require(NoteKey(String(keyText.dropLast())))
        switch name {
        case "record.tlog-proof": _ = try RecordProof(text).verify([key])
        case "history.proof": _ = try HistoryProof(text).verify([key])
        default: _ = try Self.check(text, key)
        }
        #expect(try python(folder.appendingPathComponent(name).path, key).status == 0)
    }
}
