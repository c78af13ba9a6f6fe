// The seam between the wire and the services: what a call looks like to the code that answers it.
// Transport calls a CallHandler; the handler answers through a CallResponder. Everything here is
// confined to one reactor's thread, except ReactorMailbox, the door for other threads. Knows
// nothing of sockets, HTTP/2, protobuf or what the methods mean.

package import TriageBase

/// Names one call of one reactor; stale once the call has ended.
///
/// The generation makes a late completion for a closed call harmless: it no longer matches.
package struct CallID: Hashable, Sendable {
    /// Packed: reactor (8 bits), slot (24 bits), generation (32 bits).
    package let raw: UInt64

    /// Packs the parts; `reactor` below 256, `slot` below 2^24.
    package init(reactor: Int, slot: Int, generation: UInt32) {
        raw = UInt64(reactor) << 56 | UInt64(slot) << 32 | UInt64(generation)
    }

    /// Restores an id that crossed a thread as a number.
    package init(raw: UInt64) { self.raw = raw }

    /// The reactor that owns the call.
    package var reactor: Int { Int(raw >> 56) }
    /// The call's place in that reactor's table.
    package var slot: Int { Int(raw >> 32 & 0xFF_FFFF) }
    /// Which occupant of the slot.
    package var generation: UInt32 { UInt32(truncatingIfNeeded: raw) }
}

/// Whom a listener is for; each has a trust bundle of its own.
package enum Audience: UInt8, CaseIterable, Sendable {
    /// Our own services and specialists.
    case `internal`
    /// Partner teams.
    case partner
    /// External partners: agencies, hotlines.
    case external
}

/// What a connection knows of its peer, one instance a connection.
///
/// Reactor-confined. `attachment` lets the services keep what they resolved for this peer (roles,
/// skills), so that no call hashes a name.
package final class PeerContext {
    /// The verified identity; nil when the listener allows connections without a certificate.
    package let principal: Principal?
    /// Free for the services: their resolved view of the principal.
    package var attachment: AnyObject?

    /// Through which door it came.
    package let audience: Audience

    /// Describes a peer whose certificate was verified, or one without any.
    package init(principal: Principal?, audience: Audience = .internal) {
        self.principal = principal
        self.audience = audience
    }
}

/// What is known of a call when its handler is asked.
package struct CallHead {
    /// Index of the method in the ``MethodTable`` that the server was started with.
    package let method: Int
    /// Who calls.
    package let peer: PeerContext
    /// When the call ends with DEADLINE_EXCEEDED; the transport enforces it.
    package let deadline: MonotonicTime
    /// What only some calls have; nil when this one has none of it.
    package let extras: CallExtras?

    /// Groups the facts of a call.
    package init(
        method: Int, peer: PeerContext, deadline: MonotonicTime, extras: CallExtras? = nil
    ) {
        self.method = method
        self.peer = peer
        self.deadline = deadline
        self.extras = extras
    }

    /// How often the client's library has tried this call before.
    package var previousAttempts: Int { extras?.previousAttempts ?? 0 }
}

/// Why a call ended before its handler answered.
package enum CancelReason: Sendable {
    /// RST_STREAM from the client, or its connection is gone.
    case byClient
    /// The deadline passed; DEADLINE_EXCEEDED was already sent.
    case deadlineExceeded
    /// The server drains and the grace is over.
    case drained
}

/// Answers the calls of one reactor; one instance a reactor, called on its thread only.
package protocol CallHandler: AnyObject {
    /// A complete request of a method that takes exactly one message has arrived.
    ///
    /// The handler answers now or later through its ``CallResponder``. `message` is valid during
    /// the call only.
    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>)
    /// A call of a client-streaming method began.
    func streamOpened(_ call: CallID, _ head: borrowing CallHead)
    /// One message of such a call; the next is delivered after `CallResponder.requestMore`.
    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>)
    /// The client has sent its last message.
    func streamInputEnded(_ call: CallID)
    /// The call is over; answers to it are ignored from now on.
    func callCancelled(_ call: CallID, _ reason: CancelReason)
    /// A call's buffered output has drained below the low-water mark after `send` reported `.full`.
    func streamWritable(_ call: CallID)
    /// Everything that this loop turn brought has been delivered: hand over what was gathered.
    func turnEnded()
}

/// What became of a streamed message.
package enum SendOutcome: Sendable {
    /// Queued; more may follow.
    case queued
    /// Queued, but the call's buffer is above its high-water mark: wait for `streamWritable`.
    case full
    /// The call is over; the message was dropped.
    case gone
}

/// How a handler answers.
///
/// Implemented by the reactor; used on its thread only.
package protocol CallResponder: AnyObject {
    /// Answers a unary (or client-streaming) call with OK and one message.
    ///
    /// - Parameters:
    ///   - call: The call; a stale id is ignored.
    ///   - message: The serialised reply, without gRPC prefix.
    func respond(_ call: CallID, _ message: [UInt8])
    /// Answers such a call with a message that is copied: the way without an allocation for a small
    /// one that the handler has in a buffer of its own.
    func respond(_ call: CallID, copying message: Span<UInt8>)
    /// Sends one message of a server-streaming call.
    func send(_ call: CallID, _ message: [UInt8]) -> SendOutcome
    /// Sends the same messages to many server-streaming calls.
    ///
    /// - Parameters:
    ///   - messages: What each call gets.
    ///   - calls: Their ids as numbers, those of one connection best beside each other.
    ///   - report: Called for each call that is not `.queued`; it may not end or answer calls.
    func send(
        _ messages: [[UInt8]], to calls: [UInt64], _ report: (CallID, SendOutcome) -> Void)
    /// Ends a call: OK when `error` is nil (server streaming), else trailers-only or trailers with
    /// the error.
    func finish(_ call: CallID, _ error: RPCError?)
    /// Books bytes that the handler keeps for a call until its end against what its peer may hold.
    ///
    /// - Returns: False when that is used up: the call is over, with an error.
    func hold(_ call: CallID, bytes: Int) -> Bool
    /// Lets the next message of a client-streaming call come.
    func requestMore(_ call: CallID)
    /// Marks a streaming call as long-lived: a watch, or one that holds what others wait for.
    ///
    /// It counts against that limit, ends when the server drains, and, if its client streams, may
    /// not be silent for longer than a unary call may take, whatever its deadline.
    ///
    /// - Returns: False when the connection has too many already: the call is over, with an error.
    @discardableResult func markLongLived(_ call: CallID) -> Bool
    /// Sets what the reply carries besides messages and status; before the first message.
    ///
    /// - Parameters:
    ///   - call: The call; a stale id is ignored.
    ///   - initial: Sent with the headers.
    ///   - trailing: Sent with the status.
    func setMetadata(_ call: CallID, initial: [MetadataField], trailing: [MetadataField])
    /// Says which of the messages that follow are compressed, if the client accepts it.
    func setCompression(_ call: CallID, _ compression: ReplyCompression)
    /// The reactor's clock, read once a loop turn.
    var now: MonotonicTime { get }
}

/// Work for a reactor's thread, posted by another one.
package protocol ReactorJob: AnyObject, Sendable {
    /// Runs on the reactor's thread, with that reactor's handler.
    func run(_ handler: any CallHandler)
}

/// The thread-safe door to one reactor.
///
/// A post wakes the reactor only when it sleeps: batch the jobs of a turn into one.
package protocol ReactorMailbox: AnyObject, Sendable {
    /// Queues a job; returns at once.
    func post(_ job: any ReactorJob)
}

/// Makes the handler of each reactor, on that reactor's thread, before it serves.
package protocol CallHandlerFactory: Sendable {
    /// Makes the handler of reactor `reactor` (0-based).
    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler
}
