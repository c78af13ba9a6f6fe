// Requests that are not gRPC: a browser, a probe, a curl without its options. They are told in
// plain HTTP what this server is, once they are complete; until then, and until the client has
// taken the answer, they hold their stream like any other request. Knows nothing of calls.

import TriageBase
import TriageGRPC
import TriageHTTP2

/// A request that is not gRPC and whose stream has not closed.
struct PlainRequest {
    let stream: HTTP2Stream
    let reply: PlainReply
    /// When it began; once it is answered: when bytes of the answer moved last.
    var since: MonotonicTime
    var isAnswered = false
    /// Bytes of the answer that had left when it was looked at last.
    var framedBytes = 0
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
        guard ended, let index = plainRequests.firstIndex(where: { $0.stream == stream }) else {
            return
        }
        plainRequests[index].isAnswered = true
        plainRequests[index].since = core.now
        let reply = plainRequests[index].reply
        guard reply.hasBody else { return sendWhole(stream, reply.fields) }
        sendHead(stream, reply.fields)
        http2.submitData(stream, PlainReply.text)
        http2.endStream(stream)
    }

    /// Forgets a request whose stream is gone.
    func plainClosed(_ stream: HTTP2Stream) { plainRequests.removeAll { $0.stream == stream } }

    /// Ends those that take longer to become complete than a call may, and those whose answers do
    /// not move for as long as a call's may stand still.
    func sweepPlain() {
        guard !plainRequests.isEmpty else { return }
        for index in plainRequests.indices.reversed() {
            guard let kind = overdue(&plainRequests[index]) else { continue }
            core.metrics.count(kind)
            http2.reset(plainRequests.remove(at: index).stream, .cancel)
            markDirty()
        }
    }

    /// The limit that a request has met; nil: none.
    private func overdue(_ request: inout PlainRequest) -> LimitKind? {
        guard request.isAnswered else {
            return has(core.limits.unaryMillisecondsMax, passedSince: request.since)
                ? .bodyTime : nil
        }
        let framed = http2.framedBytes(request.stream)
        if framed != request.framedBytes || http2.bufferedBytes(request.stream) == 0 {
            request.framedBytes = framed
            request.since = core.now
        }
        return has(core.limits.stalledStreamMillisecondsMax, passedSince: request.since)
            ? .stalledStream : nil
    }
}
