// Reads one snapshot file from front to back, verifying every block before its records are handed
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
    private let key: UInt32
    let fileBytes: Int
    let head: SnapshotHead
    private var layout: SnapshotLayout
    private var block: PageBuffer
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
        let cipher = try FileCipher(header, name, keys)
        let layout = SnapshotLayout(
            headerBytes: Format.snapshotBlockHeaderBytes, unused: 52..<64, cipher: cipher)
        let head = SnapshotHead(
            head: JournalHead(tree), time: header.time, cluster: cluster, blockBytes: header.size)
        try self.init(file, name, head, layout)
    }

    /// Goes on behind a header that was read.
    init(
        _ file: any DiskFile, _ name: String, _ head: SnapshotHead,
        _ layout: consuming SnapshotLayout
    ) throws(JournalError) {
        guard head.blockBytes >= UInt64(Format.blockBytes), head.blockBytes <= 1 << 26,
            head.blockBytes % UInt64(Format.blockBytes) == 0
        else { throw .dataLoss(file: name, offset: 48, what: "no such block size is made") }
        let fileBytes = try TriageJournal.disk { () throws(IOError) in try file.size() }
        var block = PageBuffer(capacity: Int(head.blockBytes))
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
        self.layout = layout
        key = Format.key(head.cluster)
        digest.update(block.sha256(0..<Format.blockBytes))
        self.block = block
    }

    /// Reads everything, handing out records as their blocks verify.
    ///
    /// - Throws: `.dataLoss` at the first byte range that does not verify (records before it were
    ///   handed out); `.rejected`; `.io`.
    mutating func read<Visitor: SnapshotVisitor & ~Copyable>(
        into visitor: inout Visitor
    ) throws(JournalError) -> SnapshotInfo {
        var offset = Format.blockBytes
        var index: UInt32 = 0
        var records: UInt64 = 0
        while true {
            let stored = try load(offset)
            let head = try verify(stored, offset, index)
            if head.kind == 1 { digest.update(block.sha256(0..<stored)) }
            try decrypt(head, offset)
            guard head.kind == 1 else {
                try checkTrailer(stored, head.body, offset, index, records)
                return SnapshotInfo(
                    file: name, head: self.head.head, time: self.head.time, bytes: fileBytes,
                    records: records)
            }
            try Self.visit(
                block.span(layout.headerBytes..<stored), head, name, offset + layout.headerBytes,
                &visitor)
            count(head)
            records += UInt64(head.records)
            offset += stored
            index += 1
        }
    }

    /// What a block's header says.
    private struct BlockHead {
        let body: Int
        let records: UInt32
        let section: UInt16
        let kind: UInt8
    }

    /// Reads the block at `offset`, and returns its length.
    private mutating func load(_ offset: Int) throws(JournalError) -> Int {
        let ahead = min(Int(head.blockBytes), fileBytes - offset)
        guard ahead >= Format.blockBytes else {
            throw .dataLoss(file: name, offset: fileBytes, what: "the file ends without a trailer")
        }
        try fill(0..<ahead, at: offset)
        let stored = Int(block.span(0..<Format.blockBytes).loadUInt32(at: 4))
        let largest = max(
            Int(head.blockBytes),
            roundUp(
                layout.headerBytes + 4 + Limits.recordBytesMax, to: Format.blockBytes))
        guard stored >= Format.blockBytes, stored % Format.blockBytes == 0, stored <= largest,
            stored <= fileBytes - offset
        else { throw .dataLoss(file: name, offset: offset + 4, what: "a block's length is wrong") }
        if stored > ahead {
            block.grow(to: stored, keeping: ahead)
            try fill(ahead..<stored, at: offset + ahead)
        }
        return stored
    }

    private mutating func fill(_ range: Range<Int>, at offset: Int) throws(JournalError) {
        let count: Int
        do { count = try file.read(into: &block, range, at: offset) } catch { throw .io(error) }
        guard count == range.count else {
            throw .dataLoss(
                file: name, offset: offset + count, what: "the file ends here while it is read")
        }
    }

    private func verify(
        _ stored: Int, _ offset: Int, _ index: UInt32
    ) throws(JournalError) -> BlockHead {
        let bytes = block.span(0..<stored)
        guard bytes.loadUInt32(at: 0) == crc32c(bytes.extracting(4..<stored), after: key) else {
            throw .dataLoss(file: name, offset: offset, what: "a block's checksum is wrong")
        }
        let body = Int(bytes.loadUInt32(at: 8))
        guard body <= stored - layout.headerBytes, bytes.loadUInt32(at: 20) == index,
            bytes[18] == 0, bytes[19] == 1 || bytes[19] == 2,
            bytes.extracting(layout.headerBytes + body..<stored).isZero,
            bytes.extracting(layout.unused).isZero
        else { throw .dataLoss(file: name, offset: offset, what: "a block's header is wrong") }
        return BlockHead(
            body: body, records: bytes.loadUInt32(at: 12),
            section: UInt16(truncatingIfNeeded: bytes.loadUInt32(at: 16)), kind: bytes[19])
    }

    private mutating func decrypt(_ head: BlockHead, _ offset: Int) throws(JournalError) {
        let isPlain = layout.cipher == nil
        if isPlain { return }
        let start = layout.headerBytes
        let nonce = block.span(0..<start).loadNonce(at: 24)
        let tag = block.span(0..<start).loadTag(at: 36)
        let isOpen = layout.cipher?.open(
            &block, start..<start + head.body, header: Format.snapshotAdditional, nonce: nonce,
            tag: tag)
        guard isOpen == true else {
            throw .dataLoss(
                file: name, offset: offset,
                what: "a block was not encrypted so by this directory's key")
        }
    }

    private static func visit<Visitor: SnapshotVisitor & ~Copyable>(
        _ body: Span<UInt8>, _ head: BlockHead, _ name: String, _ offset: Int,
        _ visitor: inout Visitor
    ) throws(JournalError) {
        let end = head.body
        var position = 0
        for _ in 0..<head.records {
            guard position <= end - 4, case let length = Int(body.loadUInt32(at: position)),
                length <= Limits.recordBytesMax, length <= end - position - 4
            else {
                throw .dataLoss(
                    file: name, offset: offset + position, what: "a record's length is wrong")
            }
            do {
                try visitor.snapshotRecord(
                    section: head.section, body.extracting(position + 4..<position + 4 + length))
            } catch {
                throw .rejected(file: name, offset: offset + position, what: error.what)
            }
            position += 4 + length
        }
        guard position == end, head.records > 0 else {
            throw .dataLoss(file: name, offset: offset, what: "a block's count is wrong")
        }
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

    private func checkTrailer(
        _ stored: Int, _ body: Int, _ offset: Int, _ blocks: UInt32, _ records: UInt64
    ) throws(JournalError) {
        let bytes = block.span(0..<stored)
        let start = layout.headerBytes
        guard stored == Format.blockBytes, body == 64 + 24 * sections.count,
            bytes.loadUInt64(at: start) == UInt64(blocks),
            bytes.loadUInt64(at: start + 8) == records,
            bytes.loadUInt64(at: start + 16) == UInt64(fileBytes),
            offset + stored == fileBytes,
            bytes.loadUInt64(at: start + 24) == UInt64(sections.count)
        else { throw .dataLoss(file: name, offset: offset, what: "the trailer's counts are wrong") }
        guard bytes.loadDigest(at: start + 32) == digest.finalize() else {
            throw .dataLoss(file: name, offset: offset + start + 32, what: "the digest is wrong")
        }
        for (index, counts) in sections.enumerated() {
            let position = start + 64 + 24 * index
            guard bytes.loadUInt64(at: position) == UInt64(counts.section),
                bytes.loadUInt64(at: position + 8) == counts.blocks,
                bytes.loadUInt64(at: position + 16) == counts.records
            else {
                throw .dataLoss(
                    file: name, offset: offset + position, what: "a section's counts are wrong")
            }
        }
    }
}
