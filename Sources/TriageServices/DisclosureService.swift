// DisclosureService: requests by law enforcement. An outside agency sees its own and nothing else,
// and cannot tell a foreign one from a missing one.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    func disclosure(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .submitDisclosureRequest:
            try submitDisclosure(caller, message)
        case .getDisclosureRequest:
            try getDisclosure(caller, message)
        case .listDisclosureRequests:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeListDisclosureRequests(message, principal: caller.principal)
            }
            longCalls[caller.call.raw] = .list(request.binding)
            ask(
                caller, echo: caller.isExternal ? Echo.external : 0,
                .listDisclosures(
                    after: request.after, limit: request.pageSize, states: request.states,
                    requester: caller.isExternal ? caller.principal : nil))
        case .addVerification:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeAddVerification(message)
                })
        case .setScope:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeSetScope(message) })
        case .approveDisclosure:
            ask(
                caller,
                try decoded { () throws(RequestError) in
                    try decoder.decodeApproveDisclosure(message)
                })
        case .rejectDisclosure:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeRejectDisclosure(message)
                })
        case .watchDisclosureRequest:
            let id = try decoded { () throws(RequestError) in
                try decoder.decodeWatchDisclosureRequest(message)
            }
            watch(
                caller, echo: caller.isExternal ? Echo.external : 0,
                .watchDisclosure(id, requester: caller.isExternal ? caller.principal : nil))
        default:
            throw Self.internalError
        }
    }

    private func submitDisclosure(_ caller: Caller, _ message: Span<UInt8>) throws(RPCError) {
        let write = try decoded { () throws(RequestError) in
            try decoder.decodeSubmitDisclosureRequest(message)
        }
        if caller.isExternal, case .submitDisclosureRequest(let filing) = write.command,
            filing.caseNumber != .none
        {
            // Before the case is looked up: an agency learns nothing of which cases there are.
            throw RPCError(
                DomainError.invalidField(
                    field: "disclosure_request.case",
                    description: "must be empty: only internal callers link a case"))
        }
        ask(caller, write, echo: caller.isExternal ? Echo.external : 0)
    }

    private func getDisclosure(_ caller: Caller, _ message: Span<UInt8>) throws(RPCError) {
        let request = try decoded { () throws(RequestError) in
            try decoder.decodeGetDisclosureRequest(message)
        }
        if caller.isExternal {
            ask(
                caller, echo: Echo.external,
                .readDisclosure(request.id, requester: caller.principal, purpose: nil))
            return
        }
        guard !request.purpose.isEmpty else {
            throw RPCError(
                DomainError.invalidField(
                    field: "purpose", description: "is required: say why you need it"))
        }
        ask(
            caller, echo: 0,
            .readDisclosure(request.id, requester: nil, purpose: request.purpose))
    }
}
