// Calls from their first header to their last trailer, over real TLS and HTTP/2 in memory. Names of
// tests that quote a rule of gRPC say so.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageTransport

@Suite struct CallTests {
    @Test func unary_isAnswered() throws {
        let machine = try Machine()
        let reply = try machine.call("Echo", [9, 8, 7])
        #expect(
            reply.fields == [
                ":status": "200", "content-type": "application/grpc",
                "grpc-accept-encoding": "identity,gzip",
            ])
        #expect(reply.messages == [[9, 8, 7]])
        #expect(reply.trailers == ["grpc-status": "0"])
        #expect(reply.isEnded)
        #expect(machine.core.calls.count == 0)
        #expect(machine.handler.heads.first?.principal == "spiffe://triage.example/specialist/ada")
    }

    @Test func unary_inOneBytePieces_isAnswered() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo")
        let message = (0..<300).map { UInt8(truncatingIfNeeded: $0) }
        for byte in MessageFramer.frame(message.span) {
            machine.send(stream, [byte])
            try machine.turn()
        }
        machine.http2.endStream(stream)
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [message])
        #expect(machine.core.inputBytesHeld == 0)
    }

    @Test func unary_ofTheLargestSize_isAnsweredAndTheBytesAreGivenBack() throws {
        let machine = try Machine(windowBytes: 4 << 20)
        let message = [UInt8](repeating: 7, count: Limits.messageBytesMax)
        #expect(try machine.call("Echo", message).messages == [message])
        #expect(machine.core.inputBytesHeld == 0)
        #expect(machine.core.outputBytesHeld == 0)
    }

    @Test func unary_aboveTheLimit_isResourceExhausted() throws {
        let machine = try Machine()
        let reply = try machine.call(
            "Echo", [UInt8](repeating: 7, count: Limits.messageBytesMax + 1))
        #expect(reply.error?.code == .resourceExhausted)
        #expect(reply.error?.reason == "MESSAGE_TOO_LARGE")
        expectHit(.messageBytes, in: machine)
        #expect(machine.core.inputBytesHeld == 0)
    }

    @Test func error_arrivesWithItsDetails() throws {
        let machine = try Machine()
        let reply = try machine.call("Fail")
        #expect(reply.error == RecordingHandler.failure)
        #expect(reply.trailers.isEmpty, "trailers-only")
    }

    @Test func callWithoutMessage_isUnimplemented() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo", endStream: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == "REQUEST_CARDINALITY")
        #expect(machine.seen[stream.id]?.error?.code == .unimplemented)
        #expect(machine.handler.heads.isEmpty)
    }

    @Test func callWithTwoMessages_isUnimplemented() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo")
        let frame = MessageFramer.frame([1].span)
        machine.send(stream, frame + frame, end: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.code == .unimplemented)
        #expect(machine.handler.heads.isEmpty)
    }

    @Test(arguments: [
        ([UInt8(2), 0, 0, 0, 0], "MESSAGE_PREFIX_INVALID"),
        ([1, 0, 0, 0, 0], "MESSAGE_ENCODING_MISSING"),
        ([0, 0, 0, 0, 9, 1], "MESSAGE_TRUNCATED"),
        ([0, 0, 0], "MESSAGE_TRUNCATED"),
    ]) func brokenBody_isInternal(body: [UInt8], reason: String) throws {
        let machine = try Machine()
        let stream = try machine.open("Echo")
        machine.send(stream, body, end: true)
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == reason)
        #expect(machine.seen[stream.id]?.error?.code == .internal)
    }

    @Test func wrongRequests_areToldWhatIsWrong() throws {
        let machine = try Machine()
        #expect(try machine.call("No").error?.reason == "METHOD_UNKNOWN")
        let encoding = try machine.call("Echo", changes: [("grpc-encoding", "deflate")])
        #expect(encoding.error?.code == .unimplemented)
        #expect(encoding.fields["grpc-accept-encoding"] == "identity,gzip")
        #expect(
            try machine.call("Echo", changes: [("te", "")]).error?.reason == "TE_TRAILERS_MISSING")
        #expect(
            try machine.call("Echo", changes: [("grpc-timeout", "1s")]).error?.reason
                == "TIMEOUT_MALFORMED")
        let type = try machine.call("Echo", changes: [("content-type", "application/json")])
        #expect(type.fields[":status"] == "415")
        #expect(type.status == nil)
        let get = try machine.call("Echo", changes: [(":method", "GET")])
        #expect(get.fields[":status"] == "405")
        #expect(get.fields["allow"] == "POST")
        #expect(machine.handler.heads.isEmpty)
        #expect(try machine.call("Echo").status == "0", "the connection lives")
    }

    @Test func hugeMetadata_isResourceExhausted() throws {
        let machine = try Machine()
        let reply = try machine.call(
            "Echo", changes: [("x-a", String(repeating: "a", count: Limits.headerListBytesMax))])
        #expect(reply.error?.reason == "METADATA_TOO_LARGE")
        expectHit(.headerBytes, in: machine)
        let fields = (0..<Limits.headerFieldsMax).map { ("x-\($0)", "v") }
        #expect(try machine.call("Echo", changes: fields).error?.reason == "METADATA_TOO_LARGE")
    }

    /// Also when the block began like one that the session knows.
    @Test(arguments: [0, 3]) func hugeMetadata_isToldItsSize(callsBefore: Int) throws {
        let machine = try Machine()
        for _ in 0..<callsBefore { #expect(try machine.call("Echo").status == "0") }
        let usual = [
            (":method", "POST"), (":scheme", "https"), (":path", "/t.T/Echo"),
            (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc"),
        ]
        let huge = [
            [("x-a", String(repeating: "a", count: Limits.headerListBytesMax))],
            (0..<Limits.headerFieldsMax).map { ("x-\($0)", "v") },
        ]
        for fields in huge {
            let all = usual + fields
            let bytes = all.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
            let error = try #require(try machine.call("Echo", changes: fields).error)
            #expect(error == WireError.metadataTooLarge(bytes: bytes, fields: all.count))
            #expect(error.message.contains("of \(bytes) bytes in \(all.count) fields"))
        }
        #expect(try machine.call("Echo").status == "0")
    }

    @Test func stranger_mayProbeAndNothingElse() throws {
        let machine = try Machine(identified: false)
        #expect(try machine.call("Probe", [5]).messages == [[5]])
        #expect(try machine.call("Echo").error?.code == .unauthenticated)
        #expect(try machine.call("No").error?.code == .unauthenticated)
        #expect(machine.handler.heads.map(\.method) == [7])
    }

    @Test func handlerThatAnswersTwice_isIgnoredTheSecondTime() throws {
        let machine = try Machine()
        #expect(try machine.call("Twice").messages == [[1]])
    }

    @Test func handlerThatOwesItsMessage_isInternal() throws {
        let machine = try Machine()
        #expect(try machine.call("Nothing").error?.code == .internal)
    }

    @Test func traceparent_reachesAHandlerThatReadsItOnlyInItsLength() throws {
        let machine = try Machine()
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        _ = try machine.call("Meta", changes: [("traceparent", value)])
        _ = try machine.call("Meta", changes: [("traceparent", value + "0")])
        _ = try machine.call("Meta")
        _ = try machine.call("Echo", changes: [("traceparent", value)])
        #expect(machine.handler.heads.map(\.trace) == [55, 0, 0, 0])
    }

    @Test func lateAnswer_toACallThatIsGone_isIgnored() throws {
        let machine = try Machine()
        let stream = try machine.open("Hold")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        let call = try #require(machine.handler.held.first)
        machine.http2.reset(stream, .cancel)
        try machine.turn()
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.handler.cancelled.first?.0 == call)
        // The slot has a new occupant now.
        let other = try machine.open("Hold")
        machine.send(other, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        machine.core.respond(call, [6])
        #expect(machine.core.send(call, [6]) == .gone)
        machine.core.finish(call, nil)
        try machine.turn()
        #expect(machine.seen[other.id]?.isEnded == false)
        machine.core.respond(machine.handler.held[1], [7])
        try machine.turn()
        #expect(machine.seen[other.id]?.messages == [[7]])
    }

    @Test func manyCalls_inRandomOrder_eachGetTheirOwn() throws {
        var random = SeededRandom(seed: 0xCA11)
        let machine = try Machine()
        var streams: [(HTTP2Stream, UInt8)] = []
        for number in 0..<90 {
            let stream = try machine.open("Hold")
            machine.send(stream, MessageFramer.frame([1].span), end: true)
            streams.append((stream, UInt8(number)))
            try machine.turn()
        }
        var order = Array(machine.handler.held.enumerated())
        order.shuffle(using: &random)
        for (number, call) in order {
            machine.core.respond(call, [UInt8(number)])
            if random.next() % 4 == 0 { try machine.turn() }
        }
        try machine.turn()
        for (stream, number) in streams {
            #expect(machine.seen[stream.id]?.messages == [[number]])
        }
        #expect(machine.core.calls.count == 0)
    }

    @Test func turn_takesNoMoreNewCallsThanItMay() throws {
        var limits = ServerLimits()
        limits.newCallsPerTurnMax = 4
        let machine = try Machine(limits: limits)
        for _ in 0..<60 {
            let stream = try machine.open("Echo")
            machine.send(
                stream, MessageFramer.frame([UInt8](repeating: 1, count: 500).span), end: true)
        }
        let before = machine.handler.turns
        try machine.turn()
        #expect(machine.seen.values.filter { $0.status == "0" }.count == 60)
        expectHit(.newCallsPerTurn, atLeast: 14, in: machine)
        #expect(machine.handler.turns - before >= 15, "60 calls, 4 a turn")
    }

    @Test func metrics_countWhatHappened() throws {
        let machine = try Machine()
        _ = try machine.call("Echo")
        _ = try machine.call("Fail")
        _ = try machine.call("No")
        let metrics = machine.core.snapshot()
        #expect(metrics.methods[0].started == 1)
        #expect(metrics.methods[0].received == 1)
        #expect(metrics.methods[0].sent == 1)
        #expect(metrics.methods[0].handled[Int(StatusCode.ok.rawValue)] == 1)
        #expect(metrics.methods[0].latencyBuckets.reduce(0, +) == 1)
        #expect(metrics.methods[4].handled[Int(StatusCode.failedPrecondition.rawValue)] == 1)
        #expect(metrics.methods.last?.handled[Int(StatusCode.unimplemented.rawValue)] == 1)
        #expect(metrics.handshakesFull == 1)
        var page = PrometheusText()
        page.append(metrics, RecordingHandler.table)
        #expect(
            page.text.contains(
                "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"t.T\","
                    + "grpc_method=\"Fail\",grpc_code=\"FailedPrecondition\"} 1\n"))
        #expect(
            page.text.contains(
                "grpc_server_handling_seconds_bucket{grpc_type=\"unary\",grpc_service=\"t.T\","
                    + "grpc_method=\"Echo\",le=\"+Inf\"} 1\n"))
        for line in page.text.split(separator: "\n") where !line.hasPrefix("#") {
            #expect(line.split(separator: " ").count == 2, "one name and one value: \(line)")
        }
    }
}
