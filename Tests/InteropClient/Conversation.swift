// Calls as a script writes them: send, wait for a message, cancel, wait for the end. The calls live
// on the client's loop; the script waits on another thread, never longer than a bound.

import TriageBase
import TriageGRPC
import TriageIO
import TriageTransport

/// One connection to the server under test.
///
/// `@unchecked Sendable`: `connection` is touched on the loop's thread only.
final class InteropPeer: ClientConnectionReceiver, @unchecked Sendable {
    private let loop: ClientLoop
    private let endpoint: ClientEndpoint
    private var connection: ClientConnection?

    init(_ loop: ClientLoop, _ endpoint: ClientEndpoint) {
        self.loop = loop
        self.endpoint = endpoint
    }

    /// What a call is started with.
    struct Start: Sendable {
        var path: String
        var clientStreaming = false
        var serverStreaming = false
        var metadata: [MetadataField] = []
        var sendsGzip = false
        var timeoutMilliseconds: UInt64?
    }

    /// Starts a call.
    func call(_ start: Start) -> Conversation {
        let conversation = Conversation(loop)
        loop.post { [self] context in
            let deadline =
                start.timeoutMilliseconds.map {
                    context.preciseNow.advanced(byNanoseconds: $0 * 1_000_000)
                } ?? .never
            let method = ClientMethod(
                path: start.path, authority: "localhost", clientStreaming: start.clientStreaming,
                serverStreaming: start.serverStreaming, metadata: start.metadata,
                readsMetadata: true, sendsGzip: start.sendsGzip)
            do throws(TransportError) {
                let connection = try usable(context)
                let call = connection.open(method, deadline: deadline, receiver: conversation)
                conversation.began(connection, call)
            } catch {
                conversation.couldNotBegin("\(error)")
            }
        }
        return conversation
    }

    func close() { loop.post { [self] _ in connection?.close() } }

    private func usable(
        _ context: ClientLoopContext
    ) throws(TransportError) -> ClientConnection {
        if let connection, connection.state == .ready || connection.state == .connecting {
            return connection
        }
        let made = try context.connect(endpoint, receiver: self)
        connection = made
        return made
    }

    func connectionReady(_ connection: ClientConnection) {}
    func connectionDraining(_ connection: ClientConnection) {}
    func connectionEnded(_ connection: ClientConnection, _ error: TransportError) {}
}

/// One call, from the script's side.
///
/// `@unchecked Sendable`: `started` is touched on the loop's thread only; the rest is in a monitor.
final class Conversation: ClientCallReceiver, @unchecked Sendable {
    struct Message: Sendable {
        let bytes: [UInt8]
        let isCompressed: Bool
    }

    private struct State: Sendable {
        var initial: [MetadataField]?
        var trailing: [MetadataField] = []
        var messages: [Message] = []
        var isEnded = false
        var error: RPCError?
    }

    private let loop: ClientLoop
    private let clock = SystemClock()
    private let state = Monitor(State())
    private var started: (connection: ClientConnection, call: ClientCall)?

    /// How long the script waits for anything.
    private static let patienceNanoseconds: UInt64 = 10_000_000_000

    init(_ loop: ClientLoop) { self.loop = loop }

    // MARK: The script's side

    func send(_ message: [UInt8], compressed: Bool = false) {
        loop.post { [self] _ in
            guard let started else { return }
            _ = started.connection.send(started.call, message, compressed: compressed)
        }
    }

    func endInput() {
        loop.post { [self] _ in
            if let started { started.connection.endInput(started.call) }
        }
    }

    func cancel() {
        loop.post { [self] _ in
            if let started { started.connection.cancel(started.call) }
        }
    }

    /// The next message; nil when the call has ended.
    func next() throws(CaseFailure) -> Message? {
        try patiently("a message") { state -> Message?? in
            if !state.messages.isEmpty { return .some(state.messages.removeFirst()) }
            return state.isEnded ? .some(nil) : nil
        }
    }

    /// The end: nil for OK.
    func end() throws(CaseFailure) -> RPCError? {
        try patiently("the end") { state -> RPCError?? in
            state.isEnded ? .some(state.error) : nil
        }
    }

    var initialMetadata: [MetadataField] { state.change { $0.initial ?? [] } }
    var trailingMetadata: [MetadataField] { state.change { $0.trailing } }

    private func patiently<R>(
        _ what: String, _ body: (inout State) -> R?
    ) throws(CaseFailure) -> R {
        let deadline = clock.monotonicTime().advanced(byNanoseconds: Self.patienceNanoseconds)
        guard let result = state.wait(before: deadline, until: body) else {
            throw CaseFailure(text: "\(what) did not come in 10 s")
        }
        return result
    }

    // MARK: The loop's side

    func began(_ connection: ClientConnection, _ call: ClientCall?) {
        guard let call else { return couldNotBegin("the connection takes no calls") }
        started = (connection, call)
    }

    func couldNotBegin(_ text: String) {
        state.change { state in
            state.isEnded = true
            state.error = RPCError(.unavailable, reason: "CONNECTION_LOST", message: text)
        }
    }

    func metadataReceived(
        _ call: ClientCall, _ tag: Int, _ metadata: [MetadataField], isTrailing: Bool
    ) {
        state.change { state in
            if isTrailing { state.trailing += metadata } else { state.initial = metadata }
        }
    }

    func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>) {
        let isCompressed = started?.connection.isMessageCompressed(call) ?? false
        let received = Message(bytes: [UInt8](copying: message), isCompressed: isCompressed)
        state.change { $0.messages.append(received) }
    }

    func callWritable(_ call: ClientCall, _ tag: Int) {}

    func callEnded(_ call: ClientCall, _ tag: Int, _ end: ClientCallEnd) {
        state.change { state in
            state.isEnded = true
            state.error = end.error
        }
    }
}
