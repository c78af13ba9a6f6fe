// A server: reactors on threads of their own, one port, one set of certificates that can be
// exchanged. Knows nothing of what the methods do.

import Synchronization
package import TriageBase
package import TriageGRPC
package import TriageIO
package import TriageTLS

/// A gRPC server.
///
/// Life: `init` (the port is bound), ``start()``, any number of ``reload(tls:)`` and ``scrape()``,
/// ``beginDrain()``, ``waitUntilStopped()``.
package final class Server: Sendable {
    /// What one reactor is made of before its thread exists.
    private final class Seed: Sendable {
        let listeners: Mutex<[Listener]>
        let wakeUp: WakeUp
        let mailbox: Mailbox

        init(_ listeners: [Listener]) throws(SocketError) {
            wakeUp = try WakeUp()
            mailbox = Mailbox(wakeUp)
            self.listeners = Mutex(listeners)
        }
    }

    private let configuration: ServerConfiguration
    private let factory: any CallHandlerFactory
    private let clock: any TimeSource
    private let seeds: [Seed]
    private let admission: Admission
    private let contexts: Mutex<[TLSContext]>
    private let threads = Mutex<[Thread]>([])
    private let failure = Mutex<SocketError?>(nil)
    private let kept = KeptListeners()
    /// What channelz shows of the listeners.
    package let listeners: [SocketFacts]

    /// The ports that are bound, by listener, also where the configuration said 0.
    package let ports: [UInt16]
    /// The doors to the reactors, by reactor index.
    package let mailboxes: [any ReactorMailbox]

    /// Binds the port; nothing is served until ``start()``.
    ///
    /// - Parameters:
    ///   - configuration: What to serve, where, with which certificates.
    ///   - factory: Makes each reactor's handler on that reactor's thread.
    ///   - clock: Time; the system's outside of tests.
    /// - Throws: ``TransportError``: `.unresolvable`, `.cannotListen` or `.socket`.
    package init(
        _ configuration: ServerConfiguration, factory: any CallHandlerFactory,
        clock: any TimeSource = SystemClock()
    ) throws(TransportError) {
        var doors: [[[Listener]]] = []
        var ports: [UInt16] = []
        let count = max(1, configuration.reactorCount)
        for (index, listener) in configuration.listeners.enumerated() {
            let opened = try Listener.open(listener, index: index, count: count)
            doors.append(opened.listeners)
            ports.append(opened.port)
        }
        var seeds: [Seed] = []
        do throws(SocketError) {
            for index in 0..<count { seeds.append(try Seed(doors.flatMap { $0[index] })) }
        } catch {
            throw .socket(error)
        }
        listeners = Self.facts(doors)
        self.configuration = configuration
        self.factory = factory
        self.clock = clock
        self.seeds = seeds
        self.ports = ports
        mailboxes = seeds.map(\.mailbox)
        admission = Admission(limits: configuration.limits)
        contexts = Mutex(configuration.listeners.map(\.tls))
    }

    /// Checks that an address could be listened on.
    ///
    /// - Parameters:
    ///   - host: An address or a name, for which the resolver is waited.
    ///   - port: 0: only whether the address is one of this machine.
    /// - Throws: ``TransportError``: `.unresolvable` or `.cannotListen`.
    package static func checkFree(host: String, port: UInt16) throws(TransportError) {
        let address = try Socket.address(of: host)
        do throws(SocketError) {
            try Socket.checkFree(host: address, port: port)
        } catch {
            throw .cannotListen(host: host, port: port, error)
        }
    }

    /// Starts the reactors; returns when all of them serve.
    ///
    /// - Throws: ``TransportError/socket(_:)`` when the system has no threads or descriptors left;
    ///   the server is then useless, and the process should end.
    package func start() throws(TransportError) {
        do throws(SocketError) {
            let ready = try Latch()
            for (index, seed) in seeds.enumerated() {
                let cpus = configuration.cpus
                let thread = try Thread(
                    name: "reactor-\(index)", cpu: cpus.isEmpty ? nil : cpus[index % cpus.count],
                    urgency: .prompt
                ) { [self] in
                    run(index, seed, ready)
                }
                threads.withLock { $0.append(thread) }
            }
            _ = ready.wait(for: seeds.count, milliseconds: -1)
        } catch {
            throw .socket(error)
        }
        if let failed = failure.withLock({ $0 }) { throw .socket(failed) }
    }

    private func run(_ index: Int, _ seed: Seed, _ ready: Latch) {
        let chance = configuration.seed ?? mix64(clock.monotonicTime().nanoseconds)
        let core = ServerCore(
            reactor: index, reactorCount: seeds.count, table: configuration.methods,
            limits: configuration.limits, now: clock.monotonicTime(),
            seed: chance &+ UInt64(index))
        defer { core.stop() }
        let reactor: Reactor
        do throws(SocketError) {
            let listeners = seed.listeners.withLock { listeners in
                defer { listeners = [] }
                return listeners
            }
            reactor = try Reactor(
                core, clock, seed.mailbox, admission, seed.wakeUp, listeners,
                contexts.withLock { $0 })
        } catch {
            failure.withLock { $0 = error }
            ready.arrive()
            return
        }
        core.start(factory.makeHandler(reactor: index, responder: core, mailbox: seed.mailbox))
        ready.arrive()
        reactor.run()
        seed.mailbox.end(core.snapshot())
    }

    /// How often nobody could be accepted because the process, or the system, had no descriptor or
    /// memory left.
    package var wantsOfDescriptors: UInt64 { admission.wantsOfDescriptors }

    /// The port of the first listener.
    package var port: UInt16 { ports[0] }

    /// Uses other certificates, by listener.
    ///
    /// New connections shake hands under them at once; open ones are judged by their trust and
    /// revocation lists within two seconds, and ended where they would not be let in any more.
    ///
    /// - Precondition: one for each listener.
    package func reload(tls contexts: [TLSContext]) {
        precondition(contexts.count == ports.count, "one context a listener")
        let old = self.contexts.withLock { current in
            defer { current = contexts }
            return current
        }
        for seed in seeds { seed.mailbox.post(.reload(contexts)) }
        for context in old where !contexts.contains(where: { $0 === context }) { context.retire() }
    }

    /// Stops accepting, tells every client, lets calls finish for a bounded time, and ends.
    ///
    /// - Parameter keepingSockets: Leaves the sockets open: who connects from now on waits in them
    ///   for whoever gets ``keptSockets(named:)``.
    package func beginDrain(keepingSockets: Bool = false) {
        for seed in seeds { seed.mailbox.post(.drain(keepingSockets ? kept : nil)) }
    }

    /// The sockets that a drain has kept; complete once the server has stopped, open as long as it
    /// lives.
    ///
    /// The service manager's are not among them: they stay anyway.
    ///
    /// - Parameter names: What to call those of each listener.
    /// - Returns: One for each of its reactors.
    package func keptSockets(named names: [String]) -> [SocketToLeave] {
        kept.sockets(named: names)
    }

    /// Waits until every reactor has ended.
    package func waitUntilStopped() {
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    /// Adds up what all reactors have counted, those included that have ended.
    ///
    /// - Parameter waitMilliseconds: How long a reactor may take to answer.
    /// - Returns: nil when one did not answer: it hangs.
    package func scrape(waitMilliseconds: Int32 = 2_000) -> ServerMetrics? {
        guard let latch = try? Latch() else { return nil }
        let scrape = Scrape(methodCount: configuration.methods.methods.count, latch)
        for seed in seeds { seed.mailbox.post(.scrape(scrape)) }
        guard latch.wait(for: seeds.count, milliseconds: waitMilliseconds) else { return nil }
        return scrape.total
    }
}
