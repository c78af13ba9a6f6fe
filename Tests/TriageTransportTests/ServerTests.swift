// The real server and the real client over loopback: threads, epoll and all. Waiting is for events,
// with a generous limit that only a hang reaches.

import Glibc
import TestSupport
import Testing
import TriageBase
import TriageGRPC
import TriageIO

@testable import TriageTransport

/// Echoes, streams numbers, or holds a call until another thread says so.
private final class LoopbackHandler: CallHandler {
    static let table = MethodTable([
        Method(path: "/l.L/Echo", clientStreaming: false, serverStreaming: false),
        Method(path: "/l.L/Count", clientStreaming: false, serverStreaming: true),
        Method(path: "/l.L/Sum", clientStreaming: true, serverStreaming: false),
        Method(path: "/l.L/Hold", clientStreaming: false, serverStreaming: false),
    ])

    private unowned let responder: any CallResponder
    private var sums: [CallID: Int] = [:]
    private var counting: [CallID: Int] = [:]
    private var held: [CallID] = []
    let events: Events

    init(_ responder: any CallResponder, _ events: Events) {
        self.responder = responder
        self.events = events
    }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        switch head.method {
        case 0: responder.respond(call, [UInt8](copying: message))
        case 1:
            counting[call] = 0
            streamWritable(call)
        default:
            held.append(call)
            events.add("held")
        }
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) { sums[call] = 0 }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        sums[call, default: 0] += message.count
        responder.requestMore(call)
    }

    func streamInputEnded(_ call: CallID) {
        responder.respond(call, Array(String(sums.removeValue(forKey: call) ?? 0).utf8))
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) { events.add("cancelled") }

    func streamWritable(_ call: CallID) {
        while let number = counting[call] {
            guard number < 3_000 else {
                counting[call] = nil
                return responder.finish(call, nil)
            }
            counting[call] = number + 1
            let text = Array(String(number).utf8) + [UInt8](repeating: 0x20, count: 200)
            if responder.send(call, text) != .queued { return }
        }
    }

    func turnEnded() {}

    func releaseAll() {
        for call in held { responder.respond(call, [1]) }
        held = []
    }
}

private final class ReleaseJob: ReactorJob {
    func run(_ handler: any CallHandler) { (handler as? LoopbackHandler)?.releaseAll() }
}

private struct LoopbackFactory: CallHandlerFactory {
    let events: Events

    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler { LoopbackHandler(responder, events) }
}

/// What happened on other threads, for a test that waits for it.
private final class Events: Sendable {
    private let names = Lock<[String]>([])
    private let latch: Latch

    init() throws { latch = try Latch() }

    func add(_ name: String) {
        names.withLock { $0.append(name) }
        latch.arrive()
    }

    /// Waits until `name` has happened so often.
    func wait(_ name: String, _ count: Int = 1) -> Bool {
        while names.withLock({ $0.filter { $0 == name }.count }) < count {
            if !latch.wait(for: 1, milliseconds: 60_000) { return false }
        }
        return true
    }

    var all: [String] { names.withLock { $0 } }
}

/// Starts calls on the client's loop and notes how they end.
private final class Caller: ClientCallReceiver, ClientConnectionReceiver {
    let events: Events
    private var received: [Int: [[UInt8]]] = [:]

    init(_ events: Events) { self.events = events }

    func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>) {
        received[tag, default: []].append([UInt8](copying: message))
    }

    func callWritable(_ call: ClientCall, _ tag: Int) {}

    func callEnded(_ call: ClientCall, _ tag: Int, _ end: ClientCallEnd) {
        let messages = received.removeValue(forKey: tag) ?? []
        let text = messages.count == 1 ? String(decoding: messages[0], as: UTF8.self) : ""
        events.add(
            "\(tag): \(end.error.map { "\($0.code)" } ?? "ok \(messages.count) \(text)")")
        events.add("ended")
    }

    func connectionReady(_ connection: ClientConnection) {
        events.add(connection.isResumed ? "resumed" : "ready")
    }
    func connectionDraining(_ connection: ClientConnection) { events.add("draining") }
    func connectionEnded(_ connection: ClientConnection, _ error: TransportError) {
        events.add("closed")
    }
}

@Suite struct ServerTests {
    private let server: Server
    private let loop: ClientLoop
    private let serverEvents: Events
    private let clientEvents: Events

    init() throws {
        serverEvents = try Events()
        clientEvents = try Events()
        server = try Server(
            ServerConfiguration(
                host: "127.0.0.1", port: 0, reactorCount: 2, tls: try Credentials.server(),
                methods: LoopbackHandler.table),
            factory: LoopbackFactory(events: serverEvents))
        try server.start()
        loop = try ClientLoop()
        try loop.start()
    }

    private func stop() {
        loop.stop()
        server.beginDrain()
        server.waitUntilStopped()
    }

    /// Connects and runs `work` with the connection, on the loop.
    private func connect(
        identified: Bool = true,
        _ work:
            @escaping @Sendable (ClientLoopContext, ClientConnection, ClientCallReceiverBox) -> Void
    ) throws {
        let tls = try Credentials.client(identified: identified)
        let (events, port) = (clientEvents, server.port)
        loop.post { context in
            let caller = Caller(events)
            do {
                let connection = try context.connect(
                    address: "127.0.0.1", port: port, tls: tls, receiver: caller)
                work(context, connection, ClientCallReceiverBox(caller: caller))
            } catch {
                events.add("failed: \(error)")
            }
        }
    }

    fileprivate struct ClientCallReceiverBox { let caller: Caller }

    private static func method(_ name: String, client: Bool = false, server: Bool = false)
        -> ClientMethod
    {
        ClientMethod(
            path: "/l.L/" + name, authority: "localhost", clientStreaming: client,
            serverStreaming: server)
    }

    @Test func manyCalls_onSeveralConnections_areAllAnswered() throws {
        for _ in 0..<4 {
            try connect { _, connection, box in
                let echo = Self.method("Echo")
                for number in 0..<500 {
                    _ = connection.call(
                        echo, Array("n\(number)".utf8), tag: number, receiver: box.caller)
                }
            }
        }
        #expect(clientEvents.wait("ended", 2_000))
        for number in [0, 99, 499] {
            #expect(clientEvents.all.filter { $0 == "\(number): ok 1 n\(number)" }.count == 4)
        }
        let metrics = try #require(server.scrape(waitMilliseconds: 60_000))
        #expect(metrics.methods[0].handled[0] == 2_000)
        #expect(metrics.connectionsOpen == 4)
        #expect(metrics.connectionsAccepted == 4)
        stop()
    }

    @Test func streams_bothWays_arrive() throws {
        try connect { _, connection, box in
            _ = connection.call(
                Self.method("Count", server: true), [], tag: 1, receiver: box.caller)
            let sum = Self.method("Sum", client: true)
            if let call = connection.open(sum, tag: 2, receiver: box.caller) {
                for _ in 0..<300 {
                    _ = connection.send(call, [UInt8](repeating: 1, count: 10_000))
                }
                connection.endInput(call)
            }
        }
        #expect(clientEvents.wait("ended", 2))
        #expect(clientEvents.all.contains("1: ok 3000 "))
        #expect(clientEvents.all.contains("2: ok 1 3000000"))
        stop()
    }

    @Test func deadlineAndCancel_reachTheServer() throws {
        try connect { context, connection, box in
            let hold = Self.method("Hold")
            _ = connection.call(
                hold, [], deadline: context.now.advanced(byNanoseconds: 2_000_000_000), tag: 1,
                receiver: box.caller)
            if let call = connection.call(hold, [], tag: 2, receiver: box.caller) {
                connection.cancel(call)
            }
        }
        #expect(clientEvents.wait("ended", 2))
        #expect(clientEvents.all.contains("1: deadlineExceeded"))
        #expect(clientEvents.all.contains("2: cancelled"))
        #expect(serverEvents.wait("cancelled", 1))
        stop()
    }

    @Test func drain_letsARunningCallFinish() throws {
        try connect { _, connection, box in
            _ = connection.call(Self.method("Hold"), [], tag: 1, receiver: box.caller)
        }
        #expect(serverEvents.wait("held"))
        server.beginDrain()
        #expect(clientEvents.wait("draining"))
        for mailbox in server.mailboxes { mailbox.post(ReleaseJob()) }
        #expect(clientEvents.wait("ended"))
        #expect(clientEvents.all.contains { $0.hasPrefix("1: ok 1") })
        #expect(clientEvents.wait("closed"))
        server.waitUntilStopped()
        loop.stop()
    }

    /// One of the two reactors has nothing to finish.
    @Test func aReactorThatHasEnded_isStillCounted() throws {
        try connect { _, connection, box in
            _ = connection.call(Self.method("Echo"), [7], tag: 1, receiver: box.caller)
            _ = connection.call(Self.method("Hold"), [], tag: 2, receiver: box.caller)
        }
        #expect(serverEvents.wait("held"))
        #expect(clientEvents.wait("ended"))
        server.beginDrain()
        #expect(clientEvents.wait("draining"))
        let draining = try #require(server.scrape(waitMilliseconds: 60_000))
        #expect(draining.callsOpen == 1 && draining.methods[0].started == 1)
        for mailbox in server.mailboxes { mailbox.post(ReleaseJob()) }
        #expect(clientEvents.wait("closed"))
        server.waitUntilStopped()
        let ended = try #require(server.scrape(waitMilliseconds: 50))
        #expect(ended.methods[0].handled[0] == 1 && ended.methods[3].handled[0] == 1)
        #expect(ended.connectionsAccepted == 1 && ended.connectionsOpen == 0)

        let asked = Question()
        server.inspect(.server, asked, to: asked)
        #expect(asked.facts.withLock { $0.map(\.callsSucceeded) } == [2])
        server.inspect(.sockets(from: 0, count: 9), asked, to: asked)
        #expect(asked.facts.withLock { $0.last?.sockets.isEmpty } == true)
        loop.stop()
    }

    /// Asks channelz's questions, and keeps what was found.
    private final class Question: InspectionJob, ReactorMailbox {
        let facts = Lock<[ServerFacts]>([])
        func found(_ facts: ServerFacts) { self.facts.withLock { $0.append(facts) } }
        func run(_ handler: any CallHandler) {}
        func post(_ job: any ReactorJob) {}
    }

    @Test func clientWithoutCertificate_isRefused() throws {
        try connect(identified: false) { _, connection, box in
            _ = connection.call(Self.method("Echo"), [1], tag: 1, receiver: box.caller)
        }
        #expect(clientEvents.wait("closed"))
        #expect(clientEvents.all.contains("1: unavailable"))
        stop()
    }

    @Test func reloadedCertificates_areUsedForNewConnections() throws {
        server.reload(tls: [try Credentials.server(optional: true)])
        // The scrape is queued behind the reload on every reactor.
        _ = server.scrape(waitMilliseconds: 60_000)
        try connect(identified: false) { _, connection, box in
            _ = connection.call(Self.method("Echo"), [1], tag: 1, receiver: box.caller)
        }
        #expect(clientEvents.wait("ended"))
        #expect(clientEvents.all.contains("1: unauthenticated"))
        stop()
    }

    /// The kernel says how many may wait, where a connection says what was acknowledged.
    ///
    /// Source: tcp(7); `tcp_get_info` in Linux.
    @Test func listener_hasAQueueOfItsOwnLength() throws {
        let door = ServerListener(
            host: "127.0.0.1", port: 0, tls: try Credentials.server(), audience: .internal)
        let (listeners, _) = try Listener.open(door, index: 0, count: 2)
        let kernelMax = try TextFile.read(path: "/proc/sys/net/core/somaxconn", bytesMax: 64)
        let wanted = min(
            Int(Limits.acceptQueueMax),
            try #require(Int(kernelMax.filter { $0.isNumber })))
        for listener in listeners.flatMap({ $0 }) {
            var info = tcp_info()
            var count = socklen_t(MemoryLayout<tcp_info>.size)
            let code = unsafe getsockopt(
                listener.socket.descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &count)
            #expect(code == 0)
            #expect(Int(info.tcpi_sacked) == wanted)
        }
        stop()
    }

    @Test func port_inUseByAnother_isSaid() throws {
        // SO_REUSEPORT allows our own second listener; an address that is not ours does not bind.
        #expect(throws: TransportError.self) {
            try Server(
                ServerConfiguration(
                    host: "203.0.113.1", port: 0, tls: try Credentials.server(),
                    methods: LoopbackHandler.table),
                factory: LoopbackFactory(events: serverEvents))
        }
        stop()
    }
}

@Suite struct AdminListenerTests {
    private func listener(ready: Bool) throws -> AdminListener {
        try AdminListener(
            host: "127.0.0.1", port: 0,
            routes: AdminRoutes(live: { true }, ready: { ready }, metrics: { _ in "up 1\n" }))
    }

    private func ask(_ listener: AdminListener, _ request: String) -> String {
        String(decoding: listener.answer(Array(request.utf8)), as: UTF8.self)
    }

    @Test func aName_isLookedUp() throws {
        let listener = try AdminListener(
            host: "localhost", port: 0,
            routes: AdminRoutes(live: { true }, ready: { true }, metrics: { _ in "" }))
        #expect(listener.port > 0)
    }

    @Test func paths_areAnswered() throws {
        let listener = try listener(ready: false)
        #expect(ask(listener, "GET /livez HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(ask(listener, "GET /readyz HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 503 "))
        let metrics = ask(listener, "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(metrics.contains("Content-Length: 5\r\n"))
        #expect(metrics.hasSuffix("\r\n\r\nup 1\n"))
        #expect(ask(listener, "HEAD /metrics HTTP/1.1\r\n\r\n").hasSuffix("\r\n\r\n"))
        #expect(ask(listener, "GET /x HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 404 "))
        #expect(ask(listener, "POST /livez HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 405 "))
        for bad in [
            "", "GET", "GET /livez", "GET  /livez HTTP/1.1", "GET /livez HTTP/2\r\n", "\0\u{1}",
        ] {
            #expect(ask(listener, bad + "\r\n\r\n").hasPrefix("HTTP/1.1 400 "), "\(bad)")
        }
    }

    /// Connects, says something, and reads until the other side has closed.
    private func exchange(_ port: UInt16, _ request: String) throws -> String {
        let socket = try Socket.connect(host: "127.0.0.1", port: port)
        return try finish(socket, request)
    }

    private func finish(
        _ socket: borrowing Socket, _ request: String, endsOutput: Bool = false
    ) throws -> String {
        let loop = try EventLoop(WakeUp())
        try loop.add(socket.descriptor, token: 1, .onChange)
        var reply: [UInt8] = []
        var waiting = Array(request.utf8)
        while true {
            let now = SystemClock().monotonicTime()
            let count = loop.wait(until: now.advanced(byNanoseconds: 60_000_000_000), now: now) {
                true
            }
            try #require(count > 0)
            if !waiting.isEmpty, loop.event(0).isWritable,
                case .bytes(let count) = socket.write(waiting.span)
            {
                waiting.removeFirst(count)
                if waiting.isEmpty, endsOutput { socket.endOutput() }
            }
            var buffer = [UInt8](repeating: 0, count: 1_000)
            reading: while true {
                switch socket.read(into: &buffer) {
                case .bytes(let count): reply += buffer[0..<count]
                case .wouldBlock: break reading
                case .ended, .failed: return String(decoding: reply, as: UTF8.self)
                }
            }
        }
    }

    @Test func request_overASocket_isAnsweredAndClosed() throws {
        let listener = try listener(ready: true)
        try listener.start()
        let reply = try exchange(listener.port, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(reply.hasSuffix("\r\n\r\nok\n"))
        listener.stop()
    }

    /// `printf 'GET ...' | nc` is such a client.
    @Test(arguments: [("\r\n\r\n", true), ("\r\n", false)])
    func aClientThatEndsItsSide_getsItsAnswer_ifItHasAsked(end: String, isAsked: Bool) throws {
        let listener = try listener(ready: true)
        try listener.start()
        let socket = try Socket.connect(host: "127.0.0.1", port: listener.port)
        let reply = try finish(socket, "GET /livez HTTP/1.1" + end, endsOutput: true)
        #expect(reply.hasSuffix("\r\n\r\nok\n") == isAsked)
        #expect(reply.isEmpty == !isAsked)
        listener.stop()
    }

    @Test func limits_areCounted_andToldToWhoeverAsksForTheMetrics() throws {
        let clock = FakeClock()
        let seen = Lock(LimitHits())
        let routes = AdminRoutes(
            live: { true }, ready: { true },
            metrics: { hits in
                seen.withLock { $0 = hits }
                return "up 1\n"
            })
        let listener = try AdminListener(host: "127.0.0.1", port: 0, routes: routes, clock: clock)
        try listener.start()
        func hits() throws -> LimitHits {
            let request = "GET /metrics HTTP/1.1\r\n\r\n"
            // Above the bound who asks is turned away as well.
            while try !exchange(listener.port, request).hasSuffix("up 1\n") {}
            return seen.withLock { $0 }
        }
        let long = String(repeating: "x", count: Limits.adminRequestBytesMax + 1)
        #expect(try exchange(listener.port, long) == "")
        try expectHit(.adminRequestBytes, in: hits())

        let silent = try Socket.connect(host: "127.0.0.1", port: listener.port)
        #expect(try hits()[.adminTime] == 0)
        clock.advance(milliseconds: Limits.adminMillisecondsMax + 1)
        // The first who comes wakes the thread.
        _ = try hits()
        try expectHit(.adminTime, in: hits())
        #expect(try finish(silent, "") == "")

        var kept = [SocketHolder]()
        for _ in 0..<Limits.adminConnectionsMax {
            kept.append(SocketHolder(try Socket.connect(host: "127.0.0.1", port: listener.port)))
        }
        #expect(try exchange(listener.port, "") == "", "closed at once")
        kept.removeFirst()
        try expectHit(.adminConnections, atLeast: 1, in: hits())
        kept = []
        listener.stop()
    }
}

/// Keeps a socket open.
private final class SocketHolder {
    let socket: Socket

    init(_ socket: consuming Socket) { self.socket = socket }
}
