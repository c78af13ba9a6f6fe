// Keeps a data directory from growing for ever: which snapshots stay, and what becomes of segments
// that the oldest of them stands for. Removes only what was just proven to be superfluous.

package import TriageBase
internal import TriageIO

/// What becomes of a segment that no kept snapshot needs any more.
package enum JournalRetention: Equatable, Sendable {
    /// It stays: the journal is the audit log, and the directory grows.
    case keep
    /// It is copied into a directory outside the data directory, and then removed.
    case archive(String)
    /// It is removed: the audit log begins later from then on.
    case remove
}

/// What a data directory holds.
package struct Holdings: Equatable, Sendable {
    /// Segments.
    package var segments = 0
    /// First sequence of the oldest segment; 0 without one.
    package var firstSequence: UInt64 = 0
    /// Snapshots.
    package var snapshots = 0

    /// Nothing.
    package init() {}

    init(_ inventory: Inventory) {
        segments = inventory.segments.count
        firstSequence = inventory.segments.first ?? 0
        snapshots = inventory.snapshots.count
    }
}

/// What tidying did.
package struct Tidied: Equatable, Sendable {
    /// Snapshots that were removed.
    package var snapshots: [String]
    /// Segments that were removed, or moved to the archive.
    package var segments: [String]
    /// Leaves that could not be written when their segments were complete, and are there now.
    package var leaves: [String]
    /// What is left.
    package var holdings: Holdings
}

extension DataDirectory {
    private static let copyBytes = 1 << 20

    /// Removes what a new snapshot has made superfluous, as far as the options allow.
    ///
    /// That is all but the newest snapshots, and, unless the journal is kept, the segments of which
    /// every record is covered by the oldest snapshot that stays.
    ///
    /// The last segment always stays. With fewer snapshots than are to be kept nothing is removed,
    /// and nothing before the oldest that stays was read back whole, unless the journal is there
    /// from its first record on and stays so: from then on that snapshot is the only record of
    /// what is gone, and one of before may have been the last good one.
    ///
    /// Before that it makes the leaves that could not be written when their segments were complete,
    /// without which these and all later ones stay.
    ///
    /// May run beside a ``JournalWriter`` of the same directory, in one thread at a time.
    ///
    /// - Parameters:
    ///   - time: Wall time now.
    ///   - mayMove: Asked by its first sequence before a segment is copied to the archive, from
    ///     where nothing can be taken back; if not, it stays, and so do those behind it.
    /// - Returns: What was done, and what is left.
    /// - Throws: `.io`, also when the archive's folder is missing, of which none is made here;
    ///   `.foreignFile`; `.dataLoss` when a segment without leaves, the snapshot
    ///   (nothing is removed then), or a file in the archive of the same name, is not what it
    ///   should be. Whatever was done by then is consistent, and the next call goes on with it.
    /// - Durability: what is gone is gone for good when this returns
    package func tidy(
        time: WallTime, mayMove: (UInt64) -> Bool = { _ in true }
    ) throws(JournalError) -> Tidied {
        let missing = housekeeping.withoutLeaves
        var problem: JournalError?
        do throws(JournalError) {
            try makeLeaves(of: missing, time, bytesPerSecond: options.preparationBytesPerSecond)
        } catch {
            // What does not need them is removed all the same.
            problem = error
        }
        let (snapshots, segments) = try removeSuperfluous(mayMove)
        if let problem { throw problem }
        return Tidied(
            snapshots: snapshots, segments: segments, leaves: missing.map(FileName.leaves),
            holdings: try holdings())
    }

    private func removeSuperfluous(
        _ mayMove: (UInt64) -> Bool
    ) throws(JournalError) -> (snapshots: [String], segments: [String]) {
        let inventory = try Inventory(disk, path)
        let snapshots = inventory.snapshots.dropLast(max(1, options.snapshotsKept))
            .map(FileName.snapshot)
        var archive: String?
        if case .archive(let place) = options.journalRetention { archive = place }
        let segments = superfluousSegments(inventory).prefix { archive == nil || mayMove($0) }
        let isNeeded = !segments.isEmpty || !snapshots.isEmpty && inventory.segments.first != 1
        if isNeeded, let oldest = oldestKept(inventory) { try readBack(oldest) }
        for name in snapshots { try remove(name) }
        var removed: [String] = []
        for first in segments {
            let name = FileName.segment(first)
            if let archive {
                // Perhaps not any more, after those before it.
                guard mayMove(first) else { break }
                try copy(name, to: archive)
            }
            // In rising order, each removal durable before the next: a crash leaves no gap.
            try remove(name)
            removed.append(name)
        }
        return (snapshots, removed)
    }

    /// Counts files by their names.
    package func holdings() throws(JournalError) -> Holdings {
        Holdings(try Inventory(disk, path))
    }

    /// The segments that the oldest snapshot that is kept stands for, oldest first.
    private func superfluousSegments(_ inventory: Inventory) -> [UInt64] {
        guard options.journalRetention != .keep, let covered = oldestKept(inventory) else {
            return []
        }
        let kept = Set(inventory.leaves)
        return zip(inventory.segments, inventory.segments.dropFirst())
            .filter { $0.1 <= covered + 1 }
            // What is left of a segment is its leaves: without them it stays, and what follows it.
            .prefix { kept.contains($0.0) }.map(\.0)
    }

    /// The oldest snapshot that is kept; nil with fewer snapshots than are to be kept.
    func oldestKept(_ inventory: Inventory) -> UInt64? {
        let count = max(1, options.snapshotsKept)
        return inventory.snapshots.count < count ? nil : inventory.snapshots.suffix(count).first
    }

    /// Reads a snapshot whole.
    @discardableResult
    func readBack(_ sequence: UInt64) throws(JournalError) -> SnapshotInfo {
        var none = NoTarget()
        var reader = try SnapshotReader(
            disk, directory: path, sequence: sequence, cluster: cluster, keys: keys)
        return try reader.read(into: &none, threads: HelperThreads(count: 0))
    }

    private func remove(_ name: String) throws(JournalError) {
        try TriageJournal.disk { () throws(IOError) in
            try disk.remove(path + "/" + name)
            try disk.syncDirectory(path)
        }
    }

    /// Makes the archive's folder, as long as nothing was moved there.
    ///
    /// Later one that is missing is on a disk that is not there, and what was copied into a new one
    /// would be lost to whoever looks for it on that disk.
    func makeArchive() {
        guard case .archive(let archive) = options.journalRetention,
            (try? Inventory(disk, path))?.segments.first == 1
        else { return }
        // Tidying fails without it, and tells.
        try? disk.makeDirectory(archive)
    }

    /// Makes a durable copy of a segment in the archive, unless an earlier run did.
    private func copy(_ name: String, to archive: String) throws(JournalError) {
        let isThere = try TriageJournal.disk { () throws(IOError) in
            try disk.list(archive).contains { $0.name == name }
        }
        if isThere {
            guard try isCopied(name, to: archive) else {
                throw .dataLoss(
                    file: archive + "/" + name, offset: 0,
                    what: "the archive has another file of this name")
            }
        }
        try TriageJournal.disk { () throws(IOError) in
            if !isThere {
                var pacer = Pacer(disk, bytesPerSecond: options.snapshotBytesPerSecond)
                var copying = FileCopy(disk)
                try copying.copy(path + "/" + name, to: archive + "/" + name) { pacer.wrote($0) }
            }
            // Also when the copy is of an earlier run, which may have ended before this.
            try disk.syncDirectory(archive)
        }
    }

    /// Whether a file of the archive has the same bytes.
    private func isCopied(_ name: String, to archive: String) throws(JournalError) -> Bool {
        try TriageJournal.disk { () throws(IOError) in
            let source = try disk.open(path + "/" + name, .read)
            let copy = try disk.open(archive + "/" + name, .read)
            guard try source.size() == copy.size() else { return false }
            var mine = PageBuffer(capacity: Self.copyBytes)
            var other = PageBuffer(capacity: Self.copyBytes)
            var offset = 0
            while true {
                let count = try source.read(into: &mine, 0..<Self.copyBytes, at: offset)
                guard try copy.read(into: &other, 0..<Self.copyBytes, at: offset) == count else {
                    return false
                }
                if count == 0 { return true }
                if mine.sha256(0..<count) != other.sha256(0..<count) { return false }
                offset += count
            }
        }
    }
}
