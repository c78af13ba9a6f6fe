// From a data directory to an engine that can be started: lock, recovery, journal, and the report
// of what was found and repaired.

package import TriageBase
internal import TriageCodec
internal import TriageCrypto
internal import TriageDomain
package import TriageIO
package import TriageJournal

extension Engine {
    /// Opens a data directory and recovers its state.
    ///
    /// - Parameters:
    ///   - path: The data directory; made if absent.
    ///   - disk: The file system.
    ///   - storage: Sizes and pacing of files.
    ///   - keys: Opens the directory's keys; nil: it is, and stays, without encryption.
    ///   - configuration: The engine's settings.
    ///   - clock: Both times.
    ///   - journalFailed: Called once, on the engine's thread, when the journal has failed: health
    ///     turns NOT_SERVING.
    ///   - reloadFailed: Called on a helper thread each time that the durable state could not be
    ///     read back after that.
    ///   - housekeepingFailed: Called on a helper thread when the mark, or the leaves of a complete
    ///     segment, could not be written.
    ///   - snapshotEnded: Called on the engine's thread with what became of snapshots.
    ///   - vaultFailed: Called on the vault's thread with what an operator has to know of it.
    ///   - auditFailed: Called on a helper thread when a head could not be signed, or a proof not
    ///     be made from the files.
    ///   - backupFailed: Called on a helper thread when a file could not be read for a backup.
    /// - Returns: The engine, to be started.
    /// - Throws: `.storage` when the directory is locked, unreadable or not ours; nothing was
    ///   changed then, or only temporary files removed.
    package static func open(
        _ path: String, disk: any Disk = RealDisk(), storage: StorageOptions = StorageOptions(),
        keys: KeySource? = nil, configuration: EngineConfiguration = EngineConfiguration(),
        clock: any TimeSource = SystemClock(),
        journalFailed: @escaping @Sendable (JournalError) -> Void = { _ in },
        reloadFailed: @escaping @Sendable (JournalError) -> Void = { _ in },
        housekeepingFailed: @escaping @Sendable (JournalError) -> Void = { _ in },
        snapshotEnded: @escaping @Sendable (SnapshotResult) -> Void = { _ in },
        vaultFailed: @escaping @Sendable (JournalError) -> Void = { _ in },
        auditFailed: @escaping @Sendable (JournalError) -> Void = { _ in },
        backupFailed: @escaping @Sendable (JournalError) -> Void = { _ in }
    ) throws(EngineError) -> Engine {
        let started = clock.monotonicTime()
        let directory: DataDirectory
        let report: RecoveryReport
        let writer: JournalWriter
        let holdings: Holdings
        let keyRepairs: [String]
        let vault: Vault?
        var target = RecoveredWorld(helpers: storage.helpers)
        let world: World
        do {
            directory = try DataDirectory(
                opening: path, disk: disk, options: storage, keys: keys,
                housekeepingFailed: housekeepingFailed)
            keyRepairs = directory.keys?.repairs ?? []
            report = try directory.recover(into: &target)
            // Refused before anything is changed.
            vault = try directory.openVault()
        } catch { throw .storage(error) }
        do { world = try target.takeWorld() } catch {
            throw .storage(.rejected(file: path, offset: 0, what: error.what))
        }
        // Time never runs backwards, whatever happened to the clock while the server was down.
        let now = max(clock.wallTime(), world.snapshotState.counters.time)
        do {
            writer = try directory.makeJournal(after: report, time: now)
            holdings = try directory.holdings()
        } catch { throw .storage(error) }
        let workers = storage.workers ?? SystemWorkers()
        let opened = try reconcile(
            vault, directory.keys, world, clock, workers, storage.makeRandom(), vaultFailed)
        let summary = RecoverySummary(
            milliseconds: Int64(clock.monotonicTime().nanoseconds(since: started) / 1_000_000),
            recordsReplayed: report.recordsReplayed,
            report: (keyRepairs + describeRepairs(report) + opened.report).joined(separator: "; "))
        var status = EngineStatus(startTime: now, counts: world.counts, recovery: summary)
        status.holdings = holdings
        status.snapshot = report.snapshot.map {
            SnapshotReceipt(
                sequence: $0.head.sequence, recordCount: $0.records, bytes: $0.bytes,
                durationMilliseconds: 0, time: $0.time)
        }
        let inbox = Monitor(Inbox())
        let resources: EngineResources
        do throws(IOError) {
            resources = try EngineResources(
                directory, writer, opened.worker, clock, workers, reloadFailed: reloadFailed,
                auditFailed: auditFailed, backupFailed: backupFailed)
        } catch { throw .thread(error) }
        var parts = resources.parts(clock, inbox)
        parts.journalFailed = journalFailed
        parts.snapshotEnded = snapshotEnded
        let core = EngineCore(
            world: world, parts: parts, configuration: configuration, status: status, now: now)
        return try Engine(
            core: core, inbox: inbox, configuration: configuration, workers: workers,
            vault: opened.worker, backup: resources.backup, keys: directory.keys,
            closing: resources.close)
    }

    /// Brings the vault of an encrypted directory in line with what the state says, and gives it a
    /// worker.
    private static func reconcile(
        _ vault: Vault?, _ keys: KeyRing?, _ world: borrowing World, _ clock: any TimeSource,
        _ workers: any WorkerSource, _ random: consuming RandomBytes,
        _ failed: @escaping @Sendable (JournalError) -> Void
    ) throws(EngineError) -> (worker: VaultWorker?, report: [String]) {
        guard let vault, let keys else { return (nil, []) }
        let report: VaultReport
        do throws(JournalError) {
            report = try vault.reconcile(
                stored: world.storedObjects, erased: world.erasedObjects, time: clock.wallTime(),
                stateTime: world.counters.time)
        } catch { throw .storage(error) }
        do throws(IOError) {
            let worker = try VaultWorker(
                vault, keys, clock: clock, workers: workers, random: random, failed: failed)
            return (worker, report.lines)
        } catch { throw .thread(error) }
    }

    /// Makes an engine over a journal that is not this module's, with an empty state, no snapshots
    /// and nothing to recover.
    ///
    /// - Parameters:
    ///   - journal: Empty; the engine thread's from now on.
    ///   - configuration: The engine's settings; those of snapshots have no meaning.
    ///   - clock: Both times.
    /// - Returns: The engine, to be started.
    /// - Throws: `.thread` when the system gives none.
    /// - Durability: the journal's
    package static func over(
        _ journal: any Journal, configuration: EngineConfiguration = EngineConfiguration(),
        clock: any TimeSource = SystemClock()
    ) throws(EngineError) -> Engine {
        let world = World()
        let now = clock.wallTime()
        let status = EngineStatus(
            startTime: now, counts: world.counts,
            recovery: RecoverySummary(milliseconds: 0, recordsReplayed: 0, report: ""))
        let core = EngineCore(
            world: world, parts: EngineParts(journal: journal, clock: clock),
            configuration: configuration, status: status, now: now)
        return try Engine(
            core: core, inbox: Monitor(Inbox()), configuration: configuration,
            workers: SystemWorkers(), closing: {})
    }

    /// What an operator has to know of a recovery; empty when there was nothing to repair.
    private static func describeRepairs(_ report: RecoveryReport) -> [String] {
        var lines = report.rejectedSnapshots.map { "passed over \($0.file): \($0.error)" }
        if let torn = report.tornTail {
            lines.append(
                "cut an unfinished write of \(torn.bytes) bytes off \(torn.file) "
                    + "at byte \(torn.offset)"
            )
        }
        if report.isHeadTorn { lines.append("left out a signed head that was not finished") }
        if let first = report.missingLeaves.first {
            let more = report.missingLeaves.count - 1
            lines.append("made \(first)" + (more > 0 ? " and \(more) more" : "") + " again")
        }
        return lines
    }
}

extension EncryptionReport {
    /// What may be shown of a directory's keys.
    init(_ keys: KeyRing) {
        let all = keys.keys
        func inUse(_ kind: KeyEntry.Kind) -> Key {
            let found = all.last { $0.kind == kind && $0.state == .inUse }
            guard let found else { preconditionFailure("one key of each kind is in use") }
            return Key(number: found.number, made: found.made)
        }
        self.init(
            kek: keys.kek.description, dataKey: inUse(.data), signingKey: inUse(.signing),
            keyCount: all.count)
    }
}

/// What works beside an engine on a data directory, and is closed when the engine has stopped.
///
/// `@unchecked Sendable`: the journal is the engine thread's, which is where this is called.
private final class EngineResources: @unchecked Sendable {
    private let directory: DataDirectory
    private let writer: JournalWriter
    private let clock: any TimeSource
    private let reloadFailed: @Sendable (JournalError) -> Void
    private let snapshots: BackgroundSnapshots
    private let vault: VaultWorker?
    private let audit: AuditWorker?
    let backup: BackupWorker

    init(
        _ directory: DataDirectory, _ writer: JournalWriter, _ vault: VaultWorker?,
        _ clock: any TimeSource, _ workers: any WorkerSource,
        reloadFailed: @escaping @Sendable (JournalError) -> Void,
        auditFailed: @escaping @Sendable (JournalError) -> Void,
        backupFailed: @escaping @Sendable (JournalError) -> Void
    ) throws(IOError) {
        self.reloadFailed = reloadFailed
        self.directory = directory
        self.writer = writer
        self.clock = clock
        self.vault = vault
        snapshots = try BackgroundSnapshots(directory, clock, workers)
        audit = try AuditWorker(writer, directory, workers, failed: auditFailed)
        backup = try BackupWorker(directory, workers, failed: backupFailed)
    }

    /// What the engine needs, with results that go to its inbox.
    func parts(_ clock: any TimeSource, _ inbox: Monitor<Engine.Inbox>) -> EngineParts {
        let (directory, writer, snapshots) = (directory, writer, snapshots)
        let reloadFailed = reloadFailed
        return EngineParts(
            journal: writer, clock: clock, snapshots: snapshots, vault: vault, audit: audit,
            answered: { result in inbox.change { $0.audits.append(result) } },
            encryption: { directory.keys.map(EncryptionReport.init) },
            renewed: { result in inbox.change { $0.renewed.append(result) } },
            reload: {
                let last = writer.durableHead.sequence
                snapshots.run {
                    let world = RecoveredWorld.read(directory, upTo: last, failed: reloadFailed)
                    let reloaded = ReloadedWorld(world)
                    inbox.change { $0.reloaded = reloaded }
                }
            },
            housekeep: { writer.writeMark(time: $0) },
            housekeeping: { directory.housekeepingStatus }, endSegment: { writer.endSegment() },
            wake: { result in inbox.change { $0.snapshots.append(result) } })
    }

    @Sendable func close() {
        writer.close(time: clock.wallTime())
        snapshots.stop()
        vault?.stop()
        audit?.stop()
        backup.stop()
    }
}
