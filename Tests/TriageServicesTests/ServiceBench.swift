// The services of one reactor in front of a real engine core, without threads, sockets or disk: a
// test makes calls with API messages and reads what came back.

import TestSupport
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC
import TriageIO
import TriageJournal

@testable import TriageEngine
@testable import TriageServices

/// What became of a call.
struct Answer {
    var messages: [[UInt8]] = []
    /// Set when the call is over; nil inside is OK.
    var end: RPCError??
    var requestedMore = 0
    var isLongLived = false

    var isOver: Bool { end != nil }
    var error: RPCError? { end ?? nil }
}

/// Keeps what the services answer.
final class FakeResponder: CallResponder {
    var answers: [UInt64: Answer] = [:]
    var now = MonotonicTime(nanoseconds: 1_000_000_000)
    /// What `send` says next.
    var sendOutcome = SendOutcome.queued

    func respond(_ call: CallID, copying message: Span<UInt8>) {
        respond(call, [UInt8](copying: message))
    }

    func respond(_ call: CallID, _ message: [UInt8]) {
        guard answers[call.raw]?.isOver != true else { return }
        answers[call.raw, default: Answer()].messages.append(message)
        answers[call.raw]?.end = .some(nil)
    }

    func send(_ call: CallID, _ message: [UInt8]) -> SendOutcome {
        if sendOutcome != .gone { answers[call.raw, default: Answer()].messages.append(message) }
        return sendOutcome
    }

    func send(
        _ messages: [[UInt8]], to calls: [UInt64], _ report: (CallID, SendOutcome) -> Void
    ) {
        for call in calls.map(CallID.init(raw:)) {
            for message in messages where send(call, message) != .queued {
                report(call, sendOutcome)
            }
        }
    }

    func finish(_ call: CallID, _ error: RPCError?) {
        guard answers[call.raw]?.isOver != true else { return }
        answers[call.raw, default: Answer()].end = .some(error)
    }

    /// Bytes that handlers have booked, and may.
    private(set) var heldBytes = 0
    var heldBytesMax = Int.max
    func hold(_ call: CallID, bytes: Int) -> Bool {
        heldBytes += bytes
        return heldBytes <= heldBytesMax
    }

    func requestMore(_ call: CallID) { answers[call.raw, default: Answer()].requestedMore += 1 }
    func markLongLived(_ call: CallID) -> Bool {
        answers[call.raw, default: Answer()].isLongLived = true
        return !refusesLongLived
    }
    var refusesLongLived = false
    func setMetadata(_ call: CallID, initial: [MetadataField], trailing: [MetadataField]) {}
    func setCompression(_ call: CallID, _ compression: ReplyCompression) {}
}

/// An engine core behind the door, driven by the test.
///
/// `@unchecked Sendable`: used by the test's thread only.
final class DirectEngine: EngineDoor, @unchecked Sendable {
    let clock = FakeClock()
    let journal = FakeJournal()
    let core: EngineCore
    let vault: FakeVault?
    private let renewed = Monitor<[RenewedKey]>([])
    var batches: [RequestBatch] = []
    /// Bytes above which a turn is not taken; nil takes all.
    var journalBytesMax: Int?
    var isStopped = false
    /// Whose writes are not taken.
    var withoutRoom: Set<Principal> = []

    init(vault: FakeVault?) {
        self.vault = vault
        var configuration = EngineConfiguration()
        configuration.snapshotRecords = 0
        configuration.snapshotMilliseconds = 0
        let world = World()
        let status = EngineStatus(
            startTime: clock.wallTime(), counts: world.counts,
            recovery: RecoverySummary(milliseconds: 5, recordsReplayed: 0, report: ""))
        let snapshots = ImmediateSnapshots()
        let renewed = renewed
        core = EngineCore(
            world: world,
            parts: EngineParts(
                journal: journal, clock: clock, snapshots: snapshots, vault: vault,
                renewed: { result in renewed.change { $0.append(result) } },
                wake: { snapshots.results.append($0) }),
            configuration: configuration, status: status, now: clock.wallTime())
        self.snapshots = snapshots
    }

    private let snapshots: ImmediateSnapshots

    func submit(_ requests: [EngineRequest], reactor: Int, journalBytes: Int) -> Bool {
        if isStopped { return false }
        if let journalBytesMax, journalBytes > journalBytesMax { return false }
        let isOverShare = requests.contains {
            $0.operation.journalBytes > 0 && withoutRoom.contains($0.principal)
        }
        if isOverShare { return false }
        batches.append(RequestBatch(reactor: reactor, requests: requests))
        return true
    }

    /// Does everything that the engine has to do.
    func run() {
        repeat {
            let taken = batches
            batches = []
            let keys = renewed.change { results in
                defer { results = [] }
                return results
            }
            core.turn(
                taken, snapshots: snapshots.results.popLast().map { [$0] } ?? [], renewed: keys)
        } while core.hasWork || !batches.isEmpty || !snapshots.results.isEmpty
            || !renewed.change(\.isEmpty)
    }
}

/// A snapshot that is durable at once.
private final class ImmediateSnapshots: SnapshotTaker, @unchecked Sendable {
    var results: [SnapshotResult] = []

    func take(
        _ state: WorldState, at tree: MerkleTree, time: WallTime, isPaced: Bool,
        report: @escaping @Sendable (SnapshotResult) -> Void
    ) {
        report(
            .taken(
                SnapshotReceipt(
                    sequence: tree.size, recordCount: 3, bytes: 8_192,
                    durationMilliseconds: 12, time: time)))
    }

    func wordsErased(by sequence: UInt64) {}
}

/// Workers whose work the test's thread does.
///
/// `@unchecked Sendable`: used by the test's thread only.
final class HandWorkers: WorkerSource, @unchecked Sendable {
    private var work: [@Sendable () -> Void] = []

    var hasWork: Bool { !work.isEmpty }

    /// Does what was asked, in order.
    func run() { while hasWork { work.removeFirst()() } }

    /// `@unchecked Sendable`: as its source.
    private final class HandWorker: Worker, @unchecked Sendable {
        private let workers: HandWorkers

        init(_ workers: HandWorkers) { self.workers = workers }

        func submit(_ work: @escaping @Sendable () -> Void) { workers.work.append(work) }
        func stop() { workers.run() }
    }

    func makeWorker(name: String, urgency: Thread.Urgency) throws(IOError) -> any Worker {
        HandWorker(self)
    }

    func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R? { monitor.change(body) }
}

/// Jobs for the one reactor.
final class FakeMailbox: ReactorMailbox {
    private let jobs = Monitor<[any ReactorJob]>([])

    func post(_ job: any ReactorJob) { jobs.change { $0.append(job) } }

    func run(_ handler: any CallHandler) {
        let taken = jobs.change { jobs in
            defer { jobs = [] }
            return jobs
        }
        for job in taken { job.run(handler) }
    }
}

/// Services, engine and responder put together.
final class ServiceBench {
    let engine: DirectEngine
    let policy: PolicyStore
    let health = HealthState()
    let responder = FakeResponder()
    let mailbox = FakeMailbox()
    let factory: ServiceFactory
    let handler: any CallHandler
    private let helpers: HandWorkers?
    private var peers: [String: PeerContext] = [:]
    private var nextSlot = 1
    private var nextID: UInt64 = 1

    /// - Parameters:
    ///   - vault: nil: a server without encryption.
    ///   - backup: nil: a server without a data directory.
    ///   - helpers: What that works on.
    init(
        vault: FakeVault? = nil, backup: BackupWorker? = nil, helpers: HandWorkers? = nil
    ) {
        policy = PolicyStore(Self.policy())
        self.helpers = helpers
        let engine = DirectEngine(vault: vault)
        self.engine = engine
        factory = ServiceFactory(
            engine: engine, vault: vault, backup: backup, policy: policy, health: health,
            version: "1.2.3",
            connect: { reactor, sink in engine.core.connect(reactor: reactor, sink: sink) })
        handler = factory.makeHandler(reactor: 0, responder: responder, mailbox: mailbox)
        health.set(serving: true)
    }

    static let everything = Eligibility(
        skills: .max, clearances: .max, regions: .max, languages: [], allLanguages: true)
    static let nothing = Eligibility(skills: 0, clearances: 0, regions: 0, languages: [])

    /// One principal for each role, and a few more.
    static func policy() -> Policy {
        var entries: [Principal: PolicyEntry] = [:]
        for role in Role.allCases {
            let takes = role == .specialist || role == .lead
            entries[principal(role.name)] = PolicyEntry(
                roles: RoleSet(role), eligibility: takes ? everything : nothing)
        }
        entries[principal("ben")] = PolicyEntry(
            roles: RoleSet(.specialist), eligibility: everything)
        entries[principal("narrow")] = PolicyEntry(
            roles: RoleSet(.specialist),
            eligibility: Eligibility(
                skills: .max, clearances: 1 << Clearance.general.rawValue, regions: .max,
                languages: [], allLanguages: true))
        for name in ["erin", "farid", "gina"] {
            entries[principal(name)] = PolicyEntry(roles: RoleSet(.legal), eligibility: nothing)
        }
        entries[principal("oscar")] = PolicyEntry(
            roles: RoleSet(.operator), eligibility: nothing)
        entries[principal("otherAgency")] = PolicyEntry(
            roles: RoleSet(.externalPartner), eligibility: nothing)
        return Policy(entries: entries)
    }

    static func principal(_ name: String) -> Principal {
        Principal(spiffeID: "spiffe://triaged.example/\(name)")
    }

    /// The connection of a person; empty for one without a certificate.
    func peer(_ name: String) -> PeerContext {
        if let known = peers[name] { return known }
        let made = PeerContext(principal: name.isEmpty ? nil : Self.principal(name))
        peers[name] = made
        return made
    }

    /// Has a person come through a door.
    func enter(_ name: String, through door: Audience) {
        peers[name] = PeerContext(principal: Self.principal(name), audience: door)
    }

    // MARK: Calls

    func newCall() -> CallID {
        defer { nextSlot += 1 }
        return CallID(reactor: 0, slot: nextSlot, generation: 1)
    }

    func uuid() -> DynamicValue {
        defer { nextID += 1 }
        return .string(RequestID(high: 0xA000, low: nextID).uuidText)
    }

    private func head(_ route: Route, _ name: String, _ deadline: MonotonicTime) -> CallHead {
        let path = route.path
        guard let method = factory.methods.methods.firstIndex(where: { $0.path == path }) else {
            fatalError("no method \(path)")
        }
        return CallHead(method: method, peer: peer(name), deadline: deadline)
    }

    /// Begins a call without letting the engine run.
    func begin(
        _ route: Route, by name: String, _ bytes: [UInt8],
        deadline: MonotonicTime? = nil
    ) -> CallID {
        let call = newCall()
        let minute = engine.clock.monotonicTime().advanced(byNanoseconds: 60_000_000_000)
        responder.answers[call.raw] = Answer()
        handler.requestReceived(call, head(route, name, deadline ?? minute), bytes.span)
        return call
    }

    /// Ends the turn, and lets the engine and its answers run until nothing is left.
    func settle() {
        handler.turnEnded()
        while true {
            engine.run()
            engine.vault?.run()
            helpers?.run()
            mailbox.run(handler)
            handler.turnEnded()
            if engine.batches.isEmpty, engine.vault?.hasWork != true, helpers?.hasWork != true {
                return
            }
        }
    }

    /// A whole call with a message as bytes.
    @discardableResult
    func call(_ route: Route, by name: String, bytes: [UInt8]) -> Answer {
        let call = begin(route, by: name, bytes)
        settle()
        return answer(call)
    }

    func answer(_ call: CallID) -> Answer { responder.answers[call.raw] ?? Answer() }

    /// A whole call with fields.
    @discardableResult
    func call(
        _ route: Route, by name: String, _ fields: KeyValuePairs<String, DynamicValue> = [:]
    ) throws -> Answer {
        call(route, by: name, bytes: try schema(route).request.encode(message(fields)))
    }

    /// A call that must succeed, and its reply.
    func reply(
        _ route: Route, by name: String, _ fields: KeyValuePairs<String, DynamicValue> = [:]
    ) throws -> DynamicMessage {
        let answer = try call(route, by: name, fields)
        if let error = answer.error { throw error }
        guard answer.isOver, answer.messages.count == 1 else { throw Unexpected() }
        let bytes = answer.messages[0]
        return try schema(route).reply.decode(bytes.span)
    }

    /// A call that must be refused, and how.
    func refusal(
        _ route: Route, by name: String, _ fields: KeyValuePairs<String, DynamicValue> = [:]
    ) throws -> RPCError {
        guard let error = try call(route, by: name, fields).error else { throw Unexpected() }
        return error
    }

    func messages(_ route: Route, _ call: CallID) throws -> [DynamicMessage] {
        let schema = schema(route)
        var decoded: [DynamicMessage] = []
        for bytes in answer(call).messages { decoded.append(try schema.reply.decode(bytes.span)) }
        return decoded
    }

    func open(_ route: Route, by name: String) -> CallID {
        let call = newCall()
        responder.answers[call.raw] = Answer()
        handler.streamOpened(call, head(route, name, .never))
        return call
    }

    // MARK: Messages

    func schema(_ route: Route) -> MethodSchema {
        guard let found = MethodSchema.all.first(where: { $0.path == route.path }) else {
            fatalError("no schema of \(route.path)")
        }
        return found
    }

    func report(
        about subject: String = "post-1", _ family: String = "HARM_FAMILY_VIOLENT_THREAT"
    ) -> DynamicValue {
        .message(
            message([
                "subject": .message(
                    message(["kind": .enumeration("SUBJECT_KIND_POST"), "id": .string(subject)])),
                "harm_family": .enumeration(family),
                "reporter": .message(message(["kind": .enumeration("REPORTER_KIND_USER")])),
                "description": .string("words that must not leak"),
            ]))
    }

    /// Submits a report and returns the case's name.
    @discardableResult
    func submit(
        about subject: String = "post-1", _ family: String = "HARM_FAMILY_VIOLENT_THREAT"
    ) throws -> String {
        try reply(
            .submitReport, by: "intake",
            ["request_id": uuid(), "report": report(about: subject, family)]
        ).text("case")
    }

    /// Claims and returns name and token of the assignment.
    func claim(by name: String = "specialist") throws -> (name: DynamicValue, token: DynamicValue) {
        let reply = try reply(.claimNext, by: name, ["request_id": uuid()])
        guard let assignment = reply.message("assignment") else { throw Unexpected() }
        return (.string(assignment.text("name")), .int(assignment.int("fencing_token")))
    }

    var filing: DynamicValue {
        .message(
            message([
                "kind": .enumeration("DISCLOSURE_KIND_EMERGENCY"),
                "agency": .message(
                    message([
                        "name": .string("Police"), "region_code": .string("US"),
                        "address": .string("1 Main St"),
                    ])),
                "officer": .message(
                    message([
                        "name": .string("Officer Secret"), "badge_id": .string("77"),
                        "email": .string("o@police.example"), "phone": .string("+1 555 0100"),
                        "sworn": .bool(true),
                    ])),
                "emergency": .message(
                    message([
                        "nature": .enumeration("EMERGENCY_NATURE_MISSING_PERSON"),
                        "summary": .string("A child is missing."),
                        "person_in_danger": .string("The child"),
                        "necessity": .string("The last login shows where."),
                        "danger_to_life_declared": .bool(true), "on_letterhead": .bool(true),
                    ])),
                "subject_identifiers": .list([
                    .message(
                        message([
                            "kind": .enumeration("IDENTIFIER_KIND_USERNAME"),
                            "value": .string("u1"),
                        ]))
                ]),
                "data_requests": .list([
                    .message(
                        message([
                            "category": .enumeration("DATA_CATEGORY_LOGIN"),
                            "justification": .string("To find the child."),
                            "start_time": .timestamp(WallTime(milliseconds: 1_600_000_000_000)),
                            "end_time": .timestamp(WallTime(milliseconds: 1_600_000_100_000)),
                        ]))
                ]),
                "addressee": .enumeration("ADDRESSEE_UNITED_STATES"),
                "user_notice": .enumeration("USER_NOTICE_PROHIBITED"),
            ]))
    }

    /// Files a request and returns it.
    func file(by name: String = "external_partner") throws -> DynamicMessage {
        try reply(
            .submitDisclosureRequest, by: name,
            ["request_id": uuid(), "disclosure_request": filing])
    }
}

struct Unexpected: Error {}

/// A message of these fields.
func message(_ fields: KeyValuePairs<String, DynamicValue>) -> DynamicMessage {
    var message = DynamicMessage()
    for (name, value) in fields { message[name] = value }
    return message
}
