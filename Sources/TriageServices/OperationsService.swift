// OperationsService: how the service is, and snapshots.

internal import TriageBase
internal import TriageCodec
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    func operations(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .getStatus:
            try decoded { () throws(RequestError) in try decoder.decodeGetStatus(message) }
            ask(caller.call, echo: 0, caller.principal, .status)
        case .createSnapshot:
            _ = try decoded { () throws(RequestError) in try decoder.decodeCreateSnapshot(message) }
            ask(caller.call, echo: 0, caller.principal, .snapshot)
        default:
            throw Self.internalError
        }
    }
}
