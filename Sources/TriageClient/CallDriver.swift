// The client's calls on its loop's thread: starts them on the connection, keeps replies until
// somebody takes them, and holds the server back when nobody does.

internal import TriageBase
internal import TriageGRPC
internal import TriageTransport

/// What a call is started with.
struct CallStart: Sendable {
    var tag: Int
    var path: String
    var messages: [[UInt8]]
    /// nil: no deadline.
    var timeoutMilliseconds: Int64?
    var serverStreaming: Bool
}

/// Where the next reply goes.
typealias ReplyContinuation = CheckedContinuation<Result<[UInt8]?, RPCError>, Never>

/// The calls of one client.
///
/// `@unchecked Sendable`: made on any thread, and from then on touched only by work that is posted
/// to its one loop, and by that loop's own call-backs.
final class CallDriver: @unchecked Sendable {
    private struct Pending {
        /// nil when the call could not be started.
        var started: (connection: ClientConnection, call: ClientCall)?
        var replies: [[UInt8]] = []
        var unsent: ArraySlice<[UInt8]>
        var isPaused = false
        var end: Result<[UInt8]?, RPCError>?
        var waiter: ReplyContinuation?
    }

    /// Replies that wait before the server is held back.
    private static let repliesMax = 16

    private let endpoint: ClientEndpoint
    private var connection: ClientConnection?
    private var methods: [String: ClientMethod] = [:]
    private var pending: [Int: Pending] = [:]
    /// Calls that the connection took down with it; they end once it has said why.
    private var lost: [Int] = []

    init(_ endpoint: ClientEndpoint) {
        self.endpoint = endpoint
    }

    /// Starts a call, on a new connection if there is none.
    func start(_ start: CallStart, _ context: ClientLoopContext) {
        let deadline =
            start.timeoutMilliseconds.map {
                context.preciseNow.advanced(byNanoseconds: UInt64($0) * 1_000_000)
            } ?? .never
        do throws(TransportError) {
            let connection = try usableConnection(context)
            let method = method(start)
            guard
                let call = connection.open(
                    method, deadline: deadline, tag: start.tag, receiver: self)
            else { throw TransportError.closed("it takes no further calls") }
            pending[start.tag] = Pending(
                started: (connection, call), unsent: start.messages[...])
            sendMore(start.tag)
        } catch {
            pending[start.tag] = Pending(unsent: [], end: .failure(unavailable(error)))
        }
    }

    /// Hands the next reply, or the end, to `continuation`, now or when it comes.
    func take(_ tag: Int, _ continuation: ReplyContinuation) {
        guard var call = pending[tag] else {
            return continuation.resume(returning: .success(nil))
        }
        if !call.replies.isEmpty {
            let reply = call.replies.removeFirst()
            let resumes = call.isPaused && call.replies.isEmpty
            if resumes { call.isPaused = false }
            pending[tag] = call
            if resumes, let started = call.started { started.connection.resume(started.call) }
            continuation.resume(returning: .success(reply))
        } else if let end = call.end {
            continuation.resume(returning: end)
        } else {
            pending[tag]?.waiter = continuation
        }
    }

    /// Ends a call at the wish of its task.
    func cancel(_ tag: Int) {
        guard let call = pending[tag], call.end == nil, let started = call.started else { return }
        started.connection.cancel(started.call)
    }

    /// Drops a call that nobody holds any more.
    func forget(_ tag: Int) {
        cancel(tag)
        pending[tag] = nil
    }

    private func usableConnection(
        _ context: ClientLoopContext
    ) throws(TransportError) -> ClientConnection {
        if let connection, connection.state == .ready || connection.state == .connecting {
            return connection
        }
        let made = try context.connect(endpoint, receiver: self)
        connection = made
        return made
    }

    private func method(_ start: CallStart) -> ClientMethod {
        if let known = methods[start.path] { return known }
        let made = ClientMethod(
            path: start.path, authority: endpoint.name.description, clientStreaming: true,
            serverStreaming: start.serverStreaming)
        methods[start.path] = made
        return made
    }

    private func sendMore(_ tag: Int) {
        guard var call = pending[tag], let (connection, started) = call.started else { return }
        while let message = call.unsent.popFirst() {
            let outcome = connection.send(started, message)
            pending[tag]?.unsent = call.unsent
            if case .queued = outcome { continue }
            return
        }
        connection.endInput(started)
    }

    private func end(_ tag: Int, _ result: Result<[UInt8]?, RPCError>) {
        guard let call = pending[tag] else { return }
        pending[tag]?.end = result
        if let waiter = call.waiter {
            pending[tag]?.waiter = nil
            waiter.resume(returning: result)
        }
    }

    private func unavailable(_ error: TransportError) -> RPCError {
        RPCError(
            .unavailable, reason: "CONNECTION_LOST", message: "\(endpoint.name): \(error)",
            metadata: ["endpoint": "\(endpoint.name)"])
    }
}

extension CallDriver: ClientCallReceiver {
    func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>) {
        guard pending[tag] != nil else { return }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(message.count)
        for index in message.indices { bytes.append(message[index]) }
        if let waiter = pending[tag]?.waiter {
            pending[tag]?.waiter = nil
            return waiter.resume(returning: .success(bytes))
        }
        pending[tag]?.replies.append(bytes)
        if (pending[tag]?.replies.count ?? 0) >= Self.repliesMax {
            pending[tag]?.isPaused = true
            pending[tag]?.started?.connection.pause(call)
        }
    }

    func callWritable(_ call: ClientCall, _ tag: Int) {
        sendMore(tag)
    }

    func callEnded(_ call: ClientCall, _ tag: Int, _ error: RPCError?) {
        if let error {
            if error.reason == "CONNECTION_LOST" { return lost.append(tag) }
            end(tag, .failure(error))
        } else {
            end(tag, .success(nil))
        }
    }
}

extension CallDriver: ClientConnectionReceiver {
    func connectionReady(_ connection: ClientConnection) {}

    func connectionDraining(_ connection: ClientConnection) {
        if self.connection === connection { self.connection = nil }
    }

    func connectionEnded(_ connection: ClientConnection, _ error: TransportError) {
        if self.connection === connection { self.connection = nil }
        let tags = lost
        lost = []
        for tag in tags { end(tag, .failure(unavailable(error))) }
    }
}
