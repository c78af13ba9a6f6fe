// The single writer: decides, journals, applies, commits once for all that has gathered, and only
// then lets replies go. Runs on one thread, but owns none, so that a test can drive its turns.

package import TriageBase
package import TriageCodec
package import TriageDomain
package import TriageJournal

/// Takes snapshots beside the engine.
package protocol SnapshotTaker: AnyObject, Sendable {
    /// Writes the state after the last record of `tree` and reports when it is durable or has
    /// failed, and then what came of tidying up after it; returns at once. Paced, it leaves the
    /// disk to the commits beside it.
    func take(
        _ state: WorldState, at tree: MerkleTree, time: WallTime, isPaced: Bool,
        report: @escaping @Sendable (SnapshotResult) -> Void)

    /// Words were erased by a record that will be in the next snapshot: until they are out of a
    /// segment, it stays where that can be done.
    func wordsErased(by sequence: UInt64)
}

/// The vault as the engine needs it.
package protocol VaultKeeper: AnyObject, Sendable {
    /// Destroys objects whose erasure is durable; returns at once.
    func erase(_ names: [ObjectName])
    /// Makes a new key and reports it; returns at once.
    func renew(_ purpose: KeyPurpose, report: @escaping @Sendable (KeyAnswer?) -> Void)
    /// How it is.
    var status: VaultStatus { get }
}

/// What came of a new key that a call asked for.
package struct RenewedKey: Sendable {
    var request: EngineRequest
    var key: WriteKey
    var reactor: Int
    /// nil: it could not be made.
    var answer: KeyAnswer?
}

/// The durable state as it was read back.
///
/// `@unchecked Sendable`: made by one thread and taken by another, which has it to itself.
package final class ReloadedWorld: @unchecked Sendable {
    private var world: World?

    /// Wraps a state; nil when it could not be read.
    package init(_ world: consuming World?) { self.world = world }

    /// Hands it over, once.
    func take() -> World? { world.take() }
}

/// What the engine needs from outside, so that a test can stand in for all of it.
package struct EngineParts {
    /// Where records go.
    package var journal: any Journal
    /// Both times.
    package var clock: any TimeSource
    /// Writes snapshots; nil: there are none.
    package var snapshots: (any SnapshotTaker)?
    /// Where evidence is; nil without encryption.
    package var vault: (any VaultKeeper)?
    /// Signs heads and makes proofs; nil without encryption.
    package var audit: (any HeadKeeper)?
    /// Called by a helper thread with what came of signing or proving.
    package var answered: @Sendable (AuditResult) -> Void
    /// How what is on disk is encrypted; nil without.
    package var encryption: () -> EncryptionReport?
    /// Called by the vault's thread when a key was made for a call.
    package var renewed: @Sendable (RenewedKey) -> Void
    /// Begins to read the durable state back, after a failed commit; it comes with a later turn.
    package var reload: () -> Void
    /// Called once, on the engine's thread, when the journal has failed.
    package var journalFailed: (JournalError) -> Void
    /// Called on the engine's thread with what became of snapshots, for the log.
    package var snapshotEnded: (SnapshotResult) -> Void
    /// Called every few seconds in which something was committed, with the time.
    package var housekeep: (WallTime) -> Void
    /// What failed beside the commits.
    package var housekeeping: () -> HousekeepingStatus
    /// Called on the engine's thread when the segment that is being written should end, because of
    /// words in it that were erased.
    package var endSegment: () -> Void
    /// Called by the snapshot taker's thread when a result waits.
    package var wake: @Sendable (SnapshotResult) -> Void

    /// Groups the parts.
    package init(
        journal: any Journal, clock: any TimeSource, snapshots: (any SnapshotTaker)? = nil,
        vault: (any VaultKeeper)? = nil, audit: (any HeadKeeper)? = nil,
        answered: @escaping @Sendable (AuditResult) -> Void = { _ in },
        encryption: @escaping () -> EncryptionReport? = { nil },
        renewed: @escaping @Sendable (RenewedKey) -> Void = { _ in },
        reload: @escaping () -> Void = {},
        journalFailed: @escaping (JournalError) -> Void = { _ in },
        snapshotEnded: @escaping (SnapshotResult) -> Void = { _ in },
        housekeep: @escaping (WallTime) -> Void = { _ in },
        housekeeping: @escaping () -> HousekeepingStatus = { HousekeepingStatus() },
        endSegment: @escaping () -> Void = {},
        wake: @escaping @Sendable (SnapshotResult) -> Void = { _ in }
    ) {
        self.journal = journal
        self.clock = clock
        self.snapshots = snapshots
        self.vault = vault
        self.audit = audit
        self.answered = answered
        self.encryption = encryption
        self.renewed = renewed
        self.reload = reload
        self.journalFailed = journalFailed
        self.snapshotEnded = snapshotEnded
        self.housekeep = housekeep
        self.housekeeping = housekeeping
        self.endSegment = endSegment
        self.wake = wake
    }
}

/// The single writer of the World.
///
/// ```
///   turn: timers -> requests (decide, append, apply) -> waiting claims
///         -> commit -> watches -> deliver to each reactor -> snapshot, signed head when due
/// ```
///
/// - Isolation: one thread at a time. `@unchecked Sendable`: ``Engine`` hands it to its thread
///   before that starts and touches it again only after joining it.
package final class EngineCore: @unchecked Sendable {
    var world: World
    var parts: EngineParts
    /// That of `parts`, for what each record asks of it.
    let journal: any Journal
    let configuration: EngineConfiguration
    /// Never goes back, so that replay sees the times that were decided with, and never stands
    /// still, so that what is due happens.
    private(set) var now: WallTime
    /// Read once a turn.
    private(set) var monotonic: MonotonicTime
    /// When ``now`` was last the time of day.
    private var anchor: (time: WallTime, monotonic: MonotonicTime)

    /// Why the journal takes no more writes; nil while it does.
    private(set) var failure: JournalError?
    /// True from a failed commit until the durable state has been read back: what changed after the
    /// last durable record is not shown, everything else is.
    private(set) var withholds = false
    /// What the World held at the last durable record.
    private var durableCounts: WorldCounts
    private let codec = EventCodec()
    private var events: [Event] = []
    private var record = RecordParts()

    private var sinks: [(any CompletionSink)?] = []
    private var held: [[Completion]] = []

    var claims = ClaimQueue()
    var watches: WatchTable
    var status: EngineStatus
    var snapshots = SnapshotSchedule()
    var heads = HeadSchedule()
    let identities = CaseIdentities()
    /// Objects whose erasure was applied and is not durable yet.
    private var erasures: [ObjectName] = []
    var keyRenewal = KeyRenewal()
    private var markedAt: MonotonicTime
    /// When timers are tried again that the journal had no room for.
    private var timersHeldUntil = MonotonicTime(nanoseconds: 0)
    private static let timersHeldNanoseconds: UInt64 = 1_000_000_000
    /// More to do at once, although no request waits.
    private(set) var hasWork = false

    /// Takes over a recovered state.
    package init(
        world: consuming World, parts: EngineParts, configuration: EngineConfiguration,
        status: EngineStatus, now: WallTime
    ) {
        self.world = world
        self.parts = parts
        journal = parts.journal
        self.configuration = configuration
        self.now = now
        self.status = status
        durableCounts = status.counts
        monotonic = parts.clock.monotonicTime()
        anchor = (now, monotonic)
        markedAt = monotonic
        let sequence = parts.journal.durableHead.sequence
        watches = WatchTable(configuration, floor: sequence)
        snapshots.begin(sequence: status.snapshot?.sequence ?? 0, now: monotonic)
        self.status.durableSequence = sequence
        coverWithHead(upTo: sequence)
    }

    // MARK: Turn

    /// Names where a reactor's completions go.
    package func connect(reactor: Int, sink: any CompletionSink) {
        while sinks.count <= reactor {
            sinks.append(nil)
            held.append([])
        }
        sinks[reactor] = sink
    }

    /// Does everything that is due, and delivers what came of it.
    ///
    /// - Durability: what it delivered is on disk
    func turn(
        _ batches: consuming [RequestBatch], snapshots results: [SnapshotResult] = [],
        renewed: [RenewedKey] = [], audits: [AuditResult] = [], reloaded: ReloadedWorld? = nil
    ) {
        readClocks()
        hasWork = false
        status.counters.turns += 1
        for result in results { snapshotEnded(result) }
        for result in renewed { keyRenewed(result) }
        for result in audits { auditAnswered(result) }
        if let reloaded { takeOver(reloaded) }
        fireTimers()
        for batch in batches { carryOut(batch) }
        offerToWaiting()
        commit()
        publish()
        snapshotIfDue()
        signHeadIfDue()
    }

    /// Takes the time of day; if that was set back, goes on as the monotonic clock does until it
    /// has caught up.
    private func readClocks() {
        monotonic = parts.clock.monotonicTime()
        let passed = monotonic.nanoseconds(since: anchor.monotonic) / 1_000_000
        let ours = anchor.time.advanced(byMilliseconds: Int64(clamping: passed))
        let wall = parts.clock.wallTime()
        now = max(ours, wall)
        if wall >= ours { anchor = (wall, monotonic) }
        status.clockAheadMilliseconds = now.milliseconds - wall.milliseconds
    }

    /// When the engine must act although nobody asks; nil when nothing is planned.
    var nextDeadline: MonotonicTime? {
        var next = claims.nextDeadline
        // What the journal does not take any more is not waited for.
        guard failure == nil else { return next }
        if let timer = world.nextTimer {
            let milliseconds = UInt64(max(0, timer.milliseconds - now.milliseconds))
            // Saturates: a timer in the year 9999 is not within the reach of UInt64 nanoseconds.
            let due = monotonic.advanced(
                byNanoseconds: milliseconds > 1 << 40 ? 1 << 60 : milliseconds * 1_000_000)
            next = min(next ?? .never, max(due, timersHeldUntil))
        }
        if failure == nil, let due = heads.due { next = min(next ?? due, due) }
        if let due = snapshots.due(configuration, durable: status.durableSequence) {
            next = min(next ?? due, due)
        }
        return next
    }

    /// The answer to a request; nil when it comes later, or when there is none.
    func answer(_ request: EngineRequest, _ reactor: Int) -> EngineReply? {
        if failure != nil, request.operation.isWrite || (withholds && request.operation.isWatch) {
            return .failed(.journalFailed)
        }
        switch request.operation {
        case .write(let command, let key):
            return write(command, key, request.principal)
        case .claim(let eligibility, let key, let wait):
            return claim(request, eligibility, key, wait, reactor)
        case .readCase(let number, let purpose, let cleared):
            return readCase(number, purpose, cleared, request.principal)
        case .listCases(let after, let limit, let filter):
            var page = world.board(after: after, limit: limit, filter: filter)
            if withholds { page.withhold(after: status.durableSequence) }
            return .board(
                page, openCount: (withholds ? durableCounts : world.counts).openCases,
                revision: revision)
        case .readDisclosure(let id, let requester, let purpose):
            return readDisclosure(id, requester, purpose, request.principal)
        case .listDisclosures(let after, let limit, let states, let requester):
            var page = world.disclosures(
                after: after, limit: limit, states: states, requester: requester)
            if withholds { page.withhold(after: status.durableSequence) }
            return .disclosures(page)
        case .watchDisclosure(let id, nil):
            // What an insider sees of a request is on record, watched or read.
            let read = SensitiveRead(target: .disclosure(id), purpose: "watch")
            if let refusal = record(read, request.principal) { return refusal }
            return watches.open(request, reactor, world, revision: revision)
        case .watchBoard, .watchAssignments, .watchDisclosure:
            return watches.open(request, reactor, world, revision: revision)
        case .credit(let count):
            watches.credit(request.call, count)
            return nil
        case .pause:
            watches.pause(request.call, world)
            return nil
        case .taken(let group):
            watches.taken(group)
            return nil
        case .cancel:
            claims.remove(request.call)
            watches.close(request.call)
            return nil
        case .checkAttachment, .readEvidence, .listEvidence, .listHolds, .erase, .renewKey:
            return answerEvidence(request, reactor)
        case .signHead, .prove: return answerAudit(request, reactor)
        case .status:
            var now = currentStatus()
            now.durableSequence = revision
            return .status(now)
        case .snapshot(let key):
            return askForSnapshot(request, key, reactor)
        }
    }

    /// The newest revision that the World shows; durable by the time that a reply with it goes.
    var revision: UInt64 {
        failure == nil ? journal.nextSequence - 1 : status.durableSequence
    }

    /// Keeps a reply back until what it shows is durable.
    func hold(_ asked: some Asked, _ reply: consuming EngineReply, _ reactor: Int) {
        guard reactor < held.count else { return }
        held[reactor].append(
            Completion(
                call: asked.call, echo: asked.echo, principal: asked.principal, reply: reply))
    }

    // MARK: Writes

    /// Carries out a command.
    func write(_ command: Command, _ key: WriteKey, _ principal: Principal) -> EngineReply {
        switch decide(command, key, principal) {
        case .success(let decision):
            let outcome = world.outcome(of: decision)
            if case .receipt(let receipt) = outcome { return .receipt(receipt) }
            return .outcome(outcome)
        case .failure(let reply):
            return reply.reply
        }
    }

    /// A refusal, as an error.
    struct Refusal: Error {
        let reply: EngineReply
    }

    /// Decides a command, journals and applies what follows from it.
    ///
    /// - Durability: buffered
    func decide(
        _ command: Command, _ key: WriteKey, _ principal: Principal
    ) -> Result<Decision, Refusal> {
        guard failure == nil else { return .failure(Refusal(reply: .failed(.journalFailed))) }
        // Taken out while they are filled and read, and so owned by nobody else: what they are
        // passed to need not hold them.
        var events: [Event] = []
        swap(&events, &self.events)
        defer { swap(&events, &self.events) }
        events.removeAll(keepingCapacity: true)
        var context = CommandContext(
            principal: principal, now: now, requestID: key.requestID, fingerprint: key.fingerprint,
            random: 0)
        if case .submitDisclosureRequest = command {
            context.random = configuration.unguessableBits()
        }
        let decision: Decision
        do {
            decision = try world.decide(command, context, into: &events)
        } catch {
            status.counters.refusals[error.kind.rawValue] += 1
            return .failure(Refusal(reply: .refused(error)))
        }
        if events.isEmpty { return .success(decision) }
        let header = EventHeader(
            sequence: journal.nextSequence, time: now, principal: principal,
            requestID: key.requestID, fingerprint: key.fingerprint)
        if let failed = append(header, events) { return .failure(Refusal(reply: .failed(failed))) }
        world.apply(events, header)
        changed(header.sequence, events.span)
        noteErasures(events.span, header.sequence)
        return .success(decision)
    }

    /// Remembers which objects have to go once the record is durable, and tells that words have to.
    private func noteErasures(_ events: Span<Event>, _ sequence: UInt64) {
        for index in events.indices {
            switch events[index] {
            case .evidenceErased(let number, _): erasures.append(world.object(of: number))
            case .reportTextsErased: break
            default: continue
            }
            parts.snapshots?.wordsErased(by: sequence)
        }
    }

    private func append(_ header: EventHeader, _ events: [Event]) -> EngineFailure? {
        var record = RecordParts()
        swap(&record, &self.record)
        defer { swap(&record, &self.record) }
        codec.encode(header, events, into: &record)
        do {
            let sequence = try journal.append(record, time: header.time)
            invariant(sequence == header.sequence, "the journal gives the next sequence")
            status.counters.records += 1
            return nil
        } catch {
            switch error {
            case .bufferFull: return .overloaded
            case .noSpace:
                status.counters.storageFull += 1
                return .storageFull
            case .recordTooLarge: return .tooLarge
            case .poisoned, .io, .dataLoss, .gap, .foreignFile, .foreignCluster, .newerVersion,
                .olderVersion, .notOlder, .notEmpty, .isBackup, .noSuchPoint, .locked, .crypto,
                .rejected,
                .keyMissing, .keyUnexpected, .wrongKey, .tooManyKeys:
                fail(error)
                return .journalFailed
            }
        }
    }

    /// Notes what a record changed, for watches and waiting claims.
    private func changed(_ sequence: UInt64, _ events: Span<Event>) {
        if events.count == 1, case .reportReceived(let number, _, _, _, _, _) = events[0] {
            watches.board.append(revision: sequence, number: number.value)
            claims.queued(number)
            return
        }
        let touched = world.touched(by: events)
        for number in touched.cases {
            watches.board.append(revision: sequence, number: number.value)
            claims.queued(number)
        }
        for number in touched.assignments {
            watches.assignments.append(revision: sequence, number: number.value)
        }
        for id in touched.disclosures { watches.disclosureChanged(id) }
    }

    /// Lets everything happen whose time has come; bounded, so that requests are not starved.
    private func fireTimers() {
        guard failure == nil, monotonic >= timersHeldUntil else { return }
        var records = 0
        while let timer = world.nextTimer, timer <= now {
            guard records < 16 else {
                hasWork = true
                return
            }
            let appended = status.counters.records
            _ = decide(.fireTimers, WriteKey(requestID: .none, fingerprint: .zero), .system)
            guard status.counters.records > appended else { return holdTimers() }
            records += 1
        }
    }

    /// The journal had no room for what timers led to: this turn's commit makes some, or else they
    /// are tried again a little later.
    private func holdTimers() {
        if journal.pendingBytes > 0 {
            hasWork = true
        } else {
            timersHeldUntil = monotonic.advanced(byNanoseconds: Self.timersHeldNanoseconds)
        }
    }

    // MARK: Commit and delivery

    /// Makes everything that was appended durable.
    func commit() {
        guard failure == nil, journal.pendingBytes > 0 else { return }
        let records = journal.nextSequence - 1 - status.durableSequence
        let started = parts.clock.monotonicTime()
        do {
            try journal.commit()
        } catch {
            fail(error)
            return
        }
        let ended = parts.clock.monotonicTime()
        status.durableSequence = journal.durableHead.sequence
        if !erasures.isEmpty {
            parts.vault?.erase(erasures)
            erasures = []
        }
        durableCounts = world.counts
        if parts.audit != nil { heads.recorded(configuration, now: ended) }
        status.counters.commits += 1
        status.counters.commitNanoseconds.record(ended.nanoseconds(since: started))
        status.counters.commitRecords.record(records)
        if ended.nanoseconds(since: markedAt) >= UInt64(configuration.markMilliseconds) * 1_000_000
        {
            markedAt = ended
            parts.housekeep(now)
        }
    }

    /// The journal has failed, for good: nothing of this turn is acknowledged, reads included,
    /// because they may have seen what is not durable.
    ///
    /// From the next request on reads go on without what changed since the last durable record;
    /// that comes back with the durable state, which is read back meanwhile.
    private func fail(_ error: JournalError) {
        guard failure == nil else { return }
        failure = error
        status.state = .journalFailed
        for reactor in held.indices {
            for index in held[reactor].indices {
                held[reactor][index].reply = .failed(.journalFailed)
            }
        }
        for waiting in claims.removeAll() {
            hold(waiting, .failed(.journalFailed), waiting.reactor)
        }
        for call in snapshots.fail() {
            hold(call.request, .failed(.journalFailed), call.reactor)
        }
        for call in heads.takeCalls() {
            hold(call.request, .failed(.journalFailed), call.reactor)
        }
        for watch in watches.removeAll() {
            hold(watch, .failed(.journalFailed), watch.reactor)
        }
        parts.journalFailed(error)
        deliver()
        withholds = true
        parts.reload()
    }

    /// Goes on with the durable state; without one, what is not durable stays withheld.
    private func takeOver(_ reloaded: ReloadedWorld) {
        guard withholds, let durable = reloaded.take() else { return }
        world = durable
        withholds = false
        // A commit that failed half-way, between two segments, has left more than was acknowledged.
        status.durableSequence = world.snapshotState.counters.sequence
        watches.restart(after: status.durableSequence)
    }

    /// Delivers what the reactors wait for: replies, and parts of watches.
    func publish() {
        if !withholds {
            hasWork =
                watches.advance(world, durable: status.durableSequence) { watch, reply in
                    hold(watch, reply, watch.reactor)
                } || hasWork
        }
        deliver()
    }

    func deliver() {
        for reactor in held.indices where !held[reactor].isEmpty {
            let completions = held[reactor]
            held[reactor] = []
            held[reactor].reserveCapacity(completions.count)
            sinks[reactor]?.deliver(completions)
        }
    }

    /// The status as it is now.
    func currentStatus() -> EngineStatus {
        status.counts = withholds ? durableCounts : world.counts
        status.watchCount = watches.count
        status.counters.watchesTooSlow = watches.tooSlowCount
        status.counters.watchSweeps = watches.sweepCount
        status.waitingClaimCount = claims.count
        status.encryption = parts.encryption()
        status.vault = parts.vault?.status
        status.signing = parts.audit?.status
        status.housekeeping = parts.housekeeping()
        return status
    }

    /// Hands over the World; the engine must not be used afterwards.
    func takeWorld() -> World {
        var taken = World()
        swap(&taken, &world)
        return taken
    }

    // MARK: Stop

    /// Ends what waits and makes everything durable.
    func stop() {
        status.state = failure == nil ? .stopping : .journalFailed
        for waiting in claims.removeAll() {
            hold(waiting, .failed(.stopping), waiting.reactor)
        }
        for watch in watches.removeAll() {
            hold(watch, .failed(.stopping), watch.reactor)
        }
        commit()
        publish()
    }
}
