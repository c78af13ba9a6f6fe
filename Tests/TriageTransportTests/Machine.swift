// A server's connection and a client's protocol stack joined in memory: no sockets, and the time is
// the test's. The client speaks HTTP/2 freely, so that it can break every rule of gRPC.

import TestSupport
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

/// What a client has seen of one stream.
struct Seen {
    var fields: [String: String] = [:]
    var trailers: [String: String] = [:]
    var body: [UInt8] = []
    var isEnded = false
    var closed: HTTP2ErrorCode?

    /// `grpc-status`, wherever it stood.
    var status: String? { trailers["grpc-status"] ?? fields["grpc-status"] }

    /// The typed error, nil for OK.
    var error: RPCError? {
        let all = fields.merging(trailers) { $1 }
        func value(_ name: String) -> [UInt8] { Array((all[name] ?? "").utf8) }
        return Status.decode(
            status: value("grpc-status").span, message: value("grpc-message").span,
            details: value("grpc-status-details-bin").span)
    }

    /// The messages of the body.
    var messages: [[UInt8]] {
        var deframer = MessageDeframer(limit: 16 << 20)
        deframer.append(body.span)
        var out: [[UInt8]] = []
        while let range = try? deframer.next() {
            out.append(deframer.withBytes(range) { [UInt8](copying: $0) })
        }
        return out
    }
}

/// Certificates, issued once for all tests of the process; contexts are made anew, so that nothing
/// resumes.
enum Credentials {
    private struct Issued {
        let fixture: CertificateFixture
        let server: CertificateFixture.Identity
        let ada: CertificateFixture.Identity
        let bob: CertificateFixture.Identity
    }

    private static let issued = Result<Issued, any Error> {
        let fixture = try CertificateFixture()
        var bob = CertificateFixture.Leaf()
        bob.subjectAltName = "URI:spiffe://triaged.example/bob"
        return Issued(
            fixture: fixture, server: try fixture.server(), ada: try fixture.leaf("ada"),
            bob: try fixture.leaf("bob", bob))
    }

    static func server(optional: Bool = false) throws -> TLSContext {
        let issued = try issued.get()
        return try TLSContext(
            .server(
                certificateChain: issued.server.certificate, privateKey: issued.server.privateKey,
                clientTrust: issued.fixture.root.certificate, crl: nil,
                clientCertificate: optional ? .optional : .required))
    }

    /// A client whose chain has one certificate more than it may.
    static func clientWithLongChain() throws -> TLSContext {
        let fixture = try issued.get().fixture
        var issuer = fixture.root
        for depth in 0...Limits.certificateIntermediatesMax {
            issuer = try fixture.authority("depth-\(depth)", under: issuer)
        }
        let identity = try fixture.leaf("deep", by: issuer)
        return try TLSContext(
            .client(
                certificateChain: identity.certificate, privateKey: identity.privateKey,
                serverTrust: fixture.root.certificate, serverName: "localhost"))
    }

    /// A client whose chain has its certificate so often that its session is not kept.
    static func clientWithWideChain() throws -> TLSContext {
        let issued = try issued.get()
        let copies = Limits.sessionChainBytesMax / 300
        let chain = try issued.fixture.directory.concatenate(
            "wide.pem", [String](repeating: issued.ada.certificate, count: copies))
        return try TLSContext(
            .client(
                certificateChain: chain, privateKey: issued.ada.privateKey,
                serverTrust: issued.fixture.root.certificate, serverName: "localhost"))
    }

    static func client(identified: Bool = true, isBob: Bool = false) throws -> TLSContext {
        let issued = try issued.get()
        let identity = isBob ? issued.bob : issued.ada
        return try TLSContext(
            .client(
                certificateChain: identified ? identity.certificate : nil,
                privateKey: identified ? identity.privateKey : nil,
                serverTrust: issued.fixture.root.certificate, serverName: "localhost"))
    }
}

/// One connection, both ends.
final class Machine {
    let core: ServerCore
    let connection: Connection
    let handler: RecordingHandler
    let tls: TLSSession
    let http2: HTTP2Session
    var seen: [Int32: Seen] = [:]
    var goAways: [(last: Int32, code: HTTP2ErrorCode)] = []
    /// The client has seen the server close TLS.
    private(set) var isClosed = false
    private let ownsCore: Bool
    /// The client sends nothing more, not even answers.
    var isMute = false
    /// Whether the client gives window for what it receives.
    var consumes = true

    /// Connects ada, or bob, to a server of its own or to that of another machine.
    init(
        limits: ServerLimits = ServerLimits(), identified: Bool = true, isBob: Bool = false,
        admission: Admission? = nil, windowBytes: Int = 1 << 20, handshake: Bool = true,
        beside other: Machine? = nil, door: Audience = .internal, client: TLSContext? = nil,
        memory: HTTP2Memory = HTTP2Memory()
    ) throws {
        ownsCore = other == nil
        if let other {
            core = other.core
            handler = other.handler
        } else {
            core = ServerCore(
                reactor: 0, reactorCount: 1, table: RecordingHandler.table, limits: limits,
                now: MonotonicTime(nanoseconds: 1_000_000_000_000))
            handler = RecordingHandler(core)
            core.start(handler)
        }
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = limits.concurrentStreamsMax
        settings.knowsBlocks = true
        let wire = Wire(
            try TLSSession(Credentials.server(optional: !identified)),
            try HTTP2Session(role: .server, settings: settings, pool: memory))
        let admission = admission ?? Admission(limits: limits)
        if let refused = admission.accept() { throw Refused(kind: refused) }
        connection = Connection(core, wire, admission, door)
        tls = try TLSSession(
            client ?? Credentials.client(identified: identified, isBob: isBob))
        var ours = HTTP2Settings()
        ours.streamWindowBytes = windowBytes
        http2 = try HTTP2Session(role: .client, settings: ours)
        if handshake { try self.handshake() }
    }

    deinit { if ownsCore { core.stop() } }

    struct Refused: Error { let kind: LimitKind }

    /// Lets time pass, and everything that it causes happen.
    func advance(milliseconds: UInt64) throws {
        core.now = core.now.advanced(byNanoseconds: milliseconds * 1_000_000)
        core.expireCalls()
        connection.sweep()
        core.resetStalledStreams()
        try turn()
    }

    /// Brings the first flight of the client to the server.
    func beginHandshake() throws {
        _ = try tls.handshake()
        toServer()
        _ = connection.advanceHandshake()
    }

    func handshake() throws {
        try shakeHands()
        try turn()
    }

    /// The handshake alone, however it ends.
    func shakeHands() throws {
        _ = try tls.handshake()
        for _ in 0..<4 {
            toServer()
            _ = connection.advanceHandshake()
            toClient()
            _ = try? tls.handshake()
        }
    }

    /// Moves bytes both ways, as often as it takes.
    func turn() throws {
        for _ in 0..<60 {
            try clientWrites()
            toServer()
            while case .more = connection.process() { endTurn() }
            core.deliver()
            endTurn()
            toClient()
            try clientReads()
            if connection.hasMoreOutput { connection.markDirty() }
            if connection.wire.tls.outputCount == 0, core.dirty.isEmpty, core.deliveries.isEmpty,
                !http2.wantsWrite, tls.outputCount == 0
            {
                return
            }
        }
    }

    private func endTurn() {
        core.handlerWasCalled = false
        handler.turnEnded()
        core.observe(at: core.now)
        let dirty = core.dirty
        core.dirty = []
        for index in dirty { core.connections[index]?.flush() }
    }

    private func clientWrites() throws {
        if isMute { return }
        var plaintext: [UInt8] = []
        _ = try http2.drain(into: &plaintext, atMost: .max)
        if !plaintext.isEmpty { try tls.write(plaintext.span) }
        handleClientEvents(plaintext)
    }

    /// Sends bytes as they are, for frames that no session would write.
    func sendRaw(_ bytes: [UInt8]) throws {
        try clientWrites()
        try tls.write(bytes.span)
        try turn()
    }

    private func toServer() {
        tls.withOutput { bytes in
            connection.wire.tls.receive(bytes)
            return bytes.count
        }
    }

    private func toClient() {
        connection.wire.tls.withOutput { bytes in
            tls.receive(bytes)
            return bytes.count
        }
    }

    private func clientReads() throws {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            switch try tls.read(into: &buffer) {
            case .bytes(let count):
                try http2.receive(buffer.span.extracting(first: count))
                handleClientEvents(buffer)
            case .needsInput: return
            case .closed:
                isClosed = true
                return
            }
        }
    }

    private func handleClientEvents(_ buffer: [UInt8]) {
        let headers = http2.headers
        func fields(_ block: HeaderBlock) -> [String: String] {
            var out: [String: String] = [:]
            for index in block.range {
                let field = headers.fields[index]
                let name =
                    field.token == .other
                    ? String(decoding: [UInt8](copying: headers.name(field)), as: UTF8.self)
                    : field.token.name.description
                out[name] = String(decoding: [UInt8](copying: headers.value(field)), as: UTF8.self)
            }
            return out
        }
        for event in http2.events {
            switch event {
            case .headers(let stream, let block):
                seen[stream.id, default: Seen()].fields = fields(block)
            case .trailers(let stream, let block):
                seen[stream.id, default: Seen()].trailers = fields(block)
            case .data(let stream, let offset, let count):
                seen[stream.id, default: Seen()].body += buffer[offset..<(offset + count)]
                if consumes { http2.consume(stream, count) }
            case .endStream(let stream): seen[stream.id, default: Seen()].isEnded = true
            case .streamClosed(let stream, let code):
                seen[stream.id, default: Seen()].closed = code
            case .goAwayReceived(let last, let code): goAways.append((last, code))
            default: break
            }
        }
        http2.clearEvents()
    }

    // MARK: Requests

    /// Opens a stream; `changes` replaces fields, an empty value removes one.
    func open(
        _ method: String, changes: [(String, String)] = [], endStream: Bool = false
    ) throws -> HTTP2Stream {
        var fields = [
            (":method", "POST"), (":scheme", "https"), (":path", "/t.T/" + method),
            (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc"),
        ]
        for (name, value) in changes {
            if let index = fields.firstIndex(where: { $0.0 == name }) {
                if value.isEmpty { fields.remove(at: index) } else { fields[index].1 = value }
            } else {
                fields.append((name, value))
            }
        }
        let stream = try http2.submitRequest(
            HeaderFields(fields.map { HeaderFields.Field($0.0, $0.1) }), userData: 0,
            endStream: endStream)
        seen[stream.id] = Seen()
        return stream
    }

    /// Sends body bytes as they are.
    func send(_ stream: HTTP2Stream, _ bytes: [UInt8], end: Bool = false) {
        http2.submitData(stream, bytes)
        if end { http2.endStream(stream) }
    }

    /// A whole call with one message; runs until nothing moves.
    func call(
        _ method: String, _ message: [UInt8] = [1, 2, 3], changes: [(String, String)] = []
    ) throws -> Seen {
        let stream = try open(method, changes: changes)
        send(stream, MessageFramer.frame(message.span), end: true)
        try turn()
        return seen[stream.id] ?? Seen()
    }

    func hits(_ kind: LimitKind) -> UInt64 { core.metrics.limits[kind] }
}

/// Answers in the ways that tests need, and remembers what it was told.
final class RecordingHandler: CallHandler {
    static let table = MethodTable([
        Method(path: "/t.T/Echo", clientStreaming: false, serverStreaming: false),
        Method(path: "/t.T/Hold", clientStreaming: false, serverStreaming: false),
        Method(path: "/t.T/Pull", clientStreaming: false, serverStreaming: true),
        Method(path: "/t.T/Push", clientStreaming: true, serverStreaming: false),
        Method(path: "/t.T/Fail", clientStreaming: false, serverStreaming: false),
        Method(path: "/t.T/Twice", clientStreaming: false, serverStreaming: false),
        Method(path: "/t.T/Nothing", clientStreaming: false, serverStreaming: false),
        Method(
            path: "/t.T/Probe", clientStreaming: false, serverStreaming: false,
            allowedWithoutIdentity: true),
        Method(
            path: "/t.T/Page", clientStreaming: false, serverStreaming: false,
            traits: .compressesReplies),
        Method(
            path: "/t.T/Meta", clientStreaming: false, serverStreaming: false,
            traits: [.readsMetadata, .readsTrace]),
        Method(
            path: "/t.T/Chat", clientStreaming: true, serverStreaming: true,
            traits: .compressesReplies),
        Method(path: "/t.T/Report", clientStreaming: false, serverStreaming: false, cost: 0),
        Method(path: "/t.T/List", clientStreaming: false, serverStreaming: false, cost: 3),
    ])
    static let failure = RPCError(
        .failedPrecondition, reason: "LEASE_NOT_HELD", message: "Claim again.",
        metadata: ["token": "7"])

    private unowned let core: ServerCore
    private(set) var held: [CallID] = []
    private(set) var pulls: [CallID] = []
    private(set) var pushed: [[UInt8]] = []
    private(set) var ended: [CallID] = []
    private(set) var cancelled: [(CallID, CancelReason)] = []
    private(set) var writable = 0
    private(set) var heads:
        [(method: Int, deadline: MonotonicTime, principal: String?, trace: Int)] = []
    private(set) var turns = 0
    private(set) var metadata: [MetadataField] = []
    private(set) var previousAttempts: [Int] = []
    /// Push asks for the next message by itself.
    var asksForMore = true
    /// Push answers when its input has ended.
    var answersEnd = true

    init(_ core: ServerCore) { self.core = core }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        heads.append(
            (
                head.method, head.deadline, head.peer.principal?.text,
                head.extras?.traceparent.count ?? 0
            ))
        previousAttempts.append(head.previousAttempts)
        switch head.method {
        case 9:
            metadata = head.extras?.metadata ?? []
            core.setMetadata(
                call, initial: [MetadataField("x-first", "1"), MetadataField("grpc-status", "0")],
                trailing: [MetadataField("x-last", "2")])
            if message.isEmpty { return core.finish(call, Self.failure) }
            core.respond(call, [UInt8](copying: message))
        case 0, 7, 8, 11, 12: core.respond(call, [UInt8](copying: message))
        case 1: held.append(call)
        case 2: pulls.append(call)
        case 4: core.finish(call, Self.failure)
        case 5:
            core.respond(call, [1])
            core.respond(call, [2])
        default: core.finish(call, nil)
        }
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) {
        heads.append(
            (
                head.method, head.deadline, head.peer.principal?.text,
                head.extras?.traceparent.count ?? 0
            ))
        held.append(call)
    }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        pushed.append([UInt8](copying: message))
        if asksForMore { core.requestMore(call) }
    }

    func streamInputEnded(_ call: CallID) {
        ended.append(call)
        if answersEnd { core.respond(call, [UInt8(pushed.count)]) }
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) { cancelled.append((call, reason)) }

    func streamWritable(_ call: CallID) { writable += 1 }

    func turnEnded() { turns += 1 }
}
