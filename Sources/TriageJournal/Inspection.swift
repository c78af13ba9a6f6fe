// Looks into a data directory from outside, without the server and without its lock: counts,
// records, proof that everything verifies. Changes nothing, never.

package import TriageBase
internal import TriageCrypto
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
    /// Version of the format.
    package var version: UInt32
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
    /// Signed heads whose signatures verify.
    package var signedHeads = 0
    /// What the vault holds besides; nil without one.
    package var vault: VaultCount?
    /// What does not verify, but for single objects.
    var directoryProblems: [JournalError] = []
    /// Objects of the vault, and their keys, that do not verify: all else goes on without them.
    var objectProblems: [JournalError] = []
    /// Everything that does not verify; empty means that all is well.
    package var problems: [JournalError] { directoryProblems + objectProblems }
}

/// A part of a journal: a segment in the directory or the archive, or what is left of one.
struct JournalPart {
    let first: UInt64
    /// Where the segment is; nil: only its leaves are there.
    let directory: String?
    let hasLeaves: Bool
    let isLast: Bool

    var file: String { directory == nil ? FileName.leaves(first) : FileName.segment(first) }

    /// What is left of it once its segment is gone.
    var retired: JournalPart {
        JournalPart(first: first, directory: nil, hasLeaves: hasLeaves, isLast: isLast)
    }
}

/// Counts bytes for whoever wants to see how far something is.
struct ByteCounter {
    private let report: ((Int, Int) -> Void)?
    var total = 0
    private var done = 0

    /// Counts for `report`; nil: nobody wants to know.
    init(_ report: ((Int, Int) -> Void)?) {
        self.report = report
    }

    var isWatched: Bool { report != nil }

    mutating func add(_ bytes: Int) {
        done += bytes
        report?(done, total)
    }
}

/// Bytes of a file.
func fileBytes(_ disk: any Disk, _ path: String) throws(JournalError) -> Int {
    try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read).size() }
}

/// Goes through the parts of a journal of one version, in order.
protocol JournalParts: ~Copyable {
    /// Where the journal stands; nil before the first part.
    var head: JournalHead? { get }

    /// Goes through a part that must go on where the one before ended.
    ///
    /// - Returns: What it counted, and what is torn behind it; nil of leaves alone.
    mutating func scan<Visitor: RecordVisitor & ~Copyable>(
        _ part: JournalPart, into visitor: inout Visitor
    ) throws(JournalError) -> (SegmentStatistics, TornTail?)?

    /// Forgets where the journal stands, after something that did not verify.
    mutating func forget()
}

/// A data directory seen from outside.
package struct Inspection: Sendable {
    /// The format version that this release writes.
    package static let currentVersion = Format.version

    /// The directory's path.
    package let path: String
    /// Which deployment it belongs to.
    package let cluster: ClusterID
    /// Version of its format.
    package let version: UInt32
    let disk: any Disk
    let keys: KeyRing?
    /// Where segments from before the directory's are; nil for nowhere.
    let archive: String?
    /// Threads that read ahead.
    let threads: Int
    /// Bytes of the journal that are read at a time.
    let pieceBytes: Int

    /// Looks at a directory.
    ///
    /// - Parameters:
    ///   - path: The directory.
    ///   - archive: Where ``JournalRetention/archive(_:)`` moved older segments, if they are to be
    ///     read too.
    ///   - disk: The file system.
    ///   - source: Opens the directory's keys, if it is encrypted.
    ///   - threads: How many read ahead; 0: none, one piece after the other.
    ///   - pieceBytes: Bytes of the journal that are read at a time.
    /// - Throws: `.foreignFile`, `.dataLoss` without a good identity, `.newerVersion`,
    ///   `.keyMissing`, `.keyUnexpected`, `.wrongKey`, `.io`.
    package init(
        path: String, archive: String? = nil, disk: any Disk = RealDisk(),
        keys source: KeySource? = nil, threads: Int = 0,
        pieceBytes: Int = StorageOptions.pieceBytes
    ) throws(JournalError) {
        self.path = path
        self.threads = threads
        self.pieceBytes = pieceBytes
        self.archive = archive
        self.disk = disk
        let inventory = try Inventory(disk, path)
        guard inventory.hasIdentity else {
            throw .dataLoss(
                file: FileName.identity, offset: 0,
                what: inventory.isEmpty ? "this is no data directory" : "it is missing")
        }
        do throws(JournalError) {
            cluster = try readIdentity(disk, path)
            version = Format.version
        } catch .olderVersion(_, OldFormat.version, _) {
            let name = path + "/" + FileName.identity
            let file = try TriageJournal.disk { () throws(IOError) in try disk.open(name, .read) }
            cluster = try OldFormat.header(of: file, .identity, FileName.identity, nil).cluster
            version = OldFormat.version
        }
        keys = try DataDirectory.openKeys(inventory, disk, path, cluster, source)
    }

    /// Looks at the directory that this process owns.
    init(_ data: DataDirectory, archive: String?) {
        self.init(
            making: data.path, data.cluster, disk: data.disk, keys: data.keys, archive: archive)
    }

    /// Looks at a directory that may have no identity yet.
    init(
        making path: String, _ cluster: ClusterID, disk: any Disk, keys: KeyRing?,
        archive: String? = nil, threads: Int = 0
    ) {
        self.path = path
        self.cluster = cluster
        version = Format.version
        self.disk = disk
        self.keys = keys
        self.archive = archive
        self.threads = threads
        pieceBytes = StorageOptions.pieceBytes
    }

    // MARK: Reading

    /// Hands out every record of the journal, oldest first, and counts.
    ///
    /// - Parameters:
    ///   - visitor: Gets the records.
    ///   - each: Called after each segment, with how many are done and how many there are.
    /// - Returns: What the journal holds.
    /// - Throws: `.dataLoss` and `.gap` at the first place that does not verify; records before it
    ///   were handed out. `.rejected` when the visitor wants no more.
    package func readJournal<Visitor: RecordVisitor & ~Copyable>(
        into visitor: inout Visitor, each: (Int, Int) -> Void = { _, _ in }
    ) throws(JournalError) -> DirectoryStatistics {
        let list = try parts(withLeaves: false)
        if version == OldFormat.version {
            var old = OldSegments(disk, cluster, [])
            return try readJournal(list, &old, into: &visitor, each)
        }
        var segments = try Segments(self, list)
        return try readJournal(list, &segments, into: &visitor, each)
    }

    private func readJournal<Parts: JournalParts & ~Copyable, Visitor: RecordVisitor & ~Copyable>(
        _ list: [JournalPart], _ parts: inout Parts, into visitor: inout Visitor,
        _ each: (Int, Int) -> Void
    ) throws(JournalError) -> DirectoryStatistics {
        var statistics = DirectoryStatistics(cluster: cluster, version: version)
        for (index, part) in list.enumerated() {
            statistics.add(try parts.scan(part, into: &visitor), parts.head)
            each(index + 1, list.count)
        }
        try listSnapshots(&statistics)
        return statistics
    }

    private func snapshot(_ sequence: UInt64) throws(JournalError) -> SnapshotReader {
        version == OldFormat.version
            ? try OldFormat.snapshot(disk, path, sequence, cluster)
            : try SnapshotReader(
                disk, directory: path, sequence: sequence, cluster: cluster, keys: keys)
    }

    /// Hands out every record of the snapshot after `sequence`.
    ///
    /// - Throws: `.dataLoss`, `.rejected`, `.io`.
    package func readSnapshot<Visitor: SnapshotVisitor & ~Copyable>(
        after sequence: UInt64, into visitor: inout Visitor
    ) throws(JournalError) -> (info: SnapshotInfo, sections: [SnapshotSection]) {
        var reader = try snapshot(sequence)
        let info = try reader.read(into: &visitor, threads: HelperThreads(count: threads))
        return (info, reader.sections)
    }

    private func listSnapshots(_ statistics: inout DirectoryStatistics) throws(JournalError) {
        for sequence in try Inventory(disk, path).snapshots {
            let reader = try snapshot(sequence)
            statistics.snapshots.append(
                SnapshotStatistics(
                    file: FileName.snapshot(sequence), head: reader.head.head,
                    time: reader.head.time, bytes: reader.fileBytes))
        }
    }

    /// The parts of the journal, in order.
    func parts(withLeaves: Bool) throws(JournalError) -> [JournalPart] {
        let inventory = try Inventory(disk, path)
        guard let oldest = inventory.segments.first, let newest = inventory.segments.last else {
            throw .dataLoss(
                file: FileName.segment(1), offset: 0, what: "the journal has no segment")
        }
        var directories = [UInt64: String]()
        for first in inventory.segments { directories[first] = path }
        if let archive {
            // What is in both was copied, and not removed before the power went.
            for first in try Inventory.archived(disk, archive) where first < oldest {
                directories[first] = archive
            }
        }
        let leaves = Set(withLeaves ? inventory.leaves : [])
        return leaves.union(directories.keys).sorted().map { first in
            JournalPart(
                first: first, directory: directories[first], hasLeaves: leaves.contains(first),
                isLast: first == newest)
        }
    }

    // MARK: Checking

    /// Reads and checks everything: checksums, tags, lengths, sequences, the tree from the first
    /// record on, its agreement with every snapshot, with the mark and with the leaves; every
    /// object of the vault.
    ///
    /// Goes on behind what does not verify, so that all of it is named. Of version 1 the chain,
    /// from the first segment on.
    ///
    /// - Parameter progress: Called with how many bytes are done, and how many there are; nil:
    ///   nobody wants to know.
    /// - Returns: Counts, and everything that does not verify.
    /// - Throws: `.io`, `.foreignFile` when the directory itself cannot be read.
    package func verify(
        progress: ((Int, Int) -> Void)? = nil
    ) throws(JournalError) -> Verification {
        try verify(isCopy: false, progress)
    }

    /// Reads and checks everything.
    ///
    /// - Parameters:
    ///   - isCopy: Whether the vault is a copy of one that was perhaps used meanwhile, or of a
    ///     backup's: it may have keys whose objects it has not.
    ///   - progress: As above.
    /// - Returns: Counts, and everything that does not verify.
    /// - Throws: `.io`, `.foreignFile` when the directory itself cannot be read.
    func verify(
        isCopy: Bool, _ progress: ((Int, Int) -> Void)?
    ) throws(JournalError) -> Verification {
        var inventory = try Inventory(disk, path)
        var counter = ByteCounter(progress)
        if counter.isWatched { counter.total = try bytesToVerify(inventory) }
        var result = Verification(
            statistics: DirectoryStatistics(cluster: cluster, version: version))
        var checkpoints = readCheckpoints(inventory, &result, &counter)
        while result.directoryProblems.contains(where: \.isMissingFile) {
            // What a server beside has removed since is no more in the list.
            let now = try Inventory(disk, path)
            if now.snapshots == inventory.snapshots { break }
            inventory = now
            result.snapshots = []
            result.directoryProblems = []
            checkpoints = readCheckpoints(inventory, &result, &counter)
        }
        let isOld = version == OldFormat.version
        let list = try parts(withLeaves: !isOld)
        if !isOld, let first = list.first, first.first > 1 {
            result.directoryProblems.append(.gap(file: first.file, missing: 1))
        }
        if !isOld, let lost = inventory.lostEnd { result.directoryProblems.append(lost) }
        // Only what retention took is without its records, which is the beginning; with an archive
        // nothing is.
        var isRetired = archive == nil
        for (part, next) in zip(list, list.dropFirst()) {
            if part.directory != nil { isRetired = false }
            if part.directory == nil, !isRetired {
                result.directoryProblems.append(.gap(file: next.file, missing: part.first))
            }
        }
        let isWhole: Bool
        if isOld {
            var old = OldSegments(disk, cluster, checkpoints)
            isWhole = check(list, &old, &result, &counter)
        } else {
            var segments = try Segments(self, list, checkpoints)
            isWhole = check(list, &segments, &result, &counter)
        }
        let last = result.statistics.head?.sequence ?? 0
        // Behind damage that was named the end is not known.
        for checkpoint in checkpoints where isWhole && checkpoint.head.sequence > last {
            result.directoryProblems.append(
                .dataLoss(
                    file: result.statistics.segments.last?.file ?? FileName.segment(1),
                    offset: result.statistics.segments.last?.bytesUsed ?? 0,
                    what: "the journal ends with record \(last), but \(checkpoint.file) says "
                        + "that it had record \(checkpoint.head.sequence)"))
        }
        do { try listSnapshots(&result.statistics) } catch {
            result.directoryProblems.append(error)
        }
        if let keys {
            do {
                let vault = try Vault(
                    opening: path, disk: disk, keys: keys, random: RandomBytes())
                var demand = isCopy ? VaultDemand.nothing : .everything
                if inventory.isBackup { demand = .listed(try listedObjects(disk, path)) }
                let checked = vault.check(demand) { counter.add($0) }
                result.vault = checked.count
                result.objectProblems = checked.problems
            } catch { result.directoryProblems.append(error) }
        }
        return result
    }

    /// Goes through the parts, behind what does not verify too.
    ///
    /// - Returns: Whether all of them verify.
    private func check<Parts: JournalParts & ~Copyable>(
        _ list: [JournalPart], _ parts: inout Parts, _ result: inout Verification,
        _ counter: inout ByteCounter
    ) -> Bool {
        var isWhole = true
        for part in list {
            do {
                var none = NoTarget()
                result.statistics.add(try parts.scan(part, into: &none), parts.head)
            } catch {
                if goesOn(behind: part, error, &parts) { continue }
                result.directoryProblems.append(error)
                parts.forget()
                isWhole = false
            }
            if counter.isWatched, let place = part.directory {
                counter.add((try? fileBytes(disk, place + "/" + part.file)) ?? 0)
            }
        }
        return isWhole
    }

    /// Whether a segment is missing because a server beside has retired it since it was listed, so
    /// that its leaves stand for it.
    private func goesOn<Parts: JournalParts & ~Copyable>(
        behind part: JournalPart, _ error: JournalError, _ parts: inout Parts
    ) -> Bool {
        guard error.isMissingFile, part.hasLeaves, let now = try? Inventory(disk, path),
            now.leaves.contains(part.first), !now.segments.contains(part.first)
        else { return false }
        var none = NoTarget()
        do { _ = try parts.scan(part.retired, into: &none) } catch { return false }
        return true
    }

    /// The heads that snapshots and the mark remember and that were signed; what of these does not
    /// verify is a problem.
    private func readCheckpoints(
        _ inventory: Inventory, _ result: inout Verification, _ counter: inout ByteCounter
    ) -> [Checkpoint] {
        var checkpoints: [Checkpoint] = []
        for sequence in inventory.snapshots {
            do {
                var none = NoTarget()
                let info = try readSnapshot(after: sequence, into: &none).info
                result.snapshots.append(info)
                counter.add(info.bytes)
                checkpoints.append(Checkpoint(head: info.head, file: info.file))
            } catch { result.directoryProblems.append(error) }
        }
        if inventory.hasHeads {
            do throws(JournalError) {
                if let heads = try readHeads() {
                    let good = heads.checkpoints(&result.directoryProblems)
                    result.signedHeads = good.count
                    checkpoints += good
                }
            } catch { result.directoryProblems.append(error) }
        }
        // Without one, a server cannot start here, whatever an archive holds.
        if let first = inventory.segments.first, first > 1,
            result.snapshots.allSatisfy({ $0.head.sequence + 1 < first })
        {
            let missing = (result.snapshots.last?.head.sequence ?? 0) + 1
            result.directoryProblems.append(.gap(file: FileName.segment(first), missing: missing))
        }
        if inventory.hasMark {
            do {
                if let head = try readMark() {
                    checkpoints.append(Checkpoint(head: head, file: FileName.mark))
                }
            } catch { result.directoryProblems.append(error) }
        }
        return checkpoints
    }

    /// Bytes of what ``verify(progress:)`` reads and counts.
    private func bytesToVerify(_ inventory: Inventory) throws(JournalError) -> Int {
        var paths = inventory.snapshots.map { path + "/" + FileName.snapshot($0) }
        paths += try parts(withLeaves: false).compactMap { part in
            part.directory.map { $0 + "/" + part.file }
        }
        if keys != nil {
            let vault = path + "/" + FileName.vault + "/"
            paths += try listVault(disk, path).map(\.name).filter {
                $0.hasSuffix(VaultLayout.suffix) || $0.hasSuffix(VaultLayout.asideSuffix)
            }
            .map { vault + $0 }
        }
        var total = 0
        for path in paths {
            // What is removed meanwhile is not read either.
            do { total += try fileBytes(disk, path) } catch {
                guard error.isMissingFile else { throw error }
            }
        }
        return total
    }

    private func readMark() throws(JournalError) -> JournalHead? {
        let name = path + "/" + FileName.mark
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(name, .read) }
        return version == OldFormat.version
            ? try OldFormat.mark(file, cluster) : try MarkFile.head(file, cluster)
    }
}

extension DirectoryStatistics {
    fileprivate mutating func add(
        _ scanned: (SegmentStatistics, TornTail?)?, _ head: JournalHead?
    ) {
        guard let scanned else { return }
        segments.append(scanned.0)
        tornTail = scanned.1
        self.head = head
    }
}
