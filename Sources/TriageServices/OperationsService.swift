// OperationsService: how the service is, snapshots and keys.

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
            ask(caller, echo: 0, .status)
        case .createSnapshot:
            let key = try decoded { () throws(RequestError) in
                try decoder.decodeCreateSnapshot(message)
            }
            ask(caller, echo: 0, .snapshot(key))
        case .rotateKeys:
            let request = try decoded { () throws(RequestError) in
                try decoder.decodeRotateKeys(message)
            }
            ask(caller, echo: 0, .renewKey(request.purpose, request.key))
        default:
            throw Self.internalError
        }
    }

    /// The engine's status as the API reports it.
    func report(_ status: EngineStatus) -> ServerStatusReport {
        let state: ServerStatusReport.State =
            switch status.state {
            case .serving: shared.health.isServing ? .serving : .draining
            case .journalFailed: .journalFailed
            case .stopping: .draining
            }
        return ServerStatusReport(
            version: shared.version, startTime: status.startTime, state: state,
            durableSequence: status.durableSequence, counts: status.counts,
            snapshot: status.snapshot.map { ($0.sequence, $0.time) },
            recoveryMilliseconds: status.recovery.milliseconds,
            recoveryReport: status.recovery.report, watchCount: status.watchCount,
            encryption: status.encryption)
    }
}
