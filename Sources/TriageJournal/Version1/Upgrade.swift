// From a data directory of format version 1 to a new one of the current version: reads the old one
// whole, writes the new one, reads both back and compares. Changes nothing in the old one; what a
// record says is the caller's.

package import TriageBase
package import TriageIO

/// Turns the payload of a record of version 1 into body and sealed fields.
package protocol RecordLifting {
    /// Fills `record`, whose former content is forgotten.
    ///
    /// - Throws: ``RecordRejection`` when the payload makes no sense.
    func lift(_ payload: Span<UInt8>, into record: inout RecordParts) throws(RecordRejection)
}

/// How far an upgrade is.
package struct UpgradeProgress: Equatable, Sendable {
    /// What is being done.
    package enum Step: String, Sendable {
        case checking, copying, comparing
    }

    /// What is being done.
    package let step: Step
    /// Segments done.
    package let done: Int
    /// Segments in all.
    package let total: Int

    /// Groups the numbers.
    package init(step: Step, done: Int, total: Int) {
        self.step = step
        self.done = done
        self.total = total
    }
}

/// What an upgrade did.
package struct UpgradeReport: Equatable, Sendable {
    /// Records in both directories.
    package let records: UInt64
    /// Head of the new one.
    package let head: JournalHead
    /// An unfinished write at the end of the old one, which was never acknowledged and is not in
    /// the new one.
    package let tornTail: TornTail?
}

/// Copies a journal of version 1 into a new directory.
package struct Upgrade {
    private let old: Inspection
    private let disk: any Disk
    private let target: String
    private let options: StorageOptions
    private let keys: KeySource?
    /// Held so that no server of the former release writes meanwhile.
    private let lock: any DiskLock

    /// Looks at both directories; changes nothing but `lock`.
    ///
    /// - Parameters:
    ///   - source: The old directory.
    ///   - archive: Where its older segments were moved; nil for nowhere.
    ///   - target: The new directory: absent or empty.
    ///   - disk: The file system.
    ///   - options: Sizes of the new directory.
    ///   - keys: Encrypts the new directory; nil: it is not encrypted.
    /// - Throws: `.locked` while a server owns the old one, `.notOlder` when it is of this version
    ///   already, `.dataLoss`, `.io`.
    package init(
        from source: String, archive: String? = nil, to target: String,
        disk: any Disk = RealDisk(), options: StorageOptions = StorageOptions(),
        keys: KeySource? = nil
    ) throws(JournalError) {
        do throws(JournalError) {
            old = try Inspection(path: source, archive: archive, disk: disk)
        } catch .keyMissing {
            // Version 1 had no encryption.
            throw .notOlder(directory: source)
        }
        guard old.version == OldFormat.version else { throw .notOlder(directory: source) }
        let path = source + "/" + FileName.lock
        switch try TriageJournal.disk({ () throws(IOError) in try disk.lock(path) }) {
        case .acquired(let lock): self.lock = lock
        case .held(let processID): throw .locked(file: path, processID: processID)
        }
        self.disk = disk
        self.target = target
        self.options = options
        self.keys = keys
    }

    /// Does it.
    ///
    /// The identity comes last, so that no server starts on a directory that was not finished.
    ///
    /// - Parameters:
    ///   - lifting: Turns payloads into records.
    ///   - time: Wall time now: it tells the new directory from one that another upgrade makes.
    ///   - progress: Called after each segment.
    /// - Returns: What was copied.
    /// - Throws: `.dataLoss`, `.gap` when the old journal does not verify or does not begin with
    ///   record 1, `.notEmpty` when the new directory holds anything, `.rejected`, `.io`. The old
    ///   directory is as before; what there is of the new one can be removed.
    /// - Durability: the new directory is on disk when this returns
    package func run<Lifting: RecordLifting>(
        _ lifting: Lifting, time: WallTime, progress: (UpgradeProgress) -> Void
    ) throws(JournalError) -> UpgradeReport {
        // Everything that the old directory remembers agrees, before anything is written.
        let verified = try old.verify()
        if let problem = verified.problems.first { throw problem }
        if let first = verified.statistics.segments.first, first.first > 1 {
            throw .gap(file: first.file, missing: 1)
        }
        progress(UpgradeProgress(step: .checking, done: 1, total: 1))
        let directory = try makeDirectory()
        var none = NoTarget()
        let recovered = try directory.recover(into: &none)
        invariant(recovered.isFirstStart, "nothing but the lock was there")
        let journal = try directory.makeJournal(after: recovered, time: time)
        var copier = Copier(journal: journal, lifting: lifting)
        let statistics: DirectoryStatistics
        do throws(JournalError) {
            statistics = try old.readJournal(into: &copier) {
                progress(UpgradeProgress(step: .copying, done: $0, total: $1))
            }
        } catch { throw copier.failure ?? error }
        try journal.commit()
        let head = journal.durableHead
        journal.close(time: time)
        try compare(
            statistics.head?.sequence ?? 0, lifting, copier.digests, progress)
        try makeIdentity(disk, target, old.cluster, time)
        return UpgradeReport(
            records: head.sequence, head: head, tornTail: statistics.tornTail)
    }

    /// Opens the new directory, in which nothing may be but what a stopped attempt locked it with.
    private func makeDirectory() throws(JournalError) -> DataDirectory {
        let isEmpty = try TriageJournal.disk { () throws(IOError) in
            try disk.makeDirectory(target)
            return try disk.list(target).allSatisfy {
                $0.name == "lost+found" || $0.name == FileName.lock
            }
        }
        guard isEmpty else { throw .notEmpty(directory: target) }
        return try DataDirectory(
            opening: target, disk: disk, options: options, keys: keys, cluster: old.cluster)
    }

    /// Reads both directories once more.
    private func compare<Lifting: RecordLifting>(
        _ records: UInt64, _ lifting: Lifting, _ copied: RecordDigests,
        _ progress: (UpgradeProgress) -> Void
    ) throws(JournalError) {
        var before = LiftedDigests(lifting: lifting)
        _ = try old.readJournal(into: &before) {
            progress(UpgradeProgress(step: .comparing, done: $0, total: 2 * $1))
        }
        var ring: KeyRing?
        if let keys { ring = try KeyRing.open(disk, target, keys) }
        let new = Inspection(making: target, old.cluster, disk: disk, keys: ring)
        var after = RecordDigests()
        _ = try new.readJournal(into: &after) {
            progress(UpgradeProgress(step: .comparing, done: $1 + $0, total: 2 * $1))
        }
        for digests in [before.digests, after] {
            guard let sequence = copied.difference(digests) else { continue }
            throw .dataLoss(
                file: target, offset: 0,
                what: "of the records from \(sequence) on one is not what the old directory has: "
                    + "remove the new one and try again")
        }
        guard after.count == records else {
            throw .dataLoss(
                file: target, offset: 0,
                what: "it has \(after.count) records, the old directory \(records)")
        }
        if let problem = try new.verify().problems.first { throw problem }
    }
}

/// Writes what it is given into a new journal.
private struct Copier<Lifting: RecordLifting>: RecordVisitor, ~Copyable {
    let journal: JournalWriter
    let lifting: Lifting
    var digests = RecordDigests()
    /// Why the new journal takes no more.
    private(set) var failure: JournalError?
    private var record = RecordParts()

    private static var batchBytes: Int { 1 << 20 }

    init(journal: JournalWriter, lifting: Lifting) {
        self.journal = journal
        self.lifting = lifting
    }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ old: RecordView
    ) throws(RecordRejection) {
        try lifting.lift(old.body, into: &record)
        digests.add(sequence, time, record)
        do throws(JournalError) {
            invariant(try append(time) == sequence, "an old journal has no gap")
            if journal.pendingBytes >= Self.batchBytes { try journal.commit() }
        } catch {
            failure = error
            throw RecordRejection("record \(sequence) cannot be written: \(error)")
        }
    }

    /// Appends the record, after a commit if there is no room before one.
    private func append(_ time: WallTime) throws(JournalError) -> UInt64 {
        do {
            return try journal.append(record, time: time)
        } catch .bufferFull {
            try journal.commit()
            return try journal.append(record, time: time)
        }
    }
}

/// Digests over runs of records, so that two journals can be compared that are not read at once.
private struct RecordDigests: RecordVisitor {
    private static let run: UInt64 = 1024
    private var running = SHA256()
    private(set) var finished: [Digest] = []
    private(set) var count: UInt64 = 0

    mutating func add(_ sequence: UInt64, _ time: WallTime, _ record: RecordParts) {
        record.withView { view in journalRecord(sequence: sequence, time: time, view) }
    }

    mutating func journalRecord(sequence: UInt64, time: WallTime, _ record: RecordView) {
        let head = Digest(
            sequence, UInt64(bitPattern: time.milliseconds), UInt64(record.body.count),
            UInt64(record.fieldCount))
        running.update(head)
        running.update(record.body)
        for number in 0..<record.fieldCount {
            let field = record.field(number + 1)
            running.update(Digest(UInt64(field.count), 0, 0, 0))
            running.update(field)
        }
        count += 1
        if count % Self.run == 0 { finished.append(running.finalize()) }
    }

    /// The first sequence of the first run that differs; nil when none does.
    func difference(_ other: RecordDigests) -> UInt64? {
        let mine = finished + [running.finalize()]
        let others = other.finished + [other.running.finalize()]
        guard mine != others else { return nil }
        let place = zip(mine, others).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        return UInt64(place ?? min(mine.count, others.count)) * Self.run + 1
    }
}

/// Digests of old records as they are lifted.
private struct LiftedDigests<Lifting: RecordLifting>: RecordVisitor {
    let lifting: Lifting
    var digests = RecordDigests()
    private var record = RecordParts()

    init(lifting: Lifting) { self.lifting = lifting }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ old: RecordView
    ) throws(RecordRejection) {
        try lifting.lift(old.body, into: &record)
        digests.add(sequence, time, record)
    }
}
