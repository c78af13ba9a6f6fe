// Requests that are not gRPC: answered in plain HTTP, whole, and not before they are whole.
// Source: RFC 9110 §15.5.6, §15.5.16, §9.3.2; gRPC PROTOCOL-HTTP2 "Requests".

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageTransport

@Suite struct PlainRequestTests {
    private static let get = [(":method", "GET"), ("content-type", "")]

    @Test func aBrowser_isToldWhatThisIs() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", changes: Self.get, endStream: true)
        try machine.turn()
        let seen = try #require(machine.seen[stream.id])
        #expect(seen.fields[":status"] == "405")
        #expect(seen.fields["allow"] == "POST")
        #expect(seen.fields["content-type"] == "text/plain; charset=utf-8")
        #expect(seen.body == PlainReply.text)
        #expect(seen.fields["content-length"] == String(seen.body.count))
        #expect(seen.isEnded)
        #expect(machine.connection.plainRequests.isEmpty)
    }

    @Test func HEAD_hasNoBody() throws {
        let machine = try Machine()
        let stream = try machine.open(
            "Echo", changes: [(":method", "HEAD"), ("content-type", "")], endStream: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.fields[":status"] == "405")
        #expect(machine.seen[stream.id]?.body == [])
        #expect(machine.seen[stream.id]?.isEnded == true)
    }

    @Test(arguments: ["application/json", "application/grpc-web", "application/grpcx", "text/html"])
    func anotherContentType_is415(type: String) throws {
        let machine = try Machine()
        let seen = try machine.call("Echo", changes: [("content-type", type)])
        #expect(seen.fields[":status"] == "415")
        #expect(seen.status == nil)
        #expect(seen.body == PlainReply.text)
        #expect(machine.handler.heads.isEmpty)
    }

    @Test func theAnswer_waitsForTheEndOfTheRequest() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", changes: Self.get)
        machine.send(stream, [1, 2, 3])
        try machine.turn()
        #expect(machine.seen[stream.id]?.fields.isEmpty == true)
        machine.send(stream, [4], end: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.fields[":status"] == "405")
    }

    @Test func aRequestThatNeverEnds_isReset_andCounted() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", changes: Self.get)
        try machine.turn()
        let limit = UInt64(Limits.unaryMillisecondsMax)
        try machine.advance(milliseconds: limit)
        #expect(machine.seen[stream.id]?.closed == nil)
        try machine.advance(milliseconds: 1_001)
        #expect(machine.seen[stream.id]?.closed == .cancel)
        expectHit(.bodyTime, in: machine)
        #expect(machine.connection.plainRequests.isEmpty)
    }

    @Test func anAnswerThatIsNotTaken_isReset_andCounted() throws {
        let peer = try RawPeer(greet: false)
        let noWindow = RawFrame(type: 4, payload: [0, 4, 0, 0, 0, 0])
        let page = RawFrame.literals([
            (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "localhost"),
        ])
        try peer.send(RawFrame.preface, noWindow, .settingsAck, .headers(1, page, end: true))
        func reset() -> RawFrame? { peer.frames.first { $0.type == 3 && $0.stream == 1 } }
        #expect(peer.frames.contains { $0.type == 1 && $0.stream == 1 })
        #expect(peer.connection.http2.openStreamCount == 1)
        let limit = UInt64(Limits.stalledStreamMillisecondsMax)
        try peer.advance(milliseconds: limit)
        #expect(reset() == nil)
        // A little of it is taken: it has as long again.
        try peer.send([], .windowUpdate(1, 10))
        #expect(peer.frames.last { $0.type == 0 }?.payload.count == 10)
        try peer.advance(milliseconds: 1_000)
        try peer.advance(milliseconds: limit)
        #expect(reset() == nil)
        try peer.advance(milliseconds: 1_001)
        #expect(reset()?.payload == RawFrame.big(HTTP2ErrorCode.cancel.rawValue))
        expectHit(.stalledStream, in: peer)
        #expect(peer.connection.plainRequests.isEmpty)
        #expect(peer.connection.http2.openStreamCount == 0)
    }

    @Test func aRequestThatIsReset_isForgotten() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", changes: Self.get)
        try machine.turn()
        #expect(machine.connection.plainRequests.count == 1)
        machine.http2.reset(stream, .cancel)
        try machine.turn()
        #expect(machine.connection.plainRequests.isEmpty)
    }

    /// h2spec 5.1.2.
    @Test func theyCountAgainstTheStreamLimit() throws {
        var limits = ServerLimits()
        limits.concurrentStreamsMax = 3
        let machine = try Machine(limits: limits)
        for _ in 0..<3 { _ = try machine.open("Echo", changes: Self.get) }
        try machine.turn()
        #expect(machine.connection.plainRequests.count == 3)
        #expect(machine.connection.http2.openStreamCount == 3)
    }
}
