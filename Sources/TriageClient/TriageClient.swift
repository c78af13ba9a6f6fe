// Calls as async functions, for the command line, tests and Swift partners. One connection, made
// with the first call and made again after it was lost; messages are bytes, their meaning is the
// caller's.

internal import Synchronization
package import TriageGRPC
internal import TriageTransport

/// A client of one server.
///
/// Any number of calls may run at once, from any task.
package final class TriageClient: Sendable {
    private let loop: ClientLoop
    private let driver: CallDriver
    private let nextTag = Atomic<Int>(1)

    /// Loads the identity and starts the client's thread; connects with the first call.
    ///
    /// - Parameter configuration: Where to and as whom.
    /// - Throws: `RPCError` `.failedPrecondition`, reason `CLIENT_IDENTITY`, when a file cannot be
    ///   used; `.unavailable` when the host has no address or the system has no thread left.
    package init(_ configuration: ClientConfiguration) throws(RPCError) {
        let endpoint = try configuration.endpoint()
        do {
            loop = try ClientLoop()
            try loop.start()
        } catch {
            throw RPCError(.unavailable, reason: "CLIENT_START", message: "\(error)")
        }
        driver = CallDriver(endpoint)
    }

    /// Ends every call and the client's thread.
    ///
    /// Not from a call's own task.
    package func close() {
        loop.stop()
    }

    /// Calls a unary method.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - message: The serialised request.
    ///   - timeoutMilliseconds: The call's deadline, sent to the server and enforced here.
    /// - Returns: The serialised reply.
    /// - Throws: `RPCError` as the server gave it; `.cancelled` when the task was cancelled.
    package func unary(
        path: String, message: [UInt8], timeoutMilliseconds: Int64
    ) async throws(RPCError) -> [UInt8] {
        try await clientStream(
            path: path, messages: [message], timeoutMilliseconds: timeoutMilliseconds)
    }

    /// Calls a method with a stream of messages and one reply.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - messages: The serialised requests, in order.
    ///   - timeoutMilliseconds: The call's deadline.
    /// - Returns: The serialised reply.
    /// - Throws: As ``unary(path:message:timeoutMilliseconds:)``.
    package func clientStream(
        path: String, messages: [[UInt8]], timeoutMilliseconds: Int64
    ) async throws(RPCError) -> [UInt8] {
        let tag = nextTag.add(1, ordering: .relaxed).newValue
        let stream = ReplyStream(loop: loop, driver: driver, tag: tag)
        start(
            CallStart(
                tag: tag, path: path, messages: messages,
                timeoutMilliseconds: timeoutMilliseconds, serverStreaming: false))
        guard let reply = try await stream.next() else {
            throw RPCError(
                .internal, reason: "REPLY_MISSING", message: "The server answered without a reply.")
        }
        // A unary call has succeeded only when its status says so.
        guard try await stream.next() == nil else {
            throw RPCError(
                .internal, reason: "RESPONSE_CARDINALITY", message: "The server sent two replies.")
        }
        return reply
    }

    /// Calls a server-streaming method.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - message: The serialised request.
    /// - Returns: The serialised replies; dropping it cancels the call.
    package func serverStream(path: String, message: [UInt8]) -> ReplyStream {
        let tag = nextTag.add(1, ordering: .relaxed).newValue
        let stream = ReplyStream(loop: loop, driver: driver, tag: tag)
        start(
            CallStart(
                tag: tag, path: path, messages: [message], timeoutMilliseconds: nil,
                serverStreaming: true))
        return stream
    }

    private func start(_ call: CallStart) {
        loop.post { [driver] context in driver.start(call, context) }
    }
}

/// The replies of a call, in order; ends when the call ends with OK, throws `RPCError` otherwise.
package final class ReplyStream: AsyncSequence, AsyncIteratorProtocol, Sendable {
    package typealias Element = [UInt8]
    package typealias Failure = RPCError

    private let loop: ClientLoop
    private let driver: CallDriver
    private let tag: Int

    init(loop: ClientLoop, driver: CallDriver, tag: Int) {
        self.loop = loop
        self.driver = driver
        self.tag = tag
    }

    deinit {
        loop.post { [driver, tag] _ in driver.forget(tag) }
    }

    package func makeAsyncIterator() -> ReplyStream { self }

    /// The next reply; nil when the call has ended with OK.
    ///
    /// - Throws: `RPCError`: the call's status; `.cancelled` when the task was cancelled.
    package func next() async throws(RPCError) -> [UInt8]? {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.post { [driver, tag] _ in driver.take(tag, continuation) }
            }
        } onCancel: {
            loop.post { [driver, tag] _ in driver.cancel(tag) }
        }
        return try result.get()
    }

    package func next(
        isolation actor: isolated (any Actor)?
    ) async throws(RPCError) -> [UInt8]? {
        try await next()
    }
}
