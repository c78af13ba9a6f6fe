// What may happen next in one call, on the server's side. Pure: it moves no bytes and knows no
// stream; the transport asks it before every step and does what it says.
//
//     input    awaiting ──message──▶ one ──end──▶ ended        (a method that takes one message)
//              awaiting ──message──▶ awaiting ──end──▶ ended   (client streaming)
//     output   idle ──first message──▶ open ──finish──▶ closed
//                └──────────────finish───────────────▶ closed
//
// Events after `closed` are legal silence: the peer or a late completion did not know yet.

/// One call's state, two bytes.
package struct CallStateMachine: Sendable {
    private enum Input: UInt8 { case awaiting, one, ended }
    private enum Output: UInt8 { case idle, open, closed }

    private var input: Input = .awaiting
    private var output: Output = .idle
    private let clientStreaming: Bool
    private let serverStreaming: Bool

    /// Starts a call.
    package init(clientStreaming: Bool, serverStreaming: Bool) {
        self.clientStreaming = clientStreaming
        self.serverStreaming = serverStreaming
    }

    /// True until the call has been answered for good or is gone.
    package var isOpen: Bool { output != .closed }
    /// True when the client has sent its last message.
    package var isInputEnded: Bool { input == .ended }
    /// True when the client may send many messages.
    package var isClientStreaming: Bool { clientStreaming }
    /// True when the handler may send many messages.
    package var isServerStreaming: Bool { serverStreaming }

    /// What to do with a message that is complete.
    package enum MessageAction: Equatable, Sendable {
        /// Keep it until the input ends: then it is known to be the only one.
        case hold
        /// Give it to the handler as the next of a stream.
        case deliver
        /// One too many.
        case refuse
        /// The call is over; drop it.
        case ignore
    }

    /// A complete message has arrived.
    package mutating func messageReceived() -> MessageAction {
        if output == .closed { return .ignore }
        switch input {
        case .awaiting:
            if clientStreaming { return .deliver }
            input = .one
            return .hold
        case .one: return .refuse
        case .ended: return .ignore
        }
    }

    /// What the end of the input means.
    package enum EndAction: Equatable, Sendable {
        /// The one message that was held is the request.
        case deliverRequest
        /// Tell the handler that the stream of messages is over.
        case endStream
        /// No message came.
        case refuseCardinality
        /// A message was cut off.
        case refuseTruncated
        /// The call is over, or the end was known.
        case ignore
    }

    /// The client has half-closed.
    ///
    /// - Parameter atBoundary: No message is cut off.
    /// - Returns: What to do now.
    package mutating func inputEnded(atBoundary: Bool) -> EndAction {
        guard input != .ended else { return .ignore }
        let received = input
        input = .ended
        if output == .closed { return .ignore }
        guard atBoundary else { return .refuseTruncated }
        if clientStreaming { return .endStream }
        return received == .one ? .deliverRequest : .refuseCardinality
    }

    /// What a handler's message needs.
    package enum SendAction: Equatable, Sendable {
        /// Response headers, then the message.
        case headersAndMessage
        /// The message.
        case message
        /// The call is over.
        case drop
        /// A second message of a method that sends one: the handler is wrong.
        case refuse
    }

    /// The handler sends one message of a stream.
    package mutating func messageSent() -> SendAction {
        switch output {
        case .closed: return .drop
        case .idle:
            output = .open
            return .headersAndMessage
        case .open:
            return serverStreaming ? .message : .refuse
        }
    }

    /// What the end of a call needs.
    package enum FinishAction: Equatable, Sendable {
        /// One header block that holds headers and status.
        case trailersOnly
        /// Headers, then trailers: OK without a message.
        case headersAndTrailers
        /// Trailers.
        case trailers
        /// The call was over already.
        case drop
        /// OK without the message that the method owes: the handler is wrong; send an error,
        /// trailers-only.
        case refuse
    }

    /// The call ends, with OK or an error.
    package mutating func finished(ok: Bool) -> FinishAction {
        let before = output
        output = .closed
        switch before {
        case .closed: return .drop
        case .open: return .trailers
        case .idle:
            guard ok else { return .trailersOnly }
            return serverStreaming ? .headersAndTrailers : .refuse
        }
    }

    /// The stream is gone: reset, or its connection closed.
    ///
    /// - Returns: True when the handler has to be told, false when the call had ended.
    package mutating func streamClosed() -> Bool {
        let wasOpen = output != .closed
        output = .closed
        return wasOpen
    }
}
