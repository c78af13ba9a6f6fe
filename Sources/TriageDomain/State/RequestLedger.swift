// Which request ids were answered, and how: what makes a write repeatable for 24 hours, across
// restarts. Knows fingerprints, not requests.

internal import TriageBase

/// Finds and forgets entries; the entries themselves are part of ``WorldState``.
struct RequestLedger: Sendable {
    /// Entries forgotten with each record at most: faster than they come, in small steps.
    private static let forgottenPerRecordMax = 8

    private var index = HashIndex()
    /// True while the entries are not entered: ``load(_:)`` does so once, at the end of a replay.
    var isDeferred = false

    /// What a principal's request id is remembered under.
    static func key(_ principal: Principal, _ id: RequestID) -> Hash128 {
        principal.fingerprint.combined(with: Hash128(high: id.high, low: id.low))
    }

    /// The entry of a key, if it is not older than 24 hours.
    func entry(
        _ key: Hash128, at now: WallTime, in entries: ChunkedArray<LedgerEntry>
    ) -> LedgerEntry? {
        var found: LedgerEntry?
        _ = index.first(key.low) { place in
            let entry = entries[Int(place)]
            guard entry.key == key, !Self.isExpired(entry, at: now) else { return false }
            found = entry
            return true
        }
        return found
    }

    /// Reads where the search for a key begins.
    @inline(__always)
    func glance(at key: Hash128) -> UInt64 { index.glance(at: key.low) }

    /// Remembers an answer, and forgets some that are too old.
    mutating func record(_ entry: LedgerEntry, in entries: inout ChunkedArray<LedgerEntry>) {
        if !isDeferred { index.insert(entry.key.low, value: UInt64(entries.endIndex)) }
        entries.append(entry)
    }

    /// Forgets a few entries that are too old.
    @inline(__always)
    mutating func forget(at now: WallTime, in entries: inout ChunkedArray<LedgerEntry>) {
        guard let oldest = entries.first, Self.isExpired(oldest, at: now) else { return }
        var end = entries.startIndex
        while end < entries.endIndex, end - entries.startIndex < Self.forgottenPerRecordMax,
            Self.isExpired(entries[end], at: now)
        {
            if !isDeferred { index.remove(entries[end].key.low, value: UInt64(end)) }
            end += 1
        }
        entries.removePrefix(upTo: end)
    }

    /// Enters all entries after recovery.
    mutating func load(_ entries: ChunkedArray<LedgerEntry>) {
        isDeferred = false
        var pairs: ContiguousArray<HashIndex.Slot> = []
        pairs.reserveCapacity(entries.count)
        var place = entries.startIndex
        for entry in entries {
            pairs.append(HashIndex.Slot(hash: entry.key.low, value: UInt64(place)))
            place += 1
        }
        index.load([pairs])
    }

    var count: Int { index.count }

    private static func isExpired(_ entry: LedgerEntry, at now: WallTime) -> Bool {
        entry.time.advanced(byMilliseconds: Limits.requestIDMilliseconds) <= now
    }
}
