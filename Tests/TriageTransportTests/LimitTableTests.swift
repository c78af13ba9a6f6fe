// The table of limits in the runbook: made here from the constants, so that it cannot say anything
// else than the code does. When this fails, the expected table is
// printed: copy it between the marks.

import TestSupport
import Testing
import TriageBase
import TriageIO

@testable import TriageTransport

@Suite struct LimitTableTests {
    private struct Row {
        let kind: LimitKind
        let what: String
        let figure: String
        let then: String
    }

    private static func bytes(_ count: Int) -> String {
        count % (1 << 20) == 0 ? "\(count >> 20) MiB" : "\(count >> 10) KiB"
    }

    private static func seconds(_ milliseconds: Int64) -> String { "\(milliseconds / 1_000) s" }

    private static let calm = "GOAWAY ENHANCE_YOUR_CALM, the connection ends"
    private static let refused = "RESOURCE_EXHAUSTED, the call ends"

    /// One row each; a new limit does not compile without one.
    private static func row(_ kind: LimitKind) -> Row {
        floods(kind) ?? times(kind) ?? crowds(kind) ?? amounts(kind)
    }

    private static func floods(_ kind: LimitKind) -> Row? {
        func row(_ what: String, _ figure: String, _ then: String = calm) -> Row {
            Row(kind: kind, what: what, figure: figure, then: then)
        }
        return switch kind {
        case .resets:
            row(
                "RST_STREAM of the client (rapid reset)",
                "\(Limits.resetBurst) at once, \(Limits.resetsPerSecond)/s")
        case .provokedResets:
            row(
                "errors that make us reset a stream (MadeYouReset)",
                "\(Limits.provokedResetsPerMinute) a minute")
        case .pings:
            row(
                "PING frames beyond one for each DATA frame that we sent",
                "\(Limits.pingBurst), then 1 in \(seconds(Limits.pingMillisecondsEach))")
        case .settings: row("SETTINGS frames", "\(Limits.settingsPerMinute) a minute")
        case .settingsEntries:
            row("entries of a SETTINGS frame", "\(Limits.settingsEntriesMax)")
        case .queuedAnswers:
            row("PING and SETTINGS whose answers are not read", "\(Limits.queuedAnswersMax)")
        case .emptyFrames:
            row("DATA without content in a row, padding is none", "\(Limits.emptyFramesMax)")
        case .priorities:
            row("PRIORITY frames", "\(Limits.prioritiesPerStream) x (1 + streams)")
        case .windowUpdates:
            row(
                "WINDOW_UPDATE frames",
                "\(Limits.windowUpdatesFree) + \(Limits.windowUpdatesPerStream) x streams "
                    + "+ \(Limits.windowUpdatesPerDataFrame) x DATA sent")
        case .continuations:
            row("CONTINUATION frames of a header block", "\(Limits.continuationsMax)")
        case .headerBytes:
            row(
                "header list, decoded, 32 added a field", bytes(Limits.headerListBytesMax),
                "\(refused); \(Limits.headerExcessMax) times over, the connection ends")
        case .headerFields:
            row(
                "fields of a header list, cookies one by one", "\(Limits.headerFieldsMax)",
                "\(refused); \(Limits.headerExcessMax) times over, the connection ends")
        case .certificateChain:
            row(
                "a client's chain: intermediates, and its size",
                "\(Limits.certificateIntermediatesMax), \(bytes(Limits.certificateChainBytesMax))",
                "the handshake fails")
        case .keyUpdates:
            row("TLS KeyUpdates of a connection", "\(Limits.keyUpdatesMax)", "the connection ends")
        case .sessionBytes:
            row(
                "a client's chain, leaf included, whose TLS session is kept",
                bytes(Limits.sessionChainBytesMax), "each of its handshakes is a full one")
        default: nil
        }
    }

    private static func times(_ kind: LimitKind) -> Row? {
        func row(_ what: String, _ milliseconds: Int64, _ then: String = "the connection ends")
            -> Row
        {
            Row(kind: kind, what: what, figure: seconds(milliseconds), then: then)
        }
        return switch kind {
        case .handshakeTime: row("TLS handshake", Limits.handshakeMillisecondsMax)
        case .prefaceTime: row("preface and SETTINGS after it", Limits.prefaceMillisecondsMax)
        case .headerBlockTime: row("a header block", Limits.headerBlockMillisecondsMax)
        case .idleTime: row("a connection without a stream", Limits.idleMillisecondsMax)
        case .keepalive:
            row(
                "after \(seconds(Limits.keepaliveMilliseconds)) of silence with streams open, the "
                    + "answer to our PING", Limits.keepaliveTimeoutMilliseconds)
        case .connectionAge:
            row(
                "a connection's life, give or take a tenth", Limits.ageMillisecondsMax,
                "GOAWAY twice, its calls go on")
        case .ageGrace:
            row(
                "calls that are open when a connection has reached its age",
                Limits.ageGraceMilliseconds, "UNAVAILABLE")
        case .stalledStream:
            row(
                "a stream whose bytes do not move", Limits.stalledStreamMillisecondsMax,
                "RST_STREAM CANCEL")
        case .stalledSocket:
            row("a socket that takes nothing", Limits.stalledSocketMillisecondsMax)
        case .unaryTime:
            row(
                "a unary call, whatever its deadline", Limits.unaryMillisecondsMax,
                "DEADLINE_EXCEEDED")
        case .bodyTime:
            row(
                "a request that is not all there; between messages of a stream without deadline, "
                    + "or of an upload",
                Limits.unaryMillisecondsMax, "DEADLINE_EXCEEDED")
        case .drainTime:
            row(
                "calls that are open when a drain begins", Limits.drainMillisecondsMax,
                "UNAVAILABLE")
        case .adminTime:
            row("a connection of the admin port", Limits.adminMillisecondsMax, "it is closed")
        default: nil
        }
    }

    private static func crowds(_ kind: LimitKind) -> Row? {
        func row(_ what: String, _ figure: String, _ then: String) -> Row {
            Row(kind: kind, what: what, figure: figure, then: then)
        }
        let closed = "the newcomer is closed"
        return switch kind {
        case .connections: row("connections", "\(Limits.connectionsMax)", closed)
        case .descriptors:
            row(
                "descriptors, or the kernel's memory, for another connection",
                "what the system gives",
                "who connects waits until a connection closes or a second has passed")
        case .unidentifiedConnections:
            row(
                "connections whose handshake is not complete",
                "\(Limits.unidentifiedConnectionsMax)",
                "one that began \(Limits.handshakePatienceMilliseconds / 1_000) s ago and waits "
                    + "for its client makes room, else \(closed)")
        case .strangers:
            row(
                "connections without a certificate at a door where none is needed",
                "\(Limits.strangersPerDoorMax)",
                "the oldest of them makes room: GOAWAY ENHANCE_YOUR_CALM, it ends")
        case .connectionsPerIdentity:
            row("connections of an identity", "\(Limits.connectionsPerIdentityMax)", calm)
        case .concurrentStreams:
            row(
                "streams of a connection", "\(Limits.concurrentStreamsMax)",
                "REFUSED_STREAM; PROTOCOL_ERROR once the client knows the limit")
        case .longLivedStreams:
            row(
                "of which watches, health watches, uploads, and reads of evidence and backups",
                "\(Limits.longLivedStreamsMax)", refused)
        case .evidenceStreams:
            row(
                "objects of evidence that are sent or read at once; of which for an identity",
                "\(Limits.evidenceStreamsMax), \(Limits.evidenceStreamsPerIdentityMax)", refused)
        case .backupStreams:
            row(
                "files that are read for backups at once; of which for an identity",
                "\(Limits.backupStreamsMax), \(Limits.backupStreamsPerIdentityMax)", refused)
        case .streamReports:
            row("reports of a SubmitReports call", "\(Limits.reportsPerStreamMax)", refused)
        case .watchBytes:
            row(
                "what an identity's watches of the board hold; those that go together count once",
                bytes(Limits.watchBytesPerIdentityMax), refused)
        case .journalBytes:
            row(
                "writes that wait for the disk; of the second half an identity may have",
                "\(bytes(Limits.journalBufferBytesMax)), "
                    + "1/\(Limits.identitiesThatFillMemory)", refused)
        case .newCallsPerTurn:
            row(
                "new calls of a connection in a turn of the loop",
                "\(Limits.newCallsPerTurnMax)", "the rest waits for the next turn")
        case .inflatedPerTurn:
            row(
                "what an identity's gzip messages unpack to in a turn of the loop",
                bytes(Limits.inflatedBytesPerTurnMax), "the rest waits for the next turn")
        case .callRate:
            row(
                "calls of an identity; a bulk read counts \(Limits.bulkReadCost), a report nothing",
                "\(Limits.callsPerSecondPerIdentity)/s a reactor", refused)
        case .adminConnections:
            row("connections of the admin port", "\(Limits.adminConnectionsMax)", closed)
        default: nil
        }
    }

    private static func amounts(_ kind: LimitKind) -> Row {
        func row(_ what: String, _ figure: String, _ then: String) -> Row {
            Row(kind: kind, what: what, figure: figure, then: then)
        }
        let malformed = "INVALID_ARGUMENT, the call ends"
        return switch kind {
        case .messageBytes: row("a message", bytes(Limits.messageBytesMax), refused)
        case .messageFields:
            row(
                "fields of a message, nested ones and elements included",
                "\(Limits.messageFieldsMax)", malformed)
        case .messageDepth: row("messages within messages", "\(Limits.messageDepthMax)", malformed)
        case .messageUnknownBytes:
            row(
                "bytes of a message in fields that this version does not know",
                bytes(Limits.messageUnknownBytesMax), malformed)
        case .compressionRatio:
            row(
                "a gzip message above \(bytes(Limits.inflateRatioFreeBytes)), unpacked",
                "\(Limits.inflateRatioMax) x its size", refused)
        case .messageBytesInFlight:
            row(
                "requests and replies held for all connections",
                bytes(Limits.messageBytesInFlightMax), refused)
        case .identityBytes:
            row(
                "of which for an identity",
                "1/\(Limits.identitiesThatFillMemory) of a reactor's part; "
                    + "\(bytes(Limits.strangerBytesMax)) without a certificate", refused)
        case .outputBytes:
            row(
                "output that waits for a socket", bytes(Limits.outputBytesMax),
                "the socket is not read until half of it has left")
        case .adminRequestBytes:
            row(
                "a request of the admin port", bytes(Limits.adminRequestBytesMax),
                "the connection is closed")
        default: row("UNDOCUMENTED", "", "")
        }
    }

    @Test func runbook_saysWhatTheConstantsSay() throws {
        let rows = LimitKind.allCases.map(Self.row)
        #expect(!rows.contains { $0.what == "UNDOCUMENTED" })
        var expected = "| `limit` | what | figure | then |\n| --- | --- | --- | --- |\n"
        for row in rows {
            expected += "| `\(row.kind.label)` | \(row.what) | \(row.figure) | \(row.then) |\n"
        }
        let text = try Self.runbook()
        let parts = text.split(separator: "<!-- limits -->\n", omittingEmptySubsequences: false)
        try #require(parts.count == 3, "two marks")
        #expect(String(parts[1]) == expected)
        if String(parts[1]) != expected { print(expected) }
    }

    /// A limit that nobody has seen hold is a promise: each is met, and its counter read, by a test
    /// beside this one, which says so with `expectHit(.kind`, or with one of the two that call it;
    /// or by one of a whole process.
    @Test(arguments: LimitKind.allCases) func everyLimit_isMetByATest(kind: LimitKind) throws {
        let meetings = [
            "AbuseTests", "CallTests", "CompressionTests", "LifeTests", "LimitTests",
            "PlainRequestTests", "ServerTests", "ShareTests", "SocketLimitTests", "StreamTests",
            "TimeTests",
        ]
        let names = ["expectHit", "expectCalm", "expectTimeout"]
        let found = try meetings.contains { meeting in
            let text = try Self.text("Tests/TriageTransportTests/\(meeting).swift")
            return names.contains { text.contains("\($0)(.\(kind),") }
        }
        let process = try Self.text("Tests/EndToEnd/test_connections.py")
            .contains("expect_hit(server, \"\(kind.label)\")")
        #expect(found || process, "no test expects .\(kind)")
    }

    private static func runbook() throws -> String { try text("Deploy/runbook.md") }

    private static func text(_ path: String) throws -> String {
        let root = #filePath.split(separator: "/").dropLast(3)
        return try TextFile.read(
            path: "/" + root.joined(separator: "/") + "/" + path, bytesMax: 1 << 20)
    }
}
