// An engine without thread, disk or clock of its own: a test drives its turns, sees every delivery
// and decides when the journal fails.

import TestSupport
import TriageBase
import TriageCodec
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

/// Keeps what was delivered to one reactor.
final class RecordingSink: CompletionSink {
    private let batches = Monitor<[[Completion]]>([])

    func deliver(_ completions: [Completion]) { batches.change { $0.append(completions) } }

    var deliveries: [[Completion]] { batches.change { $0 } }
    var all: [Completion] { deliveries.flatMap { $0 } }

    func take() -> [Completion] {
        batches.change { batches in
            defer { batches = [] }
            return batches.flatMap { $0 }
        }
    }

    /// Waits until so many completions have come.
    func wait(count: Int) -> [Completion] {
        batches.wait { batches in
            let all = batches.flatMap { $0 }
            return all.count >= count ? all : nil
        }
    }
}

/// Snapshots that a test ends by hand.
final class FakeSnapshots: SnapshotTaker {
    struct Asked: Sendable {
        let sequence: UInt64
        let caseCount: Int
        let isPaced: Bool
        let report: @Sendable (SnapshotResult) -> Void
    }

    private let asked = Monitor<[Asked]>([])

    func take(
        _ state: WorldState, at tree: MerkleTree, time: WallTime, isPaced: Bool,
        report: @escaping @Sendable (SnapshotResult) -> Void
    ) {
        asked.change {
            $0.append(
                Asked(
                    sequence: tree.size, caseCount: state.cases.count, isPaced: isPaced,
                    report: report))
        }
    }

    func wordsErased(by sequence: UInt64) {}

    var all: [Asked] { asked.change { $0 } }
}

/// The parts put together.
final class EngineBench {
    let clock = FakeClock()
    let journal: FakeJournal
    let sinks = [RecordingSink(), RecordingSink()]
    let snapshots = FakeSnapshots()
    let core: EngineCore
    private var nextCall: UInt64 = 1
    private var nextID: UInt64 = 1

    var sink: RecordingSink { sinks[0] }

    init(
        audit: FakeKeeper? = nil, journal: FakeJournal = FakeJournal(),
        _ configure: (inout EngineConfiguration) -> Void = { _ in }
    ) {
        var configuration = EngineConfiguration()
        configuration.unguessableBits = { 0x1234_5678_9ABC_DEF0 }
        configuration.snapshotRecords = 0
        configuration.snapshotMilliseconds = 0
        configure(&configuration)
        self.journal = journal
        let box = FailureBox()
        let world = World()
        let status = EngineStatus(
            startTime: clock.wallTime(), counts: world.counts,
            recovery: RecoverySummary(milliseconds: 0, recordsReplayed: 0, report: ""))
        core = EngineCore(
            world: world,
            parts: EngineParts(
                journal: journal, clock: clock, snapshots: snapshots, audit: audit,
                answered: { audit?.answers.append($0) },
                reload: { box.reloads += 1 }, journalFailed: { box.failures.append($0) }),
            configuration: configuration, status: status, now: clock.wallTime())
        self.box = box
        for (reactor, sink) in sinks.enumerated() { core.connect(reactor: reactor, sink: sink) }
    }

    private final class FailureBox {
        var failures: [JournalError] = []
        var reloads = 0
    }
    private let box: FailureBox
    var journalFailures: [JournalError] { box.failures }
    /// How often the durable state was asked for.
    var reloads: Int { box.reloads }

    // MARK: Requests

    func request(_ operation: EngineOperation, by name: String = "ana") -> EngineRequest {
        defer { nextCall += 1 }
        return EngineRequest(
            call: nextCall, echo: nextCall << 8, principal: person(name), operation: operation)
    }

    func freshKey() -> WriteKey {
        defer { nextID += 1 }
        return WriteKey(
            requestID: RequestID(high: 7, low: nextID), fingerprint: Hash128(high: 1, low: nextID))
    }

    func report(
        about subject: UInt64, _ family: HarmFamily = .violentThreat,
        imminence: Imminence = .unspecified
    ) -> Command {
        let facts = ReportFacts(
            family: family, reporter: .user, imminence: imminence, modifiers: [],
            signalPermille: 0, live: false, language: .undetermined, region: .unknown,
            routing: .unspecified, clearance: .required(for: family, modifiers: []),
            subject: Hash128(high: 9, low: subject))
        return .submitReport(facts: facts, content: [])
    }

    /// One turn with these requests, all of reactor 0.
    @discardableResult
    func turn(_ requests: EngineRequest...) -> [Completion] {
        let taken = takenGroups.map { request(.taken(group: $0)) }
        takenGroups = []
        core.turn([RequestBatch(reactor: 0, requests: taken + requests)])
        return sink.take().flatMap { completion -> [Completion] in
            guard case .sharedBoardChanges(let shared) = completion.reply else {
                return [completion]
            }
            takenGroups.append(shared.group)
            return completion.forEachCall(of: shared)
        }
    }

    /// Parts of groups that a reactor has taken and the engine does not know of yet.
    private var takenGroups: [Int] = []

    /// Submits one report about a new subject and returns its receipt.
    func submit(
        about subject: UInt64, _ family: HarmFamily = .violentThreat
    ) throws -> ReportReceipt {
        let replies = turn(request(.write(report(about: subject, family), freshKey())))
        guard case .receipt(let receipt) = replies.last?.reply else { throw Unexpected() }
        return receipt
    }

    /// Claims for `name` and returns the assignment.
    func claim(by name: String = "ana") throws -> AssignmentView {
        let replies = turn(
            request(.claim(anything, freshKey(), waitMilliseconds: 0), by: name))
        guard case .outcome(.offer(let view, _, _)) = replies.last?.reply else {
            throw Unexpected()
        }
        return view
    }
}

struct Unexpected: Error {}

func person(_ name: String) -> Principal {
    Principal(spiffeID: "spiffe://triaged.example/specialist/\(name)")
}

/// May take every case.
let anything = Eligibility(
    skills: .max, clearances: .max, regions: .max, languages: [], allLanguages: true)
/// May take suicide cases only.
let suicideOnly = Eligibility(
    skills: 1 << HarmFamily.suicideSelfHarm.rawValue, clearances: .max, regions: .max,
    languages: [], allLanguages: true)

extension Completion {
    /// What each of the calls gets that share a part.
    func forEachCall(of shared: SharedBoardChanges) -> [Completion] {
        shared.calls.map {
            Completion(
                call: $0, echo: echo, principal: principal, reply: .boardChanges(shared.part))
        }
    }
}

extension EngineReply {
    /// A short name of the case, for comparing.
    var kind: String {
        switch self {
        case .receipt: "receipt"
        case .outcome(.offer): "offer"
        case .outcome(.nothingToClaim): "nothingToClaim"
        case .outcome: "outcome"
        case .caseView: "caseView"
        case .board: "board"
        case .disclosure: "disclosure"
        case .disclosures: "disclosures"
        case .attachable: "attachable"
        case .evidence: "evidence"
        case .evidenceList: "evidenceList"
        case .holdList: "holdList"
        case .status: "status"
        case .snapshot: "snapshot"
        case .audit: "audit"
        case .boardChanges: "boardChanges"
        case .sharedBoardChanges: "sharedBoardChanges"
        case .assignmentChanges: "assignmentChanges"
        case .disclosureChange: "disclosureChange"
        case .refused(let error): "refused(\(error))"
        case .failed(let failure): "failed(\(failure))"
        }
    }
}

/// A complete emergency request.
func emergencyFiling() -> DisclosureFiling {
    var filing = DisclosureFiling(
        kind: .emergency, addressee: .unitedStates, userNotice: .prohibited)
    filing.agency.name = "Police"
    filing.officer.name = "Officer"
    filing.officer.sworn = true
    var emergency = Emergency(nature: .missingPerson)
    emergency.summary = "A child is missing."
    emergency.personInDanger = "The child"
    emergency.necessity = "The last login shows where."
    emergency.dangerToLifeDeclared = true
    emergency.onLetterhead = true
    filing.emergency = emergency
    filing.identifiers = [SubjectIdentifier(kind: .username, value: "u1")]
    filing.dataRequests = [
        DataRequest(
            category: .login, justification: "To find the child.",
            start: WallTime(milliseconds: 1_600_000_000_000),
            end: WallTime(milliseconds: 1_600_000_100_000))
    ]
    return filing
}
