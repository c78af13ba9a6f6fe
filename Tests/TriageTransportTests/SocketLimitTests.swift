// Limits that need a socket: what is not read backs up, who says nothing loses its place. A real
// server on loopback with the test's clock; a scrape of its counters is a round trip through its
// loop, so that nothing here sleeps.

import Glibc
import TestSupport
import Testing
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS

@testable import TriageTransport

/// Streams without end, or answers at once.
private final class EndlessHandler: CallHandler {
    static let table = MethodTable([
        Method(path: "/t.T/Pull", clientStreaming: false, serverStreaming: true),
        Method(path: "/t.T/Echo", clientStreaming: false, serverStreaming: false),
    ])

    private unowned let responder: any CallResponder

    init(_ responder: any CallResponder) { self.responder = responder }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        if head.method == 0 {
            streamWritable(call)
        } else {
            responder.respond(call, [UInt8](copying: message))
        }
    }

    func streamWritable(_ call: CallID) {
        let message = [UInt8](repeating: 7, count: 16 << 10)
        while case .queued = responder.send(call, message) {}
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) {}
    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {}
    func streamInputEnded(_ call: CallID) {}
    func callCancelled(_ call: CallID, _ reason: CancelReason) {}
    func turnEnded() {}
}

private struct EndlessFactory: CallHandlerFactory {
    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler { EndlessHandler(responder) }
}

/// Keeps the reactor where it is until it is told to go on.
private final class PauseJob: ReactorJob {
    let began: Latch
    let goOn: Latch

    init() throws {
        began = try Latch()
        goOn = try Latch()
    }

    func run(_ handler: any CallHandler) {
        began.arrive()
        _ = goOn.wait(for: 1, milliseconds: 60_000)
    }
}

/// The time stands still, and whoever asks for it has two sockets looked at: what has come to them
/// by then.
private final class WitnessClock: TimeSource {
    private struct Seen {
        var sockets: (Int32, Int32)?
        var hasFirstAlone = false
        var hasSecond = false
    }

    private let clock = FakeClock()
    private let seen = Lock(Seen())

    /// Looks at these from now on.
    func watch(_ first: Int32, _ second: Int32) { seen.withLock { $0.sockets = (first, second) } }

    /// Something had come to the first when nothing had to the second.
    var hasSeenFirstAlone: Bool { seen.withLock { $0.hasFirstAlone } }
    var hasSeenSecond: Bool { seen.withLock { $0.hasSecond } }

    func wallTime() -> WallTime { clock.wallTime() }

    func monotonicTime() -> MonotonicTime {
        seen.withLock { seen in
            guard let (first, second) = seen.sockets, !seen.hasSecond else { return }
            // What was sent over loopback is there at once, or almost.
            let hasFirst = Self.isReadable(first, milliseconds: 20)
            if Self.isReadable(second, milliseconds: 0) {
                seen.hasSecond = true
            } else if hasFirst {
                seen.hasFirstAlone = true
            }
        }
        return clock.monotonicTime()
    }

    private static func isReadable(_ descriptor: Int32, milliseconds: Int32) -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&watched, 1, milliseconds) == 1
    }
}

/// A raw client on a socket.
private final class SocketPeer {
    let socket: Socket
    let tls: TLSSession
    private(set) var isClosed = false
    private var received: [UInt8] = []

    init(_ port: UInt16, identified: Bool = true, isBob: Bool = false) throws {
        socket = try Socket.connect(host: "127.0.0.1", port: port)
        tls = try TLSSession(Credentials.client(identified: identified, isBob: isBob))
    }

    /// Writes what waits, as far as the socket takes it.
    func flush() {
        var isFull = false
        while tls.outputCount > 0, !isFull, !isClosed {
            tls.withOutput { bytes in
                switch socket.write(bytes) {
                case .bytes(let count): return count
                case .wouldBlock: isFull = true
                case .ended, .failed: isClosed = true
                }
                return 0
            }
        }
    }

    /// The frames that came, of those that ``receive()`` has read.
    var frames: [RawFrame] { RawFrame.parse(received) }

    /// Reads once, and decrypts it.
    func receive() throws {
        _ = read()
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while case .bytes(let count) = try tls.read(into: &buffer) { received += buffer[..<count] }
    }

    /// Reads once; true when something came.
    func read() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        switch socket.read(into: &buffer) {
        case .bytes(let count):
            tls.receive(buffer.span.extracting(first: count))
            return true
        case .wouldBlock: return false
        case .ended, .failed:
            isClosed = true
            return false
        }
    }
}

@Suite struct SocketLimitTests {
    private let clock = FakeClock()

    private func serve(
        _ limits: ServerLimits, _ otherClock: (any TimeSource)? = nil, tls: TLSContext? = nil
    ) throws -> Server {
        var configuration = ServerConfiguration(
            host: "127.0.0.1", port: 0, tls: try tls ?? Credentials.server(),
            methods: EndlessHandler.table)
        configuration.limits = limits
        let server = try Server(
            configuration, factory: EndlessFactory(), clock: otherClock ?? clock)
        try server.start()
        return server
    }

    /// A reactor on a busy machine may take its time to answer.
    private func scraped(_ server: Server) throws -> ServerMetrics {
        try #require(server.scrape(waitMilliseconds: 60_000))
    }

    private func stop(_ server: Server) {
        server.beginDrain()
        // The grace and the linger are over at once, whatever is still open.
        for _ in 0..<3 {
            clock.advance(milliseconds: 20_000)
            _ = server.scrape()
        }
        server.waitUntilStopped()
    }

    /// Repeats `step` until the limit was hit; each round is a turn of the server.
    private func expectHit(
        _ kind: LimitKind, _ server: Server, sourceLocation: SourceLocation = #_sourceLocation,
        _ step: () throws -> Void = {}
    ) throws {
        for _ in 0..<5_000 {
            try step()
            if try scraped(server).limits[kind] > 0 { return }
        }
        Issue.record("\(kind) was not hit", sourceLocation: sourceLocation)
    }

    private func handshake(_ server: Server, _ peer: SocketPeer) throws {
        _ = try peer.tls.handshake()
        for _ in 0..<5_000 {
            peer.flush()
            _ = server.scrape()
            if peer.read(), try peer.tls.handshake() == .complete { break }
        }
        try #require(peer.tls.negotiatedH2)
    }

    @Test func outputThatIsNotRead_stopsTheReading_andThenTheConnection() throws {
        // The kernel takes its own time to move bytes, whatever the test's clock says: nothing else
        // may end the connection.
        var limits = ServerLimits()
        limits.stalledStreamMillisecondsMax = 1 << 40
        limits.keepaliveMilliseconds = 1 << 40
        let server = try serve(limits)
        let peer = try SocketPeer(server.port)
        try handshake(server, peer)
        let window: [UInt8] = [0, 4, 0x7F, 0xFF, 0xFF, 0xFF]
        var frames: [RawFrame] = [
            RawFrame(type: 4, payload: window), .windowUpdate(0, 0x7FFF_0000),
            .headers(1, RawFrame.request("Pull")), .data(1, [0, 0, 0, 0, 0], end: true),
        ]
        try peer.tls.write((RawFrame.preface + frames.flatMap(\.bytes)).span)
        // Frames that need no answer and count against no limit, until nobody reads them.
        frames = [RawFrame](repeating: RawFrame(type: 0xBA, payload: [0]), count: 100)
        let noise = frames.flatMap(\.bytes)
        try expectHit(.outputBytes, server) {
            if peer.tls.outputCount == 0 { try peer.tls.write(noise.span) }
            peer.flush()
        }
        let paused = try scraped(server)
        for _ in 0..<50 {
            if peer.tls.outputCount == 0 { try peer.tls.write(noise.span) }
            peer.flush()
            _ = server.scrape()
        }
        let later = try scraped(server)
        #expect(later.bytesReceived == paused.bytesReceived, "nothing more is read")
        #expect(later.bytesHeld <= UInt64(Limits.outputBytesMax + 128 << 10))
        // Once the peer reads, the server goes on.
        for _ in 0..<2_000 {
            if !peer.read() { break }
        }
        for _ in 0..<50 {
            while peer.read() {}
            _ = server.scrape()
        }
        #expect(try scraped(server).bytesReceived > later.bytesReceived)
        // And when it stops for good, it is closed: first every buffer on the way fills up.
        var sent: UInt64 = 0
        for _ in 0..<5_000 {
            let now = try scraped(server).bytesSent
            if now == sent { break }
            sent = now
        }
        try expectHit(.stalledSocket, server) { clock.advance(milliseconds: 1_500) }
        #expect(try scraped(server).callsOpen == 0)
        stop(server)
    }

    @Test func handshake_goesOn_whenTheTurnsCallsAreAnswered() throws {
        let witness = WitnessClock()
        let server = try serve(ServerLimits(), witness)
        let caller = try SocketPeer(server.port)
        try handshake(server, caller)
        let comer = try SocketPeer(server.port)
        while try scraped(server).connectionsOpen < 2 {}
        while caller.read() {}
        // Both speak while the reactor is busy, so that one turn finds a call and a handshake.
        let pause = try PauseJob()
        server.mailboxes[0].post(pause)
        try #require(pause.began.wait(for: 1, milliseconds: 60_000))
        let frames: [RawFrame] = [
            .settings, .headers(1, RawFrame.request("Echo")),
            .data(1, [0, 0, 0, 0, 0], end: true),
        ]
        try caller.tls.write((RawFrame.preface + frames.flatMap(\.bytes)).span)
        caller.flush()
        #expect(try comer.tls.handshake() == .needsInput)
        comer.flush()
        witness.watch(caller.socket.descriptor, comer.socket.descriptor)
        pause.goOn.arrive()
        for _ in 0..<5_000 where !witness.hasSeenSecond { _ = server.scrape() }
        #expect(witness.hasSeenSecond)
        #expect(witness.hasSeenFirstAlone)
        server.beginDrain()
        withExtendedLifetime((caller, comer)) {}
    }

    @Test func silentHandshakes_doNotKeepOthersOut() throws {
        var limits = ServerLimits()
        limits.unidentifiedConnectionsMax = 3
        limits.handshakeMillisecondsMax = 1 << 40
        let server = try serve(limits)
        var silent: [SocketPeer] = []
        for _ in 0..<3 { silent.append(try SocketPeer(server.port)) }
        while try scraped(server).connectionsOpen < 3 {}
        // They are young: a fourth is turned away.
        let early = try SocketPeer(server.port)
        try expectHit(.unidentifiedConnections, server)
        while !early.isClosed { _ = early.read() }
        clock.advance(milliseconds: Limits.handshakePatienceMilliseconds + 1)
        let late = try SocketPeer(server.port)
        try handshake(server, late)
        #expect(try scraped(server).limits[.unidentifiedConnections] == 2)
        #expect(try scraped(server).connectionsOpen == 3)
        while !silent[0].isClosed { _ = silent[0].read() }
        #expect(!silent[1].read() && !silent[1].isClosed)
        stop(server)
    }

    @Test func reload_dropsTheSessionsThatNobodyCanResume() throws {
        let before = try Credentials.server()
        let server = try serve(ServerLimits(), tls: before)
        let peer = try SocketPeer(server.port)
        try handshake(server, peer)
        peer.flush()
        while try scraped(server).handshakesFull < 1 {}
        #expect(before.sessionsKept == 1)
        server.reload(tls: [try Credentials.server()])
        #expect(before.sessionsKept == 0)
        #expect(try scraped(server).connectionsOpen == 1, "and its context lives as long")
        stop(server)
    }

    /// Who has too many connections, and keeps those open that were refused for it.
    @Test func connectionsThatWereTurnedAway_doNotKeepOthersOut() throws {
        var limits = ServerLimits()
        limits.connectionsPerIdentityMax = 1
        limits.unidentifiedConnectionsMax = 2
        let server = try serve(limits)
        var ada: [SocketPeer] = []
        for refused in 0..<3 as Range<UInt64> {
            let peer = try SocketPeer(server.port)
            try handshake(server, peer)
            peer.flush()
            while try scraped(server).limits[.connectionsPerIdentity] < refused {}
            ada.append(peer)
        }
        let bob = try SocketPeer(server.port, isBob: true)
        try handshake(server, bob)
        try expectHit(.unidentifiedConnections, server)
        #expect(try scraped(server).connectionsOpen == 3)
        stop(server)
    }

    @Test func connectionsThatAreTooMany_areClosed() throws {
        var limits = ServerLimits()
        limits.connectionsMax = 2
        let server = try serve(limits)
        let kept = [try SocketPeer(server.port), try SocketPeer(server.port)]
        while try scraped(server).connectionsOpen < 2 {}
        let late = try SocketPeer(server.port)
        try expectHit(.connections, server)
        for _ in 0..<5_000 where !late.isClosed {
            _ = server.scrape()
            _ = late.read()
        }
        #expect(late.isClosed)
        for peer in kept { try handshake(server, peer) }
        stop(server)
    }

    /// Who is too many for its door goes at once, whatever it has not read or not sent: it is not
    /// waited for as others are.
    @Test func strangerThatMakesRoom_isClosedAtOnce() throws {
        var limits = ServerLimits()
        limits.strangersPerDoorMax = 1
        let server = try serve(limits, tls: try Credentials.server(optional: true))
        let first = try SocketPeer(server.port, identified: false)
        let second = try SocketPeer(server.port, identified: false)
        for peer in [first, second] {
            try handshake(server, peer)
            peer.flush()
        }
        try expectHit(.strangers, server)
        for _ in 0..<5_000 where !first.isClosed {
            _ = server.scrape()
            _ = first.read()
        }
        #expect(first.isClosed)
        #expect(try scraped(server).connectionsOpen == 1, "its place is free already")
        stop(server)
    }

    /// The turn that ends it closes those that have had their time, too.
    @Test func connectionThatWasSilent_hearsWhyItEnds() throws {
        let server = try serve(ServerLimits())
        let peer = try SocketPeer(server.port)
        try handshake(server, peer)
        let greeting = RawFrame.preface + RawFrame.settings.bytes
        try peer.tls.write(greeting.span)
        peer.flush()
        for _ in 0..<5_000 where !peer.frames.contains(.settingsAck) {
            _ = server.scrape()
            try peer.receive()
        }
        let pause = try PauseJob()
        server.mailboxes[0].post(pause)
        try #require(pause.began.wait(for: 1, milliseconds: 60_000))
        let pings = [RawFrame](repeating: .ping, count: 2 * Limits.pingBurst)
        let noise = pings.flatMap(\.bytes)
        try peer.tls.write(noise.span)
        peer.flush()
        clock.advance(milliseconds: 3_000)
        pause.goOn.arrive()
        for _ in 0..<5_000 where !peer.isClosed {
            _ = server.scrape()
            try peer.receive()
        }
        let goAway = try #require(peer.frames.last { $0.type == 7 })
        #expect(String(decoding: goAway.payload.dropFirst(8), as: UTF8.self) == "too_many_pings")
        try expectHit(.pings, server)
        stop(server)
    }

    @Test func bytesBehindAHandshake_areNotReadBeforeItsTurn() throws {
        var limits = ServerLimits()
        limits.handshakeStepsPerTurnMax = 0
        let server = try serve(limits)
        let peer = try SocketPeer(server.port)
        _ = try peer.tls.handshake()
        peer.flush()
        while try scraped(server).bytesReceived == 0 {}
        let before = try scraped(server).bytesReceived
        let noise = [UInt8](repeating: 22, count: 32 << 10)
        for _ in 0..<20 {
            _ = peer.socket.write(noise.span)
            _ = server.scrape()
        }
        #expect(try scraped(server).bytesReceived <= before + UInt64(64 << 10))
        stop(server)
    }
}
