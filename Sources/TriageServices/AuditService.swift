// AuditService: signed heads of the journal, and proofs that lead to them.

internal import TriageBase
internal import TriageCodec
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    func audit(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .signHead:
            try decoded { () throws(RequestError) in try decoder.decodeSignHead(message) }
            ask(caller, echo: 0, .signHead)
        case .proveRecord:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeProveRecord(message)
            }
            ask(caller, echo: 0, .prove(AuditQuestion(request)))
        case .proveHistory:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeProveHistory(message)
            }
            ask(caller, echo: 0, .prove(AuditQuestion(request)))
        default:
            throw Self.internalError
        }
    }

    /// The message that answers a question.
    func reply(_ answer: AuditAnswer) -> Result<[UInt8], RPCError> {
        switch answer {
        case .head(let report): .success(encoder.signedHead(report))
        case .proof(let text): .success(encoder.proof(text))
        case .failed(let failure): .failure(RPCError(failure))
        }
    }
}

extension AuditQuestion {
    fileprivate init(_ request: ProofRequest) {
        switch request {
        case .record(let sequence, let size): self = .record(sequence: sequence, size: size)
        case .history(let from, let to): self = .history(from: from, to: to)
        }
    }
}
