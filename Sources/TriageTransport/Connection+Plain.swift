// Requests that are not gRPC: a browser, a probe, a curl without its options. They are told in
// plain HTTP what this server is, once they are complete; until then they hold their stream like
// any other request. Knows nothing of calls.

import TriageBase
import TriageGRPC
import TriageHTTP2

/// A request that is not gRPC and is not complete yet.
struct PlainRequest {
    let stream: HTTP2Stream
    let reply: PlainReply
    let since: MonotonicTime
}

/// What such a request is answered.
enum PlainReply: Sendable {
    /// The method is not POST.
    case notPost
    /// The method is HEAD: the answer to it has no body.
    case notPostHead
    /// The content type is not gRPC's.
    case notGRPC

    /// What people see who found this port with a browser.
    static let text = Array(
        "This is a gRPC server: send POST with content-type application/grpc over HTTP/2.\n".utf8)
    private static let described = [
        HeaderFields.Field("content-type", "text/plain; charset=utf-8"),
        HeaderFields.Field("content-length", String(text.count)),
    ]
    private static let fieldsNotPost = HeaderFields.forever(
        [HeaderFields.Field(":status", "405"), HeaderFields.Field("allow", "POST")] + described)
    private static let fieldsNotGRPC = HeaderFields.forever(
        [HeaderFields.Field(":status", "415")] + described)

    var fields: HeaderFields {
        switch self {
        case .notPost, .notPostHead: Self.fieldsNotPost
        case .notGRPC: Self.fieldsNotGRPC
        }
    }

    var hasBody: Bool {
        switch self {
        case .notPost, .notGRPC: true
        case .notPostHead: false
        }
    }
}

extension Connection {
    /// Keeps a request until it is complete.
    func plainBegan(_ stream: HTTP2Stream, _ reply: PlainReply) {
        core.noteRefusal(.unknown, method: nil)
        plainRequests.append(PlainRequest(stream: stream, reply: reply, since: core.now))
    }

    /// Body bytes, or the end, of a request that is no call.
    func plainReceived(_ stream: HTTP2Stream, _ count: Int, ended: Bool) {
        http2.consume(stream, count)
        guard ended, let request = takePlain(stream) else { return }
        guard request.reply.hasBody else { return sendWhole(stream, request.reply.fields) }
        sendHead(stream, request.reply.fields)
        http2.submitData(stream, PlainReply.text)
        http2.endStream(stream)
    }

    /// Forgets a request whose stream is gone.
    func plainClosed(_ stream: HTTP2Stream) { _ = takePlain(stream) }

    private func takePlain(_ stream: HTTP2Stream) -> PlainRequest? {
        guard let index = plainRequests.firstIndex(where: { $0.stream == stream }) else {
            return nil
        }
        return plainRequests.remove(at: index)
    }

    /// Ends those that take longer to become complete than a call may.
    func sweepPlain() {
        guard !plainRequests.isEmpty else { return }
        let limit = UInt64(core.limits.unaryMillisecondsMax) * 1_000_000
        for request in plainRequests where core.now.nanoseconds(since: request.since) > limit {
            core.metrics.count(.bodyTime)
            http2.reset(request.stream, .cancel)
            markDirty()
        }
        plainRequests.removeAll { core.now.nanoseconds(since: $0.since) > limit }
    }
}
