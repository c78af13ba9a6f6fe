// Puts the services together: the method table from the descriptor set, one handler a reactor, and
// the way back from the engine's thread. The daemon's only door into this module.

internal import TriageBase
internal import TriageCodec
package import TriageEngine
package import TriageGRPC

/// Makes each reactor's services.
package final class ServiceFactory: CallHandlerFactory {
    /// Every method that is served, for the transport to route by.
    package let methods: MethodTable
    private let shared: SharedServices
    private let connect: @Sendable (Int, any CompletionSink) -> Void

    /// Puts the services in front of an engine.
    ///
    /// - Parameters:
    ///   - engine: Opened; it may be started before or after.
    ///   - policy: Who may do what.
    ///   - health: What the health service answers.
    ///   - version: The server's version, for GetStatus.
    package convenience init(
        engine: Engine, policy: PolicyStore, health: HealthState, version: String
    ) {
        self.init(
            engine: engine, vault: engine.vault, backup: engine.backup, policy: policy,
            health: health, version: version,
            connect: { engine.connect(reactor: $0, sink: $1) })
    }

    /// As above, with stand-ins for the engine and the vault.
    package init(
        engine: any EngineDoor, vault: (any VaultDoor)? = nil, backup: BackupWorker? = nil,
        policy: PolicyStore, health: HealthState, version: String,
        connect: @escaping @Sendable (Int, any CompletionSink) -> Void
    ) {
        let descriptors = DescriptorSet.embedded
        var methods: [Method] = []
        var routes: [Route] = []
        for method in descriptors.methods {
            guard let route = Route(path: method.path) else { continue }
            methods.append(
                Method(
                    path: method.path, clientStreaming: method.clientStreaming,
                    serverStreaming: method.serverStreaming,
                    allowedWithoutIdentity: route.roles == nil, traits: Self.traits(route),
                    cost: route.cost))
            routes.append(route)
        }
        invariant(routes.count == Route.allCases.count, "the descriptor set has every method")
        self.methods = MethodTable(methods)
        self.connect = connect
        health.know(services: Set(self.methods.methods.map(\.service)))
        shared = SharedServices(
            engine: engine, vault: vault, backup: backup, policy: policy, health: health,
            routes: routes,
            descriptors: descriptors, pageTokenKey: Self.freshKey(), version: version)
    }

    /// Pages of lists are the only replies that are large and asked for again and again; a watch's
    /// messages are small, and one is sent to a thousand streams.
    private static func traits(_ route: Route) -> MethodTraits {
        route == .listCases || route == .listDisclosureRequests ? .compressesReplies : []
    }

    /// Says which server the services run in, for channelz.
    package func attach(_ inspector: any ServerInspector) { shared.inspector.set(inspector) }

    private static func freshKey() -> PageTokenKey {
        var random = SystemRandomNumberGenerator()
        return PageTokenKey(first: random.next(), second: random.next())
    }

    package func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler {
        let handler = ServiceHandler(
            shared: shared, reactor: reactor, responder: responder, mailbox: mailbox)
        connect(reactor, EngineSink(mailbox))
        shared.vault?.connect(reactor: reactor, sink: ReactorVaultSink(mailbox))
        shared.backup?.connect(reactor: reactor, sink: ReactorBackupSink(mailbox))
        shared.health.subscribe(mailbox)
        shared.policy.subscribe(mailbox)
        return handler
    }
}

/// Carries completions from the engine's thread to a reactor's.
private final class EngineSink: CompletionSink {
    private let mailbox: any ReactorMailbox

    init(_ mailbox: any ReactorMailbox) { self.mailbox = mailbox }

    func deliver(_ completions: [Completion]) { mailbox.post(CompletionJob(completions)) }
}

/// All completions of one engine turn for one reactor.
private final class CompletionJob: ReactorJob {
    private let completions: [Completion]

    init(_ completions: [Completion]) { self.completions = completions }

    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.completed(completions)
    }
}
