// What the World keeps of one case. Fixed fields first, for order and eligibility; the words of the
// reports are packed bytes that the domain carries and never reads.

package import TriageBase

/// Where a case is in its life.
///
/// Raw values equal the API's.
///
/// ```
/// received -> screened -> queued -> assigned -> inTriage -> decided -> closed
///                           ^          |            |          |         |
///                           +----------+------------+     (reopen)  (reopen)
/// ```
package enum CaseState: UInt8, CaseIterable, Sendable {
    case received = 1
    case screened = 2
    case queued = 3
    case assigned = 4
    case inTriage = 5
    case decided = 6
    case closed = 7
}

/// The point of the decision tree that gave a level; the middle part of a level code.
package enum DecisionPoint: UInt8, CaseIterable, Sendable {
    /// Screening rules at intake, before any human answered.
    case screening = 0
    case a = 1
    case b = 2
    case c = 3
}

/// How a level came about: enough to print `SUI-B-ML`.
package struct LevelCode: Hashable, Sendable {
    package var family: HarmFamily
    package var point: DecisionPoint
    package var modifiers: RiskModifiers

    package init(family: HarmFamily, point: DecisionPoint, modifiers: RiskModifiers) {
        self.family = family
        self.point = point
        self.modifiers = modifiers
    }
}

/// Which deadline determines a case's place.
package enum GoverningDeadline: UInt8, CaseIterable, Sendable {
    /// The service target of its level.
    case target = 0
    /// A legal clock less its handling allowance.
    case legal = 1
}

/// A report as the World keeps it.
package struct StoredReport: Sendable {
    package var number: ReportNumber
    package var receivedAt: WallTime
    /// Who submitted it, as an index of the World's principal table.
    package var submitter: PrincipalIndex
    /// Packed `triaged.storage.v1.ReportContent`; opaque here.
    package var content: [UInt8]

    package init(
        number: ReportNumber, receivedAt: WallTime, submitter: PrincipalIndex, content: [UInt8]
    ) {
        self.number = number
        self.receivedAt = receivedAt
        self.submitter = submitter
        self.content = content
    }
}

/// A principal that the World has seen, by its place in the World's table.
///
/// 0 is nobody.
package struct PrincipalIndex: Hashable, Sendable {
    package var value: UInt32
    package init(_ value: UInt32) { self.value = value }
    /// Nobody.
    package static let none = PrincipalIndex(0)
}

/// One reopening of a decided or closed case.
package struct Reopening: Sendable {
    /// Sensitive.
    package var reason: String
    package var principal: PrincipalIndex
    package var reopenedAt: WallTime

    package init(reason: String, principal: PrincipalIndex, reopenedAt: WallTime) {
        self.reason = reason
        self.principal = principal
        self.reopenedAt = reopenedAt
    }
}

/// What has to happen next with a case.
///
/// Raw values equal the API's.
package enum CaseWait: UInt8, CaseIterable, Sendable {
    case nothing = 0
    case specialist = 1
    case acceptance = 2
    case decision = 3
    case closingByHolder = 4
    /// Decided, and held by nobody any more: any specialist or lead closes or reopens it. It is not
    /// offered again, because what it needs is no other decision.
    case closing = 5
}

/// A lowering of P0 or P1 that waits for a second person.
package struct PendingLowering: Sendable {
    package var level: Level
    package var proposer: PrincipalIndex
    package var proposedAt: WallTime

    package init(level: Level, proposer: PrincipalIndex, proposedAt: WallTime) {
        self.level = level
        self.proposer = proposer
        self.proposedAt = proposedAt
    }
}

/// One matter under review.
package struct Case: Sendable {
    package var number: CaseNumber
    package var state: CaseState
    package var level: Level
    package var code: LevelCode
    package var clearance: Clearance
    package var language: LanguageCode
    package var region: RegionCode
    package var routing: RoutingRegion
    package var modifiers: RiskModifiers
    package var governedBy: GoverningDeadline
    /// True while a subject is known to be live.
    package var live: Bool
    package var receivedAt: WallTime
    package var updatedAt: WallTime
    /// When the current interval began: receipt, or the last reopening keeps the old one.
    package var effectiveDeadline: WallTime
    /// Earliest running legal deadline less its allowance; `.distantFuture` when none runs.
    package var legalDeadline: WallTime
    /// Journal sequence of the last change; also the etag.
    package var revision: UInt64
    /// The current assignment; `.none` when nobody holds it.
    package var assignment: AssignmentNumber
    /// Fingerprint of the primary subject (kind and id).
    package var subject: Hash128
    /// Reports held: `first` and `more`.
    package var reportCount: Int { 1 + more.count }
    package var first: StoredReport
    package var more: [StoredReport]
    package var rounds: [ProtocolRound]
    package var decisions: [CaseDecision]
    /// The last ``Limits/reopeningsPerCaseMax``, oldest first.
    package var reopenings: [Reopening]
    /// At most one element; an array so that the common case costs one word.
    package var pendingLowering: [PendingLowering]
    /// Specialists who declined it; they are not offered it again.
    package var declinedBy: [PrincipalIndex]

    package init(
        number: CaseNumber, facts: ReportFacts, level: Level, code: LevelCode, first: StoredReport
    ) {
        self.number = number
        state = .received
        self.level = level
        self.code = code
        clearance = facts.clearance
        language = facts.language
        region = facts.region
        routing = facts.routing
        modifiers = facts.modifiers
        governedBy = .target
        live = facts.live
        receivedAt = first.receivedAt
        updatedAt = first.receivedAt
        effectiveDeadline = .distantFuture
        legalDeadline = .distantFuture
        revision = 0
        assignment = .none
        subject = facts.subject
        self.first = first
        more = []
        rounds = []
        decisions = []
        reopenings = []
        pendingLowering = []
        declinedBy = []
    }
}
