// Goes through the segments of a journal of format version 1 (FORMAT-1.md §4, §5): batches,
// records, the chain. Reads only.

internal import TriageBase
internal import TriageIO

/// Reads old segments in order.
///
/// A head's root is the chain hash here.
struct OldSegments: JournalParts, ~Copyable {
    private let disk: any Disk
    private let cluster: ClusterID
    private let key: UInt32
    private let checkpoints: [Checkpoint]
    private var memory = PageBuffer(capacity: Format.blockBytes)
    private(set) var head: JournalHead?

    init(_ disk: any Disk, _ cluster: ClusterID, _ checkpoints: [Checkpoint]) {
        self.disk = disk
        self.cluster = cluster
        self.checkpoints = checkpoints
        key = Format.key(cluster)
    }

    mutating func forget() { head = nil }

    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ part: JournalPart, into visitor: inout Visitor
    ) throws(JournalError) -> (SegmentStatistics, TornTail?)? {
        let header = try load(part)
        let before = try start(header, part.file)
        let (statistics, torn, after) = try scan(part, header, before, into: &visitor)
        head = after
        return (statistics, torn)
    }

    private func scan<Visitor: RecordVisitor & ~Copyable>(
        _ part: JournalPart, _ header: OldFormat.Header, _ before: JournalHead,
        into visitor: inout Visitor
    ) throws(JournalError) -> (SegmentStatistics, TornTail?, JournalHead) {
        let file = part.file
        var current = before
        let bytes = memory.span(0..<Int(header.size))
        var offset = Format.blockBytes
        var batches = 0
        var torn: TornTail?
        while offset < bytes.count, !bytes.extracting(offset..<bytes.count).isZero {
            switch check(bytes, at: offset, current) {
            case .success(let batch):
                if let contradicted = batch.contradicted {
                    throw .dataLoss(
                        file: contradicted.file, offset: 64,
                        what: "its chain hash at record \(contradicted.head.sequence) is not the "
                            + "journal's")
                }
                try Self.visit(bytes, batch.records, file, &visitor)
                current = batch.head
                offset = batch.records.upperBound + OldFormat.batchTrailerBytes
                batches += 1
                continue
            case .failure(let fault):
                let rules = TornRules(
                    offset: offset, end: fault.end, headerBytes: OldFormat.batchHeaderBytes)
                guard part.isLast, rules.areMet(bytes, { records(bytes, at: $0) != nil }) else {
                    throw .dataLoss(file: file, offset: fault.offset, what: fault.what)
                }
                torn = TornTail(bytes, file: file, offset: offset)
            }
            break
        }
        let statistics = SegmentStatistics(
            file: file, time: header.time, first: part.first, last: current.sequence,
            batches: batches, bytesUsed: offset, bytes: Int(header.size))
        return (statistics, torn, current)
    }

    /// Reads a segment's header and whole content.
    private mutating func load(_ part: JournalPart) throws(JournalError) -> OldFormat.Header {
        let path = (part.directory ?? "") + "/" + part.file
        let handle = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try OldFormat.header(of: handle, .segment, part.file, cluster)
        guard header.sequence == part.first else {
            throw .dataLoss(file: part.file, offset: 32, what: "its name and its header differ")
        }
        let size = try TriageJournal.disk { () throws(IOError) in try handle.size() }
        guard header.size == UInt64(size), size % Format.blockBytes == 0,
            size >= 2 * Format.blockBytes, size <= Format.segmentBytesCap
        else {
            throw .dataLoss(
                file: part.file, offset: min(size, Int(clamping: header.size)),
                what: "the file has \(size) bytes, its header says \(header.size)")
        }
        memory.grow(to: size, keeping: 0)
        let read: Int
        do { read = try handle.read(into: &memory, 0..<size, at: 0) } catch { throw .io(error) }
        guard read == size else {
            throw .dataLoss(
                file: part.file, offset: read, what: "the file ends here while it is read")
        }
        return header
    }

    /// Where the journal stands before a segment.
    private func start(
        _ header: OldFormat.Header, _ file: String
    ) throws(JournalError) -> JournalHead {
        let first = header.sequence
        let start = JournalHead(sequence: first - 1, root: header.chain)
        if let head {
            guard first == head.sequence + 1 else {
                if first > head.sequence + 1 { throw .gap(file: file, missing: head.sequence + 1) }
                throw .dataLoss(
                    file: file, offset: 32, what: "record \(first) is in the segment before it too")
            }
        }
        guard start.root == head?.root ?? start.root,
            start.sequence > 0 || start.root == OldFormat.genesis(cluster)
        else {
            throw .dataLoss(
                file: file, offset: 64, what: "its chain does not go on from what was before")
        }
        for checkpoint in checkpoints where checkpoint.head.sequence == start.sequence {
            guard checkpoint.head.root == start.root else {
                throw .dataLoss(
                    file: checkpoint.file, offset: 64,
                    what: "its chain hash at record \(start.sequence) is not the journal's")
            }
        }
        return start
    }

    /// A batch that verifies.
    private struct Batch {
        let records: Range<Int>
        /// After its last record.
        let head: JournalHead
        /// What remembers another chain hash.
        let contradicted: Checkpoint?
    }

    /// Where the records of the batch at `offset` are, if its header's CRC is right and it fits.
    private func records(_ bytes: Span<UInt8>, at offset: Int) -> Range<Int>? {
        guard offset <= bytes.count - OldFormat.batchHeaderBytes else { return nil }
        let start = offset + OldFormat.batchHeaderBytes
        let crc = crc32c(bytes.extracting(offset + 4..<start), after: key)
        let count = Int(bytes.loadUInt32(at: offset + 4))
        guard bytes.loadUInt32(at: offset) == crc, count >= OldFormat.recordHeaderBytes,
            count % 8 == 0, count <= bytes.count - start - OldFormat.batchTrailerBytes
        else { return nil }
        return start..<start + count
    }

    private func check(
        _ bytes: Span<UInt8>, at offset: Int, _ before: JournalHead
    ) -> Result<Batch, BatchFault> {
        let place = records(bytes, at: offset)
        let end = place.map { $0.upperBound + OldFormat.batchTrailerBytes }
        func fault(_ offset: Int, _ what: String) -> Result<Batch, BatchFault> {
            .failure(BatchFault(offset: offset, what: what, end: end, mayBeTorn: true))
        }
        guard let place else { return fault(offset, "the batch header does not verify") }
        guard bytes.loadUInt64(at: offset + 8) == before.sequence + 1 else {
            return fault(
                offset, "the batch does not begin with record \(before.sequence + 1)")
        }
        var head = before
        var contradicted: Checkpoint?
        var position = place.lowerBound
        while position < place.upperBound {
            guard let next = recordEnd(bytes, position, place.upperBound, head.sequence + 1) else {
                return fault(position, "record \(head.sequence + 1) does not verify")
            }
            let payloadEnd =
                position + OldFormat.recordHeaderBytes + Int(bytes.loadUInt32(at: position + 4))
            let leaf = SHA256.hash(prefix: 0, bytes.extracting(position + 8..<payloadEnd))
            head = JournalHead(
                sequence: head.sequence + 1, root: SHA256.hash(prefix: 1, head.root, leaf))
            contradicted =
                checkpoints.first {
                    $0.head.sequence == head.sequence && $0.head.root != head.root
                } ?? contradicted
            position = next
        }
        let trailer = place.upperBound
        guard bytes.loadDigest(at: trailer) == head.root else {
            return fault(trailer, "the batch's chain hash is wrong")
        }
        guard UInt64(bytes.loadUInt32(at: trailer + 32)) == head.sequence - before.sequence,
            bytes.loadUInt32(at: trailer + 36) == Format.batchEnd
        else { return fault(trailer + 32, "the batch's end is wrong") }
        return .success(Batch(records: place, head: head, contradicted: contradicted))
    }

    /// Where the record behind the one at `offset` begins; nil when that does not verify.
    private func recordEnd(
        _ bytes: Span<UInt8>, _ offset: Int, _ limit: Int, _ sequence: UInt64
    ) -> Int? {
        guard offset <= limit - OldFormat.recordHeaderBytes else { return nil }
        let count = Int(bytes.loadUInt32(at: offset + 4))
        let padded = (OldFormat.recordHeaderBytes + count + 7) & ~7
        guard count <= Limits.recordBytesMax, padded <= limit - offset else { return nil }
        let contentEnd = offset + OldFormat.recordHeaderBytes + count
        let crc = crc32c(bytes.extracting(offset + 4..<contentEnd), after: key)
        guard bytes.loadUInt32(at: offset) == crc, bytes.loadUInt64(at: offset + 8) == sequence,
            bytes.extracting(contentEnd..<offset + padded).isZero
        else { return nil }
        return offset + padded
    }

    private static func visit<Visitor: RecordVisitor & ~Copyable>(
        _ bytes: Span<UInt8>, _ records: Range<Int>, _ file: String, _ visitor: inout Visitor
    ) throws(JournalError) {
        var position = records.lowerBound
        while position < records.upperBound {
            let start = position + OldFormat.recordHeaderBytes
            let end = start + Int(bytes.loadUInt32(at: position + 4))
            do {
                try visitor.journalRecord(
                    sequence: bytes.loadUInt64(at: position + 8),
                    time: WallTime(
                        milliseconds: Int64(bitPattern: bytes.loadUInt64(at: position + 16))),
                    RecordView(body: bytes.extracting(start..<end)))
            } catch {
                throw .rejected(file: file, offset: position, what: error.what)
            }
            position = (end + 7) & ~7
        }
    }
}
