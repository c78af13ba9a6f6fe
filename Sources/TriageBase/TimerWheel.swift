// Deadlines of very many things that mostly do not happen: setting and clearing one costs a few
// stores. Pure: time is handed in. Knows nothing of what a timer is for.

/// A hashed timing wheel over small integer ids, each with at most one deadline.
///
/// A deadline beyond the wheel's span stays in its bucket and is put back when the wheel comes
/// round. Deadlines fire late by at most one tick, never early.
///
/// Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6.
package final class TimerWheel {
    private struct Entry {
        var deadline: UInt64 = .max  // ns; .max: not set
        var next: Int32 = -1
        var previous: Int32 = -1  // -1: first of its bucket
        var bucket: Int32 = 0
    }

    /// Length of a tick, as a power of two of nanoseconds: 2^21 ns are 2.1 ms.
    private static let tickShift: UInt64 = 21
    private static let bucketCount = 1_024
    private var heads = [Int32](repeating: -1, count: bucketCount)
    private var occupied = [UInt64](repeating: 0, count: bucketCount / 64)
    private var entries: [Entry] = []
    private var tick: UInt64
    /// How many deadlines are set.
    package private(set) var count = 0

    /// Makes an empty wheel that starts at `now`.
    package init(now: MonotonicTime) {
        tick = now.nanoseconds >> Self.tickShift
    }

    /// Sets the deadline of an id, replacing an earlier one; ``MonotonicTime/never`` clears it.
    ///
    /// - Complexity: O(1); grows with the largest id.
    package func set(_ id: Int, _ deadline: MonotonicTime) {
        while entries.count <= id { entries.append(Entry()) }
        if entries[id].deadline != .max { unlink(id) }
        guard deadline != .never else { return }
        link(id, deadline.nanoseconds)
    }

    /// Clears the deadline of an id, if it has one.
    package func clear(_ id: Int) {
        if id < entries.count, entries[id].deadline != .max { unlink(id) }
    }

    /// Takes the ids whose deadlines have passed; they are cleared.
    ///
    /// - Complexity: O(buckets passed + ids in them).
    package func advance(to now: MonotonicTime, into expired: inout [Int]) {
        let target = now.nanoseconds >> Self.tickShift
        guard target > tick else { return }
        let first =
            target - tick >= UInt64(Self.bucketCount) ? target - UInt64(Self.bucketCount) : tick
        tick = target
        guard count > 0 else { return }
        for passed in first..<target {
            let bucket = Int(passed) & (Self.bucketCount - 1)
            guard occupied[bucket >> 6] >> UInt64(bucket & 63) & 1 == 1 else { continue }
            var id = Int(heads[bucket])
            while id >= 0 {
                let next = Int(entries[id].next)
                if entries[id].deadline >> Self.tickShift < target {
                    unlink(id)
                    expired.append(id)
                }
                id = next
            }
        }
    }

    /// When ``advance(to:into:)`` has to be called next; nil when no deadline is set.
    ///
    /// Possibly earlier than the next deadline, when that is more than a turn of the wheel away.
    package var nextExpiry: MonotonicTime? {
        guard count > 0 else { return nil }
        let start = Int(tick) & (Self.bucketCount - 1)
        var distance = 0
        while distance < Self.bucketCount {
            let bucket = (start + distance) & (Self.bucketCount - 1)
            let word = occupied[bucket >> 6] >> UInt64(bucket & 63)
            if word != 0 {
                distance += word.trailingZeroBitCount
                break
            }
            distance += 64 - bucket & 63
        }
        // A bucket is past when its tick has ended.
        return MonotonicTime(nanoseconds: (tick + UInt64(distance) + 1) << Self.tickShift)
    }

    private func link(_ id: Int, _ deadline: UInt64) {
        // A deadline that has passed fires with the current tick.
        let bucket = Int(max(deadline >> Self.tickShift, tick)) & (Self.bucketCount - 1)
        let head = heads[bucket]
        entries[id] = Entry(
            deadline: deadline, next: head, previous: -1, bucket: Int32(bucket))
        if head >= 0 { entries[Int(head)].previous = Int32(id) }
        heads[bucket] = Int32(id)
        occupied[bucket >> 6] |= 1 << UInt64(bucket & 63)
        count += 1
    }

    private func unlink(_ id: Int) {
        let entry = entries[id]
        entries[id].deadline = .max
        count -= 1
        if entry.next >= 0 { entries[Int(entry.next)].previous = entry.previous }
        if entry.previous >= 0 {
            entries[Int(entry.previous)].next = entry.next
            return
        }
        let bucket = Int(entry.bucket)
        heads[bucket] = entry.next
        if entry.next < 0 { occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63)) }
    }
}
