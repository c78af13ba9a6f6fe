// What the test server answers. One handler a reactor, no shared state.

import CBenchEcho
import TriageBase
import TriageGRPC

enum EchoMethods {
    static let submit = 0
    static let echo = 1
    static let repeats = 2
    static let collect = 3
    static let fail = 4
    static let hang = 5
    static let open = 6
    static let later = 7

    /// By index, as above.
    static let table = MethodTable([
        Method(path: "/bench.Triage/Submit", clientStreaming: false, serverStreaming: false),
        Method(path: "/echo.Echo/Echo", clientStreaming: false, serverStreaming: false),
        Method(path: "/echo.Echo/Repeat", clientStreaming: false, serverStreaming: true),
        Method(path: "/echo.Echo/Collect", clientStreaming: true, serverStreaming: false),
        Method(path: "/echo.Echo/Fail", clientStreaming: false, serverStreaming: false),
        Method(path: "/echo.Echo/Hang", clientStreaming: false, serverStreaming: false),
        Method(
            path: "/echo.Echo/Open", clientStreaming: false, serverStreaming: false,
            allowedWithoutIdentity: true),
        Method(path: "/echo.Echo/Later", clientStreaming: false, serverStreaming: false),
    ])
}

struct EchoFactory: CallHandlerFactory {
    func makeHandler(
        reactor: Int, responder: any CallResponder, mailbox: any ReactorMailbox
    ) -> any CallHandler {
        EchoHandler(responder, mailbox)
    }
}

final class EchoHandler: CallHandler {
    private unowned let responder: any CallResponder
    private let mailbox: any ReactorMailbox
    private var reply = [UInt8](repeating: 0, count: 8 << 10)
    private var repeats: [CallID: (left: Int, message: [UInt8])] = [:]
    private var collected: [CallID: (messages: Int, bytes: Int)] = [:]
    private var later: [(CallID, [UInt8])] = []

    init(_ responder: any CallResponder, _ mailbox: any ReactorMailbox) {
        self.responder = responder
        self.mailbox = mailbox
    }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        switch head.method {
        case EchoMethods.submit: submit(call, message)
        case EchoMethods.echo, EchoMethods.open:
            responder.respond(call, [UInt8](copying: message))
        case EchoMethods.repeats:
            let words = String(decoding: [UInt8](copying: message), as: UTF8.self).split(
                separator: " ")
            let count = Int(words.first ?? "") ?? 0
            let size = Int(words.last ?? "") ?? 0
            if count < 0 { responder.markLongLived(call) }
            repeats[call] = (abs(count), [UInt8](repeating: 0x78, count: size))
            streamWritable(call)
        case EchoMethods.fail:
            responder.finish(
                call,
                RPCError(
                    .invalidArgument, reason: "FIELD_INVALID",
                    message: "a 50 % chance, née never\n",
                    metadata: ["field": "subject"],
                    fieldViolations: [FieldViolation(field: "subject", description: "is missing")],
                    retryAfterMilliseconds: 1_500))
        case EchoMethods.later:
            later.append((call, [UInt8](copying: message)))
        default: break
        }
    }

    private func submit(_ call: CallID, _ message: Span<UInt8>) {
        let count = unsafe message.withUnsafeBufferPointer { request in
            unsafe reply.withUnsafeMutableBufferPointer { reply in
                unsafe bench_submit(
                    request.baseAddress, request.count, reply.baseAddress, reply.count)
            }
        }
        if count == 0 {
            responder.finish(
                call, RPCError(.invalidArgument, reason: "MALFORMED", message: "Not decodable."))
        } else {
            // A copy of the reference: a span of a class's own array does not compile in release.
            let reply = reply
            responder.respond(call, copying: reply.span.extracting(first: count))
        }
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) { collected[call] = (0, 0) }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        guard let before = collected[call] else { return }
        collected[call] = (before.messages + 1, before.bytes + message.count)
        responder.requestMore(call)
    }

    func streamInputEnded(_ call: CallID) {
        guard let total = collected.removeValue(forKey: call) else { return }
        responder.respond(call, Array("\(total.messages) \(total.bytes)".utf8))
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) {
        repeats[call] = nil
        collected[call] = nil
        cancelled += 1
    }

    private var cancelled = 0

    func streamWritable(_ call: CallID) {
        while let state = repeats[call] {
            guard state.left > 0 else {
                repeats[call] = nil
                return responder.finish(call, nil)
            }
            repeats[call] = (state.left - 1, state.message)
            if responder.send(call, state.message) != .queued { return }
        }
    }

    func turnEnded() {
        guard !later.isEmpty else { return }
        mailbox.post(LaterJob(later))
        later = []
    }

    func answer(_ calls: [(CallID, [UInt8])]) {
        for (call, message) in calls { responder.respond(call, message) }
    }
}

/// Answers in the next turn, through the mailbox, as an engine would.
final class LaterJob: ReactorJob {
    private let calls: [(CallID, [UInt8])]

    init(_ calls: [(CallID, [UInt8])]) { self.calls = calls }

    func run(_ handler: any CallHandler) { (handler as? EchoHandler)?.answer(calls) }
}
