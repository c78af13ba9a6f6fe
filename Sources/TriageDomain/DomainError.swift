// Every way in which the rules refuse a command. Carries what the caller may know, never content.

/// Why a command was refused.
///
/// The World is unchanged.
package enum DomainError: Error, Equatable, Sendable {
    /// A resource that a name points to.
    package enum Resource: String, Sendable {
        case `case` = "case"
        case assignment = "assignment"
        case disclosureRequest = "disclosure request"
        case evidence = "evidence"
        case hold = "hold"
    }

    /// No such resource, or none that the caller may know of.
    case notFound(Resource)
    /// The state does not allow it: names from, what was asked, and from where it would be allowed.
    case illegalTransition(resource: Resource, from: String, to: String, allowed: [String])
    /// The fencing token is not that of the current lease, or the caller is not its holder.
    case leaseNotHeld(current: Bool)
    /// The resource changed since the caller read it.
    case etagMismatch(Resource)
    /// The request id was used before with another content.
    case requestIDReused
    /// Lowering needs a reason.
    case lowerReasonRequired
    /// Closing a P0 or P1 needs an answer on every duty; names the missing ones.
    case dutiesUnanswered([String])
    /// A subject is live and the caller did not say that the risk is over.
    case liveRiskOpen
    /// The same person did the other half of what needs two people.
    case secondPersonRequired(action: String)
    /// The specialist named may not take this case.
    case notEligible(SkipReason)
    /// The case is full; a new case will be opened when it closes.
    case tooManyReports(limit: Int)
    /// A field of the command contradicts the state or another field.
    case invalidField(field: String, description: String)
    /// So many people took part in a disclosure request that no further one may.
    case tooManyParticipants(limit: Int)
    /// A disclosure request has as many verification steps as it may.
    case tooManyVerifications(limit: Int)
    /// The caller already holds as many cases as allowed.
    case tooManyAssignments(limit: Int)

    /// A hold or a preservation forbids to erase anything of the case.
    case held(by: Holder)
    /// No further evidence fits.
    case tooMuchEvidence(EvidenceBound, limit: Int)
    /// A case has as many holds as it may, ended ones included.
    case tooManyHolds(limit: Int)

    /// What evidence is bounded by.
    package enum EvidenceBound: String, Sendable {
        case objectsOfCase = "objects of a case"
        case objects = "objects of the server"
        case bytes = "bytes of the server"
    }

    /// Which refusal it is, without its details: for counting.
    package enum Kind: Int, CaseIterable, Sendable {
        case notFound, illegalTransition, leaseNotHeld, etagMismatch, requestIDReused
        case lowerReasonRequired, dutiesUnanswered, liveRiskOpen, secondPersonRequired, notEligible
        case tooManyReports, invalidField, tooManyParticipants, tooManyVerifications
        case tooManyAssignments, held, tooMuchEvidence, tooManyHolds

        /// As metrics name it, such as `second_person_required`.
        package var name: String {
            switch self {
            case .notFound: "not_found"
            case .illegalTransition: "illegal_transition"
            case .leaseNotHeld: "lease_not_held"
            case .etagMismatch: "etag_mismatch"
            case .requestIDReused: "request_id_reused"
            case .lowerReasonRequired: "lower_reason_required"
            case .dutiesUnanswered: "duties_unanswered"
            case .liveRiskOpen: "live_risk_open"
            case .secondPersonRequired: "second_person_required"
            case .notEligible: "not_eligible"
            case .tooManyReports: "too_many_reports"
            case .invalidField: "invalid_field"
            case .tooManyParticipants: "too_many_participants"
            case .tooManyVerifications: "too_many_verifications"
            case .tooManyAssignments: "too_many_assignments"
            case .held: "held"
            case .tooMuchEvidence: "too_much_evidence"
            case .tooManyHolds: "too_many_holds"
            }
        }
    }

    /// Which refusal it is.
    package var kind: Kind {
        switch self {
        case .notFound: .notFound
        case .illegalTransition: .illegalTransition
        case .leaseNotHeld: .leaseNotHeld
        case .etagMismatch: .etagMismatch
        case .requestIDReused: .requestIDReused
        case .lowerReasonRequired: .lowerReasonRequired
        case .dutiesUnanswered: .dutiesUnanswered
        case .liveRiskOpen: .liveRiskOpen
        case .secondPersonRequired: .secondPersonRequired
        case .notEligible: .notEligible
        case .tooManyReports: .tooManyReports
        case .invalidField: .invalidField
        case .tooManyParticipants: .tooManyParticipants
        case .tooManyVerifications: .tooManyVerifications
        case .tooManyAssignments: .tooManyAssignments
        case .held: .held
        case .tooMuchEvidence: .tooMuchEvidence
        case .tooManyHolds: .tooManyHolds
        }
    }
}
