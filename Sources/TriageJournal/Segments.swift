// Goes through the parts of a journal for whoever looks from outside: segments, their leaves, and
// leaves whose segment is gone. Names the record at fault where leaves tell.

internal import TriageBase
internal import TriageIO

/// Reads the parts of a journal of the current version.
struct Segments: JournalParts, ~Copyable {
    private let disk: any Disk
    /// Where leaves are.
    private let directory: String
    private let cluster: ClusterID
    private let reader: SegmentReader
    private var scanner: SegmentScanner
    private var memory = PageBuffer(capacity: Format.blockBytes)
    private var ahead: SegmentsAhead?
    /// The one that was taken last.
    private var taken: SegmentAhead?

    init(
        _ disk: any Disk, _ directory: String, _ cluster: ClusterID, _ keys: KeyRing?,
        _ checkpoints: [Checkpoint]
    ) {
        self.disk = disk
        self.directory = directory
        self.cluster = cluster
        reader = SegmentReader(disk: disk, cluster: cluster, keys: keys)
        scanner = SegmentScanner(checkpoints)
    }

    /// Reads on threads of their own from now on.
    ///
    /// - Parameters:
    ///   - list: The parts, in the order in which they are then gone through.
    ///   - threads: How many.
    /// - Throws: `.io` when there is no thread left.
    mutating func readAhead(_ list: [JournalPart], threads: HelperThreads) throws(JournalError) {
        ahead = try SegmentsAhead(
            list.filter { $0.directory != nil }, reader, threads: threads)
    }

    private mutating func read(
        _ part: JournalPart, in place: String
    ) throws(JournalError) -> SegmentContent {
        if let ahead {
            taken = ahead.take()
            guard let taken else { throw .gap(file: part.file, missing: part.first) }
            return try taken.takeContent()
        }
        var taken = PageBuffer(capacity: Format.blockBytes)
        swap(&taken, &memory)
        return try reader.read(part.first, in: place, isLast: part.isLast, memory: taken)
    }

    var head: JournalHead? { scanner.tree.map { JournalHead($0) } }

    mutating func forget() { scanner.forget() }

    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ part: JournalPart, into visitor: inout Visitor
    ) throws(JournalError) -> (SegmentStatistics, TornTail?)? {
        guard let place = part.directory else {
            try scanner.scan(LeavesFile(disk, directory, part.first, cluster))
            return nil
        }
        let segment = try read(part, in: place)
        do { try scanner.scan(segment, into: &visitor) } catch { throw named(error, part) }
        let statistics = SegmentStatistics(
            file: segment.file, time: segment.header.time, first: part.first,
            last: scanner.tree?.size ?? 0, batches: segment.batches.count, bytesUsed: segment.end,
            bytes: segment.size)
        let torn = segment.torn
        if let ahead, let taken {
            ahead.giveBack(taken, segment.takeMemory())
        } else {
            memory = segment.takeMemory()
        }
        if part.hasLeaves { try compareLeaves(part.first) }
        return (statistics, torn)
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
