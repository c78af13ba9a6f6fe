// Whose certificates are to be judged anew after a reload, and how many of them in this turn of the
// loop: few enough for calls not to wait, enough for all to be done in time however long the turns
// are. Knows nothing of certificates.

import TriageBase

/// A queue whose elements each have a time by which they are due.
struct RecheckQueue<Element: AnyObject> {
    private struct Entry {
        let element: Element
        let due: MonotonicTime
    }

    /// The next one last.
    private var entries: [Entry] = []
    private var lastTakenAt = MonotonicTime(nanoseconds: 0)
    private static var patience: UInt64 { UInt64(Limits.recheckMillisecondsMax) * 1_000_000 }

    var isEmpty: Bool { entries.isEmpty }

    /// Adds those that are not in it: those that are keep their place and their time, so that
    /// nobody is put off by reloads in a row.
    mutating func add(_ elements: [Element], at now: MonotonicTime) {
        if entries.isEmpty { lastTakenAt = now }
        let waiting = Set(entries.map { ObjectIdentifier($0.element) })
        let due = now.advanced(byNanoseconds: Self.patience)
        let new = elements.filter { !waiting.contains(ObjectIdentifier($0)) }
        entries.insert(contentsOf: new.reversed().map { Entry(element: $0, due: due) }, at: 0)
    }

    /// Takes this turn's share: as much of what is left as the time since the last turn is of the
    /// time that was left then; one at least, and all that are due.
    mutating func take(at now: MonotonicTime) -> [Element] {
        guard let last = entries.first else { return [] }
        let turn = now.nanoseconds(since: lastTakenAt)
        lastTakenAt = now
        let left = last.due.nanoseconds(since: now)
        let count = UInt64(entries.count)
        let before = max(1, left + turn)
        var share = left == 0 ? count : max(1, (count * turn + before - 1) / before)
        var taken: [Element] = []
        while let next = entries.last, share > 0 || next.due <= now {
            taken.append(next.element)
            entries.removeLast()
            share -= min(share, 1)
        }
        return taken
    }
}
