// Looks into a data directory from outside, without the server and without its lock: counts,
// records, proof that everything verifies. Changes nothing, never.

package import TriageBase
package import TriageIO

/// One segment, as its batches tell.
package struct SegmentStatistics: Equatable, Sendable {
    /// File name.
    package let file: String
    /// When it was made.
    package let time: WallTime
    /// First sequence.
    package let first: UInt64
    /// Last sequence; below ``first`` in a segment without records.
    package let last: UInt64
    /// Batches: commits.
    package let batches: Int
    /// Bytes of header and batches.
    package let bytesUsed: Int
    /// Bytes of the file.
    package let bytes: Int
}

/// One snapshot, as its header tells.
package struct SnapshotStatistics: Equatable, Sendable {
    /// File name.
    package let file: String
    /// The state is that after this head.
    package let head: JournalHead
    /// Wall time of the state.
    package let time: WallTime
    /// Bytes of the file.
    package let bytes: Int
}

/// What a data directory holds.
package struct DirectoryStatistics: Equatable, Sendable {
    /// Which deployment.
    package var cluster: ClusterID
    /// Segments, oldest first.
    package var segments: [SegmentStatistics] = []
    /// Snapshots, oldest first.
    package var snapshots: [SnapshotStatistics] = []
    /// Where the journal ends.
    package var head: JournalHead?
    /// What the last segment ends with, if it is torn, or just being written.
    package var tornTail: TornTail?
}

/// What came of checking everything.
package struct Verification: Sendable {
    /// Counts of what verified.
    package var statistics: DirectoryStatistics
    /// Snapshots that were read whole and verify.
    package var snapshots: [SnapshotInfo] = []
    /// Everything that does not verify; empty means that all is well.
    package var problems: [JournalError] = []
}

/// A data directory seen from outside.
package struct Inspection: Sendable {
    /// The directory's path.
    package let path: String
    /// Which deployment it belongs to.
    package let cluster: ClusterID
    private let disk: any Disk
    /// Where segments from before the directory's are; nil for nowhere.
    private let archive: String?

    /// Looks at a directory.
    ///
    /// - Parameters:
    ///   - path: The directory.
    ///   - archive: Where ``JournalRetention/archive(_:)`` moved older segments, if they are to be
    ///     read too.
    ///   - disk: The file system.
    /// - Throws: `.foreignFile`, `.dataLoss` without a good identity, `.newerVersion`, `.io`.
    package init(
        path: String, archive: String? = nil, disk: any Disk = RealDisk()
    ) throws(JournalError) {
        self.path = path
        self.archive = archive
        self.disk = disk
        let inventory = try Inventory(disk, path)
        guard inventory.hasIdentity else {
            throw .dataLoss(
                file: FileName.identity, offset: 0,
                what: inventory.isEmpty ? "this is no data directory" : "it is missing")
        }
        cluster = try readIdentity(disk, path)
    }

    /// Hands out every record of the journal, oldest first, and counts.
    ///
    /// - Throws: `.dataLoss` and `.gap` at the first place that does not verify; records before it
    ///   were handed out. `.rejected` when the visitor wants no more.
    package func readJournal<Visitor: RecordVisitor & ~Copyable>(
        into visitor: inout Visitor
    ) throws(JournalError) -> DirectoryStatistics {
        var statistics = DirectoryStatistics(cluster: cluster)
        try readJournal([], &statistics, into: &visitor)
        try listSnapshots(&statistics)
        return statistics
    }

    /// Hands out every record of the snapshot after `sequence`.
    ///
    /// - Throws: `.dataLoss`, `.rejected`, `.io`.
    package func readSnapshot<Visitor: SnapshotVisitor & ~Copyable>(
        after sequence: UInt64, into visitor: inout Visitor
    ) throws(JournalError) -> (info: SnapshotInfo, sections: [SnapshotSection]) {
        var reader = try SnapshotReader(
            disk, directory: path, sequence: sequence, cluster: cluster)
        let info = try reader.read(into: &visitor)
        return (info, reader.sections)
    }

    /// Reads and checks everything: checksums, lengths, sequences, the chain from the first segment
    /// on, its agreement with every snapshot and with the mark.
    ///
    /// - Throws: `.io`, `.foreignFile` when the directory itself cannot be read.
    package func verify() throws(JournalError) -> Verification {
        let inventory = try Inventory(disk, path)
        var result = Verification(statistics: DirectoryStatistics(cluster: cluster))
        var checkpoints: [Checkpoint] = []
        for sequence in inventory.snapshots {
            do {
                var none = NoTarget()
                let info = try readSnapshot(after: sequence, into: &none).info
                result.snapshots.append(info)
                checkpoints.append(Checkpoint(head: info.head, file: info.file))
            } catch { result.problems.append(error) }
        }
        // Without one, a server cannot start here, whatever an archive holds.
        if let first = inventory.segments.first, first > 1,
            result.snapshots.allSatisfy({ $0.head.sequence + 1 < first })
        {
            let missing = (result.snapshots.last?.head.sequence ?? 0) + 1
            result.problems.append(.gap(file: FileName.segment(first), missing: missing))
        }
        do {
            let mark = try readMark(inventory)
            if let mark { checkpoints.append(Checkpoint(head: mark, file: FileName.mark)) }
        } catch { result.problems.append(error) }
        do {
            var none = NoTarget()
            try readJournal(checkpoints, &result.statistics, into: &none)
            let last = result.statistics.head?.sequence ?? 0
            for checkpoint in checkpoints where checkpoint.head.sequence > last {
                result.problems.append(
                    .dataLoss(
                        file: result.statistics.segments.last?.file ?? FileName.segment(1),
                        offset: result.statistics.segments.last?.bytesUsed ?? 0,
                        what: "the journal ends with record \(last), but \(checkpoint.file) says "
                            + "that it had record \(checkpoint.head.sequence)"))
            }
        } catch { result.problems.append(error) }
        do { try listSnapshots(&result.statistics) } catch { result.problems.append(error) }
        return result
    }

    private func readMark(_ inventory: Inventory) throws(JournalError) -> JournalHead? {
        guard inventory.hasMark else { return nil }
        let name = path + "/" + FileName.mark
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(name, .read) }
        let header = try MarkFile.read(file, cluster)
        return JournalHead(sequence: header.sequence, chain: header.chain)
    }

    private func readJournal<Visitor: RecordVisitor & ~Copyable>(
        _ checkpoints: [Checkpoint], _ statistics: inout DirectoryStatistics,
        into visitor: inout Visitor
    ) throws(JournalError) {
        let inventory = try Inventory(disk, path)
        guard !inventory.segments.isEmpty else {
            throw .dataLoss(
                file: FileName.segment(1), offset: 0, what: "the journal has no segment")
        }
        var scanner = SegmentScanner(disk, path, cluster, checkpoints)
        var head: JournalHead?
        // What is in both was copied, and not removed before the power went.
        let archived = try archive.map { archive throws(JournalError) in
            try Inventory(disk, archive).segments.filter { $0 < inventory.segments[0] }
        }
        let segments = (archived ?? []) + inventory.segments
        for (index, first) in segments.enumerated() {
            scanner.directory = first < inventory.segments[0] ? archive ?? path : path
            let end = try scanner.scan(
                first, isLast: index == segments.count - 1, head: &head, after: 0,
                into: &visitor)
            statistics.segments.append(
                SegmentStatistics(
                    file: FileName.segment(first), time: end.header.time, first: first,
                    last: head?.sequence ?? 0, batches: end.batches, bytesUsed: end.offset,
                    bytes: Int(end.header.size)))
            statistics.tornTail = end.torn
            statistics.head = head
        }
    }

    private func listSnapshots(_ statistics: inout DirectoryStatistics) throws(JournalError) {
        for sequence in try Inventory(disk, path).snapshots {
            let reader = try SnapshotReader(
                disk, directory: path, sequence: sequence, cluster: cluster)
            statistics.snapshots.append(
                SnapshotStatistics(
                    file: FileName.snapshot(sequence), head: reader.head, time: reader.header.time,
                    bytes: reader.fileBytes))
        }
    }
}
