// The rules that every gRPC implementation that we measured breaks, in raw frames (shared design,
// wire.md "Conformance"). The rest of the cases is in CompressionTests and PlainRequestTests.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageTransport

@Suite struct ConformanceTests {
    private static let message = MessageFramer.frame([UInt8]([7, 8, 9]).span)

    /// The payload of a padded frame.
    private static func padded(_ content: [UInt8], by count: Int) -> [UInt8] {
        [UInt8(count)] + content + [UInt8](repeating: 0, count: count)
    }

    private static func codes(_ peer: RawPeer, _ type: UInt8) -> [UInt32] {
        peer.frames.filter { $0.type == type }.map { frame in
            frame.payload.suffix(4).reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    /// The messages that the server sent on a stream.
    private static func body(_ peer: RawPeer, _ stream: Int32) -> [UInt8] {
        peer.frames.filter { $0.type == 0 && $0.stream == stream }.flatMap(\.payload)
    }

    /// RFC 9113 §6.1, §6.2.
    @Test(arguments: [0, 1, 7, 255]) func paddedHeadersAndData_areAnswered(padding: Int) throws {
        let peer = try RawPeer()
        let flags = RawFrame.padded
        try peer.send(
            [],
            RawFrame(
                type: 1, flags: flags | RawFrame.endHeaders, stream: 1,
                payload: Self.padded(RawFrame.request("Echo"), by: padding)),
            RawFrame(
                type: 0, flags: flags | RawFrame.endStream, stream: 1,
                payload: Self.padded(Self.message, by: padding)))
        #expect(Self.body(peer, 1) == Self.message)
        #expect(peer.goAway == nil)
    }

    @Test(arguments: [0, 3, 255]) func paddingInsideAMessage_isNotPartOfIt(padding: Int) throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Echo")))
        for (index, byte) in Self.message.enumerated() {
            let isLast = index == Self.message.count - 1
            try peer.send(
                [],
                RawFrame(
                    type: 0, flags: RawFrame.padded | (isLast ? RawFrame.endStream : 0), stream: 1,
                    payload: Self.padded([byte], by: padding)))
        }
        #expect(Self.body(peer, 1) == Self.message)
        #expect(peer.core.inputBytesHeld == 0)
    }

    /// RFC 9113 §6.1: padding as long as the payload is a connection error.
    @Test func paddingLongerThanTheFrame_isPROTOCOL_ERROR() throws {
        let peer = try RawPeer()
        try peer.send(
            [], .headers(1, RawFrame.request("Echo")),
            RawFrame(type: 0, flags: RawFrame.padded, stream: 1, payload: [9, 1, 2]))
        #expect(peer.goAway?.code == 1)
    }

    @Test func twoMessagesOnAUnaryCall_areRefused_beforeTheHandlerSeesOne() throws {
        let machine = try Machine()
        for body in [[Self.message + Self.message], [Self.message, Self.message]] {
            let stream = try machine.open("Echo")
            for (index, piece) in body.enumerated() {
                machine.send(stream, piece, end: index == body.count - 1)
                try machine.turn()
            }
            #expect(machine.seen[stream.id]?.error?.code == .unimplemented)
            #expect(machine.seen[stream.id]?.error?.reason == "REQUEST_CARDINALITY")
        }
        #expect(machine.handler.heads.isEmpty)
    }

    @Test func noMessageOnAUnaryCall_isRefused() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", endStream: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == "REQUEST_CARDINALITY")
    }

    /// RFC 9113 §8.2.1: CR, LF and NUL make a request malformed, a stream error.
    @Test(arguments: ["a\rb", "a\nb", "a\u{0}b", "\r\n"])
    func controlCharactersInAValue_arePROTOCOL_ERROR(value: String) throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Echo", [("x-note", value)])))
        #expect(Self.codes(peer, 3) == [1])
        #expect(peer.goAway == nil)
        #expect(peer.handler.heads.isEmpty)
        // The connection lives.
        try peer.send(
            [], .headers(3, RawFrame.request("Echo")), .data(3, Self.message, end: true))
        #expect(Self.body(peer, 3) == Self.message)
    }

    /// RFC 9113 §8.2.2.
    @Test(arguments: [
        ("connection", "close"), ("keep-alive", "1"), ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"),
    ]) func connectionSpecificFields_arePROTOCOL_ERROR(name: String, value: String) throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Echo", [(name, value)])))
        #expect(Self.codes(peer, 3) == [1])
        #expect(peer.handler.heads.isEmpty)
    }

    /// RFC 9113 §8.2: names are lower case; §8.3: pseudo-header fields are known, once, in front.
    @Test(arguments: [
        ("X-Note", "1"), (":status", "200"), (":unknown", "1"), (":path", "/again"), ("", "empty"),
        ("x note", "1"),
    ]) func malformedNames_arePROTOCOL_ERROR(name: String, value: String) throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Echo", [(name, value)])))
        #expect(Self.codes(peer, 3) == [1])
        #expect(peer.handler.heads.isEmpty)
    }

    /// gRPC: identity comes from TLS, whatever a client or a proxy says of itself.
    @Test func fieldsThatClaimAnIdentity_areOnlyMetadata() throws {
        let machine = try Machine()
        _ = try machine.call(
            "Echo",
            changes: [
                ("x-forwarded-client-cert", "URI=spiffe://triage.example/operator/root"),
                ("authorization", "Bearer x"),
            ])
        #expect(machine.handler.heads.first?.principal == "spiffe://triage.example/specialist/ada")
    }

    /// gRPC PROTOCOL-HTTP2: every unit, at most 8 digits, else refused.
    @Test(arguments: [
        ("1n", 1), ("99999999u", 99_999_999_000), ("250m", 250_000_000), ("2S", 2_000_000_000),
        ("1M", 60_000_000_000), ("0H", 0),
    ]) func timeouts_inAllUnits_reachTheHandler(text: String, nanoseconds: UInt64) throws {
        let machine = try Machine()
        let begin = machine.core.now
        let stream = try machine.open("Echo", changes: [("grpc-timeout", text)])
        machine.send(stream, Self.message, end: true)
        try machine.turn()
        let limit = UInt64(Limits.unaryMillisecondsMax) * 1_000_000
        #expect(
            machine.handler.heads.first?.deadline
                == begin.advanced(byNanoseconds: min(nanoseconds, limit)))
    }

    @Test(arguments: ["", "1", "S", "123456789S", "1s", "-1S", "1.5S", " 1S", "1 S", "1SS"])
    func malformedTimeouts_areINVALID_ARGUMENT(text: String) throws {
        let peer = try RawPeer()
        try peer.send(
            [], .headers(1, RawFrame.request("Echo", [("grpc-timeout", text)]), end: true))
        #expect(peer.handler.heads.isEmpty)
        #expect(peer.goAway == nil)
        let isTold = peer.frames.contains { $0.type == 1 && $0.stream == 1 }
        // Blanks at the ends of a value are malformed for HTTP/2 already.
        #expect(isTold || Self.codes(peer, 3) == [1])
    }
}
