// A server that ends requests as a test wants it to: refused, reset, cut off, above the last stream
// of a GOAWAY. Its frames are those of HTTP2Session; only what it does with them is not a server's.

import TestSupport
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO
import TriageTLS

@testable import TriageTransport

/// Serves on a thread of its own, until it is stopped.
final class ScriptedServer: Sendable {
    /// What becomes of a request.
    enum Act: Sendable {
        /// An empty message and OK.
        case reply
        /// RST_STREAM.
        case reset(HTTP2ErrorCode)
        /// GOAWAY that says that nothing was begun, then the end of the connection.
        case goAway
        /// Response headers, then RST_STREAM.
        case beginThenReset(HTTP2ErrorCode)
        /// The connection is cut off.
        case cut
        /// UNAVAILABLE, in a whole answer.
        case unavailable
        /// The same in bytes, and no RST_STREAM behind it: whether one is sent is the server's to
        /// say (RFC 9113 §8.1).
        case unavailableAlone
        /// A page of HTML, with that HTTP status.
        case page(String)
        /// A message, then RST_STREAM.
        case tellThenReset([UInt8], HTTP2ErrorCode)
        /// A message, then that status.
        case tellThenFail([UInt8], StatusCode)
        /// A message, then that error with all that it says.
        case tellThenSay([UInt8], RPCError)
        /// A message, then OK behind that many bytes of metadata.
        case tellThenOverflow([UInt8], Int)
    }

    private let act: @Sendable (Int) -> Act
    private let counts = Lock((requests: 0, connections: 0))
    private let received = Lock<[[UInt8]]>([])
    private let closed = Monitor(0)
    private let wakeUp: WakeUp
    private let isOver = Lock(false)
    private let thread = Lock<Thread?>(nil)
    let endpoint: Endpoint

    /// Requests and connections so far.
    var seen: (requests: Int, connections: Int) { counts.withLock { $0 } }
    /// What came in DATA frames, in order.
    var bodies: [[UInt8]] { received.withLock { $0 } }
    /// Waits until a stream has been closed.
    ///
    /// - Returns: False when none was for 20 s.
    func seesAStreamClosed() -> Bool {
        let deadline = SystemClock().monotonicTime().advanced(byNanoseconds: 20_000_000_000)
        return closed.wait(before: deadline) { $0 > 0 ? true : nil } ?? false
    }

    /// Starts to serve; `act` says what becomes of request number N, counted from 0 over all
    /// connections.
    init(_ act: @escaping @Sendable (Int) -> Act) throws {
        self.act = act
        let issued = try Certificates.issued()
        let tls = try TLSContext(
            .server(
                certificateChain: issued.server.certificate,
                privateKey: issued.server.privateKey,
                clientTrust: issued.fixture.root.certificate, crl: nil,
                clientCertificate: .required))
        let listener = try Socket.listen(host: "127.0.0.1", port: 0, backlog: 16)
        endpoint = Endpoint(host: "127.0.0.1", port: try listener.localPort())
        wakeUp = try WakeUp()
        let box = ListenerBox(listener)
        let made = try Thread(name: "scripted") { [self] in
            do { try serve(box.socket, tls) } catch { preconditionFailure("\(error)") }
        }
        thread.withLock { $0 = made }
    }

    func stop() {
        isOver.withLock { $0 = true }
        wakeUp.wake()
        thread.withLock { $0.take() }?.join()
    }

    private final class ListenerBox: Sendable {
        let socket: Socket
        init(_ socket: consuming Socket) { self.socket = socket }
    }

    private final class Peer {
        let socket: Socket
        let wire: Wire
        var isOver = false
        init(_ socket: consuming Socket, _ wire: Wire) {
            self.socket = socket
            self.wire = wire
        }
    }

    private func serve(_ listener: borrowing Socket, _ tls: TLSContext) throws {
        let loop = try EventLoop(wakeUp)
        try loop.add(listener.descriptor, token: 0, .whileReadable)
        var peers: [Peer?] = [nil]
        while !isOver.withLock({ $0 }) {
            let count = loop.wait(until: .never, now: MonotonicTime(nanoseconds: 0)) {
                !isOver.withLock { $0 }
            }
            for index in 0..<count {
                let token = Int(loop.event(index).token)
                if token == 0 {
                    while let socket = try listener.accept() {
                        let wire = Wire(try TLSSession(tls), try HTTP2Session(role: .server))
                        try loop.add(socket.descriptor, token: UInt64(peers.count), .onChange)
                        peers.append(Peer(socket, wire))
                        counts.withLock { $0.connections += 1 }
                    }
                } else if let peer = peers[token] {
                    move(peer)
                    if peer.isOver { peers[token] = nil }
                }
            }
        }
    }

    private func move(_ peer: Peer) {
        var input = [UInt8](repeating: 0, count: 32 << 10)
        reading: while true {
            switch peer.socket.read(into: &input) {
            case .bytes(let count): peer.wire.tls.receive(input.span.extracting(first: count))
            case .wouldBlock: break reading
            case .ended, .failed:
                peer.isOver = true
                return
            }
        }
        if peer.wire.isHandshaking, case .failed = peer.wire.handshake() { peer.isOver = true }
        var plaintext = [UInt8](repeating: 0, count: 16 << 10)
        while !peer.wire.isHandshaking, !peer.isOver,
            case .events(let count) = peer.wire.read(into: &plaintext)
        {
            handle(peer, plaintext.span.extracting(first: count))
        }
        if !peer.isOver { flush(peer) }
    }

    private func flush(_ peer: Peer) {
        _ = peer.wire.seal(FrameBuffer(), limit: 1 << 20)
        while peer.wire.tls.outputCount > 0 {
            var isBlocked = false
            peer.wire.tls.withOutput { bytes in
                guard case .bytes(let count) = peer.socket.write(bytes) else {
                    isBlocked = true
                    return 0
                }
                return count
            }
            if isBlocked { return }
        }
    }

    private func handle(_ peer: Peer, _ plaintext: Span<UInt8>) {
        let http2 = peer.wire.http2
        for event in http2.events where !peer.isOver {
            switch event {
            case .headers(let stream, _): requested(stream, peer)
            case .data(_, let offset, let count):
                let bytes = [UInt8](copying: plaintext.extracting(offset..<(offset + count)))
                received.withLock { $0.append(bytes) }
            case .streamClosed: closed.change { $0 += 1 }
            default: break
            }
        }
        http2.clearEvents()
    }

    private func requested(_ stream: HTTP2Stream, _ peer: Peer) {
        let number = counts.withLock { counts in
            counts.requests += 1
            return counts.requests - 1
        }
        // Its submissions fail only for want of memory.
        try? perform(act(number), stream, peer)
    }

    private static let headers = HeaderFields([
        .init(":status", "200"), .init("content-type", "application/grpc"),
    ])

    private func perform(
        _ act: Act, _ stream: HTTP2Stream, _ peer: Peer
    ) throws(HTTP2Error) {
        let http2 = peer.wire.http2
        switch act {
        case .reply:
            try http2.submitHeaders(stream, Self.headers, endStream: false)
            http2.submitData(stream, [], prefix: DataPrefix(flag: 0, length: 0))
            http2.submitTrailers(stream, HeaderFields([.init("grpc-status", "0")]))
        case .reset(let code): http2.reset(stream, code)
        case .goAway:
            try http2.goAway(lastStream: 0, .noError)
            flush(peer)
            peer.isOver = true
        case .beginThenReset(let code):
            try http2.submitHeaders(stream, Self.headers, endStream: false)
            flush(peer)
            http2.reset(stream, code)
        case .cut: peer.isOver = true
        case .unavailable:
            try http2.submitHeaders(
                stream,
                HeaderFields([
                    .init(":status", "200"), .init("content-type", "application/grpc"),
                    .init("grpc-status", "14"),
                ]), endStream: true)
        case .unavailableAlone:
            // HPACK: `:status: 200` of the static table, then two literals.
            let block =
                [0x88, 0x0F, 0x10, 16] + Array("application/grpc".utf8)
                + [0x00, 11] + Array("grpc-status".utf8) + [2] + Array("14".utf8)
            let head: [UInt8] = [0, 0, UInt8(block.count), 1, 0x05, 0, 0, 0, UInt8(stream.id)]
            // Behind the SETTINGS.
            flush(peer)
            try? peer.wire.tls.write((head + block).span)
        case .page(let status):
            try http2.submitHeaders(
                stream,
                HeaderFields([.init(":status", status), .init("content-type", "text/html")]),
                endStream: false)
            http2.submitData(stream, Array("<html>".utf8))
            http2.endStream(stream)
        case .tellThenReset(let message, let code):
            try tell(message, stream, http2)
            flush(peer)
            http2.reset(stream, code)
        case .tellThenFail(let message, let code):
            try tell(message, stream, http2)
            http2.submitTrailers(
                stream, HeaderFields([.init("grpc-status", String(code.rawValue))]))
        case .tellThenSay(let message, let error):
            try tell(message, stream, http2)
            http2.submitTrailers(stream, ReplyFields.shared.trailers(error))
        case .tellThenOverflow(let message, let count):
            try tell(message, stream, http2)
            http2.submitTrailers(
                stream,
                HeaderFields([
                    .init("x-much", String(repeating: "m", count: count)),
                    .init("grpc-status", "0"),
                ]))
        }
    }

    private func tell(
        _ message: [UInt8], _ stream: HTTP2Stream, _ http2: HTTP2Session
    ) throws(HTTP2Error) {
        try http2.submitHeaders(stream, Self.headers, endStream: false)
        http2.submitData(
            stream, message, prefix: DataPrefix(flag: 0, length: UInt32(message.count)))
    }
}
