// Calls as async functions, for the command line, tests and Swift partners: over as many
// connections to as many servers as it takes. Messages are bytes, their meaning is the caller's.

internal import TriageBase
package import TriageGRPC
internal import TriageTransport

/// A client of one service, wherever its servers are.
///
/// Connects with the first call. Any number of calls may run at once, from any task; a cancelled
/// task cancels its call at the server.
///
/// What is tried again, and when, is in decision 0017.
package final class TriageClient: Sendable {
    private let loop: ClientLoop
    private let channel: Channel
    private let service: ServiceConfig

    /// Loads the identity and starts the client's thread.
    ///
    /// - Parameter configuration: Where to and as whom; at least one target.
    /// - Throws: `RPCError` `.failedPrecondition`, reason `CLIENT_IDENTITY`, when a file cannot be
    ///   used; `.unavailable`, reason `CLIENT_START`, when the system has no thread left.
    package init(_ configuration: ClientConfiguration) throws(RPCError) {
        precondition(!configuration.targets.isEmpty, "a client has somewhere to connect to")
        let credentials = try configuration.credentials()
        do {
            loop = try ClientLoop()
            try loop.start()
        } catch {
            throw RPCError(.unavailable, reason: "CLIENT_START", message: "\(error)")
        }
        service = configuration.service
        let channel = Channel(configuration, credentials, loop)
        self.channel = channel
        loop.post { channel.begin($0) }
    }

    deinit {
        loop.post { [channel] _ in channel.shutDown() }
        loop.end()
    }

    /// Ends every call and the client's thread; calls after it fail with CANCELLED.
    ///
    /// Not to be called twice at once.
    package func close() {
        loop.post { [channel] _ in channel.shutDown() }
        loop.stop()
    }

    // MARK: Calls

    /// Calls a unary method.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - message: The serialised request.
    ///   - options: How.
    /// - Returns: The serialised reply.
    /// - Throws: `RPCError` as the server gave it; `.cancelled` when the task was cancelled;
    ///   `.unavailable` when no server answers. `metadata["attempts"]` says how often it was tried,
    ///   if more than once.
    package func unary(
        path: String, message: [UInt8], options: CallOptions = CallOptions()
    ) async throws(RPCError) -> [UInt8] {
        let call = make(path, .unary, options)
        let result: Result<[UInt8], RPCError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = loop.post { [channel] _ in
                    channel.start(call)
                    channel.send(call, message, nil)
                    channel.endInput(call)
                    channel.readResult(call, continuation)
                }
                if !isTaken { continuation.resume(returning: .failure(Channel.closedError)) }
            }
        } onCancel: {
            loop.post { [channel] _ in channel.cancel(call) }
        }
        return try result.get()
    }

    /// Calls a method that takes a stream of messages and gives one reply.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - options: How.
    ///   - produce: Sends the messages; the stream ends when it returns. `send` waits while the
    ///     server is slower, and throws when the call has ended.
    /// - Returns: The serialised reply.
    /// - Throws: As ``unary(path:message:options:)``; also what `produce` throws, after the call
    ///   was cancelled.
    package func clientStream(
        path: String, options: CallOptions = CallOptions(),
        _ produce: (OpenCall) async throws(RPCError) -> Void
    ) async throws(RPCError) -> [UInt8] {
        let call = open(path: path, .clientStream, options: options)
        do throws(RPCError) {
            try await produce(call)
        } catch {
            guard error.reason == Call.over.reason else {
                call.cancel()
                throw error
            }
            // The server has answered without having heard everything.
        }
        call.endInput()
        return try await call.result()
    }

    /// Calls a method that gives a stream of replies.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - message: The serialised request.
    ///   - options: How.
    /// - Returns: The serialised replies; dropping it cancels the call. The server is held back
    ///   while nobody reads them.
    package func serverStream(
        path: String, message: [UInt8], options: CallOptions = CallOptions()
    ) -> OpenCall {
        serverStream(path: path, message: message, options: options, pause: 0)
    }

    /// As the public one, but begins only after `pause` nanoseconds.
    func serverStream(
        path: String, message: [UInt8], options: CallOptions, pause: UInt64
    ) -> OpenCall {
        let call = start(make(path, .serverStream, options, pause: pause))
        call.sendOnly(message)
        return call
    }

    /// The clock that deadlines of calls are counted by.
    var now: MonotonicTime { loop.now }

    /// Begins a call of any kind, whose messages and replies its caller moves.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - kind: What the method is.
    ///   - options: How.
    /// - Returns: The call; dropping it cancels it.
    package func open(
        path: String, _ kind: CallKind, options: CallOptions = CallOptions()
    ) -> OpenCall {
        start(make(path, kind, options))
    }

    private func start(_ call: Call) -> OpenCall {
        loop.post { [channel] _ in channel.start(call) }
        return OpenCall(loop, channel, call)
    }

    private func make(
        _ path: String, _ kind: CallKind, _ options: CallOptions, pause: UInt64 = 0
    ) -> Call {
        Call(
            path: path, kind: kind, options: options, policy: service.policy(path), now: loop.now,
            pause: pause)
    }
}

/// A call that has begun: its messages, its replies in order, and its end.
///
/// As a sequence it ends when the call ends with OK, and throws `RPCError` otherwise. Sending and
/// receiving may be done by two tasks at once.
package final class OpenCall: AsyncSequence, AsyncIteratorProtocol, Sendable {
    package typealias Element = [UInt8]
    package typealias Failure = RPCError

    private let loop: ClientLoop
    private let channel: Channel
    private let call: Call

    init(_ loop: ClientLoop, _ channel: Channel, _ call: Call) {
        self.loop = loop
        self.channel = channel
        self.call = call
    }

    deinit { cancel() }

    package func makeAsyncIterator() -> OpenCall { self }

    /// Sends a message; returns when there is room for the next.
    ///
    /// - Throws: `RPCError`: the call's status, if it has failed; `.cancelled`, reason `CALL_OVER`,
    ///   when the server has ended it with OK, reason `CANCELLED` when the task was cancelled.
    package func send(_ message: [UInt8]) async throws(RPCError) {
        let result: Result<Void, RPCError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = loop.post { [channel, call] _ in
                    channel.send(call, message, continuation)
                }
                if !isTaken { continuation.resume(returning: .failure(Channel.closedError)) }
            }
        } onCancel: {
            cancel()
        }
        try result.get()
    }

    /// Says that no further message follows.
    package func endInput() {
        loop.post { [channel, call] _ in channel.endInput(call) }
    }

    /// The next reply; nil when the call has ended with OK.
    ///
    /// - Throws: `RPCError`: the call's status; `.cancelled` when the task was cancelled.
    package func next() async throws(RPCError) -> [UInt8]? {
        let result: Result<[UInt8]?, RPCError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = loop.post { [channel, call] _ in channel.read(call, continuation) }
                if !isTaken { continuation.resume(returning: .failure(Channel.closedError)) }
            }
        } onCancel: {
            cancel()
        }
        return try result.get()
    }

    package func next(
        isolation actor: isolated (any Actor)?
    ) async throws(RPCError) -> [UInt8]? {
        try await next()
    }

    /// The server's own metadata, once its headers have come; none when the call has failed before.
    package func initialMetadata() async -> [MetadataField] {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = loop.post { [channel, call] _ in
                    channel.readMetadata(call, continuation)
                }
                if !isTaken { continuation.resume(returning: []) }
            }
        } onCancel: {
            cancel()
        }
    }

    /// What came with the status; none before the call has ended.
    package func trailingMetadata() async -> [MetadataField] {
        await withCheckedContinuation { continuation in
            let isTaken = loop.post { [call] _ in
                continuation.resume(returning: call.isEnded ? call.trailingMetadata : [])
            }
            if !isTaken { continuation.resume(returning: []) }
        }
    }

    /// Ends the call; nothing happens when it has ended.
    package func cancel() {
        loop.post { [channel, call] _ in channel.cancel(call) }
    }

    /// Sends the one message of a method that takes one.
    func sendOnly(_ message: [UInt8]) {
        loop.post { [channel, call] _ in
            channel.send(call, message, nil)
            channel.endInput(call)
        }
    }

    /// The one reply of a method that does not stream, once the call has ended with OK.
    func result() async throws(RPCError) -> [UInt8] {
        let result: Result<[UInt8], RPCError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = loop.post { [channel, call] _ in
                    channel.readResult(call, continuation)
                }
                if !isTaken { continuation.resume(returning: .failure(Channel.closedError)) }
            }
        } onCancel: {
            cancel()
        }
        return try result.get()
    }
}
