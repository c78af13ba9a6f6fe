// The last changes, in order, for watches: a watch keeps a position here instead of a queue of its
// own, so that memory is bounded however slow its consumer is. Knows nothing of what changed.

import TriageBase

/// A bounded, ordered list of "this number changed at that revision".
struct ChangeRing {
    /// One change.
    struct Entry: BitwiseCopyable {
        let revision: UInt64
        let number: UInt64
    }

    private var entries: [Entry] = []
    private let capacity: Int
    /// Position of the oldest entry kept; positions only grow.
    private(set) var start = 0
    /// Position behind the newest entry.
    private(set) var end = 0
    /// Every change after this revision is kept.
    private(set) var floor: UInt64

    /// Makes an empty ring, to which changes after `floor` will be added.
    init(capacity: Int, floor: UInt64) {
        precondition(capacity > 0)
        self.capacity = capacity
        self.floor = floor
    }

    /// The entry at a position.
    ///
    /// - Precondition: `start <= position < end`.
    subscript(position: Int) -> Entry { entries[position % capacity] }

    /// Adds a change; the oldest one is forgotten when the ring is full.
    mutating func append(revision: UInt64, number: UInt64) {
        let entry = Entry(revision: revision, number: number)
        if entries.count < capacity {
            entries.append(entry)
        } else {
            let slot = end % capacity
            // Other changes of the same revision may still be here, but it is no longer whole.
            floor = max(floor, entries[slot].revision)
            entries[slot] = entry
            start = max(start, end + 1 - capacity)
        }
        end += 1
    }

    /// The position of the first change after `revision`, by binary search.
    ///
    /// - Returns: nil when changes after `revision` have been forgotten.
    func position(after revision: UInt64) -> Int? {
        guard revision >= floor else { return nil }
        var low = start
        var high = end
        while low < high {
            let middle = (low + high) / 2
            if self[middle].revision <= revision { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// What somebody knows who has taken every change before `position`, of up to `current` in all.
    func revision(before position: Int, current: UInt64) -> UInt64 {
        position < end ? self[position].revision - 1 : current
    }

    /// Forgets the changes before a position, of which one cannot be told any more.
    ///
    /// - Precondition: `start < position <= end`.
    mutating func forget(before position: Int) {
        floor = self[position - 1].revision
        start = position
    }

    /// Forgets every change and goes on after `revision`: what is not durable never happened.
    mutating func restart(after revision: UInt64) {
        entries.removeAll(keepingCapacity: true)
        start = 0
        end = 0
        floor = revision
    }
}

/// A set of small numbers, one bit each.
struct NumberSet {
    private var words: [UInt64] = []

    /// An empty set.
    init() {}

    /// A set of every number up to `last`.
    init(upTo last: UInt64) {
        words = Array(repeating: .max, count: Int(last / 64) + 1)
    }

    /// Adds a number.
    mutating func insert(_ number: UInt64) {
        let index = Int(number / 64)
        if index >= words.count {
            words.append(contentsOf: repeatElement(0, count: index + 1 - words.count))
        }
        words[index] |= 1 << (number % 64)
    }

    /// Whether a number is a member.
    func contains(_ number: UInt64) -> Bool {
        let index = Int(number / 64)
        return index < words.count && words[index] >> (number % 64) & 1 == 1
    }

    /// How much memory it has, bytes.
    var bytesHeld: Int { words.capacity * MemoryLayout<UInt64>.size }

    /// How much a set of numbers up to `last` may have, bytes: an array that grows doubles.
    static func bytesMax(upTo last: Int) -> Int { 2 * (last / 64 + 1) * 8 }

    /// Adds every member of another set.
    mutating func formUnion(_ other: NumberSet) {
        if words.isEmpty { return words = other.words }
        if words.count < other.words.count {
            words.append(contentsOf: repeatElement(0, count: other.words.count - words.count))
        }
        for index in other.words.indices { words[index] |= other.words[index] }
    }

    /// Removes a number.
    ///
    /// - Returns: Whether it was a member.
    mutating func remove(_ number: UInt64) -> Bool {
        guard contains(number) else { return false }
        words[Int(number / 64)] &= ~(1 << (number % 64))
        return true
    }
}
