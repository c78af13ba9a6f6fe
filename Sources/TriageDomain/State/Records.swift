// What the World exports beside its cases, assignments and disclosure requests, so that a snapshot
// can be written and read back: who it has seen, what it has answered, and its counters.

package import TriageBase

/// A principal with its place in the World's table; a case refers to it by that place.
package struct PrincipalRecord: Hashable, Sendable {
    package var index: PrincipalIndex
    package var principal: Principal

    package init(index: PrincipalIndex, principal: Principal) {
        self.index = index
        self.principal = principal
    }
}

/// What a write was answered with, as far as a repeat of it must be answered alike.
package enum LedgerAnswer: Hashable, Sendable {
    /// A submitted report: answered exactly as the first time.
    case receipt(ReportReceipt)
    /// The case as it is now.
    case changedCase(CaseNumber)
    /// The same offer, as it is now.
    case offer(AssignmentNumber)
    /// The assignment as it is now.
    case changedAssignment(AssignmentNumber)
    /// The disclosure request as it is now.
    case changedDisclosure(DisclosureID)
    /// Only that it was done.
    case recorded
}

/// One remembered write of the request ledger.
package struct LedgerEntry: Hashable, Sendable {
    /// Fingerprint of the caller and its request id.
    package var key: Hash128
    /// Fingerprint of the request's content.
    package var fingerprint: Hash128
    /// When it was answered; forgotten `Limits.requestIDMilliseconds` later.
    package var time: WallTime
    package var answer: LedgerAnswer

    package init(key: Hash128, fingerprint: Hash128, time: WallTime, answer: LedgerAnswer) {
        self.key = key
        self.fingerprint = fingerprint
        self.time = time
        self.answer = answer
    }
}

/// The World's counters: what the next numbers are, and the last record applied.
package struct WorldCounters: Hashable, Sendable {
    /// Sequence of the last record applied.
    package var sequence: UInt64
    /// Time of the last record applied; time never runs backwards.
    package var time: WallTime
    /// Cases ever opened; the next one has the next number.
    package var lastCase: CaseNumber
    /// Reports ever received.
    package var lastReport: ReportNumber
    /// Assignments ever made; also the newest fencing token.
    package var lastAssignment: AssignmentNumber

    package init(
        sequence: UInt64, time: WallTime, lastCase: CaseNumber, lastReport: ReportNumber,
        lastAssignment: AssignmentNumber
    ) {
        self.sequence = sequence
        self.time = time
        self.lastCase = lastCase
        self.lastReport = lastReport
        self.lastAssignment = lastAssignment
    }
}
