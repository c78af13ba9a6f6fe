// A server's data directory: owned by one process, recovered, opened for writing. With
// Retention.swift the only place that creates, repairs or deletes files. Knows nothing of what
// records mean.

package import TriageBase
package import TriageIO

/// A data directory, locked against every other server until the value is dropped.
///
/// ```
///   open --> recover(into:) --> makeJournal(after:) --> append, commit ...
///                                                  \--> makeSnapshot(at:) ... finish
///                                                       tidy (Retention.swift)
/// ```
///
/// - Isolation: any; ``makeJournal(after:time:)`` once, from one thread.
package final class DataDirectory: Sendable {
    /// The directory's path.
    package let path: String
    /// Which deployment it belongs to; at a first start, which one it will belong to.
    package let cluster: ClusterID
    let disk: any Disk
    let options: StorageOptions
    private let lock: any DiskLock

    /// Makes the directory if absent, locks it, and looks at what it holds.
    ///
    /// Changes nothing else.
    ///
    /// - Throws: `.locked`, `.foreignFile`, `.newerVersion`, `.dataLoss` when the identity or the
    /// whole journal is gone, `.io`.
    package init(
        opening path: String, disk: any Disk = RealDisk(),
        options: StorageOptions = StorageOptions()
    ) throws(JournalError) {
        self.path = path
        self.disk = disk
        self.options = options
        let outcome = try TriageJournal.disk { () throws(IOError) in
            try disk.makeDirectory(path)
            return try disk.lock(path + "/" + FileName.lock)
        }
        switch outcome {
        case .acquired(let lock): self.lock = lock
        case .held(let processID):
            throw .locked(file: path + "/" + FileName.lock, processID: processID)
        }
        let inventory = try Inventory(disk, path)
        if inventory.hasIdentity {
            cluster = try readIdentity(disk, path)
        } else if let unfinished = try Self.unfinishedFirstStart(inventory, disk, path) {
            cluster = unfinished
        } else {
            guard inventory.isEmpty else {
                throw .dataLoss(
                    file: FileName.identity, offset: 0,
                    what: "it is missing, and the directory is not empty")
            }
            let words = try TriageJournal.disk { () throws(IOError) in
                try options.unguessableWords()
            }
            cluster = ClusterID(low: words.0, high: words.1)
        }
    }

    /// The cluster id of a first start that stopped before the identity was there.
    private static func unfinishedFirstStart(
        _ inventory: Inventory, _ disk: any Disk, _ path: String
    ) throws(JournalError) -> ClusterID? {
        guard inventory.segments == [1], inventory.snapshots.isEmpty, !inventory.hasMark else {
            return nil
        }
        let name = path + "/" + FileName.segment(1)
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(name, .read) }
        let header = try readHeader(of: file, .segment, FileName.segment(1), nil)
        var scanner = SegmentScanner(disk, path, header.cluster, [])
        var none = NoTarget()
        var head: JournalHead?
        let end = try scanner.scan(1, isLast: true, head: &head, after: 0, into: &none)
        return end.batches == 0 && end.torn == nil ? header.cluster : nil
    }

    /// Rebuilds a state: newest good snapshot, then every journal record behind it, in order.
    ///
    /// - Parameter target: An empty state. After an error it is worthless.
    /// - Returns: What was found, for the log and for ``makeJournal(after:time:)``.
    /// - Throws: `.dataLoss`, `.gap`, `.foreignCluster`, `.newerVersion`, `.rejected`, `.io`.
    /// - Durability: changes nothing
    package func recover<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(JournalError) -> RecoveryReport {
        let inventory = try Inventory(disk, path)
        guard inventory.hasIdentity else {
            var report = RecoveryReport(
                head: JournalHead(sequence: 0, chain: Format.genesis(cluster)))
            report.isFirstStart = true
            return report
        }
        return try Recovery(
            disk: disk, directory: path, cluster: cluster, inventory: inventory
        ).run(into: &target)
    }

    /// Opens the journal for writing: cuts and keeps what was torn, removes temporary files, and at
    /// a first start makes the first segment and the identity.
    ///
    /// - Parameters:
    ///   - report: From ``recover(into:)``; nothing was changed in between.
    ///   - time: Wall time now.
    /// - Returns: The journal, whose next record follows the last one recovered.
    /// - Throws: `.io`.
    /// - Durability: what it changed is on disk when this returns
    package func makeJournal(
        after report: RecoveryReport, time: WallTime
    ) throws(JournalError) -> JournalWriter {
        let (file, segmentBytes, offset, mark) = try TriageJournal.disk { () throws(IOError) in
            var offset = report.lastOffset
            var segment = report.lastSegment
            if let torn = report.tornTail { try cut(torn, segment) }
            if report.isFirstStart {
                try makeFirstFiles(time)
                segment = 1
                offset = Format.blockBytes
            }
            for entry in try disk.list(path) where entry.name.hasSuffix(".tmp") {
                try disk.remove(path + "/" + entry.name)
            }
            try disk.syncDirectory(path)
            let file = try disk.open(path + "/" + FileName.segment(segment), .updateDirect)
            if report.marked < report.head.sequence { try settle(segment, file, upTo: offset) }
            let mark = try openMark(report.head, time)
            return (file, try file.size(), offset, mark)
        }
        return try JournalWriter(
            JournalWriter.Start(
                disk: disk, directory: path, cluster: cluster, options: options, file: file,
                segmentBytes: segmentBytes, offset: offset, head: report.head, mark: mark))
    }

    /// Begins a snapshot of the state at `head`, which must be durable.
    ///
    /// - Throws: `.io`.
    package func makeSnapshot(
        at head: JournalHead, time: WallTime, bytesPerSecond: Int? = nil
    ) throws(JournalError) -> SnapshotWriter {
        var options = options
        if let bytesPerSecond { options.snapshotBytesPerSecond = bytesPerSecond }
        return try SnapshotWriter(
            disk, directory: path, cluster: cluster, head: head, time: time, options: options)
    }

    // MARK: First start and repair

    private func makeFirstFiles(_ time: WallTime) throws(IOError) {
        let segment = HeaderBlock(
            kind: .segment, cluster: cluster, sequence: 1, time: time,
            size: UInt64(options.segmentBytes), chain: Format.genesis(cluster))
        try makeFile(FileName.segment(1), segment, bytes: options.segmentBytes)
        try makeFile(
            FileName.identity, HeaderBlock(kind: .identity, cluster: cluster, time: time),
            bytes: Format.blockBytes)
    }

    /// Makes a file of a header and zeros behind it, under its final name once it is durable.
    private func makeFile(_ name: String, _ header: HeaderBlock, bytes: Int) throws(IOError) {
        let file = try disk.open(path + "/" + name + ".tmp", .createDirect)
        try file.allocate(bytes)
        var chunk = PageBuffer(capacity: min(bytes, 1 << 20))
        header.store(in: &chunk)
        var offset = 0
        while offset < bytes {
            let count = min(chunk.capacity, bytes - offset)
            try file.write(chunk.span(0..<count), at: offset)
            if offset == 0 { chunk.zero(0..<Format.blockBytes) }
            offset += count
        }
        try file.sync()
        try disk.rename(path + "/" + name + ".tmp", to: path + "/" + name)
        try disk.syncDirectory(path)
    }

    private func openMark(_ head: JournalHead, _ time: WallTime) throws(IOError) -> MarkFile {
        let name = path + "/" + FileName.mark
        if try !disk.list(path).contains(where: { $0.name == FileName.mark }) {
            try makeFile(
                FileName.mark,
                HeaderBlock(
                    kind: .mark, cluster: cluster, sequence: head.sequence, time: time, size: 2,
                    chain: head.chain),
                bytes: 2 * Format.blockBytes)
        }
        let file = try disk.open(name, .update)
        // The newer slot must stay true while the other one is overwritten.
        let generation = (try? MarkFile.read(file, cluster))?.size ?? 2
        return MarkFile(file: file, cluster: cluster, generation: generation)
    }

    /// Writes the batches of the last segment once more, and syncs them.
    ///
    /// They were read, but perhaps from a cache alone: the process that wrote them may have been
    /// killed before its sync, or its sync may have failed, and then no later one writes them any
    /// more. Nothing may be shown, and nothing be written behind them, before they are durable.
    private func settle(
        _ segment: UInt64, _ file: any DiskFile, upTo end: Int
    ) throws(IOError) {
        let source = try disk.open(path + "/" + FileName.segment(segment), .read)
        var chunk = PageBuffer(capacity: min(roundUp(end, to: Format.blockBytes), 1 << 20))
        var offset = 0
        while offset < end {
            let count = min(chunk.capacity, roundUp(end, to: Format.blockBytes) - offset)
            guard try source.read(into: &chunk, 0..<count, at: offset) == count else {
                throw IOError(.read, path: FileName.segment(segment), .inputOutput)
            }
            try file.write(chunk, 0..<count, at: offset)
            offset += count
        }
        try file.sync()
    }

    /// Copies what was torn aside, then zeroes it.
    private func cut(_ torn: TornTail, _ segment: UInt64) throws(IOError) {
        let file = try disk.open(path + "/" + torn.file, .update)
        var bytes = PageBuffer(capacity: torn.bytes)
        var target = bytes.mutableSpan(0..<torn.bytes)
        guard try file.read(into: &target, at: torn.offset) == torn.bytes else {
            throw IOError(.read, path: torn.file, .inputOutput)
        }
        let name = path + "/" + FileName.torn(segment, torn.offset)
        let copy = try disk.open(name + ".tmp", .create)
        try copy.write(bytes.span(0..<torn.bytes), at: 0)
        try copy.sync()
        try disk.rename(name + ".tmp", to: name)
        try disk.syncDirectory(path)
        bytes.zero(0..<torn.bytes)
        try file.write(bytes.span(0..<torn.bytes), at: torn.offset)
        try file.sync()
    }
}

/// A target that takes everything and keeps nothing.
struct NoTarget: RecoveryTarget {
    mutating func restart() {}
    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) {}
    mutating func journalRecord(sequence: UInt64, time: WallTime, _ payload: Span<UInt8>) {}
    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {}
}
