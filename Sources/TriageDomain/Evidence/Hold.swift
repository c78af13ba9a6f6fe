// Legal holds on cases as the World keeps them. What a hold forbids is HoldRules' business.

package import TriageBase

/// Where a hold is in its life.
///
/// Raw values equal the API's.
///
/// ```
/// active --(time)--> expired
///      \--(decision)--> released
/// ```
package enum HoldState: UInt8, CaseIterable, Sendable {
    case active = 1
    case expired = 2
    case released = 3

    /// As the API names it, without the prefix.
    package var text: String {
        switch self {
        case .active: "ACTIVE"
        case .expired: "EXPIRED"
        case .released: "RELEASED"
        }
    }
}

/// What a hold is placed with.
package struct HoldOrder: Hashable, Sendable {
    /// Key of the rule, such as `US_2258A_REPORT`.
    package var rule: String
    /// Who asks for it or orders it, verbatim.
    package var authority: String
    /// The authority's own reference; may be empty.
    package var reference: String
    /// Sensitive.
    package var reason: String
    /// In a command `.epoch` where the rule's period is to count.
    package var expiresAt: WallTime

    package init(
        rule: String, authority: String, reference: String = "", reason: String,
        expiresAt: WallTime = .epoch
    ) {
        self.rule = rule
        self.authority = authority
        self.reference = reference
        self.reason = reason
        self.expiresAt = expiresAt
    }
}

/// The end of a hold by decision.
///
/// In a command and an event, `principal` and `releasedAt` are not yet set.
package struct HoldRelease: Hashable, Sendable {
    /// Who allows it, verbatim.
    package var authority: String
    /// Sensitive.
    package var reason: String
    package var principal: PrincipalIndex
    package var releasedAt: WallTime

    package init(
        authority: String, reason: String, principal: PrincipalIndex = .none,
        releasedAt: WallTime = .epoch
    ) {
        self.authority = authority
        self.reason = reason
        self.principal = principal
        self.releasedAt = releasedAt
    }
}

/// A hold on a case: nothing of it is erased while one is active.
package struct Hold: Sendable {
    package var number: HoldNumber
    package var caseNumber: CaseNumber
    package var state: HoldState
    package var order: HoldOrder
    package var principal: PrincipalIndex
    package var placedAt: WallTime
    package var release: HoldRelease?
    /// Journal sequence of the last change.
    package var revision: UInt64

    package init(
        number: HoldNumber, caseNumber: CaseNumber, state: HoldState, order: HoldOrder,
        principal: PrincipalIndex, placedAt: WallTime, release: HoldRelease? = nil,
        revision: UInt64
    ) {
        self.number = number
        self.caseNumber = caseNumber
        self.state = state
        self.order = order
        self.principal = principal
        self.placedAt = placedAt
        self.release = release
        self.revision = revision
    }
}

/// What forbids an erasure.
package enum Holder: Hashable, Sendable {
    /// A hold on the case.
    case hold(CaseNumber, HoldNumber)
    /// The preservation of a disclosure request that names the case or one of its subjects.
    case preservation(DisclosureID)
}
