// What the reader of a watch knows, so that each change reaches it once, however often the server
// has to begin anew. Pure. Knows nothing of messages or connections.

/// The names that a reader has been told of, each with its revision.
///
///     whole state ──caught up──▶ changes ──resumed at a revision──▶ changes
///          ▲                        └──revision no longer kept──┐
///          └────────────────────────────────────────────────────┘
struct WatchMirror {
    private enum Knowledge: Equatable {
        case present(revision: Int64)
        /// The reader was told of its end: no whole state names it, and nothing is to be told.
        case over(revision: Int64)
        case left
    }

    private var known: [String: Knowledge] = [:]
    /// Names that the whole state, which is being sent again, has named so far; nil: it is not.
    private var named: Set<String>?
    /// The reader has had the whole state from here: what is not known has left, or never was.
    private var isWhole = false

    /// The whole state comes, for the first time or again.
    mutating func restarted() { named = [] }

    /// A thing is as it is since a revision.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - revision: Of its last change.
    ///   - isOver: It has ended and is in no whole state, without a word of its removal.
    /// - Returns: Whether that is news.
    mutating func changed(_ name: String, revision: Int64, isOver: Bool = false) -> Bool {
        named?.insert(name)
        let knowledge: Knowledge =
            isOver ? .over(revision: revision) : .present(revision: revision)
        return known.updateValue(knowledge, forKey: name) != knowledge
    }

    /// A thing has left what is watched.
    ///
    /// - Returns: Whether that is news.
    mutating func removed(_ name: String) -> Bool {
        named?.remove(name)
        if isWhole { return known.removeValue(forKey: name) != nil }
        // Somebody who resumed at a revision of theirs may know things that were never named here.
        return known.updateValue(.left, forKey: name) != .left
    }

    /// Everything up to now has been sent.
    ///
    /// - Returns: What has left meanwhile: the reader knows it, and the whole state does not name
    ///   it. Sorted.
    mutating func caughtUp() -> [String] {
        guard let named else { return [] }
        self.named = nil
        isWhole = true
        let missing = known.filter { !named.contains($0.key) }
        known = known.filter { named.contains($0.key) }
        return missing.filter { if case .present = $0.value { true } else { false } }.keys.sorted()
    }
}
