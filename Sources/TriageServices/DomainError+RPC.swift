// What every refusal looks like on the wire: one exhaustive switch for each closed error, so that a
// new case does not compile until it has a status. Texts name what failed and what to do, never a
// value that somebody wrote.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

extension RPCError {
    /// A refusal by the rules.
    init(_ error: DomainError) {
        switch error {
        case .notFound(let resource):
            self.init(
                .notFound, reason: "NOT_FOUND",
                message: "there is no such \(resource.rawValue): check its name",
                metadata: ["resource": resource.rawValue])
        case .illegalTransition(let resource, let from, let to, let allowed):
            self = .illegalTransition(resource.rawValue, from, to, allowed)
        case .leaseNotHeld(let current):
            self = .leaseNotHeld(current)
        case .etagMismatch(let resource):
            self.init(
                .aborted, reason: "ETAG_MISMATCH",
                message: "the \(resource.rawValue) has changed: read it again, use its new etag",
                metadata: ["resource": resource.rawValue])
        case .requestIDReused:
            self = .field(
                "REQUEST_ID_REUSED", "request_id", "must be new for a new request",
                "this request id was used for another request: take a new UUID")
        case .lowerReasonRequired:
            self = .field(
                "LOWER_REASON_REQUIRED", "lower_reason", "is required to lower the level",
                "these answers lower the level: give the reason")
        case .dutiesUnanswered(let duties): self = .dutiesUnanswered(duties)
        case .liveRiskOpen:
            self.init(
                .failedPrecondition, reason: "LIVE_RISK_OPEN",
                message: "a subject is live: close with live_risk_ended once the risk is over")
        case .secondPersonRequired(let action):
            self.init(
                .failedPrecondition, reason: "SECOND_PERSON_REQUIRED",
                message: "\(action) needs another person than the one who did the first part",
                metadata: ["action": action])
        case .notEligible(let reason):
            self.init(
                .failedPrecondition, reason: "NOT_ELIGIBLE",
                message: "the policy does not let that specialist take this case: \(reason.words)",
                metadata: ["missing": reason.words])
        case .tooManyReports(let limit):
            self = .limit(
                limit, "TOO_MANY_REPORTS",
                "the open case about this subject holds \(limit) reports already: the next "
                    + "report after it closes opens a new one")
        case .invalidField(let field, let description):
            self.init(
                .invalidArgument, reason: "INVALID_FIELD", message: "\(field) \(description)",
                metadata: ["field": field],
                fieldViolations: [FieldViolation(field: field, description: description)])
        case .tooManyParticipants(let limit):
            self = .limit(
                limit, "TOO_MANY_PARTICIPANTS",
                "\(limit) people took part in this request already: one of them must go on")
        case .tooManyVerifications(let limit):
            self = .limit(
                limit, "TOO_MANY_VERIFICATIONS",
                "this request has \(limit) verification steps already: reject it, or let the "
                    + "requester file it anew")
        case .tooManyAssignments(let limit):
            self = .limit(
                limit, "TOO_MANY_ASSIGNMENTS",
                "you hold \(limit) cases already: complete or release one first")
        case .held(let holder): self = .held(holder)
        case .tooMuchEvidence(let bound, let limit):
            self = .tooMuchEvidence(bound, limit)
        case .tooManyHolds(let limit):
            self = .limit(
                limit, "TOO_MANY_HOLDS", "the case has \(limit) holds already, ended ones included")
        }
    }

    private static func dutiesUnanswered(_ duties: [String]) -> RPCError {
        let list = duties.joined(separator: ", ")
        return RPCError(
            .failedPrecondition, reason: "DUTIES_UNANSWERED",
            message: "a P0 or P1 closes only with an answer on every duty; decide again with: "
                + list,
            metadata: ["duties": list])
    }

    private static func tooMuchEvidence(
        _ bound: DomainError.EvidenceBound, _ limit: Int
    ) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "TOO_MUCH_EVIDENCE",
            message: "there is no room for it: \(limit) \(bound.rawValue) at most",
            metadata: ["limit": String(limit), "bound": bound.rawValue])
    }

    private static func held(_ holder: Holder) -> RPCError {
        let name =
            switch holder {
            case .hold(let matter, let number): ResourceName.text(matter, number)
            case .preservation(let id): ResourceName.text(id)
            }
        return RPCError(
            .failedPrecondition, reason: "HELD",
            message: "\(name) forbids to erase anything of this case: wait until it ends, or have "
                + "it released",
            metadata: ["holder": name])
    }

    private static func limit(_ limit: Int, _ reason: String, _ message: String) -> RPCError {
        RPCError(
            .resourceExhausted, reason: reason, message: message,
            metadata: ["limit": String(limit)])
    }

    private static func illegalTransition(
        _ resource: String, _ from: String, _ to: String, _ allowed: [String]
    ) -> RPCError {
        let list = allowed.joined(separator: ", ")
        return RPCError(
            .failedPrecondition, reason: "ILLEGAL_TRANSITION",
            message: "the \(resource) is \(from): \(to) is allowed from "
                + (allowed.isEmpty ? "no state" : list),
            metadata: ["resource": resource, "from": from, "to": to, "allowed": list])
    }

    private static func leaseNotHeld(_ isCurrent: Bool) -> RPCError {
        RPCError(
            .failedPrecondition, reason: "LEASE_NOT_HELD",
            message: isCurrent
                ? "another holds this lease: only its holder may do this"
                : "this lease is over: claim the case again and use the new fencing token",
            metadata: ["current": isCurrent ? "true" : "false"])
    }

    private static func field(
        _ reason: String, _ field: String, _ description: String, _ message: String
    ) -> RPCError {
        RPCError(
            .invalidArgument, reason: reason, message: message,
            fieldViolations: [FieldViolation(field: field, description: description)])
    }

    /// A failure of the engine.
    init(_ failure: EngineFailure) {
        switch failure {
        case .journalFailed:
            self.init(
                .unavailable, reason: "JOURNAL_FAILED",
                message: "the server's storage has failed and it takes no writes: whether this one "
                    + "was kept is not certain; repeat it with the same request id elsewhere or "
                    + "after a restart")
        case .expired:
            self.init(
                .deadlineExceeded, reason: "DEADLINE_EXCEEDED",
                message: "the call's deadline passed before its turn came: nothing was done")
        case .overloaded: self = .overloaded
        case .storageFull:
            self.init(
                .resourceExhausted, reason: "STORAGE_FULL",
                message:
                    "the server has no room for more: try again when the operator has made some",
                retryAfterMilliseconds: 5_000)
        case .tooLarge:
            self.init(
                .resourceExhausted, reason: "RECORD_TOO_LARGE",
                message: "the request is too large to be recorded: send less in one request")
        case .stopping:
            self.init(
                .unavailable, reason: "DRAINING",
                message: "the server is shutting down: connect again",
                retryAfterMilliseconds: 1_000)
        case .clearanceRequired:
            self.init(
                .permissionDenied, reason: "CLEARANCE_REQUIRED",
                message: "the full view of this case needs the clearance child_safety",
                metadata: ["clearance": "child_safety"])
        case .revisionCompacted(let oldest):
            self.init(
                .outOfRange, reason: "REVISION_COMPACTED",
                message: "changes since that revision are not kept: start again with "
                    + "resume_revision 0",
                metadata: ["oldest_revision": String(oldest)])
        case .watchTooSlow(let revision):
            self.init(
                .resourceExhausted, reason: "WATCH_TOO_SLOW",
                message: "the watch did not keep up and was ended: resume from revision "
                    + "\(revision), or start again if that is refused",
                metadata: ["resume_revision": String(revision)], retryAfterMilliseconds: 1_000)
        case .tooManyWatches: self = .tooManyWatches
        case .encryptionRequired: self = .encryptionRequired
        case .rotationRunning: self = .rotationRunning
        case .rotationFailed: self = .rotationFailed
        case .signingFailed: self = .signingFailed
        case .proofFailed: self = .proofFailed
        case .notProvable(let what):
            self.init(.failedPrecondition, reason: "NOT_PROVABLE", message: what)
        case .snapshotFailed:
            self.init(
                .unavailable, reason: "SNAPSHOT_FAILED",
                message: "the snapshot could not be written; no data is affected: see the "
                    + "server's log",
                retryAfterMilliseconds: 60_000)
        }
    }

    /// The transport counts both under the name of their limit.
    private static let overloaded = RPCError(
        .resourceExhausted, reason: "OVERLOADED",
        message: "more waits for the disk than the server allows, or allows you: try again a "
            + "little later",
        metadata: ["limit": "journal_bytes"], retryAfterMilliseconds: 100)

    private static let tooManyWatches = RPCError(
        .resourceExhausted, reason: "TOO_MANY_WATCHES",
        message: "your watches of the board hold what one identity may: end some, read them "
            + "faster, or give them the same filter",
        metadata: ["limit": "watch_bytes"], retryAfterMilliseconds: 1_000)

    private static let encryptionRequired = RPCError(
        .failedPrecondition, reason: "ENCRYPTION_REQUIRED",
        message: "this server keeps its data without encryption, and so neither evidence nor keys: "
            + "the operator has to begin a directory with a key")

    private static let rotationRunning = RPCError(
        .resourceExhausted, reason: "ROTATION_RUNNING",
        message: "a key is being made already: try again when that is done",
        retryAfterMilliseconds: 1_000)

    private static let rotationFailed = RPCError(
        .unavailable, reason: "ROTATION_FAILED",
        message: "the key could not be made, the ones before are in use: see the server's log",
        retryAfterMilliseconds: 60_000)

    private static let signingFailed = RPCError(
        .unavailable, reason: "SIGNING_FAILED",
        message: "the head could not be written; those before stand: see the server's log",
        retryAfterMilliseconds: 60_000)

    private static let proofFailed = RPCError(
        .dataLoss, reason: "PROOF_FAILED",
        message: "the files of the journal do not lead to this proof: have the operator run "
            + "`triaged inspect verify`, and see the server's log")

    /// A request that is wrong in form.
    init(_ error: RequestError) {
        switch error {
        case .malformed(let wire):
            self.init(
                .invalidArgument, reason: "MALFORMED_MESSAGE",
                message: "the request is not a valid message of this method: \(wire.kind.rawValue)",
                metadata: [
                    "problem": wire.kind.rawValue, "field": wire.field,
                    "offset": String(wire.offset),
                ])
            // The transport counts it under this name.
            if let limit = wire.kind.limit { metadata["limit"] = limit }
        case .invalid(let problems):
            let first = problems.first
            self.init(
                .invalidArgument, reason: "INVALID_FIELD",
                message: first.map { "\($0.field) \($0.description)" }
                    ?? "a field of the request is not valid",
                metadata: ["field": first?.field ?? ""],
                fieldViolations: problems.map {
                    FieldViolation(field: $0.field, description: $0.description)
                })
        }
    }
}

extension MessageFault.Kind {
    /// The bound that was broken, as the metrics name it; nil when it was none.
    fileprivate var limit: String? {
        switch self {
        case .tooDeep: "message_depth"
        case .tooManyFields: "message_fields"
        case .tooManyUnknownBytes: "message_unknown_bytes"
        case .tooLarge, .truncated, .varintTooLong, .invalidFieldNumber, .groupWireType,
            .reservedWireType, .wireTypeMismatch, .packedLength, .invalidUTF8, .embeddedNUL,
            .repeatedSubmessage, .notUnpacked:
            nil
        }
    }
}

extension SkipReason {
    /// What is missing, for a refusal.
    var words: String {
        switch self {
        case .none: "nothing"
        case .skill: "skill"
        case .language: "language"
        case .clearance: "clearance"
        case .region: "region"
        case .declined: "it was declined before"
        }
    }
}
