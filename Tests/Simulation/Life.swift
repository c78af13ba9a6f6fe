// One life of the process: an engine on the disk, what was asked of it, and what it answered. Knows
// what may be answered; not what is on the disk.

import DomainFixtures
import TestSupport
import TriageBase
import TriageCodec
import TriageDomain
import TriageEngine
import TriageIO
import TriageJournal

/// A reply as it was delivered.
struct Arrival {
    let completion: Completion
    /// Whether the journal had failed by then.
    let journalHasFailed: Bool
    /// Whether others got the same.
    var isShared = false
}

/// Takes what the engine delivers, as long as there is a machine to deliver it.
final class Mailroom: CompletionSink {
    private let disk: SimDisk
    private let failed: Monitor<Bool>
    private let arrivals = Monitor<[Arrival]>([])

    init(_ disk: SimDisk, _ failed: Monitor<Bool>) {
        self.disk = disk
        self.failed = failed
    }

    func deliver(_ completions: [Completion]) {
        // Without power nobody hears of it.
        if disk.isOff { return }
        let hasFailed =
            failed.change { $0 }
            || disk.failures.contains {
                $0.path.hasSuffix(".journal") && ($0.call == .write || $0.call == .sync)
            }
        arrivals.change { arrivals in
            // In which order watches are served is left to chance that no seed knows.
            let each = completions.flatMap { Self.each($0, hasFailed) }
            arrivals += each.sorted { $0.completion.call < $1.completion.call }
        }
    }

    /// What each call gets; last, what the groups got, whose numbers are chance.
    private static func each(_ completion: Completion, _ hasFailed: Bool) -> [Arrival] {
        guard case .sharedBoardChanges(let shared) = completion.reply else {
            return [Arrival(completion: completion, journalHasFailed: hasFailed)]
        }
        func arrival(_ call: UInt64, _ reply: EngineReply) -> Arrival {
            let one = Completion(call: call, echo: 0, principal: .system, reply: reply)
            return Arrival(completion: one, journalHasFailed: hasFailed, isShared: true)
        }
        return shared.calls.map { arrival($0, .boardChanges(shared.part)) }
            + [arrival(.max, completion.reply)]
    }

    func take() -> [Arrival] {
        arrivals.change { arrivals in
            defer { arrivals = [] }
            return arrivals
        }
    }
}

/// What a call is about, for judging its reply.
enum Asked {
    case write(Write)
    /// Another request under the id of this one.
    case reuse(Write)
    /// Whether evidence was attached already, as whoever repeats that asks before the bytes.
    case attachAgain(Write)
    case read(recorded: Bool)
    case watch(WatchMirror, recorded: Bool)
    /// Asked by the run itself, to compare.
    case probe
}

/// A life from the opening of the directory to its end.
final class Life {
    let engine: Engine
    let mailroom: Mailroom
    let threads: SimThreads
    let transcript: Transcript
    let promises: Promises
    /// Evidence on its way; nil without encryption.
    let puts: Puts?
    /// Backups of this life.
    let backups: BackupClient?
    private let journalFailed: Monitor<Bool>
    private var open: [UInt64: Asked] = [:]
    private(set) var probes: [UInt64: EngineReply] = [:]
    /// Attempts made when the write had been answered already.
    private var repeats: Set<UInt64> = []
    private var credits: [UInt64: Int] = [:]
    /// Groups whose part was taken, each with a call of its reactor.
    private var taken: [(group: Int, call: UInt64)] = []
    private var sharedParts = 0
    private var reactors: [UInt64: Int] = [:]
    private(set) var lost: [WatchMirror] = []
    /// The engine's clock is not earlier.
    private var floor: WallTime
    private var floorAt: MonotonicTime
    /// The engine's clock is not later.
    private var ceiling: WallTime

    init(
        engine: Engine, mailroom: Mailroom, journalFailed: Monitor<Bool>, threads: SimThreads,
        transcript: Transcript, promises: Promises, now: WallTime, disk: SimDisk
    ) {
        self.engine = engine
        self.mailroom = mailroom
        self.journalFailed = journalFailed
        self.threads = threads
        self.transcript = transcript
        self.promises = promises
        floor = now
        ceiling = max(now, threads.wallTime())
        floorAt = threads.monotonicTime()
        puts = engine.vault.map { Puts($0, disk, promises, transcript) }
        backups = engine.backup.map { BackupClient($0, disk, promises, transcript) }
        for reactor in 0..<2 { engine.connect(reactor: reactor, sink: mailroom) }
        engine.start()
    }

    var hasFailed: Bool { journalFailed.change { $0 } }

    /// Between which times the engine's clock is.
    func clock() -> (earliest: WallTime, latest: WallTime) {
        let now = threads.monotonicTime()
        let passed = Int64(now.nanoseconds(since: floorAt) / 1_000_000)
        floorAt = MonotonicTime(
            nanoseconds: floorAt.nanoseconds + UInt64(passed) * 1_000_000)
        floor = floor.advanced(byMilliseconds: passed)
        ceiling = max(ceiling.advanced(byMilliseconds: passed + 1), threads.wallTime())
        return (floor, ceiling)
    }

    // MARK: Asking

    /// Hands a batch to the engine.
    func submit(_ batch: [(request: EngineRequest, asked: Asked)], reactor: Int) {
        let requests = batch.map(\.request)
        let bytes = requests.reduce(0) { $0 + $1.operation.journalBytes }
        guard engine.submit(requests, reactor: reactor, journalBytes: bytes) else {
            transcript.note("not taken: \(requests.count)")
            transcript.count("batch refused")
            return
        }
        for (request, asked) in batch {
            transcript.tell("\(request.call) by \(request.principal): \(request.operation)")
            if case .cancel = request.operation {
                cancelled(request.call)
                continue
            }
            switch request.operation {
            case .credit, .pause, .taken: continue
            default: break
            }
            open[request.call] = asked
            reactors[request.call] = reactor
            switch asked {
            case .write(let write), .attachAgain(let write):
                if !write.mayExist { write.askedAt = clock().earliest }
                write.pending += 1
                if write.answer != nil { repeats.insert(request.call) }
            // If it comes first, the id is its own.
            case .reuse(let write):
                write.isUncertain = true
                if write.answer != nil { repeats.insert(request.call) }
            case .read(recorded: true), .watch(_, recorded: true): promises.askedToRead()
            case .read, .watch, .probe: break
            }
        }
    }

    /// A claim that is cancelled may have been answered already.
    private func cancelled(_ call: UInt64) {
        if case .write(let write)? = open.removeValue(forKey: call) {
            write.pending -= 1
            write.isUncertain = true
        }
    }

    /// Calls that can be cancelled, each with its reactor: claims that wait, and watches.
    var cancellable: [(call: UInt64, reactor: Int)] {
        open.keys.sorted().compactMap { call in
            switch open[call] {
            case .watch: return (call, reactors[call] ?? 0)
            case .write(let write):
                guard case .claim = write.operation else { return nil }
                return (call, reactors[call] ?? 0)
            default: return nil
            }
        }
    }

    var mirrors: [WatchMirror] {
        open.values.compactMap { if case .watch(let mirror, _) = $0 { mirror } else { nil } }
    }

    /// Lets watches send as many parts more as were taken.
    func giveCredits() -> Bool {
        guard !credits.isEmpty || !taken.isEmpty else { return false }
        for (group, call) in taken {
            let request = EngineRequest(
                call: .max, echo: 0, principal: .system, operation: .taken(group: group))
            _ = engine.submit([request], reactor: reactors[call] ?? 0, journalBytes: 0)
        }
        taken = []
        for call in credits.keys.sorted() {
            let request = EngineRequest(
                call: call, echo: 0, principal: .system, operation: .credit(credits[call] ?? 0))
            submit([(request, .probe)], reactor: reactors[call] ?? 0)
        }
        credits = [:]
        return true
    }

    // MARK: Answers

    /// Judges what arrived.
    ///
    /// - Returns: Whether anything did.
    func collect() throws(Violation) -> Bool {
        let arrivals = mailroom.take()
        for arrival in arrivals { try judge(arrival) }
        let hasPut = try puts?.collect() ?? false
        let hasCopied = try backups?.collect() ?? false
        return hasPut || hasCopied || !arrivals.isEmpty
    }

    private func judge(_ arrival: Arrival) throws(Violation) {
        let (call, reply) = (arrival.completion.call, arrival.completion.reply)
        if case .sharedBoardChanges(let shared) = reply {
            return taken.append((shared.group, shared.calls[0]))
        }
        let shown = revision(shownBy: reply)
        transcript.note("\(call) <- \(kind(of: reply)) \(shown)")
        transcript.count("reply: \(kind(of: reply))")
        promises.show(shown)
        promises.showSnapshot(snapshot(shownBy: reply))
        guard let asked = open[call] else { return }
        if !reply.isWatchPart { open[call] = nil }
        let (_, latest) = clock()
        switch asked {
        case .write(let write):
            try promises.answered(
                write, reply, isRepeat: repeats.remove(call) != nil,
                journalHasFailed: arrival.journalHasFailed, earliest: write.askedAt, latest: latest)
        case .attachAgain(let write):
            let isRepeat = repeats.remove(call) != nil
            if case .attachable = reply {
                try promises.askedForBytes(write, isRepeat: isRepeat, latest: latest)
                try puts?.begin(again: write)
                return
            }
            try promises.answered(
                write, reply, isRepeat: isRepeat, journalHasFailed: arrival.journalHasFailed,
                earliest: write.askedAt, latest: latest)
        case .reuse(let write):
            try promises.answeredReuse(
                of: write, reply, wasTaken: repeats.remove(call) != nil, latest: latest)
        case .read(let recorded):
            switch reply {
            case .caseView, .disclosure: if recorded { promises.read() }
            case .board(let page, _, let revision):
                try require(
                    page.cases.allSatisfy { $0.value.revision <= revision },
                    "a list as of \(revision) shows what came later")
            default: break
            }
        case .watch(let mirror, let recorded):
            try judge(reply, mirror, recorded, call)
            if reply.isWatchPart { partTaken(call, isShared: arrival.isShared) }
        case .probe: probes[call] = reply
        }
    }

    private func judge(
        _ reply: EngineReply, _ mirror: WatchMirror, _ recorded: Bool, _ call: UInt64
    ) throws(Violation) {
        switch reply {
        case .boardChanges(let part): try mirror.take(part)
        case .assignmentChanges(let part): try mirror.take(part)
        case .disclosureChange:
            if recorded, !mirror.hasShown { promises.read() }
            mirror.hasShown = true
        case .failed(.watchTooSlow):
            transcript.count("watch too slow")
            lost.append(mirror)
        case .failed, .refused: break
        default: throw Violation("a watch was answered with \(kind(of: reply))")
        }
    }

    /// Gives credit back for a part; now and then a stream is full of what its group got.
    private func partTaken(_ call: UInt64, isShared: Bool) {
        guard isShared else { return credits[call, default: 0] += 1 }
        sharedParts += 1
        guard sharedParts % 3 == 0 else { return }
        let request = EngineRequest(call: call, echo: 0, principal: .system, operation: .pause)
        submit([(request, .probe)], reactor: reactors[call] ?? 0)
        credits[call] = 8
        transcript.count("watch paused")
    }

    func takeProbe(_ call: UInt64) -> EngineReply? { probes.removeValue(forKey: call) }

    /// Watches that were ended and may be resumed.
    func takeLost() -> WatchMirror? { lost.popLast() }

    /// Calls without an answer, but for watches, which have no last one.
    var unanswered: [UInt64] {
        open.keys.sorted().filter { if case .watch = open[$0] { false } else { true } }
    }

    /// Whether calls are without an answer that do not wait for a case.
    var owesAnswers: Bool {
        open.values.contains { asked in
            switch asked {
            case .watch: return false
            case .write(let write):
                guard case .claim(_, _, let wait) = write.operation else { return true }
                return wait == 0
            case .reuse, .attachAgain, .read, .probe: return true
            }
        }
    }
}
