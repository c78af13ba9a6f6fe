// A server's data directory: owned by one process, recovered, opened for writing. With
// Retention.swift the only place that creates, repairs or deletes files. Knows nothing of what
// records mean.

package import TriageBase
internal import TriageCrypto
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
    package let disk: any Disk
    let options: StorageOptions
    /// The directory's keys; nil without encryption.
    package let keys: KeyRing?
    /// How far the journal is durable, once it was opened for writing.
    let durable = DurableSequence()
    let housekeeping: Housekeeping
    private let lock: any DiskLock
    /// Whether whoever opened it makes the identity once all else is there.
    private let isIdentityLast: Bool
    /// What failed beside the commits.
    package var housekeepingStatus: HousekeepingStatus { housekeeping.status }
    /// The threads that work ahead while a state is recovered.
    package var helpers: HelperThreads { options.helpers }

    /// Makes the directory if absent, locks it, and looks at what it holds.
    ///
    /// Changes nothing else.
    ///
    /// - Parameters:
    ///   - path: The directory.
    ///   - disk: The file system.
    ///   - options: Sizes and pacing.
    ///   - source: Opens the directory's keys; at a first start, makes it an encrypted one.
    ///   - given: Which deployment it belongs to from its first start on, which is not whole before
    ///     its identity is made, by whoever opens it so; nil: a new one.
    ///   - housekeepingFailed: Called by a helper thread when the mark, or the leaves of a complete
    ///     segment, could not be written.
    /// - Throws: `.locked`, `.foreignFile`, `.isBackup`, `.newerVersion`, `.olderVersion`,
    ///   `.dataLoss` when the
    ///   identity, the keys or the whole journal is gone, `.foreignCluster`, `.keyMissing`,
    ///   `.keyUnexpected`, `.wrongKey`, `.crypto`, `.io`.
    package init(
        opening path: String, disk: any Disk = RealDisk(),
        options: StorageOptions = StorageOptions(), keys source: KeySource? = nil,
        cluster given: ClusterID? = nil,
        housekeepingFailed: @escaping @Sendable (JournalError) -> Void = { _ in }
    ) throws(JournalError) {
        self.path = path
        self.disk = disk
        self.options = options
        isIdentityLast = given != nil
        housekeeping = Housekeeping(housekeepingFailed)
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
        guard !inventory.isBackup else { throw .isBackup(directory: path) }
        if inventory.hasIdentity {
            let cluster = try readIdentity(disk, path)
            self.cluster = cluster
            keys = try Self.openKeys(inventory, disk, path, cluster, source)
            return
        }
        guard try Self.isUnfinishedFirstStart(inventory, disk, path) else {
            throw .dataLoss(
                file: FileName.identity, offset: 0,
                what: "it is missing, and the directory is not empty")
        }
        var random = options.makeRandom()
        let cluster = given ?? ClusterID(low: random.word(), high: random.word())
        self.cluster = cluster
        guard let source else {
            keys = nil
            return
        }
        keys = try KeyRing.make(
            disk, path, cluster: cluster, kek: source.current, random: &random)
    }

    /// Opens the keys of a directory that has an identity; nil when it is not encrypted.
    static func openKeys(
        _ inventory: Inventory, _ disk: any Disk, _ path: String, _ cluster: ClusterID,
        _ source: KeySource?
    ) throws(JournalError) -> KeyRing? {
        guard inventory.hasKeys else {
            if source == nil { return nil }
            if let first = inventory.segments.first,
                try isEncrypted(segment: first, disk, path)
            {
                throw .dataLoss(
                    file: FileName.keys, offset: 0,
                    what: "it is missing, and \(FileName.segment(first)) is encrypted")
            }
            throw .keyUnexpected
        }
        let ring = try KeyRing.open(disk, path, source)
        guard ring.cluster == cluster else {
            throw .foreignCluster(file: FileName.keys, expected: cluster, found: ring.cluster)
        }
        return ring
    }

    private static func isEncrypted(
        segment sequence: UInt64, _ disk: any Disk, _ path: String
    ) throws(JournalError) -> Bool {
        let name = FileName.segment(sequence)
        let file = try TriageJournal.disk { () throws(IOError) in
            try disk.open(path + "/" + name, .read)
        }
        return try readHeader(of: file, .segment, name, nil).cipher != .none
    }

    /// Whether nothing is there, or a first start stopped before the identity was: then at most
    /// `keys` and a segment 1 without batches are.
    ///
    /// Beside an object of the vault `keys` are all that can still read it.
    private static func isUnfinishedFirstStart(
        _ inventory: Inventory, _ disk: any Disk, _ path: String
    ) throws(JournalError) -> Bool {
        guard inventory.snapshots.isEmpty, inventory.leaves.isEmpty, !inventory.hasMark,
            !inventory.hasHeads, try listVault(disk, path).isEmpty
        else { return false }
        if inventory.segments.isEmpty { return true }
        guard inventory.segments == [1] else { return false }
        let name = path + "/" + FileName.segment(1)
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(name, .read) }
        let reader = SegmentReader(
            disk: disk,
            cluster: try readHeader(of: file, .segment, FileName.segment(1), nil).cluster,
            keys: nil)
        let header = try reader.header(of: file, FileName.segment(1), 1)
        var content = PageBuffer(capacity: Int(header.size))
        let count = Int(header.size) - Format.blockBytes
        let read: Int
        do { read = try file.read(into: &content, 0..<count, at: Format.blockBytes) } catch {
            throw .io(error)
        }
        return read == count && content.span(0..<count).isZero
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
            var report = RecoveryReport()
            report.isFirstStart = true
            return report
        }
        return try Recovery(
            disk: disk, directory: path, cluster: cluster, keys: keys, inventory: inventory,
            threads: helpers, pieceBytes: options.recoveryPieceBytes
        ).run(into: &target)
    }

    /// Opens the journal for writing: makes missing leaves, writes the keys anew if they have to
    /// be, cuts and keeps what was torn, removes temporary files, at a first start makes the first
    /// files, and before the first segment goes to an archive the folder of that.
    ///
    /// - Parameters:
    ///   - report: From ``recover(into:)``; nothing was changed in between.
    ///   - time: Wall time now.
    /// - Returns: The journal, whose next record follows the last one recovered.
    /// - Throws: `.io`, `.crypto`; `.dataLoss` when a segment whose leaves are missing does not
    ///   verify: no file of before was changed then.
    /// - Durability: what it changed is on disk when this returns
    package func makeJournal(
        after report: RecoveryReport, time: WallTime
    ) throws(JournalError) -> JournalWriter {
        try makeMissingLeaves(report, time)
        var random = options.makeRandom()
        if report.last != nil { try keys?.settle(time: time, random: &random) }
        if let torn = report.tornTail, let last = report.last {
            try TriageJournal.disk { () throws(IOError) in try cut(torn, last.header.sequence) }
        }
        let last: LastSegment
        if let found = report.last { last = found } else { last = try makeFirstFiles(time) }
        let segment = FileName.segment(last.header.sequence)
        let file = try TriageJournal.disk { () throws(IOError) -> any DiskFile in
            for entry in try disk.list(path) where entry.name.hasSuffix(".tmp") {
                try disk.remove(path + "/" + entry.name)
            }
            try disk.syncDirectory(path)
            let file = try disk.open(path + "/" + segment, .updateDirect)
            if report.marked < report.head.sequence { try settle(segment, file, last.offset) }
            return file
        }
        let mark = try openMark(report.tree, time)
        let signer = keys.map {
            HeadSigner(disk, directory: path, keys: $0, file: report.heads)
        }
        try signer?.settle()
        makeArchive()
        return try JournalWriter(
            JournalWriter.Start(
                disk: disk, directory: path, cluster: cluster, options: options, keys: keys,
                file: file, header: last.header, offset: last.offset, leaves: last.leaves,
                tree: report.tree, mark: mark, signer: signer, durable: durable,
                time: time, housekeeping: housekeeping))
    }

    /// The snapshot of the state after the last record of `tree`, if there is one that reads back
    /// whole: it is final, and another one would only take its place.
    ///
    /// It is written once more as it was read: a killed process, or one whose sync failed, may have
    /// left it in a cache alone.
    ///
    /// - Throws: `.io`; it is as before then.
    /// - Durability: on disk when this returns
    package func settledSnapshot(at tree: MerkleTree) throws(JournalError) -> SnapshotInfo? {
        guard let info = try? readBack(tree.size), info.head == JournalHead(tree) else {
            return nil
        }
        let file = path + "/" + info.file
        do throws(IOError) {
            var copying = FileCopy(disk)
            try copying.copy(file, to: file)
            try disk.syncDirectory(path)
        } catch {
            // Its room is perhaps what was missing. Left behind, it is removed at the next start.
            try? disk.remove(file + ".tmp")
            throw .io(error)
        }
        return info
    }

    /// Begins a snapshot of the state after the last record of `tree`, which must be durable.
    ///
    /// - Throws: `.io`, `.crypto`.
    package func makeSnapshot(
        at tree: MerkleTree, time: WallTime, bytesPerSecond: Int? = nil
    ) throws(JournalError) -> SnapshotWriter {
        var options = options
        if let bytesPerSecond { options.snapshotBytesPerSecond = bytesPerSecond }
        return try SnapshotWriter(
            disk, directory: path, cluster: cluster, tree: tree, time: time, options: options,
            keys: keys)
    }

    /// Looks at the vault, which is to be reconciled before it is used; nil without encryption.
    ///
    /// - Throws: `.foreignFile`, `.dataLoss`, `.foreignCluster`, `.newerVersion`, `.io`.
    package func openVault() throws(JournalError) -> Vault? {
        guard let keys else { return nil }
        return try Vault(
            opening: path, disk: disk, keys: keys, random: options.makeRandom())
    }

    // MARK: First start and repair

    /// Makes the leaves of complete segments that have none, from the segments.
    private func makeMissingLeaves(
        _ report: RecoveryReport, _ time: WallTime
    ) throws(JournalError) {
        guard !report.missingLeaves.isEmpty else { return }
        try makeLeaves(of: try Inventory(disk, path).withoutLeaves, time, bytesPerSecond: nil)
    }

    /// Makes the leaves of complete segments from the segments.
    ///
    /// - Throws: `.dataLoss` and the like when a segment does not verify: none of it was made then;
    ///   `.io`.
    func makeLeaves(
        of segments: [UInt64], _ time: WallTime, bytesPerSecond: Int?
    ) throws(JournalError) {
        let reader = SegmentReader(disk: disk, cluster: cluster, keys: keys)
        let writer = LeavesWriter(
            disk, directory: path, cluster: cluster, bytesPerSecond: bytesPerSecond, housekeeping)
        var memory = PageBuffer(capacity: Format.blockBytes)
        for first in segments {
            var scanner = SegmentScanner()
            var none = NoTarget()
            let segment = try reader.read(first, in: path, isLast: false, memory: memory)
            try scanner.scan(segment, into: &none)
            let before = segment.header.tree ?? MerkleTree()
            try TriageJournal.disk { () throws(IOError) in
                try writer.make(scanner.leaves, after: before, time: time)
            }
            housekeeping.leavesMade(first)
            memory = segment.takeMemory()
        }
    }

    private func makeFirstFiles(_ time: WallTime) throws(JournalError) -> LastSegment {
        var random = options.makeRandom()
        if let keys {
            try keys.settle(time: time, random: &random)
        } else if try Inventory(disk, path).hasKeys {
            // Of a first start with encryption that was not finished.
            try TriageJournal.disk { () throws(IOError) in
                try disk.remove(path + "/" + FileName.keys)
                try disk.syncDirectory(path)
            }
        }
        var segment = HeaderBlock(
            kind: .segment, cluster: cluster, sequence: 1, time: time,
            size: UInt64(options.segmentBytes), tree: MerkleTree())
        _ = try FileCipher(making: &segment, keys, &random)
        let header = segment
        try TriageJournal.disk { () throws(IOError) in
            try makeFile(disk, path, FileName.segment(1), header, bytes: options.segmentBytes)
        }
        if !isIdentityLast { try makeIdentity(disk, path, cluster, time) }
        return LastSegment(header: header, offset: Format.blockBytes, leaves: [])
    }

    private func openMark(_ tree: MerkleTree, _ time: WallTime) throws(JournalError) -> MarkFile {
        let file = try TriageJournal.disk { () throws(IOError) in
            if try !disk.list(path).contains(where: { $0.name == FileName.mark }) {
                try MarkFile.make(disk, path, cluster, tree, time)
            }
            return try disk.open(path + "/" + FileName.mark, .update)
        }
        return try MarkFile(settling: file, cluster, housekeeping)
    }

    /// Writes the batches of the last segment once more, and syncs them.
    ///
    /// They were read, but perhaps from a cache alone: the process that wrote them may have been
    /// killed before its sync, or its sync may have failed, and then no later one writes them any
    /// more. Nothing may be shown, and nothing be written behind them, before they are durable.
    private func settle(
        _ segment: String, _ file: any DiskFile, _ end: Int
    ) throws(IOError) {
        let source = try disk.open(path + "/" + segment, .read)
        var chunk = PageBuffer(capacity: min(roundUp(end, to: Format.blockBytes), 1 << 20))
        var offset = 0
        while offset < end {
            let count = min(chunk.capacity, roundUp(end, to: Format.blockBytes) - offset)
            guard try source.read(into: &chunk, 0..<count, at: offset) == count else {
                throw IOError(.read, path: segment, .inputOutput)
            }
            try file.write(chunk.span(0..<count), at: offset)
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
        // What was cut there before stays.
        let taken = Set(try disk.list(path).map(\.name))
        var time: UInt64 = 1
        while taken.contains(FileName.torn(segment, torn.offset, time: time)) { time += 1 }
        let name = path + "/" + FileName.torn(segment, torn.offset, time: time)
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
struct NoTarget: RecoveryTarget, RecordVisitor, SnapshotVisitor {
    var makeDecoder: @Sendable () -> NoDecoder { { NoDecoder() } }
    mutating func take(_ records: ()) {}
    mutating func restart() {}
    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) {}
    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) {}
    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {}
}

extension DataDirectory {
    /// Checks that a server of this program could open a directory, as far as its kind and the
    /// version of its identity say; locks nothing and changes nothing.
    ///
    /// - Throws: `.isBackup`, `.dataLoss`, `.newerVersion`, `.olderVersion`, `.io`.
    package static func checkKind(
        of path: String, disk: any Disk = RealDisk()
    ) throws(JournalError) {
        guard try !Inventory(disk, path).isBackup else { throw .isBackup(directory: path) }
        _ = try readIdentity(disk, path)
    }
}
