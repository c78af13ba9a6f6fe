// The full check of an index against its own rules, for tests, simulation and the operator's
// offline inspection. It reads every node and changes nothing.

internal import TriageBase

/// A rule that an index was found to break, in words for an engineer.
package struct BrokenInvariant: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong, and where.
    package let description: String

    init(_ description: String) { self.description = description }
}

extension PriorityIndex {
    /// Checks every rule of the structure.
    ///
    /// Order within and across leaves, separators, fill, equal depth, the chain of leaves, counts,
    /// the table of heads, that every claimable case is on the board and in one lane only, and that
    /// every node of the pool is either in one tree or free.
    ///
    /// - Throws: ``BrokenInvariant`` for the first rule found broken; the index is unchanged.
    /// - Complexity: O(n log n) time, O(n) memory.
    package func checkInvariants() throws(BrokenInvariant) {
        var check = TreeCheck()
        try check.run(board, pool, name: "board")
        let boardKeys = check.keys
        try checkBandCounts(boardKeys)

        var claimable: [PriorityKey] = []
        try lanes.checkTable()
        for head in lanes.row {
            let slot = lanes.slots[Int(head.slot)]
            let name = "lane \(slot.name.packed)"
            try check.run(slot.tree, pool, name: name)
            try require(!check.keys.isEmpty, "\(name) is empty")
            try require(
                head.key == check.keys[0] && slot.head == head.key,
                "\(name): head is not its least key")
            claimable.append(contentsOf: check.keys)
        }
        try require(claimable.count == lanes.count, "lanes: count is off")
        try checkEachOnce(claimable, on: boardKeys)

        try require(check.nodes.count == pool.inUse, "pool: nodes in use that no tree has")
        try require(
            pool.inUse + pool.countFree() == Int(pool.allocated),
            "pool: nodes lost from the free list")
    }

    private func checkBandCounts(_ keys: [PriorityKey]) throws(BrokenInvariant) {
        var counts = [Int](repeating: 0, count: PriorityKey.bandCount)
        for key in keys {
            try require(key.band < PriorityKey.bandCount, "board: band out of range")
            counts[key.band] += 1
        }
        for band in counts.indices {
            try require(counts[band] == count(band: band), "board: count of band \(band) is off")
        }
    }

    /// Checks that the claimable keys are a subset of the board's, each once.
    private func checkEachOnce(
        _ claimable: [PriorityKey], on board: [PriorityKey]
    ) throws(BrokenInvariant) {
        let claimable = claimable.sorted()
        var position = 0
        for (index, key) in claimable.enumerated() {
            try require(index == 0 || claimable[index - 1] < key, "a key is in two lanes")
            while position < board.count && board[position] < key { position += 1 }
            try require(
                position < board.count && board[position] == key,
                "case \(key.number.value) is in a lane and not on the board")
        }
    }
}

extension LaneTable {
    /// Checks that the row ascends and agrees with the slots and with the lanes' names.
    func checkTable() throws(BrokenInvariant) {
        var seen: Set<Lane> = []
        for place in row.indices {
            let head = row[place]
            try require(Int(head.slot) < slots.count, "lanes: no slot \(head.slot)")
            let slot = slots[Int(head.slot)]
            let lane = slot.name
            try require(seen.insert(lane).inserted, "lane \(lane.packed) is there twice")
            try require(
                head.oneHot == lane.oneHot && head.language == lane.language,
                "lane \(lane.packed): attributes beside the head are wrong")
            try require(
                count(lane) == slot.tree.count, "lane \(lane.packed): found at a wrong slot")
            try require(
                place == 0 || row[place - 1].key < head.key, "lanes: the row is out of order")
        }
        try require(
            slots.count { $0.tree.count > 0 } == row.count, "lanes: a lane is not in the row")
    }
}

/// Walks trees, collecting keys and nodes.
private struct TreeCheck {
    /// The keys of the tree walked last, in order.
    var keys: [PriorityKey] = []
    /// The nodes of all trees walked.
    var nodes: Set<NodeID> = []
    private var leaves: [NodeID] = []

    /// Walks one tree and checks it.
    mutating func run(
        _ tree: KeyTree, _ pool: borrowing NodePool, name: String
    ) throws(BrokenInvariant) {
        keys = []
        leaves = []
        if tree.root == noNode {
            try require(
                tree.count == 0 && tree.height == 0 && tree.firstLeaf == noNode,
                "\(name): no root, yet not empty")
            return
        }
        let bounds = (low: PriorityKey(bits: 0), high: PriorityKey.sentinel)
        try walk(tree.root, level: tree.height, bounds, isRoot: true, pool, name)
        try require(keys.count == tree.count, "\(name): count is off")
        try require(tree.count > 0, "\(name): a root without keys")
        try require(leaves.first == tree.firstLeaf, "\(name): first leaf is wrong")
        for (index, id) in leaves.enumerated() {
            let next = index + 1 < leaves.count ? leaves[index + 1] : noNode
            try require(pool[id].next == next, "\(name): chain of leaves is broken")
        }
    }

    private mutating func walk(
        _ id: NodeID, level: Int, _ bounds: (low: PriorityKey, high: PriorityKey), isRoot: Bool,
        _ pool: borrowing NodePool, _ name: String
    ) throws(BrokenInvariant) {
        try require(id < pool.allocated, "\(name): node \(id) does not exist")
        try require(nodes.insert(id).inserted, "\(name): node \(id) is in two places")
        let node = pool[id]
        try require(!node.isFree, "\(name): node \(id) is free")
        try require(node.isLeaf == (level == 0), "\(name): node \(id) is at a wrong depth")
        let minimum = node.isLeaf ? KeyTree.leafKeysMin : KeyTree.innerKeysMin
        try require(node.count >= (isRoot ? 1 : minimum), "\(name): node \(id) is too thin")
        try checkSlots(of: node, id, bounds, name)
        guard !node.isLeaf else {
            leaves.append(id)
            for index in 0..<node.count { keys.append(node[index]) }
            return
        }
        for index in 0...node.count {
            let low = index == 0 ? bounds.low : node[index - 1]
            let high = index == node.count ? bounds.high : node[index]
            try walk(
                node.child(index), level: level - 1, (low, high), isRoot: false, pool, name)
        }
    }

    /// Checks that keys ascend within the bounds, and that the slots after them hold the sentinel.
    private func checkSlots(
        of node: Node, _ id: NodeID, _ bounds: (low: PriorityKey, high: PriorityKey), _ name: String
    ) throws(BrokenInvariant) {
        let slots = node.isLeaf ? Node.leafKeysMax : Node.innerKeysMax
        try require(node.count <= slots, "\(name): node \(id) is overfull")
        for index in 0..<slots {
            let key = node[index]
            if index >= node.count {
                try require(key == .sentinel, "\(name): node \(id) has a key past its count")
                continue
            }
            try require(
                bounds.low <= key && key < bounds.high, "\(name): node \(id) is out of bounds")
            try require(index == 0 || node[index - 1] < key, "\(name): node \(id) is out of order")
        }
    }
}

private func require(
    _ condition: Bool, _ text: @autoclosure () -> String
) throws(BrokenInvariant) {
    if !condition { throw BrokenInvariant(text()) }
}
