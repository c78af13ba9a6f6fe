// What happened. Events are journaled, immutable and complete: applying them in order to an empty
// World gives the same World, whatever the rules have become since.

package import TriageBase

/// What every record of the journal carries beside its events.
package struct EventHeader: Sendable {
    /// The record's journal sequence; the revision of everything that it changes.
    package var sequence: UInt64
    package var time: WallTime
    package var principal: Principal
    package var requestID: RequestID
    package var fingerprint: Hash128

    package init(
        sequence: UInt64, time: WallTime, principal: Principal, requestID: RequestID,
        fingerprint: Hash128
    ) {
        self.sequence = sequence
        self.time = time
        self.principal = principal
        self.requestID = requestID
        self.fingerprint = fingerprint
    }
}

/// What a rule gave a case: its level, how, and its place.
package struct Assessment: Sendable {
    package var level: Level
    package var code: LevelCode
    package var effectiveDeadline: WallTime
    package var governedBy: GoverningDeadline

    package init(
        level: Level, code: LevelCode, effectiveDeadline: WallTime, governedBy: GoverningDeadline
    ) {
        self.level = level
        self.code = code
        self.effectiveDeadline = effectiveDeadline
        self.governedBy = governedBy
    }
}

/// What happened.
///
/// All events of one command make one journal record, so that they hold together.
///
/// Who did it and when stand in the header: `principal` and the times inside a decision,
/// verification, scope or rejection are not yet set in an event, and are set when it is applied.
package enum Event: Sendable {
    /// A report opened (`opened`) or joined a case. `facts` and `assessment` are the case's after
    /// it.
    case reportReceived(
        case: CaseNumber, report: ReportNumber, opened: Bool, facts: ReportFacts,
        assessment: Assessment, content: [UInt8])
    case protocolAnswered(
        case: CaseNumber, answers: ProtocolAnswers, answered: Assessment, resulting: Assessment,
        lowerReason: String, pendingLowering: Level?)
    case caseDecided(case: CaseNumber, decision: CaseDecision)
    case caseClosed(case: CaseNumber)
    case caseReopened(case: CaseNumber, reason: String)

    /// `explanation` is nil for a hand-off.
    case caseOffered(
        assignment: AssignmentNumber, case: CaseNumber, specialist: Principal, expiresAt: WallTime,
        handedOffFrom: AssignmentNumber, note: String, explanation: ClaimExplanation?)
    case caseAccepted(assignment: AssignmentNumber, expiresAt: WallTime)
    case leaseRenewed(assignment: AssignmentNumber, expiresAt: WallTime)
    /// The assignment ended in `state`; the case returns to the queue unless it is decided, closed
    /// or offered anew in the same record.
    case assignmentEnded(
        assignment: AssignmentNumber, state: AssignmentState, reason: ReleaseReason)

    /// Indirect: it is rare and large, and would make every event large.
    indirect case disclosureSubmitted(
        request: DisclosureID, filing: DisclosureFiling, instrument: String,
        clocks: [DisclosureClock])
    case preservationPlaced(request: DisclosureID, expiresAt: WallTime, rule: String)
    case preservationExpired(request: DisclosureID)
    case verificationAdded(
        request: DisclosureID, verification: Verification, resulting: DisclosureState)
    case scopeSet(request: DisclosureID, scope: Scope)
    case disclosureApproved(request: DisclosureID, scopeRevision: UInt64)
    case disclosureRejected(request: DisclosureID, rejection: Rejection)

    /// A legal clock of an open case came within its handling allowance: the case moves to band 1.
    case legalClockDue(case: CaseNumber)

    /// Indirect, like all that is rare and large.
    indirect case evidenceAttached(
        case: CaseNumber, evidence: EvidenceNumber, attachment: AttachedObject)
    indirect case evidenceErased(evidence: EvidenceNumber, erasure: Erasure)
    indirect case reportTextsErased(case: CaseNumber, erasure: Erasure)
    indirect case holdPlaced(case: CaseNumber, hold: HoldNumber, order: HoldOrder)
    indirect case holdReleased(hold: HoldNumber, release: HoldRelease)
    case holdExpired(hold: HoldNumber)

    /// A key that somebody asked for is in use.
    case keyRenewed(KeyAnswer)
    case sensitiveRead(SensitiveRead)
    /// A snapshot that somebody asked for is durable.
    case snapshotTaken(SnapshotAnswer)
}
