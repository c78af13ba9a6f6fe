// What a head of the tree says when it is signed: a checkpoint of C2SP, under the name of the
// deployment. Text to values and back; signs and verifies nothing.

package import TriageBase
package import TriageCrypto
internal import TriageIO

/// A head as the text of a checkpoint (FORMAT.md §10).
///
/// Source: C2SP tlog-checkpoint v1.0.0, "Note text"
package struct HeadText: Equatable, Sendable, CustomStringConvertible {
    /// Which deployment.
    package var cluster: ClusterID
    /// Size and root.
    package var head: JournalHead
    /// When it was signed; nil in a checkpoint that nobody signed.
    package var time: WallTime?

    /// Says a head.
    package init(cluster: ClusterID, head: JournalHead, time: WallTime?) {
        self.cluster = cluster
        self.head = head
        self.time = time
    }

    private static let family = "triaged/"

    /// The name under which a deployment signs, and the text's first line.
    package static func origin(_ cluster: ClusterID) -> String { "\(family)\(cluster)" }

    /// The key that verifies a deployment's signatures, as it is handed out.
    package static func noteKey(_ cluster: ClusterID, _ key: VerifyingKey) -> NoteKey {
        NoteKey(name: origin(cluster), kind: .ed25519, key: key)
    }

    /// Reads a text.
    ///
    /// - Returns: nil for what is no checkpoint of such a deployment.
    package init?(_ text: String) {
        guard text.utf8.last == UInt8(ascii: "\n") else { return nil }
        let lines = text.dropLast().split(separator: "\n", omittingEmptySubsequences: false)
        guard (3...4).contains(lines.count), lines[0].hasPrefix(Self.family),
            let cluster = ClusterID(lines[0].dropFirst(Self.family.count)),
            let size = UInt64(lines[1]), String(size) == lines[1],
            let bytes = Base64.decode(text: lines[2]), let root = Digest(bytes: bytes.span)
        else { return nil }
        self.init(cluster: cluster, head: JournalHead(sequence: size, root: root), time: nil)
        guard lines.count == 4 else { return }
        guard lines[3].hasPrefix("time "), let time = Int64(lines[3].dropFirst(5)),
            String(time) == lines[3].dropFirst(5)
        else { return nil }
        self.time = WallTime(milliseconds: time)
    }

    /// The text: each line ended by a line feed.
    package var description: String {
        let root = Base64.text(head.root.bytes.span)
        let time = time.map { "time \($0.milliseconds)\n" } ?? ""
        return "\(Self.origin(cluster))\n\(head.sequence)\n\(root)\n\(time)"
    }
}

/// A head with its signature.
package struct SignedHead: Equatable, Sendable {
    /// Size and root.
    package let head: JournalHead
    /// When it was signed.
    package let time: WallTime
    /// Number of the signing key in `keys`.
    package let keyNumber: UInt32
    /// Over the checkpoint's text.
    package let signature: Signature

    /// Groups what was read, or signed.
    package init(head: JournalHead, time: WallTime, keyNumber: UInt32, signature: Signature) {
        self.head = head
        self.time = time
        self.keyNumber = keyNumber
        self.signature = signature
    }

    /// What is signed.
    func text(_ cluster: ClusterID) -> HeadText {
        HeadText(cluster: cluster, head: head, time: time)
    }

    /// Whether the key signed it.
    package func verifies(_ cluster: ClusterID, _ key: VerifyingKey) -> Bool {
        key.verifies(signature, of: Array(text(cluster).description.utf8).span)
    }

    /// The checkpoint as a signed note.
    package func note(_ cluster: ClusterID, _ key: VerifyingKey) -> SignedNote {
        var note = SignedNote(text: text(cluster).description)
        note.add(HeadText.origin(cluster), key, signature)
        return note
    }
}
