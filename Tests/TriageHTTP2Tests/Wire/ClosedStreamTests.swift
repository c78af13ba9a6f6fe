// Frames for streams that are over, and PRIORITY: what nghttp2 skips without a word and our ledger
// refuses. Named by section of RFC 9113, with the cases of h2spec that ask for them.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let good = HeaderFields.forever([.init(":status", "200")])

@Suite struct ClosedStreamTests {
    /// Answers a request whole.
    private static func answer(_ talk: Conversation, _ id: Int32) throws {
        let stream = try #require(talk.streams[id])
        try talk.session.submitHeaders(stream, good, endStream: true)
        _ = try talk.frames()
    }

    /// The code of the GOAWAY among some frames.
    private static func goAway(_ frames: [Frame]) -> UInt32? {
        frames.first { $0.type == 7 }?.word(4)
    }

    private static func done(_ id: Int32 = 1) throws -> Conversation {
        let talk = try Conversation()
        _ = try talk.open(id, end: true)
        try answer(talk, id)
        return talk
    }

    /// h2spec 5.1/11, 6.1/2.
    @Test func section5_1_dataForAnEndedStream_isSTREAM_CLOSED() throws {
        let talk = try Self.done()
        let answer = try talk.exchange(.data(1, [1, 2]))
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.streamClosed.rawValue)
        #expect(!talk.session.wantsRead)
        #expect(talk.session.counters.invalidFrames == 1)
    }

    /// h2spec 5.1/12.
    @Test func section5_1_headersForAnEndedStream_areSTREAM_CLOSED() throws {
        let talk = try Self.done()
        let answer = try talk.exchange(.headers(1, request, end: true))
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.streamClosed.rawValue)
    }

    /// h2spec 5.1/8 and 5.1/9.
    @Test(arguments: [true, false]) func section5_1_framesAfterTheClientsReset(isData: Bool) throws
    {
        let talk = try Conversation()
        try talk.send(.headers(1, request), .reset(1, .cancel))
        let answer = try talk.exchange(isData ? .data(1, [1]) : .headers(1, request, end: true))
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.streamClosed.rawValue)
    }

    @Test func section5_1_framesAfterOurReset_areIgnored() throws {
        let talk = try Conversation()
        let stream = try talk.open(1)
        talk.session.reset(stream, .cancel)
        _ = try talk.frames()
        let answer = try talk.exchange(
            .data(1, [1, 2, 3]), .headers(1, [("x-late", "1")], end: true))
        #expect(answer.answer.isEmpty)
        #expect(talk.session.wantsRead)
        let next = try talk.exchange(.headers(3, request, end: true))
        #expect(next.happened.contains(.end(3)))
    }

    @Test func section8_1_dataAfterAWholeAnswer_isIgnored() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        // The answer does not need the rest of the request: RST_STREAM with NO_ERROR goes with it.
        try Self.answer(talk, 1)
        let answer = try talk.exchange(.data(1, [1, 2, 3], end: true))
        #expect(Self.goAway(answer.answer) == nil)
        #expect(talk.session.wantsRead)
    }

    /// h2spec 5.1.1/2, which nghttpd fails.
    @Test func section5_1_1_anIdThatWasSkipped_isPROTOCOL_ERROR() throws {
        let talk = try Conversation()
        let answer = try talk.exchange(
            .headers(5, request, end: true), .headers(3, request, end: true))
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.protocolError.rawValue)
    }

    @Test func section8_1_trailersOfAnOpenStream_areNoOldHeaders() throws {
        let talk = try Conversation()
        let answer = try talk.exchange(
            .headers(1, request), .headers(3, request, end: true), .data(1, [1]),
            .headers(1, [("x-trailer", "1")], end: true))
        #expect(answer.happened.contains(.trailers(1, ["x-trailer=1"])))
        #expect(talk.session.wantsRead)
    }

    @Test func aRefusedStream_mayStillSendWhatWasOnItsWay() throws {
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = 1
        // Without an acknowledgement of our SETTINGS the excess is refused, not an error.
        let talk = try Conversation(settings: settings, greet: false)
        try talk.sendBytes(Frame.preface)
        try talk.send(.settings(), .headers(1, request), .headers(3, request))
        let refused = try talk.frames().first { $0.type == 3 }
        #expect(refused?.stream == 3)
        let answer = try talk.exchange(.data(3, [1]), .headers(3, [("x-late", "1")], end: true))
        #expect(Self.goAway(answer.answer) == nil)
        #expect(talk.session.wantsRead)
    }

    /// It crossed with our GOAWAY: those below are still to be answered.
    @Test func section6_8_aStreamAboveOurGoAway_mayStillSendTrailers() throws {
        let talk = try Conversation()
        _ = try talk.open(1, end: true)
        try talk.session.shutdownNotice()
        try talk.session.goAway(.noError)
        _ = try talk.frames()
        let late = try talk.exchange(
            .headers(3, request), .data(3, [1]), .headers(3, [("x-late", "1")], end: true))
        #expect(Self.goAway(late.answer) == nil)
        #expect(!late.happened.contains(.end(3)))
        #expect(talk.session.wantsRead)
        #expect(talk.session.counters.invalidFrames == 0)
        let stream = try #require(talk.streams[1])
        try talk.session.submitHeaders(stream, good, endStream: true)
        #expect(try talk.frames().map(\.type) == [1])
    }

    /// Before its reset has left.
    @Test func aRefusedStream_mayEndInTheSameRead() throws {
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = 1
        let talk = try Conversation(settings: settings, greet: false)
        try talk.sendBytes(Frame.preface)
        let answer = try talk.exchange(
            .settings(), .headers(1, request), .headers(3, request), .data(3, [1]),
            .headers(3, [("x-late", "1")], end: true))
        #expect(Self.goAway(answer.answer) == nil)
        #expect(answer.answer.contains(.reset(3, .refusedStream)))
        #expect(talk.session.wantsRead)
    }

    /// h2spec 6.3/1.
    @Test func section6_3_priorityOfStream0_isPROTOCOL_ERROR() throws {
        let talk = try Conversation()
        let answer = try talk.exchange(.priority(0))
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.protocolError.rawValue)
    }

    /// h2spec 5.3.1/2.
    @Test func rfc7540_5_3_1_aStreamThatDependsOnItself_isPROTOCOL_ERROR() throws {
        let talk = try Conversation()
        let frame = Frame(
            type: 2, flags: 0, stream: 7, payload: Frame.big(0x8000_0007) + [16])
        let answer = try talk.exchange(.ping(), frame)
        #expect(Self.goAway(answer.answer) == HTTP2ErrorCode.protocolError.rawValue)
        let other = try Conversation()
        let harmless = try other.exchange(.priority(7))
        #expect(Self.goAway(harmless.answer) == nil)
    }

    @Test(arguments: 1...30) func skippedFrames_areSeenHoweverTheBytesAreCut(chunk: Int) throws {
        let talk = try Self.done()
        // An unknown type is skipped as well, and is no fault.
        let unknown = Frame(type: 0xF0, flags: 0, stream: 0, payload: [1, 2, 3, 4, 5])
        let bytes =
            unknown.bytes + Frame.ping().bytes + unknown.bytes + Frame.data(1, [9, 9]).bytes
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            try talk.sendBytes(Array(bytes[start..<min(start + chunk, bytes.count)]))
        }
        let answer = try talk.frames()
        #expect(Self.goAway(answer) == HTTP2ErrorCode.streamClosed.rawValue)
    }

    @Test(arguments: 1...30) func unknownFrames_doNoHarmHoweverTheBytesAreCut(chunk: Int) throws {
        let talk = try Self.done()
        // Its payload looks like DATA for the stream that is over.
        let unknown = Frame(type: 0xF0, flags: 0, stream: 1, payload: Frame.data(1, [9, 9]).bytes)
        let bytes =
            unknown.bytes + Frame.headers(3, request).bytes + unknown.bytes
            + Frame.data(3, [1, 2, 3], end: true).bytes
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            try talk.sendBytes(Array(bytes[start..<min(start + chunk, bytes.count)]))
        }
        #expect(talk.session.wantsRead)
        #expect(talk.take().contains(.end(3)))
    }

    @Test func whatIsForgotten_isIgnored() throws {
        let talk = try Conversation()
        for index in 0..<80 {
            let id = Int32(index * 2 + 1)
            _ = try talk.open(id, end: true)
            try Self.answer(talk, id)
        }
        let old = try talk.exchange(.data(1, [1]), .headers(3, request, end: true))
        #expect(Self.goAway(old.answer) == nil)
        let young = try talk.exchange(.data(157, [1]))
        #expect(Self.goAway(young.answer) == HTTP2ErrorCode.streamClosed.rawValue)
    }
}
