// From what a directory holds to a state: newest good snapshot, then the journal behind it
// (FORMAT.md §13). Reads only; repairs are made when the journal is opened for writing.

internal import TriageBase
internal import TriageIO

/// A state that is rebuilt from a snapshot and a journal.
package protocol RecoveryTarget: ~Copyable {
    /// Decodes records ahead of their turn.
    associatedtype Decoder: RecordDecoder
    /// Makes a decoder, on the thread that is to use it.
    var makeDecoder: @Sendable () -> Decoder { get }

    /// Takes the records of a block or of a segment, in order.
    mutating func take(_ records: Decoder.Records) throws(RejectedRecord)
    /// Forgets everything: a snapshot turned out to be bad half-way, and an older one follows.
    mutating func restart()
    /// The snapshot's records have all been handed out; journal records follow.
    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) throws(RecordRejection)
}

/// A snapshot that was passed over.
package struct RejectedSnapshot: Equatable, Sendable {
    /// Its file.
    package let file: String
    /// Why.
    package let error: JournalError
}

/// What recovery found.
package struct RecoveryReport: Sendable {
    /// Whether this is the first start: there was nothing.
    package internal(set) var isFirstStart = false
    /// The snapshot that was loaded.
    package internal(set) var snapshot: SnapshotInfo?
    /// Newer snapshots that were not good.
    package internal(set) var rejectedSnapshots: [RejectedSnapshot] = []
    /// Records handed out from the journal.
    package internal(set) var recordsReplayed: UInt64 = 0
    /// What was torn; cut when the journal is opened for writing.
    package internal(set) var tornTail: TornTail?
    /// Complete segments whose leaves are missing; made when the journal is opened for writing.
    package internal(set) var missingLeaves: [String] = []
    /// Where the journal ends.
    package var head: JournalHead { JournalHead(tree) }
    /// Whether a signed head was being written when the power went; the next one takes its place.
    package var isHeadTorn: Bool { heads?.isTorn ?? false }
    /// The signed heads; nil when there is no file of them.
    var heads: HeadsFile?
    /// The tree over the journal.
    var tree = MerkleTree()
    /// The last segment, for the writer.
    var last: LastSegment?
    /// The head that the mark tells of: up to here everything was synced before.
    var marked: UInt64 = 0
}

/// The segment in which the journal goes on.
struct LastSegment: Sendable {
    let header: HeaderBlock
    /// Behind its last good batch.
    let offset: Int
    /// Of its records.
    let leaves: [Digest]
}

/// One run of recovery over a listed directory.
struct Recovery {
    let disk: any Disk
    let directory: String
    let cluster: ClusterID
    let keys: KeyRing?
    let inventory: Inventory
    /// Threads that read and decode ahead.
    let threads: HelperThreads
    /// Bytes of the journal that one of them takes at a time.
    let pieceBytes: Int

    func run<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(JournalError) -> RecoveryReport {
        guard let firstSegment = inventory.segments.first else {
            throw .dataLoss(
                file: FileName.segment((inventory.snapshots.last ?? 0) + 1), offset: 0,
                what: "the journal has no segment")
        }
        var report = RecoveryReport()
        // A newer version or a foreign file anywhere stops the start before anything is loaded.
        try checkHeaders()
        report.missingLeaves = inventory.withoutLeaves.map(FileName.leaves)
        let mark = try readMark()
        report.heads = try readHeads()
        try loadSnapshot(&report, firstSegment, &target)
        let loaded = report.snapshot?.head.sequence ?? 0
        let start = inventory.segments.lastIndex { $0 <= loaded + 1 } ?? 0
        guard inventory.segments[start] <= loaded + 1 else {
            throw .gap(file: FileName.segment(inventory.segments[start]), missing: loaded + 1)
        }
        var checkpoints: [Checkpoint] = []
        if let snapshot = report.snapshot {
            checkpoints.append(Checkpoint(head: snapshot.head, file: snapshot.file))
        }
        if let mark {
            report.marked = mark.sequence
            checkpoints.append(Checkpoint(head: mark, file: FileName.mark))
        }
        checkpoints += try signedHeads(report.heads, from: inventory.segments[start])
        try replay(start, checkpoints, after: loaded, &report, &target)
        for checkpoint in checkpoints where checkpoint.head.sequence > report.tree.size {
            throw .dataLoss(
                file: FileName.segment(inventory.segments.last ?? 1),
                offset: report.last?.offset ?? 0,
                what: "the journal ends with record \(report.tree.size), but "
                    + "\(checkpoint.file) says that it had record \(checkpoint.head.sequence)")
        }
        return report
    }

    private var reader: SegmentReader {
        SegmentReader(disk: disk, cluster: cluster, keys: keys)
    }

    private func checkHeaders() throws(JournalError) {
        for first in inventory.segments {
            let file = FileName.segment(first)
            let path = directory + "/" + file
            let handle = try TriageJournal.disk { () throws(IOError) in
                try disk.open(path, .read)
            }
            _ = try reader.header(of: handle, file, first)
        }
        for first in inventory.leaves {
            _ = try LeavesFile.header(disk, directory, first, cluster)
        }
        for sequence in inventory.snapshots {
            let name = FileName.snapshot(sequence)
            do throws(JournalError) {
                let file = try TriageJournal.disk { () throws(IOError) in
                    try disk.open(directory + "/" + name, .read)
                }
                _ = try readHeader(of: file, .snapshot, name, cluster)
            } catch {
                // Whether it is needed is seen when one is loaded.
                guard Self.isUnreadable(error) else { throw error }
            }
        }
        if let lost = inventory.lostEnd { throw lost }
    }

    private func readMark() throws(JournalError) -> JournalHead? {
        guard inventory.hasMark else { return nil }
        let path = directory + "/" + FileName.mark
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        return try MarkFile.head(file, cluster)
    }

    private func readHeads() throws(JournalError) -> HeadsFile? {
        guard inventory.hasHeads else { return nil }
        guard keys != nil else { throw HeadsFile.withoutKeys }
        return try HeadsFile.read(disk, directory, cluster)
    }

    /// The signed heads of the segments that are read, their signatures verified.
    private func signedHeads(
        _ file: HeadsFile?, from first: UInt64
    ) throws(JournalError) -> [Checkpoint] {
        guard let file, let keys else { return [] }
        let start = file.heads.firstIndex { $0.head.sequence >= first } ?? file.heads.count
        return try SignedHeads(file, keys).checkpoints(from: start)
    }

    /// Loads the newest snapshot that is good, if the journal covers what comes after it.
    private func loadSnapshot<Target: RecoveryTarget & ~Copyable>(
        _ report: inout RecoveryReport, _ firstSegment: UInt64, _ target: inout Target
    ) throws(JournalError) {
        for sequence in inventory.snapshots.reversed() {
            // An older snapshot that the journal does not cover cannot help: the newest one's own
            // fault is what the operator has to hear of.
            if firstSegment > sequence + 1, let newest = report.rejectedSnapshots.first {
                throw newest.error
            }
            do {
                let info = try load(sequence, into: &target)
                report.snapshot = info
                return
            } catch {
                guard Self.isUnreadable(error) else { throw error }
                report.rejectedSnapshots.append(
                    RejectedSnapshot(file: FileName.snapshot(sequence), error: error))
                target.restart()
            }
        }
        if firstSegment > 1, let newest = report.rejectedSnapshots.first { throw newest.error }
    }

    private func load<Target: RecoveryTarget & ~Copyable>(
        _ sequence: UInt64, into target: inout Target
    ) throws(JournalError) -> SnapshotInfo {
        var reader = try SnapshotReader(
            disk, directory: directory, sequence: sequence, cluster: cluster, keys: keys)
        let info = try reader.read(threads: threads, target.makeDecoder) {
            (block) throws(JournalError) in
            guard let records = block.takeRecords() else { return }
            do throws(RejectedRecord) { try target.take(records) } catch {
                throw .rejected(
                    file: FileName.snapshot(sequence), offset: block.place(ofRecord: error.index),
                    what: error.what)
            }
        }
        do { try target.snapshotLoaded(info) } catch {
            throw .rejected(file: info.file, offset: 0, what: error.what)
        }
        return info
    }

    /// Whether an error means that this one file is bad, so that an older snapshot may do.
    static func isUnreadable(_ error: JournalError) -> Bool {
        switch error {
        case .dataLoss: true
        case .io(let cause): cause.operation == .read
        case .poisoned, .gap, .foreignFile, .foreignCluster, .newerVersion, .olderVersion,
            .notOlder, .notEmpty, .isBackup, .noSuchPoint, .locked,
            .bufferFull, .recordTooLarge, .noSpace, .crypto, .rejected, .keyMissing,
            .keyUnexpected, .wrongKey, .tooManyKeys:
            false
        }
    }

    private func replay<Target: RecoveryTarget & ~Copyable>(
        _ start: Int, _ checkpoints: [Checkpoint], after loaded: UInt64,
        _ report: inout RecoveryReport, _ target: inout Target
    ) throws(JournalError) {
        let parts = inventory.segments[start...].map { first in
            JournalPart(
                first: first, directory: directory, hasLeaves: false,
                isLast: first == inventory.segments.last)
        }
        var replay = Replay(reader, checkpoints, after: loaded)
        let pieces = try SegmentPieces(
            parts, reader, threads: threads, pieceBytes: pieceBytes, after: loaded,
            makeDecoder: target.makeDecoder)
        while let piece = pieces.take() {
            let content = try piece.takeContent()
            // What is left of a segment that was read as a whole is not looked at.
            if piece.part.first != replay.wholeSegment {
                try replay.take(content, piece.takeRecords(), piece.rejection, &target)
                if piece.isIrregular { try replay.takeRest(of: piece.part, &target) }
            }
            pieces.giveBack(piece, content.takeMemory())
        }
        invariant(
            replay.last?.header.sequence == inventory.segments.last, "every segment is replayed")
        report.last = replay.last
        report.tornTail = replay.torn
        if let tree = replay.tree {
            report.recordsReplayed = tree.size > loaded ? tree.size - loaded : 0
            report.tree = tree
        }
    }
}

/// Where a replay stands.
private struct Replay: ~Copyable {
    private let reader: SegmentReader
    private var scanner: SegmentScanner
    /// Records up to this one are in the state already.
    private let loaded: UInt64
    private var header: HeaderBlock?
    /// Behind the last good batch of the segment with that header.
    private var end = 0
    private(set) var torn: TornTail?
    /// The first sequence of the segment that had to be read as a whole.
    private(set) var wholeSegment: UInt64?

    init(_ reader: SegmentReader, _ checkpoints: [Checkpoint], after loaded: UInt64) {
        self.reader = reader
        self.loaded = loaded
        scanner = SegmentScanner(checkpoints, after: .max)
    }

    var tree: MerkleTree? { scanner.tree }

    /// The segment gone through last.
    var last: LastSegment? {
        header.map { LastSegment(header: $0, offset: end, leaves: scanner.leaves) }
    }

    /// Goes through what was read, and hands out what its records were decoded to.
    mutating func take<Target: RecoveryTarget & ~Copyable>(
        _ content: borrowing SegmentContent, _ records: Target.Decoder.Records?,
        _ rejection: JournalError?, _ target: inout Target
    ) throws(JournalError) {
        var none = NoTarget()
        try scanner.scan(content, into: &none)
        if let records {
            do throws(RejectedRecord) { try target.take(records) } catch {
                throw .rejected(
                    file: content.file, offset: content.place(ofRecord: error.index, loaded),
                    what: error.what)
            }
        }
        if let rejection { throw rejection }
        header = content.header
        // A piece of the zeros at a segment's end has no batch.
        if !content.goesOn || !content.batches.isEmpty { end = content.base + content.end }
        torn = content.torn
    }

    /// Reads a segment as a whole, since something else than a good batch stands in it, and goes
    /// through what was not gone through yet.
    ///
    /// - Throws: What it is, unless it was torn.
    mutating func takeRest<Target: RecoveryTarget & ~Copyable>(
        of part: JournalPart, _ target: inout Target
    ) throws(JournalError) {
        wholeSegment = part.first
        var content = try reader.read(
            part.first, in: part.directory ?? "", isLast: part.isLast,
            memory: PageBuffer(capacity: Format.blockBytes))
        try content.goOn(with: (tree?.size ?? 0) + 1)
        var decoder = target.makeDecoder()
        var rejection: JournalError?
        do throws(JournalError) {
            for batch in content.batches { try content.visit(batch, after: loaded, &decoder) }
        } catch { rejection = error }
        try take(content, decoder.take(), rejection, &target)
    }
}
