// What a server session makes of frames, and what it answers: one conversation a rule.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let good = HeaderFields.forever([
    .init(":status", "200"), .init("content-type", "application/grpc"),
])
private let ok = HeaderFields.forever([.init("grpc-status", "0")])

@Suite struct ServerConversationTests {
    // MARK: Preface (RFC 9113 §3.4)

    @Test func greeting_announcesTheLimits() throws {
        let talk = try Conversation(greet: false)
        let frames = try talk.frames()
        try #require(frames.count == 2)
        #expect(frames[0].type == 4)
        var announced: [UInt16: UInt32] = [:]
        for at in stride(from: 0, to: frames[0].payload.count, by: 6) {
            let id = UInt16(frames[0].payload[at]) << 8 | UInt16(frames[0].payload[at + 1])
            announced[id] = frames[0].word(at + 2)
        }
        #expect(announced == [3: 100, 4: 1 << 20, 6: 16_384, 9: 1])
        #expect(frames[1] == .windowUpdate(0, (4 << 20) - 65_535))
    }

    @Test func preface_inSingleBytes_isUnderstood() throws {
        let talk = try Conversation(greet: false)
        _ = try talk.frames()
        for byte in Frame.preface + Frame.settings().bytes
            + Frame.headers(1, request, end: true).bytes
        {
            try talk.sendBytes([byte])
        }
        #expect(
            talk.take() == [.settings, .headers(1, request.map { $0.0 + "=" + $0.1 }), .end(1)])
        #expect(try talk.frames() == [.settingsAck])
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n_______", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r_",
        "\u{16}\u{3}\u{1}_____________________",
    ])
    func otherProtocols_areABadPreface(text: String) throws {
        let talk = try Conversation(greet: false)
        #expect(throws: HTTP2Error.badPreface) { try talk.sendBytes(Array(text.utf8)) }
    }

    @Test func firstFrameOtherThanSettings_endsTheConnection() throws {
        let talk = try Conversation(greet: false)
        _ = try talk.frames()
        try talk.sendBytes(Frame.preface + Frame.ping().bytes)
        #expect(try talk.frames().map(\.type) == [7])
        #expect(!talk.session.wantsRead)
    }

    // MARK: Streams (RFC 9113 §5)

    @Test func hundredStreams_open_oneMoreIsRefused_whoeverKnowsTheLimitIsCutOff() throws {
        // Before the client has acknowledged the limit it cannot be blamed for crossing it.
        let early = try Conversation(greet: false)
        try early.sendBytes(Frame.preface + Frame.settings().bytes)
        for index in 0..<100 { _ = try early.open(Int32(index * 2 + 1)) }
        _ = try early.frames()
        #expect(early.session.openStreamCount == 100)
        #expect(try early.exchange(.headers(201, request)).answer == [.reset(201, .refusedStream)])
        #expect(early.session.openStreamCount == 100)

        let late = try Conversation()
        for index in 0..<100 { _ = try late.open(Int32(index * 2 + 1)) }
        let (_, answer) = try late.exchange(.headers(201, request))
        #expect(answer.map(\.type) == [7])
        #expect(answer.first?.word(4) == HTTP2ErrorCode.protocolError.rawValue)
    }

    @Test func brokenFrames_endTheConnection() throws {
        let frames: [Frame] = [
            .headers(2, request), .headers(0, request), .data(0, [1]), .data(9, [1]),
            .windowUpdate(9, 1), .reset(9, .cancel), .windowUpdate(5, 0),
            .settings([(4, 1 << 31)]),
            Frame(type: 4, flags: 0, stream: 1, payload: []),
            Frame(type: 6, flags: 0, stream: 0, payload: [1]),
            Frame(type: 5, flags: 4, stream: 5, payload: [0, 0, 0, 2]),
            .windowUpdate(0, 0), .continuation(5, [], complete: true),
        ]
        for frame in frames {
            let talk = try Conversation()
            _ = try talk.open(5)
            let (_, answer) = try talk.exchange(frame)
            #expect(answer.last?.type == 7, "\(frame)")
            #expect(!talk.session.wantsRead, "\(frame)")
        }
    }

    @Test func frameOverTheMaximum_endsTheConnection() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        let (_, answer) = try talk.exchange(.data(1, [UInt8](repeating: 0, count: 16_385)))
        #expect(answer.map(\.type) == [7])
        #expect(answer.first?.word(4) == HTTP2ErrorCode.frameSizeError.rawValue)
    }

    @Test func dataAfterTheEnd_isStreamClosed() throws {
        let talk = try Conversation()
        _ = try talk.open(1, end: true)
        let (_, answer) = try talk.exchange(.data(1, [1]))
        #expect(answer.map(\.type) == [7])
        #expect(answer.first?.word(4) == HTTP2ErrorCode.streamClosed.rawValue)
    }

    @Test func reset_isTold_andTheHandleGoesStale() throws {
        let talk = try Conversation()
        let stream = try talk.open(1)
        talk.session.setUserData(stream, 42)
        _ = talk.take()
        try talk.send(.reset(1, .cancel))
        #expect(talk.take() == [.closed(1, .cancel)])
        #expect(talk.session.counters.resets == 1)
        // Every operation on it is without effect, whoever has the slot now.
        let next = try talk.open(3)
        #expect(next.slot == stream.slot)
        #expect(talk.session.userData(next) == 0)
        talk.session.submitData(stream, [1])
        talk.session.setUserData(stream, 7)
        talk.session.consume(stream, 1)
        talk.session.reset(stream, .cancel)
        try talk.session.submitHeaders(stream, good, endStream: true)
        talk.session.submitTrailers(stream, ok)
        talk.session.endStream(stream)
        #expect(talk.session.bufferedBytes(stream) == 0)
        #expect(talk.session.userData(next) == 0)
        #expect(try talk.frames().isEmpty)
    }

    @Test func userData_isReadableInTheEventThatClosesTheStream() throws {
        let session = try Conversation().session
        try session.receive(Frame.headers(1, request).bytes.span)
        guard case .headers(let stream, _) = session.events.first else {
            Issue.record("no headers")
            return
        }
        session.setUserData(stream, 42)
        session.clearEvents()
        // Closed and followed by another stream within one read.
        try session.receive((Frame.reset(1, .cancel).bytes + Frame.headers(3, request).bytes).span)
        guard case .streamClosed(let closed, _) = session.events.first,
            case .headers(let next, _) = session.events.last
        else {
            Issue.record("unexpected events")
            return
        }
        #expect(session.userData(closed) == 42)
        #expect(session.userData(next) == 0)
        #expect(next.slot != closed.slot)
    }

    // MARK: Responses

    @Test func unaryResponse_isHeadersDataTrailers() throws {
        let talk = try Conversation()
        let stream = try talk.open(1, end: true)
        _ = talk.take()
        try talk.session.submitHeaders(stream, good, endStream: false)
        talk.session.submitData(
            stream, [9, 8, 7], prefix: DataPrefix(flag: 1, length: 0x0102_0304))
        #expect(talk.session.bufferedBytes(stream) == 8)
        #expect(talk.session.bufferedBytes == 8)
        talk.session.submitTrailers(stream, ok)
        let frames = try talk.frames()
        try #require(frames.map(\.type) == [1, 0, 1])
        #expect(frames[1] == .data(1, [1, 1, 2, 3, 4, 9, 8, 7]))
        #expect(frames[2].flags == Frame.endStream | Frame.endHeaders)
        #expect(talk.take() == [.closed(1, .noError)])
        #expect(talk.session.bufferedBytes == 0)
        #expect(talk.session.openStreamCount == 0)
        #expect(talk.session.counters.dataFramesSent == 1)
    }

    @Test func streamedResponse_waitsForItsParts_andSendsNoEmptyFrame() throws {
        let talk = try Conversation()
        let stream = try talk.open(1, end: true)
        try talk.session.submitHeaders(stream, good, endStream: false)
        #expect(try talk.frames().map(\.type) == [1])
        #expect(!talk.session.wantsWrite)
        for part in 1...3 {
            talk.session.submitData(stream, [UInt8(part)])
            #expect(try talk.frames() == [.data(1, [UInt8(part)])])
        }
        talk.session.submitData(stream, [])
        #expect(try talk.frames().isEmpty)
        talk.session.submitTrailers(stream, ok)
        #expect(try talk.frames().map(\.type) == [1])
        talk.session.submitData(stream, [1])
        #expect(try talk.frames().isEmpty)
    }

    @Test func endStream_marksTheLastDataFrame() throws {
        let talk = try Conversation()
        let stream = try talk.open(1, end: true)
        try talk.session.submitHeaders(stream, good, endStream: false)
        talk.session.submitData(stream, [1])
        talk.session.endStream(stream)
        #expect(try talk.frames().last == .data(1, [1], end: true))
    }

    @Test func manyChunks_areJoinedInOrder() throws {
        let talk = try Conversation(peerSettings: [(4, 1 << 20)])
        try talk.send(.windowUpdate(0, 1 << 20))
        let stream = try talk.open(1, end: true)
        try talk.session.submitHeaders(stream, good, endStream: false)
        var expected: [UInt8] = []
        for index in 0..<1_000 {
            let body = [UInt8](repeating: UInt8(index & 255), count: index % 7 * 20)
            talk.session.submitData(
                stream, body, prefix: DataPrefix(flag: 0, length: UInt32(body.count)))
            expected += [0, 0, 0, 0, UInt8(body.count)] + body
        }
        talk.session.submitTrailers(stream, ok)
        let frames = try talk.frames()
        #expect(frames.filter { $0.type == 0 }.flatMap(\.payload) == expected)
        #expect(frames.filter { $0.type == 0 }.count == (expected.count + 16_383) / 16_384)
        #expect(frames.last?.type == 1)
    }

    @Test func answerBeforeTheRequestEnded_resetsWithNoError() throws {
        let talk = try Conversation()
        let stream = try talk.open(1)
        _ = talk.take()
        try talk.session.submitHeaders(stream, good, endStream: true)
        let frames = try talk.frames()
        try #require(frames.map(\.type) == [1, 3])
        #expect(frames[1] == .reset(1, .noError))
        #expect(talk.take() == [.closed(1, .noError)])
        #expect(talk.session.counters.resetsProvoked == 0)
        // What the client had sent meanwhile does not disturb.
        let (happened, answer) = try talk.exchange(.data(1, [1, 2, 3], end: true))
        #expect(happened.isEmpty)
        #expect(answer.isEmpty)
    }

    @Test func ourReset_dropsTheQueue_andIsNotProvoked() throws {
        let talk = try Conversation()
        let stream = try talk.open(1)
        try talk.session.submitHeaders(stream, good, endStream: false)
        _ = try talk.frames()
        talk.session.submitData(stream, [UInt8](repeating: 0, count: 100_000))
        _ = talk.take()
        talk.session.reset(stream, .cancel)
        talk.session.reset(stream, .cancel)
        #expect(try talk.frames().filter { $0.type == 3 } == [.reset(1, .cancel)])
        #expect(talk.take().last == .closed(1, .cancel))
        #expect(talk.session.bufferedBytes == 0)
        #expect(talk.session.counters.resetsProvoked == 0)
    }

    @Test func drain_stopsAtItsLimit_andSaysThatThereIsMore() throws {
        let talk = try Conversation(peerSettings: [(4, 1 << 20)])
        try talk.send(.windowUpdate(0, 1 << 20))
        let stream = try talk.open(1, end: true)
        try talk.session.submitHeaders(stream, good, endStream: false)
        talk.session.submitData(stream, [UInt8](repeating: 1, count: 100_000))
        talk.session.endStream(stream)
        var bytes: [UInt8] = []
        #expect(try talk.session.drain(into: &bytes, atMost: 16_384))
        #expect(bytes.count >= 16_384)
        #expect(bytes.count <= 16_384 + 16_393)
        var rounds = 1
        while try talk.session.drain(into: &bytes, atMost: bytes.count + 1) { rounds += 1 }
        #expect(rounds > 4)
        #expect(
            Frame.parse(bytes).filter { $0.type == 0 }.reduce(0) { $0 + $1.payload.count }
                == 100_000)
    }

    @Test func aLongBody_doesNotHoldUpAShortOne() throws {
        let talk = try Conversation(peerSettings: [(4, 1 << 20)])
        try talk.send(.windowUpdate(0, 1 << 24))
        let long = try talk.open(1, end: true)
        let short = try talk.open(3, end: true)
        for stream in [long, short] {
            try talk.session.submitHeaders(stream, good, endStream: false)
        }
        talk.session.submitData(long, [UInt8](repeating: 1, count: 900_000))
        talk.session.endStream(long)
        talk.session.submitData(short, [2])
        talk.session.endStream(short)
        let data = try talk.frames().filter { $0.type == 0 }
        let position = try #require(data.firstIndex { $0.stream == 3 })
        #expect(position <= 2)
    }

    // MARK: GOAWAY and PING

    @Test func drain_isTwoGoAways_thenTheEnd() throws {
        let talk = try Conversation()
        let stream = try talk.open(1, end: true)
        try talk.session.shutdownNotice()
        #expect(try talk.frames() == [.goAway(last: .max, .noError)])
        // A request that was on its way is still served.
        let late = try talk.open(3, end: true)
        try talk.session.goAway(.noError)
        #expect(try talk.frames() == [.goAway(last: 3, .noError)])
        let (happened, _) = try talk.exchange(.headers(5, request, end: true))
        #expect(!happened.contains(.end(5)))
        for open in [stream, late] { try talk.session.submitHeaders(open, good, endStream: true) }
        #expect(talk.session.wantsRead)
        _ = try talk.frames()
        #expect(!talk.session.wantsRead)
        #expect(!talk.session.wantsWrite)
        // Twice is once.
        try talk.session.goAway(.noError)
        #expect(try talk.frames().allSatisfy { $0 == .goAway(last: 3, .noError) })
    }

    @Test func goAway_carriesItsReason() throws {
        let talk = try Conversation()
        try talk.session.goAway(.enhanceYourCalm, debug: "too_many_pings")
        #expect(try talk.frames() == [.goAway(last: 0, .enhanceYourCalm, debug: "too_many_pings")])
    }

    @Test func terminate_hearsNothingMore() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        _ = talk.take()
        try talk.session.terminate(.enhanceYourCalm)
        let (happened, answer) = try talk.exchange(.headers(3, request), .ping())
        #expect(happened.isEmpty)
        #expect(answer == [.goAway(last: 1, .enhanceYourCalm)])
        #expect(!talk.session.wantsRead && !talk.session.wantsWrite)
    }

    @Test func goAwayOfThePeer_isTold_twiceToo() throws {
        let talk = try Conversation()
        let (happened, _) = try talk.exchange(
            .goAway(last: 0, .noError), .goAway(last: 0, .enhanceYourCalm))
        #expect(happened == [.goAway(0, .noError), .goAway(0, .enhanceYourCalm)])
    }

    @Test func ping_isAnsweredByEachSide() throws {
        let talk = try Conversation()
        #expect(try talk.exchange(.ping()).answer == [.ping(ack: true)])
        #expect(talk.session.counters.pings == 1)
        try talk.session.ping(0x0102_0304_0506_0708)
        #expect(try talk.frames() == [.ping()])
        #expect(try talk.exchange(.ping(ack: true)).happened == [.pong(0x0102_0304_0506_0708)])
        #expect(talk.session.counters.pings == 1)
    }
}
