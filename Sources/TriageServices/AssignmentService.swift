// AssignmentService: claims, leases and hand-offs.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    /// A long poll ends this long before its call's deadline, so that the answer still arrives.
    private static let claimMarginNanoseconds: UInt64 = 100_000_000

    func assignment(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .claimNext:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeClaimNext(message)
            }
            let left = caller.deadline.nanoseconds(since: responder.now)
            let budget = left > Self.claimMarginNanoseconds ? left - Self.claimMarginNanoseconds : 0
            let wait = min(request.waitMilliseconds, Int64(clamping: budget / 1_000_000))
            if wait > 0 { longCalls[caller.call.raw] = .claim(caller.holder) }
            ask(
                caller, echo: 0,
                .claim(caller.entry.eligibility, request.key, waitMilliseconds: wait))
        case .acceptCase:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeAcceptCase(message) })
        case .renewLease:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeRenewLease(message) })
        case .releaseLease:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeReleaseLease(message) })
        case .completeCase:
            ask(
                caller,
                try decoded { () throws(RequestError) in try decoder.decodeCompleteCase(message) })
        case .handOffCase:
            try handOff(caller, message)
        case .watchAssignments:
            let resume = try decoded { () throws(RequestError) in
                try decoder.decodeWatchAssignments(message)
            }
            watch(caller, echo: 0, .watchAssignments(resume: resume))
        default:
            throw Self.internalError
        }
    }

    private func handOff(_ caller: Caller, _ message: Span<UInt8>) throws(RPCError) {
        let request = try decoded { () throws(RequestError) in
            try decoder.decodeHandOffCase(message)
        }
        let entry = shared.policy.entry(of: request.specialist)
        // A repeat has its first answer, whatever the policy says by now.
        let mayTake = entry.map { !$0.roles.isDisjoint(with: RoleSet(.specialist, .lead)) } ?? false
        ask(
            caller, echo: 0,
            .write(
                .handOffCase(
                    assignment: request.assignment, token: request.token, to: request.specialist,
                    eligibility: mayTake ? entry?.eligibility : nil, note: request.note),
                request.key))
    }
}
