// Makes one snapshot file: blocks of records under a temporary name, past the page cache, at a
// bounded pace, renamed when durable. Knows nothing of what a section or a record means.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A snapshot that is in the directory under its final name.
package struct SnapshotInfo: Equatable, Sendable {
    /// File name in the data directory.
    package let file: String
    /// The state is that after this head.
    package let head: JournalHead
    /// Wall time of the state.
    package let time: WallTime
    /// Bytes of the file.
    package let bytes: Int
    /// Records in all sections.
    package let records: UInt64
}

/// Counts of one section.
package struct SnapshotSection: Equatable, Sendable {
    /// The section's number.
    package let section: UInt16
    /// Data blocks.
    package internal(set) var blocks: UInt64
    /// Records.
    package internal(set) var records: UInt64
}

/// Makes a snapshot.
///
/// A writer that is dropped before ``finish()`` leaves a temporary file, which ``abandon()`` or the
/// next start removes.
///
/// - Isolation: one thread at a time; any.
package final class SnapshotWriter {
    private let disk: any Disk
    private let directory: String
    private let name: String
    private let tree: MerkleTree
    private let time: WallTime
    private let key: UInt32
    private let blockBytes: Int
    private let file: any DiskFile
    private let blocks: BlocksBehind
    private var pacer: Pacer
    private var cipher: FileCipher
    private var random: RandomBytes

    private var block: PageBuffer
    private var used = Format.snapshotBlockHeaderBytes
    private var blockRecords: UInt32 = 0
    private var section: UInt16 = 0
    private var blockIndex: UInt32 = 0
    private var offset = Format.blockBytes
    private var records: UInt64 = 0
    private var sections: [SnapshotSection] = []
    private var digest = SHA256()
    private var failure: JournalError?

    private var temporaryPath: String { directory + "/" + name + ".tmp" }

    init(
        _ disk: any Disk, directory: String, cluster: ClusterID, tree: MerkleTree, time: WallTime,
        options: StorageOptions, keys: KeyRing?
    ) throws(JournalError) {
        self.disk = disk
        self.directory = directory
        name = FileName.snapshot(tree.size)
        self.tree = tree
        self.time = time
        key = Format.key(cluster)
        blockBytes = options.snapshotBlockBytes
        pacer = Pacer(disk, bytesPerSecond: options.snapshotBytesPerSecond)
        var random = options.makeRandom()
        var header = HeaderBlock(
            kind: .snapshot, cluster: cluster, sequence: tree.size, time: time,
            size: UInt64(options.snapshotBlockBytes), tree: tree)
        cipher = try FileCipher(making: &header, keys, &random)
        self.random = random
        let path = directory + "/" + FileName.snapshot(tree.size) + ".tmp"
        let file = try TriageJournal.disk { () throws(IOError) in
            try disk.open(path, .createDirect)
        }
        self.file = file
        blocks = BlocksBehind(
            file, blockBytes: options.snapshotBlockBytes, workers: options.workers)
        var block = PageBuffer(capacity: options.snapshotBlockBytes)
        header.store(in: &block)
        digest.update(block.sha256(0..<Format.blockBytes))
        do { try file.write(block, 0..<Format.blockBytes, at: 0) } catch {
            // Left behind, it is removed at the next start.
            try? disk.remove(path)
            throw .io(error)
        }
        block.zero(0..<Format.blockBytes)
        self.block = block
    }

    /// Adds one record to a section.
    ///
    /// Records of one section are best added one after the other: a change of section ends a block.
    ///
    /// - Throws: `.recordTooLarge`: the snapshot is as before; `.io`, of this record's block or of
    ///   one before: final for this writer.
    package func append(section: UInt16, _ record: Span<UInt8>) throws(JournalError) {
        if let failure { throw failure }
        guard record.count <= Limits.recordBytesMax else {
            throw .recordTooLarge(bytes: record.count)
        }
        let needed = 4 + record.count
        if blockRecords > 0, section != self.section || used + needed > blockBytes {
            try writeBlock()
        }
        self.section = section
        // A record that is too long for an ordinary block gets one of its own.
        if used + needed > block.capacity { block.grow(to: used + needed, keeping: used) }
        block.store(UInt32(truncatingIfNeeded: record.count), at: used)
        block.copy(record, to: used + 4)
        used += needed
        blockRecords += 1
    }

    /// Writes what is left, the trailer, and gives the file its final name.
    ///
    /// The records up to the snapshot's sequence must be durable in the journal by now: a snapshot
    /// ahead of its journal is refused at the next start.
    ///
    /// - Throws: `.io`; the temporary file is removed.
    /// - Durability: on disk when this returns
    package func finish() throws(JournalError) -> SnapshotInfo {
        if let failure { throw failure }
        if blockRecords > 0 { try writeBlock() }
        let bytes = offset + Format.blockBytes
        storeTrailer(bytes)
        let path = directory + "/" + name
        do {
            try blocks.finish()
            try file.write(block, 0..<Format.blockBytes, at: offset)
            try file.sync()
            try disk.rename(temporaryPath, to: path)
            try disk.syncDirectory(directory)
        } catch {
            throw fail(error)
        }
        // A writer is used up once the file has its name.
        failure = .io(IOError(.write, path: path, .invalidArgument))
        return SnapshotInfo(
            file: name, head: JournalHead(tree), time: time, bytes: bytes, records: records)
    }

    /// Gives up: removes the temporary file.
    package func abandon() {
        guard failure == nil else { return }
        _ = fail(IOError(.write, path: temporaryPath, .interrupted))
    }

    private func fail(_ error: IOError) -> JournalError {
        failure = .io(error)
        // What was handed over is written to the end, for nothing.
        try? blocks.finish()
        // Left behind, it is removed at the next start.
        try? disk.remove(temporaryPath)
        return .io(error)
    }

    private func writeBlock() throws(JournalError) {
        guard blockIndex < Format.messagesMax - 1 else { throw .recordTooLarge(bytes: offset) }
        let stored = roundUp(used, to: Format.blockBytes)
        sealBlock(stored: stored, kind: 1)
        digest.update(block.sha256(0..<stored))
        count()
        do { try blocks.write(&block, stored, at: offset) } catch { throw fail(error) }
        pacer.wrote(stored)
        offset += stored
        blockIndex += 1
        used = Format.snapshotBlockHeaderBytes
        blockRecords = 0
    }

    private func count() {
        records += UInt64(blockRecords)
        let index = sections.firstIndex { $0.section >= section } ?? sections.count
        if index == sections.count || sections[index].section != section {
            invariant(sections.count < Format.sectionsMax, "a snapshot has few sections")
            sections.insert(SnapshotSection(section: section, blocks: 0, records: 0), at: index)
        }
        sections[index].blocks += 1
        sections[index].records += UInt64(blockRecords)
    }

    /// Zeroes the padding, fills in the block's header, encrypts the body, and sums all of it.
    private func sealBlock(stored: Int, kind: UInt32) {
        let body = Format.snapshotBlockHeaderBytes..<used
        block.zero(used..<stored)
        block.zero(0..<body.lowerBound)
        block.store(UInt32(stored), at: 4)
        block.store(UInt32(body.count), at: 8)
        block.store(blockRecords, at: 12)
        block.store(UInt32(section) | kind << 24, at: 16)
        block.store(blockIndex, at: 20)
        let (nonce, tag) = cipher.seal(
            &block, body, header: Format.snapshotAdditional, random: &random)
        block.store(nonce, at: 24)
        block.store(tag, at: 36)
        block.store(crc32c(block.span(4..<stored), after: key), at: 0)
    }

    private func storeTrailer(_ bytes: Int) {
        var hash = SHA256()
        swap(&hash, &digest)
        let start = Format.snapshotBlockHeaderBytes
        section = 0
        block.store(UInt64(blockIndex), at: start)
        block.store(records, at: start + 8)
        block.store(UInt64(bytes), at: start + 16)
        block.store(UInt64(sections.count), at: start + 24)
        block.store(hash.finalize(), at: start + 32)
        for (index, counts) in sections.enumerated() {
            let position = start + 64 + 24 * index
            block.store(UInt64(counts.section), at: position)
            block.store(counts.blocks, at: position + 8)
            block.store(counts.records, at: position + 16)
        }
        used = start + 64 + 24 * sections.count
        sealBlock(stored: Format.blockBytes, kind: 2)
    }
}
