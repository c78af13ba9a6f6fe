// Header blocks and malformed messages, as a server session receives them.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let good = HeaderFields.forever([
    .init(":status", "200"), .init("content-type", "application/grpc"),
])

@Suite struct HeaderConversationTests {
    @Test func fields_haveTokensNamesAndMarks() throws {
        let session = try Conversation().session
        let names = HeaderToken.allCases.filter { $0 != .other }.map { "\($0.name)" }
        #expect(Set(names).count == HeaderToken.allCases.count - 1)
        let others = [
            "x", "tx", "content-typf", "grpc-timeour", "grpc-messagf", "traceparenu", "user-agenu",
        ]
        let regular = names.filter { !$0.hasPrefix(":") && $0 != "te" && $0 != "content-length" }
        let block =
            HPACK.encode(request.filter { $0.0.hasPrefix(":") || $0.0 == "te" })
            + regular.flatMap { HPACK.encode(Array($0.utf8), Array("v-\($0)".utf8)) }
            + others.flatMap { HPACK.encode(Array($0.utf8), Array("7".utf8), kind: 0x10) }
        try session.receive(Frame.headers(1, block).bytes.span)
        guard case .headers(_, let header) = session.events.first else {
            Issue.record("no headers")
            return
        }
        let store = session.headers
        for index in header.range {
            let field = store.fields[index]
            #expect(field.isSensitive == (field.token == .other))
            #expect(store.name(field).isEmpty == (field.token != .other))
        }
        let tokens = header.range.map { store.fields[$0].token }
        #expect(tokens.filter { $0 == .other }.count == others.count)
        for token in HeaderToken.allCases
        where regular.contains("\(token.name)")
            || request.contains(where: { $0.0 == "\(token.name)" })
        {
            #expect(tokens.filter { $0 == token }.count == 1, "\(token)")
        }
    }

    @Test(arguments: [0, 1, 255]) func paddedHeadersAndData_areUnpadded(padding: Int) throws {
        let talk = try Conversation()
        let (happened, answer) = try talk.exchange(
            .headers(1, HPACK.encode(request), padding: padding),
            .data(1, [1, 2, 3], padding: padding), .data(1, [4], end: true, padding: padding))
        #expect(
            happened == [
                .headers(1, request.map { $0.0 + "=" + $0.1 }), .data(1, [1, 2, 3]), .data(1, [4]),
                .end(1),
            ])
        #expect(answer.isEmpty)
    }

    @Test func paddingLongerThanTheFrame_endsTheConnection() throws {
        let talk = try Conversation()
        _ = try talk.open(1)
        let (_, answer) = try talk.exchange(
            Frame(type: 0, flags: Frame.padded, stream: 1, payload: [5, 1, 2]))
        #expect(
            answer == [.goAway(last: 1, .protocolError, debug: "DATA: invalid padding")]
                || answer.map(\.type) == [7])
        #expect(answer.first?.word(4) == HTTP2ErrorCode.protocolError.rawValue)
    }

    @Test func trailers_followTheBody() throws {
        let talk = try Conversation()
        let (happened, _) = try talk.exchange(
            .headers(1, request), .data(1, [1]), .headers(1, [("x-check", "sum")], end: true))
        #expect(
            Array(happened.dropFirst()) == [.data(1, [1]), .trailers(1, ["x-check=sum"]), .end(1)])
    }

    @Test func blockInNinePieces_isOneBlock_andTimedByItsFlag() throws {
        let talk = try Conversation()
        let block = HPACK.encode(request)
        let piece = (block.count + 8) / 9
        let pieces = stride(from: 0, to: block.count, by: piece).map {
            Array(block[$0..<min($0 + piece, block.count)])
        }
        #expect(pieces.count == 9)
        #expect(!talk.session.isReceivingHeaders)
        try talk.send(.headers(1, pieces[0], end: true, complete: false))
        for index in 1..<9 {
            #expect(talk.session.isReceivingHeaders)
            try talk.send(.continuation(1, pieces[index], complete: index == 8))
        }
        #expect(!talk.session.isReceivingHeaders)
        #expect(talk.take() == [.headers(1, request.map { $0.0 + "=" + $0.1 }), .end(1)])
        #expect(talk.session.counters.continuations == 8)
    }

    @Test func continuationFlood_endsTheConnection() throws {
        let talk = try Conversation()
        let block = HPACK.encode(request)
        try talk.send(.headers(1, block, complete: false))
        #expect(throws: HTTP2Error.self) {
            for _ in 0..<9 { try talk.send(.continuation(1, [], complete: false)) }
        }
        #expect(talk.take().isEmpty)
    }

    @Test func frameInsideABlock_endsTheConnection() throws {
        let talk = try Conversation()
        try talk.send(.headers(1, HPACK.encode(request), complete: false))
        let (_, answer) = try talk.exchange(.ping())
        #expect(answer.map(\.type) == [7])
        #expect(answer.first?.word(4) == HTTP2ErrorCode.protocolError.rawValue)
    }

    // MARK: Limits of header blocks

    private func block(fields: Int) -> [UInt8] {
        HPACK.encode(request)
            + (request.count..<fields).flatMap { _ in HPACK.encode([("cookie", "a=b")]) }
    }

    @Test func hundredFields_pass_oneMoreIsOversize_andItsStreamCanBeAnswered() throws {
        let talk = try Conversation()
        try talk.send(.headers(1, block(fields: 100), end: true))
        guard case .headers(1, let fields) = talk.take().first else {
            Issue.record("refused")
            return
        }
        #expect(fields.count == 100)
        try talk.send(.headers(3, block(fields: 101), end: true))
        #expect(talk.take() == [.oversizeHeaders(3), .end(3)])
        #expect(talk.session.counters.oversizeHeaders == 1)
        let stream = try #require(talk.streams[3])
        try talk.session.submitHeaders(stream, good, endStream: true)
        #expect(try talk.frames().map(\.type) == [1])
        #expect(talk.take() == [.closed(3, .noError)])
    }

    /// A request whose decoded list has exactly `size` bytes, 32 added a field.
    private func block(bytes size: Int) -> [UInt8] {
        let used = request.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
        let value = [UInt8](repeating: UInt8(ascii: "v"), count: size - used - 33)
        return HPACK.encode(request) + HPACK.encode([UInt8(ascii: "x")], value)
    }

    @Test func headerListAtTheLimit_passes_oneByteMoreIsOversize() throws {
        let talk = try Conversation()
        try talk.send(.headers(1, block(bytes: 16_384), end: true))
        guard case .headers(1, _) = talk.take().first else {
            Issue.record("refused")
            return
        }
        try talk.send(.headers(3, block(bytes: 16_385), end: true))
        #expect(talk.take().first == .oversizeHeaders(3))
    }

    @Test func afterAnOversizeBlock_theCompressionStateIsIntact() throws {
        let talk = try Conversation()
        // The new entry comes after the excess: it must be known all the same.
        let late = HPACK.encode(Array("x-late".utf8), Array("kept".utf8), kind: 0x40)
        try talk.send(.headers(1, block(fields: 150) + late, end: true))
        #expect(talk.take().first == .oversizeHeaders(1))
        // 62 is the first entry of the dynamic table.
        try talk.send(.headers(3, HPACK.encode(request) + [0x80 | 62], end: true))
        guard case .headers(3, let fields) = talk.take().first else {
            Issue.record("refused")
            return
        }
        #expect(fields.last == "x-late=kept")
    }

    @Test func headerBomb_endsTheConnectionAndIsNotStored() throws {
        let talk = try Conversation()
        let seed = HPACK.encode(
            [UInt8(ascii: "x")], [UInt8](repeating: 1 + 96, count: 4_000), kind: 0x40)
        // One byte a reference, 4 KB a reference: 40 MB out of 10 kB.
        let bomb = HPACK.encode(request) + seed + [UInt8](repeating: 0x80 | 62, count: 10_000)
        let (happened, answer) = try talk.exchange(
            .headers(1, bomb, end: true), .headers(3, request))
        #expect(!happened.contains { if case .headers = $0 { true } else { false } })
        #expect(answer.last?.type == 7)
        #expect(answer.last?.word(4) == HTTP2ErrorCode.enhanceYourCalm.rawValue)
        #expect(talk.session.headers.fields.isEmpty)
        #expect(!talk.session.wantsRead)
    }

    @Test func manyFullBlocksInOneRead_stayInTheTurnsBudget() throws {
        let session = try Conversation().session
        // Each value fills the table once, then costs one byte a request.
        let seed = HPACK.encode(
            [UInt8(ascii: "x")], [UInt8](repeating: 97, count: 3_900), kind: 0x40)
        var bytes: [UInt8] = []
        for index in 0..<90 {
            let references = [UInt8](repeating: 0x80 | 62, count: 3)
            let block = HPACK.encode(request) + (index == 0 ? seed : []) + references
            bytes += Frame.headers(Int32(index * 2 + 1), block, end: true).bytes
        }
        try session.receive(bytes.span)
        var stored = 0
        var oversize = 0
        let store = session.headers
        for case .headers(_, let block) in session.events {
            if block.isOversize { oversize += 1 }
            for index in block.range { stored += store.value(store.fields[index]).count }
        }
        #expect(stored <= (1 << 20) + 16_384)
        #expect(oversize > 0)
        session.clearEvents()
        try session.receive(Frame.headers(201, request, end: true).bytes.span)
        guard case .headers(_, let block) = session.events.first else {
            Issue.record("the next turn starts afresh")
            return
        }
        #expect(!block.isOversize)
    }

    // MARK: Compression table

    /// Else whoever announces a large one has us keep it for each connection.
    @Test func aLargerTableThanOurs_isNotUsed() throws {
        let talk = try Conversation(peerSettings: [(1, 1 << 20)])
        let fields = (0..<6).map {
            HeaderFields.Field("x-\($0)", String(repeating: "\($0)", count: 1_000))
        }
        /// Bytes of the header block of an answer.
        func answer(_ id: Int32, _ fields: some Collection<HeaderFields.Field>) throws -> Int {
            let stream = try talk.open(id, end: true)
            let list = HeaderFields([.init(":status", "200")] + fields)
            try talk.session.submitHeaders(stream, list, endStream: true)
            return try talk.frames().reduce(0) { $0 + ($1.type == 1 ? $1.payload.count : 0) }
        }
        let first = try answer(1, fields)
        #expect(try answer(3, fields.suffix(1)) < 20, "the last is in the table")
        #expect(try answer(5, fields) > first / 2, "not all of 6 KB fit into 4")
    }

    // MARK: Malformed messages (RFC 9113 §8)

    struct Malformed: CustomTestStringConvertible {
        let testDescription: String
        let fields: [(String, String)]

        init(_ name: String, _ change: (inout [(String, String)]) -> Void) {
            testDescription = name
            var fields = request
            change(&fields)
            self.fields = fields
        }

        static let all = [
            Malformed("upper-case name") { $0.append(("X-Upper", "1")) },
            Malformed("CR in a value") { $0.append(("x", "a\rb")) },
            Malformed("LF in a value") { $0.append(("x", "a\nb")) },
            Malformed("NUL in a value") { $0.append(("x", "a\0b")) },
            Malformed("space before a value") { $0.append(("x", " a")) },
            Malformed("space in a name") { $0.append(("x y", "a")) },
            Malformed("empty name") { $0.append(("", "a")) },
            Malformed("connection") { $0.append(("connection", "close")) },
            Malformed("transfer-encoding") { $0.append(("transfer-encoding", "chunked")) },
            Malformed("keep-alive") { $0.append(("keep-alive", "1")) },
            Malformed("upgrade") { $0.append(("upgrade", "h2c")) },
            Malformed("te other than trailers") { $0[5].1 = "gzip" },
            Malformed("no path") { $0.remove(at: 2) },
            Malformed("empty path") { $0[2].1 = "" },
            Malformed("no method") { $0.remove(at: 0) },
            Malformed("no scheme") { $0.remove(at: 1) },
            Malformed("path twice") { $0.insert((":path", "/b"), at: 3) },
            Malformed("pseudo-field after a field") { $0.append((":authority", "b")) },
            Malformed("unknown pseudo-field") { $0.insert((":x", "b"), at: 0) },
            Malformed("response pseudo-field") { $0.insert((":status", "200"), at: 0) },
        ]
    }

    @Test(arguments: Malformed.all) func malformedRequest_isReset(_ malformed: Malformed) throws {
        let talk = try Conversation()
        let (happened, answer) = try talk.exchange(.headers(1, malformed.fields, end: true))
        #expect(answer == [.reset(1, .protocolError)])
        #expect(happened == [.closed(1, .protocolError)])
        #expect(talk.session.counters.resetsProvoked == 1)
        #expect(talk.session.openStreamCount == 0)
        #expect(!talk.session.isReceivingHeaders)
        // The connection goes on.
        _ = try talk.open(3)
    }

    @Test func bodyThatBreaksItsContentLength_isReset() throws {
        let talk = try Conversation()
        let (_, answer) = try talk.exchange(
            .headers(1, request + [("content-length", "3")]), .data(1, [1, 2], end: true),
            .headers(3, request + [("content-length", "1")]), .data(3, [1, 2]))
        #expect(answer == [.reset(1, .protocolError), .reset(3, .protocolError)])
        #expect(talk.session.counters.resetsProvoked == 2)
    }

    @Test func trailersWithPseudoFields_orWithoutEnd_areReset() throws {
        let talk = try Conversation()
        let (_, answer) = try talk.exchange(
            .headers(1, request), .headers(1, [(":path", "/x")], end: true),
            .headers(3, request), .headers(3, [("x", "y")]))
        #expect(answer == [.reset(1, .protocolError), .reset(3, .protocolError)])
    }
}
