// The API's watches as a reader wants them: they go on over lost connections, servers that restart
// and revisions that are no longer kept, with no change lost and none told twice.

internal import TriageBase
package import TriageCodec
package import TriageGRPC

/// What a watch tells its reader.
package enum WatchEvent: Sendable {
    /// A message as the server sent it: something new, or a bookmark.
    case message(DynamicMessage)
    /// The thing of that name is not in what is watched any more; it left while nobody watched.
    case gone(name: String, revision: Int64)
    /// The stream has ended and is opened again, for this reason.
    case interrupted(RPCError)
}

/// One watch of the API.
package struct Watch: Sendable {
    private enum Subject: Sendable {
        case board(filter: DynamicMessage)
        case assignments
        case disclosure(name: String)
    }

    private let subject: Subject
    private let method: MethodSchema
    /// The field of a message that holds what has changed.
    private let item: String

    private init(_ subject: Subject, _ method: String, item: String) {
        self.subject = subject
        self.method = MethodSchema.named(method)
        self.item = item
    }

    /// The board, or the cases of it that a `CaseFilter` lets through.
    package static func board(filter: DynamicMessage) -> Watch {
        Watch(.board(filter: filter), "WatchBoard", item: "case")
    }

    /// The caller's assignments.
    package static let assignments = Watch(.assignments, "WatchAssignments", item: "assignment")

    /// One disclosure request, until it is approved or rejected.
    package static func disclosure(_ name: String) -> Watch {
        Watch(.disclosure(name: name), "WatchDisclosureRequest", item: "disclosure_request")
    }

    /// Pauses before a stream that broke is opened again.
    private static let backoff = Backoff.Shape(
        initial: 100_000_000, multiplier: 2, longest: 10_000_000_000)
    /// A stream that lasted so long, nanoseconds, has worked.
    private static let goodAfter: UInt64 = 10_000_000_000

    /// Follows the watch.
    ///
    /// Until it has begun, it fails like any other call; after that it waits for a server.
    ///
    /// - Parameters:
    ///   - client: Whose connections to use.
    ///   - revision: Begins after it; 0 with the whole state.
    ///   - options: How the first stream is opened; it should have no deadline.
    ///   - body: Told of everything in order; false ends the watch.
    /// - Throws: `RPCError`: what ends the watch for good, as `.permissionDenied`; `.cancelled`
    ///   when the task was cancelled.
    package func follow(
        _ client: TriageClient, from revision: Int64 = 0, options: CallOptions,
        _ body: (WatchEvent) async -> Bool
    ) async throws(RPCError) {
        var state = State(revision: revision, options: options)
        var random = SystemRandomNumberGenerator()
        var jitter = SeededRandom(seed: random.next())
        var backoff = Backoff(Self.backoff)
        var pause: UInt64 = 0
        while true {
            state.servedSince = nil
            let stream = client.serverStream(
                path: method.path, message: try request(state), options: state.options,
                pause: pause)
            do throws(RPCError) {
                guard try await read(stream, &state, client, body) else { return }
                return
            } catch {
                guard state.resumes(after: error), await body(.interrupted(error)) else {
                    throw error
                }
            }
            // Neither our pause nor the wait for a server is good time.
            if let since = state.servedSince, client.now.nanoseconds(since: since) > Self.goodAfter
            {
                backoff.reset()
            }
            pause = backoff.pause(&jitter)
        }
    }

    /// How far a watch is.
    private struct State {
        var revision: Int64
        var options: CallOptions
        var mirror = WatchMirror()
        var hasBegun = false
        /// When the first message of this stream came.
        var servedSince: MonotonicTime?

        init(revision: Int64, options: CallOptions) {
            self.revision = revision
            self.options = options
            if revision == 0 { mirror.restarted() }
        }

        /// Whether the watch goes on after its stream failed so.
        mutating func resumes(after error: RPCError) -> Bool {
            guard hasBegun else { return false }
            switch (error.code, error.reason) {
            case (.outOfRange, "REVISION_COMPACTED") where revision != 0: revision = 0
            // Other things are shown from now on.
            case (.aborted, "POLICY_CHANGED"): revision = 0
            case (.unavailable, _): break
            // The server cannot hold what waits for us, or gave up waiting until we take it. A
            // message that is too large for us would be so again.
            case (.resourceExhausted, "MESSAGE_TOO_LARGE"): return false
            case (.resourceExhausted, _), (.cancelled, "STREAM_RESET"): break
            default: return false
            }
            if revision == 0 { mirror.restarted() }
            options.waitsForReady = true
            return true
        }
    }

    private func request(_ state: State) throws(RPCError) -> [UInt8] {
        var request = DynamicMessage()
        switch subject {
        case .board(let filter):
            request["resume_revision"] = .long(state.revision)
            request["filter"] = .message(filter)
        case .assignments: request["resume_revision"] = .long(state.revision)
        case .disclosure(let name): request["name"] = .string(name)
        }
        do {
            return try method.request.encode(request)
        } catch {
            throw RPCError(.invalidArgument, reason: "REQUEST_INVALID", message: "\(error)")
        }
    }

    /// Reads one stream to its end.
    ///
    /// - Returns: False when the reader wants no more.
    private func read(
        _ stream: OpenCall, _ state: inout State, _ client: TriageClient,
        _ body: (WatchEvent) async -> Bool
    ) async throws(RPCError) -> Bool {
        while let bytes = try await stream.next() {
            let message: DynamicMessage
            do {
                message = try method.reply.decode(bytes.span)
            } catch {
                throw RPCError(
                    .internal, reason: "REPLY_UNREADABLE",
                    message: "The server's reply is not what the API says: \(error).")
            }
            state.hasBegun = true
            state.servedSince = state.servedSince ?? client.now
            for event in events(message, &state) {
                guard await body(event) else { return false }
            }
            if case .disclosure = subject { continue }
            state.revision = message.int("revision")
        }
        return true
    }

    /// What a message means to somebody who knows what the mirror knows.
    private func events(_ message: DynamicMessage, _ state: inout State) -> [WatchEvent] {
        if let thing = message.message(item) {
            // An assignment that has ended is sent once more, and never as removed.
            var isOver = false
            if case .assignments = subject { isOver = thing.time("end_time") != nil }
            let isNews = state.mirror.changed(
                thing.text("name"), revision: thing.int("revision"), isOver: isOver)
            return isNews ? [.message(message)] : []
        }
        let removed = message.text("removed_case")
        if !removed.isEmpty { return state.mirror.removed(removed) ? [.message(message)] : [] }
        let gone = state.mirror.caughtUp().map {
            WatchEvent.gone(name: $0, revision: message.int("revision"))
        }
        return gone + [.message(message)]
    }
}
