// A session of either role, without TLS: any bytes in any pieces, and an owner that answers, resets
// and ends in between.

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
        guard let session = try? HTTP2Session(role: role) else { return }
        do throws(HTTP2Error) {
            if role == .server {
                try session.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8).span)
            } else {
                for _ in 0..<3 {
                    let stream = try session.submitRequest(question, userData: 7, endStream: false)
                    session.submitData(stream, [1, 2, 3])
                }
            }
            while !input.isEmpty {
                let choice = input.byte()
                let piece = input.piece(Int(choice & 63) + 1)
                try session.receive(piece.span)
                try answer(session, choice, piece.count)
                var output: [UInt8] = []
                _ = try session.drain(into: &output, atMost: 32 << 10)
                session.clearEvents()
                check(session.bufferedBytes >= 0, "a negative count of bytes")
                check(
                    session.openStreamCount <= Limits.concurrentStreamsMax + 3,
                    "\(session.openStreamCount) streams")
            }
        } catch {
            // The session is dead, as it says.
        }
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
