// The claimable cases, divided by who may take them. Knows lanes and their heads; knows nothing of
// the board or of held cases.

internal import TriageBase

/// One tree for each lane that has a case, and the heads of all lanes in one row of memory.
///
/// Finding the most urgent case for a caller walks that row: 32 bytes a lane. A lane exists while it
/// has a case, so the row is as long as the backlog is diverse, and languages that nobody sends any
/// more cost nothing.
struct LaneTable {
    /// What a claim looks at.
    struct Head: BitwiseCopyable {
        var key: PriorityKey
        let oneHot: UInt64
        let language: UInt16
    }

    private(set) var heads: ContiguousArray<Head> = []
    /// Beside `heads`, entry for entry.
    private(set) var trees: ContiguousArray<KeyTree> = []
    /// Beside `heads`, entry for entry.
    private(set) var names: ContiguousArray<Lane> = []
    /// From a lane's hash to its place in the three arrays.
    ///
    /// `mix64` is a bijection: no collisions.
    private var places = HashIndex(segmentBits: 0)
    /// Cases in all lanes.
    private(set) var count = 0

    var laneCount: Int { heads.count }

    @inline(__always)
    private func place(_ lane: Lane) -> Int? {
        places.value(mix64(UInt64(lane.packed))).map { Int($0) }
    }

    func count(_ lane: Lane) -> Int {
        place(lane).map { trees[$0].count } ?? 0
    }

    func forEach(_ body: (Lane, Int, PriorityKey) -> Void) {
        for place in heads.indices { body(names[place], trees[place].count, heads[place].key) }
    }

    // MARK: Changes

    mutating func insert(_ key: PriorityKey, _ lane: Lane, _ pool: inout NodePool) {
        let place = place(lane) ?? addLane(lane)
        trees[place].insert(key, &pool)
        if key < heads[place].key { heads[place].key = key }
        count += 1
    }

    mutating func remove(_ key: PriorityKey, _ lane: Lane, _ pool: inout NodePool) {
        guard let place = place(lane) else { preconditionFailure("no such lane") }
        trees[place].remove(key, &pool)
        if key == heads[place].key {
            heads[place].key = trees[place].first(pool)
            if trees[place].count == 0 { dropLane(at: place) }
        }
        count -= 1
    }

    private mutating func addLane(_ lane: Lane) -> Int {
        let place = heads.count
        heads.append(Head(key: .sentinel, oneHot: lane.oneHot, language: lane.language))
        trees.append(KeyTree())
        names.append(lane)
        places.insert(mix64(UInt64(lane.packed)), value: UInt64(place))
        return place
    }

    /// Forgets an empty lane; the last one takes its place.
    private mutating func dropLane(at place: Int) {
        places.remove(mix64(UInt64(names[place].packed)), value: UInt64(place))
        let last = heads.count - 1
        if place != last {
            heads[place] = heads[last]
            trees[place] = trees[last]
            names[place] = names[last]
            places.replace(
                mix64(UInt64(names[place].packed)), value: UInt64(last), by: UInt64(place))
        }
        heads.removeLast()
        trees.removeLast()
        names.removeLast()
    }

    /// Fills the empty table from entries in ascending order of keys.
    mutating func load(
        _ entries: [(key: PriorityKey, standing: Standing)], _ pool: inout NodePool
    ) {
        // Two passes, as in a counting sort: how many in each lane, then each to its lane's part.
        var sizes: [Int] = []
        var placeOfEntry: [Int32] = []
        placeOfEntry.reserveCapacity(entries.count)
        for entry in entries {
            guard case .claimable(let lane) = entry.standing else {
                placeOfEntry.append(-1)
                continue
            }
            let place = place(lane) ?? addLane(lane)
            if place == sizes.count { sizes.append(0) }
            sizes[place] += 1
            placeOfEntry.append(Int32(place))
        }
        var ends: [Int] = []
        for size in sizes {
            ends.append(count)
            count += size
        }
        var keys = [PriorityKey](repeating: .sentinel, count: count)
        for (index, entry) in entries.enumerated() where placeOfEntry[index] >= 0 {
            let place = Int(placeOfEntry[index])
            keys[ends[place]] = entry.key
            ends[place] += 1
        }
        for place in sizes.indices {
            let part = keys[ends[place] - sizes[place]..<ends[place]]
            trees[place].build(part, &pool)
            heads[place].key = part[part.startIndex]
        }
    }

    // MARK: Claims

    /// The least head that `eligibility` covers.
    func first(_ eligibility: borrowing Eligibility) -> PriorityKey? {
        let forbidden = eligibility.forbidden
        var best = PriorityKey.sentinel
        // The key is compared first: once a good one is found nearly every other fails here, and
        // the processor guesses right.
        for head in heads where head.key < best {
            if head.oneHot & forbidden == 0 && eligibility.speaks(head.language) { best = head.key }
        }
        return best == .sentinel ? nil : best
    }

    /// The least key above `key` in the lanes that `eligibility` covers.
    func first(
        _ eligibility: borrowing Eligibility, after key: PriorityKey, _ pool: borrowing NodePool
    ) -> PriorityKey? {
        let forbidden = eligibility.forbidden
        var best = PriorityKey.sentinel
        for place in heads.indices {
            let head = heads[place]
            guard head.key < best, head.oneHot & forbidden == 0,
                eligibility.speaks(head.language)
            else { continue }
            // Only lanes whose head was passed already have to be searched.
            let candidate =
                head.key > key ? head.key : trees[place].first(after: key, pool)
            if candidate < best { best = candidate }
        }
        return best == .sentinel ? nil : best
    }
}
