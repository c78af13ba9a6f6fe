// TriageService: reports, cases and the board.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    /// Runs the decoder, turning what it refuses into a status.
    @inline(__always)
    func decoded<T>(_ body: () throws(RequestError) -> T) throws(RPCError) -> T {
        do { return try body() } catch { throw RPCError(error) }
    }

    /// Asks the engine for a write.
    @inline(__always)
    func ask(_ caller: Caller, _ write: WriteRequest, echo: UInt64 = 0) {
        ask(caller, echo: echo, .write(write.command, write.key))
    }

    func triage(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .submitReport:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeSubmitReport(message) })
        case .answerProtocol:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeAnswerProtocol(message) }
            )
        case .decideCase:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeDecideCase(message) })
        case .closeCase:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeCloseCase(message) })
        case .reopenCase:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeReopenCase(message) })
        case .getCase:
            try getCase(caller, message)
        case .listCases:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeListCases(message, principal: caller.principal)
            }
            longCalls[caller.call.raw] = .list(request.binding)
            ask(
                caller, echo: 0,
                .listCases(after: request.after, limit: request.pageSize, filter: request.filter))
        case .watchBoard:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeWatchBoard(message)
            }
            watch(
                caller, echo: 0,
                .watchBoard(resume: request.resumeRevision, filter: request.filter))
        default:
            throw Self.internalError
        }
    }

    private func getCase(_ caller: Caller, _ message: Span<UInt8>) throws(RPCError) {
        let request = try decoded { () throws(RequestError) in try decoder.decodeGetCase(message) }
        switch request.detail {
        case .basic:
            ask(
                caller, echo: 0,
                .readCase(request.number, purpose: nil, clearedForChildSafety: false))
        case .full:
            guard !caller.entry.roles.isDisjoint(with: Route.fullViewRoles) else {
                throw Authorization.roleRequired(Route.fullViewRoles)
            }
            ask(
                caller, echo: Echo.fullView,
                .readCase(
                    request.number, purpose: request.purpose,
                    clearedForChildSafety: caller.entry.clearedForChildSafety))
        }
    }
}
