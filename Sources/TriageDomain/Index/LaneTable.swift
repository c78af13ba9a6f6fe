// The claimable cases, divided by who may take them. Knows lanes and their heads; knows nothing of
// the board or of held cases.

internal import TriageBase

/// One tree for each lane that has a case, and a row with the heads of all lanes, in order.
///
/// Finding the most urgent case for a caller walks the row, 32 bytes a lane, and stops at the first
/// lane that the caller may take. A lane exists while it has a case, so the row is as long as the
/// backlog is diverse, and languages that nobody sends any more cost nothing.
struct LaneTable {
    /// What a claim looks at.
    struct Head: BitwiseCopyable {
        var key: PriorityKey
        let oneHot: UInt64
        let language: UInt16
        /// The lane's place in ``LaneTable/lanes``.
        let slot: UInt32
    }

    /// A lane that has cases, or a place for the next one when its tree is empty.
    struct Slot {
        var name: Lane
        var tree = KeyTree()
        /// The least key, under which the lane is found in the row.
        var head = PriorityKey.sentinel
    }

    /// The lanes that have cases, by their least keys.
    private(set) var row: ContiguousArray<Head> = []
    private(set) var slots: ContiguousArray<Slot> = []
    private var freeSlots: ContiguousArray<Int> = []
    /// From a lane's hash to its slot.
    ///
    /// `mix64` is a bijection: no collisions.
    private var slotOfLane = HashIndex(segmentBits: 0)
    /// Cases in all lanes.
    private(set) var count = 0

    var laneCount: Int { row.count }

    @inline(__always)
    private func slot(_ lane: Lane) -> Int? {
        slotOfLane.value(mix64(UInt64(lane.packed))).map { Int($0) }
    }

    /// The place in the row of the first head that is not less than `key`.
    private func rank(_ key: PriorityKey) -> Int {
        var (low, high) = (0, row.count)
        while low < high {
            let middle = (low + high) / 2
            if row[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func count(_ lane: Lane) -> Int {
        slot(lane).map { slots[$0].tree.count } ?? 0
    }

    func forEach(_ body: (Lane, Int, PriorityKey) -> Void) {
        for head in row {
            let slot = slots[Int(head.slot)]
            body(slot.name, slot.tree.count, head.key)
        }
    }

    /// The lanes before `key` that `eligibility` does not cover.
    ///
    /// - Returns: How many cases they have, and the first of them with its least key.
    func passedOver(
        before key: PriorityKey, _ eligibility: Eligibility
    ) -> (count: Int, first: (key: PriorityKey, lane: Lane)?) {
        var count = 0
        var first: (key: PriorityKey, lane: Lane)?
        for head in row {
            guard head.key < key else { break }
            if head.oneHot & eligibility.forbidden == 0 && eligibility.speaks(head.language) {
                continue
            }
            let slot = Int(head.slot)
            count += slots[slot].tree.count
            if first == nil { first = (head.key, slots[slot].name) }
        }
        return (count, first)
    }

    // MARK: Changes

    /// Where in the lanes a key goes or is; good until the lanes change.
    struct Place {
        let slot: Int
        var spot: KeyTree.Spot
    }

    /// The first step of an insertion; see ``KeyTree/Spot``.
    @inline(__always)
    mutating func placeForInsertion(
        of key: PriorityKey, _ lane: Lane, _ pool: inout NodePool
    ) -> Place {
        let slot = slot(lane) ?? addLane(lane)
        return Place(slot: slot, spot: slots[slot].tree.spotForInsertion(of: key, &pool))
    }

    /// The second step of an insertion.
    @inline(__always)
    mutating func makeRoom(_ place: inout Place, for key: PriorityKey, _ pool: inout NodePool) {
        // Asked of the spot, so that the table is looked at only when there is something to do.
        if place.spot.isFull { slots[place.slot].tree.makeRoom(&place.spot, for: key, &pool) }
    }

    /// The last step of an insertion.
    mutating func insert(_ key: PriorityKey, at place: Place) {
        slots[place.slot].tree.insert(key, at: place.spot)
        if key < slots[place.slot].head { setHead(of: place.slot, to: key) }
        count += 1
    }

    /// The first step of a removal; see ``KeyTree/Spot``.
    @inline(__always)
    mutating func placeForRemoval(
        of key: PriorityKey, _ lane: Lane, _ pool: inout NodePool
    ) -> Place {
        guard let slot = slot(lane) else { preconditionFailure("no such lane") }
        return Place(slot: slot, spot: slots[slot].tree.spotForRemoval(of: key, &pool))
    }

    /// The second step of a removal.
    @inline(__always)
    mutating func makeSpare(_ place: inout Place, for key: PriorityKey, _ pool: inout NodePool) {
        if place.spot.isThin { slots[place.slot].tree.makeSpare(&place.spot, for: key, &pool) }
    }

    /// The last step of a removal.
    mutating func remove(_ key: PriorityKey, at place: Place, _ pool: inout NodePool) {
        let slot = place.slot
        slots[slot].tree.remove(key, at: place.spot, &pool)
        if key == slots[slot].head { setHead(of: slot, to: slots[slot].tree.first(pool)) }
        count -= 1
    }

    /// Gives a lane another least key, and so another place in the row; the sentinel takes it out.
    private mutating func setHead(of slot: Int, to key: PriorityKey) {
        let old = slots[slot].head
        slots[slot].head = key
        let lane = slots[slot].name
        if old == .sentinel {
            let head = Head(
                key: key, oneHot: lane.oneHot, language: lane.language, slot: UInt32(slot))
            row.insert(head, at: rank(key))
        } else if key == .sentinel {
            row.remove(at: rank(old))
            slotOfLane.remove(mix64(UInt64(lane.packed)), value: UInt64(slot))
            freeSlots.append(slot)
        } else {
            let source = rank(old)
            let target = rank(key) - (key > old ? 1 : 0)
            row[source].key = key
            row.moveElement(from: source, to: target)
        }
    }

    private mutating func addLane(_ lane: Lane) -> Int {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            slots[slot].name = lane
        } else {
            slot = slots.count
            slots.append(Slot(name: lane))
        }
        slotOfLane.insert(mix64(UInt64(lane.packed)), value: UInt64(slot))
        return slot
    }

    /// Fills the empty table from entries in ascending order of keys.
    mutating func load(
        _ entries: [(key: PriorityKey, standing: Standing)], _ pool: inout NodePool
    ) {
        // Two passes, as in a counting sort: how many in each lane, then each to its lane's part.
        var sizes: [Int] = []
        var slotOfEntry: [Int32] = []
        slotOfEntry.reserveCapacity(entries.count)
        for entry in entries {
            guard case .claimable(let lane) = entry.standing else {
                slotOfEntry.append(-1)
                continue
            }
            let slot = slot(lane) ?? addLane(lane)
            while sizes.count <= slot { sizes.append(0) }
            sizes[slot] += 1
            slotOfEntry.append(Int32(slot))
        }
        var ends: [Int] = []
        for size in sizes {
            ends.append(count)
            count += size
        }
        var keys = [PriorityKey](repeating: .sentinel, count: count)
        for (index, entry) in entries.enumerated() where slotOfEntry[index] >= 0 {
            let slot = Int(slotOfEntry[index])
            keys[ends[slot]] = entry.key
            ends[slot] += 1
        }
        for slot in sizes.indices where sizes[slot] > 0 {
            let part = keys[ends[slot] - sizes[slot]..<ends[slot]]
            slots[slot].tree.build(part, &pool)
            setHead(of: slot, to: part[part.startIndex])
        }
    }

    // MARK: Claims

    /// The least head that `eligibility` covers.
    func first(_ eligibility: borrowing Eligibility) -> PriorityKey? {
        let forbidden = eligibility.forbidden
        for head in row where head.oneHot & forbidden == 0 {
            if eligibility.speaks(head.language) { return head.key }
        }
        return nil
    }

    /// The least key above `key` in the lanes that `eligibility` covers.
    func first(
        _ eligibility: borrowing Eligibility, after key: PriorityKey, _ pool: borrowing NodePool
    ) -> PriorityKey? {
        let forbidden = eligibility.forbidden
        var best = PriorityKey.sentinel
        for head in row {
            if head.key >= best { break }
            guard head.oneHot & forbidden == 0, eligibility.speaks(head.language) else { continue }
            if head.key > key {
                best = head.key
                break
            }
            // Only lanes whose head was passed already have to be searched.
            best = min(best, slots[Int(head.slot)].tree.first(after: key, pool))
        }
        return best == .sentinel ? nil : best
    }
}
