// The order of all open cases, for the board and for claims. Knows keys, lanes and which cases are
// held; knows nothing of cases themselves, of leases, or of why a key is what it is.

/// Where an open case stands in the index besides the board.
package enum Standing: Hashable, Sendable {
    /// Nobody holds it: the callers whom the lane admits may claim it.
    case claimable(Lane)
    /// A lease holds it: it is on the board, and nobody can claim it.
    case held
}

/// All open cases, ordered by ``PriorityKey``.
///
/// ```
///   board    one tree with every open case: listing, paging, counting
///   lanes    one tree for each eligibility class, with its claimable cases; the heads of
///            all lanes lie side by side, and a claim looks at nothing else
/// ```
///
/// A held case is on the board and in no lane. Two trees instead of merging all lanes for every
/// page: a page would have to find its place in each of several hundred lanes; a second insertion
/// costs 0.2 µs. The index keeps no map from case to key: the caller, who has the case, passes the
/// key and the lane that it was entered under, and an operation on a key that is not there traps,
/// since then index and state have parted.
///
/// - Isolation: engine. Reads change nothing, and may run beside each other, not beside a write.
package struct PriorityIndex: ~Copyable, Sendable {
    var pool = NodePool()
    var board = KeyTree()
    var lanes = LaneTable()
    /// Open cases of each band, held ones included.
    private(set) var bandCounts: InlineArray<3, Int> = .init(repeating: 0)

    /// Makes an empty index.
    package init() {}

    // MARK: Changes

    /// Enters a case.
    ///
    /// - Precondition: No case has this key.
    /// - Complexity: O(log n).
    package mutating func insert(_ key: PriorityKey, in standing: Standing) {
        bandCounts[key.band] += 1
        var spot = board.spotForInsertion(of: key, &pool)
        switch standing {
        case .held:
            board.makeRoom(&spot, for: key, &pool)
            KeyTree.aim(&spot, at: key)
            board.insert(key, at: spot)
        case .claimable(let lane):
            var place = lanes.placeForInsertion(of: key, lane, &pool)
            board.makeRoom(&spot, for: key, &pool)
            lanes.makeRoom(&place, for: key, &pool)
            KeyTree.aim(&spot, at: key)
            KeyTree.aim(&place.spot, at: key)
            board.insert(key, at: spot)
            lanes.insert(key, at: place)
        }
    }

    /// Takes a case out.
    ///
    /// - Precondition: It was entered with `key`, and `standing` is its present one.
    /// - Complexity: O(log n).
    package mutating func remove(_ key: PriorityKey, from standing: Standing) {
        bandCounts[key.band] -= 1
        var spot = board.spotForRemoval(of: key, &pool)
        switch standing {
        case .held:
            board.makeSpare(&spot, for: key, &pool)
            KeyTree.aim(&spot, at: key)
            board.remove(key, at: spot, &pool)
        case .claimable(let lane):
            var place = lanes.placeForRemoval(of: key, lane, &pool)
            board.makeSpare(&spot, for: key, &pool)
            lanes.makeSpare(&place, for: key, &pool)
            KeyTree.aim(&spot, at: key)
            KeyTree.aim(&place.spot, at: key)
            board.remove(key, at: spot, &pool)
            lanes.remove(key, at: place, &pool)
        }
    }

    /// Changes a case's key, standing or both.
    ///
    /// - Precondition: `oldKey` and `oldStanding` are the present ones; no other case has `newKey`.
    /// - Complexity: O(log n); when only the standing changes, the board is not touched.
    package mutating func move(
        _ oldKey: PriorityKey, from oldStanding: Standing, to newKey: PriorityKey,
        in newStanding: Standing
    ) {
        if oldKey != newKey {
            remove(oldKey, from: oldStanding)
            insert(newKey, in: newStanding)
            return
        }
        if oldStanding == newStanding { return }
        if case .claimable(let lane) = oldStanding { hold(oldKey, in: lane) }
        if case .claimable(let lane) = newStanding { release(newKey, to: lane) }
    }

    /// Takes a case out of its lane because a lease now holds it; the board keeps it.
    ///
    /// - Precondition: The case is claimable in `lane`.
    package mutating func hold(_ key: PriorityKey, in lane: Lane) {
        assert(board.contains(key, pool), "held case is not on the board")
        var place = lanes.placeForRemoval(of: key, lane, &pool)
        lanes.makeSpare(&place, for: key, &pool)
        KeyTree.aim(&place.spot, at: key)
        lanes.remove(key, at: place, &pool)
    }

    /// Makes a held case claimable in `lane`.
    ///
    /// - Precondition: The case is held.
    package mutating func release(_ key: PriorityKey, to lane: Lane) {
        assert(board.contains(key, pool), "released case is not on the board")
        var place = lanes.placeForInsertion(of: key, lane, &pool)
        lanes.makeRoom(&place, for: key, &pool)
        KeyTree.aim(&place.spot, at: key)
        lanes.insert(key, at: place)
    }

    // MARK: Claims

    /// The most urgent claimable case that `eligibility` covers.
    ///
    /// - Parameters:
    ///   - eligibility: What the caller may take.
    ///   - key: Look only at cases after this one in the order; nil for all.
    /// - Returns: nil when the caller may take none of the claimable cases.
    /// - Complexity: O(lanes), whatever the number of cases.
    package func firstEligible(
        _ eligibility: Eligibility, after key: PriorityKey? = nil
    ) -> PriorityKey? {
        guard let key else { return lanes.first(eligibility) }
        return lanes.first(eligibility, after: key, pool)
    }

    /// The most urgent claimable case that `eligibility` covers and `isConflicted` does not refuse.
    ///
    /// - Parameters:
    ///   - eligibility: What the caller may take.
    ///   - limit: How many cases may be offered to `isConflicted` at most.
    ///   - isConflicted: True for a case that this caller must not take.
    /// - Returns: nil when there is none among the first `limit`.
    package func firstEligible(
        _ eligibility: Eligibility, limit: Int, unless isConflicted: (PriorityKey) -> Bool
    ) -> PriorityKey? {
        var candidate = lanes.first(eligibility)
        var tried = 0
        while let key = candidate, tried < limit {
            if !isConflicted(key) { return key }
            tried += 1
            candidate = lanes.first(eligibility, after: key, pool)
        }
        return nil
    }

    /// What a claim passed over: lanes whose most urgent case stands before `key` and which
    /// `eligibility` does not cover.
    ///
    /// - Returns: How many cases those lanes have, and the first lane with its most urgent case.
    /// - Complexity: O(lanes before `key`), whatever the number of cases.
    package func passedOver(
        before key: PriorityKey, _ eligibility: Eligibility
    ) -> (count: Int, first: (key: PriorityKey, lane: Lane)?) {
        lanes.passedOver(before: key, eligibility)
    }

    // MARK: Board

    /// Appends the next open cases, claimable and held, in board order.
    ///
    /// - Parameters:
    ///   - key: The last key of the page before, which need not be open any more; nil at first.
    ///   - limit: Cases at most; 0 or more.
    ///   - keys: Where they are appended. Fewer than `limit` means the end.
    package func page(after key: PriorityKey?, limit: Int, into keys: inout [PriorityKey]) {
        precondition(limit >= 0, "negative limit")
        board.page(after: key, limit: limit, into: &keys, pool)
    }

    /// True when a case with this key is open.
    package func contains(_ key: PriorityKey) -> Bool { board.contains(key, pool) }

    // MARK: Counts

    /// Open cases.
    package var count: Int { board.count }
    /// Open cases that a lease holds.
    package var heldCount: Int { board.count - lanes.count }
    /// Open cases that can be claimed.
    package var claimableCount: Int { lanes.count }
    /// Lanes with a claimable case.
    package var laneCount: Int { lanes.laneCount }

    /// Open cases of a band, held ones included.
    package func count(band: Int) -> Int { bandCounts[band] }
    /// Claimable cases of a lane.
    package func count(lane: Lane) -> Int { lanes.count(lane) }

    /// Calls `body` with each lane that has claimable cases, their number and the most urgent one.
    package func forEachLane(_ body: (Lane, Int, PriorityKey) -> Void) {
        lanes.forEach(body)
    }

    /// Bytes of memory that hold keys, free nodes included.
    package var memoryBytes: Int { Int(pool.allocated) * NodePool.nodeBytes }

    // MARK: Recovery

    /// A case that is entered, and where it stands.
    package typealias Entry = (key: PriorityKey, standing: Standing)

    /// Enters many cases at once; several times faster than one by one.
    ///
    /// - Parameter parts: The cases, in any order; fastest when each part is in order.
    /// - Precondition: The index is empty; no key occurs twice.
    package mutating func load(_ parts: [[Entry]]) {
        precondition(count == 0, "the index is not empty")
        var entries = Array(parts.joined())
        // Finds runs that are in order, and merges them.
        entries.sort { $0.key < $1.key }
        board.build(entries.map(\.key)[...], &pool)
        for entry in entries { bandCounts[entry.key.band] += 1 }
        lanes.load(entries, &pool)
    }
}
