// Proofs as files that stand for themselves (FORMAT.md §15): what is proved, the digests, and the
// signed head or heads that they lead to. Text to values, back, and to a verdict, with nothing but
// a public key; reads no directory.

package import TriageBase

/// Why a proof proves nothing.
package enum ProofError: Error, Equatable, Sendable {
    /// It is no proof of a kind that this release knows, or not one as it is written.
    case malformed(line: Int, what: String)
    /// No signature of the key that was given; which keys signed.
    case notSigned(by: [String])
    /// A signature that says to be of the key and is not.
    case badSignature
    /// The signed text is no head of the key's deployment.
    case foreignHead
    /// The digests do not lead from what is proved to the signed root.
    case contradiction(what: String)
}

extension ProofError: CustomStringConvertible {
    /// What is wrong, for whoever checks.
    package var description: String {
        switch self {
        case .malformed(let line, let what): "line \(line): \(what)"
        case .notSigned(let names):
            "no signature of this key; it was signed by \(names.joined(separator: ", "))"
        case .badSignature: "the signature is not of this key: the head is forged or was changed"
        case .foreignHead: "what is signed is no head of the deployment that the key is of"
        case .contradiction(let what): what
        }
    }
}

/// What a proof proves.
package enum Proven: Equatable, Sendable {
    /// The record stands in the journal of that head; nil: only its leaf is known.
    case record(sequence: UInt64, RecordEntry?, in: HeadText)
    /// The journal of the first head is the beginning of that of the second.
    case history(HeadText, HeadText)
    /// The records of a range stand in the journal of that head.
    case records(ClosedRange<UInt64>, shown: Int, redacted: Int, in: HeadText)
}

extension NoteKey {
    /// The head that a note says, if this key signed it.
    ///
    /// - Throws: ``ProofError``.
    package func head(of note: SignedNote) throws(ProofError) -> HeadText {
        switch verdict(on: note) {
        case .absent: throw .notSigned(by: note.lines.map(\.name))
        case .bad: throw .badSignature
        case .good: break
        }
        guard let head = HeadText(note.text), HeadText.origin(head.cluster) == name else {
            throw .foreignHead
        }
        return head
    }
}

/// A record's place in a signed tree.
///
/// Source: C2SP tlog-proof v1; the extra data is what the leaf is the hash of
package struct RecordProof: Equatable, Sendable, CustomStringConvertible {
    static let magic = "c2sp.org/tlog-proof@v1"

    /// The record, its sealed fields redacted; nil when only its leaf is known.
    package var entry: RecordEntry?
    /// The way to the root.
    package var proof: InclusionProof
    /// The signed head.
    package var note: SignedNote

    /// The proof as it is written.
    package var description: String {
        let extra = entry.map { "extra \(Base64.text($0.bytes.span))\n" } ?? ""
        return "\(Self.magic)\n\(extra)index \(proof.index)\n"
            + proof.path.map { Base64.text($0.bytes.span) + "\n" }.joined() + "\n\(note)"
    }

    package init(entry: RecordEntry?, proof: InclusionProof, note: SignedNote) {
        self.entry = entry
        self.proof = proof
        self.note = note
    }

    /// Reads a proof.
    ///
    /// - Throws: `.malformed`.
    package init(_ text: String) throws(ProofError) {
        var blocks = TextBlocks(text)
        var lines = try blocks.next(Self.magic)
        if let extra = lines.word(after: "extra ") {
            guard let bytes = Base64.decode(text: extra), let entry = RecordEntry(bytes) else {
                throw .malformed(line: 2, what: "no record")
            }
            self.entry = entry
        }
        guard let index = lines.word(after: "index ").flatMap(UInt64.init(plain:)) else {
            throw .malformed(line: lines.line, what: "an index is missing")
        }
        proof = InclusionProof(index: index, size: 0, path: try lines.digests())
        note = try blocks.note()
        try blocks.end()
        guard let head = HeadText(note.text) else { throw .foreignHead }
        proof.size = head.head.sequence
    }

    /// Checks it.
    ///
    /// - Parameters:
    ///   - keys: Whose signatures count.
    ///   - leaf: Of the record, which it must be; needed if the proof has no entry.
    /// - Returns: What is proved.
    /// - Throws: ``ProofError``.
    package func verify(_ keys: [NoteKey], leaf: Digest? = nil) throws(ProofError) -> Proven {
        let head = try keys.head(of: note)
        guard let known = entry?.leaf ?? leaf else {
            throw .contradiction(what: "the proof holds no record: give its leaf's hash")
        }
        guard leaf == nil || leaf == known else {
            throw .contradiction(what: "the proof holds another record than the leaf's")
        }
        if let entry, entry.sequence != proof.index &+ 1 {
            throw .contradiction(
                what: "it is record \(entry.sequence), and the proof is of \(proof.index &+ 1)")
        }
        guard proof.verifies(known, in: head.head) else {
            throw .contradiction(
                what: "record \(proof.index &+ 1) does not stand in the signed tree like this")
        }
        return .record(sequence: proof.index + 1, entry, in: head)
    }
}

/// One signed tree is the beginning of another.
package struct HistoryProof: Equatable, Sendable, CustomStringConvertible {
    package static let magic = "triaged/history-proof@v1"

    /// What leads to both roots.
    package var proof: ConsistencyProof
    /// The smaller head.
    package var earlier: SignedNote
    /// The larger head.
    package var later: SignedNote

    /// The proof as it is written.
    package var description: String {
        "\(Self.magic)\n" + proof.path.map { Base64.text($0.bytes.span) + "\n" }.joined()
            + "\n\(earlier)\n\(later)"
    }

    package init(proof: ConsistencyProof, earlier: SignedNote, later: SignedNote) {
        self.proof = proof
        self.earlier = earlier
        self.later = later
    }

    /// Reads a proof.
    ///
    /// - Throws: `.malformed`.
    package init(_ text: String) throws(ProofError) {
        var blocks = TextBlocks(text)
        var lines = try blocks.next(Self.magic)
        let path = try lines.digests()
        earlier = try blocks.note()
        later = try blocks.note()
        try blocks.end()
        guard let from = HeadText(earlier.text), let to = HeadText(later.text) else {
            throw .foreignHead
        }
        proof = ConsistencyProof(from: from.head.sequence, to: to.head.sequence, path: path)
    }

    /// Checks it.
    ///
    /// - Parameter keys: Whose signatures count; the signing key may have changed in between.
    /// - Returns: What is proved.
    /// - Throws: ``ProofError``.
    package func verify(_ keys: [NoteKey]) throws(ProofError) -> Proven {
        let first = try keys.head(of: earlier)
        let second = try keys.head(of: later)
        guard first.cluster == second.cluster else { throw .foreignHead }
        guard proof.verifies(first.head, second.head) else {
            throw .contradiction(
                what: "the journal of \(first.head.sequence) records is not the beginning of that "
                    + "of \(second.head.sequence): history was changed")
        }
        return .history(first, second)
    }
}

extension [NoteKey] {
    /// The head that a note says, if one of these keys signed it.
    ///
    /// - Throws: ``ProofError``.
    package func head(of note: SignedNote) throws(ProofError) -> HeadText {
        for key in self {
            do throws(ProofError) { return try key.head(of: note) } catch {
                guard case .notSigned = error else { throw error }
            }
        }
        throw .notSigned(by: note.lines.map(\.name))
    }
}

extension UInt64 {
    /// A number without sign and leading zeros.
    init?(plain text: Substring) {
        guard let value = UInt64(text), String(value) == text else { return nil }
        self = value
    }
}

/// Lines of one block of a proof, taken one after the other.
struct TextLines {
    private var rest: ArraySlice<Substring>
    /// Number of the next one in its file, from 1.
    private(set) var line: Int

    init(_ lines: [Substring], line: Int) {
        rest = lines[...]
        self.line = line
    }

    /// The next line without what it begins with; nil when it begins otherwise.
    mutating func word(after prefix: String) -> Substring? {
        guard let first = rest.first, first.hasPrefix(prefix) else { return nil }
        rest.removeFirst()
        line += 1
        return first.dropFirst(prefix.count)
    }

    /// All that are left, each a digest behind a prefix.
    mutating func digests(after prefix: String = "") throws(ProofError) -> [Digest] {
        var digests: [Digest] = []
        while let next = rest.first, next.hasPrefix(prefix) {
            guard let bytes = Base64.decode(text: next.dropFirst(prefix.count)),
                let digest = Digest(bytes: bytes.span), digests.count < 128
            else {
                // Another kind of line may follow those with a prefix.
                throw .malformed(line: line, what: "no digest")
            }
            digests.append(digest)
            rest.removeFirst()
            line += 1
        }
        return digests
    }

    /// Nothing may follow.
    func end() throws(ProofError) {
        guard rest.isEmpty else { throw .malformed(line: line, what: "not expected here") }
    }
}

/// The parts of a proof's text, which empty lines part.
struct TextBlocks {
    private let blocks: [[Substring]]
    private var place = 0
    private var line = 1
    private let isComplete: Bool

    init(_ text: String) {
        isComplete = text.utf8.last == UInt8(ascii: "\n")
        blocks = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
            .split(separator: "", omittingEmptySubsequences: false).map(Array.init)
    }

    private mutating func next() throws(ProofError) -> [Substring] {
        guard isComplete, place < blocks.count, !blocks[place].isEmpty else {
            throw .malformed(line: line, what: "it ends too early, or an empty line is missing")
        }
        defer {
            line += blocks[place].count + 1
            place += 1
        }
        return blocks[place]
    }

    /// The first block, without its first line.
    mutating func next(_ magic: String) throws(ProofError) -> TextLines {
        let block = try next()
        guard block[0] == magic else {
            throw .malformed(line: 1, what: "it does not begin with \(magic)")
        }
        return TextLines(Array(block.dropFirst()), line: 2)
    }

    /// A signed note: a block of text and one of signatures.
    mutating func note() throws(ProofError) -> SignedNote {
        let start = line
        let text = try next()
        let signatures = try next()
        let bytes = (text + [""] + signatures).joined(separator: "\n") + "\n"
        guard let note = SignedNote(Array(bytes.utf8)) else {
            throw .malformed(line: start, what: "no signed note")
        }
        return note
    }

    /// Nothing may follow.
    func end() throws(ProofError) {
        guard place == blocks.count else {
            throw .malformed(line: line, what: "not expected here")
        }
    }
}
