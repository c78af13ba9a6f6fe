// What the interoperability server answers: grpc.testing.TestService, as its clients expect it.
// Source: grpc/grpc doc/interop-test-descriptions.md "Server".

import InteropMessages
import TriageBase
import TriageGRPC

enum InteropMethods {
    static let empty = 0
    static let unary = 1
    static let output = 2
    static let input = 3
    static let fullDuplex = 4
    static let halfDuplex = 5

    /// By index, as above; UnimplementedCall and UnimplementedService are missing on purpose.
    static let table = MethodTable([
        method("EmptyCall", false, false), method("UnaryCall", false, false),
        method("StreamingOutputCall", false, true), method("StreamingInputCall", true, false),
        method("FullDuplexCall", true, true), method("HalfDuplexCall", true, true),
    ])

    private static func method(_ name: String, _ clientStreaming: Bool, _ serverStreaming: Bool)
        -> Method
    {
        Method(
            path: "/grpc.testing.TestService/" + name, clientStreaming: clientStreaming,
            serverStreaming: serverStreaming, allowedWithoutIdentity: true,
            traits: [.readsMetadata, .compressesReplies])
    }
}

struct InteropFactory: CallHandlerFactory {
    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler {
        InteropHandler(responder, mailbox)
    }
}

final class InteropHandler: CallHandler {
    /// A call that is more than one request and one reply.
    private final class Exchange {
        let method: Int
        let extras: CallExtras?
        var received = 0
        /// What is still to be sent.
        var wanted: [InteropRequest.Wanted] = []
        var isInputEnded: Bool
        /// Output waits for the client's window, or for the time between two messages.
        var isWaiting = false

        init(_ method: Int, _ extras: CallExtras?, isInputEnded: Bool) {
            self.method = method
            self.extras = extras
            self.isInputEnded = isInputEnded
        }
    }

    private unowned let responder: any CallResponder
    private let mailbox: any ReactorMailbox
    private let delays = DelayLine.shared
    private var exchanges: [CallID: Exchange] = [:]

    init(_ responder: any CallResponder, _ mailbox: any ReactorMailbox) {
        self.responder = responder
        self.mailbox = mailbox
    }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        let bytes = [UInt8](copying: message)
        echoMetadata(call, head.extras)
        switch head.method {
        case InteropMethods.empty: responder.respond(call, [])
        case InteropMethods.unary: unary(call, head.extras, InteropCodec.unary(bytes))
        default:
            let request = InteropCodec.streamingOutput(bytes)
            let exchange = Exchange(head.method, head.extras, isInputEnded: true)
            exchange.wanted = request.wanted
            exchanges[call] = exchange
            if !refuse(call, request, head.extras) { advance(call, exchange) }
        }
    }

    private func unary(_ call: CallID, _ extras: CallExtras?, _ request: InteropRequest) {
        if refuse(call, request, extras) { return }
        let wanted = request.wanted.first ?? InteropRequest.Wanted(size: 0)
        responder.setCompression(call, wanted.isCompressed == true ? .always : .never)
        responder.respond(call, InteropCodec.withPayload(wanted.size))
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) {
        echoMetadata(call, head.extras)
        exchanges[call] = Exchange(head.method, head.extras, isInputEnded: false)
    }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        guard let exchange = exchanges[call] else { return }
        let bytes = [UInt8](copying: message)
        let request =
            exchange.method == InteropMethods.input
            ? InteropCodec.streamingInput(bytes) : InteropCodec.streamingOutput(bytes)
        if refuse(call, request, exchange.extras) { return }
        exchange.received += request.payloadBytes
        exchange.wanted += request.wanted
        if exchange.method == InteropMethods.fullDuplex { advance(call, exchange) }
        responder.requestMore(call)
    }

    func streamInputEnded(_ call: CallID) {
        guard let exchange = exchanges[call] else { return }
        exchange.isInputEnded = true
        if exchange.method == InteropMethods.input {
            exchanges[call] = nil
            return responder.respond(call, InteropCodec.aggregate(exchange.received))
        }
        advance(call, exchange)
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) { exchanges[call] = nil }

    func streamWritable(_ call: CallID) { resume(call) }

    func turnEnded() {}

    /// Goes on with a call whose wait is over.
    func resume(_ call: CallID) {
        guard let exchange = exchanges[call] else { return }
        exchange.isWaiting = false
        advance(call, exchange)
    }

    /// Sends what is wanted, as far as the window and the times between messages allow.
    private func advance(_ call: CallID, _ exchange: Exchange) {
        while !exchange.isWaiting, let next = exchange.wanted.first {
            if next.intervalMicroseconds > 0 {
                exchange.wanted[0].intervalMicroseconds = 0
                exchange.isWaiting = true
                delays.add(
                    microseconds: next.intervalMicroseconds, mailbox, ResumeJob(call))
                return
            }
            exchange.wanted.removeFirst()
            responder.setCompression(call, next.isCompressed == true ? .always : .never)
            switch responder.send(call, InteropCodec.withPayload(next.size)) {
            case .queued: break
            case .full: exchange.isWaiting = true
            case .gone: exchanges[call] = nil
            }
        }
        guard exchange.wanted.isEmpty, exchange.isInputEnded, exchanges[call] != nil else { return }
        exchanges[call] = nil
        responder.finish(call, nil)
    }

    /// Ends a call that asks for a status, or whose message is not compressed as it says.
    private func refuse(
        _ call: CallID, _ request: InteropRequest, _ extras: CallExtras?
    ) -> Bool {
        let error: RPCError
        if let expected = request.isExpectedCompressed,
            expected != (extras?.isMessageCompressed ?? false)
        {
            error = RPCError(
                .invalidArgument, reason: "COMPRESSION_NOT_AS_EXPECTED",
                message: "The message is not compressed as it says.")
        } else if let status = request.status, status.code != 0 {
            error = RPCError(
                StatusCode(rawValue: UInt8(clamping: status.code)) ?? .unknown,
                reason: "ECHO_STATUS", message: status.text)
        } else {
            return false
        }
        exchanges[call] = nil
        responder.finish(call, error)
        return true
    }

    private func echoMetadata(_ call: CallID, _ extras: CallExtras?) {
        guard let extras else { return }
        func named(_ name: String) -> [MetadataField] {
            extras.metadata.filter { equal($0.name.span, Array(name.utf8)) }
        }
        let initial = named("x-grpc-test-echo-initial")
        let trailing = named("x-grpc-test-echo-trailing-bin")
        if initial.isEmpty, trailing.isEmpty { return }
        responder.setMetadata(call, initial: initial, trailing: trailing)
    }
}

/// The time between two messages is over.
private final class ResumeJob: ReactorJob {
    private let call: CallID

    init(_ call: CallID) { self.call = call }

    func run(_ handler: any CallHandler) { (handler as? InteropHandler)?.resume(call) }
}
