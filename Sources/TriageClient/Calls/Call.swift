// One call from its start to its end, over all of its attempts: what is sent, what came, who waits
// for it. The channel moves it on; it decides nothing itself.

internal import TriageBase
internal import TriageCodec
internal import TriageGRPC
internal import TriageTransport

/// Where the next reply, or the end, goes.
typealias ReplyContinuation = CheckedContinuation<Result<[UInt8]?, RPCError>, Never>
/// Where the one reply of a method that does not stream goes, once the call has ended.
typealias ResultContinuation = CheckedContinuation<Result<[UInt8], RPCError>, Never>
/// Told when more may be sent.
typealias SendContinuation = CheckedContinuation<Result<Void, RPCError>, Never>
/// Where the server's own metadata goes.
typealias MetadataContinuation = CheckedContinuation<[MetadataField], Never>

/// A call of a client.
///
/// `@unchecked Sendable`: made by its caller, handed to the client's loop, and from then on touched
/// on the loop's thread only; what is `let` is read anywhere.
final class Call: @unchecked Sendable {
    /// Where a call is.
    ///
    ///     waiting ──connection──▶ active ──failed──▶ pausing ──time──▶ waiting
    ///        └───────────────────────┴──────────────────┴──▶ ended
    enum Phase {
        /// For a connection with room.
        case waiting
        /// On a connection, which is that member of the pool.
        case active(ClientConnection, ClientCall, member: Int)
        /// Until it is tried again.
        case pausing(until: MonotonicTime)
        case ended(RPCError?)
    }

    let path: String
    let kind: CallKind
    let options: CallOptions
    let policy: ServiceConfig.MethodPolicy
    let deadline: MonotonicTime
    /// When its first attempt may be made.
    let startAt: MonotonicTime

    var phase = Phase.waiting
    /// Place in the channel's table, once it has started.
    var slot = -1
    var retry: RetryState
    var requests = RequestQueue()
    var replies = ReplyQueue()
    /// The connection's buffer for it is full.
    var isBlocked = false
    /// The connection was told that nothing follows.
    var isInputEnded = false
    /// Of the attempt that is the call's last.
    var initialMetadata: [MetadataField]?
    var trailingMetadata: [MetadataField] = []
    /// Why the last attempt failed.
    var lastFailure: RPCError?

    var resultReader: ResultContinuation?
    var readers = Fifo<ReplyContinuation>()
    var senders = Fifo<SendContinuation>()
    var metadataReaders = Fifo<MetadataContinuation>()

    /// Describes a call; nothing happens yet.
    ///
    /// Its deadline counts from `now`; its first attempt is made `pause` nanoseconds later.
    init(
        path: String, kind: CallKind, options: CallOptions, policy: ServiceConfig.MethodPolicy,
        now: MonotonicTime, pause: UInt64 = 0
    ) {
        startAt = now.advanced(byNanoseconds: pause)
        self.path = path
        self.kind = kind
        self.options = options
        self.policy = policy
        retry = RetryState(policy.retry)
        deadline =
            switch options.deadline {
            case .published:
                if let timeout = policy.timeout {
                    now.advanced(byNanoseconds: timeout)
                } else if kind.serverStreams {
                    .never
                } else {
                    now.advanced(
                        byNanoseconds: UInt64(Limits.clientCallMilliseconds) * 1_000_000)
                }
            case .after(let milliseconds):
                now.advanced(
                    byNanoseconds: UInt64(min(max(1, milliseconds), .max / 1_000_000)) * 1_000_000)
            case .at(let time): time
            case .never: .never
            }
    }

    /// A watch or the like: it counts against what one connection may hold of these.
    var isLongLived: Bool { kind.serverStreams && deadline == .never }
    var waitsForReady: Bool { options.waitsForReady ?? policy.waitsForReady }
    var requestBytesMax: Int { policy.requestBytesMax ?? Int.max }

    var isEnded: Bool {
        if case .ended = phase { true } else { false }
    }

    /// Nothing is tried again any more.
    func commit() {
        retry.commit()
        requests.commit()
    }

    /// Another attempt: as if nothing had been sent or received.
    func rewind() {
        requests.rewind()
        isBlocked = false
        isInputEnded = false
        initialMetadata = nil
        trailingMetadata = []
    }

    /// Whether it does no harm when the server carries it out twice.
    ///
    /// Of the API's methods the service configuration gives a retry policy to reads, and to writes
    /// that carry a `request_id`, whose repeats the server answers from its memory.
    var mayRepeat: Bool {
        if let said = options.isIdempotent { return said }
        guard policy.retry != nil,
            let schema = MethodSchema.all.first(where: { $0.path == path })
        else { return false }
        guard schema.request.fieldNames.contains("request_id") else { return true }
        guard let first = requests.first, let message = try? schema.request.decode(first.span)
        else { return false }
        return !message.text("request_id").isEmpty
    }

    // MARK: Those who wait

    /// Gives the one reply to whoever waits for it: it counts only when the status says so.
    func wakeResultReader() {
        guard case .ended(let error) = phase, let reader = resultReader else { return }
        resultReader = nil
        if let error {
            reader.resume(returning: .failure(error))
        } else {
            // The connection has seen to it that there is one.
            reader.resume(
                returning: replies.next().map { .success($0) } ?? .failure(Self.replyMissing))
        }
    }

    /// Gives the next reply, or the end, to whoever waits for it.
    func wakeReaders() {
        while !readers.isEmpty {
            if let message = replies.next() {
                readers.popFirst()?.resume(returning: .success(message))
            } else if case .ended(let error) = phase {
                readers.popFirst()?.resume(returning: error.map { .failure($0) } ?? .success(nil))
            } else {
                return
            }
        }
    }

    /// Lets those go on who wait to send.
    func wakeSenders() {
        if case .ended(let error) = phase {
            let end = error ?? Self.over
            while let sender = senders.popFirst() { sender.resume(returning: .failure(end)) }
        }
        while requests.unsentBytes <= Limits.unsentBytesMax, let sender = senders.popFirst() {
            sender.resume(returning: .success(()))
        }
    }

    /// Tells those who wait for it what the server's own metadata is.
    func wakeMetadataReaders() {
        guard initialMetadata != nil || isEnded else { return }
        while let reader = metadataReaders.popFirst() {
            reader.resume(returning: initialMetadata ?? [])
        }
    }

    private static let replyMissing = RPCError(
        .internal, reason: "RESPONSE_CARDINALITY", message: "The server sent no reply.")

    /// The server has ended the call with OK before everything was sent.
    static let over = RPCError(
        .cancelled, reason: "CALL_OVER", message: "The call has ended: nothing more can be sent.")
}
