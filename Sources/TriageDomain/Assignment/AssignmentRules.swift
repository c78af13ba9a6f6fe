// How long offers and leases last, how many a person may hold, and what may happen to an
// assignment. Figures as data; pure functions.

internal import TriageBase

/// Periods and bounds of assignments.
///
/// Proposals; configuration in a later issue.
package enum AssignmentRules {
    /// Changes with any figure.
    package static let version = "2026-11"

    /// Cases that one specialist may hold at once, offers included.
    package static let assignmentsPerSpecialistMax = 5

    /// The longest lease, and the longest that a renewal can ask for.
    package static let leaseMillisecondsMax: Int64 = 3_600_000

    /// Declined cases that a claim passes over before it says that there is nothing.
    static let declinedScanMax = 256

    /// How long an offer waits for acceptance: well inside the level's target, so that a silent
    /// specialist does not cost it.
    package static func offerMilliseconds(_ level: Level) -> Int64 {
        switch level {
        case .p0: 30_000
        case .p1: 60_000
        case .p2, .p3, .p4: 180_000
        }
    }

    /// How long a lease lasts without renewal: the graver, the sooner a vanished holder is noticed.
    package static func leaseMilliseconds(_ level: Level) -> Int64 {
        switch level {
        case .p0: 5 * 60_000
        case .p1: 10 * 60_000
        case .p2: 20 * 60_000
        case .p3, .p4: 30 * 60_000
        }
    }

    /// True when the specialist is not offered the case again after an assignment that ended so.
    ///
    /// A declined offer, and a case given back because it should not have been this person's.
    static func excludes(_ state: AssignmentState, _ reason: ReleaseReason) -> Bool {
        switch state {
        case .declined: true
        case .released:
            switch reason {
            case .wellness, .conflict, .skill: true
            case .shiftEnd, .other, .notReleased: false
            }
        case .offered, .active, .completed, .timedOut, .handedOff, .expired, .revoked: false
        }
    }

    /// What can be asked of an assignment, and in which states.
    enum Action: CaseIterable {
        case accept
        case renew
        case release
        case handOff
        case complete

        /// Where it is allowed.
        var allowed: [AssignmentState] {
            switch self {
            case .accept: [.offered]
            case .renew, .complete: [.active]
            case .release, .handOff: [.offered, .active]
            }
        }

        /// What it leads to, for the error.
        var goal: String {
            switch self {
            case .accept, .renew: "ACTIVE"
            case .release: "RELEASED"
            case .handOff: "HANDED_OFF"
            case .complete: "COMPLETED"
            }
        }
    }

    /// Refuses what the state does not allow.
    static func check(_ action: Action, from state: AssignmentState) throws(DomainError) {
        if action.allowed.contains(state) { return }
        throw .illegalTransition(
            resource: .assignment, from: state.text, to: action.goal,
            allowed: action.allowed.map(\.text))
    }

    /// Why a caller may not take the cases of a lane.
    static func skipReason(_ lane: Lane, _ eligibility: Eligibility) -> SkipReason {
        if eligibility.skills >> UInt32(lane.family) & 1 == 0 { return .skill }
        if eligibility.clearances >> UInt8(lane.clearance) & 1 == 0 { return .clearance }
        if eligibility.regions >> UInt8(lane.region) & 1 == 0 { return .region }
        return eligibility.covers(lane) ? .none : .language
    }
}

extension AssignmentState {
    /// As the API names it, without the prefix.
    package var text: String {
        switch self {
        case .offered: "OFFERED"
        case .active: "ACTIVE"
        case .completed: "COMPLETED"
        case .declined: "DECLINED"
        case .timedOut: "TIMED_OUT"
        case .handedOff: "HANDED_OFF"
        case .released: "RELEASED"
        case .expired: "EXPIRED"
        case .revoked: "REVOKED"
        }
    }
}
