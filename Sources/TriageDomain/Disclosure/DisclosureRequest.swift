// A requester's ask for data, as the World keeps it: what was filed, verbatim, and what was done
// about it. Raw values of every enum equal the API's numbers.

package import TriageBase

/// Where a disclosure request is in its life.
///
/// ```
/// received -> classified -> verifying -> verified -> legalReview -> scoped -> awaitingApproval ->
/// approved
///                               | verificationFailed (reject: from every state before approved)
/// ```
package enum DisclosureState: UInt8, CaseIterable, Sendable {
    case received = 1
    case classified = 2
    case verifying = 3
    case verified = 4
    case legalReview = 5
    case scoped = 6
    case awaitingApproval = 7
    case approved = 8
    case verificationFailed = 9
    case rejected = 10
}

package enum DisclosureKind: UInt8, CaseIterable, Sendable {
    case emergency = 1
    case legalProcess = 2
    case preservation = 3
}

package enum EmergencyNature: UInt8, CaseIterable, Sendable {
    case childSafety = 1
    case missingPerson = 2
    case suicideSelfHarm = 3
    case imminentViolence = 4
    case disaster = 5
    case otherDangerToLife = 6
}

package enum IdentifierKind: UInt8, CaseIterable, Sendable {
    case username = 1
    case userID = 2
    case profileURL = 3
    case phone = 4
    case email = 5
    case video = 6
    case ipAddress = 7
    case device = 8
}

package enum DataCategory: UInt8, CaseIterable, Sendable {
    case subscriber = 1
    case login = 2
    case interaction = 3
    case content = 4
    case transaction = 5
}

package enum LegalProcessKind: UInt8, CaseIterable, Sendable {
    case subpoena = 1
    case courtOrder = 2
    case searchWarrant = 3
    case euProductionOrder = 4
    case euPreservationOrder = 5
    case mlat = 6
}

package enum Addressee: UInt8, CaseIterable, Sendable {
    case unitedStates = 1
    case unitedKingdom = 2
    case eeaSwitzerland = 3
    case restOfWorld = 4
}

package enum UserNotice: UInt8, CaseIterable, Sendable {
    case permitted = 1
    case prohibited = 2
    case wouldEndanger = 3
}

package enum PreservationState: UInt8, CaseIterable, Sendable {
    case active = 1
    case expired = 2
    case released = 3
}

package enum VerificationMethod: UInt8, CaseIterable, Sendable {
    case agencyCertificate = 1
    case officialEmail = 2
    case callBack = 3
    case supervisorConfirmation = 4
    case agencyRegistry = 5
    case documentExamination = 6

    /// True when the factor does not travel over the channel that the request came by.
    package var isOutOfBand: Bool { self == .callBack || self == .supervisorConfirmation }
}

package enum VerificationOutcome: UInt8, CaseIterable, Sendable {
    case passed = 1
    case failed = 2
}

package enum LegalBasis: UInt8, CaseIterable, Sendable {
    case us2702Emergency = 1
    case us2703Process = 2
    case eu20231543Production = 3
    case euGDPRVitalInterests = 4
    case ukGDPRVitalInterests = 5
    case other = 6
}

package enum RejectionReason: UInt8, CaseIterable, Sendable {
    case wrongLegalEntity = 1
    case noLegalProcess = 2
    case circumstancesMissing = 3
    case overlyBroad = 4
    case informalChannel = 5
    case notLawEnforcement = 6
    case mlatNeeded = 7
    case vague = 8
    case identifiersMissing = 9
    case publiclyAvailable = 10
    case wrongProcessLevel = 11
    case noDangerToLife = 12
    case notImminent = 13
    case dataUnrelated = 14
    case identityNotVerified = 15
    case callBackFailed = 16
    case forgedDocument = 17
    case domainCompromised = 18
    case noDataFound = 19
    case accountNotFound = 20
    case duplicate = 21
    case withdrawn = 22
    case noClarification = 23
}

package struct Agency: Sendable {
    package var name = ""
    package var region = RegionCode.unknown
    package var address = ""
    package init() {}
}

/// Every field is personal data.
package struct Officer: Sendable {
    package var name = ""
    package var badgeID = ""
    package var email = ""
    package var phone = ""
    package var title = ""
    package var sworn = false
    package var supervisorContact = ""
    package init() {}
}

package struct Emergency: Sendable {
    package var nature: EmergencyNature
    package var summary = ""
    package var personInDanger = ""
    package var necessity = ""
    /// `.epoch` when not given.
    package var neededBy = WallTime.epoch
    package var neededByReason = ""
    package var dangerToLifeDeclared = false
    package var onLetterhead = false
    package init(nature: EmergencyNature) { self.nature = nature }
}

package struct SubjectIdentifier: Sendable {
    package var kind: IdentifierKind
    package var value: String
    package init(kind: IdentifierKind, value: String) {
        self.kind = kind
        self.value = value
    }
}

/// One category of data asked for, over the half-open period `start ..< end`.
package struct DataRequest: Sendable {
    package var category: DataCategory
    package var justification: String
    package var start: WallTime
    package var end: WallTime
    package init(category: DataCategory, justification: String, start: WallTime, end: WallTime) {
        self.category = category
        self.justification = justification
        self.start = start
        self.end = end
    }
}

package struct LegalProcess: Sendable {
    package var kind: LegalProcessKind
    package var citation = ""
    package var offence = ""
    package var court = ""
    package var judge = ""
    package init(kind: LegalProcessKind) { self.kind = kind }
}

package struct DocumentReference: Sendable {
    /// 64 lower-case hexadecimal digits.
    package var sha256: String
    package var title: String
    package init(sha256: String, title: String) {
        self.sha256 = sha256
        self.title = title
    }
}

/// What was filed, verbatim, after the codec checked its form (lengths, enums, required fields).
package struct DisclosureFiling: Sendable {
    package var kind: DisclosureKind
    package var agency = Agency()
    package var officer = Officer()
    package var emergency: Emergency?
    package var identifiers: [SubjectIdentifier] = []
    package var contentURIs: [String] = []
    package var dataRequests: [DataRequest] = []
    package var legalProcess: LegalProcess?
    package var addressee: Addressee
    package var userNotice: UserNotice
    package var documents: [DocumentReference] = []
    /// `.none` when not linked.
    package var caseNumber = CaseNumber.none
    package init(kind: DisclosureKind, addressee: Addressee, userNotice: UserNotice) {
        self.kind = kind
        self.addressee = addressee
        self.userNotice = userNotice
    }
}

/// One verification step.
///
/// In a command, `principal` and `verifiedAt` are not yet set.
package struct Verification: Sendable {
    package var method: VerificationMethod
    package var outcome: VerificationOutcome
    package var note: String
    package var principal: PrincipalIndex
    package var verifiedAt: WallTime
    package init(
        method: VerificationMethod, outcome: VerificationOutcome, note: String,
        principal: PrincipalIndex = .none, verifiedAt: WallTime = .epoch
    ) {
        self.method = method
        self.outcome = outcome
        self.note = note
        self.principal = principal
        self.verifiedAt = verifiedAt
    }
}

/// One item that may leave, over the half-open period `start ..< end`.
package struct ScopeItem: Sendable {
    /// Index into the filing's identifiers.
    package var subjectIndex: Int
    package var category: DataCategory
    package var start: WallTime
    package var end: WallTime
    package init(subjectIndex: Int, category: DataCategory, start: WallTime, end: WallTime) {
        self.subjectIndex = subjectIndex
        self.category = category
        self.start = start
        self.end = end
    }
}

/// What may leave, at most.
///
/// In a command, `principal` and `setAt` are not yet set.
package struct Scope: Sendable {
    package var items: [ScopeItem]
    package var legalBasis: LegalBasis
    package var goodFaithFinding: String
    package var principal: PrincipalIndex
    package var setAt: WallTime
    package init(
        items: [ScopeItem], legalBasis: LegalBasis, goodFaithFinding: String,
        principal: PrincipalIndex = .none, setAt: WallTime = .epoch
    ) {
        self.items = items
        self.legalBasis = legalBasis
        self.goodFaithFinding = goodFaithFinding
        self.principal = principal
        self.setAt = setAt
    }
}

package struct Approval: Sendable {
    package var principal: PrincipalIndex
    package var approvedAt: WallTime
    /// Revision of the request that was approved.
    package var scopeRevision: UInt64
    package init(principal: PrincipalIndex, approvedAt: WallTime, scopeRevision: UInt64) {
        self.principal = principal
        self.approvedAt = approvedAt
        self.scopeRevision = scopeRevision
    }
}

package struct Rejection: Sendable {
    package var reason: RejectionReason
    package var explanation: String
    package var principal: PrincipalIndex
    package var rejectedAt: WallTime
    package init(
        reason: RejectionReason, explanation: String, principal: PrincipalIndex = .none,
        rejectedAt: WallTime = .epoch
    ) {
        self.reason = reason
        self.explanation = explanation
        self.principal = principal
        self.rejectedAt = rejectedAt
    }
}

/// A hold on deletion.
package struct Preservation: Sendable {
    package var state: PreservationState
    package var placedAt: WallTime
    package var expiresAt: WallTime
    /// The rule that gave the period, by its key in the instrument rules.
    package var rule: String
    package init(state: PreservationState, placedAt: WallTime, expiresAt: WallTime, rule: String) {
        self.state = state
        self.placedAt = placedAt
        self.expiresAt = expiresAt
        self.rule = rule
    }
}

/// A running clock of a request.
package struct DisclosureClock: Sendable {
    /// What it limits, such as `answer`.
    package var kind: String
    package var deadline: WallTime
    /// The rule that gave it, by its key in the instrument rules.
    package var rule: String
    package init(kind: String, deadline: WallTime, rule: String) {
        self.kind = kind
        self.deadline = deadline
        self.rule = rule
    }
}

/// A disclosure request and everything that was done about it.
package struct DisclosureRequest: Sendable {
    package var id: DisclosureID
    package var state: DisclosureState
    package var filing: DisclosureFiling
    package var requester: PrincipalIndex
    package var receivedAt: WallTime
    package var updatedAt: WallTime
    /// Key of the instrument rules that apply, such as `US_2702_EMERGENCY`.
    package var instrument: String
    package var clocks: [DisclosureClock]
    package var preservation: Preservation?
    package var verifications: [Verification]
    package var scope: Scope?
    package var approval: Approval?
    package var rejection: Rejection?
    /// Who set a scope that was replaced, each once: they may not approve either.
    package var formerScopers: [PrincipalIndex]
    /// Journal sequence of the last change; also the etag.
    package var revision: UInt64

    package init(
        id: DisclosureID, filing: DisclosureFiling, requester: PrincipalIndex, receivedAt: WallTime
    ) {
        self.id = id
        state = .received
        self.filing = filing
        self.requester = requester
        self.receivedAt = receivedAt
        updatedAt = receivedAt
        instrument = ""
        clocks = []
        preservation = nil
        verifications = []
        scope = nil
        approval = nil
        rejection = nil
        formerScopers = []
        revision = 0
    }

    /// Everybody who ever filed, verified or scoped it, each once; none of them may approve it.
    package var participants: [PrincipalIndex] {
        var found = [requester]
        let others =
            verifications.map(\.principal) + formerScopers + (scope.map { [$0.principal] } ?? [])
        for principal in others where !found.contains(principal) { found.append(principal) }
        return found
    }

    /// Sets the scope, and remembers who set the one that it replaces.
    mutating func replaceScope(by next: Scope) {
        if let former = scope?.principal, !formerScopers.contains(former) {
            formerScopers.append(former)
        }
        scope = next
    }
}
