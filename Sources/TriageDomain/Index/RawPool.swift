// The index's raw storage, and the only file of the domain that touches memory by hand: nodes of
// 1 KiB in slabs, named by 32-bit numbers. Knows how keys and children lie in a node; what makes a
// tree of them is KeyTree's business.

/// The number of a node in its pool.
typealias NodeID = UInt32

/// Stands for "no node".
let noNode = NodeID.max

/// Nodes of 1,024 bytes, allocated and freed one at a time, shared by all trees of an index.
///
/// Memory comes in slabs of 1 MiB that never move and are given back only when the pool goes, so a
/// ``Node`` stays readable as long as the pool lives, and growing copies nothing.
///
/// `@safe`: every pointer into a slab is formed in this file from a node number below `allocated`.
/// `@unchecked Sendable`: the pool owns its slabs alone and cannot be copied; whoever holds it
/// holds all of its memory.
@safe
struct NodePool: ~Copyable, @unchecked Sendable {
    static let nodeBytes = 1_024
    private static let nodesPerSlabBits: UInt32 = 10
    private static let nodesPerSlab = 1 << Int(nodesPerSlabBits)

    private var slabs: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var slabCapacity = 16
    private var slabCount = 0

    /// Nodes that were ever handed out; numbers below it are readable.
    private(set) var allocated: UInt32 = 0
    /// Nodes that are handed out now.
    private(set) var inUse = 0
    private var firstFree = noNode

    init() {
        unsafe slabs = .allocate(capacity: slabCapacity)
    }

    deinit {
        for index in 0..<slabCount { unsafe slabs[index].deallocate() }
        unsafe slabs.deallocate()
    }

    /// The node with this number.
    subscript(id: NodeID) -> Node {
        @inline(__always)
        get {
            assert(id < allocated, "no such node")
            let slab = unsafe slabs[Int(id >> Self.nodesPerSlabBits)]
            let offset = Int(id & UInt32(Self.nodesPerSlab - 1)) * Self.nodeBytes
            return unsafe Node(base: slab + offset)
        }
    }

    /// Hands out an empty node.
    mutating func allocate(leaf: Bool) -> NodeID {
        inUse += 1
        var id = firstFree
        if id != noNode {
            firstFree = self[id].next
        } else {
            id = allocated
            if Int(id) == slabCount * Self.nodesPerSlab { addSlab() }
            allocated += 1
        }
        self[id].clear(leaf: leaf)
        return id
    }

    /// Takes a node back.
    mutating func free(_ id: NodeID) {
        let node = self[id]
        assert(!node.isFree, "node freed twice")
        node.markFree(next: firstFree)
        firstFree = id
        inUse -= 1
    }

    /// How many nodes wait to be handed out again, counted by walking them.
    func countFree() -> Int {
        var count = 0
        var id = firstFree
        while id != noNode && count <= Int(allocated) {
            count += 1
            id = self[id].next
        }
        return count
    }

    private mutating func addSlab() {
        if slabCount == slabCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(
                capacity: slabCapacity * 2)
            unsafe larger.moveInitialize(from: slabs, count: slabCount)
            unsafe slabs.deallocate()
            unsafe slabs = larger
            slabCapacity *= 2
        }
        let slab = UnsafeMutableRawPointer.allocate(
            byteCount: Self.nodesPerSlab * Self.nodeBytes, alignment: 4_096)
        unsafe (slabs + slabCount).initialize(to: slab)
        slabCount += 1
    }
}

/// A node in place: a view that reads and writes the pool's memory.
///
/// | offset | bytes | meaning |
/// | --- | --- | --- |
/// | 0 | 2 | number of keys |
/// | 2 | 2 | 0 leaf, 1 inner, 2 free |
/// | 4 | 4 | leaf: the next leaf; free: the next free node |
/// | 16 | 63 x 16 | leaf: keys, ascending |
/// | 16 | 47 x 16 | inner: separators, ascending |
/// | 768 | 48 x 4 | inner: children, one more than separators |
///
/// Slots without a key hold ``PriorityKey/sentinel``, so that a search need not know how many there
/// are. `@safe`: offsets are checked against the table in debug builds, and the pool keeps the
/// memory; an index computed wrongly in release stays within 64 bits of arithmetic on counts that
/// ``PriorityIndex/checkInvariants()`` verifies.
@safe
struct Node {
    static let leafKeysMax = 63
    static let innerKeysMax = 47
    private static let keysOffset = 16
    private static let childrenOffset = 768

    private let base: UnsafeMutableRawPointer

    @inline(__always)
    fileprivate init(base: UnsafeMutableRawPointer) {
        unsafe self.base = base
    }

    // MARK: Header

    /// Keys in a leaf, separators in an inner node.
    var count: Int {
        @inline(__always)
        get { unsafe Int(base.load(as: UInt16.self)) }
        @inline(__always)
        nonmutating set {
            assert(0 <= newValue && newValue <= keysMax, "count out of range")
            unsafe base.storeBytes(of: UInt16(truncatingIfNeeded: newValue), as: UInt16.self)
        }
    }

    private var kind: UInt16 {
        get { unsafe base.load(fromByteOffset: 2, as: UInt16.self) }
        nonmutating set { unsafe base.storeBytes(of: newValue, toByteOffset: 2, as: UInt16.self) }
    }

    var isLeaf: Bool { kind == 0 }
    var isFree: Bool { kind == 2 }

    /// The next leaf in order, or ``noNode``.
    var next: NodeID {
        get { unsafe base.load(fromByteOffset: 4, as: NodeID.self) }
        nonmutating set { unsafe base.storeBytes(of: newValue, toByteOffset: 4, as: NodeID.self) }
    }

    private var keysMax: Int { isLeaf ? Self.leafKeysMax : Self.innerKeysMax }

    fileprivate func clear(leaf: Bool) {
        kind = leaf ? 0 : 1
        count = 0
        next = noNode
        fillVacant(from: 0, to: keysMax)
    }

    fileprivate func markFree(next: NodeID) {
        count = 0
        kind = 2
        self.next = next
    }

    // MARK: Keys

    /// Key or separator number `index`.
    subscript(index: Int) -> PriorityKey {
        @inline(__always)
        get {
            assert(0 <= index && index < keysMax, "key out of range")
            let offset = Self.keysOffset + index * 16
            return unsafe PriorityKey(bits: base.load(fromByteOffset: offset, as: UInt128.self))
        }
        @inline(__always)
        nonmutating set {
            assert(0 <= index && index < keysMax, "key out of range")
            let offset = Self.keysOffset + index * 16
            unsafe base.storeBytes(of: newValue.bits, toByteOffset: offset, as: UInt128.self)
        }
    }

    /// How many keys of a leaf are less than `key`.
    @inline(__always)
    func leafRank(of key: PriorityKey) -> Int {
        let bits = key.bits
        let line =
            lessAtLineEnds(0, bits) &+ lessAtLineEnds(4, bits) &+ lessAtLineEnds(8, bits)
            &+ lessAtLineEnds(12, bits)
        return line == 16 ? Self.leafKeysMax : rank(of: bits, inLine: line)
    }

    /// The child of an inner node under which `key` belongs.
    @inline(__always)
    func childIndex(of key: PriorityKey) -> Int {
        let bits = key.successor.bits
        let line =
            lessAtLineEnds(0, bits) &+ lessAtLineEnds(4, bits) &+ lessAtLineEnds(8, bits)
        return line == 12 ? Self.innerKeysMax : rank(of: bits, inLine: line)
    }

    // A search looks at the last key of every cache line first and then into one line. Those loads
    // do not wait for one another, so a cold node costs about one miss, where a binary search waits
    // for four in a row; and there is no branch to guess wrong. Written out, because the compiler
    // turns the same thing as a loop into one branch a key.

    @inline(__always)
    private func lessAtLineEnds(_ line: Int, _ key: UInt128) -> Int {
        less(4 &* line &+ 3, key) &+ less(4 &* line &+ 7, key) &+ less(4 &* line &+ 11, key)
            &+ less(4 &* line &+ 15, key)
    }

    @inline(__always)
    private func rank(of key: UInt128, inLine line: Int) -> Int {
        // Slot 0 is the header: in the first line it counts as less than every key.
        let first = 4 &* line
        let header = line == 0 ? 1 : less(first, key)
        return first &+ header &+ less(first &+ 1, key) &+ less(first &+ 2, key) &- 1
    }

    /// 1 when the key in this slot is less than `key`, else 0.
    @inline(__always)
    private func less(_ slot: Int, _ key: UInt128) -> Int {
        unsafe base.load(fromByteOffset: slot &* 16, as: UInt128.self) < key ? 1 : 0
    }

    /// Puts `key` at `index`, moving the rest up.
    @inline(__always)
    func insert(_ key: PriorityKey, at index: Int) {
        let count = self.count
        assert(index <= count && count < keysMax, "insertion out of range")
        copyKeys(from: self, at: index, count: count - index, to: index + 1)
        self[index] = key
        self.count = count + 1
    }

    /// Takes the key at `index` out, moving the rest down.
    @inline(__always)
    func remove(at index: Int) {
        let count = self.count
        assert(index < count, "removal out of range")
        copyKeys(from: self, at: index + 1, count: count - index - 1, to: index)
        self[count - 1] = .sentinel
        self.count = count - 1
    }

    /// Copies keys within a node (overlap allowed) or from another of the same kind; counts stay.
    @inline(__always)
    func copyKeys(from source: Node, at start: Int, count: Int, to target: Int) {
        assert(count >= 0 && start >= 0 && target >= 0, "negative range")
        assert(start + count <= source.keysMax && target + count <= keysMax, "range too long")
        unsafe (base + Self.keysOffset + target * 16).copyMemory(
            from: source.base + Self.keysOffset + start * 16, byteCount: count * 16)
    }

    /// Fills slots without a key with the sentinel.
    func fillVacant(from start: Int, to end: Int) {
        for index in start..<end { self[index] = .sentinel }
    }

    /// Appends up to `limit` keys from `start` on to `keys`.
    ///
    /// - Returns: How many there were.
    func appendKeys(from start: Int, limit: Int, to keys: inout [PriorityKey]) -> Int {
        let count = min(limit, self.count - start)
        assert(start >= 0 && count >= 0, "range out of order")
        let first = unsafe (base + Self.keysOffset + start * 16).bindMemory(
            to: PriorityKey.self, capacity: count)
        unsafe keys.append(contentsOf: UnsafeBufferPointer(start: first, count: count))
        return count
    }

    // MARK: Children

    /// Child number `index` of an inner node.
    @inline(__always)
    func child(_ index: Int) -> NodeID {
        assert(!isLeaf && 0 <= index && index <= count, "child out of range")
        return unsafe base.load(fromByteOffset: Self.childrenOffset + index * 4, as: NodeID.self)
    }

    @inline(__always)
    func setChild(_ index: Int, to id: NodeID) {
        assert(!isLeaf && 0 <= index && index <= Self.innerKeysMax, "child out of range")
        unsafe base.storeBytes(
            of: id, toByteOffset: Self.childrenOffset + index * 4, as: NodeID.self)
    }

    /// Copies children within a node (overlap allowed) or from another inner node.
    func copyChildren(from source: Node, at start: Int, count: Int, to target: Int) {
        assert(!isLeaf && !source.isLeaf, "a leaf has no children")
        assert(count >= 0 && start >= 0 && target >= 0, "negative range")
        assert(max(start, target) + count <= Self.innerKeysMax + 1, "range too long")
        unsafe (base + Self.childrenOffset + target * 4).copyMemory(
            from: source.base + Self.childrenOffset + start * 4, byteCount: count * 4)
    }
}

extension ContiguousArray where Element: BitwiseCopyable {
    /// Moves one element to another place; those in between move up or down by one.
    ///
    /// One `memmove`, where a loop would check and copy each element.
    mutating func moveElement(from source: Int, to target: Int) {
        precondition(indices.contains(source) && indices.contains(target), "place out of range")
        unsafe withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let element = unsafe base[source]
            if source < target {
                unsafe (base + source).update(from: base + source + 1, count: target - source)
            } else {
                unsafe (base + target + 1).update(from: base + target, count: source - target)
            }
            unsafe base[target] = element
        }
    }
}
