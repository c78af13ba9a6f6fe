// The standard health service, and the state that it answers with. The daemon sets the state:
// serving, draining, failed; load balancers and probes read it without an identity.

internal import Synchronization
internal import TriageBase
internal import TriageCodec
internal import TriageGRPC

/// A service as the health service knows it.
enum HealthService: Equatable, Sendable {
    /// The server, or a service of it: they are well or not together.
    case known
    /// A name that is not served.
    case unknown
}

/// Whether the server serves; watched by the health streams of every reactor.
package final class HealthState: Sendable {
    private struct State {
        var isServing = false
        var services: Set<String> = [""]
        var mailboxes: [any ReactorMailbox] = []
    }

    private let state = Mutex(State())

    /// Starts as NOT_SERVING.
    package init() {}

    /// Whether the server serves.
    package var isServing: Bool { state.withLock { $0.isServing } }

    /// Says whether the server serves, from any thread; those who watch are told.
    package func set(serving: Bool) {
        let mailboxes = state.withLock { state in
            let changed = state.isServing != serving
            state.isServing = serving
            return changed ? state.mailboxes : []
        }
        for mailbox in mailboxes { mailbox.post(HealthJob(serving)) }
    }

    func know(services: Set<String>) { state.withLock { $0.services.formUnion(services) } }

    func subscribe(_ mailbox: any ReactorMailbox) {
        state.withLock { $0.mailboxes.append(mailbox) }
    }

    /// What is served, by name; the empty name is the server as a whole.
    var services: [String] { state.withLock { $0.services.sorted() } }

    func service(_ name: String) -> HealthService {
        state.withLock { $0.services.contains(name) } ? .known : .unknown
    }
}

private final class HealthJob: ReactorJob {
    private let isServing: Bool

    init(_ isServing: Bool) { self.isServing = isServing }

    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.healthChanged(isServing)
    }
}

extension ServiceHandler {
    func health(
        _ route: Route, _ call: CallID, _ message: Span<UInt8>
    ) throws(RPCError) {
        let name = try decoded { () throws(RequestError) in try decoder.decodeHealthCheck(message) }
        let service = shared.health.service(name)
        let isServing = shared.health.isServing
        if route == .healthWatch {
            guard responder.markLongLived(call) else { return }
            longCalls[call.raw] = .health(service, toldServing: isServing)
            tell(call, service, isServing)
            return
        }
        guard service == .known else {
            throw RPCError(
                .notFound, reason: "SERVICE_UNKNOWN",
                message: "this server has no service of that name: ask for the empty name, or for "
                    + "one that reflection lists")
        }
        responder.respond(call, status(service, isServing))
    }

    /// Health List: every service at once.
    func healthList(_ call: CallID, _ message: Span<UInt8>) throws(RPCError) {
        try decoded { () throws(RequestError) in try decoder.decodeHealthList(message) }
        responder.respond(
            call,
            encoder.healthList(
                shared.health.services, shared.health.isServing ? .serving : .notServing))
    }

    func healthChanged(_ isServing: Bool) {
        for (call, known) in longCalls {
            // A change may be on its way while a watch opens and is told of it already.
            guard case .health(.known, let told) = known, told != isServing else { continue }
            longCalls[call] = .health(.known, toldServing: isServing)
            tell(CallID(raw: call), .known, isServing)
        }
    }

    private func tell(_ call: CallID, _ service: HealthService, _ isServing: Bool) {
        if case .gone = responder.send(call, status(service, isServing)) {
            longCalls[call.raw] = nil
        }
    }

    private func status(_ service: HealthService, _ isServing: Bool) -> [UInt8] {
        switch service {
        case .known: encoder.health(isServing ? .serving : .notServing)
        case .unknown: encoder.health(.serviceUnknown)
        }
    }
}
