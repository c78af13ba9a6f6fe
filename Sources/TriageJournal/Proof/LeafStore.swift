// The digests of a whole journal as they lie in its directory: leaves of complete segments, the
// segment that is being written, and the frontiers in all headers. Where proofs come from; verifies
// nothing but what it reads, because a proof is checked before it is handed out.

internal import TriageBase
internal import TriageIO

/// The leaves of a journal, read as they are needed.
struct LeafStore: SubtreeSource {
    private struct Part {
        let place: JournalPart
        /// The tree before its first leaf.
        let before: MerkleTree
    }

    private let disk: any Disk
    private let directory: String
    private let reader: SegmentReader
    private let parts: [Part]
    /// The leaves of the last part, which has no file of leaves yet.
    private let last: [Digest]
    /// The leaves of the part that was needed last.
    private var held: (index: Int, leaves: [Digest])?

    /// Leaves that are there.
    let size: UInt64

    /// Reads the headers, and the leaves of the last part.
    ///
    /// - Parameters:
    ///   - disk: The file system.
    ///   - directory: Where leaves are.
    ///   - parts: The journal's, in order.
    ///   - reader: Reads segments.
    /// - Throws: `.dataLoss`, `.gap`, `.foreignCluster`, `.io`.
    init(
        _ disk: any Disk, _ directory: String, _ parts: [JournalPart], _ reader: SegmentReader
    ) throws(JournalError) {
        self.disk = disk
        self.directory = directory
        self.reader = reader
        var list: [Part] = []
        for part in parts {
            let before = try Self.tree(before: part, disk, directory, reader)
            if let previous = list.last, before.size <= previous.before.size {
                throw .dataLoss(
                    file: part.file, offset: 32, what: "its records are in the file before it too")
            }
            list.append(Part(place: part, before: before))
        }
        self.parts = list
        guard let newest = list.last else {
            last = []
            size = 0
            return
        }
        last = try Self.leaves(of: newest.place, disk, directory, reader)
        size = newest.before.size + UInt64(last.count)
    }

    private static func tree(
        before part: JournalPart, _ disk: any Disk, _ directory: String, _ reader: SegmentReader
    ) throws(JournalError) -> MerkleTree {
        if part.hasLeaves {
            return try LeavesFile.header(disk, directory, part.first, reader.cluster).tree
        }
        let path = (part.directory ?? directory) + "/" + part.file
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        guard let tree = try reader.header(of: file, part.file, part.first).tree else {
            throw .dataLoss(file: part.file, offset: 64, what: "it has no root")
        }
        return tree
    }

    private static func leaves(
        of part: JournalPart, _ disk: any Disk, _ directory: String, _ reader: SegmentReader
    ) throws(JournalError) -> [Digest] {
        if part.hasLeaves {
            return try LeavesFile(disk, directory, part.first, reader.cluster).leaves
        }
        var scanner = SegmentScanner()
        var none = NoTarget()
        let segment = try reader.read(
            part.first, in: part.directory ?? directory, isLast: part.isLast,
            memory: PageBuffer(capacity: Format.blockBytes))
        try scanner.scan(segment, into: &none)
        return scanner.leaves
    }

    mutating func subtree(level: Int, index: UInt64) throws(JournalError) -> Digest {
        let start = index << UInt64(level)
        let end = start + 1 << UInt64(level)
        precondition(end <= size)
        if let known = frontier(level, end) { return known }
        let (part, partEnd) = try part(of: start)
        guard level > 0, end > partEnd else {
            return try hash(part, start..<end)
        }
        return MerkleTree.node(
            try subtree(level: level - 1, index: 2 * index),
            try subtree(level: level - 1, index: 2 * index + 1))
    }

    /// The root of a subtree that ends at `end`, if a header has it.
    ///
    /// A tree of n leaves has it in its frontier while its sibling to the right is not complete.
    private func frontier(_ level: Int, _ end: UInt64) -> Digest? {
        let place = parts.partitioningIndex { $0.before.size >= end }
        guard place < parts.count else { return nil }
        let tree = parts[place].before
        return tree.size - end < 1 << UInt64(level) ? tree.subtree(level: level) : nil
    }

    /// The part that has a leaf, and where that part ends.
    private func part(of leaf: UInt64) throws(JournalError) -> (index: Int, end: UInt64) {
        let next = parts.partitioningIndex { $0.before.size > leaf }
        guard next > 0 else {
            throw .gap(file: parts.first?.place.file ?? FileName.segment(1), missing: leaf + 1)
        }
        return (next - 1, next < parts.count ? parts[next].before.size : size)
    }

    /// The root of leaves of one part.
    private mutating func hash(
        _ part: Int, _ range: Range<UInt64>
    ) throws(JournalError) -> Digest {
        let leaves = try leaves(of: part)
        let before = parts[part].before.size
        let places = Int(range.lowerBound - before)..<Int(range.upperBound - before)
        guard places.upperBound <= leaves.count else {
            let file = part + 1 < parts.count ? parts[part + 1].place.file : parts[part].place.file
            throw .gap(file: file, missing: before + UInt64(leaves.count) + 1)
        }
        if places.count == 1 { return leaves[places.lowerBound] }
        var tree = MerkleTree()
        var scratch: [Digest] = []
        tree.append(Array(leaves[places]), scratch: &scratch)
        return tree.root
    }

    private mutating func leaves(of part: Int) throws(JournalError) -> [Digest] {
        if part == parts.count - 1 { return last }
        if let held, held.index == part { return held.leaves }
        let leaves = try Self.leaves(of: parts[part].place, disk, directory, reader)
        held = (part, leaves)
        return leaves
    }
}

extension Array {
    /// The first place from which on `belongs` is true; it must be false before and true behind it.
    fileprivate func partitioningIndex(_ belongs: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
