// One run: several lives of the service on one disk, with everything that can befall it, and after
// each step and each start the question whether every promise was kept. The shipped code runs, all
// of it from the engine down; simulated are the disk, the threads' turns and the clocks.

import DomainFixtures
import TestSupport
import TriageBase
import TriageCodec
import TriageCrypto
import TriageDomain
import TriageEngine
import TriageIO
import TriageJournal

/// What came of a run.
package struct SimulationResult: Sendable {
    /// Everything that happened, as a number: the same seed gives the same one.
    package let hash: UInt64
    /// How often each kind of thing happened.
    package let counts: [String: Int]
    /// The promise that was broken; nil when none was.
    package let violation: Violation?
}

/// One run under a seed.
package final class Simulation {
    private let transcript: Transcript
    private let threads: SimThreads
    private var lots: Lots
    private var plan: Plan
    private var workload: Workload
    private let promises: Promises
    private let history = History()
    private var disk: SimDisk
    private var life: Life?
    private var fate: Fate
    private let words: Monitor<Lots>
    /// Backups that nobody has judged yet.
    private var backups: [TakenBackup] = []
    private var archiveWatch = ArchiveWatch()
    /// When the engine has noticed that there is space again: it tries once a second, and so does
    /// what prepares segments, on a disk of which one call may take three.
    private var roomAgain = MonotonicTime(nanoseconds: 0)
    private static let noticesRoomNanoseconds: UInt64 = 6_000_000_000

    /// Runs what belongs to a seed.
    ///
    /// - Parameters:
    ///   - seed: Decides everything.
    ///   - reader: Gets each line of what happens.
    /// - Returns: What came of it.
    package static func run(
        seed: UInt64, reader: ((String) -> Void)? = nil
    ) -> SimulationResult {
        Simulation(seed: seed, reader: reader).run()
    }

    private init(seed: UInt64, reader: ((String) -> Void)?) {
        transcript = Transcript(reader: reader)
        lots = Lots(seed: mix64(seed))
        plan = Plan(&lots)
        fate = Fate(&lots)
        threads = SimThreads(seed: lots.next())
        threads.turnsBetweenSwitches = plan.turnsBetweenSwitches
        workload = Workload(seed: lots.next())
        promises = Promises(transcript)
        disk = SimDisk(seed: lots.next(), threads: threads)
        disk.keepRemoved(".journal", in: Plan.removed)
        let words = Monitor(Lots(seed: lots.next()))
        self.words = words
        plan.storage.workers = threads
        plan.storage.makeRandom = { RandomBytes(replaying: words.change { $0.next() }) }
        plan.configuration.unguessableBits = { words.change { $0.next() } }
    }

    private func run() -> SimulationResult {
        var violation: Violation?
        do {
            for number in 1...plan.lives {
                transcript.note("life \(number)")
                try live()
            }
            try last()
        } catch {
            violation = error
            transcript.note("VIOLATED: \(error)")
            life?.engine.stop()
            life = nil
        }
        let left = threads.finish()
        if violation == nil, !left.isEmpty {
            violation = Violation("threads go on after their owner has gone: \(left)")
        }
        return SimulationResult(
            hash: transcript.hash, counts: transcript.counts, violation: violation)
    }

    // MARK: A life

    private func live() throws(Violation) {
        fate = Fate(&lots)
        if let bytes = fate.segmentBytes { plan.storage.segmentBytes = bytes }
        disk.setChances(fate.chances)
        if let calls = fate.crashesAfter { disk.cutPower(at: disk.calls + calls) }
        if fate.setsClock, lots.oneIn(2) { stepClock() }
        try start()
        if life != nil {
            for _ in 0..<fate.steps where !disk.isOff { try step() }
        }
        try end()
    }

    /// Starts the service; without it, if the disk did not let it.
    private func start() throws(Violation) {
        let before = disk.copy()
        let failed = Monitor(false)
        let mailroom = Mailroom(disk, failed)
        let engine: Engine
        do {
            engine = try Engine.open(
                Plan.directory, disk: disk, storage: plan.storage, keys: plan.keys,
                configuration: plan.configuration, clock: threads,
                journalFailed: { _ in failed.change { $0 = true } })
        } catch {
            return try notStarted(error, before)
        }
        let recovery = engine.status.recovery
        transcript.note("started, replayed \(recovery.recordsReplayed) \(recovery.report)")
        transcript.count("start")
        if recovery.report.contains("cut an unfinished") { transcript.count("torn tail cut") }
        if recovery.report.contains("passed over") { transcript.count("snapshot passed over") }
        // A first start that did not come to its end is made again.
        if !disk.isOff, history.count > 0 { try requireKept(before: before, after: disk) }
        life = Life(
            engine: engine, mailroom: mailroom, journalFailed: failed, threads: threads,
            transcript: transcript, promises: promises, now: history.world.counters.time,
            disk: disk)
    }

    private func notStarted(_ error: EngineError, _ before: SimDisk) throws(Violation) {
        transcript.note("not started: \(disk.isOff ? "power is off" : "\(error)")")
        transcript.count(disk.isOff ? "crash while starting" : "start refused")
        if disk.isOff { return }
        guard case .storage(.io) = error, !disk.failures.isEmpty else {
            throw Violation("a start was refused without reason: \(error)")
        }
        // A first start that did not come to its end is made again.
        if history.count > 0 { try requireKept(before: before, after: disk) }
    }

    private func step() throws(Violation) {
        guard let life else { return }
        switch lots.below(20) {
        case 0...9:
            let batch = (0...lots.below(6)).map { _ in workload.draw(history.world, life) }
            transcript.note("ask \(batch.map { $0.request.call })")
            life.submit(batch, reactor: lots.below(2))
            threads.pass()
        case 10, 11: threads.pause(nanoseconds: UInt64(lots.below(50_000_000)))
        case 12, 13: threads.pause(nanoseconds: UInt64(lots.below(90)) * 1_000_000_000)
        case 14:
            if lots.oneIn(6) {
                threads.pause(nanoseconds: UInt64(lots.below(26 * 3_600)) * 1_000_000_000)
            }
        case 15: if fate.setsClock { stepClock() }
        case 16: if fate.fillsUp { fill() }
        case 17, 18: try look()
        default: backUp(life)
        }
        if disk.isOff { return }
        _ = try life.collect()
        if lots.oneIn(2) { _ = life.giveCredits() }
        if let fault = threads.misbehaviour { throw Violation(fault) }
    }

    /// Takes a backup, beside everything else; now and then one is given up.
    private func backUp(_ life: Life) {
        if let backups = life.backups, lots.oneIn(2) {
            if !backups.isBusy { backups.begin() } else if lots.oneIn(4) { backups.cancel() }
        }
        threads.pass()
    }

    /// Takes a backup to its end, as whoever asks again when retention was faster.
    private func backUpAtRest(_ life: Life, _ client: BackupClient) throws(Violation) {
        for _ in 0..<5 where client.taken.isEmpty {
            client.begin()
            for _ in 0..<20_000 where client.isBusy {
                try settle(life)
                threads.pause(nanoseconds: 20_000_000)
            }
        }
        try require(!client.taken.isEmpty, "a good disk cannot be backed up")
    }

    private func stepClock() {
        let range = lots.pick([2_000, 7_200_000, 7_200_000, 30 * 3_600_000] as [Int64])
        let delta = Int64(lots.next() % UInt64(2 * range)) - range
        threads.stepWall(byMilliseconds: delta)
        transcript.note("clock set by \(delta) ms")
        transcript.count(delta < 0 ? "clock set back" : "clock set forward")
    }

    private func fill() {
        if disk.isLimited {
            disk.limit(bytes: nil)
            roomAgain = threads.monotonicTime().advanced(byNanoseconds: Self.noticesRoomNanoseconds)
            transcript.note("there is space again")
        } else {
            disk.limit(bytes: disk.bytesUsed + lots.below(lots.pick([100, 20_000])))
            transcript.note("the disk is full")
            transcript.count("disk filled up")
        }
    }

    // MARK: Looking

    /// Lets the engine come to rest, and compares what it shows with the model.
    private func look() throws(Violation) {
        guard let life else { return }
        try settle(life)
        if threads.monotonicTime() < roomAgain {
            threads.pause(nanoseconds: roomAgain.nanoseconds(since: threads.monotonicTime()))
        }
        let (earliest, _) = life.clock()
        // A turn that begins after that time.
        _ = try probe(life, .status)
        if disk.isOff || life.hasFailed { return try lookAtFailed(life) }
        try readBack(disk)
        if let fault = threads.misbehaviour { throw Violation(fault) }
        let durable = life.engine.status.durableSequence
        // With no space what is due waits until there is.
        if !disk.isLimited, fate.chances.failing == 0 {
            let timer = history.world.nextTimer ?? .distantFuture
            try require(
                timer.milliseconds > earliest.milliseconds - 2,
                "a timer of \(timer) did not fire by \(earliest)")
        }
        try compare(life, history.world, at: history.count)
        try require(durable <= history.count, "record \(durable) is said to be durable")
        // Unless a timer has fired since.
        if promises.shown <= history.count {
            for mirror in life.mirrors { try mirror.compare(history.world) }
        }
        transcript.count("looked")
    }

    /// Lets the engine do everything that it was asked, in the time that the disk takes.
    private func settle(_ life: Life) throws(Violation) {
        for _ in 0..<20_000 {
            repeat {
                threads.settle()
                if disk.isOff { return }
            } while try life.collect() || life.giveCredits()
            guard life.owesAnswers || life.puts?.isBusy == true else { return }
            threads.pause(nanoseconds: 20_000_000)
        }
        throw Violation("calls are not answered: \(life.unanswered)")
    }

    /// After the journal has failed: what is shown is what is durable, or part of it.
    private func lookAtFailed(_ life: Life) throws(Violation) {
        if disk.isOff { return }
        let status = life.engine.status
        try require(status.state == .journalFailed, "the journal failed, and the status says not")
        try readBack(disk)
        let durable = status.durableSequence
        try require(durable <= history.count, "what is said to be durable is not there")
        // A backup may have records of a commit that failed behind them; the status has them once
        // the durable state has been read back.
        try require(durable >= promises.answered, "what was shown is said not to be durable")
        transcript.count("looked after the journal failed")
        guard let board = try probe(life, .listCases(after: nil, limit: 10_000, filter: .init())),
            case .board(let page, _, let revision) = board
        else { throw Violation("reads do not go on after the journal has failed") }
        try require(revision == durable, "a list is as of \(revision), durable is \(durable)")
        try require(
            page.cases.allSatisfy { $0.value.revision <= revision },
            "a list as of \(revision) shows what came later")
        let write = Promises(transcript).asked(
            .status, Principal(dnsName: "probe"),
            WriteKey(requestID: RequestID(high: 9, low: 9), fingerprint: .zero))
        guard
            let refused = try probe(life, .claim(.everything, write.key, waitMilliseconds: 0)),
            case .failed(.journalFailed) = refused
        else { throw Violation("a write is not refused after the journal has failed") }
        let filed = EngineOperation.listDisclosures(
            after: nil, limit: 10_000, states: [], requester: nil)
        guard case .disclosures(let requests)? = try probe(life, filed) else {
            throw Violation("reads do not go on after the journal has failed")
        }
        // Until the durable state has been read back, some of it is not shown.
        let withheld = page.withheld + requests.withheld
        if withheld == 0, disk.failures.allSatisfy({ $0.call != .read && $0.call != .list }) {
            try compare(life, history.world(at: durable), at: durable)
            transcript.count("state read back after the journal failed")
        }
    }

    /// Asks, and waits for the answer.
    private func probe(_ life: Life, _ operation: EngineOperation) throws(Violation) -> EngineReply?
    {
        let request = workload.request(operation, by: .intake)
        life.submit([(request, .probe)], reactor: 0)
        try settle(life)
        return life.takeProbe(request.call)
    }

    /// Compares what the engine shows with a World.
    private func compare(
        _ life: Life, _ world: borrowing World, at sequence: UInt64
    ) throws(Violation) {
        guard
            let board = try probe(life, .listCases(after: nil, limit: 10_000, filter: .init())),
            let list = try probe(
                life, .listDisclosures(after: nil, limit: 10_000, states: [], requester: nil)),
            let reply = try probe(life, .status)
        else {
            if disk.isOff { return }
            throw Violation("a read was not answered")
        }
        guard case .board(let page, let openCount, let revision) = board,
            case .disclosures(let requests) = list, case .status(let status) = reply
        else { throw Violation("a read was answered with something else") }
        // A timer may have fired since.
        guard revision == sequence, status.durableSequence == sequence else { return }
        let expected = world.board(after: nil, limit: 10_000, filter: .init())
        func shown(_ view: CaseView) -> [String] {
            [
                "\(view.value.number.value)", "\(view.value.revision)", "\(view.value.state)",
                view.assignee?.text ?? "-",
            ]
        }
        try require(
            page.cases.map(shown) == expected.cases.map(shown),
            "the board is another one than the records give")
        try require(
            openCount == world.counts.openCases && status.counts == world.counts,
            "the counts are others than the records give")
        let filed = world.disclosures(after: nil, limit: 10_000, states: [], requester: nil)
        try require(
            requests.requests.map(\.value.revision) == filed.requests.map(\.value.revision),
            "the disclosure requests are others than the records give")
        transcript.count("compared")
    }

    /// Reads the journal from outside, and judges every record in it.
    private func readBack(_ disk: SimDisk) throws(Violation) {
        let disk = quiet(disk)
        var reader = HistoryReader()
        let head: UInt64
        do {
            let inspection = try Inspection(
                path: Plan.directory, archive: archive(on: disk), disk: disk, keys: plan.keys,
                pieceBytes: plan.storage.recoveryPieceBytes)
            let statistics = try inspection.readJournal(into: &reader)
            head = statistics.head?.sequence ?? 0
            if let torn = statistics.tornTail { transcript.note("unfinished write: \(torn)") }
        } catch {
            // The first start may not have come to its end.
            if promises.shown == 0, history.count == 0 { return }
            throw Violation("the journal cannot be read: \(error)")
        }
        let found = try history.take(reader, head: head, shown: promises.shown)
        try promises.found(found)
        if let path = plan.archivePath {
            try archiveWatch.look(at: path, disk, reader, history)
            transcript.count("looked for erased words in the archive")
        }
    }

    /// The same disk without its faults, for looking at it from outside.
    private func quiet(_ disk: SimDisk) -> SimDisk { disk.afterKill() }

    /// Where older segments are, if there are any: removed ones are kept for this.
    private func archive(on disk: SimDisk) -> String? {
        let path = plan.archivePath ?? Plan.removed
        return disk.fileNames.contains { $0.hasPrefix(path + "/") } ? path : nil
    }

    /// Takes a snapshot, and waits until all that follows it is done.
    private func takeSnapshot(_ life: Life) throws(Violation) {
        life.submit([workload.snapshot(life)], reactor: 0)
        try settle(life)
        // What follows a snapshot is paced.
        threads.pause(nanoseconds: 600_000_000_000)
        try settle(life)
    }

    /// What was erased is in no segment that the oldest kept snapshot stands for.
    private func requireForgotten() throws(Violation) {
        if plan.storage.journalRetention == .remove { return }
        func sequences(_ suffix: String) -> [UInt64] {
            disk.fileNames.filter { $0.hasPrefix(Plan.directory + "/") && $0.hasSuffix(suffix) }
                .compactMap { UInt64($0.dropFirst(Plan.directory.count + 1).prefix(20)) }
        }
        let segments = sequences(".journal")
        let snapshots = sequences(".snapshot").suffix(plan.storage.snapshotsKept)
        guard snapshots.count == plan.storage.snapshotsKept, let covered = snapshots.first,
            let next = segments.last(where: { $0 <= covered + 1 })
        else { return }
        var reader = HistoryReader()
        do {
            _ = try Inspection(
                path: Plan.directory, disk: quiet(disk), keys: plan.keys,
                pieceBytes: plan.storage.recoveryPieceBytes
            )
            .readJournal(into: &reader)
        } catch { throw Violation("the journal cannot be read: \(error)") }
        let left = history.unforgotten(reader).filter { $0 < next }
        try require(left.isEmpty, "the words of records \(left) were erased, and are there")
        transcript.count("looked for erased words")
    }

    // MARK: Ends

    /// Ends the process, and looks at what it has left.
    private func end() throws(Violation) {
        var losesPower = fate.end == .powerCut
        if let life {
            if fate.end == .stop {
                if lots.oneIn(2) { try settle(life) }
                losesPower = lots.oneIn(2)
            } else if !disk.isOff {
                disk.cutPower(at: disk.calls)
            }
            life.engine.stop()
            _ = try life.collect()
            if fate.end == .stop, !disk.isOff {
                try require(
                    life.unanswered.isEmpty, "a clean stop left calls without an answer")
                transcript.count(life.hasFailed ? "stop after the journal failed" : "clean stop")
            }
            if life.hasFailed { transcript.count("journal failed") }
            backups += life.backups?.taken ?? []
            count(life.engine.status)
            countFailures()
        }
        life = nil
        threads.settle()
        promises.processEnded()
        transcript.note("ended: \(losesPower ? "power cut" : "kill"), \(disk.calls) calls")
        transcript.count(losesPower ? "power cut" : "process ended")
        if disk.isOff { transcript.count("crash at a call") }
        disk = losesPower ? disk.afterPowerCut() : disk.afterKill()
        try inspect()
        if lots.oneIn(2) { try damage() }
    }

    private func count(_ status: EngineStatus) {
        transcript.count("record appended", Int(status.counters.records))
        transcript.count("snapshot failed", Int(status.counters.snapshotFailures))
        transcript.count("segment retired", Int(status.counters.segmentsRetired))
        transcript.count("tidying failed", Int(status.counters.tidyFailures))
        transcript.count("segment written anew", Int(status.counters.segmentsRewritten))
        transcript.count("record without its words", Int(status.counters.recordsForgotten))
        transcript.count("forgetting failed", Int(status.counters.forgetFailures))
        transcript.count("watch swept", Int(status.counters.watchSweeps))
    }

    private func countFailures() {
        for failure in disk.failures { transcript.count("failed: \(failure.call)") }
    }

    /// Everything that can be asked of what is on the disk, before anybody starts on it.
    private func inspect() throws(Violation) {
        try readBack(disk)
        try promises.judge(history.records)
        let recovered: Recovered
        do { recovered = try recover(disk.copy(), plan) } catch {
            throw Violation("what a crash left cannot be recovered: \(error)")
        }
        try require(
            recovered.head == history.count,
            "recovery ends at \(recovered.head), the journal at \(history.count)")
        try requireEqual(recovered.world, history.world, inFull: lots.oneIn(32), "recovery")
        transcript.note("holds \(history.count) records, \(promises.shown) shown")
        try require(
            newestSnapshot(on: disk) >= promises.snapshotShown,
            "the snapshot of record \(promises.snapshotShown) is gone, and there is no newer one")
        for backup in backups {
            try backup.judge(plan, history, promises, &lots, transcript)
        }
        backups = []
        // A first start that did not come to its end has left nothing to verify.
        guard history.count > 0 else { return }
        try promises.judgeVault(disk.copy(), plan, history.world)
        try require(problems(disk).isEmpty, "does not verify: \(problems(disk))")
    }

    private func problems(_ disk: SimDisk) -> [JournalError] {
        do {
            return try Inspection(
                path: Plan.directory, archive: archive(on: disk), disk: disk, keys: plan.keys,
                pieceBytes: plan.storage.recoveryPieceBytes
            )
            .verify().problems
        } catch {
            return [error]
        }
    }

    /// Damages a copy of what is there, and starts on it.
    private func damage() throws(Violation) {
        let damaged = disk.copy()
        guard let damage = Damage(damaged, &lots) else { return }
        transcript.note("damage: \(damage.kind) of \(damage.file) at \(damage.offset)")
        let before = damaged.copy()
        do {
            let recovered = try recover(damaged, plan)
            let head = recovered.head
            if head < promises.shown {
                try requireHidden(damage, before, head)
            } else {
                transcript.count("damage survived")
            }
            try requireEqual(
                recovered.world, history.world(at: head), inFull: false, "after damage")
            try requireKept(before: before, after: damaged)
            try promises.judgeDamagedVault(damaged.copy(), plan, history.world.storedObjects)
        } catch let error as JournalError {
            transcript.count("damage refused")
            transcript.note("refused: \(error)")
            switch error {
            case .dataLoss, .gap, .io: break
            default: throw Violation("damage was taken for something else: \(error)")
            }
            try require(damaged.changes == before.changes, "a refused directory was changed")
            try require(
                !problems(before).isEmpty, "verify finds nothing in what a start refuses: \(error)")
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation("\(error)")
        }
    }

    private func requireHidden(
        _ damage: Damage, _ before: SimDisk, _ head: UInt64
    ) throws(Violation) {
        try require(
            damage.mayHideTheEnd(of: before),
            "\(damage.kind) of \(damage.file) at \(damage.offset): \(head) of "
                + "\(promises.shown) records are left, and nobody was told")
        guard !damage.file.hasSuffix("/mark") else { return }
        try require(
            head >= marked(on: before),
            "\(damage.kind) of \(damage.file): \(head) records are left, the mark tells of "
                + "\(marked(on: before)), and nobody was told")
        transcript.count("damage hid the end")
    }

    /// A last life without any fault: everything that was promised is there.
    private func last() throws(Violation) {
        transcript.note("last")
        try start()
        guard let life else { throw Violation("a good disk cannot be started on") }
        for write in promises.writes.suffix(30) {
            life.submit([workload.again(write, life)], reactor: 0)
            try settle(life)
            while let stored = life.puts?.takeStored() {
                life.submit([workload.attach(stored, write.key, life)], reactor: 0)
                try settle(life)
            }
        }
        try look()
        if let client = life.backups, lots.oneIn(2) { try backUpAtRest(life, client) }
        try takeSnapshot(life)
        // A segment ends for the words in it with the first record after a snapshot, which may be
        // that of the next one; then it takes as many as are kept.
        for _ in 0...plan.storage.snapshotsKept where life.engine.status.wordsToForget > 0 {
            try takeSnapshot(life)
        }
        try requireForgotten()
        count(life.engine.status)
        life.engine.stop()
        _ = try life.collect()
        backups += life.backups?.taken ?? []
        self.life = nil
        threads.settle()
        promises.processEnded()
        disk = disk.afterPowerCut()
        try inspect()
        for record in history.records {
            for event in record.events {
                // Its name: to print all of it would take a third of the run's time.
                let name = Mirror(reflecting: event).children.first?.label ?? "\(event)"
                transcript.count("event: \(name)")
            }
        }
        transcript.note("records \(history.count), calls \(disk.calls)")
    }
}
