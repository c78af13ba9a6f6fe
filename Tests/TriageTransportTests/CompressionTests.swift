// gzip both ways on one connection, and what is refused for it; metadata and attempts of a call.
// Source: gRPC doc/compression.md, PROTOCOL-HTTP2, proposal A6.

import TestSupport
import Testing
import TriageBase
import TriageGRPC
import TriageGzip
import TriageHTTP2

@testable import TriageTransport

@Suite struct CompressionTests {
    private static let gzip = [("grpc-encoding", "gzip")]
    private static let accepts = [("grpc-accept-encoding", "identity, deflate, gzip")]

    private static func pack(_ message: [UInt8]) throws -> [UInt8] {
        let deflater = try #require(Deflater())
        let packed = deflater.deflate(message.span)
        return try #require(packed)
    }

    private static func unpack(_ message: [UInt8]) throws -> [UInt8] {
        let inflater = try #require(Inflater())
        return try inflater.inflate(
            message.span, InflateLimits(bytesMax: 1 << 20, ratioMax: 100, ratioFreeBytes: 1 << 20))
    }

    private static func frame(_ message: [UInt8], flag: UInt8) -> [UInt8] {
        var framed = MessageFramer.frame(message.span)
        framed[0] = flag
        return framed
    }

    private static func call(
        _ machine: Machine, _ method: String, framed: [UInt8], _ changes: [(String, String)]
    ) throws -> Seen {
        let stream = try machine.open(method, changes: changes)
        machine.send(stream, framed, end: true)
        try machine.turn()
        return machine.seen[stream.id] ?? Seen()
    }

    // MARK: Requests

    /// Unpacking takes milliseconds; others' calls do not wait for all that one identity has sent.
    @Test func whatUnpacksToALot_waitsForTheNextTurn() throws {
        let machine = try Machine()
        let second = try Machine(beside: machine)
        var random = SeededRandom(seed: 3)
        let message = (0..<1_000_000).map {
            $0 % 64 == 0 ? UInt8(truncatingIfNeeded: random.next()) : 0
        }
        let framed = Self.frame(try Self.pack(message), flag: 1)
        func send(_ machine: Machine) throws {
            let stream = try machine.open("Hold", changes: Self.gzip)
            machine.send(stream, framed, end: true)
        }
        for _ in 0..<6 { try send(machine) }
        try machine.turn()
        expectHit(.inflatedPerTurn, in: machine)
        #expect(machine.handler.held.count == 6, "it was done in the turn behind")
        // The identity's, on whichever connection.
        machine.core.shares.share(of: try #require(machine.connection.peer.principal), now: .never)
            .inflated(Limits.inflatedBytesPerTurnMax, in: machine.core.metrics.turns)
        try send(second)
        try second.turn()
        expectHit(.inflatedPerTurn, 2, in: machine)
        #expect(machine.handler.held.count == 7)
    }

    /// A stream's messages that have waited for the handler are no exception.
    @Test func whatWaitedOfAStream_isUnpackedOverSeveralTurns() throws {
        let machine = try Machine()
        machine.handler.asksForMore = false
        let size = 32 << 10
        let framed = Self.frame(try Self.pack([UInt8](repeating: 0, count: size)), flag: 1)
        let stream = try machine.open("Push", changes: Self.gzip)
        for _ in 0..<250 { machine.send(stream, framed) }
        machine.http2.endStream(stream)
        try machine.turn()
        #expect(machine.handler.pushed.count == 1)
        machine.handler.asksForMore = true
        machine.core.requestMore(try #require(machine.handler.held.first))
        machine.core.deliver()
        #expect(machine.handler.pushed.count > 1)
        #expect(machine.handler.pushed.count * size <= Limits.inflatedBytesPerTurnMax + size)
        expectHit(.inflatedPerTurn, in: machine)
        try machine.turn()
        #expect(machine.handler.pushed.count == 250)
        #expect(machine.seen[stream.id]?.status == "0")
        #expect(machine.core.inputBytesHeld == 0)
    }

    @Test func aCompressedRequest_isAnsweredLikeAPlainOne() throws {
        let machine = try Machine()
        let message = Array("the same words, the same words, the same words".utf8)
        let seen = try Self.call(
            machine, "Echo", framed: Self.frame(try Self.pack(message), flag: 1), Self.gzip)
        #expect(seen.status == "0")
        #expect(seen.messages == [message])
        #expect(machine.core.metrics.messagesInflated == 1)
    }

    @Test func aPlainMessageOfACallWithGzip_isTakenAsItIs() throws {
        let machine = try Machine()
        let seen = try Self.call(
            machine, "Echo", framed: Self.frame([1, 2], flag: 0), Self.gzip)
        #expect(seen.messages == [[1, 2]])
        #expect(machine.core.metrics.messagesInflated == 0)
    }

    @Test func aCompressedFlagWithoutEncoding_isINTERNAL() throws {
        for changes in [[], [("grpc-encoding", "identity")]] {
            let seen = try Self.call(
                try Machine(), "Echo", framed: Self.frame(try Self.pack([1]), flag: 1), changes)
            #expect(seen.error?.code == .internal)
            #expect(seen.error?.reason == "MESSAGE_ENCODING_MISSING")
        }
    }

    @Test func theNextCallOfTheSlot_doesNotInheritTheEncoding() throws {
        let machine = try Machine()
        let framed = Self.frame(try Self.pack([1]), flag: 1)
        let first = try Self.call(machine, "Echo", framed: framed, Self.gzip)
        #expect(first.status == "0")
        let second = try Self.call(machine, "Echo", framed: framed, [])
        #expect(second.error?.reason == "MESSAGE_ENCODING_MISSING")
    }

    @Test(arguments: [UInt8(2), 3, 0x80, 0xFF]) func anotherFlag_isINTERNAL(flag: UInt8) throws {
        for changes in [[], Self.gzip] {
            let seen = try Self.call(
                try Machine(), "Echo", framed: Self.frame([1], flag: flag), changes)
            #expect(seen.error?.code == .internal)
            #expect(seen.error?.reason == "MESSAGE_PREFIX_INVALID")
        }
    }

    @Test(arguments: ["deflate", "snappy", "GZIP", "gzip,identity", "x"])
    func anotherEncoding_isUNIMPLEMENTED_andSaysWhatIsAccepted(name: String) throws {
        let machine = try Machine()
        let seen = try Self.call(
            machine, "Echo", framed: Self.frame([1], flag: 0), [("grpc-encoding", name)])
        #expect(seen.status == "12")
        #expect(seen.fields["grpc-accept-encoding"] == "identity,gzip")
        #expect(machine.handler.heads.isEmpty)
    }

    @Test func aBrokenCompressedMessage_isINTERNAL() throws {
        let machine = try Machine()
        let packed = try Self.pack(Array(repeating: 7, count: 100))
        for body in [Array(packed.dropLast()), packed + [1], [], [9, 9, 9]] {
            let seen = try Self.call(
                machine, "Echo", framed: Self.frame(body, flag: 1), Self.gzip)
            #expect(seen.error?.code == .internal)
            #expect(seen.error?.reason == "MESSAGE_COMPRESSION_BROKEN")
        }
        #expect(machine.handler.heads.isEmpty)
    }

    @Test func aBomb_isRefusedByRatio_andCounted() throws {
        let machine = try Machine()
        let bomb = try Self.pack([UInt8](repeating: 0, count: 512 << 10))
        let seen = try Self.call(machine, "Echo", framed: Self.frame(bomb, flag: 1), Self.gzip)
        #expect(seen.error?.code == .resourceExhausted)
        #expect(seen.error?.reason == "MESSAGE_COMPRESSION_RATIO")
        expectHit(.compressionRatio, in: machine)
        #expect(machine.handler.heads.isEmpty)
        // The limit is what refuses it.
        var limits = ServerLimits()
        limits.inflateRatioMax = .max
        let seenWithout = try Self.call(
            try Machine(limits: limits), "Echo", framed: Self.frame(bomb, flag: 1), Self.gzip)
        #expect(seenWithout.status == "0")
    }

    @Test func aMessageThatUnpacksAboveTheLimit_isRefused_andCounted() throws {
        var limits = ServerLimits()
        limits.messageBytesMax = 1_000
        let machine = try Machine(limits: limits)
        let packed = try Self.pack([UInt8](repeating: 0, count: 1_001))
        #expect(packed.count < 100)
        let seen = try Self.call(machine, "Echo", framed: Self.frame(packed, flag: 1), Self.gzip)
        #expect(seen.error?.reason == "MESSAGE_TOO_LARGE")
        #expect(seen.error?.metadata["bytes_max"] == "1000")
        expectHit(.messageBytes, in: machine)
    }

    @Test func messagesOfAStream_areUnpackedOneByOne() throws {
        let machine = try Machine()
        let stream = try machine.open("Push", changes: Self.gzip)
        machine.send(stream, Self.frame(try Self.pack([1, 1, 1]), flag: 1))
        machine.send(stream, Self.frame([2], flag: 0))
        machine.send(stream, Self.frame(try Self.pack([3]), flag: 1), end: true)
        try machine.turn()
        #expect(machine.handler.pushed == [[1, 1, 1], [2], [3]])
        #expect(machine.seen[stream.id]?.status == "0")
    }

    @Test func aBrokenMessageOfAStream_endsTheCall_andTheHandlerHearsOfIt() throws {
        let machine = try Machine()
        let stream = try machine.open("Push", changes: Self.gzip)
        machine.send(stream, Self.frame([5, 5], flag: 1))
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == "MESSAGE_COMPRESSION_BROKEN")
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.handler.pushed.isEmpty)
    }

    // MARK: Replies

    private static let page = [UInt8](repeating: 0x61, count: Limits.compressedReplyBytesMin)

    @Test func aLargeReply_isCompressed_forAClientThatAcceptsIt() throws {
        let machine = try Machine()
        let seen = try machine.call("Page", Self.page, changes: Self.accepts)
        #expect(seen.fields["grpc-encoding"] == "gzip")
        #expect(seen.body.first == 1)
        #expect(seen.body.count < 1_000)
        let message = try Self.unpack(Array(seen.body.dropFirst(5)))
        #expect(message == Self.page)
        #expect(machine.core.metrics.messagesDeflated == 1)
    }

    @Test func aSmallReply_orOneThatDoesNotPack_leavesAsItIs() throws {
        let machine = try Machine()
        var random = SeededRandom(seed: 4)
        let noise = Self.page.map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for message in [Array(Self.page.dropLast()), noise] {
            let seen = try machine.call("Page", message, changes: Self.accepts)
            #expect(seen.fields["grpc-encoding"] == nil)
            #expect(seen.messages == [message])
        }
    }

    @Test(arguments: ["identity", "deflate", "gzipped", "x-gzip"])
    func aClientThatDoesNotAcceptGzip_neverGetsIt(accepted: String) throws {
        let machine = try Machine()
        let seen = try machine.call(
            "Page", Self.page, changes: [("grpc-accept-encoding", accepted)])
        #expect(seen.fields["grpc-encoding"] == nil)
        #expect(seen.messages == [Self.page])
        let silent = try machine.call("Page", Self.page)
        #expect(silent.messages == [Self.page])
    }

    @Test func eachMessageOfAStream_isCompressedAsTheHandlerSays() throws {
        let machine = try Machine()
        let stream = try machine.open("Chat", changes: Self.accepts)
        try machine.turn()
        let call = try #require(machine.handler.held.first)
        machine.core.setCompression(call, .always)
        _ = machine.core.send(call, [1, 2, 3])
        machine.core.setCompression(call, .never)
        _ = machine.core.send(call, Self.page)
        machine.core.finish(call, nil)
        try machine.turn()
        let seen = try #require(machine.seen[stream.id])
        #expect(seen.fields["grpc-encoding"] == "gzip")
        #expect(seen.body.first == 1)
        let packedCount = Int(seen.body[4])
        let first = try Self.unpack(Array(seen.body[5..<(5 + packedCount)]))
        #expect(first == [1, 2, 3])
        #expect(seen.body[5 + packedCount] == 0)
        #expect(seen.body.count == 5 + packedCount + 5 + Self.page.count)
    }

    @Test func whatIsAccepted_isSaidOnceAConnection() throws {
        let machine = try Machine()
        let first = try machine.call("Echo")
        #expect(first.fields["grpc-accept-encoding"] == "identity,gzip")
        let second = try machine.call("Echo")
        #expect(second.fields["grpc-accept-encoding"] == nil)
        #expect(second.status == "0")
    }

    // MARK: Metadata

    @Test func aClientsMetadata_reachesAHandlerThatAsksForIt() throws {
        let machine = try Machine()
        let seen = try machine.call(
            "Meta", changes: [("x-one", "1"), ("x-two-bin", "q6ur")])
        #expect(
            machine.handler.metadata == [
                MetadataField("x-one", "1"), MetadataField("x-two-bin", "q6ur"),
            ])
        #expect(seen.fields["x-first"] == "1")
        #expect(seen.trailers["x-last"] == "2")
        #expect(seen.status == "0")
    }

    @Test func anErrorsOnlyBlock_hasBothKindsOfMetadata() throws {
        let seen = try Machine().call("Meta", [])
        #expect(seen.error?.reason == RecordingHandler.failure.reason)
        #expect(seen.fields["x-first"] == "1")
        #expect(seen.fields["x-last"] == "2")
    }

    @Test func earlierAttempts_reachTheHandler_andAreCounted() throws {
        let machine = try Machine()
        for (text, attempts) in [("2", 2), ("0", 1), ("x", 1), ("99999999999", 999)] {
            _ = try machine.call("Echo", changes: [("grpc-previous-rpc-attempts", text)])
            #expect(machine.handler.previousAttempts.last == attempts)
        }
        _ = try machine.call("Echo")
        #expect(machine.handler.previousAttempts.last == 0)
        #expect(machine.core.metrics.callsRetried == 4)
    }
}
