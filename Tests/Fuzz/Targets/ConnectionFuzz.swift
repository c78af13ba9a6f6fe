// The server's connection over real TLS in memory. The input is a script: what the client writes,
// how far the clock goes, what the handler does with the calls that it holds.
//
//     op & 7   0-3  write the next op >> 3 bytes of plaintext (0: as many as the next byte says)
//              4    write a whole good request, on the next stream
//              5    the clock goes on: 100 ms, 1 s, 10 s or 60 s
//              6    the handler answers, streams, fails or asks for more
//              7    the client stops or starts to take what the server sends

import TestSupport
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

enum ConnectionFuzz {
    static func run(_ bytes: [UInt8]) {
        do {
            let conversation = try Conversation()
            defer { conversation.finish() }
            try conversation.play(bytes)
        } catch {
            // Only the client's own TLS throws: the server has closed, and writing goes nowhere.
        }
    }

    /// Certificates and contexts, made once: handshakes after the first resume.
    private struct Contexts {
        let server: TLSContext
        let client: TLSContext

        init() throws {
            let fixture = try CertificateFixture()
            let server = try fixture.server()
            let ada = try fixture.leaf("ada")
            self.server = try TLSContext(
                .server(
                    certificateChain: server.certificate, privateKey: server.privateKey,
                    clientTrust: fixture.root.certificate, crl: nil, clientCertificate: .required))
            client = try TLSContext(
                .client(
                    certificateChain: ada.certificate, privateKey: ada.privateKey,
                    serverTrust: fixture.root.certificate, serverName: "localhost"))
        }

        static let shared = Result { try Contexts() }
    }

    final class Conversation {
        let core: ServerCore
        let connection: Connection
        let handler: FuzzHandler
        let tls: TLSSession
        private var takes = true
        private var nextStream: Int32 = 1
        private var buffer = [UInt8](repeating: 0, count: 16 << 10)

        init() throws {
            let contexts = try Contexts.shared.get()
            core = ServerCore(
                reactor: 0, reactorCount: 1, table: FuzzHandler.table, limits: ServerLimits(),
                now: MonotonicTime(nanoseconds: 1_000_000_000_000))
            handler = FuzzHandler(core)
            core.start(handler)
            let admission = Admission(limits: ServerLimits())
            check(admission.accept() == nil, "the first connection is admitted")
            var settings = HTTP2Settings()
            settings.knowsBlocks = true
            connection = Connection(
                core,
                Wire(
                    try TLSSession(contexts.server),
                    try HTTP2Session(role: .server, settings: settings)),
                admission)
            tls = try TLSSession(contexts.client)
            for _ in 0..<4 {
                _ = try tls.handshake()
                move()
                _ = connection.advanceHandshake()
                move()
            }
            check(!connection.wire.isHandshaking, "a good handshake completes")
        }

        func play(_ bytes: [UInt8]) throws {
            var input = FuzzInput(bytes)
            // Most inputs get past the preface; an odd first byte leaves it to the input.
            if input.byte() & 1 == 0 { try write(Self.greeting) }
            while !input.isEmpty, !connection.isEnding {
                let operation = input.byte()
                switch operation & 7 {
                case 4: try write(request(operation >> 3))
                case 5: advance([100, 1_000, 10_000, 60_000][Int(operation >> 3 & 3)])
                case 6: handler.act(operation >> 3)
                case 7: takes.toggle()
                default:
                    let count = operation >> 3 == 0 ? Int(input.byte()) : Int(operation >> 3)
                    try write(input.piece(count))
                }
                turn()
            }
        }

        /// The connection is gone: nothing of it may be left.
        func finish() {
            connection.remove()
            handler.settle()
            check(core.calls.count == 0, "\(core.calls.count) calls are left")
            check(core.inputBytesHeld == 0, "\(core.inputBytesHeld) bytes of requests are held")
            check(core.outputBytesHeld == 0, "\(core.outputBytesHeld) bytes of replies are held")
            check(connection.share.bytesHeld == 0, "the share holds \(connection.share.bytesHeld)")
            check(core.metrics.connectionsOpen == 0, "the connection is counted")
            core.stop()
        }

        private static let greeting: [UInt8] =
            Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
            + [0, 0, 0, 4, 1, 0, 0, 0, 0]

        private func request(_ method: UInt8) -> [UInt8] {
            defer { nextStream += 2 }
            let paths = FuzzHandler.table.methods
            let path = paths[Int(method) % paths.count].path
            var block: [UInt8] = [0x83, 0x87, 1, 1, 0x66]
            for (name, value) in [
                (":path", path), ("te", "trailers"), ("content-type", "application/grpc"),
            ] {
                block += [0, UInt8(name.utf8.count)] + name.utf8
                block += [UInt8(value.utf8.count)] + value.utf8
            }
            let stream = RawID.bytes(nextStream)
            return [0, 0, UInt8(block.count), 1, 4] + stream + block
                + [0, 0, 7, 0, method & 16 == 0 ? 1 : 0] + stream + [0, 0, 0, 0, 2, 8, 1]
        }

        private func write(_ bytes: [UInt8]) throws {
            if !bytes.isEmpty { try tls.write(bytes.span) }
        }

        private func advance(_ milliseconds: UInt64) {
            core.now = core.now.advanced(byNanoseconds: milliseconds * 1_000_000)
            core.expireCalls()
            connection.sweep()
            core.resetStalledStreams()
        }

        private func move() {
            tls.withOutput { bytes in
                connection.wire.tls.receive(bytes)
                return bytes.count
            }
            guard takes else { return }
            connection.wire.tls.withOutput { bytes in
                tls.receive(bytes)
                return bytes.count
            }
            connection.sentAt = core.now
        }

        private func turn() {
            move()
            while case .more = connection.process() { endTurn() }
            core.deliver()
            endTurn()
            let waiting = connection.wire.tls.outputCount
            check(waiting <= Limits.outputBytesMax + 64 << 10, "\(waiting) bytes wait")
            move()
            var text = buffer
            while case .bytes = (try? tls.read(into: &text)) ?? .needsInput {}
        }

        private func endTurn() {
            handler.turnEnded()
            core.observe(at: core.now)
            let dirty = core.dirty
            core.dirty = []
            for index in dirty where core.connections[index] != nil { connection.flush() }
        }
    }
}

/// A stream's identifier on the wire.
enum RawID {
    static func bytes(_ stream: Int32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: stream >> Int32(24 - $0 * 8)) }
    }
}

/// Holds calls until the input says what becomes of them; knows which may still be answered.
final class FuzzHandler: CallHandler {
    static let table = MethodTable([
        Method(path: "/f.F/Unary", clientStreaming: false, serverStreaming: false),
        Method(path: "/f.F/Pull", clientStreaming: false, serverStreaming: true),
        Method(path: "/f.F/Push", clientStreaming: true, serverStreaming: false),
        Method(path: "/f.F/Both", clientStreaming: true, serverStreaming: true),
        Method(path: "/f.F/Now", clientStreaming: false, serverStreaming: false),
    ])

    private unowned let core: ServerCore
    private var held: [CallID] = []
    private var done: Set<UInt64> = []

    init(_ core: ServerCore) { self.core = core }

    func requestReceived(_ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>) {
        if head.method == 4 {
            core.respond(call, [UInt8](copying: message))
        } else {
            begin(call)
        }
    }

    func streamOpened(_ call: CallID, _ head: borrowing CallHead) { begin(call) }

    private func begin(_ call: CallID) {
        check(!held.contains(call), "a call begins once")
        held.append(call)
    }

    func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        check(held.contains(call) || done.contains(call.raw), "a message of a known call")
    }

    func streamInputEnded(_ call: CallID) {
        check(held.contains(call) || done.contains(call.raw), "an end of a known call")
    }

    func callCancelled(_ call: CallID, _ reason: CancelReason) {
        check(done.insert(call.raw).inserted, "a call is cancelled once, and not after its end")
        held.removeAll { $0 == call }
    }

    func streamWritable(_ call: CallID) {}

    func turnEnded() {}

    /// Does something with the oldest call, or the newest.
    func act(_ how: UInt8) {
        guard let call = how & 16 == 0 ? held.first : held.last else { return }
        switch how & 15 {
        case 0...2:
            end(call)
            core.respond(call, [UInt8](repeating: 1, count: Int(how & 3) * 20_000))
        case 3, 4:
            end(call)
            core.finish(call, RPCError(.aborted, reason: "FUZZ", message: "no: %\u{7}"))
        case 5:
            end(call)
            core.finish(call, nil)
        case 6...8:
            if case .gone = core.send(call, [UInt8](repeating: 2, count: 30_000)) { end(call) }
        case 9: if !core.markLongLived(call) { end(call) }
        default: core.requestMore(call)
        }
    }

    private func end(_ call: CallID) {
        done.insert(call.raw)
        held.removeAll { $0 == call }
    }

    /// After the connection's end every call was answered or cancelled.
    func settle() { check(held.isEmpty, "\(held.count) calls were forgotten") }
}
