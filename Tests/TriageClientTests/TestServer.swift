// A real server in this process with methods that a client's tests need, and clients of it. What
// runs is real: threads, sockets, TLS; waiting is for what happens, with a limit that only a hang
// reaches.

import TestSupport
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS
import TriageTransport

@testable import TriageClient

/// What happens on other threads, for a test that waits for it.
final class Events: Sendable {
    /// Messages that `Count` has sent: too many to be named one by one.
    let counted = Lock(0)
    private let monitor = Monitor<[String]>([])
    private let clock = SystemClock()

    func add(_ name: String) { monitor.change { $0.append(name) } }

    var all: [String] { monitor.change { $0 } }

    func count(_ name: String) -> Int { all.count { $0.hasPrefix(name) } }

    private let hung = Monitor(false)

    /// Blocks the thread until ``wakeHung()``.
    func hang() { _ = hung.wait { $0 ? true : nil } }

    func wakeHung() { hung.change { $0 = true } }

    /// Waits until something that begins with `name` has happened so often.
    func wait(_ name: String, _ count: Int = 1) async -> Bool {
        await withCheckedContinuation { continuation in
            waiter.submit { [self] in
                let deadline = clock.monotonicTime().advanced(byNanoseconds: 600_000_000_000)
                let found: Bool? = monitor.wait(before: deadline) { events in
                    events.count { $0.hasPrefix(name) } >= count ? true : nil
                }
                continuation.resume(returning: found ?? false)
            }
        }
    }

    // Waiting blocks a thread: one of its own, not one of the pool that runs the tests.
    private let waiter: TaskThread

    init() throws { waiter = try TaskThread(name: "events") }
}

/// Answers the calls of one reactor.
private final class TestHandler: CallHandler {
    static let paths = [
        "Echo", "Flaky", "Hold", "Count", "Sum", "Chat", "Watch", "Meta", "Early",
        "Hang",
    ]
    static let table = MethodTable([
        Method(path: "/t.T/Echo", clientStreaming: false, serverStreaming: false),
        Method(
            path: "/t.T/Flaky", clientStreaming: false, serverStreaming: false,
            traits: .readsMetadata),
        Method(path: "/t.T/Hold", clientStreaming: false, serverStreaming: false),
        Method(path: "/t.T/Count", clientStreaming: false, serverStreaming: true),
        Method(path: "/t.T/Sum", clientStreaming: true, serverStreaming: false),
        Method(path: "/t.T/Chat", clientStreaming: true, serverStreaming: true),
        Method(path: "/t.T/Watch", clientStreaming: false, serverStreaming: true),
        Method(
            path: "/t.T/Meta", clientStreaming: false, serverStreaming: false,
            traits: .readsMetadata),
        Method(path: "/t.T/Early", clientStreaming: true, serverStreaming: false),
        Method(path: "/t.T/Hang", clientStreaming: false, serverStreaming: false),
    ])

    private unowned let responder: any CallResponder
    private let events: Events
    private var sums: [CallID: Int] = [:]
    private var counting: [CallID: (next: Int, last: Int)] = [:]
    private var chats: Set<CallID> = []
    private var held: [CallID] = []

    init(_ responder: any CallResponder, _ events: Events) {
        self.responder = responder
        self.events = events
    }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        let bytes = [UInt8](copying: message)
        switch Self.paths[head.method] {
        case "Echo": responder.respond(call, bytes)
        case "Flaky": flaky(call, attempt: head.previousAttempts, bytes)
        case "Count":
            counting[call] = (0, Int(String(decoding: bytes, as: UTF8.self)) ?? 0)
            streamWritable(call)
        case "Watch":
            guard responder.markLongLived(call) else { return }
            events.add("watching")
            _ = responder.send(call, bytes)
        case "Meta":
            let metadata = head.extras?.metadata ?? []
            responder.setMetadata(call, initial: metadata, trailing: metadata)
            responder.respond(call, Array(String(head.deadline != .never).utf8))
        case "Hang":
            events.hang()
            responder.respond(call, [])
        default:
            held.append(call)
            events.add("held")
        }
    }

    /// `FAILURES CODE PUSHBACK`: so many attempts fail, with that pushback; -2 for none.
    private func flaky(_ call: CallID, attempt: Int, _ message: [UInt8]) {
        events.add("attempt \(attempt)")
        let words = String(decoding: message, as: UTF8.self).split(separator: " ").compactMap {
            Int($0)
        }
        guard words.count == 3, attempt < words[0],
            let code = StatusCode(rawValue: UInt8(words[1]))
        else { return responder.respond(call, Array("after \(attempt)".utf8)) }
        responder.finish(
            call,
            RPCError(
                code, reason: "FLAKY", message: "Not now.",
                retryAfterMilliseconds: words[2] >= 0 ? Int64(words[2]) : nil))
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) {
        switch Self.paths[head.method] {
        case "Chat": chats.insert(call)
        case "Early":
            responder.finish(
                call, RPCError(.permissionDenied, reason: "EARLY", message: "Say no more."))
        default: sums[call] = 0
        }
    }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        if chats.contains(call) {
            events.add("chat")
            guard responder.send(call, [UInt8](copying: message)) == .queued else { return }
        } else {
            sums[call, default: 0] += message.count
        }
        responder.requestMore(call)
    }

    func streamInputEnded(_ call: CallID) {
        if chats.remove(call) != nil { return responder.finish(call, nil) }
        responder.respond(call, Array(String(sums.removeValue(forKey: call) ?? 0).utf8))
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) {
        counting[call] = nil
        chats.remove(call)
        events.add("cancelled \(reason)")
    }

    func streamWritable(_ call: CallID) {
        if chats.contains(call) { return responder.requestMore(call) }
        while let (next, last) = counting[call] {
            guard next < last else {
                counting[call] = nil
                return responder.finish(call, nil)
            }
            counting[call] = (next + 1, last)
            events.counted.withLock { $0 += 1 }
            let text = Array(String(next).utf8) + [UInt8](repeating: 0x20, count: 1_000)
            if responder.send(call, text) != .queued { return }
        }
    }

    func turnEnded() {}

    func release() {
        for call in held { responder.respond(call, [1]) }
        held = []
    }
}

private final class ReleaseJob: ReactorJob {
    func run(_ handler: any CallHandler) { (handler as? TestHandler)?.release() }
}

private struct TestFactory: CallHandlerFactory {
    let events: Events

    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler { TestHandler(responder, events) }
}

/// Certificates, issued once for all tests of the process.
enum Certificates {
    struct Issued: Sendable {
        let fixture: CertificateFixture
        let server: CertificateFixture.Identity
        let ada: CertificateFixture.Identity
        let bob: CertificateFixture.Identity
    }

    private static let result = Result<Issued, any Error> {
        let fixture = try CertificateFixture()
        return Issued(
            fixture: fixture, server: try fixture.server(), ada: try fixture.leaf("ada"),
            bob: try fixture.leaf(
                "bob", CertificateFixture.Leaf("URI:spiffe://triage.example/specialist/bob")))
    }

    static func issued() throws -> Issued { try result.get() }
}

/// A server that can be stopped and started again on its port.
final class TestServer: Sendable {
    let events: Events
    let server: Server
    var port: UInt16 { server.port }
    var endpoint: Endpoint { Endpoint(host: "127.0.0.1", port: port) }

    init(
        port: UInt16 = 0, events: Events? = nil, trust: String? = nil,
        _ change: (inout ServerLimits) -> Void = { _ in }
    ) throws {
        let issued = try Certificates.issued()
        self.events = try events ?? Events()
        var configuration = ServerConfiguration(
            host: "127.0.0.1", port: port,
            tls: try TLSContext(
                .server(
                    certificateChain: issued.server.certificate,
                    privateKey: issued.server.privateKey,
                    clientTrust: trust ?? issued.fixture.root.certificate, crl: nil,
                    clientCertificate: .required)),
            methods: TestHandler.table)
        // A busy machine is no stalled reader.
        configuration.limits.stalledStreamMillisecondsMax = 600_000
        configuration.limits.unaryMillisecondsMax = 600_000
        change(&configuration.limits)
        server = try Server(configuration, factory: TestFactory(events: self.events))
        try server.start()
    }

    /// Answers the calls that are held.
    func release() { for mailbox in server.mailboxes { mailbox.post(ReleaseJob()) } }

    /// Drains and ends.
    func stop() {
        server.beginDrain()
        server.waitUntilStopped()
    }
}

/// A client as ada, with a retry policy for every method, and what it did on its own.
struct TestClient: Sendable {
    let client: TriageClient
    let events: Events

    /// Waits as in `Protos/service_config.json`, but shorter.
    static let service = """
        {"loadBalancingConfig": [{"BALANCING": {}}],
         "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4,
           "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
           "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}],
         "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}
        """

    init(
        _ targets: [Endpoint], balancing: String = "pick_first",
        _ change: (inout ClientConfiguration) -> Void = { _ in }
    ) throws {
        let issued = try Certificates.issued()
        let events = try Events()
        self.events = events
        var configuration = ClientConfiguration(
            targets: targets, serverTrust: issued.fixture.root.certificate,
            certificateChain: issued.ada.certificate, privateKey: issued.ada.privateKey)
        configuration.service = try ServiceConfig(
            json: Array(
                Self.service.split(separator: "BALANCING").joined(separator: balancing).utf8))
        configuration.events = { event in
            let text =
                switch event {
                case .connected(let address, _): "connected \(address.port)"
                case .draining(let address): "draining \(address.port)"
                case .disconnected(let address, _): "disconnected \(address.port)"
                case .retrying(_, let attempt, _, _): "retrying \(attempt)"
                case .credentialsReloaded: "reloaded"
                case .credentialsRefused: "refused"
                case .pingsHalved: "halved"
                case .resolved, .unresolvable, .connecting: "\(event)"
                }
            events.add(text)
        }
        change(&configuration)
        client = try TriageClient(configuration)
    }

    /// The options of a call that may be repeated, and that a hang ends.
    static func options(_ change: (inout CallOptions) -> Void = { _ in }) -> CallOptions {
        var options = CallOptions(timeoutMilliseconds: 600_000)
        options.isIdempotent = true
        change(&options)
        return options
    }

    /// Calls a unary method with text.
    func call(
        _ name: String, _ message: String = "", _ options: CallOptions = Self.options()
    ) async throws(RPCError) -> String {
        String(
            decoding: try await client.unary(
                path: "/t.T/\(name)", message: Array(message.utf8), options: options),
            as: UTF8.self)
    }

    /// Calls it, and says how it failed; nil when it did not.
    func failure(
        _ name: String, _ message: String = "", _ options: CallOptions = Self.options()
    ) async -> RPCError? {
        do throws(RPCError) {
            _ = try await call(name, message, options)
            return nil
        } catch {
            return error
        }
    }
}
