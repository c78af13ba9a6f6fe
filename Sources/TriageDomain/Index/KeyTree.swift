// One ordered set of keys: a B+tree over nodes of a shared pool. Knows order, splitting and
// merging; knows nothing of lanes, callers or what a key means.

/// A B+tree of ``PriorityKey`` in a ``NodePool`` that its owner passes to every call.
///
/// Insertion splits full nodes on the way down and removal refills thin ones on the way down, so
/// that neither looks back. Every node but the root is at least a quarter full; a node that would
/// fall below takes keys from its neighbour, or merges with it when both fit in three quarters.
/// Nothing is freed but by ``removeAll(_:)`` or by emptying the tree.
struct KeyTree {
    /// Fewest keys of a leaf, and fewest separators of an inner node, that is not the root.
    static let leafKeysMin = 16
    static let innerKeysMin = 11
    /// Most keys that merging may leave, so that the next insertion does not split again.
    private static let leafKeysMerged = 48
    private static let innerKeysMerged = 36

    private(set) var root = noNode
    /// The leaf with the least keys.
    ///
    /// It never changes: splits and merges keep the left node.
    private(set) var firstLeaf = noNode
    /// Inner nodes between the root and a leaf; 0 when the root is a leaf.
    private(set) var height = 0
    /// How many keys there are.
    private(set) var count = 0

    /// The least key, or ``PriorityKey/sentinel``.
    @inline(__always)
    func first(_ pool: borrowing NodePool) -> PriorityKey {
        count == 0 ? .sentinel : pool[firstLeaf][0]
    }

    func contains(_ key: PriorityKey, _ pool: borrowing NodePool) -> Bool {
        guard count > 0 else { return false }
        let leaf = leaf(for: key, pool)
        let rank = leaf.leafRank(of: key)
        return rank < leaf.count && leaf[rank] == key
    }

    @inline(__always)
    private func leaf(for key: PriorityKey, _ pool: borrowing NodePool) -> Node {
        var node = pool[root]
        for _ in 0..<height { node = pool[node.child(node.childIndex(of: key))] }
        return node
    }

    // MARK: Changing in steps

    /// Where a key goes or is, on the way to a change; good until the tree changes otherwise.
    ///
    /// A change takes steps: `spotFor...`, `make...`, ``aim(_:at:)``, then the change itself. A
    /// caller who changes two trees takes each step for both: a leaf is the one node of its path
    /// that is not in the cache, and so the processor waits for both leaves at once.
    struct Spot {
        /// The leaf, not yet looked at by `spotFor...`.
        fileprivate(set) var leaf: Node
        /// The leaf's parent and place there, unless the leaf is the root.
        fileprivate var parent: Node?
        fileprivate var index = 0
        /// How many keys of the leaf are less.
        fileprivate var rank = 0

        /// True when the leaf cannot take another key.
        @inline(__always)
        var isFull: Bool { leaf.count == Node.leafKeysMax }

        /// True when the leaf cannot spare a key, unless it is the root.
        @inline(__always)
        var isThin: Bool { leaf.count <= leafKeysMin }
    }

    /// The third step of a change: finds the place in the leaf.
    @inline(__always)
    static func aim(_ spot: inout Spot, at key: PriorityKey) {
        spot.rank = spot.leaf.leafRank(of: key)
    }

    // MARK: Insertion

    /// The first step of an insertion: finds the leaf, splitting full inner nodes on the way.
    ///
    /// - Complexity: O(log n).
    @inline(__always)
    mutating func spotForInsertion(of key: PriorityKey, _ pool: inout NodePool) -> Spot {
        if root == noNode {
            root = pool.allocate(leaf: true)
            firstLeaf = root
        }
        var node = pool[root]
        if height == 0 { return Spot(leaf: node) }
        if node.count == Node.innerKeysMax {
            growRoot(for: key, &pool)
            node = pool[root]
        }
        var level = height
        while true {
            level -= 1
            var index = node.childIndex(of: key)
            var child = pool[node.child(index)]
            if level == 0 { return Spot(leaf: child, parent: node, index: index) }
            if child.count == Node.innerKeysMax {
                Self.split(child: index, of: node, leaf: false, for: key, &pool)
                if key >= node[index] { index += 1 }
                child = pool[node.child(index)]
            }
            node = child
        }
    }

    /// The second step of an insertion: splits the leaf if it is full.
    @inline(__always)
    mutating func makeRoom(_ spot: inout Spot, for key: PriorityKey, _ pool: inout NodePool) {
        if spot.isFull { splitLeaf(&spot, for: key, &pool) }
    }

    @inline(never)
    private mutating func splitLeaf(
        _ spot: inout Spot, for key: PriorityKey, _ pool: inout NodePool
    ) {
        if let parent = spot.parent {
            Self.split(child: spot.index, of: parent, leaf: true, for: key, &pool)
        } else {
            growRoot(for: key, &pool)
        }
        let parent = spot.parent ?? pool[root]
        if key >= parent[spot.index] { spot.leaf = pool[parent.child(spot.index + 1)] }
    }

    /// Puts a new root above the full one, and splits that.
    private mutating func growRoot(for key: PriorityKey, _ pool: inout NodePool) {
        let old = root
        root = pool.allocate(leaf: false)
        pool[root].setChild(0, to: old)
        height += 1
        Self.split(child: 0, of: pool[root], leaf: height == 1, for: key, &pool)
    }

    /// The last step of an insertion.
    ///
    /// - Precondition: `key` is not in the tree.
    @inline(__always)
    mutating func insert(_ key: PriorityKey, at spot: Spot) {
        let (leaf, rank) = (spot.leaf, spot.rank)
        precondition(rank == leaf.count || leaf[rank] != key, "key inserted twice")
        leaf.insert(key, at: rank)
        count += 1
    }

    /// Splits a full child of `parent`, which is not full.
    ///
    /// In the middle, unless `key` goes to the end: keys often come in ascending order, and then
    /// nothing will be added to the left node, so it stays three quarters full.
    private static func split(
        child index: Int, of parent: Node, leaf: Bool, for key: PriorityKey, _ pool: inout NodePool
    ) {
        let left = pool[parent.child(index)]
        let count = left.count
        let ascending = key > left[count - 1]
        let rightID = pool.allocate(leaf: leaf)
        let right = pool[rightID]
        let separator: PriorityKey
        let kept: Int
        if leaf {
            kept = ascending ? count - leafKeysMin : count / 2
            separator = left[kept]
            right.copyKeys(from: left, at: kept, count: count - kept, to: 0)
            right.count = count - kept
            right.next = left.next
            left.next = rightID
        } else {
            // The separator in between moves up to the parent.
            kept = ascending ? count - innerKeysMin - 1 : count / 2
            separator = left[kept]
            right.copyKeys(from: left, at: kept + 1, count: count - kept - 1, to: 0)
            right.count = count - kept - 1
            right.copyChildren(from: left, at: kept + 1, count: count - kept, to: 0)
        }
        left.count = kept
        left.fillVacant(from: kept, to: count)
        parent.copyChildren(
            from: parent, at: index + 1, count: parent.count - index, to: index + 2)
        parent.setChild(index + 1, to: rightID)
        parent.insert(separator, at: index)
    }

    // MARK: Removal

    /// The first step of a removal: finds the leaf, refilling thin inner nodes on the way.
    ///
    /// - Precondition: The tree is not empty.
    /// - Complexity: O(log n).
    @inline(__always)
    mutating func spotForRemoval(of key: PriorityKey, _ pool: inout NodePool) -> Spot {
        precondition(root != noNode, "no such key")
        var node = pool[root]
        var level = height
        while level > 0 {
            level -= 1
            let index = node.childIndex(of: key)
            var child = pool[node.child(index)]
            if level == 0 { return Spot(leaf: child, parent: node, index: index) }
            if child.count <= Self.innerKeysMin {
                child = refill(child: index, of: node, leaf: false, for: key, &pool)
            }
            node = child
        }
        return Spot(leaf: node)
    }

    /// The second step of a removal: sees to it that the leaf can spare a key.
    @inline(__always)
    mutating func makeSpare(_ spot: inout Spot, for key: PriorityKey, _ pool: inout NodePool) {
        if spot.isThin, let parent = spot.parent {
            spot.leaf = refill(child: spot.index, of: parent, leaf: true, for: key, &pool)
        }
    }

    /// The last step of a removal.
    ///
    /// - Precondition: `key` is in the tree.
    @inline(__always)
    mutating func remove(_ key: PriorityKey, at spot: Spot, _ pool: inout NodePool) {
        let (leaf, rank) = (spot.leaf, spot.rank)
        precondition(rank < leaf.count && leaf[rank] == key, "no such key")
        leaf.remove(at: rank)
        count -= 1
        if count == 0 { removeAll(&pool) }
    }

    /// Refills a thin child of `node`.
    ///
    /// - Returns: The child of `node`, or of what took its place, under which `key` belongs.
    @inline(never)
    private mutating func refill(
        child index: Int, of node: Node, leaf: Bool, for key: PriorityKey, _ pool: inout NodePool
    ) -> Node {
        Self.refill(child: index, of: node, leaf: leaf, &pool)
        if node.count > 0 { return pool[node.child(node.childIndex(of: key))] }
        // Only the root gets this low: its two children have become one.
        let only = node.child(0)
        pool.free(root)
        root = only
        height -= 1
        return pool[only]
    }

    /// Merges a thin child of `parent` with a neighbour, or shares out the keys of both.
    private static func refill(
        child index: Int, of parent: Node, leaf: Bool, _ pool: inout NodePool
    ) {
        let index = index < parent.count ? index : index - 1
        let left = pool[parent.child(index)]
        let rightID = parent.child(index + 1)
        let right = pool[rightID]
        let total = left.count + right.count
        if leaf {
            if total <= leafKeysMerged {
                left.copyKeys(from: right, at: 0, count: right.count, to: left.count)
                left.count = total
                left.next = right.next
                dropChild(index + 1, of: parent, &pool)
            } else {
                shareLeaves(left, right)
                parent[index] = right[0]
            }
        } else if total + 1 <= innerKeysMerged {
            append(right, to: left, below: parent[index], count: right.count)
            dropChild(index + 1, of: parent, &pool)
        } else {
            parent[index] = shareInner(left, right, separator: parent[index])
        }
    }

    private static func dropChild(_ index: Int, of parent: Node, _ pool: inout NodePool) {
        pool.free(parent.child(index))
        parent.copyChildren(
            from: parent, at: index + 1, count: parent.count - index, to: index)
        parent.remove(at: index - 1)
    }

    /// Moves keys between neighbouring leaves until both have the same number, give or take one.
    private static func shareLeaves(_ left: Node, _ right: Node) {
        let (leftCount, rightCount) = (left.count, right.count)
        let target = (leftCount + rightCount) / 2
        if leftCount < target {
            let moved = target - leftCount
            left.copyKeys(from: right, at: 0, count: moved, to: leftCount)
            right.copyKeys(from: right, at: moved, count: rightCount - moved, to: 0)
            right.fillVacant(from: rightCount - moved, to: rightCount)
        } else {
            let moved = leftCount - target
            right.copyKeys(from: right, at: 0, count: rightCount, to: moved)
            right.copyKeys(from: left, at: target, count: moved, to: 0)
            left.fillVacant(from: target, to: leftCount)
        }
        right.count = leftCount + rightCount - target
        left.count = target
    }

    /// Appends `separator` and the first `count` separators and children of `right` (one child more
    /// than separators) to `left`; `right` stays as it is.
    private static func append(
        _ right: Node, to left: Node, below separator: PriorityKey, count: Int
    ) {
        let leftCount = left.count
        left.count = leftCount + 1 + count
        left[leftCount] = separator
        left.copyKeys(from: right, at: 0, count: count, to: leftCount + 1)
        left.copyChildren(from: right, at: 0, count: count + 1, to: leftCount + 1)
    }

    /// Moves children between neighbouring inner nodes until both have about the same number.
    ///
    /// - Returns: The new separator between the two.
    private static func shareInner(
        _ left: Node, _ right: Node, separator: PriorityKey
    ) -> PriorityKey {
        let (leftCount, rightCount) = (left.count, right.count)
        let target = (leftCount + rightCount) / 2
        let newSeparator: PriorityKey
        if leftCount < target {
            let moved = target - leftCount
            newSeparator = right[moved - 1]
            append(right, to: left, below: separator, count: moved - 1)
            right.copyKeys(from: right, at: moved, count: rightCount - moved, to: 0)
            right.copyChildren(from: right, at: moved, count: rightCount - moved + 1, to: 0)
            right.fillVacant(from: rightCount - moved, to: rightCount)
            right.count = rightCount - moved
        } else {
            let moved = leftCount - target
            newSeparator = left[target]
            right.count = rightCount + moved
            right.copyKeys(from: right, at: 0, count: rightCount, to: moved)
            right.copyChildren(from: right, at: 0, count: rightCount + 1, to: moved)
            right[moved - 1] = separator
            right.copyKeys(from: left, at: target + 1, count: moved - 1, to: 0)
            right.copyChildren(from: left, at: target + 1, count: moved, to: 0)
            left.fillVacant(from: target, to: leftCount)
            left.count = target
        }
        return newSeparator
    }

    /// Gives all nodes back.
    mutating func removeAll(_ pool: inout NodePool) {
        if root != noNode { Self.freeSubtree(root, &pool) }
        self = KeyTree()
    }

    private static func freeSubtree(_ id: NodeID, _ pool: inout NodePool) {
        let node = pool[id]
        if !node.isLeaf {
            for index in 0...node.count { freeSubtree(node.child(index), &pool) }
        }
        pool.free(id)
    }

    // MARK: Reading in order

    /// The least key above `key`, or ``PriorityKey/sentinel``.
    func first(after key: PriorityKey, _ pool: borrowing NodePool) -> PriorityKey {
        guard count > 0 else { return .sentinel }
        let leaf = leaf(for: key, pool)
        let rank = leaf.leafRank(of: key.successor)
        if rank < leaf.count { return leaf[rank] }
        return leaf.next == noNode ? .sentinel : pool[leaf.next][0]
    }

    /// Appends up to `limit` keys above `key`, in order; from the start when `key` is nil.
    func page(
        after key: PriorityKey?, limit: Int, into keys: inout [PriorityKey],
        _ pool: borrowing NodePool
    ) {
        guard count > 0 else { return }
        var node = pool[firstLeaf]
        var rank = 0
        if let key {
            node = leaf(for: key, pool)
            rank = node.leafRank(of: key.successor)
        }
        var left = limit
        while true {
            left -= node.appendKeys(from: rank, limit: left, to: &keys)
            if left == 0 || node.next == noNode { return }
            node = pool[node.next]
            rank = 0
        }
    }

    // MARK: Building

    /// Builds the tree of ascending keys, nodes about three quarters full.
    ///
    /// - Precondition: The tree is empty; `keys` ascend strictly.
    mutating func build(_ keys: ArraySlice<PriorityKey>, _ pool: inout NodePool) {
        precondition(root == noNode, "the tree is not empty")
        guard !keys.isEmpty else { return }
        count = keys.count
        var level: [(id: NodeID, least: PriorityKey)] = []
        let leafCount = (keys.count + Self.leafKeysMerged - 1) / Self.leafKeysMerged
        level.reserveCapacity(leafCount)
        var previous: PriorityKey?
        for number in 0..<leafCount {
            let id = pool.allocate(leaf: true)
            let leaf = pool[id]
            let part = Self.share(number, of: leafCount, outOf: keys.count)
            leaf.count = part.count
            for (slot, index) in part.enumerated() {
                let key = keys[keys.startIndex + index]
                if let previous { precondition(previous < key, "keys do not ascend") }
                previous = key
                leaf[slot] = key
            }
            if let last = level.last { pool[last.id].next = id }
            level.append((id, leaf[0]))
        }
        firstLeaf = level[0].id
        while level.count > 1 {
            level = Self.buildLevel(over: level, &pool)
            height += 1
        }
        root = level[0].id
    }

    private static func buildLevel(
        over children: [(id: NodeID, least: PriorityKey)], _ pool: inout NodePool
    ) -> [(id: NodeID, least: PriorityKey)] {
        let nodeCount = (children.count + innerKeysMerged - 1) / innerKeysMerged
        var level: [(id: NodeID, least: PriorityKey)] = []
        for number in 0..<nodeCount {
            let id = pool.allocate(leaf: false)
            let node = pool[id]
            let part = share(number, of: nodeCount, outOf: children.count)
            node.count = part.count - 1
            for (slot, index) in part.enumerated() {
                node.setChild(slot, to: children[index].id)
                if slot > 0 { node[slot - 1] = children[index].least }
            }
            level.append((id, children[part.lowerBound].least))
        }
        return level
    }

    /// The range of positions that falls to one of `parts` equal shares, give or take one.
    private static func share(_ number: Int, of parts: Int, outOf total: Int) -> Range<Int> {
        total * number / parts..<total * (number + 1) / parts
    }
}
