// What can be asked of the World. A command is validated in form by the codec, authorised by the
// services, and decided here in substance; it names no clock and no random source.

package import TriageBase

/// Who asks, when, and under which idempotency key: what every command comes with.
package struct CommandContext: Sendable {
    /// The authenticated caller.
    package var principal: Principal
    /// The engine's clock; never earlier than that of the command before.
    package var now: WallTime
    /// `.none` for commands that carry none (timers).
    package var requestID: RequestID
    /// Fingerprint of the request's content, to tell a repeat from a reuse of the id.
    package var fingerprint: Hash128
    /// Fresh random bits, for identifiers that must not be guessable.
    package var random: UInt64

    package init(
        principal: Principal, now: WallTime, requestID: RequestID, fingerprint: Hash128,
        random: UInt64
    ) {
        self.principal = principal
        self.now = now
        self.requestID = requestID
        self.fingerprint = fingerprint
        self.random = random
    }
}

/// What can be asked of the World.
package enum Command: Sendable {
    case submitReport(facts: ReportFacts, content: [UInt8])
    case answerProtocol(
        case: CaseNumber, answers: ProtocolAnswers, lowerReason: String,
        token: AssignmentNumber, etag: UInt64?)
    case decideCase(
        case: CaseNumber, decision: CaseDecision, token: AssignmentNumber, etag: UInt64?)
    case closeCase(case: CaseNumber, token: AssignmentNumber, liveRiskEnded: Bool, etag: UInt64?)
    case reopenCase(case: CaseNumber, reason: String, etag: UInt64?)

    case claimNext(eligibility: Eligibility)
    case acceptCase(assignment: AssignmentNumber, token: AssignmentNumber)
    /// `leaseMilliseconds` 0 means the level's default.
    case renewLease(assignment: AssignmentNumber, token: AssignmentNumber, leaseMilliseconds: Int64)
    case releaseLease(assignment: AssignmentNumber, token: AssignmentNumber, reason: ReleaseReason)
    /// `eligibility` is that of the specialist who is to take it; nil: there is none of that name.
    case handOffCase(
        assignment: AssignmentNumber, token: AssignmentNumber, to: Principal,
        eligibility: Eligibility?, note: String)
    case completeCase(assignment: AssignmentNumber, token: AssignmentNumber)

    /// Indirect: it is rare and large, and would make every command large.
    indirect case submitDisclosureRequest(DisclosureFiling)
    case addVerification(request: DisclosureID, verification: Verification, etag: UInt64?)
    case setScope(request: DisclosureID, scope: Scope, etag: UInt64?)
    case approveDisclosure(request: DisclosureID, etag: UInt64)
    case rejectDisclosure(request: DisclosureID, rejection: Rejection, etag: UInt64?)

    /// The object is durable in the vault; indirect like all that is rare and large.
    indirect case attachEvidence(case: CaseNumber, attachment: AttachedObject)
    /// `identities` are those of the case's subjects, which rules cannot read by themselves.
    indirect case eraseEvidence(
        case: CaseNumber, evidence: EvidenceNumber, erasure: Erasure, identities: Set<Hash128>)
    /// ``Erased/content`` stands for the words of its reports from then on.
    indirect case eraseReportTexts(
        case: CaseNumber, erasure: Erasure, identities: Set<Hash128>)
    indirect case placeHold(case: CaseNumber, order: HoldOrder)
    indirect case releaseHold(case: CaseNumber, hold: HoldNumber, release: HoldRelease)

    /// A key that the caller asked for is in use: recorded, so that a repeat is answered alike.
    case recordKey(KeyAnswer)
    /// A snapshot that the caller asked for is durable: recorded, so that a repeat is answered
    /// alike.
    case recordSnapshot(SnapshotAnswer)
    /// A sensitive read: recorded, changes nothing else.
    case recordRead(SensitiveRead)
    /// The clock reached a timer that the World asked for.
    case fireTimers
}

/// What a call for a snapshot is answered with.
package struct SnapshotAnswer: Hashable, Sendable {
    /// The journal sequence that the snapshot stands for.
    package let sequence: UInt64
    /// Records in it; below 2^36.
    package let recordCount: UInt64
    /// Its size.
    package let bytes: UInt64
    /// From its begin to its durability; below 2^24.
    package let milliseconds: UInt64

    /// Groups the figures; what is out of bounds is the bound.
    package init(sequence: UInt64, recordCount: UInt64, bytes: UInt64, milliseconds: UInt64) {
        self.sequence = sequence
        self.recordCount = min(recordCount, 1 << 36 - 1)
        self.bytes = bytes
        self.milliseconds = min(milliseconds, 1 << 24 - 1)
    }
}

/// What a call for a new key is answered with.
package struct KeyAnswer: Hashable, Sendable {
    /// Number of the key.
    package let number: UInt32
    /// Keys of evidence that were wrapped anew.
    package let objects: UInt64

    /// Groups the figures.
    package init(number: UInt32, objects: UInt64) {
        self.number = number
        self.objects = objects
    }
}

/// A read of sensitive material, with its purpose.
package struct SensitiveRead: Sendable {
    /// What was read.
    package enum Target: Sendable {
        case `case`(CaseNumber)
        case disclosure(DisclosureID)
        case evidence(CaseNumber, EvidenceNumber)
    }
    package var target: Target
    package var purpose: String

    package init(target: Target, purpose: String) {
        self.target = target
        self.purpose = purpose
    }
}
