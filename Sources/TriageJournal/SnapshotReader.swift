// Reads one snapshot file from front to back: every block verifies before its records are handed
// out, and the whole at the end. Decides nothing about which snapshot to use.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// Takes the records of a snapshot, in the order in which they were written.
package protocol SnapshotVisitor: ~Copyable {
    /// Takes one record.
    ///
    /// - Throws: ``RecordRejection`` when the record makes no sense to it.
    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) throws(RecordRejection)
}

/// What differs between snapshots of different versions.
struct SnapshotLayout: ~Copyable {
    /// Bytes of a block's header.
    let headerBytes: Int
    /// Where it holds nothing.
    let unused: Range<Int>
    /// What decrypts bodies; nil in a version without encryption.
    var cipher: FileCipher?
}

/// What a snapshot's header says, in any version.
struct SnapshotHead {
    let head: JournalHead
    let time: WallTime
    let cluster: ClusterID
    /// Bytes of the largest ordinary block.
    let blockBytes: UInt64
}

/// Reads a snapshot.
struct SnapshotReader: ~Copyable {
    private let file: any DiskFile
    private let name: String
    let fileBytes: Int
    let head: SnapshotHead
    /// Makes what one thread reads blocks with.
    private let makeLayout: @Sendable () throws(JournalError) -> SnapshotLayout
    private var digest = SHA256()
    private(set) var sections: [SnapshotSection] = []

    /// Opens a snapshot of the current version and reads its header.
    ///
    /// - Throws: `.dataLoss`, `.foreignCluster`, `.newerVersion`, `.olderVersion`, `.crypto`,
    ///   `.io`.
    init(
        _ disk: any Disk, directory: String, sequence: UInt64, cluster: ClusterID, keys: KeyRing?
    ) throws(JournalError) {
        let name = FileName.snapshot(sequence)
        let path = directory + "/" + name
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try readHeader(of: file, .snapshot, name, cluster)
        guard header.sequence == sequence, let tree = header.tree else {
            throw .dataLoss(file: name, offset: 32, what: "its name and its header differ")
        }
        let head = SnapshotHead(
            head: JournalHead(tree), time: header.time, cluster: cluster, blockBytes: header.size)
        try self.init(file, name, head) { () throws(JournalError) in
            SnapshotLayout(
                headerBytes: Format.snapshotBlockHeaderBytes, unused: 52..<64,
                cipher: try FileCipher(header, name, keys))
        }
    }

    /// Goes on behind a header that was read.
    init(
        _ file: any DiskFile, _ name: String, _ head: SnapshotHead,
        _ makeLayout: @escaping @Sendable () throws(JournalError) -> SnapshotLayout
    ) throws(JournalError) {
        _ = try makeLayout()
        guard head.blockBytes >= UInt64(Format.blockBytes), head.blockBytes <= 1 << 26,
            head.blockBytes % UInt64(Format.blockBytes) == 0
        else { throw .dataLoss(file: name, offset: 48, what: "no such block size is made") }
        let fileBytes = try TriageJournal.disk { () throws(IOError) in try file.size() }
        var block = PageBuffer(capacity: Format.blockBytes)
        let count: Int
        do { count = try file.read(into: &block, 0..<Format.blockBytes, at: 0) } catch {
            throw .io(error)
        }
        guard count == Format.blockBytes else {
            throw .dataLoss(file: name, offset: count, what: "the file ends in its header")
        }
        self.name = name
        self.file = file
        self.fileBytes = fileBytes
        self.head = head
        self.makeLayout = makeLayout
        digest.update(block.sha256(0..<Format.blockBytes))
    }

    /// Reads everything, handing out records as their blocks verify.
    ///
    /// - Parameters:
    ///   - visitor: Takes the records.
    ///   - threads: How many check blocks ahead; 0: none.
    /// - Returns: What the file is.
    /// - Throws: `.dataLoss` at the first byte range that does not verify (records before it were
    ///   handed out); `.rejected`; `.io`.
    mutating func read<Visitor: SnapshotVisitor & ~Copyable>(
        into visitor: inout Visitor, threads: HelperThreads
    ) throws(JournalError) -> SnapshotInfo {
        try read(threads: threads, NoDecoder.init) { (block) throws(JournalError) in
            try block.visit(&visitor)
        }
    }

    /// Reads everything, handing out what each block's records were decoded to, in order.
    ///
    /// - Throws: As above, and what `take` throws.
    mutating func read<Decoder: RecordDecoder>(
        threads: HelperThreads, _ makeDecoder: @escaping @Sendable () -> Decoder,
        _ take: (SnapshotBlock<Decoder>) throws(JournalError) -> Void
    ) throws(JournalError) -> SnapshotInfo {
        let blocks = try SnapshotBlocks(
            file, name, head, fileBytes: fileBytes, threads: threads, makeLayout: makeLayout,
            makeDecoder: makeDecoder)
        var records: UInt64 = 0
        while let block = blocks.take() {
            let trailer = try block.check()
            if let trailer {
                try check(trailer, block, records)
                return SnapshotInfo(
                    file: name, head: head.head, time: head.time, bytes: fileBytes,
                    records: records)
            }
            digest.update(block.digest)
            try take(block)
            count(block.head)
            records += UInt64(block.head.records)
            blocks.giveBack(block)
        }
        throw .dataLoss(file: name, offset: fileBytes, what: "the file ends without a trailer")
    }

    private mutating func count(_ head: BlockHead) {
        let index = sections.firstIndex { $0.section >= head.section } ?? sections.count
        if index == sections.count || sections[index].section != head.section {
            sections.insert(
                SnapshotSection(section: head.section, blocks: 0, records: 0), at: index)
        }
        sections[index].blocks += 1
        sections[index].records += UInt64(head.records)
    }

    private func check<Decoder>(
        _ trailer: SnapshotTrailer, _ block: SnapshotBlock<Decoder>, _ records: UInt64
    ) throws(JournalError) {
        let body = trailer.body
        guard block.stored == Format.blockBytes, body.count == 64 + 24 * sections.count,
            body.span.loadUInt64(at: 0) == UInt64(block.index),
            body.span.loadUInt64(at: 8) == records,
            body.span.loadUInt64(at: 16) == UInt64(fileBytes),
            block.offset + block.stored == fileBytes,
            body.span.loadUInt64(at: 24) == UInt64(sections.count)
        else {
            throw .dataLoss(
                file: name, offset: block.offset, what: "the trailer's counts are wrong")
        }
        guard body.span.loadDigest(at: 32) == digest.finalize() else {
            throw .dataLoss(file: name, offset: trailer.offset + 32, what: "the digest is wrong")
        }
        for (index, counts) in sections.enumerated() {
            let position = 64 + 24 * index
            guard body.span.loadUInt64(at: position) == UInt64(counts.section),
                body.span.loadUInt64(at: position + 8) == counts.blocks,
                body.span.loadUInt64(at: position + 16) == counts.records
            else {
                throw .dataLoss(
                    file: name, offset: trailer.offset + position,
                    what: "a section's counts are wrong")
            }
        }
    }
}
