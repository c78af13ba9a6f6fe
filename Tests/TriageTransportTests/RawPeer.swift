// A client that writes frames byte by byte over real TLS, in memory: what no well-behaved session
// would send. The time is the test's. Knows as much of HPACK as it needs to send literals.

import TestSupport
import TriageBase
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

/// One frame on the wire.
struct RawFrame: Equatable {
    var type: UInt8
    var flags: UInt8 = 0
    var stream: Int32 = 0
    var payload: [UInt8] = []

    static let endStream: UInt8 = 1
    static let endHeaders: UInt8 = 4
    static let padded: UInt8 = 8

    var bytes: [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
            + Self.big(UInt32(bitPattern: stream)) + payload
    }

    static func big(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - $0 * 8)) }
    }

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static let settings = RawFrame(type: 4)
    static let settingsAck = RawFrame(type: 4, flags: 1)
    static let ping = RawFrame(type: 6, payload: [1, 2, 3, 4, 5, 6, 7, 8])

    static func data(_ stream: Int32, _ body: [UInt8] = [], end: Bool = false) -> RawFrame {
        RawFrame(type: 0, flags: end ? endStream : 0, stream: stream, payload: body)
    }

    static func headers(
        _ stream: Int32, _ block: [UInt8], end: Bool = false, complete: Bool = true
    ) -> RawFrame {
        RawFrame(
            type: 1, flags: (end ? endStream : 0) | (complete ? endHeaders : 0), stream: stream,
            payload: block)
    }

    static func continuation(_ stream: Int32, _ block: [UInt8] = [], complete: Bool) -> RawFrame {
        RawFrame(type: 9, flags: complete ? endHeaders : 0, stream: stream, payload: block)
    }

    static func reset(_ stream: Int32) -> RawFrame {
        RawFrame(type: 3, stream: stream, payload: big(8))
    }

    static func windowUpdate(_ stream: Int32, _ increment: UInt32) -> RawFrame {
        RawFrame(type: 8, stream: stream, payload: big(increment))
    }

    /// Literal fields that enter no table.
    static func literals(_ fields: [(String, String)], kind: UInt8 = 0) -> [UInt8] {
        fields.flatMap { [kind] + text($0.0) + text($0.1) }
    }

    /// The header block of a call.
    static func request(_ method: String, _ more: [(String, String)] = []) -> [UInt8] {
        literals(
            [
                (":method", "POST"), (":scheme", "https"), (":path", "/t.T/" + method),
                (":authority", "localhost"), ("te", "trailers"),
                ("content-type", "application/grpc"),
            ] + more)
    }

    private static func text(_ string: String) -> [UInt8] {
        let bytes = Array(string.utf8)
        if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
        var rest = bytes.count - 127
        var out: [UInt8] = [127]
        while rest >= 128 {
            out.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return out + [UInt8(rest)] + bytes
    }

    /// The whole frames in `bytes`.
    static func parse(_ bytes: [UInt8]) -> [RawFrame] {
        var frames: [RawFrame] = []
        var at = 0
        while at + 9 <= bytes.count {
            let count = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            guard at + 9 + count <= bytes.count else { break }
            let stream = bytes[at + 5..<at + 9].reduce(Int32(0)) { $0 << 8 | Int32($1) }
            frames.append(
                RawFrame(
                    type: bytes[at + 3], flags: bytes[at + 4], stream: stream,
                    payload: Array(bytes[at + 9..<at + 9 + count])))
            at += 9 + count
        }
        return frames
    }
}

/// One connection of the server's machine, and a raw client.
final class RawPeer {
    let core: ServerCore
    let connection: Connection
    let handler: RecordingHandler
    let tls: TLSSession
    /// Plaintext that came from the server.
    private(set) var received: [UInt8] = []
    /// Whether ciphertext of the server is taken: a socket that is not read fills.
    var takes = true

    /// Connects; with `greet` the preface and SETTINGS are exchanged.
    init(limits: ServerLimits = ServerLimits(), greet: Bool = true) throws {
        core = ServerCore(
            reactor: 0, reactorCount: 1, table: RecordingHandler.table, limits: limits,
            now: MonotonicTime(nanoseconds: 1_000_000_000_000))
        handler = RecordingHandler(core)
        core.start(handler)
        let admission = Admission(limits: limits)
        if let refused = admission.accept() { throw Machine.Refused(kind: refused) }
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = limits.concurrentStreamsMax
        settings.knowsBlocks = true
        connection = Connection(
            core,
            Wire(
                try TLSSession(Credentials.server()),
                try HTTP2Session(role: .server, settings: settings)), admission)
        tls = try TLSSession(Credentials.client())
        _ = try tls.handshake()
        for _ in 0..<4 {
            toServer()
            _ = connection.advanceHandshake()
            toClient()
            _ = try? tls.handshake()
        }
        try pump()
        if greet { try send(RawFrame.preface, .settings, .settingsAck) }
    }

    deinit { core.stop() }

    private func toServer() {
        tls.withOutput { bytes in
            connection.wire.tls.receive(bytes)
            return bytes.count
        }
    }

    private func toClient() {
        guard takes else { return }
        connection.wire.tls.withOutput { bytes in
            tls.receive(bytes)
            if !bytes.isEmpty { connection.sentAt = core.now }
            return bytes.count
        }
    }

    /// Moves bytes until nothing moves.
    func pump() throws {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        for _ in 0..<40 {
            toServer()
            if !connection.wire.isHandshaking {
                while case .more = connection.process() { endTurn() }
            }
            core.deliver()
            endTurn()
            let before = received.count
            toClient()
            while case .bytes(let count) = try tls.read(into: &buffer) {
                received += buffer[..<count]
            }
            if connection.hasMoreOutput { connection.markDirty() }
            if received.count == before, core.dirty.isEmpty || !takes { return }
        }
    }

    private func endTurn() {
        core.handlerWasCalled = false
        handler.turnEnded()
        core.observe(at: core.now)
        let dirty = core.dirty
        core.dirty = []
        for _ in dirty { connection.flush() }
    }

    func send(_ bytes: [UInt8] = [], _ frames: RawFrame...) throws {
        try send(bytes, frames)
    }

    func send(_ bytes: [UInt8] = [], _ frames: [RawFrame]) throws {
        try tls.write((bytes + frames.flatMap(\.bytes)).span)
        try pump()
    }

    func advance(milliseconds: UInt64) throws {
        core.now = core.now.advanced(byNanoseconds: milliseconds * 1_000_000)
        core.expireCalls()
        connection.sweep()
        core.resetStalledStreams()
        try pump()
    }

    var frames: [RawFrame] { RawFrame.parse(received) }

    /// The error code and debug text of the last GOAWAY.
    var goAway: (code: UInt32, debug: String)? {
        guard let last = frames.last(where: { $0.type == 7 }) else { return nil }
        return (
            last.payload[4..<8].reduce(0) { $0 << 8 | UInt32($1) },
            String(decoding: last.payload[8...], as: UTF8.self)
        )
    }

    func hits(_ kind: LimitKind) -> UInt64 { core.metrics.limits[kind] }
}
