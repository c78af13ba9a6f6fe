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
    private static func isUnreadable(_ error: JournalError) -> Bool {
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
        var scanner = SegmentScanner(checkpoints, after: .max)
        let parts = inventory.segments[start...].map { first in
            JournalPart(
                first: first, directory: directory, hasLeaves: false,
                isLast: first == inventory.segments.last)
        }
        // Few: a segment in memory takes as much again for what it was decoded to.
        var helpers = threads
        helpers.count = min(helpers.count, 3)
        let ahead = try SegmentsAhead(
            parts, reader, threads: helpers, after: loaded, makeDecoder: target.makeDecoder)
        while let taken = ahead.take() {
            let segment = try taken.takeContent()
            var none = NoTarget()
            try scanner.scan(segment, into: &none)
            if let records = taken.takeRecords() {
                do throws(RejectedRecord) { try target.take(records) } catch {
                    throw .rejected(
                        file: segment.file, offset: segment.place(ofRecord: error.index, loaded),
                        what: error.what)
                }
            }
            if let rejection = taken.rejection { throw rejection }
            report.last = LastSegment(
                header: segment.header, offset: segment.end, leaves: scanner.leaves)
            report.tornTail = segment.torn
            ahead.giveBack(taken, segment.takeMemory())
        }
        if let tree = scanner.tree {
            report.recordsReplayed = tree.size > loaded ? tree.size - loaded : 0
            report.tree = tree
        }
    }
}
