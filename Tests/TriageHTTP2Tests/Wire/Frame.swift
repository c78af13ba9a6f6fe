// Raw HTTP/2 frames: built byte by byte for what a test sends, and parsed from what a session sent.
// Independent of nghttp2, so that the two check each other.

import TriageHTTP2

/// One frame on the wire.
struct Frame: Equatable, CustomStringConvertible {
    var type: UInt8
    var flags: UInt8
    var stream: Int32
    var payload: [UInt8]

    static let endStream: UInt8 = 0x1
    static let ack: UInt8 = 0x1
    static let endHeaders: UInt8 = 0x4
    static let padded: UInt8 = 0x8

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    var bytes: [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
            + Self.big(UInt32(bitPattern: stream)) + payload
    }

    var description: String {
        let names = [
            "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING",
            "GOAWAY",
            "WINDOW_UPDATE", "CONTINUATION",
        ]
        let name = Int(type) < names.count ? names[Int(type)] : "type \(type)"
        return
            "\(name) stream \(stream) flags \(flags) "
            + (payload.count <= 16 ? "\(payload)" : "\(payload.count) bytes")
    }

    static func big(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - $0 * 8)) }
    }

    /// The four bytes at `index`, big-endian.
    func word(_ index: Int) -> UInt32 {
        payload[index..<index + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    // MARK: Building

    static func data(_ stream: Int32, _ body: [UInt8], end: Bool = false, padding: Int? = nil)
        -> Frame
    {
        var flags = end ? endStream : 0
        var payload = body
        if let padding {
            flags |= padded
            payload = [UInt8(padding)] + body + [UInt8](repeating: 0, count: padding)
        }
        return Frame(type: 0, flags: flags, stream: stream, payload: payload)
    }

    static func headers(
        _ stream: Int32, _ block: [UInt8], end: Bool = false, complete: Bool = true,
        padding: Int? = nil
    ) -> Frame {
        var flags = (end ? endStream : 0) | (complete ? endHeaders : 0)
        var payload = block
        if let padding {
            flags |= padded
            payload = [UInt8(padding)] + block + [UInt8](repeating: 0, count: padding)
        }
        return Frame(type: 1, flags: flags, stream: stream, payload: payload)
    }

    static func headers(_ stream: Int32, _ fields: [(String, String)], end: Bool = false) -> Frame {
        headers(stream, HPACK.encode(fields), end: end)
    }

    static func priority(_ stream: Int32) -> Frame {
        Frame(type: 2, flags: 0, stream: stream, payload: [0, 0, 0, 0, 15])
    }

    static func reset(_ stream: Int32, _ code: HTTP2ErrorCode) -> Frame {
        Frame(type: 3, flags: 0, stream: stream, payload: big(code.rawValue))
    }

    static func settings(_ entries: [(UInt16, UInt32)] = []) -> Frame {
        let payload = entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + big($0.1) }
        return Frame(type: 4, flags: 0, stream: 0, payload: payload)
    }

    static let settingsAck = Frame(type: 4, flags: ack, stream: 0, payload: [])

    static func ping(_ opaque: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8], ack isAck: Bool = false) -> Frame
    {
        Frame(type: 6, flags: isAck ? ack : 0, stream: 0, payload: opaque)
    }

    static func goAway(last: Int32, _ code: HTTP2ErrorCode, debug: String = "") -> Frame {
        Frame(
            type: 7, flags: 0, stream: 0,
            payload: big(UInt32(bitPattern: last)) + big(code.rawValue) + Array(debug.utf8))
    }

    static func windowUpdate(_ stream: Int32, _ increment: UInt32) -> Frame {
        Frame(type: 8, flags: 0, stream: stream, payload: big(increment))
    }

    static func continuation(_ stream: Int32, _ block: [UInt8], complete: Bool) -> Frame {
        Frame(type: 9, flags: complete ? endHeaders : 0, stream: stream, payload: block)
    }

    // MARK: Parsing

    /// The whole frames in `bytes`.
    static func parse(_ bytes: [UInt8]) -> [Frame] {
        var frames: [Frame] = []
        var at = 0
        while at + 9 <= bytes.count {
            let count = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            let stream = bytes[at + 5..<at + 9].reduce(Int32(0)) { $0 << 8 | Int32($1) }
            frames.append(
                Frame(
                    type: bytes[at + 3], flags: bytes[at + 4], stream: stream,
                    payload: Array(bytes[at + 9..<at + 9 + count])))
            at += 9 + count
        }
        return frames
    }
}

/// As much of header compression as tests need to send.
enum HPACK {
    /// Literal fields that enter no table.
    static func encode(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { encode(Array($0.0.utf8), Array($0.1.utf8)) }
    }

    /// One literal field; `kind` 0 is without indexing, 0x10 never indexed, 0x40 into the dynamic
    /// table.
    static func encode(_ name: [UInt8], _ value: [UInt8], kind: UInt8 = 0) -> [UInt8] {
        [kind] + text(name) + text(value)
    }

    private static func text(_ bytes: [UInt8]) -> [UInt8] {
        var rest = bytes.count
        if rest < 127 { return [UInt8(rest)] + bytes }
        var out: [UInt8] = [127]
        rest -= 127
        while rest >= 128 {
            out.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return out + [UInt8(rest)] + bytes
    }
}

/// A good request's fields.
let request: [(String, String)] = [
    (":method", "POST"), (":scheme", "https"), (":path", "/triaged.v1.Triage/Submit"),
    (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
]
