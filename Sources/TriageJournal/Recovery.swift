// From what a directory holds to a state: newest good snapshot, then the journal behind it
// (FORMAT.md §8). Reads only; repairs are made when the journal is opened for writing.

internal import TriageBase
internal import TriageIO

/// A state that is rebuilt from a snapshot and a journal.
package protocol RecoveryTarget: RecordVisitor, SnapshotVisitor, ~Copyable {
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
    /// Where the journal ends.
    package internal(set) var head: JournalHead
    /// The head that the mark tells of: up to here everything was synced before.
    var marked: UInt64 = 0
    /// First sequence of the last segment, and the offset behind its last good batch.
    var lastSegment: UInt64 = 0
    var lastOffset = 0
}

/// One run of recovery over a listed directory.
struct Recovery {
    let disk: any Disk
    let directory: String
    let cluster: ClusterID
    let inventory: Inventory

    func run<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(JournalError) -> RecoveryReport {
        guard let firstSegment = inventory.segments.first else {
            throw .dataLoss(
                file: FileName.segment((inventory.snapshots.last ?? 0) + 1), offset: 0,
                what: "the journal has no segment")
        }
        var report = RecoveryReport(
            head: JournalHead(sequence: 0, chain: Format.genesis(cluster)))
        // A newer version or a foreign file anywhere stops the start before anything is loaded.
        for first in inventory.segments { try checkHeader(first) }
        let mark = try readMark()
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
        if let mark, mark.sequence > 0 {
            report.marked = mark.sequence
            checkpoints.append(
                Checkpoint(
                    head: JournalHead(sequence: mark.sequence, chain: mark.chain),
                    file: FileName.mark))
        }
        try replay(start, checkpoints, after: loaded, &report, &target)
        let last = FileName.segment(report.lastSegment)
        for checkpoint in checkpoints where checkpoint.head.sequence > report.head.sequence {
            throw .dataLoss(
                file: last, offset: report.lastOffset,
                what: "the journal ends with record \(report.head.sequence), but "
                    + "\(checkpoint.file) says that it had record \(checkpoint.head.sequence)")
        }
        return report
    }

    private func checkHeader(_ first: UInt64) throws(JournalError) {
        let file = FileName.segment(first)
        let path = directory + "/" + file
        let handle = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        _ = try SegmentScanner.header(of: handle, file, first, cluster)
    }

    private func readMark() throws(JournalError) -> HeaderBlock? {
        guard inventory.hasMark else { return nil }
        let path = directory + "/" + FileName.mark
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        return try MarkFile.read(file, cluster)
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
                report.head = info.head
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
            disk, directory: directory, sequence: sequence, cluster: cluster)
        let info = try reader.read(into: &target)
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
        case .poisoned, .gap, .foreignFile, .foreignCluster, .newerVersion, .locked, .bufferFull,
            .recordTooLarge, .noSpace, .rejected:
            false
        }
    }

    private func replay<Target: RecoveryTarget & ~Copyable>(
        _ start: Int, _ checkpoints: [Checkpoint], after loaded: UInt64,
        _ report: inout RecoveryReport, _ target: inout Target
    ) throws(JournalError) {
        var scanner = SegmentScanner(disk, directory, cluster, checkpoints)
        var head: JournalHead?
        for index in start..<inventory.segments.count {
            let first = inventory.segments[index]
            let end = try scanner.scan(
                first, isLast: index == inventory.segments.count - 1, head: &head, after: loaded,
                into: &target)
            report.lastSegment = first
            report.lastOffset = end.offset
            report.tornTail = end.torn
        }
        if let head {
            report.recordsReplayed = head.sequence > loaded ? head.sequence - loaded : 0
            report.head = head
        }
    }
}
