// Signed notes and the keys that verify them, as C2SP defines them: a text, and lines that say who
// signed it. Whoever witnesses transparency logs reads and signs such notes. Knows nothing of what
// a text says.

internal import TriageBase
package import TriageCrypto
internal import TriageIO

/// A text with signatures.
///
/// Source: C2SP signed-note v1.0.0, "Format"
package struct SignedNote: Equatable, Sendable, CustomStringConvertible {
    /// One signature line, not verified.
    package struct Line: Equatable, Sendable {
        /// Who says to have signed.
        package var name: String
        /// Which of their keys; not proof of anything.
        package var keyID: UInt32
        /// What the key's algorithm gives.
        package var signature: [UInt8]
    }

    /// What is signed; ends with a line feed.
    package var text: String
    /// In the order in which they stand.
    package var lines: [Line]

    /// Bytes of a note at most; the specification asks for a limit.
    package static let bytesMax = 64 << 10
    private static let linesMax = 100

    /// A text that nobody has signed yet.
    package init(text: String) {
        self.text = text
        lines = []
    }

    /// Reads a note.
    ///
    /// - Returns: nil for what is none: no UTF-8, control characters, no signature line, or one
    ///   that is malformed.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax,
            bytes.allSatisfy({ $0 >= 0x20 || $0 == UInt8(ascii: "\n") }),
            let note = String(validating: bytes, as: UTF8.self),
            note.utf8.last == UInt8(ascii: "\n"),
            let gap = bytes.indices.dropFirst().last(where: {
                bytes[$0] == UInt8(ascii: "\n") && bytes[$0 - 1] == UInt8(ascii: "\n")
            })
        else { return nil }
        text = String(decoding: bytes[..<gap], as: UTF8.self)
        let rest = String(decoding: bytes[(gap + 1)...].dropLast(), as: UTF8.self)
        let written = rest.split(separator: "\n", omittingEmptySubsequences: false)
        guard written.count <= Self.linesMax else { return nil }
        lines = []
        for line in written {
            guard let line = Line(line) else { return nil }
            lines.append(line)
        }
    }

    /// Adds a signature of Ed25519.
    ///
    /// - Throws: ``CryptoError``: `.unavailable`.
    package mutating func sign(name: String, with key: SigningKey) throws(CryptoError) {
        add(name, key.verifyingKey, try key.sign(Array(text.utf8).span))
    }

    /// Adds a signature of Ed25519 that was made before.
    package mutating func add(_ name: String, _ key: VerifyingKey, _ signature: Signature) {
        let id = NoteKey(name: name, kind: .ed25519, key: key).id
        lines.append(
            Line(name: name, keyID: id, signature: [UInt8](copying: signature.span)))
    }

    /// The note as it is written.
    package var description: String {
        text + "\n" + lines.map { $0.description + "\n" }.joined()
    }
}

extension SignedNote.Line: CustomStringConvertible {
    fileprivate init?(_ line: Substring) {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "\u{2014}", NoteKey.isName(words[1]),
            let bytes = Base64.decode(text: words[2]), bytes.count > 4
        else { return nil }
        name = String(words[1])
        keyID = bytes[..<4].reduce(0) { $0 << 8 | UInt32($1) }
        signature = Array(bytes[4...])
    }

    package var description: String {
        let id = (0..<4).map { UInt8(truncatingIfNeeded: keyID >> UInt32(24 - 8 * $0)) }
        return "\u{2014} \(name) \(Base64.text((id + signature).span))"
    }
}

/// A key that verifies signature lines of one name, as it is handed out ("vkey").
///
/// Source: C2SP signed-note v1.0.0, "Verifier keys"; tlog-cosignature v1.0.0
package struct NoteKey: Equatable, Sendable, CustomStringConvertible {
    /// How it signs.
    package enum Kind: UInt8, Sendable {
        /// Ed25519 over the text.
        case ed25519 = 1
        /// A witness: Ed25519 over the time and the text.
        case cosignature = 4
    }

    /// Whose it is.
    package let name: String
    /// How it signs.
    package let kind: Kind
    /// What verifies.
    package let key: VerifyingKey

    /// A key of a name.
    package init(name: String, kind: Kind, key: VerifyingKey) {
        self.name = name
        self.kind = kind
        self.key = key
    }

    /// Reads `NAME+ID+KEY`.
    ///
    /// - Returns: nil for anything else, and for an identifier that is not the key's.
    package init?(_ text: String) {
        let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, Self.isName(parts[0]),
            let bytes = Base64.decode(text: parts[2]), bytes.count == 33,
            let kind = Kind(rawValue: bytes[0])
        else { return nil }
        let key = Array(bytes.dropFirst())
        self.init(name: String(parts[0]), kind: kind, key: VerifyingKey(copying: key.span))
        guard hexText(UInt64(id)).suffix(8) == parts[1] else { return nil }
    }

    /// `NAME+ID+KEY`.
    package var description: String {
        "\(name)+\(hexText(UInt64(id)).suffix(8))+\(Base64.text(encoded.span))"
    }

    /// The identifier in signature lines.
    package var id: UInt32 {
        var hash = SHA256()
        let prefix = Array(name.utf8) + [UInt8(ascii: "\n")]
        hash.update(prefix.span)
        hash.update(encoded.span)
        return UInt32(truncatingIfNeeded: hash.finalize().words.0.byteSwapped >> 32)
    }

    private var encoded: [UInt8] { [kind.rawValue] + [UInt8](copying: key.span) }

    /// What a note has of a key.
    package enum Verdict: Equatable, Sendable {
        /// No signature.
        case absent
        /// A good one; of a witness, with the time in seconds that it says.
        case good(seconds: UInt64?)
        /// One that does not verify: the note is not to be believed, whoever else signed it.
        case bad
    }

    /// Looks for this key's signature.
    package func verdict(on note: SignedNote) -> Verdict {
        let id = id
        guard let line = note.lines.first(where: { $0.name == name && $0.keyID == id }) else {
            return .absent
        }
        var signature = line.signature[...]
        var message = note.text
        var seconds: UInt64?
        if kind == .cosignature {
            guard signature.count == 8 + Signature.byteCount else { return .bad }
            let time = signature.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            signature = signature.dropFirst(8)
            message = "cosignature/v1\ntime \(time)\n" + message
            seconds = time
        }
        guard signature.count == Signature.byteCount,
            key.verifies(Signature(copying: signature.span), of: Array(message.utf8).span)
        else { return .bad }
        return .good(seconds: seconds)
    }

    /// Whether a text may be a key's name: not empty, no white space, no plus sign.
    fileprivate static func isName(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy { !$0.properties.isWhitespace && $0 != "+" }
    }
}
