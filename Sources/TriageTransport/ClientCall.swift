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
    /// `/package.Service/Method`.
    package let path: String
    /// The client sends a stream of messages.
    package let clientStreaming: Bool
    /// The server sends a stream of messages.
    package let serverStreaming: Bool
    /// The receiver is told the server's own metadata.
    package let readsMetadata: Bool

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
    package init(
        path: String, authority: String, clientStreaming: Bool = false,
        serverStreaming: Bool = false, metadata: [MetadataField] = [],
        readsMetadata: Bool = false, sendsGzip: Bool = false
    ) {
        self.path = path
        self.clientStreaming = clientStreaming
        self.serverStreaming = serverStreaming
        self.readsMetadata = readsMetadata
        let encoding = sendsGzip ? [("grpc-encoding", "gzip")] : []
        let own = [
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", authority),
            ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "triaged-swift/1"),
            ("grpc-accept-encoding", MessageEncoding.accepted),
        ]
        let custom = metadata.filter { !Metadata.isReserved($0.name.span) }
        fields =
            (own + encoding).map { HeaderFields.Field($0.0, $0.1) }
            + custom.map { HeaderFields.Field($0.name, $0.value) }
        plain = HeaderFields(fields)
    }

    /// The request headers for a call that may take so long; nil: without a deadline.
    func headers(timeout: UInt64?) -> HeaderFields {
        guard let timeout else { return plain }
        if let timed, timed.nanoseconds == timeout { return timed.fields }
        let value = Timeout.format(nanoseconds: timeout)
        let made = HeaderFields(fields + [HeaderFields.Field(Array("grpc-timeout".utf8), value)])
        timed = (timeout, made)
        return made
    }
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
    /// The call is over: nil for OK, else why. Nothing follows.
    func callEnded(_ call: ClientCall, _ tag: Int, _ error: RPCError?)
}

extension ClientCallReceiver {
    package func metadataReceived(
        _ call: ClientCall, _ tag: Int, _ metadata: [MetadataField], isTrailing: Bool
    ) {}
}

/// Hears of connections, on the loop's thread.
package protocol ClientConnectionReceiver: AnyObject {
    /// Calls may be started.
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
    var deframer = MessageDeframer(limit: ClientConnection.messageBytesMax)
    var messages = 0
    var httpStatus = 0
    var isGRPC = false
    var status: ReceivedStatus?
    var isPaused = false
    var endHeld = false
    var isMessageCompressed = false

    enum ReceivedStatus {
        case ok
        case error(RPCError)
    }
}
