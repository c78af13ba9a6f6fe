// Makes a new data directory of an older state of another one: everything that was there up to a
// record, byte by byte, and proved before the new one gets its identity. Never touches the source.

package import TriageBase
package import TriageCrypto
package import TriageIO

/// The point at which a restored journal ends.
package enum RestorePoint: Equatable, Sendable {
    /// The last record that is there.
    case end
    /// A record.
    case sequence(UInt64)
    /// The last record before the first one that is later than this.
    case time(WallTime)
}

/// What a restore is doing.
package enum RestoreStep: String, Sendable {
    case searching, copying, verifying
}

/// What a restore did.
package struct RestoreReport: Equatable, Sendable {
    /// Where the new journal ends.
    package let head: JournalHead
    /// The newest snapshot in it; nil when everything is replayed from the first record.
    package let snapshot: UInt64?
    /// Snapshots that were left out because they do not verify.
    package let rejectedSnapshots: [RejectedSnapshot]
    /// Signed heads in it.
    package let headsKept: Int
    /// Signed heads of larger journals, which it does not have.
    package let headsLeftOut: Int
    /// The key with which it signs from now on; nil without encryption.
    package let signingKey: NoteKey?
    /// Keys of the vault without an object: of objects that the source lacks, or that were put, set
    /// aside or erased while it was backed up or copied.
    package let keysWithoutObject: Int
    /// Objects of the vault, and their keys, that do not verify, or cannot be read.
    ///
    /// The former were copied as they are, the latter left out: a server reads all else.
    package let damagedObjects: [JournalError]
}

/// Restores one directory into another.
///
/// - Isolation: one thread at a time.
package struct Restore {
    private let source: Inspection
    private let inventory: Inventory
    private let target: String
    private let keys: KeySource?
    private let makeRandom: @Sendable () -> RandomBytes
    /// Held so that no server opens what is not finished.
    private let lock: any DiskLock

    private var disk: any Disk { source.disk }

    /// Looks at both directories; makes the new one, with nothing but `lock` in it.
    ///
    /// - Parameters:
    ///   - path: The source: a data directory, or a backup of one.
    ///   - archive: Where its older segments were moved; nil for nowhere.
    ///   - target: The new directory: absent or empty.
    ///   - disk: The file system.
    ///   - keys: Opens the source's keys, if it is encrypted.
    ///   - threads: How many read ahead while the new one is verified.
    ///   - makeRandom: Makes a source of random bytes.
    /// - Throws: `.notEmpty` when the new directory holds anything, `.olderVersion` when the source
    ///   has to be upgraded first, `.locked`; as
    ///   ``Inspection/init(path:archive:disk:keys:threads:)``.
    package init(
        from path: String, archive: String? = nil, to target: String,
        disk: any Disk = RealDisk(), keys: KeySource? = nil, threads: Int = 0,
        makeRandom: @escaping @Sendable () -> RandomBytes = { RandomBytes() }
    ) throws(JournalError) {
        source = try Inspection(
            path: path, archive: archive, disk: disk, keys: keys, threads: threads)
        guard source.version == Format.version else {
            throw .olderVersion(
                file: FileName.identity, found: source.version, supported: Format.version)
        }
        inventory = try Inventory(disk, path)
        self.target = target
        self.keys = keys
        self.makeRandom = makeRandom
        let isEmpty = try TriageJournal.disk { () throws(IOError) in
            try disk.makeDirectory(target)
            // The latter is of a restore that was refused, or stopped before it copied anything.
            return try disk.list(target).allSatisfy {
                $0.name == "lost+found" || $0.name == FileName.lock
            }
        }
        guard isEmpty else { throw .notEmpty(directory: target) }
        let path = target + "/" + FileName.lock
        switch try TriageJournal.disk({ () throws(IOError) in try disk.lock(path) }) {
        case .acquired(let lock): self.lock = lock
        case .held(let processID): throw .locked(file: path, processID: processID)
        }
    }

    /// Does it.
    ///
    /// The identity comes last, so that no server starts on a directory that was not finished.
    ///
    /// - Parameters:
    ///   - point: Where the new journal ends.
    ///   - time: Wall time now.
    ///   - progress: Called with what is being done, and how many bytes of how many are.
    /// - Returns: What the new directory has.
    /// - Throws: `.noSuchPoint`; `.gap` when records before the point are missing that no snapshot
    ///   stands for; `.dataLoss` and the like for what does not verify before the point; `.io`.
    ///   What there is of the new directory can be removed.
    /// - Durability: the new directory is on disk when this returns
    package func run(
        _ point: RestorePoint, time: WallTime, progress: @escaping (RestoreStep, Int, Int) -> Void
    ) throws(JournalError) -> RestoreReport {
        let parts = try source.parts(withLeaves: true)
        let cut = try cut(try sequence(of: point, progress), parts)
        let before = parts.filter { $0.first < cut.first }
        let (snapshots, rejected) = try snapshots(cut.segment.tree.size, before, cut.first)
        var counter = ByteCounter { progress(.copying, $0, $1) }
        counter.total = try bytes(before, snapshots) + cut.segment.bytes
        try copyFiles(before, snapshots, &counter)
        var random = makeRandom()
        let name = FileName.segment(cut.first)
        try cut.segment.write(
            disk, from: cut.directory + "/" + name, to: target + "/" + name, source.keys, &random
        ) { counter.add($0) }
        let heads = try copyHeads(upTo: cut.segment.tree.size)
        let unreadable = try copyVaultAndKeys(&counter)
        let tree = cut.segment.tree
        try TriageJournal.disk { () throws(IOError) in
            try MarkFile.make(disk, target, source.cluster, tree, time)
        }
        let (signingKey, verified) = try finish(tree, time, &random, progress)
        return RestoreReport(
            head: JournalHead(tree), snapshot: snapshots.last, rejectedSnapshots: rejected,
            headsKept: heads.kept, headsLeftOut: heads.leftOut, signingKey: signingKey,
            keysWithoutObject: verified.vault?.withoutObject ?? 0,
            damagedObjects: unreadable + verified.objectProblems)
    }

    // MARK: The point

    /// The last record that stays; nil: the last one there is.
    private func sequence(
        of point: RestorePoint, _ progress: (RestoreStep, Int, Int) -> Void
    ) throws(JournalError) -> UInt64? {
        switch point {
        case .end: return nil
        case .sequence(let sequence):
            guard sequence > 0 else {
                throw .noSuchPoint(what: "a journal cannot end with record 0: records count from 1")
            }
            return sequence
        case .time(let time):
            var search = TimeSearch(time: time)
            do {
                _ = try source.readJournal(into: &search) { progress(.searching, $0, $1) }
            } catch {
                guard search.isOver else { throw error }
            }
            if let last = search.last { return last }
            throw .noSuchPoint(
                what: "\(Timestamp.rfc3339(time)) is before the first record that is there: "
                    + "older ones may be in a --journal-archive")
        }
    }

    /// The segment in which the new journal ends.
    private struct Cut: ~Copyable {
        let first: UInt64
        /// Where it is.
        let directory: String
        let segment: SegmentCut
    }

    private func cut(
        _ sequence: UInt64?, _ parts: [JournalPart]
    ) throws(JournalError) -> Cut {
        let there = parts.filter { $0.directory != nil }
        var upTo = there.filter { $0.first - 1 <= sequence ?? .max }
        guard let last = upTo.popLast() else {
            throw .gap(file: there.first?.file ?? FileName.segment(1), missing: sequence ?? 1)
        }
        do { return try cut(sequence, in: last) } catch {
            // Nothing is needed of a segment that begins behind the point.
            guard last.first - 1 == sequence, let before = upTo.last else { throw error }
            return try cut(sequence, in: before)
        }
    }

    private func cut(_ sequence: UInt64?, in last: JournalPart) throws(JournalError) -> Cut {
        guard let directory = last.directory else {
            preconditionFailure("a part with records is in a directory")
        }
        let content = try source.segmentReader.read(
            last.first, in: directory, isLast: last.isLast,
            memory: PageBuffer(capacity: Format.blockBytes))
        return Cut(
            first: last.first, directory: directory,
            segment: try SegmentCut(content, upTo: sequence))
    }

    /// The snapshots of records up to the last one that verify, which must do as a start.
    private func snapshots(
        _ last: UInt64, _ before: [JournalPart], _ cut: UInt64
    ) throws(JournalError) -> (good: [UInt64], rejected: [RejectedSnapshot]) {
        var good: [UInt64] = []
        var rejected: [RejectedSnapshot] = []
        for sequence in inventory.snapshots where sequence <= last {
            do throws(JournalError) {
                var none = NoTarget()
                _ = try source.readSnapshot(after: sequence, into: &none)
                good.append(sequence)
            } catch {
                guard error.isDamage || Recovery.isUnreadable(error) else { throw error }
                rejected.append(
                    RejectedSnapshot(file: FileName.snapshot(sequence), error: error))
            }
        }
        let first = before.first { $0.directory != nil }?.first ?? cut
        guard first <= (good.last ?? 0) + 1 else {
            if let newest = rejected.last { throw newest.error }
            throw .gap(file: FileName.segment(first), missing: (good.last ?? 0) + 1)
        }
        return (good, rejected)
    }

    // MARK: Copying

    private func bytes(
        _ before: [JournalPart], _ snapshots: [UInt64]
    ) throws(JournalError) -> Int {
        var paths = snapshots.map { source.path + "/" + FileName.snapshot($0) }
        for part in before {
            if let directory = part.directory {
                paths.append(directory + "/" + FileName.segment(part.first))
            }
        }
        for entry in try listVault(disk, source.path) where !entry.name.hasSuffix(".tmp") {
            paths.append(source.path + "/" + FileName.vault + "/" + entry.name)
        }
        var total = 0
        for path in paths { total += try fileBytes(disk, path) }
        return total
    }

    private func copyFiles(
        _ before: [JournalPart], _ snapshots: [UInt64], _ counter: inout ByteCounter
    ) throws(JournalError) {
        do throws(IOError) {
            var copying = FileCopy(disk)
            for part in before {
                if part.hasLeaves {
                    let name = "/" + FileName.leaves(part.first)
                    try copying.copy(source.path + name, to: target + name)
                }
                guard let directory = part.directory else { continue }
                let name = "/" + FileName.segment(part.first)
                try copying.copy(directory + name, to: target + name) { counter.add($0) }
            }
            for sequence in snapshots {
                let name = "/" + FileName.snapshot(sequence)
                try copying.copy(source.path + name, to: target + name) { counter.add($0) }
            }
        } catch { throw .io(error) }
    }

    /// Copies the signed heads of journals that are not larger.
    private func copyHeads(
        upTo last: UInt64
    ) throws(JournalError) -> (kept: Int, leftOut: Int) {
        guard inventory.hasHeads else { return (0, 0) }
        let heads = try HeadsFile.read(disk, source.path, source.cluster).heads
        let kept = heads.prefix { $0.head.sequence <= last }.count
        if kept > 0 {
            let name = "/" + FileName.heads
            do throws(IOError) {
                var copying = FileCopy(disk)
                try copying.copy(
                    source.path + name, to: target + name, count: HeadsFile.offset(of: kept))
            } catch { throw .io(error) }
        }
        return (kept, heads.count - kept)
    }

    /// Copies what has no sequence: objects that the journal does not refer to are set aside when a
    /// server starts.
    ///
    /// - Returns: Why objects could not be read, which are not in the new directory.
    private func copyVaultAndKeys(
        _ counter: inout ByteCounter
    ) throws(JournalError) -> [JournalError] {
        guard inventory.hasKeys else { return [] }
        var unreadable: [JournalError] = []
        let entries = try listVault(disk, source.path).filter { !$0.name.hasSuffix(".tmp") }
        do throws(IOError) {
            var copying = FileCopy(disk)
            let vault = "/" + FileName.vault
            if !entries.isEmpty { try disk.makeDirectory(target + vault) }
            for entry in entries {
                let name = vault + "/" + entry.name
                do throws(IOError) {
                    try copying.copy(source.path + name, to: target + name) { counter.add($0) }
                } catch {
                    if error.operation == .read, entry.name != VaultLayout.keysName {
                        unreadable.append(.io(error))
                        try disk.remove(target + name + ".tmp")
                        continue
                    }
                    // Erased meanwhile, by a server that runs on the source.
                    guard error.operation == .open, error.errno == .notFound else { throw error }
                }
            }
            if !entries.isEmpty { try disk.syncDirectory(target + vault) }
            let name = "/" + FileName.keys
            try copying.copy(source.path + name, to: target + name)
            try disk.syncDirectory(target)
        } catch { throw .io(error) }
        return unreadable
    }

    // MARK: The end

    /// Verifies the new directory, gives it a signing key of its own, and its identity.
    private func finish(
        _ tree: MerkleTree, _ time: WallTime, _ random: inout RandomBytes,
        _ progress: @escaping (RestoreStep, Int, Int) -> Void
    ) throws(JournalError) -> (signingKey: NoteKey?, verified: Verification) {
        var ring: KeyRing?
        if inventory.hasKeys { ring = try KeyRing.open(disk, target, keys) }
        let made = Inspection(
            making: target, source.cluster, disk: disk, keys: ring, threads: source.threads)
        let verified = try made.verify(isCopy: true) { progress(.verifying, $0, $1) }
        if let problem = verified.directoryProblems.first { throw problem }
        guard verified.statistics.head == JournalHead(tree) else {
            throw .dataLoss(
                file: FileName.segment(1), offset: 0,
                what: "the new journal ends with record "
                    + "\(verified.statistics.head?.sequence ?? 0), and should with \(tree.size)")
        }
        var signingKey: NoteKey?
        if let ring {
            try ring.settle(time: time, random: &random)
            let number = try ring.renew(.signing, time: time, random: &random)
            signingKey = ring.signingKey(number).map {
                HeadText.noteKey(ring.cluster, $0.verifyingKey)
            }
        }
        try makeIdentity(disk, target, source.cluster, time)
        return (signingKey, verified)
    }
}

/// Looks for the last record that is not later than a time.
private struct TimeSearch: RecordVisitor {
    let time: WallTime
    var last: UInt64?
    var isOver = false

    init(time: WallTime) { self.time = time }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        guard time <= self.time else {
            isOver = true
            throw RecordRejection("the search is over")
        }
        last = sequence
    }
}
