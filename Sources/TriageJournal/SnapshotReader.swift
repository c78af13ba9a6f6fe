// Reads one snapshot file from front to back, verifying every block before its records are handed
// out, and the whole at the end. Decides nothing about which snapshot to use.

internal import TriageBase
internal import TriageIO

/// Takes the records of a snapshot, in the order in which they were written.
package protocol SnapshotVisitor: ~Copyable {
    /// Takes one record.
    ///
    /// - Throws: ``RecordRejection`` when the record makes no sense to it.
    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) throws(RecordRejection)
}

/// Reads a snapshot.
struct SnapshotReader: ~Copyable {
    private let file: any DiskFile
    private let name: String
    private let key: UInt32
    let fileBytes: Int
    let header: HeaderBlock
    private var block: PageBuffer
    private var digest = SHA256()
    private(set) var sections: [SnapshotSection] = []

    /// Opens a snapshot and reads its header; whose it is matters only if `cluster` is given.
    init(
        _ disk: any Disk, directory: String, sequence: UInt64, cluster: ClusterID?
    ) throws(JournalError) {
        let name = FileName.snapshot(sequence)
        let path = directory + "/" + name
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let fileBytes = try TriageJournal.disk { () throws(IOError) in try file.size() }
        let header = try readHeader(of: file, .snapshot, name, cluster)
        guard header.sequence == sequence else {
            throw .dataLoss(file: name, offset: 32, what: "its name and its header differ")
        }
        guard header.size >= UInt64(Format.blockBytes), header.size <= 1 << 26,
            header.size % UInt64(Format.blockBytes) == 0
        else { throw .dataLoss(file: name, offset: 48, what: "no such block size is made") }
        self.name = name
        self.file = file
        self.fileBytes = fileBytes
        self.header = header
        key = Format.key(header.cluster)
        block = PageBuffer(capacity: Int(header.size))
        // The header verified, so writing it again gives the bytes that the digest begins with.
        header.store(in: &block)
        digest.update(block.sha256(0..<Format.blockBytes))
    }

    var head: JournalHead { JournalHead(sequence: header.sequence, chain: header.chain) }

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
            guard head.kind == 1 else {
                try checkTrailer(stored, head.body, offset, index, records)
                return SnapshotInfo(
                    file: name, head: self.head, time: header.time, bytes: fileBytes,
                    records: records)
            }
            digest.update(block.sha256(0..<stored))
            try Self.visit(block.span(0..<stored), head, name, offset, &visitor)
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
        let ahead = min(Int(header.size), fileBytes - offset)
        guard ahead >= Format.blockBytes else {
            throw .dataLoss(file: name, offset: fileBytes, what: "the file ends without a trailer")
        }
        try fill(0..<ahead, at: offset)
        let stored = Int(block.span(0..<Format.blockBytes).loadUInt32(at: 4))
        let largest = max(
            Int(header.size),
            roundUp(
                Format.snapshotBlockHeaderBytes + 4 + Limits.recordBytesMax, to: Format.blockBytes))
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
        guard body <= stored - Format.snapshotBlockHeaderBytes, bytes.loadUInt32(at: 20) == index,
            bytes[18] == 0, bytes[19] == 1 || bytes[19] == 2,
            bytes.extracting(Format.snapshotBlockHeaderBytes + body..<stored).isZero,
            bytes.extracting(24..<32).isZero
        else { throw .dataLoss(file: name, offset: offset, what: "a block's header is wrong") }
        return BlockHead(
            body: body, records: bytes.loadUInt32(at: 12),
            section: UInt16(truncatingIfNeeded: bytes.loadUInt32(at: 16)), kind: bytes[19])
    }

    private static func visit<Visitor: SnapshotVisitor & ~Copyable>(
        _ bytes: Span<UInt8>, _ head: BlockHead, _ name: String, _ offset: Int,
        _ visitor: inout Visitor
    ) throws(JournalError) {
        let end = Format.snapshotBlockHeaderBytes + head.body
        var position = Format.snapshotBlockHeaderBytes
        for _ in 0..<head.records {
            guard position <= end - 4, case let length = Int(bytes.loadUInt32(at: position)),
                length <= Limits.recordBytesMax, length <= end - position - 4
            else {
                throw .dataLoss(
                    file: name, offset: offset + position, what: "a record's length is wrong")
            }
            do {
                try visitor.snapshotRecord(
                    section: head.section, bytes.extracting(position + 4..<position + 4 + length))
            } catch {
                throw .rejected(file: name, offset: offset + position, what: error.what)
            }
            position += 4 + length
        }
        guard position == end, head.records > 0 else {
            throw .dataLoss(file: name, offset: offset + 12, what: "a block's count is wrong")
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
        let start = Format.snapshotBlockHeaderBytes
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
