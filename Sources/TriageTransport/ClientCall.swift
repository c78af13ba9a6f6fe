// The vocabulary of the client side: what may be called, how a call is named, who hears of it.
// Knows nothing of sockets or threads.

import TriageBase
package import TriageGRPC
import TriageHTTP2

/// Names one call of one ``ClientConnection``; stale once the call has ended.
package struct ClientCall: Hashable, Sendable {
    let slot: Int32
    let generation: UInt32
}

/// A method as one loop calls it: its header fields are laid out once.
///
/// - Isolation: confined to one loop's thread; make one per loop and method.
package final class ClientMethod {
    /// Largest message taken from a server, bytes, unless a method says otherwise; gRPC's usual
    /// default.
    package static let replyBytesMax = 4 << 20

    /// `/package.Service/Method`.
    package let path: String
    /// The client sends a stream of messages.
    package let clientStreaming: Bool
    /// The server sends a stream of messages.
    package let serverStreaming: Bool
    /// The receiver is told the server's own metadata.
    package let readsMetadata: Bool
    /// Largest message taken from the server, bytes, unpacked.
    package let replyBytesMax: Int

    private let fields: [HeaderFields.Field]
    private let plain: HeaderFields
    private var timed: (nanoseconds: UInt64, fields: HeaderFields)?

    /// Describes a method.
    ///
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - authority: `host:port` of the server.
    ///   - clientStreaming: The client sends a stream.
    ///   - serverStreaming: The server sends a stream.
    ///   - metadata: Sent with every call; gRPC's own names are not allowed.
    ///   - readsMetadata: The receiver is told the server's own metadata.
    ///   - sendsGzip: Messages may be sent compressed.
    ///   - replyBytesMax: Largest message taken from the server.
    package init(
        path: String, authority: String, clientStreaming: Bool = false,
        serverStreaming: Bool = false, metadata: [MetadataField] = [],
        readsMetadata: Bool = false, sendsGzip: Bool = false,
        replyBytesMax: Int = ClientMethod.replyBytesMax
    ) {
        self.path = path
        self.clientStreaming = clientStreaming
        self.serverStreaming = serverStreaming
        self.readsMetadata = readsMetadata
        self.replyBytesMax = replyBytesMax
        let encoding = sendsGzip ? [("grpc-encoding", "gzip")] : []
        let own = [
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", authority),
            ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "triaged-swift/1"),
            ("grpc-accept-encoding", MessageEncoding.accepted),
        ]
        fields =
            (own + encoding).map { HeaderFields.Field($0.0, $0.1) } + Self.custom(metadata)
        plain = HeaderFields(fields)
    }

    /// The request headers of a call.
    ///
    /// - Parameters:
    ///   - timeout: How long it may take, nanoseconds; nil: without a deadline.
    ///   - extra: What this call alone carries.
    /// - Returns: Its header block.
    func headers(timeout: UInt64?, extra: ClientCallExtra? = nil) -> HeaderFields {
        if extra == nil {
            guard let timeout else { return plain }
            if let timed, timed.nanoseconds == timeout { return timed.fields }
        }
        var all = fields
        if let extra {
            if extra.previousAttempts > 0 {
                all.append(
                    HeaderFields.Field(
                        "grpc-previous-rpc-attempts", String(extra.previousAttempts)))
            }
            all += Self.custom(extra.metadata)
        }
        if let timeout {
            all.append(
                HeaderFields.Field(
                    Array("grpc-timeout".utf8), Timeout.format(nanoseconds: timeout)))
        }
        let made = HeaderFields(all)
        if extra == nil, let timeout { timed = (timeout, made) }
        return made
    }

    private static func custom(_ metadata: [MetadataField]) -> [HeaderFields.Field] {
        metadata.filter { !Metadata.isReserved($0.name.span) }
            .map { HeaderFields.Field($0.name, $0.value) }
    }
}

/// What one call's headers carry besides its method's.
package struct ClientCallExtra: Sendable {
    /// Sent with this call only; gRPC's own names are left out.
    package var metadata: [MetadataField]
    /// How often the call was tried before: `grpc-previous-rpc-attempts`, gRPC proposal A6.
    package var previousAttempts: Int

    /// Groups the two.
    package init(metadata: [MetadataField] = [], previousAttempts: Int = 0) {
        self.metadata = metadata
        self.previousAttempts = previousAttempts
    }
}

/// How a call came to its end.
package struct ClientCallEnd: Sendable {
    /// Why it failed; nil for OK.
    package var error: RPCError?
    /// The server has surely not begun with it: refused, or never sent.
    package var isUnprocessed = false
    /// What the server says of another attempt.
    package var pushback = RetryPushback.none

    /// OK.
    static let ok = ClientCallEnd(error: nil)
}

/// What a server says of another attempt: `grpc-retry-pushback-ms`.
///
/// Source: gRPC proposal A6 "Pushback".
package enum RetryPushback: Equatable, Sendable {
    /// Nothing.
    case none
    /// After so many milliseconds.
    case after(milliseconds: Int64)
    /// Not at all.
    case never
}

/// Hears of calls, on the loop's thread; one object may serve any number of them.
///
/// `tag` is the number that the call was started with.
package protocol ClientCallReceiver: AnyObject {
    /// A message came; its bytes are valid during the call only.
    func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>)
    /// The server's own metadata came, with its headers or with the status; only of methods that
    /// read it.
    func metadataReceived(
        _ call: ClientCall, _ tag: Int, _ metadata: [MetadataField], isTrailing: Bool)
    /// A client stream may send again after ``ClientConnection/send(_:_:)`` said `.full`.
    func callWritable(_ call: ClientCall, _ tag: Int)
    /// The call is over. Nothing follows.
    func callEnded(_ call: ClientCall, _ tag: Int, _ end: ClientCallEnd)
}

extension ClientCallReceiver {
    package func metadataReceived(
        _ call: ClientCall, _ tag: Int, _ metadata: [MetadataField], isTrailing: Bool
    ) {}
}

/// Hears of connections, on the loop's thread.
package protocol ClientConnectionReceiver: AnyObject {
    /// Calls may be started: the server has let us in and said how many.
    func connectionReady(_ connection: ClientConnection)
    /// The server asks for no further calls here; those that run go on.
    func connectionDraining(_ connection: ClientConnection)
    /// The connection is over; its calls have ended with UNAVAILABLE.
    func connectionEnded(_ connection: ClientConnection, _ error: TransportError)
}

/// One call on the client's side, or a free place for one.
struct ClientCallSlot {
    var generation: UInt32 = 0
    var isUsed = false
    /// The receiver was told that the call is over; the stream may still close.
    var isEnded = false
    var stream: HTTP2Stream?
    var method: ClientMethod?
    var receiver: (any ClientCallReceiver)?
    var tag = 0
    var deframer = MessageDeframer(limit: ClientMethod.replyBytesMax)
    var messages = 0
    var httpStatus = 0
    var isGRPC = false
    var status: ReceivedStatus?
    var pushback = RetryPushback.none
    var isPaused = false
    var endHeld = false
    var isMessageCompressed = false

    enum ReceivedStatus {
        case ok
        case error(RPCError)
    }

    /// Frees the place for another call.
    mutating func clear() {
        generation &+= 1
        isUsed = false
        isEnded = false
        stream = nil
        method = nil
        receiver = nil
        messages = 0
        httpStatus = 0
        isGRPC = false
        status = nil
        pushback = .none
        isPaused = false
        endHeld = false
        deframer.acceptsCompressed = false
        deframer.reset()
    }
}
