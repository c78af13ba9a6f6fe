// A session of either role, without TLS: any bytes in any pieces, and an owner that answers, resets
// and ends in between.

import TestSupport
import TriageBase
import TriageHTTP2

enum HTTP2Fuzz {
    private static let head = HeaderFields.forever([.init(":status", "200")])
    private static let question = HeaderFields.forever([
        .init(":method", "POST"), .init(":scheme", "https"), .init(":path", "/f.F/F"),
        .init(":authority", "f"),
    ])

    static func run(_ bytes: [UInt8]) {
        var input = FuzzInput(bytes)
        let role: HTTP2Role = input.byte() & 1 == 0 ? .server : .client
        var settings = HTTP2Settings()
        settings.knowsBlocks = true
        guard let session = try? HTTP2Session(role: role, settings: settings) else { return }
        // What recognises header blocks, and what does not, must tell the same.
        let twin = role == .server ? try? HTTP2Session(role: .server) : nil
        do throws(HTTP2Error) {
            for session in [session, twin].compactMap({ $0 }) { try greet(session, role) }
            while !input.isEmpty {
                let choice = input.byte()
                let piece = input.piece(Int(choice & 63) + 1)
                try receive(session, twin, piece)
                for session in [session, twin].compactMap({ $0 }) {
                    try answer(session, choice, piece.count)
                    var output: [UInt8] = []
                    _ = try session.drain(into: &output, atMost: 32 << 10)
                    session.clearEvents()
                }
                check(session.bufferedBytes >= 0, "a negative count of bytes")
                check(
                    session.openStreamCount <= Limits.concurrentStreamsMax + 3,
                    "\(session.openStreamCount) streams")
            }
        } catch {
            // The session is dead, as it says.
        }
    }

    private static func greet(_ session: HTTP2Session, _ role: HTTP2Role) throws(HTTP2Error) {
        switch role {
        case .server:
            try session.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8).span)
        case .client:
            for _ in 0..<3 {
                let stream = try session.submitRequest(question, userData: 7, endStream: false)
                session.submitData(stream, [1, 2, 3])
            }
        }
    }

    private static func receive(
        _ session: HTTP2Session, _ twin: HTTP2Session?, _ piece: [UInt8]
    ) throws(HTTP2Error) {
        guard let twin else { return try session.receive(piece.span) }
        var failure: HTTP2Error?
        do throws(HTTP2Error) { try twin.receive(piece.span) } catch { failure = error }
        do throws(HTTP2Error) { try session.receive(piece.span) } catch {
            check(failure == error, "\(error) of one that knows blocks only")
            throw error
        }
        check(failure == nil, "a failure of one that knows no blocks only")
        let told = (Told.all(session), Told.all(twin))
        check(told.0 == told.1, "\(told.0) is not \(told.1)")
    }

    private static func answer(
        _ session: HTTP2Session, _ choice: UInt8, _ count: Int
    ) throws(HTTP2Error) {
        for event in session.events {
            switch event {
            case .headers(let stream, let block), .trailers(let stream, let block),
                .informational(let stream, let block):
                checkBlock(session.headers, block)
                guard choice & 64 == 0 else { break }
                try session.submitHeaders(stream, head, endStream: choice & 128 == 0)
                session.submitData(stream, [UInt8](repeating: 9, count: Int(choice) * 300))
                session.endStream(stream)
            case .data(let stream, let offset, let length):
                check(offset >= 0 && length >= 0 && offset + length <= count, "data out of range")
                if choice & 64 == 0 { session.consume(stream, length) }
            case .endStream(let stream):
                if choice & 192 == 192 { session.reset(stream, .cancel) }
            default: break
            }
        }
    }

    static func checkBlock(_ headers: HeaderStore, _ block: HeaderBlock) {
        var size = 0
        for index in block.range {
            let field = headers.fields[index]
            let name =
                field.token == .other
                ? headers.name(field).count : field.token.name.utf8CodeUnitCount
            size += name + headers.value(field).count + 32
        }
        check(block.range.count <= Limits.headerFieldsMax, "\(block.range.count) fields kept")
        check(size <= Limits.headerListBytesMax, "\(size) bytes of fields kept")
    }
}

/// An event, with what a header block says instead of where it says it.
private struct Told: Equatable {
    var event: HTTP2Event?
    var stream: HTTP2Stream?
    var isOversize = false
    var fields: [[UInt8]] = []

    static func all(_ session: HTTP2Session) -> [Told] {
        session.events.map { event in
            switch event {
            case .headers(let stream, let block), .trailers(let stream, let block):
                let whole = block.known == 0 ? block : session.expand(block)
                let headers = session.headers
                return Told(
                    stream: stream, isOversize: whole.isOversize,
                    fields: whole.range.flatMap { index in
                        let field = headers.fields[index]
                        return [
                            [field.token.rawValue], [UInt8](copying: headers.name(field)),
                            [UInt8](copying: headers.value(field)),
                        ]
                    })
            default: return Told(event: event)
            }
        }
    }
}
