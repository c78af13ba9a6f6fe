// The plaintext port for probes and metrics: three paths, loopback by default, one thread. Small
// enough to stay right when the rest is not. Knows nothing of what ready means or of what is
// measured.

import Synchronization
package import TriageBase
import TriageIO

/// What the admin port answers; the closures run on its thread.
package struct AdminRoutes: Sendable {
    /// `/livez`: the process can still do work.
    package var live: @Sendable () -> Bool
    /// `/readyz`: calls are served.
    package var ready: @Sendable () -> Bool
    /// `/metrics`: Prometheus text, given how often the limits of this port were hit.
    package var metrics: @Sendable (LimitHits) -> String

    /// Groups the answers.
    package init(
        live: @escaping @Sendable () -> Bool, ready: @escaping @Sendable () -> Bool,
        metrics: @escaping @Sendable (LimitHits) -> String
    ) {
        self.live = live
        self.ready = ready
        self.metrics = metrics
    }
}

/// One admin connection.
private final class AdminConnection {
    let socket: Socket
    let acceptedAt: MonotonicTime
    var request: [UInt8] = []
    var reply: [UInt8] = []
    var sent = 0

    init(_ socket: consuming Socket, acceptedAt: MonotonicTime) {
        self.socket = socket
        self.acceptedAt = acceptedAt
    }
}

/// What the thread of an admin port knows.
private struct AdminState {
    let loop: EventLoop
    var connections = [AdminConnection?](repeating: nil, count: Limits.adminConnectionsMax)
    var hits = LimitHits()
    /// The listener is not watched: there was no descriptor for who waits in it.
    var isResting = false
}

/// Serves `/livez`, `/readyz` and `/metrics` over HTTP/1.1, one request a connection.
package final class AdminListener: Sendable {
    private let listener: Mutex<Socket?>
    private let routes: AdminRoutes
    private let clock: any TimeSource
    private let wakeUp: WakeUp
    private let isStopping = Atomic<Bool>(false)
    private let thread = Mutex<Thread?>(nil)
    /// The port that is bound.
    package let port: UInt16

    private static let listenerToken: UInt64 = 0

    /// Binds the port; nothing is answered until ``start()``.
    ///
    /// - Parameters:
    ///   - host: An address or a name, for which the resolver is waited; loopback unless the
    ///     operator says otherwise.
    ///   - port: 0 lets the kernel choose.
    ///   - routes: The answers.
    ///   - clock: Time; the system's outside of tests.
    /// - Throws: ``TransportError``: `.unresolvable`, `.cannotListen` or `.socket`.
    package init(
        host: String, port: UInt16, routes: AdminRoutes, clock: any TimeSource = SystemClock()
    ) throws(TransportError) {
        let address = try Socket.address(of: host)
        do throws(SocketError) {
            wakeUp = try WakeUp()
            let listener = try Socket.listen(host: address, port: port, backlog: 32)
            self.port = try listener.localPort()
            self.listener = Mutex(consume listener)
        } catch {
            throw .cannotListen(host: host, port: port, error)
        }
        self.routes = routes
        self.clock = clock
    }

    /// Starts the thread that answers.
    ///
    /// - Throws: ``TransportError/socket(_:)``.
    package func start() throws(TransportError) {
        do throws(SocketError) {
            let made = try Thread(name: "admin", stackBytes: 512 << 10) { [self] in run() }
            thread.withLock { $0 = made }
        } catch {
            throw .socket(error)
        }
    }

    /// Stops answering and waits for the thread.
    package func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        wakeUp.wake()
        thread.withLock { $0.take() }?.join()
    }

    private func run() {
        guard let listener = listener.withLock({ $0.take() }), let loop = try? EventLoop(wakeUp),
            (try? loop.add(listener.descriptor, token: Self.listenerToken, .whileReadable)) != nil
        else { return }
        var state = AdminState(loop: loop)
        while !isStopping.load(ordering: .sequentiallyConsistent) {
            let isAlone = state.connections.allSatisfy { $0 == nil } && !state.isResting
            let before = clock.monotonicTime()
            let until = isAlone ? .never : before.advanced(byNanoseconds: 1_000_000_000)
            let count = loop.wait(until: until, now: before) {
                !isStopping.load(ordering: .sequentiallyConsistent)
            }
            let now = clock.monotonicTime()
            // Before the events: it is reported again at the next wait, if anybody waits in it.
            Self.watch(listener, &state)
            for index in 0..<count {
                let event = loop.event(index)
                if event.token == Self.listenerToken {
                    Self.accept(listener, &state, now)
                } else {
                    let slot = Int(event.token) - 1
                    if let connection = state.connections[slot], !advance(connection, &state.hits) {
                        state.connections[slot] = nil
                    }
                }
            }
            Self.endOld(&state, now)
        }
    }

    private static func endOld(_ state: inout AdminState, _ now: MonotonicTime) {
        let limit = UInt64(Limits.adminMillisecondsMax) * 1_000_000
        for slot in state.connections.indices {
            if let connection = state.connections[slot],
                now.nanoseconds(since: connection.acceptedAt) > limit
            {
                state.hits.count(.adminTime)
                state.connections[slot] = nil
            }
        }
    }

    private static func watch(_ listener: borrowing Socket, _ state: inout AdminState) {
        guard state.isResting else { return }
        state.isResting =
            (try? state.loop.add(listener.descriptor, token: listenerToken, .whileReadable)) == nil
    }

    private static func accept(
        _ listener: borrowing Socket, _ state: inout AdminState, _ now: MonotonicTime
    ) {
        do throws(SocketError) {
            guard let socket = try listener.accept() else { return }
            // Above the bound the socket is closed at once: a probe then tries again.
            guard let slot = state.connections.firstIndex(where: { $0 == nil }) else {
                return state.hits.count(.adminConnections)
            }
            let descriptor = socket.descriptor
            state.connections[slot] = AdminConnection(socket, acceptedAt: now)
            try state.loop.add(descriptor, token: UInt64(slot) + 1, .onChange)
        } catch {
            // No descriptors: probes fail until there are some, which is what they should say.
            // Watched meanwhile it would be reported for ever.
            state.hits.count(.descriptors)
            state.loop.remove(listener.descriptor)
            state.isResting = true
        }
    }

    /// Reads or writes; false when the connection is done.
    private func advance(_ connection: AdminConnection, _ hits: inout LimitHits) -> Bool {
        if connection.reply.isEmpty {
            var buffer = [UInt8](repeating: 0, count: 2_048)
            reading: while true {
                switch connection.socket.read(into: &buffer) {
                case .bytes(let count):
                    connection.request += buffer[0..<count]
                    if connection.request.count > Limits.adminRequestBytesMax {
                        hits.count(.adminRequestBytes)
                        return false
                    }
                case .wouldBlock: break reading
                case .ended:
                    // It sends nothing more, and may well wait for its answer.
                    guard Self.isComplete(connection.request) else { return false }
                    break reading
                case .failed: return false
                }
            }
            guard Self.isComplete(connection.request) else { return true }
            connection.reply = answer(connection.request, hits)
        }
        let reply = connection.reply
        while connection.sent < reply.count {
            let rest = reply.span.extracting(droppingFirst: connection.sent)
            switch connection.socket.write(rest) {
            case .bytes(let count): connection.sent += count
            case .wouldBlock: return true
            case .ended, .failed: return false
            }
        }
        connection.socket.endOutput()
        return false
    }

    /// True when the empty line that ends the header has come.
    static func isComplete(_ request: [UInt8]) -> Bool {
        let end = Array("\r\n\r\n".utf8)
        guard request.count >= end.count else { return false }
        for start in 0...(request.count - end.count)
        where request[start..<(start + end.count)].elementsEqual(end) { return true }
        return false
    }

    /// The whole reply to a request.
    func answer(_ request: [UInt8], _ hits: LimitHits = LimitHits()) -> [UInt8] {
        let line = request.prefix { $0 != 0x0D && $0 != 0x0A }
        let words = String(decoding: line, as: UTF8.self).split(
            separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
            return Self.reply("400 Bad Request", "bad request\n", isHead: false)
        }
        let isHead = words[0] == "HEAD"
        guard isHead || words[0] == "GET" else {
            return Self.reply("405 Method Not Allowed", "only GET and HEAD\n", isHead: false)
        }
        let path = words[1].prefix { $0 != "?" }
        switch path {
        case "/livez": return probe(routes.live(), isHead)
        case "/readyz": return probe(routes.ready(), isHead)
        case "/metrics":
            return Self.reply(
                "200 OK", routes.metrics(hits), type: "text/plain; version=0.0.4; charset=utf-8",
                isHead: isHead)
        default:
            return Self.reply(
                "404 Not Found", "there are /livez, /readyz and /metrics\n", isHead: isHead)
        }
    }

    private func probe(_ isGood: Bool, _ isHead: Bool) -> [UInt8] {
        isGood
            ? Self.reply("200 OK", "ok\n", isHead: isHead)
            : Self.reply("503 Service Unavailable", "not ready\n", isHead: isHead)
    }

    private static func reply(
        _ status: String, _ body: String, type: String = "text/plain; charset=utf-8", isHead: Bool
    ) -> [UInt8] {
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + (isHead ? [] : Array(body.utf8))
    }
}
