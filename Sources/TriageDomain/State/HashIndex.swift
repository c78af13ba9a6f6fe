// A table from 64-bit hashes to 64-bit values: which open case a subject has, where in the ledger a
// request id stands. It stores no keys, so it cannot tell a collision: the caller compares.

/// A hash table in flat memory: 16 bytes a slot, no object and no key per entry.
///
/// Several values may stand under one hash; ``first(_:where:)`` walks them, and the caller decides
/// which one it meant by looking at what the value points to. Divided into segments that grow one
/// at a time, so that no single insertion copies the whole table. Not part of a snapshot: rebuilt
/// at recovery.
package struct HashIndex: Sendable {
    /// How many values are stored.
    package private(set) var count = 0

    @usableFromInline
    var segments: ContiguousArray<Segment>
    @usableFromInline
    let segmentShift: UInt64

    /// Makes an empty table.
    ///
    /// - Parameter segmentBits: How many top bits of a hash choose its segment, 0 to 16. The
    ///   default suits a million entries: a segment that grows moves 4,000 of them.
    package init(segmentBits: Int = 8) {
        precondition(0 <= segmentBits && segmentBits <= 16, "segment bits out of range")
        segmentShift = UInt64(64 - segmentBits)
        segments = ContiguousArray(repeating: Segment(), count: 1 << segmentBits)
    }

    /// Makes room for `capacity` values, so that none of the segments grows below that.
    package mutating func reserveCapacity(_ capacity: Int) {
        // A sixteenth on top: hashes do not fall quite evenly.
        let share = (capacity + capacity / 16) / segments.count + 1
        for index in segments.indices { segments[index].reserve(share) }
    }

    /// The first value under `hash` that `matches` accepts.
    ///
    /// - Parameters:
    ///   - hash: Well mixed in all 64 bits (see `mix64`).
    ///   - matches: Called with values whose hash is equal; true ends the search.
    /// - Returns: nil when there is none.
    @inlinable
    package func first(_ hash: UInt64, where matches: (UInt64) -> Bool) -> UInt64? {
        let segment = Int(hash >> segmentShift)
        let slot = segments[segment].slot(of: hash, where: matches)
        return slot < 0 ? nil : segments[segment].slots[slot].value
    }

    /// The only value under `hash`, for callers whose hashes cannot collide.
    @inlinable
    package func value(_ hash: UInt64) -> UInt64? {
        first(hash) { _ in true }
    }

    /// What stands where a search for `hash` begins: reading it brings that into the processor's
    /// cache.
    ///
    /// - Returns: Something that depends on memory alone; meaningless.
    @inline(__always)
    func glance(at hash: UInt64) -> UInt64 {
        let slots = segments[Int(hash >> segmentShift)].slots
        return slots.isEmpty ? 0 : slots[Int(truncatingIfNeeded: hash) & (slots.count - 1)].value
    }

    /// Stores `value` under `hash`, beside others with the same hash.
    ///
    /// - Parameters:
    ///   - hash: Well mixed in all 64 bits.
    ///   - value: Anything but `UInt64.max`.
    /// - Precondition: The pair is not stored yet (checked in debug builds); `value` is in range.
    package mutating func insert(_ hash: UInt64, value: UInt64) {
        precondition(value != Slot.emptyValue, "value out of range")
        assert(first(hash) { $0 == value } == nil, "pair stored twice")
        segments[Int(hash >> segmentShift)].insert(Slot(hash: hash, value: value))
        count += 1
    }

    /// Stores many pairs at once in the empty table.
    ///
    /// One segment after the other, so that each is filled while it is in the processor's cache: a
    /// third of the time of as many insertions.
    ///
    /// - Parameter parts: The pairs, in any order; as for ``insert(_:value:)``.
    package mutating func load(_ parts: [ContiguousArray<Slot>]) {
        precondition(count == 0, "the table is not empty")
        var ends = ContiguousArray(repeating: 0, count: segments.count + 1)
        for pairs in parts {
            for pair in pairs {
                precondition(pair.value != Slot.emptyValue, "value out of range")
                ends[Int(pair.hash >> segmentShift) + 1] += 1
            }
        }
        for index in segments.indices { ends[index + 1] += ends[index] }
        count = ends[segments.count]
        var sorted = ContiguousArray(repeating: Slot.empty, count: count)
        for pairs in parts {
            for pair in pairs {
                let index = Int(pair.hash >> segmentShift)
                sorted[ends[index]] = pair
                ends[index] += 1
            }
        }
        var start = 0
        for index in segments.indices {
            segments[index].load(sorted[start..<ends[index]])
            start = ends[index]
        }
    }

    /// Replaces `old` under `hash` by `new`.
    ///
    /// - Returns: False, and nothing is changed, when the pair is not stored.
    @discardableResult
    package mutating func replace(_ hash: UInt64, value old: UInt64, by new: UInt64) -> Bool {
        precondition(new != Slot.emptyValue, "value out of range")
        let index = Int(hash >> segmentShift)
        let slot = segments[index].slot(of: hash) { $0 == old }
        guard slot >= 0 else { return false }
        segments[index].slots[slot].value = new
        return true
    }

    /// Removes `value` under `hash`.
    ///
    /// - Returns: False, and nothing is changed, when the pair is not stored.
    @discardableResult
    package mutating func remove(_ hash: UInt64, value: UInt64) -> Bool {
        let index = Int(hash >> segmentShift)
        let slot = segments[index].slot(of: hash) { $0 == value }
        guard slot >= 0 else { return false }
        segments[index].remove(at: slot)
        count -= 1
        return true
    }

    /// One entry; empty when its value is ``emptyValue``.
    package struct Slot: BitwiseCopyable {
        @inlinable
        static var emptyValue: UInt64 { .max }
        static var empty: Slot { Slot(hash: 0, value: emptyValue) }
        @usableFromInline
        var hash: UInt64
        @usableFromInline
        var value: UInt64

        package init(hash: UInt64, value: UInt64) {
            self.hash = hash
            self.value = value
        }
    }

    /// Open addressing with linear probing, at most three quarters full, no tombstones.
    @usableFromInline
    struct Segment {
        /// None, or a power of two.
        @usableFromInline
        var slots: ContiguousArray<Slot> = []
        var used = 0

        /// The slot of `hash` whose value `matches` accepts, or -1.
        @inlinable
        @inline(__always)
        func slot(of hash: UInt64, where matches: (UInt64) -> Bool) -> Int {
            if slots.isEmpty { return -1 }
            let mask = slots.count - 1
            var index = Int(truncatingIfNeeded: hash) & mask
            while slots[index].value != Slot.emptyValue {
                if slots[index].hash == hash && matches(slots[index].value) { return index }
                index = (index + 1) & mask
            }
            return -1
        }

        mutating func insert(_ slot: Slot) {
            if (used + 1) * 4 > slots.count * 3 { resize(to: max(8, slots.count * 2)) }
            place(slot)
            used += 1
        }

        mutating func load(_ pairs: ContiguousArray<Slot>.SubSequence) {
            reserve(pairs.count)
            for pair in pairs { place(pair) }
            used = pairs.count
        }

        private mutating func place(_ slot: Slot) {
            let mask = slots.count - 1
            var index = Int(truncatingIfNeeded: slot.hash) & mask
            while slots[index].value != Slot.emptyValue { index = (index + 1) & mask }
            slots[index] = slot
        }

        /// Empties the slot and moves up what probed past it.
        mutating func remove(at removed: Int) {
            let mask = slots.count - 1
            var hole = removed
            var index = (removed + 1) & mask
            while slots[index].value != Slot.emptyValue {
                let home = Int(truncatingIfNeeded: slots[index].hash) & mask
                // An entry may move to the hole unless its home lies after the hole.
                if (index - home) & mask >= (index - hole) & mask {
                    slots[hole] = slots[index]
                    hole = index
                }
                index = (index + 1) & mask
            }
            slots[hole] = .empty
            used -= 1
        }

        mutating func reserve(_ capacity: Int) {
            var size = 8
            while size * 3 < capacity * 4 { size *= 2 }
            if size > slots.count { resize(to: size) }
        }

        private mutating func resize(to size: Int) {
            let old = slots
            slots = ContiguousArray(repeating: .empty, count: size)
            for slot in old where slot.value != Slot.emptyValue { place(slot) }
        }
    }
}
