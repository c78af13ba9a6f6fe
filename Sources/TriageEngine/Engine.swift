// The engine as the rest of the process sees it: opened on a data directory, started, asked from
// any thread, stopped. Owns the writer thread and its inbox; what happens in a turn is
// EngineCore's.

internal import TriageBase
package import TriageIO
package import TriageJournal

/// Why the engine could not be opened or started.
package enum EngineError: Error, Sendable {
    /// The data directory cannot be used.
    case storage(JournalError)
    /// The system gave no thread.
    case thread(IOError)
}

extension EngineError: CustomStringConvertible {
    /// True when what is on the disk is not what it should be: a restart does not cure it.
    package var isDamage: Bool {
        switch self {
        case .storage(let error): error.isDamage
        case .thread: false
        }
    }

    /// What happened and what to do, for an operator.
    package var description: String {
        switch self {
        case .storage(let error): "\(error)"
        case .thread(let error): "no thread for the engine: \(error)"
        }
    }
}

/// The single writer of all state, with its thread.
///
/// ```
///   open --> connect(reactor:sink:) ... start --> submit ... --> stop
/// ```
package final class Engine: Sendable {
    struct Inbox: Sendable {
        var batches: [RequestBatch] = []
        var journalBytes = 0
        /// Those that came when half of what may wait did, by who they are of.
        var shares: [Principal: Int] = [:]
        var sinks: [(reactor: Int, sink: any CompletionSink)] = []
        var snapshots: [SnapshotResult] = []
        var renewed: [RenewedKey] = []
        var audits: [AuditResult] = []
        var reloaded: ReloadedWorld?
        var stopping = false
        var stopped = false

        /// True when the engine has something to take.
        var isReady: Bool {
            !batches.isEmpty || !sinks.isEmpty || !snapshots.isEmpty || !renewed.isEmpty
                || !audits.isEmpty || reloaded != nil || stopping
        }

        /// Books requests against who they are of; false, and nothing is, when one of these would
        /// have more than `bytesMax`.
        mutating func book(_ requests: [EngineRequest], _ bytesMax: Int) -> Bool {
            var booked = shares
            for request in requests where request.operation.journalBytes > 0 {
                let bytes = booked[request.principal, default: 0] + request.operation.journalBytes
                guard bytes <= bytesMax else { return false }
                booked[request.principal] = bytes
            }
            shares = booked
            return true
        }
    }

    let inbox: Monitor<Inbox>
    /// Where evidence is; nil without encryption.
    package let vault: VaultWorker?
    /// Reads the data directory for backups; nil without one.
    package let backup: BackupWorker?
    /// The directory's keys; nil without encryption.
    package let keys: KeyRing?
    private let published: Monitor<EngineStatus>
    private let core: EngineCore
    private let inboxBytesMax: Int
    /// Of the second half of them.
    private let inboxBytesPerIdentityMax: Int
    private let closing: @Sendable () -> Void
    private let workers: any WorkerSource
    private let worker: any Worker

    /// Wraps a recovered core.
    init(
        core: EngineCore, inbox: Monitor<Inbox>, configuration: EngineConfiguration,
        workers: any WorkerSource, vault: VaultWorker? = nil, backup: BackupWorker? = nil,
        keys: KeyRing? = nil,
        closing: @escaping @Sendable () -> Void
    ) throws(EngineError) {
        do throws(IOError) {
            worker = try workers.makeWorker(name: "engine", urgency: .prompt)
        } catch { throw .thread(error) }
        self.workers = workers
        self.core = core
        self.inbox = inbox
        self.vault = vault
        self.backup = backup
        self.keys = keys
        self.closing = closing
        inboxBytesMax = configuration.inboxBytesMax
        inboxBytesPerIdentityMax = inboxBytesMax / 2 / Limits.identitiesThatFillMemory
        published = Monitor(core.currentStatus())
    }

    // MARK: Use

    /// Names where a reactor's completions go: before the reactor's first request.
    package func connect(reactor: Int, sink: any CompletionSink) {
        inbox.change { $0.sinks.append((reactor, sink)) }
    }

    /// Hands over what a reactor gathered in one loop turn: one lock, at most one wake-up.
    ///
    /// - Parameters:
    ///   - requests: In the order in which they came.
    ///   - reactor: Whose.
    ///   - journalBytes: Sum of ``EngineOperation/journalBytes``.
    /// - Returns: False when too much waits for the disk already, or too much of somebody who asks,
    ///   or the engine has stopped: nothing was taken. A batch that adds nothing to the journal is
    ///   always taken while it runs.
    package func submit(_ requests: [EngineRequest], reactor: Int, journalBytes: Int) -> Bool {
        inbox.change { inbox in
            if inbox.stopped { return false }
            if journalBytes > 0 {
                let waiting = inbox.journalBytes + journalBytes
                if waiting > inboxBytesMax { return false }
                // Shares are counted where they matter: usually nearly nothing waits.
                if waiting > inboxBytesMax / 2, !inbox.book(requests, inboxBytesPerIdentityMax) {
                    return false
                }
                inbox.journalBytes = waiting
            }
            inbox.batches.append(RequestBatch(reactor: reactor, requests: requests))
            return true
        }
    }

    /// How the engine is, as of its last idle moment or a tenth of a second ago.
    ///
    /// The vault's part is of this moment: it works while the engine idles.
    package var status: EngineStatus {
        var status = published.change { $0 }
        status.vault = vault?.status
        return status
    }

    // MARK: Thread

    /// Starts to serve.
    package func start() {
        worker.submit { [self] in run() }
    }

    /// Finishes what was submitted, commits, takes a last snapshot if configured, and ends the
    /// thread.
    ///
    /// - Precondition: ``start()`` was called, and this only once.
    /// - Durability: everything acknowledged is on disk when this returns
    package func stop() {
        inbox.change { $0.stopping = true }
        worker.stop()
    }

    private func run() {
        var publishedAt = MonotonicTime(nanoseconds: 0)
        while true {
            var taken = take()
            let stopping = taken.stopping
            for (reactor, sink) in taken.sinks { core.connect(reactor: reactor, sink: sink) }
            core.turn(
                taken.batches, snapshots: taken.snapshots, renewed: taken.renewed,
                audits: taken.audits, reloaded: taken.reloaded)
            taken.batches = []
            if stopping { break }
            let idle = !inbox.change { $0.isReady }
            if idle || core.monotonic.nanoseconds(since: publishedAt) > 100_000_000 {
                publishedAt = core.monotonic
                let status = core.currentStatus()
                published.change { $0 = status }
            }
        }
        finish()
    }

    /// Takes everything that waits; sleeps until there is something or a deadline passes.
    private func take() -> Inbox {
        let swap = { (inbox: inout Inbox) -> Inbox? in
            guard inbox.isReady else { return nil }
            let taken = inbox
            inbox = Inbox()
            inbox.stopping = taken.stopping
            return taken
        }
        if core.hasWork { return inbox.change(swap) ?? Inbox() }
        let deadline = core.nextDeadline ?? .never
        return workers.wait(on: inbox, before: deadline, until: swap) ?? Inbox()
    }

    private func finish() {
        let rest = inbox.change { inbox in
            inbox.stopped = true
            defer { inbox.batches = [] }
            return inbox.batches
        }
        core.turn(rest)
        awaitKey()
        core.stop()
        awaitSnapshot()
        if core.takeLastSnapshot() { awaitSnapshot() }
        core.deliverLast()
        // Ends the snapshot thread, and what it still tidies up: the last that there is to hear of.
        closing()
        let (snapshots, audits) = inbox.change { ($0.snapshots, $0.audits) }
        for result in snapshots { core.snapshotEnded(result) }
        for result in audits { core.auditAnswered(result) }
        core.deliver()
        let status = core.currentStatus()
        published.change { $0 = status }
    }

    /// Records the key that is being made: it is in use, and whoever asked for it hears so.
    private func awaitKey() {
        while core.keyRenewal.isRunning {
            let results = workers.wait(on: inbox, before: .never) { inbox in
                defer { inbox.renewed = [] }
                return inbox.renewed.isEmpty ? nil : inbox.renewed
            }
            for result in results ?? [] { core.keyRenewed(result) }
        }
    }

    private func awaitSnapshot() {
        while core.snapshots.isRunning {
            let results = workers.wait(on: inbox, before: .never) { inbox in
                defer { inbox.snapshots = [] }
                return inbox.snapshots.isEmpty ? nil : inbox.snapshots
            }
            for result in results ?? [] { core.snapshotEnded(result) }
        }
    }
}
