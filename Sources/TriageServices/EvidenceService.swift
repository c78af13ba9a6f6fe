// EvidenceService: evidence and holds. What takes or gives bytes is in EvidenceStreams.swift. An
// external partner can do none of it.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    func evidence(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .readEvidence: try openRead(caller, message)
        case .listEvidence:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeListEvidence(message, principal: caller.principal)
            }
            longCalls[caller.call.raw] = .list(request.binding)
            ask(
                caller.call, echo: 0, caller.principal,
                .listEvidence(request.caseNumber, after: request.after, limit: request.pageSize))
        case .eraseEvidence:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeEraseEvidence(message)
            }
            ask(caller, echo: Echo.erasure, .erase(request))
        case .eraseReportTexts:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeEraseReportTexts(message)
            }
            ask(caller, echo: 0, .erase(request))
        case .placeHold:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodePlaceHold(message) })
        case .releaseHold:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeReleaseHold(message) })
        case .listHolds:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeListHolds(message, principal: caller.principal)
            }
            longCalls[caller.call.raw] = .list(request.binding)
            ask(
                caller.call, echo: 0, caller.principal,
                .listHolds(request.caseNumber, after: request.after, limit: request.pageSize))
        case .listHoldRules:
            try decoded { () throws(RequestError) in try decoder.decodeListHoldRules(message) }
            responder.respond(caller.call, encoder.holdRules())
        default:
            throw Self.internalError
        }
    }

    // MARK: Erasure

    /// The event of an erasure is durable: answers once key and bytes are gone.
    ///
    /// The engine has handed the object to the vault itself, whether or not anybody waits.
    func erasureRecorded(_ call: CallID, _ view: EvidenceView) {
        guard let vault = shared.vault else {
            responder.finish(call, Self.internalError)
            return
        }
        longCalls[call.raw] = .erasure(view)
        vault.submit(.erase(view.value.attachment.object), call: call.raw, reactor: reactor)
    }

    func erasureReply(_ call: CallID, _ view: EvidenceView, _ reply: VaultReply) {
        longCalls[call.raw] = nil
        switch reply {
        case .erased: responder.respond(call, encoder.evidence(view))
        case .failed:
            responder.finish(
                call,
                RPCError(
                    .unavailable, reason: "ERASURE_PENDING",
                    message: "the erasure is on record and nobody can read the evidence, but the "
                        + "server's storage has failed: what is left is removed at its next start"))
        case .ready, .stored, .opened, .chunk, .ended:
            responder.finish(call, Self.internalError)
        }
    }
}

extension RPCError {
    /// A failure of the vault.
    init(_ failure: VaultFailure) {
        switch failure {
        case .busy: self = Self.evidenceStreams(Limits.evidenceStreamsMax, "")
        case .shareUsed:
            self = Self.evidenceStreams(Limits.evidenceStreamsPerIdentityMax, " for you")
        case .noSpace: self.init(EngineFailure.storageFull)
        case .otherDigest:
            self.init(
                .invalidArgument, reason: "DIGEST_MISMATCH",
                message: "the bytes that arrived have another SHA-256 than was announced: send "
                    + "them again, nothing was kept",
                fieldViolations: [
                    FieldViolation(
                        field: "start.sha256", description: "is not that of the bytes")
                ])
        case .damaged:
            self.init(
                .dataLoss, reason: "EVIDENCE_DAMAGED",
                message: "the object is missing or does not verify: the operator has to restore "
                    + "it from a backup")
        case .erased: self = .evidenceErased
        case .failed:
            self.init(
                .unavailable, reason: "VAULT_FAILED",
                message: "the server's storage of evidence has failed: nothing was kept; see the "
                    + "server's log")
        case .stopping: self.init(EngineFailure.stopping)
        }
    }

    static let evidenceErased = RPCError(
        .failedPrecondition, reason: "EVIDENCE_ERASED",
        message: "the evidence was erased for good: ListEvidence says by whom")

    private static func evidenceStreams(_ count: Int, _ whose: String) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "TOO_MUCH_EVIDENCE_AT_ONCE",
            message: "\(count) objects are being sent or read\(whose) already: try again a little "
                + "later",
            // The transport counts it under this name.
            metadata: ["limit": "evidence_streams", "limit_max": String(count)],
            retryAfterMilliseconds: 1_000)
    }
}
