// Calls of every kind against a real server: replies, errors, deadlines, cancellation, holding each
// other back, metadata, compression and retries, each as its caller sees it.

import Testing
import TriageBase
import TriageGRPC
import TriageIO
import TriageTransport

@testable import TriageClient

@Suite struct CallTests {
    private let server: TestServer
    private let client: TestClient

    init() throws {
        server = try TestServer()
        client = try TestClient([server.endpoint])
    }

    private func stop() {
        client.client.close()
        server.stop()
    }

    private func kind(_ path: String, _ kind: CallKind) -> OpenCall {
        client.client.open(path: "/t.T/\(path)", kind, options: TestClient.options())
    }

    // MARK: The four kinds

    @Test func unaryCalls_atOnce_areAllAnswered() async throws {
        let client = client
        let answered = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<500 {
                group.addTask { try await client.call("Echo", "\(number)") == "\(number)" }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(answered == 500)
        stop()
    }

    @Test func aServerStream_comesInOrder_andEnds() async throws {
        let stream = client.client.serverStream(
            path: "/t.T/Count", message: Array("700".utf8), options: TestClient.options())
        var next = 0
        for try await message in stream {
            #expect(String(decoding: message.prefix { $0 != 0x20 }, as: UTF8.self) == "\(next)")
            next += 1
        }
        #expect(next == 700)
        stop()
    }

    @Test func aClientStream_isAddedUp() async throws {
        let reply = try await client.client.clientStream(
            path: "/t.T/Sum", options: TestClient.options()
        ) { call throws(RPCError) in
            for _ in 0..<300 { try await call.send([UInt8](repeating: 1, count: 10_000)) }
        }
        #expect(String(decoding: reply, as: UTF8.self) == "3000000")
        stop()
    }

    @Test func aConversation_goesBackAndForth() async throws {
        let call = kind("Chat", .bidirectional)
        for number in 0..<50 {
            try await call.send([UInt8(number)])
            #expect(try await call.next() == [UInt8(number)])
        }
        call.endInput()
        #expect(try await call.next() == nil)
        stop()
    }

    // MARK: Holding each other back

    @Test func aReaderThatDoesNotRead_holdsTheServerBack_andNobodyElse() async throws {
        let stream = client.client.serverStream(
            path: "/t.T/Count", message: Array("100000".utf8), options: TestClient.options())
        #expect(try await stream.next() != nil)
        // Until the server has used up what it may.
        var counted = -1
        while counted != server.events.counted.withLock({ $0 }) {
            counted = server.events.counted.withLock { $0 }
            for _ in 0..<50 { _ = try await client.call("Echo", "others go on") }
        }
        #expect(counted < 10_000, "a window, a queue and the sockets' buffers")
        var rest = 1
        while let message = try await stream.next(), !message.isEmpty {
            rest += 1
            if rest == 12_000 { break }
        }
        #expect(rest == 12_000, "it goes on when somebody reads")
        stream.cancel()
        stop()
    }

    @Test func manyUnreadStreams_leaveTheConnectionToOthers() async throws {
        var streams: [OpenCall] = []
        for _ in 0..<15 {
            streams.append(
                client.client.serverStream(
                    path: "/t.T/Count", message: Array("100000".utf8),
                    options: TestClient.options()))
        }
        for stream in streams { #expect(try await stream.next() != nil) }
        for _ in 0..<500 { #expect(try await client.call("Echo", "x") == "x") }
        #expect(client.events.count("connected") == 1)
        for stream in streams { stream.cancel() }
        stop()
    }

    @Test func aServerThatDoesNotRead_makesTheSenderWait() async throws {
        // Chat reads the next message when its reply has left: nobody reads the replies.
        let call = kind("Chat", .bidirectional)
        let sent = Lock(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for _ in 0..<120 {
                    try await call.send([UInt8](repeating: 7, count: 100_000))
                    sent.withLock { $0 += 1 }
                }
                call.endInput()
            }
            var seen = -1
            while seen != sent.withLock({ $0 }) {
                seen = sent.withLock { $0 }
                for _ in 0..<50 { _ = try await client.call("Echo", "others go on") }
            }
            #expect(seen < 80, "12 MB do not fit windows and buffers")
            var replies = 0
            while try await call.next() != nil { replies += 1 }
            #expect(replies == 120)
            try await group.waitForAll()
        }
        stop()
    }

    // MARK: Ends

    @Test func deadlines_areOfTheWholeCall() async throws {
        #expect(try await client.call("Meta") == "true", "it is sent to the server")
        // On a busy machine a call may end before the server has heard of it.
        for _ in 0..<10 where server.events.count("held") == 0 {
            let late = await client.failure("Hold", "", CallOptions(timeoutMilliseconds: 2_000))
            #expect(late?.code == .deadlineExceeded)
        }
        #expect(await server.events.wait("cancelled"))
        var options = CallOptions()
        options.deadline = .at(SystemClock().monotonicTime())
        #expect(await client.failure("Hold", "", options)?.code == .deadlineExceeded)
        stop()
    }

    @Test func aCancelledTask_cancelsItsCallAtTheServer() async throws {
        let client = client
        let failure = await withTaskGroup(of: RPCError?.self) { group in
            group.addTask { await client.failure("Hold") }
            #expect(await server.events.wait("held"))
            group.cancelAll()
            return await group.next() ?? nil
        }
        #expect(failure?.code == .cancelled)
        #expect(await server.events.wait("cancelled byClient"))
        stop()
    }

    @Test func aCallOfACancelledTask_doesNotBegin() async throws {
        let client = client
        let failure = await withTaskGroup(of: RPCError?.self) { group in
            group.cancelAll()
            group.addTask { await client.failure("Hold") }
            return await group.next() ?? nil
        }
        #expect(failure?.code == .cancelled)
        #expect(try await client.call("Echo", "a") == "a")
        #expect(server.events.count("held") == 0)
        stop()
    }

    @Test func aDroppedStream_isCancelled() async throws {
        do {
            let stream = client.client.serverStream(path: "/t.T/Watch", message: [1])
            #expect(try await stream.next() == [1])
        }
        #expect(await server.events.wait("cancelled byClient"))
        stop()
    }

    @Test func anEarlyAnswer_endsTheSendersWork() async throws {
        do throws(RPCError) {
            _ = try await client.client.clientStream(
                path: "/t.T/Early", options: TestClient.options()
            ) { call throws(RPCError) in
                while true { try await call.send([UInt8](repeating: 0, count: 50_000)) }
            }
            Issue.record("it has no reply")
        } catch {
            #expect(error.reason == "EARLY" && error.code == .permissionDenied)
        }
        stop()
    }

    @Test func aClosedClient_saysSo() async throws {
        let client = client
        let failure = await withTaskGroup(of: RPCError?.self) { group in
            group.addTask { await client.failure("Hold") }
            #expect(await server.events.wait("held"))
            client.client.close()
            return await group.next() ?? nil
        }
        #expect(failure?.reason == "CLIENT_CLOSED")
        #expect(await client.failure("Echo")?.reason == "CLIENT_CLOSED")
        let stream = client.client.serverStream(path: "/t.T/Watch", message: [1])
        await #expect(throws: RPCError.self) { try await stream.next() }
        #expect(await stream.initialMetadata().isEmpty)
        server.stop()
    }

    @Test func aDroppedClient_endsItsThread() async throws {
        do {
            let other = try TestClient([server.endpoint])
            #expect(try await other.call("Echo", "a") == "a")
        }
        while server.server.scrape(waitMilliseconds: 60_000)?.connectionsOpen ?? 0 > 0 {}
        stop()
    }

    // MARK: What calls carry

    @Test func metadata_goesBothWays() async throws {
        let field = MetadataField("x-note", "something")
        let call = client.client.open(
            path: "/t.T/Meta", .unary, options: TestClient.options { $0.metadata = [field] })
        try await call.send([])
        call.endInput()
        #expect(await call.initialMetadata().contains(field))
        #expect(try await call.next() != nil)
        #expect(try await call.next() == nil)
        #expect(await call.trailingMetadata().contains(field))
        for bad in [
            MetadataField("grpc-timeout", "1S"), MetadataField("Upper", "x"),
            MetadataField("x-line", "a\nb"), MetadataField(":path", "/"),
        ] {
            let failure = await client.failure(
                "Echo", "", TestClient.options { $0.metadata = [bad] })
            #expect(failure?.reason == "METADATA_INVALID")
        }
        stop()
    }

    @Test func gzip_isUsedWhereAsked() async throws {
        let text = String(repeating: "the same again ", count: 2_000)
        let before = try #require(server.server.scrape(waitMilliseconds: 60_000))
        let packed = TestClient.options { $0.sendsGzip = true }
        #expect(try await client.call("Echo", text, packed) == text)
        let after = try #require(server.server.scrape(waitMilliseconds: 60_000))
        #expect(after.bytesReceived - before.bytesReceived < 2_000)
        stop()
    }

    @Test func messagesAboveTheirLimit_areRefused() async throws {
        let small = TestClient.options { $0.replyBytesMax = 1_000 }
        let failure = await client.failure("Echo", String(repeating: "x", count: 2_000), small)
        #expect(failure?.code == .resourceExhausted && failure?.reason == "MESSAGE_TOO_LARGE")
        let fitting = String(repeating: "x", count: 900)
        #expect(try await client.call("Echo", fitting, small) == fitting)
        let text = "{\"methodConfig\": [{\"name\": [{}], \"maxRequestMessageBytes\": 10}]}"
        let service = try ServiceConfig(json: Array(text.utf8))
        let limited = try TestClient([server.endpoint]) { $0.service = service }
        let request = await limited.failure("Echo", "more than ten bytes")
        #expect(request?.reason == "MESSAGE_TOO_LARGE")
        #expect(try await limited.call("Echo", "ten bytes.") == "ten bytes.")
        limited.client.close()
        stop()
    }
}

/// Attempts after the first, as the server sees them.
@Suite struct RetryCallTests {
    private let server: TestServer
    private let client: TestClient

    init() throws {
        server = try TestServer()
        client = try TestClient([server.endpoint])
    }

    private func stop() {
        client.client.close()
        server.stop()
    }

    @Test func unavailable_isTriedAgain_andTheServerIsToldHowOften() async throws {
        #expect(try await client.call("Flaky", "3 14 -2") == "after 3")
        #expect(server.events.all == ["attempt 0", "attempt 1", "attempt 2", "attempt 3"])
        #expect(client.events.count("retrying") == 3)
        stop()
    }

    @Test func afterFourAttempts_theErrorSaysSo() async throws {
        let failure = await client.failure("Flaky", "9 14 -2")
        #expect(failure?.reason == "FLAKY" && failure?.metadata["attempts"] == "4")
        #expect(server.events.count("attempt") == 4)
        stop()
    }

    @Test func otherErrors_andWritesThatMayNotBeRepeated_areTriedOnce() async throws {
        #expect(await client.failure("Flaky", "1 9 -2")?.code == .failedPrecondition)
        let once = TestClient.options { $0.isIdempotent = false }
        #expect(await client.failure("Flaky", "1 14 -2", once)?.code == .unavailable)
        let unknown = TestClient.options { $0.isIdempotent = nil }
        #expect(await client.failure("Flaky", "1 14 -2", unknown)?.code == .unavailable)
        #expect(server.events.all == ["attempt 0", "attempt 0", "attempt 0"])
        stop()
    }

    @Test func pushback_isObeyed() async throws {
        #expect(try await client.call("Flaky", "1 8 20") == "after 1")
        #expect(await client.failure("Flaky", "1 8 -2")?.code == .resourceExhausted)
        #expect(server.events.all == ["attempt 0", "attempt 1", "attempt 0"])
        stop()
    }

    @Test func aDeadline_isSharedByAllAttempts() async throws {
        let short = TestClient.options { $0.deadline = .after(milliseconds: 20_000) }
        let failure = await client.failure("Flaky", "9 14 60000", short)
        #expect(failure?.code == .unavailable, "no attempt fits the time that is left")
        #expect(server.events.count("attempt") == 1)
        stop()
    }

    @Test func theBudget_stopsRetriesWhenMostCallsFail() async throws {
        for _ in 0..<20 { _ = await client.failure("Flaky", "9 14 -2") }
        #expect(server.events.count("attempt") == 23, "three retries of 60")
        stop()
    }

    @Test func theAPIsCalls_areRepeatedByThePublishedRules() throws {
        let now = MonotonicTime(nanoseconds: 0)
        func mayRepeat(_ path: String, _ message: [UInt8]) -> Bool {
            let call = Call(
                path: path, kind: .unary, options: CallOptions(),
                policy: ServiceConfig.published.policy(path), now: now)
            call.requests.append(message)
            return call.mayRepeat
        }
        let requestID: [UInt8] = [0x0A, 1, 0x61]
        #expect(mayRepeat("/triaged.v1.TriageService/GetCase", []))
        #expect(mayRepeat("/triaged.v1.TriageService/CloseCase", requestID))
        #expect(!mayRepeat("/triaged.v1.TriageService/CloseCase", [0x12, 1, 0x61]))
        #expect(!mayRepeat("/triaged.v1.TriageService/CloseCase", [0xFF]))
        #expect(!mayRepeat("/triaged.v1.TriageService/SubmitReports", requestID))
        #expect(!mayRepeat("/somebody.else/Writes", requestID))
    }
}
