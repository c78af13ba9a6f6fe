// Goes through the parts of a journal for whoever looks from outside: segments, their leaves, and
// leaves whose segment is gone. Names the record at fault where leaves tell.

internal import TriageBase
internal import TriageIO

/// Reads the parts of a journal of the current version.
struct Segments: JournalParts, ~Copyable {
    /// What the pieces of one segment came to.
    private struct Count {
        var file = ""
        var time = WallTime.epoch
        var batches = 0
        var bytesUsed = Format.blockBytes
        var bytes = 0
        var torn: TornTail?

        mutating func add(_ content: borrowing SegmentContent) {
            file = content.file
            time = content.header.time
            bytes = Int(content.header.size)
            batches += content.batches.count
            // A piece of the zeros at a segment's end has no batch.
            if !content.batches.isEmpty { bytesUsed = content.base + content.end }
            torn = content.torn
        }
    }

    private let disk: any Disk
    /// Where leaves are.
    private let directory: String
    private let cluster: ClusterID
    private let reader: SegmentReader
    private var scanner: SegmentScanner
    private let pieces: SegmentPieces<NoDecoder>
    /// The first piece of what comes next, if it was taken already.
    private var first: SegmentPiece<NoDecoder>?

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - inspection: The directory.
    ///   - parts: The parts, in the order in which they are then gone through.
    ///   - checkpoints: What the journal must agree with.
    /// - Throws: `.io` when there is no thread left.
    init(
        _ inspection: Inspection, _ parts: [JournalPart], _ checkpoints: [Checkpoint] = []
    ) throws(JournalError) {
        disk = inspection.disk
        directory = inspection.path
        cluster = inspection.cluster
        reader = SegmentReader(disk: disk, cluster: cluster, keys: inspection.keys)
        scanner = SegmentScanner(checkpoints)
        pieces = try SegmentPieces(
            parts.filter { $0.directory != nil }, reader,
            threads: HelperThreads(count: inspection.threads), pieceBytes: inspection.pieceBytes,
            after: .max, makeDecoder: { NoDecoder() })
    }

    var head: JournalHead? { scanner.tree.map { JournalHead($0) } }

    mutating func forget() { scanner.forget() }

    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ part: JournalPart, into visitor: inout Visitor
    ) throws(JournalError) -> (SegmentStatistics, TornTail?)? {
        guard part.directory != nil else {
            try scanner.scan(LeavesFile(disk, directory, part.first, cluster))
            return nil
        }
        let count: Count
        do { count = try scanPieces(of: part, into: &visitor) } catch {
            while let piece = takePiece(of: part) { pieces.giveBack(piece) }
            throw error
        }
        let statistics = SegmentStatistics(
            file: count.file, time: count.time, first: part.first, last: scanner.tree?.size ?? 0,
            batches: count.batches, bytesUsed: count.bytesUsed, bytes: count.bytes)
        if part.hasLeaves { try compareLeaves(part.first) }
        return (statistics, count.torn)
    }

    private mutating func scanPieces<Visitor: RecordVisitor & ~Copyable>(
        of part: JournalPart, into visitor: inout Visitor
    ) throws(JournalError) -> Count {
        var count = Count()
        var isReadWhole = false
        while let piece = takePiece(of: part) {
            // What is left of a segment that was read as a whole is not looked at.
            if isReadWhole {
                pieces.giveBack(piece)
                continue
            }
            let content = try piece.takeContent()
            try scan(content, of: part, &count, into: &visitor)
            isReadWhole = piece.isIrregular
            pieces.giveBack(piece, content.takeMemory())
            if isReadWhole { try scanRest(of: part, &count, into: &visitor) }
        }
        guard count.bytes > 0 else { throw .gap(file: part.file, missing: part.first) }
        return count
    }

    private mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ content: borrowing SegmentContent, of part: JournalPart, _ count: inout Count,
        into visitor: inout Visitor
    ) throws(JournalError) {
        do { try scanner.scan(content, into: &visitor) } catch { throw named(error, part) }
        count.add(content)
    }

    /// Reads a segment as a whole, since something else than a good batch stands in it, and goes
    /// through what was not gone through yet.
    private mutating func scanRest<Visitor: RecordVisitor & ~Copyable>(
        of part: JournalPart, _ count: inout Count, into visitor: inout Visitor
    ) throws(JournalError) {
        var content = try reader.read(
            part.first, in: part.directory ?? "", isLast: part.isLast,
            memory: PageBuffer(capacity: Format.blockBytes))
        try content.goOn(with: (scanner.tree?.size ?? 0) + 1)
        try scan(content, of: part, &count, into: &visitor)
    }

    /// The next piece of a segment; nil behind its last one.
    private mutating func takePiece(of part: JournalPart) -> SegmentPiece<NoDecoder>? {
        guard let piece = first.take() ?? pieces.take() else { return nil }
        if piece.part.first == part.first { return piece }
        first = piece
        return nil
    }

    private func compareLeaves(_ first: UInt64) throws(JournalError) {
        let file = try LeavesFile(disk, directory, first, cluster)
        guard let index = Self.difference(scanner.leaves, file.leaves) else { return }
        throw .dataLoss(
            file: FileName.leaves(first), offset: LeavesFile.offset(of: index),
            what: "the leaf of record \(first + UInt64(index)) is not the segment's")
    }

    /// Names the record at fault in a segment that does not verify, if its leaves tell.
    private func named(_ error: JournalError, _ part: JournalPart) -> JournalError {
        guard case .dataLoss(let file, let offset, let what) = error, part.hasLeaves,
            file == part.file,
            let kept = try? LeavesFile(disk, directory, part.first, cluster),
            let index = Self.difference(
                scanner.leaves, Array(kept.leaves.prefix(scanner.leaves.count)))
        else { return error }
        return .dataLoss(
            file: file, offset: offset,
            what: "\(what): record \(part.first + UInt64(index)) is not the one that was committed")
    }

    /// The place of the first leaf that differs, or that only one of both has.
    private static func difference(_ a: [Digest], _ b: [Digest]) -> Int? {
        if a == b { return nil }
        return zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset
            ?? min(a.count, b.count)
    }
}
