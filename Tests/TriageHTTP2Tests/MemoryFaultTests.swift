// Memory that runs out: nghttp2's n-th allocation fails, for every n of a whole conversation, once
// or from then on. The session may end, and calls may; it must not crash, leak, or answer wrongly.

import TestSupport
import Testing
import TriageBase

@testable import TriageHTTP2

private let good = HeaderFields.forever([
    .init(":status", "200"), .init("content-type", "application/grpc"),
])
private let ok = HeaderFields.forever([.init("grpc-status", "0")])

@Suite struct MemoryFaultTests {
    /// What a client saw of a call.
    private struct Seen {
        var body: [UInt8] = []
        var hasTrailers = false
        var closed: HTTP2ErrorCode?
    }

    private static func body(_ call: Int) -> [UInt8] {
        // Small ones, one of several frames, and one that needs the window to open again.
        [UInt8](repeating: UInt8(call), count: [3, 40_000, 0, 1_200_000][call % 4])
    }

    /// Unary calls of several sizes with long headers, a cancelled one, pings, and a drain.
    ///
    /// - Returns: What the client saw, by call; an error ends the conversation early.
    private static func converse(_ client: HTTP2Session, _ server: HTTP2Session) -> [Int: Seen] {
        var seen: [Int: Seen] = [:]
        do throws(HTTP2Error) {
            for call in 0..<6 {
                let fields = HeaderFields(
                    request.map { .init($0.0, $0.1) }
                        + [.init("x-long", String(repeating: "v", count: call * 900))])
                let stream = try client.submitRequest(fields, userData: call, endStream: false)
                client.submitData(stream, body(call))
                client.endStream(stream)
                seen[call] = Seen()
                if call == 5 { client.reset(stream, .cancel) }
            }
            try client.ping(7)
            var bodies: [Int32: [UInt8]] = [:]
            for turn in 0..<400 {
                var bytes: [UInt8] = []
                _ = try client.drain(into: &bytes, atMost: 32 << 10)
                take(client, bytes, &seen)
                let sent = bytes.count
                if sent > 0 { try server.receive(bytes.span) }
                try answer(server, bytes, &bodies)
                if turn == 300 { try server.goAway(.noError) }
                bytes = []
                _ = try server.drain(into: &bytes, atMost: 32 << 10)
                try answer(server, [], &bodies)
                if !bytes.isEmpty { try client.receive(bytes.span) }
                take(client, bytes, &seen)
                if sent == 0, bytes.isEmpty, turn > 300 { break }
            }
        } catch {
            // Either side may end for want of memory.
        }
        return seen
    }

    private static func answer(
        _ server: HTTP2Session, _ input: [UInt8], _ bodies: inout [Int32: [UInt8]]
    ) throws(HTTP2Error) {
        for event in server.events {
            switch event {
            case .data(let stream, let offset, let count):
                bodies[stream.id, default: []] += input[offset..<offset + count]
                server.consume(stream, count)
            case .endStream(let stream):
                try server.submitHeaders(stream, good, endStream: false)
                server.submitData(stream, bodies[stream.id] ?? [])
                server.submitTrailers(stream, ok)
            case .streamClosed(let stream, _): bodies[stream.id] = nil
            default: break
            }
        }
        server.clearEvents()
    }

    private static func take(_ client: HTTP2Session, _ input: [UInt8], _ seen: inout [Int: Seen]) {
        for event in client.events {
            switch event {
            case .data(let stream, let offset, let count):
                seen[client.userData(stream), default: Seen()].body +=
                    input[offset..<offset + count]
                client.consume(stream, count)
            case .trailers(let stream, _):
                seen[client.userData(stream), default: Seen()].hasTrailers = true
            case .streamClosed(let stream, let code):
                seen[client.userData(stream), default: Seen()].closed = code
            default: break
            }
        }
        client.clearEvents()
    }

    /// Runs one conversation; returns how many allocations it asked for and what was answered.
    private static func run(
        _ role: HTTP2Role, failsAt: Int, forGood: Bool
    ) -> (allocations: Int, answered: Int) {
        let memory = FailingMemory(failsAt: failsAt, forGood: forGood)
        var answered = 0
        // What such a session holds is given up.
        var isSpent = false
        do {
            let settings = HTTP2Settings()
            let faulty = try HTTP2Session(role: role, settings: settings, pool: memory.pool)
            let other = try HTTP2Session(role: role == .server ? .client : .server)
            let seen = role == .server ? converse(other, faulty) : converse(faulty, other)
            isSpent = faulty.isSpent
            for (call, result) in seen where result.closed == .noError && result.hasTrailers {
                answered += 1
                #expect(result.body == body(call), "allocation \(failsAt), call \(call)")
            }
        } catch {
            isSpent = true
            #expect(error == .outOfMemory, "allocation \(failsAt): \(error)")
        }
        #expect(
            isSpent || memory.outstanding == 0,
            "allocation \(failsAt): \(memory.outstanding) are lost")
        return (memory.count, answered)
    }

    @Test(arguments: [HTTP2Role.server, .client], [false, true])
    func everyAllocation_mayFail(role: HTTP2Role, forGood: Bool) {
        let whole = Self.run(role, failsAt: 0, forGood: false)
        #expect(whole.answered == 5, "without a fault all is answered")
        #expect(whole.allocations > 50)
        // One more than there are: that run is whole again.
        for number in 1...whole.allocations {
            _ = Self.run(role, failsAt: number, forGood: forGood)
        }
        #expect(Self.run(role, failsAt: whole.allocations + 1, forGood: forGood).answered == 5)
    }
}
