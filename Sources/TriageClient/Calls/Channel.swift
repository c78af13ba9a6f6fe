// Everything that one client has on its loop's thread: its calls, its connections, and the pool
// that says which there should be. Carries out the pool's steps; moves calls from waiting to a
// connection, from a failed attempt to the next, and to their end.
//
//   a turn: sockets (replies, ends) ▸ work that callers posted ▸ turn(): deadlines, calls that wait
//   to connections with room, the pool's steps ▸ everything that is to be sent leaves

internal import TriageBase
internal import TriageGRPC
internal import TriageTransport

/// The connections and calls of one client.
///
/// `@unchecked Sendable`: made on any thread, and from then on touched only by work that is posted
/// to its one loop, and by that loop's own call-backs.
final class Channel: @unchecked Sendable {
    let configuration: ClientConfiguration
    private let loop: ClientLoop
    private let credentials: ClientCredentials
    private var reloadsSeen = 0
    private var problemSeen: String?

    var context: ClientLoopContext?
    var pool: Pool
    var connections: [Int: ClientConnection] = [:]
    private var methods: [MethodKey: ClientMethod] = [:]
    private var keepalive: KeepaliveTimes?
    private var names: [TargetName]
    private var isClosed = false

    // Calls: see Channel+Calls.swift.
    var slots: [Call?] = []
    var freeSlots: [Int] = []
    let timers: TimerWheel
    /// Calls that wait for a connection: short ones, and at 1 the long-lived.
    var queues = [Fifo<Call>(), Fifo<Call>()]
    var throttle: RetryThrottle
    var random: SeededRandom

    /// A target, and what its name stood for when that was last known.
    private struct TargetName {
        let resolver: NameResolver
        var addresses: [String] = []
        var isAsking = false
        var failure: String?
    }

    private struct MethodKey: Hashable {
        let path: String
        let kind: CallKind
        let target: Int
        let sendsGzip: Bool
        let replyBytesMax: Int
    }

    /// Distinct methods whose headers are kept; a program calls few.
    private static let methodsMax = 1_000
    /// Rounds of steps in one turn; the rest is for the next.
    private static let roundsMax = 8

    init(_ configuration: ClientConfiguration, _ credentials: ClientCredentials, _ loop: ClientLoop)
    {
        self.configuration = configuration
        self.credentials = credentials
        self.loop = loop
        var system = SystemRandomNumberGenerator()
        let seed = configuration.seed ?? system.next()
        random = SeededRandom(seed: seed)
        pool = Pool(configuration.poolSettings, seed: random.next())
        keepalive = configuration.keepalive
        names = configuration.targets.map { TargetName(resolver: NameResolver(host: $0.host)) }
        throttle = configuration.service.makeThrottle()
        timers = TimerWheel(now: loop.now)
    }

    /// Takes the loop's thread: from now on every turn of it is a turn of this.
    func begin(_ context: ClientLoopContext) {
        self.context = context
        // A ring until `shutDown`, which comes at the latest when the client is dropped.
        context.setTurnHook { [self] in turn() }
    }

    /// Ends everything.
    func shutDown() {
        isClosed = true
        for call in slots { if let call { finish(call, Self.closedError) } }
        context?.setTurnHook(nil)
        context = nil
    }

    static let closedError = RPCError(
        .cancelled, reason: "CLIENT_CLOSED", message: "The client was closed.")

    var now: MonotonicTime { context?.now ?? MonotonicTime(nanoseconds: 0) }

    func tell(_ event: @autoclosure () -> ClientEvent) {
        if let events = configuration.events { events(event()) }
    }

    // MARK: A turn

    private func turn() -> MonotonicTime {
        expireCalls()
        for _ in 0..<Self.roundsMax {
            for (id, connection) in connections {
                pool.setLoad(
                    id, open: connection.openCallCount, callsMax: connection.callsMax, now)
            }
            placeCalls()
            let steps = pool.steps(now, demand)
            if steps.isEmpty { break }
            for step in steps { perform(step) }
        }
        return min(timers.nextExpiry ?? .never, pool.nextLook(now, demand))
    }

    private var demand: PoolDemand {
        let all = slots.count - freeSlots.count
        return PoolDemand(
            waiting: queues[0].count, waitingLongLived: queues[1].count,
            open: max(0, all - queues[0].count - queues[1].count))
    }

    private func perform(_ step: PoolStep) {
        switch step {
        case .connect(let id, let address): connect(id, address)
        case .close(let id): connections[id]?.close()
        case .retire(let id): connections[id]?.retire()
        case .resolve: resolve()
        }
    }

    private func connect(_ id: Int, _ address: PoolAddress) {
        guard let context, !isClosed else { return pool.ended(id, "the client was closed", now) }
        let target = configuration.targets[address.target]
        tell(.connecting(address.endpoint))
        do throws(TransportError) {
            connections[id] = try context.connect(
                address.endpoint, serverName: configuration.serverName ?? target.host,
                credentials: credentials, tag: id,
                timeoutMilliseconds: Limits.connectMillisecondsMax, keepalive: keepalive,
                receiver: self)
        } catch {
            tell(.disconnected(address.endpoint, reason: "\(error)"))
            pool.ended(id, "\(error)", now)
        }
        tellOfCredentials()
    }

    private func tellOfCredentials() {
        if credentials.reloadCount != reloadsSeen {
            reloadsSeen = credentials.reloadCount
            tell(.credentialsReloaded)
        }
        let problem = credentials.problem.map { "\($0)" }
        if let problem, problem != problemSeen { tell(.credentialsRefused(reason: problem)) }
        problemSeen = problem
    }

    // MARK: Names

    private func resolve() {
        for index in names.indices where !names[index].isAsking {
            names[index].isAsking = true
            names[index].resolver.resolve { [self] answer in
                loop.post { [self] _ in resolved(index, answer) }
            }
        }
    }

    private func resolved(_ index: Int, _ answer: Result<[String], TransportError>) {
        guard !isClosed else { return }
        names[index].isAsking = false
        let resolver = names[index].resolver
        switch answer {
        case .success(let addresses):
            names[index].failure = nil
            if names[index].addresses != addresses, !resolver.isLiteral {
                tell(.resolved(host: resolver.host, addresses: addresses))
            }
            names[index].addresses = addresses
            takeAddresses()
        case .failure(let error):
            names[index].failure = "\(error)"
            tell(.unresolvable(host: resolver.host, reason: "\(error)"))
        }
        guard names.allSatisfy({ !$0.isAsking }) else { return }
        let failures = names.compactMap(\.failure)
        if failures.count == names.count, names.allSatisfy(\.addresses.isEmpty) {
            pool.resolveFailed(failures.prefix(3).joined(separator: "; "), now)
        } else if !failures.isEmpty {
            takeAddresses()
            pool.names.isWanted = true
        }
    }

    private func takeAddresses() {
        var all: [PoolAddress] = []
        for (index, name) in names.enumerated() {
            let port = configuration.targets[index].port
            all += interleaved(name.addresses).map {
                PoolAddress(target: index, endpoint: Endpoint(host: $0, port: port))
            }
        }
        pool.resolved(all, now)
    }

    // MARK: Methods

    /// The method of a call, as one target is told it.
    func method(_ call: Call, target: Int) -> ClientMethod {
        let replyBytesMax =
            call.options.replyBytesMax ?? call.policy.replyBytesMax ?? ClientMethod.replyBytesMax
        let key = MethodKey(
            path: call.path, kind: call.kind, target: target, sendsGzip: call.options.sendsGzip,
            replyBytesMax: replyBytesMax)
        if let known = methods[key] { return known }
        let made = ClientMethod(
            path: call.path, authority: configuration.targets[target].description,
            clientStreaming: call.kind.clientStreams, serverStreaming: call.kind.serverStreams,
            readsMetadata: true, sendsGzip: call.options.sendsGzip, replyBytesMax: replyBytesMax)
        if methods.count >= Self.methodsMax { methods = [:] }
        methods[key] = made
        return made
    }
}

extension Channel: ClientConnectionReceiver {
    func connectionReady(_ connection: ClientConnection) {
        pool.connected(connection.tag, callsMax: connection.callsMax, now)
        tell(.connected(connection.address, isResumed: connection.isResumed))
    }

    func connectionDraining(_ connection: ClientConnection) {
        tell(.draining(connection.address))
        pool.draining(connection.tag, now)
        guard connection.isPingedTooMuch, let doubled = keepalive?.halvedPings else { return }
        keepalive = doubled
        tell(.pingsHalved(connection.address, silenceMilliseconds: doubled.silenceMilliseconds))
    }

    func connectionEnded(_ connection: ClientConnection, _ error: TransportError) {
        connections[connection.tag] = nil
        if !isClosed { tell(.disconnected(connection.address, reason: "\(error)")) }
        pool.ended(connection.tag, "\(error)", now)
    }
}
