// What a call that may not be repeated survives, because no server has begun with it; and what it
// must not be repeated after.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageClient

@Suite struct TransparentRetryTests {
    private struct Outcome {
        var failure: RPCError?
        var requests: Int
        var connections: Int
    }

    /// Makes one call; request N meets act N, those after the last one a reply.
    private func call(
        _ acts: [ScriptedServer.Act], idempotent: Bool = false
    ) async throws -> Outcome {
        let server = try ScriptedServer { $0 < acts.count ? acts[$0] : .reply }
        let client = try TestClient([server.endpoint])
        let failure = await client.failure(
            "Echo", "x", TestClient.options { $0.isIdempotent = idempotent })
        client.client.close()
        server.stop()
        return Outcome(
            failure: failure, requests: server.seen.requests,
            connections: server.seen.connections)
    }

    @Test func aRefusedStream_isTriedAgainAtOnce() async throws {
        let outcome = try await call([.reset(.refusedStream)])
        #expect(outcome.failure == nil && outcome.requests == 2)
        #expect(outcome.connections == 1)
    }

    @Test func whatIsAboveAGoAway_goesToAnotherConnection() async throws {
        let outcome = try await call([.goAway])
        #expect(outcome.failure == nil && outcome.requests == 2)
        #expect(outcome.connections == 2)
    }

    @Test func refusals_areNoEndlessLoop() async throws {
        let refusals = [ScriptedServer.Act](repeating: .reset(.refusedStream), count: 9)
        let outcome = try await call(refusals)
        #expect(outcome.failure?.code == .unavailable)
        #expect(outcome.failure?.metadata["attempts"] == "3")
        #expect(outcome.requests == 3)
    }

    @Test(
        "what a server may have begun with is not repeated, unless that does no harm",
        arguments: [ScriptedServer.Act.cut, .unavailable])
    func whatMayHaveBegun_isRepeatedOnlyIfIdempotent(act: ScriptedServer.Act) async throws {
        let write = try await call([act])
        #expect(write.failure?.code == .unavailable && write.requests == 1)
        let read = try await call([act], idempotent: true)
        #expect(read.failure == nil && read.requests == 2)
    }

    /// Source: gRPC `doc/http-grpc-status-mapping.md`.
    @Test(
        "what is no answer of gRPC's has the status of its HTTP status",
        arguments: [
            ("503", StatusCode.unavailable, "HTTP_STATUS"),
            ("404", .unimplemented, "HTTP_STATUS"), ("200", .unknown, "NOT_GRPC"),
        ])
    func aPage_isNoMessage(status: String, code: StatusCode, reason: String) async throws {
        let write = try await call([.page(status)])
        #expect(write.failure?.code == code && write.failure?.reason == reason)
        #expect(write.requests == 1)
        let read = try await call([.page(status)], idempotent: true)
        let isRepeated = code == .unavailable
        #expect(read.failure?.code == (isRepeated ? nil : code))
        #expect(read.requests == (isRepeated ? 2 : 1))
    }

    /// The status may have been in what was dropped.
    @Test(arguments: [(8 << 10, true), (20 << 10, false)])
    func trailersThatAreTooLarge_areSaidToBe(count: Int, fits: Bool) async throws {
        let outcome = try await call([.tellThenOverflow([], count)])
        #expect(outcome.failure?.reason == (fits ? nil : "METADATA_TOO_LARGE"))
        #expect(outcome.failure?.code == (fits ? nil : .resourceExhausted))
        #expect(outcome.connections == 1 && outcome.requests == 1)
    }

    /// The server has answered a call whose client has not said all: it reads no more of it.
    @Test func anAnswerBeforeTheLastMessage_leavesNoStreamOpen() async throws {
        let server = try ScriptedServer { _ in .unavailableAlone }
        let client = try TestClient([server.endpoint])
        let open = client.client.open(
            path: "/t.T/Chat", .bidirectional,
            options: TestClient.options { $0.isIdempotent = false })
        do {
            while try await open.next() != nil {}
            Issue.record("it was refused")
        } catch {
            #expect(error.code == .unavailable)
        }
        withExtendedLifetime(open) { #expect(server.seesAStreamClosed()) }
        client.client.close()
        server.stop()
    }

    @Test func otherResets_areFinal() async throws {
        let outcome = try await call([.reset(.internalError)], idempotent: true)
        #expect(outcome.failure?.code == .internal && outcome.requests == 1)
    }

    @Test(
        "after the headers nothing is repeated, whatever the server says",
        arguments: [HTTP2ErrorCode.refusedStream, .internalError])
    func whatHasBegunToBeAnswered_isNotRepeated(code: HTTP2ErrorCode) async throws {
        let outcome = try await call([.beginThenReset(code)], idempotent: true)
        #expect(outcome.failure != nil && outcome.requests == 1)
    }
}
