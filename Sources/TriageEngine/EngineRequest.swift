// What a reactor asks of the engine: one value per call, handed over in batches. Authorised and
// validated by whoever made it; the engine checks neither roles nor form.

package import TriageBase
package import TriageCodec
package import TriageDomain

/// What an answer is addressed to.
protocol Asked {
    var call: UInt64 { get }
    var echo: UInt64 { get }
    var principal: Principal { get }
}

/// One call's request, on its way to the engine.
package struct EngineRequest: Asked, Sendable {
    /// The call, as its reactor names it; opaque here.
    package var call: UInt64
    /// What the asker needs to make a reply of the answer; comes back as it is.
    package var echo: UInt64
    /// The authenticated caller.
    package var principal: Principal
    /// When nobody waits for the answer any more: what has not begun by then is not done.
    package var deadline: MonotonicTime
    /// What is asked.
    package var operation: EngineOperation

    /// Groups the parts of a request.
    package init(
        call: UInt64, echo: UInt64, principal: Principal, operation: EngineOperation,
        deadline: MonotonicTime = .never
    ) {
        self.call = call
        self.echo = echo
        self.principal = principal
        self.deadline = deadline
        self.operation = operation
    }
}

/// What can be asked of the engine.
package enum EngineOperation: Sendable {
    /// A command, answered when it is durable.
    case write(Command, WriteKey)
    /// A claim that waits up to `waitMilliseconds` for a case; 0 does not wait.
    case claim(Eligibility, WriteKey, waitMilliseconds: Int64)

    /// A case. With a purpose it is the FULL view, and the read is recorded.
    case readCase(CaseNumber, purpose: String?, clearedForChildSafety: Bool)
    /// A page of the board.
    case listCases(after: PriorityKey?, limit: Int, filter: BoardFilter)
    /// A disclosure request. `requester` restricts an outsider to its own; a purpose is recorded.
    case readDisclosure(DisclosureID, requester: Principal?, purpose: String?)
    /// A page of disclosure requests, newest first.
    case listDisclosures(
        after: DisclosureCursor?, limit: Int, states: [DisclosureState], requester: Principal?)

    /// The board, then every change; from a revision when `resume` is not 0.
    case watchBoard(resume: UInt64, filter: BoardFilter)
    /// The caller's assignments, then every change.
    case watchAssignments(resume: UInt64)
    /// A disclosure request, then every change until it ends.
    case watchDisclosure(DisclosureID, requester: Principal?)
    /// The watch of this call may send so many more parts.
    case credit(Int)
    /// The watch of this call sends nothing until it is given credit again.
    case pause
    /// The reactor has taken one part that a group of watches shares.
    case taken(group: Int)
    /// The call is over: forget its watch or waiting claim. No answer.
    case cancel

    /// Whether an object of that size may be attached to a case; a repeat is answered at once.
    case checkAttachment(CaseNumber, size: Int, WriteKey, clearedForChildSafety: Bool)
    /// Evidence, whose read is recorded before the answer goes.
    case readEvidence(
        CaseNumber, EvidenceNumber, purpose: String, clearedForChildSafety: Bool)
    /// The evidence of a case, oldest first.
    case listEvidence(CaseNumber, after: UInt64, limit: Int)
    /// The holds of a case, oldest first.
    case listHolds(CaseNumber, after: UInt64, limit: Int)
    /// Erases evidence, or the words of a case's reports, unless it is held.
    ///
    /// Indirect, so that the many small requests are not as large as this rare one.
    indirect case erase(EraseRequest)
    /// A new key, answered when it is in use.
    case renewKey(KeyPurpose, WriteKey)

    /// A head of everything before it, answered when it is signed.
    case signHead
    /// A proof from a signed head, answered when it is made.
    indirect case prove(AuditQuestion)

    /// How the service is.
    case status
    /// A snapshot now, answered when it is durable.
    case snapshot(WriteKey)

    /// True for what the journal must take: refused once it has failed.
    var isWrite: Bool {
        switch self {
        case .write, .claim: true
        case .readCase(_, let purpose, _): purpose != nil
        case .readDisclosure(_, _, let purpose): purpose != nil
        case .watchDisclosure(_, let requester): requester == nil
        case .snapshot, .checkAttachment, .readEvidence, .erase, .renewKey, .signHead: true
        case .prove, .listCases, .listDisclosures, .listEvidence, .listHolds, .watchBoard,
            .watchAssignments, .credit, .pause, .taken, .cancel, .status:
            false
        }
    }

    /// True for what opens a watch.
    var isWatch: Bool {
        switch self {
        case .watchBoard, .watchAssignments, .watchDisclosure: true
        case .write, .claim, .readCase, .listCases, .readDisclosure, .listDisclosures, .credit,
            .pause, .taken, .cancel, .status, .snapshot, .checkAttachment, .readEvidence,
            .listEvidence, .listHolds, .erase, .renewKey, .signHead, .prove:
            false
        }
    }

    /// True for a page of a list, which may be long.
    package var isBulkRead: Bool {
        switch self {
        case .listCases, .listDisclosures: true
        default: false
        }
    }

    /// About how many bytes it may add to the journal, for back-pressure.
    package var journalBytes: Int {
        switch self {
        case .write(.submitReport(_, let content), _): content.count + 256
        case .write, .erase: 4_096
        case .claim, .readCase, .readDisclosure, .watchDisclosure, .snapshot, .readEvidence,
            .renewKey:
            512
        case .listCases, .listDisclosures, .watchBoard, .watchAssignments, .credit, .pause,
            .taken, .cancel, .status, .checkAttachment, .listEvidence, .listHolds, .signHead,
            .prove:
            0
        }
    }
}

/// Everything that one reactor asks in one loop turn.
struct RequestBatch: Sendable {
    var reactor: Int
    var requests: [EngineRequest]
}
