// A run of records that stands for itself (FORMAT.md §15): a signed head, what the tree has around
// the run, and the records, each sealed field shown or redacted. Written and checked as a stream;
// of any length.

internal import TriageBase
internal import TriageIO

/// What stands before the records of an export.
package struct ExportHeader: Equatable, Sendable, CustomStringConvertible {
    package static let magic = "triaged/records@v1"

    /// What the tree has around the records.
    package var proof: RangeProof
    /// The signed head.
    package var note: SignedNote

    /// The header as it is written, with the empty line behind it.
    package var description: String {
        func lines(_ word: String, _ digests: [Digest]) -> String {
            digests.map { "\(word) \(Base64.text($0.bytes.span))\n" }.joined()
        }
        return "\(Self.magic)\nfirst \(proof.first + 1)\ncount \(proof.count)\n"
            + lines("left", proof.left) + lines("right", proof.right) + "\n\(note)\n"
    }

    package init(proof: RangeProof, note: SignedNote) {
        self.proof = proof
        self.note = note
    }

    /// Reads a header, without the empty line behind it.
    ///
    /// - Throws: `.malformed`.
    package init(_ text: String) throws(ProofError) {
        var blocks = TextBlocks(text)
        var lines = try blocks.next(Self.magic)
        guard let first = lines.word(after: "first ").flatMap(UInt64.init(plain:)), first > 0,
            let count = lines.word(after: "count ").flatMap(UInt64.init(plain:)), count > 0
        else { throw .malformed(line: lines.line, what: "no place of the records") }
        let left = try lines.digests(after: "left ")
        let right = try lines.digests(after: "right ")
        try lines.end()
        note = try blocks.note()
        try blocks.end()
        guard let head = HeadText(note.text) else { throw .foreignHead }
        proof = RangeProof(
            first: first - 1, count: count, size: head.head.sequence, left: left, right: right)
    }
}

/// Checks an export, line by line.
package struct ExportChecker {
    private let keys: [NoteKey]
    private var header = ""
    private var emptyLines = 0
    private var verifier: RangeVerifier?
    private var proof: RangeProof?
    private var head: HeadText?
    private var entry: RecordEntry?
    private let each: (RecordEntry) -> Void
    private var expected: UInt64 = 0
    private var shown = 0
    private var redacted = 0
    private var line = 0

    private static let headerLinesMax = 400

    /// Begins to check.
    ///
    /// - Parameters:
    ///   - keys: Whose signatures count.
    ///   - each: Takes every record; believed once ``finish()`` has returned, and not before.
    package init(_ keys: [NoteKey], each: @escaping (RecordEntry) -> Void = { _ in }) {
        self.keys = keys
        self.each = each
    }

    /// Takes the next line, without its line feed.
    ///
    /// - Throws: ``ProofError``.
    package mutating func take(_ text: String) throws(ProofError) {
        line += 1
        if verifier == nil { return try takeHeader(text) }
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        if words[0] == "record" {
            try finishEntry()
            guard let next = RecordEntry(line: words) else {
                throw .malformed(line: line, what: "no record")
            }
            guard next.sequence == expected else {
                throw .contradiction(
                    what: "line \(line) is record \(next.sequence), where record \(expected) "
                        + "belongs")
            }
            entry = next
            return
        }
        guard var current = entry.take(), current.addField(line: words) else {
            throw .malformed(line: line, what: "no field of a record")
        }
        entry = current
    }

    private mutating func takeHeader(_ text: String) throws(ProofError) {
        guard line <= Self.headerLinesMax else {
            throw .malformed(line: line, what: "the records do not begin")
        }
        if text.isEmpty { emptyLines += 1 }
        guard emptyLines == 3 else {
            header += text + "\n"
            return
        }
        let read = try ExportHeader(header)
        head = try keys.head(of: read.note)
        guard let begun = read.proof.verifier() else {
            throw .contradiction(
                what: "the digests around the records are not as many as belong there")
        }
        proof = read.proof
        verifier = begun
        expected = read.proof.first + 1
    }

    private mutating func finishEntry() throws(ProofError) {
        guard let done = entry.take() else { return }
        for field in done.fields {
            if case .shown = field { shown += 1 } else { redacted += 1 }
        }
        guard var verifying = verifier.take(), verifying.append(done.leaf) else {
            throw .contradiction(what: "record \(done.sequence) is beyond the last one")
        }
        verifier = verifying
        each(done)
        expected += 1
    }

    /// Ends the check.
    ///
    /// - Throws: ``ProofError``.
    package mutating func finish() throws(ProofError) -> Proven {
        try finishEntry()
        guard let verifier, let proof, let head else {
            throw .malformed(line: line, what: "the records do not begin")
        }
        let last = proof.first + proof.count
        guard expected == last + 1 else {
            throw .contradiction(
                what: "it ends with record \(expected - 1), and should with record \(last)")
        }
        guard verifier.verifies(in: head.head) else {
            throw .contradiction(
                what: "records \(proof.first + 1) to \(last) are not those of the signed tree: one "
                    + "of them, or a digest, was changed")
        }
        return .records(proof.first + 1...last, shown: shown, redacted: redacted, in: head)
    }
}
