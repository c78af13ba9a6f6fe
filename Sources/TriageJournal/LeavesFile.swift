// The leaf hashes of a complete segment in a file of their own (FORMAT.md §8): written once, kept
// when the segment goes. Knows nothing of proofs.

internal import TriageBase
internal import TriageIO

/// Writes the leaves of segments.
final class LeavesWriter: Sendable {
    private let disk: any Disk
    private let directory: String
    private let cluster: ClusterID
    private let bytesPerSecond: Int?
    private let housekeeping: Housekeeping

    private static let blocksAtOnce = 64

    init(
        _ disk: any Disk, directory: String, cluster: ClusterID, bytesPerSecond: Int?,
        _ housekeeping: Housekeeping
    ) {
        self.disk = disk
        self.housekeeping = housekeeping
        self.directory = directory
        self.cluster = cluster
        self.bytesPerSecond = bytesPerSecond
    }

    /// Writes the leaves that follow `tree`; an error is counted, and the next tidying or start
    /// makes them.
    func write(_ leaves: [Digest], after tree: MerkleTree, time: WallTime) {
        do throws(IOError) { try make(leaves, after: tree, time: time) } catch {
            housekeeping.leavesFailed(tree.size + 1, error)
        }
    }

    /// Writes the leaves that follow `tree`.
    ///
    /// - Durability: on disk when this returns
    func make(_ leaves: [Digest], after tree: MerkleTree, time: WallTime) throws(IOError) {
        let first = tree.size + 1
        let path = directory + "/" + FileName.leaves(first)
        let blocks = (leaves.count + Format.leavesPerBlock - 1) / Format.leavesPerBlock
        var buffer = PageBuffer(capacity: Self.blocksAtOnce * Format.blockBytes)
        HeaderBlock(
            kind: .leaves, cluster: cluster, sequence: first, time: time,
            size: UInt64((1 + blocks) * Format.blockBytes), tree: tree
        ).store(in: &buffer)
        let file = try disk.open(path + ".tmp", .createDirect)
        var pacer = Pacer(disk, bytesPerSecond: bytesPerSecond)
        var offset = 0
        var used = Format.blockBytes
        for block in 0..<blocks {
            store(leaves, block, first, in: &buffer, at: used)
            used += Format.blockBytes
            guard used == buffer.capacity || block == blocks - 1 else { continue }
            try file.write(buffer, 0..<used, at: offset)
            pacer.wrote(used)
            offset += used
            used = 0
        }
        try file.sync()
        try disk.rename(path + ".tmp", to: path)
        try disk.syncDirectory(directory)
    }

    private func store(
        _ leaves: [Digest], _ block: Int, _ first: UInt64, in buffer: inout PageBuffer,
        at offset: Int
    ) {
        let start = block * Format.leavesPerBlock
        let count = min(Format.leavesPerBlock, leaves.count - start)
        buffer.zero(offset..<offset + Format.blockBytes)
        buffer.store(UInt32(count), at: offset + 4)
        buffer.store(first + UInt64(start), at: offset + 8)
        for index in 0..<count {
            buffer.store(
                leaves[start + index], at: offset + Format.leavesHeaderBytes + 32 * index)
        }
        buffer.store(
            crc32c(
                buffer.span(offset + 4..<offset + Format.blockBytes), after: Format.key(cluster)),
            at: offset)
    }
}

/// The leaves of a segment as they were read.
struct LeavesFile {
    let header: HeaderBlock
    /// Where the tree stands before the first of them.
    let before: MerkleTree
    let leaves: [Digest]

    /// The sequence of the last of them.
    var last: UInt64 { header.sequence + UInt64(leaves.count) - 1 }

    /// Where in the file a leaf stands.
    static func offset(of index: Int) -> Int {
        Format.blockBytes * (1 + index / Format.leavesPerBlock) + Format.leavesHeaderBytes
            + 32 * (index % Format.leavesPerBlock)
    }

    /// Reads the header alone, and compares the file's length with it.
    ///
    /// - Throws: `.dataLoss`, `.foreignCluster`, `.newerVersion`, `.olderVersion`, `.io`.
    static func header(
        _ disk: any Disk, _ directory: String, _ first: UInt64, _ cluster: ClusterID
    ) throws(JournalError) -> (header: HeaderBlock, tree: MerkleTree, file: any DiskFile) {
        let name = FileName.leaves(first)
        let path = directory + "/" + name
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try readHeader(of: file, .leaves, name, cluster)
        guard header.sequence == first, let tree = header.tree else {
            throw .dataLoss(file: name, offset: 32, what: "its name and its header differ")
        }
        let size = try TriageJournal.disk { () throws(IOError) in try file.size() }
        guard header.size == UInt64(size), size % Format.blockBytes == 0,
            size >= 2 * Format.blockBytes
        else {
            throw .dataLoss(
                file: name, offset: min(size, Int(clamping: header.size)),
                what: "the file has \(size) bytes, its header says \(header.size)")
        }
        return (header, tree, file)
    }

    /// Reads and checks everything.
    ///
    /// - Throws: `.dataLoss`, `.foreignCluster`, `.newerVersion`, `.olderVersion`, `.io`.
    init(
        _ disk: any Disk, _ directory: String, _ first: UInt64, _ cluster: ClusterID
    ) throws(JournalError) {
        let file: any DiskFile
        (header, before, file) = try Self.header(disk, directory, first, cluster)
        let name = FileName.leaves(first)
        let blocks = Int(header.size) / Format.blockBytes - 1
        var block = PageBuffer(capacity: Format.blockBytes)
        var leaves: [Digest] = []
        leaves.reserveCapacity(blocks * Format.leavesPerBlock)
        for index in 0..<blocks {
            let offset = (1 + index) * Format.blockBytes
            let count: Int
            do { count = try file.read(into: &block, 0..<Format.blockBytes, at: offset) } catch {
                throw .io(error)
            }
            guard count == Format.blockBytes else {
                throw .dataLoss(
                    file: name, offset: offset + count, what: "the file ends here while it is read")
            }
            guard
                Self.append(
                    block.span(0..<Format.blockBytes), Format.key(cluster), first,
                    isLast: index == blocks - 1, to: &leaves)
            else {
                throw .dataLoss(file: name, offset: offset, what: "a block does not verify")
            }
        }
        self.leaves = leaves
    }

    /// Adds a block's leaves; false when it does not verify.
    private static func append(
        _ block: Span<UInt8>, _ key: UInt32, _ first: UInt64, isLast: Bool,
        to leaves: inout [Digest]
    ) -> Bool {
        let count = Int(block.loadUInt32(at: 4))
        guard
            block.loadUInt32(at: 0)
                == crc32c(block.extracting(4..<Format.blockBytes), after: key),
            isLast ? (1...Format.leavesPerBlock).contains(count) : count == Format.leavesPerBlock,
            block.loadUInt64(at: 8) == first + UInt64(leaves.count),
            block.extracting(16..<Format.leavesHeaderBytes).isZero,
            block.extracting(Format.leavesHeaderBytes + 32 * count..<Format.blockBytes).isZero
        else { return false }
        for index in 0..<count {
            leaves.append(block.loadDigest(at: Format.leavesHeaderBytes + 32 * index))
        }
        return true
    }
}
