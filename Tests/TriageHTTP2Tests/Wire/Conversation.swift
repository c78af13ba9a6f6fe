// A session at one end, a test that writes and reads raw frames at the other.

import TestSupport
import Testing
import TriageHTTP2

/// An event with everything that it refers to copied out, to be compared.
enum Happened: Equatable {
    case headers(Int32, [String])
    case oversizeHeaders(Int32)
    case informational(Int32, [String])
    case trailers(Int32, [String])
    case data(Int32, [UInt8])
    case end(Int32)
    case closed(Int32, HTTP2ErrorCode)
    case outputDrained(Int32)
    case goAway(Int32, HTTP2ErrorCode)
    case pong(UInt64)
    case settings
    case settingsAcknowledged
}

extension HTTP2Session {
    /// Copies the events of this turn, which refer to `input`; known header blocks get all their
    /// fields if that is wanted.
    func happened(_ input: [UInt8], expanding: Bool = false) -> [Happened] {
        func fields(_ told: HeaderBlock) -> [String] {
            let block = expanding && told.known != 0 ? expand(told) : told
            let store = headers
            return block.range.map { index in
                let field = store.fields[index]
                let name =
                    field.token == .other
                    ? text(store.name(field)) : "\(field.token.name)"
                return name + "=" + text(store.value(field))
            }
        }
        return events.map { event in
            switch event {
            case .headers(let stream, let block):
                block.isOversize ? .oversizeHeaders(stream.id) : .headers(stream.id, fields(block))
            case .informational(let stream, let block): .informational(stream.id, fields(block))
            case .trailers(let stream, let block):
                block.isOversize ? .oversizeHeaders(stream.id) : .trailers(stream.id, fields(block))
            case .data(let stream, let offset, let count):
                .data(stream.id, Array(input[offset..<offset + count]))
            case .endStream(let stream): .end(stream.id)
            case .streamClosed(let stream, let code): .closed(stream.id, code)
            case .outputDrained(let stream): .outputDrained(stream.id)
            case .goAwayReceived(let last, let code): .goAway(last, code)
            case .pingAcknowledged(let opaque): .pong(opaque)
            case .settingsReceived: .settings
            case .settingsAcknowledged: .settingsAcknowledged
            }
        }
    }

    private func text(_ span: Span<UInt8>) -> String {
        String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
    }
}

/// A server session and its raw client, or a client session and its raw server.
final class Conversation {
    let session: HTTP2Session
    /// Everything that happened since the last `take`.
    private(set) var log: [Happened] = []
    /// The handles of streams that were seen, by id.
    private(set) var streams: [Int32: HTTP2Stream] = [:]

    /// Opens a connection and takes both sides' SETTINGS out of the way.
    init(
        _ role: HTTP2Role = .server, settings: HTTP2Settings = HTTP2Settings(), greet: Bool = true,
        peerSettings: [(UInt16, UInt32)] = []
    ) throws {
        session = try HTTP2Session(role: role, settings: settings)
        guard greet else { return }
        _ = try output()
        if role == .server { try sendBytes(Frame.preface) }
        try send(.settings(peerSettings), .settingsAck)
        _ = try frames()
        log = []
    }

    /// Feeds frames in one piece.
    func send(_ frames: Frame...) throws { try sendBytes(frames.flatMap(\.bytes)) }

    /// Feeds bytes; notes the events.
    func sendBytes(_ bytes: [UInt8]) throws {
        defer { collect(bytes) }
        try session.receive(bytes.span)
    }

    private func collect(_ input: [UInt8]) {
        for event in session.events {
            if case .headers(let stream, _) = event { streams[stream.id] = stream }
        }
        log += session.happened(input)
        session.clearEvents()
    }

    /// Drains everything that the session has to say.
    func output(atMost limit: Int = .max) throws -> [UInt8] {
        var bytes: [UInt8] = []
        defer { collect([]) }
        _ = try session.drain(into: &bytes, atMost: limit)
        return bytes
    }

    /// The frames that the session has to say.
    func frames() throws -> [Frame] { Frame.parse(try output()) }

    /// Takes the log.
    func take() -> [Happened] {
        defer { log = [] }
        return log
    }

    /// Sends frames; returns what happened and what came back.
    func exchange(_ frames: Frame...) throws -> (happened: [Happened], answer: [Frame]) {
        try sendBytes(frames.flatMap(\.bytes))
        let answer = try self.frames()
        return (take(), answer)
    }

    /// Opens a request and returns its handle.
    func open(_ id: Int32, end: Bool = false) throws -> HTTP2Stream {
        try send(.headers(id, request, end: end))
        return try #require(streams[id])
    }
}
