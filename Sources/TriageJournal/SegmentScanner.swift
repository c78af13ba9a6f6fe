// Reads one segment after the other: header, batches, end. Says where the journal ends and whether
// its tail was torn. Changes nothing, decides nothing about snapshots.

internal import TriageBase
internal import TriageIO

/// What was cut, or would be, because its write was interrupted and never acknowledged.
package struct TornTail: Equatable, Sendable {
    /// The segment.
    package let file: String
    /// Where the torn batch begins.
    package let offset: Int
    /// Bytes from there to the last one that is not zero.
    package let bytes: Int
}

/// Where a scan of a segment ended.
struct SegmentEnd {
    /// The offset behind the last good batch.
    var offset: Int
    /// Batches found.
    var batches: Int
    /// What stands behind, if anything.
    var torn: TornTail?
    /// The segment's header.
    let header: HeaderBlock
}

/// Reads segments in order.
struct SegmentScanner: ~Copyable {
    let disk: any Disk
    /// Where the next segment is: the data directory, or the archive for those before it.
    var directory: String
    let cluster: ClusterID
    let verifier: BatchVerifier
    private var image = PageBuffer(capacity: Format.blockBytes)

    init(_ disk: any Disk, _ directory: String, _ cluster: ClusterID, _ checkpoints: [Checkpoint]) {
        self.disk = disk
        self.directory = directory
        self.cluster = cluster
        verifier = BatchVerifier(
            key: Format.key(cluster),
            checkpoints: checkpoints.sorted { $0.head.sequence < $1.head.sequence })
    }

    /// Scans a segment that must go on from `head`, and moves `head` to its last record.
    ///
    /// - Parameters:
    ///   - first: The first sequence, from the name.
    ///   - isLast: Whether its last batch may be torn.
    ///   - head: Where the journal stands before it; nil for the first one scanned, whose header is
    ///     then believed.
    ///   - after: Records up to this sequence are verified but not handed out.
    ///   - visitor: Takes the records.
    /// - Returns: Where the good batches end, and what is torn behind them.
    /// - Throws: `.dataLoss`, `.gap`, `.foreignCluster`, `.newerVersion`, `.rejected`, `.io`.
    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ first: UInt64, isLast: Bool, head: inout JournalHead?, after: UInt64,
        into visitor: inout Visitor
    ) throws(JournalError) -> SegmentEnd {
        let file = FileName.segment(first)
        let header = try load(first)
        if let head {
            guard first == head.sequence + 1 else {
                if first > head.sequence + 1 { throw .gap(file: file, missing: head.sequence + 1) }
                throw .dataLoss(
                    file: file, offset: 32, what: "record \(first) is in the segment before it too")
            }
            guard header.chain == head.chain else {
                throw .dataLoss(
                    file: file, offset: 64, what: "its chain does not go on from the segment before"
                )
            }
        }
        var current = JournalHead(sequence: first - 1, chain: header.chain)
        try checkStart(current, header)
        let bytes = image.span(0..<Int(header.size))
        var end = SegmentEnd(offset: Format.blockBytes, batches: 0, header: header)
        while end.offset < bytes.count,
            bytes.loadUInt64(at: end.offset) != 0
                || !bytes.extracting(end.offset..<bytes.count).isZero
        {
            switch verifier.check(bytes, at: end.offset, after: current) {
            case .good(let next, let after_):
                try Self.visit(bytes, end.offset, next, after, file, &visitor)
                current = after_
                end.offset = next
                end.batches += 1
                continue
            case .contradicts(let checkpoint):
                throw .dataLoss(
                    file: checkpoint.file, offset: 64,
                    what:
                        "its chain hash at record \(checkpoint.head.sequence) is not the journal's")
            case .bad(let offset, let what, let batchEnd):
                guard isLast, verifier.isTorn(bytes, at: end.offset, end: batchEnd) else {
                    throw .dataLoss(file: file, offset: offset, what: what)
                }
                end.torn = Self.tail(bytes, file, end.offset)
            }
            break
        }
        head = current
        return end
    }

    /// Reads a segment's header and whole content.
    private mutating func load(_ first: UInt64) throws(JournalError) -> HeaderBlock {
        let file = FileName.segment(first)
        let path = directory + "/" + file
        let handle = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try Self.header(of: handle, file, first, cluster)
        let count = Int(header.size)
        image.grow(to: count, keeping: 0)
        var target = image.mutableSpan(0..<count)
        let read = try TriageJournal.disk { () throws(IOError) in
            try handle.read(into: &target, at: 0)
        }
        guard read == count else {
            throw .dataLoss(file: file, offset: read, what: "the file ends here while it is read")
        }
        return header
    }

    /// Reads and checks a segment's header, and its length against the file's.
    static func header(
        of handle: any DiskFile, _ file: String, _ first: UInt64, _ cluster: ClusterID
    ) throws(JournalError) -> HeaderBlock {
        let header = try readHeader(of: handle, .segment, file, cluster)
        guard header.sequence == first else {
            throw .dataLoss(file: file, offset: 32, what: "its name and its header differ")
        }
        let size = try TriageJournal.disk { () throws(IOError) in try handle.size() }
        guard header.size == UInt64(size), size % Format.blockBytes == 0,
            size >= 2 * Format.blockBytes, size <= Format.segmentBytesCap
        else {
            throw .dataLoss(
                file: file, offset: min(size, Int(clamping: header.size)),
                what: "the file has \(size) bytes, its header says \(header.size)")
        }
        return header
    }

    private func checkStart(_ head: JournalHead, _ header: HeaderBlock) throws(JournalError) {
        if head.sequence == 0, head.chain != Format.genesis(cluster) {
            throw .dataLoss(
                file: FileName.segment(1), offset: 64,
                what: "the chain does not begin at its origin")
        }
        for checkpoint in verifier.checkpoints where checkpoint.head.sequence == head.sequence {
            guard checkpoint.head.chain == head.chain else {
                throw .dataLoss(
                    file: checkpoint.file, offset: 64,
                    what: "its chain hash at record \(head.sequence) is not the journal's")
            }
        }
    }

    private static func visit<Visitor: RecordVisitor & ~Copyable>(
        _ bytes: Span<UInt8>, _ offset: Int, _ end: Int, _ after: UInt64, _ file: String,
        _ visitor: inout Visitor
    ) throws(JournalError) {
        var position = offset + Format.batchHeaderBytes
        while position < end - Format.batchTrailerBytes {
            let count = Int(bytes.loadUInt32(at: position + 4))
            let sequence = bytes.loadUInt64(at: position + 8)
            if sequence > after {
                let time = WallTime(
                    milliseconds: Int64(bitPattern: bytes.loadUInt64(at: position + 16)))
                let start = position + Format.recordHeaderBytes
                do {
                    try visitor.journalRecord(
                        sequence: sequence, time: time, bytes.extracting(start..<start + count))
                } catch {
                    throw .rejected(file: file, offset: position, what: error.what)
                }
            }
            position += Format.recordBytes(count)
        }
    }

    private static func tail(_ bytes: Span<UInt8>, _ file: String, _ offset: Int) -> TornTail {
        var end = bytes.count
        while end > offset, bytes[end - 1] == 0 { end -= 1 }
        return TornTail(file: file, offset: offset, bytes: end - offset)
    }
}

/// Reads a file's header block and checks whose it is.
func readHeader(
    of handle: any DiskFile, _ kind: FileKind, _ file: String, _ cluster: ClusterID?,
    at offset: Int = 0
) throws(JournalError) -> HeaderBlock {
    var block = PageBuffer(capacity: Format.blockBytes)
    var target = block.mutableSpan(0..<Format.blockBytes)
    let count = try disk { () throws(IOError) in try handle.read(into: &target, at: offset) }
    let header = try HeaderBlock(block.span(0..<count), kind, file: file, offset: offset)
    if let cluster, header.cluster != cluster {
        throw .foreignCluster(file: file, expected: cluster, found: header.cluster)
    }
    return header
}
