// After which ends of its stream a watch goes on, and from where: against a server that ends it as
// the test says.

import Testing
import TriageBase
import TriageCodec
import TriageGRPC
import TriageHTTP2

@testable import TriageClient

@Suite struct WatchResumeTests {
    private static func bookmark(_ revision: Int64) throws -> [UInt8] {
        var message = DynamicMessage()
        message["revision"] = .long(revision)
        return try MethodSchema.named("WatchBoard").reply.encode(message)
    }

    /// What a reader was told, what ended the watch, and the revisions that were asked for.
    private struct Outcome {
        var told: [Int64] = []
        var interruptions: [StatusCode] = []
        var failure: RPCError?
        var asked: [Int64] = []
    }

    /// Watches until a second bookmark has come; the first one's stream ends so.
    private func watch(
        _ end: @escaping @Sendable ([UInt8]) -> ScriptedServer.Act
    ) async throws -> Outcome {
        let bookmarks = [try Self.bookmark(5), try Self.bookmark(6)]
        let server = try ScriptedServer {
            $0 == 0 ? end(bookmarks[0]) : .tellThenReset(bookmarks[1], .internalError)
        }
        let client = try TestClient([server.endpoint])
        var outcome = Outcome()
        do {
            try await Watch.board(filter: DynamicMessage()).follow(
                client.client, from: 4, options: CallOptions()
            ) { event in
                switch event {
                case .message(let message): outcome.told.append(message.int("revision"))
                case .interrupted(let error): outcome.interruptions.append(error.code)
                case .gone: Issue.record("nothing was there")
                }
                return outcome.told.count < 2
            }
        } catch {
            outcome.failure = error
        }
        let request = MethodSchema.named("WatchBoard").request
        outcome.asked = try server.bodies.map {
            try request.decode($0.span.extracting(droppingFirst: 5)).int("resume_revision")
        }
        client.client.close()
        server.stop()
        return outcome
    }

    /// What our own server does to whoever takes nothing for too long.
    @Test func aStreamThatTheServerHasReset_isOpenedAgain_whereItWas() async throws {
        let outcome = try await watch { .tellThenReset($0, .cancel) }
        #expect(outcome.failure == nil && outcome.told == [5, 6])
        #expect(outcome.interruptions == [.cancelled])
        #expect(outcome.asked == [4, 5])
    }

    @Test(arguments: [StatusCode.unavailable, .resourceExhausted])
    func aServerThatCannotNow_isAskedAgain(code: StatusCode) async throws {
        let outcome = try await watch { .tellThenFail($0, code) }
        #expect(outcome.failure == nil && outcome.told == [5, 6])
        #expect(outcome.interruptions == [code])
        #expect(outcome.asked == [4, 5])
    }

    /// What the server shows has changed: all of it is looked at again.
    @Test func aPolicyThatHasChanged_beginsAnew() async throws {
        let change = RPCError(.aborted, reason: "POLICY_CHANGED", message: "call again")
        let outcome = try await watch { .tellThenSay($0, change) }
        #expect(outcome.failure == nil && outcome.told == [5, 6])
        #expect(outcome.asked == [4, 0])
    }

    private static func assignment(
        _ name: String, _ revision: Int64, endTime: WallTime? = nil
    ) throws -> [UInt8] {
        var assignment = DynamicMessage()
        assignment["name"] = .string(name)
        assignment["revision"] = .long(revision)
        if let endTime { assignment["end_time"] = .timestamp(endTime) }
        var message = DynamicMessage()
        message["revision"] = .long(revision)
        message["assignment"] = .message(assignment)
        return try MethodSchema.named("WatchAssignments").reply.encode(message)
    }

    /// The server restarts: its whole state has what is held, and not what ended long ago.
    @Test func anAssignmentWhoseEndWasTold_isNotGoneOnceMore() async throws {
        var bookmark = DynamicMessage()
        bookmark["revision"] = .long(9)
        let messages = [
            try Self.assignment("assignments/1", 6, endTime: WallTime(milliseconds: 1_000)),
            try Self.assignment("assignments/2", 7),
            try MethodSchema.named("WatchAssignments").reply.encode(bookmark),
        ]
        let compacted = RPCError(.outOfRange, reason: "REVISION_COMPACTED", message: "begin anew")
        let server = try ScriptedServer {
            switch $0 {
            case 0: .tellThenFail(messages[0], .unavailable)
            case 1: .tellThenSay(messages[1], compacted)
            default: .tellThenReset(messages[2], .internalError)
            }
        }
        let client = try TestClient([server.endpoint])
        var told: [Int64] = []
        var gone: [String] = []
        try await Watch.assignments.follow(client.client, from: 5, options: CallOptions()) {
            switch $0 {
            case .message(let message): told.append(message.int("revision"))
            case .gone(let name, _): gone.append(name)
            case .interrupted: break
            }
            return told.last != 9
        }
        client.client.close()
        server.stop()
        #expect(told == [6, 7, 9] && gone == ["assignments/2"])
    }

    @Test(arguments: [StatusCode.permissionDenied, .internal, .cancelled])
    func whatWaitingDoesNotMend_endsIt(code: StatusCode) async throws {
        let outcome = try await watch { .tellThenFail($0, code) }
        #expect(outcome.failure?.code == code && outcome.told == [5])
        #expect(outcome.asked == [4])
    }
}
