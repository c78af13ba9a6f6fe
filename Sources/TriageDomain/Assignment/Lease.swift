// A specialist's exclusive, time-bounded hold of a case.

package import TriageBase

/// Where an assignment is in its life.
///
/// Raw values equal the API's.
///
/// ```
/// offered -> active -> completed | handedOff | released | expired | revoked
///    +-----> declined | timedOut | handedOff | revoked
/// ```
package enum AssignmentState: UInt8, CaseIterable, Sendable {
    case offered = 1
    case active = 2
    case completed = 3
    case declined = 4
    case timedOut = 5
    case handedOff = 6
    case released = 7
    case expired = 8
    case revoked = 9

    /// True while the assignment holds its case.
    package var holdsCase: Bool { self == .offered || self == .active }
}

/// Why a specialist gave a case back.
///
/// Raw values equal the API's; 0 is "not released".
package enum ReleaseReason: UInt8, CaseIterable, Sendable {
    case notReleased = 0
    case wellness = 1
    case conflict = 2
    case skill = 3
    case shiftEnd = 4
    case other = 5
}

/// One assignment.
///
/// Its number is also its fencing token.
package struct Assignment: Sendable {
    package var number: AssignmentNumber
    package var caseNumber: CaseNumber
    package var specialist: PrincipalIndex
    package var state: AssignmentState
    package var releaseReason: ReleaseReason
    package var offeredAt: WallTime
    /// `.epoch` before acceptance.
    package var acceptedAt: WallTime
    /// When the offer or lease ends.
    package var expiresAt: WallTime
    /// `.epoch` before the end.
    package var endedAt: WallTime
    package var handedOffFrom: AssignmentNumber
    package var revision: UInt64
    /// The note of a hand-off.
    ///
    /// Sensitive.
    package var note: String
    /// Why the case was offered; nil for a hand-off.
    package var explanation: ClaimExplanation?

    package init(
        number: AssignmentNumber, caseNumber: CaseNumber, specialist: PrincipalIndex,
        offeredAt: WallTime, expiresAt: WallTime, handedOffFrom: AssignmentNumber, note: String,
        explanation: ClaimExplanation? = nil
    ) {
        self.number = number
        self.caseNumber = caseNumber
        self.specialist = specialist
        state = .offered
        releaseReason = .notReleased
        self.offeredAt = offeredAt
        acceptedAt = .epoch
        self.expiresAt = expiresAt
        endedAt = .epoch
        self.handedOffFrom = handedOffFrom
        revision = 0
        self.note = note
        self.explanation = explanation
    }
}

/// Why a caller may not take a case.
///
/// Raw values equal the API's.
package enum SkipReason: UInt8, CaseIterable, Sendable {
    case none = 0
    case skill = 1
    case language = 2
    case clearance = 3
    case region = 4
    case declined = 5
}

/// Why the case offered is the next case.
package struct ClaimExplanation: Sendable {
    package var code: LevelCode
    package var governedBy: GoverningDeadline
    package var level: Level
    package var effectiveDeadline: WallTime
    /// Queued cases that the caller may not take, in lanes whose most urgent case stands before
    /// this one, and cases before this one that the caller declined.
    ///
    /// Counted by whole lanes, so an upper bound of the more urgent cases passed over.
    package var skippedCount: UInt64
    package var firstSkipReason: SkipReason

    package init(
        code: LevelCode, governedBy: GoverningDeadline, level: Level, effectiveDeadline: WallTime,
        skippedCount: UInt64, firstSkipReason: SkipReason
    ) {
        self.code = code
        self.governedBy = governedBy
        self.level = level
        self.effectiveDeadline = effectiveDeadline
        self.skippedCount = skippedCount
        self.firstSkipReason = firstSkipReason
    }
}
