// Streams of messages either way: order, back-pressure, and what ends them.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageTransport

@Suite struct ServerStreamTests {
    private func pull(_ machine: Machine) throws -> (HTTP2Stream, CallID) {
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        return (stream, try #require(machine.handler.pulls.last))
    }

    @Test func messages_arriveInOrderAndThenOK() throws {
        let machine = try Machine()
        let (stream, call) = try pull(machine)
        for number in 0..<200 { #expect(machine.core.send(call, [UInt8(number)]) == .queued) }
        machine.core.finish(call, nil)
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == (0..<200).map { [UInt8($0)] })
        #expect(machine.seen[stream.id]?.trailers["grpc-status"] == "0")
    }

    @Test func noMessages_isOKWithTrailers() throws {
        let machine = try Machine()
        let (stream, call) = try pull(machine)
        machine.core.finish(call, nil)
        try machine.turn()
        #expect(machine.seen[stream.id]?.fields[":status"] == "200")
        #expect(machine.seen[stream.id]?.trailers["grpc-status"] == "0")
        #expect(machine.seen[stream.id]?.messages == [])
    }

    @Test func errorAfterMessages_isInTheTrailers() throws {
        let machine = try Machine()
        let (stream, call) = try pull(machine)
        _ = machine.core.send(call, [1])
        machine.core.finish(call, RecordingHandler.failure)
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[1]])
        #expect(machine.seen[stream.id]?.error == RecordingHandler.failure)
    }

    @Test func slowClient_fillsTheBufferAndThenDrainsIt() throws {
        let machine = try Machine(windowBytes: 70_000)
        machine.consumes = false
        let (stream, call) = try pull(machine)
        let message = [UInt8](repeating: 3, count: 10_000)
        var sent = 0
        var outcome = SendOutcome.queued
        while case .queued = outcome, sent < 1_000 {
            outcome = machine.core.send(call, message)
            sent += 1
            try machine.turn()
        }
        #expect(outcome == .full)
        #expect(sent < 20, "about the window and the high-water mark")
        #expect(machine.handler.writable == 0)
        machine.consumes = true
        machine.http2.consume(stream, machine.http2.unconsumedBytes(stream))
        try machine.turn()
        #expect(machine.handler.writable == 1)
        machine.core.finish(call, nil)
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages.count == sent)
        #expect(machine.core.outputBytesHeld == 0)
    }

    @Test func stalledStream_isResetAndTheOthersGoOn() throws {
        let machine = try Machine(windowBytes: 70_000)
        machine.consumes = false
        let (stream, call) = try pull(machine)
        _ = machine.core.send(call, [UInt8](repeating: 3, count: 200_000))
        try machine.turn()
        #expect(machine.core.outputBytesHeld > 100_000)
        try machine.advance(milliseconds: 1_000)
        try machine.advance(milliseconds: 29_000)
        #expect(machine.seen[stream.id]?.closed == nil)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.seen[stream.id]?.closed == .cancel)
        #expect(machine.handler.cancelled.map(\.0) == [call])
        expectHit(.stalledStream, in: machine)
        #expect(machine.core.outputBytesHeld == 0)
        #expect(try machine.call("Echo").status == "0")
    }

    /// Its reset waits behind a full socket, and each second it is looked at again.
    @Test func stalledStream_whoseResetCannotLeave_isCountedOnce() throws {
        let machine = try Machine(windowBytes: 70_000)
        machine.consumes = false
        let (_, call) = try pull(machine)
        _ = machine.core.send(call, [UInt8](repeating: 3, count: 200_000))
        try machine.turn()
        machine.core.resetStalledStreams()
        for seconds in 31...35 {
            machine.core.now = machine.core.now.advanced(
                byNanoseconds: UInt64(seconds == 31 ? 31 : 1) * 1_000_000_000)
            machine.core.resetStalledStreams()
            #expect(machine.hits(.stalledStream) == 1)
        }
    }

    @Test func streamThatIsRefilledAsItDrains_isNotStalled() throws {
        let machine = try Machine(windowBytes: 70_000)
        machine.consumes = false
        let (stream, call) = try pull(machine)
        let size = 10_000
        _ = machine.core.send(call, [UInt8](repeating: 3, count: 200_000))
        try machine.turn()
        let level = machine.core.outputBytesHeld
        for _ in 0..<70 {
            // As much room as is filled again: the queue has the same length at every look.
            machine.http2.consume(stream, size + MessageDeframer.prefixBytes)
            _ = machine.core.send(call, [UInt8](repeating: 3, count: size))
            try machine.advance(milliseconds: 1_000)
        }
        #expect(abs(machine.core.outputBytesHeld - level) < 40_000)
        #expect(machine.seen[stream.id]?.closed == nil)
        #expect(machine.hits(.stalledStream) == 0)
    }

    @Test func replyThatWaitsForItsFirstFlush_isNotStalled() throws {
        let machine = try Machine()
        let (stream, call) = try pull(machine)
        _ = machine.core.send(call, [1, 2, 3])
        machine.core.resetStalledStreams()
        machine.core.finish(call, nil)
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[1, 2, 3]])
        #expect(machine.hits(.stalledStream) == 0)
    }

    /// While nothing waits nobody is looked at; what was noted before is no stillness.
    @Test func streamThatWasQuiet_isNotStalled_whenItsNextMessageWaits() throws {
        let machine = try Machine()
        let (stream, quiet) = try pull(machine)
        _ = machine.core.send(quiet, [1])
        try machine.turn()
        let (_, busy) = try pull(machine)
        _ = machine.core.send(busy, [UInt8](repeating: 3, count: 200_000))
        machine.core.resetStalledStreams()
        try machine.turn()
        #expect(machine.core.outputBytesHeld == 0)
        machine.core.now = machine.core.now.advanced(byNanoseconds: 31_000_000_000)
        machine.core.resetStalledStreams()
        _ = machine.core.send(quiet, [2])
        machine.core.resetStalledStreams()
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[1], [2]])
        #expect(machine.seen[stream.id]?.closed == nil)
        #expect(machine.hits(.stalledStream) == 0)
    }

    @Test func theSameMessages_toManyCalls() throws {
        let machine = try Machine()
        var streams: [HTTP2Stream] = []
        for _ in 0..<5 { streams.append(try pull(machine).0) }
        let calls = machine.handler.pulls
        // One has had its headers, one is over, one is as it was.
        _ = machine.core.send(calls[1], [9])
        machine.core.finish(calls[2], nil)
        try machine.turn()
        var reports: [CallID: SendOutcome] = [:]
        for messages in [[[1], []], [[2, 2]], [[UInt8](repeating: 3, count: 3_000)]] as [[[UInt8]]]
        {
            machine.core.send(messages, to: calls.map(\.raw)) { reports[$0] = $1 }
        }
        try machine.turn()
        let same: [[UInt8]] = [[1], [], [2, 2], [UInt8](repeating: 3, count: 3_000)]
        let expected = [same, [[9]] + same, [], same, same]
        #expect(streams.map { machine.seen[$0.id]?.messages } == expected)
        #expect(reports == [calls[2]: .gone])
        #expect(machine.core.outputBytesHeld == 0)
        for call in calls { machine.core.finish(call, nil) }
        try machine.turn()
        #expect(streams.allSatisfy { machine.seen[$0.id]?.trailers["grpc-status"] == "0" })
    }

    @Test func theSameMessages_toOneThatDoesNotRead_areReportedFull_onceItIs() throws {
        let machine = try Machine(windowBytes: 70_000)
        machine.consumes = false
        let (_, slow) = try pull(machine)
        var full = 0
        for _ in 0..<20 {
            machine.core.send([[UInt8](repeating: 3, count: 10_000)], to: [slow.raw]) {
                #expect($0 == slow && $1 == .full)
                full += 1
            }
            try machine.turn()
        }
        #expect(full > 0 && full < 14)
    }

    @Test func theSameMessages_toMany_leaveConnectionByConnection_afterTheRepliesBefore() throws {
        let caller = try Machine()
        let watcher = try Machine(beside: caller)
        let core = caller.core
        var pushed: [Int] = []
        core.push = { pushed.append($0) }
        let held = try caller.open("Hold")
        caller.send(held, MessageFramer.frame([1].span), end: true)
        try caller.turn()
        for _ in 0..<64 { _ = try pull(watcher) }
        let calls = caller.handler.pulls.map(\.raw)
        // Few, or several turns of the engine at once: all leaves at the end of the turn.
        core.mayPush = true
        core.send([[1]], to: Array(calls.dropLast())) { _, _ in }
        core.mayPush = false
        core.send([[2]], to: calls) { _, _ in }
        #expect(pushed == [])
        try watcher.turn()
        core.mayPush = true
        core.respond(try #require(caller.handler.held.first), [3])
        core.send([[4]], to: calls) { _, _ in }
        #expect(pushed == [caller.connection.index, watcher.connection.index])
    }

    @Test func longLived_aboveTheLimit_isRefused() throws {
        var limits = ServerLimits()
        limits.longLivedStreamsMax = 2
        let machine = try Machine(limits: limits)
        var streams: [HTTP2Stream] = []
        for _ in 0..<3 {
            let (stream, call) = try pull(machine)
            machine.core.markLongLived(call)
            machine.core.markLongLived(call)
            streams.append(stream)
        }
        try machine.turn()
        #expect(machine.seen[streams[1].id]?.isEnded == false)
        #expect(machine.seen[streams[2].id]?.error?.reason == "LONG_LIVED_STREAMS_EXHAUSTED")
        expectHit(.longLivedStreams, in: machine)
        // One that ends makes room for another.
        machine.core.finish(machine.handler.pulls[0], nil)
        try machine.turn()
        let (next, call) = try pull(machine)
        machine.core.markLongLived(call)
        try machine.turn()
        #expect(machine.seen[next.id]?.isEnded == false)
    }
}

@Suite struct ClientStreamTests {
    @Test func messages_areDeliveredAndTheReplySent() throws {
        let machine = try Machine()
        let stream = try machine.open("Push")
        for number in 0..<50 {
            machine.send(stream, MessageFramer.frame([UInt8(number)].span))
            if number % 7 == 0 { try machine.turn() }
        }
        machine.http2.endStream(stream)
        try machine.turn()
        #expect(machine.handler.pushed == (0..<50).map { [UInt8($0)] })
        #expect(machine.seen[stream.id]?.messages == [[50]])
        #expect(machine.core.inputBytesHeld == 0)
    }

    @Test func withoutCredit_nothingMoreIsDeliveredAndTheWindowCloses() throws {
        let machine = try Machine()
        machine.handler.asksForMore = false
        let stream = try machine.open("Push")
        let message = [UInt8](repeating: 1, count: 100_000)
        for _ in 0..<30 { machine.send(stream, MessageFramer.frame(message.span)) }
        machine.http2.endStream(stream)
        try machine.turn()
        #expect(machine.handler.pushed.count == 1)
        #expect(machine.handler.ended.isEmpty)
        // A stream window of bytes, not the whole three megabytes.
        #expect(machine.core.inputBytesHeld <= (1 << 20) + 16_384)
        #expect(machine.core.inputBytesHeld > 500_000)
        for _ in 0..<29 {
            machine.core.requestMore(try #require(machine.handler.held.first))
            try machine.turn()
        }
        #expect(machine.handler.pushed.count == 30)
        #expect(machine.handler.ended.count == 1, "the end needs no credit")
        #expect(machine.core.inputBytesHeld == 0)
        #expect(machine.seen[stream.id]?.messages == [[30]])
    }

    /// Opens streams whose messages, more than a stream's window of them, find no credit.
    private func pushWithoutCredit(_ machine: Machine, streams count: Int) throws -> [HTTP2Stream] {
        machine.handler.asksForMore = false
        let framed = MessageFramer.frame([UInt8](repeating: 1, count: 100_000).span)
        let streams = try (0..<count).map { _ in try machine.open("Push") }
        for stream in streams {
            for _ in 0..<12 { machine.send(stream, framed) }
        }
        try machine.turn()
        return streams
    }

    /// They wait for the disk; the calls beside them do not.
    @Test func streamsWithoutCredit_leaveTheConnectionToTheCallsBeside() throws {
        let machine = try Machine()
        let streams = try pushWithoutCredit(machine, streams: 4)
        #expect(machine.core.inputBytesHeld > Limits.connectionWindowBytes * 9 / 10)
        #expect(try machine.call("Echo").status == "0")
        machine.handler.asksForMore = true
        for call in machine.handler.held { machine.core.requestMore(call) }
        for stream in streams { machine.http2.endStream(stream) }
        try machine.turn()
        #expect(machine.handler.pushed.count == 48)
        #expect(streams.allSatisfy { machine.seen[$0.id]?.status == "0" })
        #expect(machine.core.inputBytesHeld == 0)
    }

    /// What the connection's window had of them, and what it had not.
    @Test func streamsWithoutCredit_thatAreReset_giveTheirWindowsBack() throws {
        let machine = try Machine()
        for _ in 0..<2 {
            for stream in try pushWithoutCredit(machine, streams: 20) {
                machine.http2.reset(stream, .cancel)
            }
            try machine.turn()
            #expect(machine.core.inputBytesHeld == 0)
        }
        #expect(try machine.call("Echo", [UInt8](repeating: 2, count: 1_000_000)).status == "0")
        #expect(machine.goAways.isEmpty)
    }

    @Test func manyStreamsWithoutCredit_areSlowedDown_notRefused() throws {
        let machine = try Machine()
        let streams = try pushWithoutCredit(machine, streams: 20)
        let share = machine.connection.share
        #expect(20 * Limits.streamWindowBytes > share.bytesMax, "or nothing is shown")
        #expect(share.bytesHeld > share.bytesMax / 2)
        #expect(streams.allSatisfy { machine.seen[$0.id]?.isEnded == false })
        #expect(machine.hits(.identityBytes) == 0)
        machine.handler.asksForMore = true
        for call in machine.handler.held { machine.core.requestMore(call) }
        try machine.turn()
        #expect(machine.handler.pushed.count == 20 * 12)
        #expect(machine.core.inputBytesHeld == 0)
    }

    @Test func resetInTheMiddle_cancelsAndGivesTheBytesBack() throws {
        let machine = try Machine()
        machine.handler.asksForMore = false
        let stream = try machine.open("Push")
        for _ in 0..<5 { machine.send(stream, MessageFramer.frame([1, 2, 3].span)) }
        try machine.turn()
        machine.http2.reset(stream, .cancel)
        try machine.turn()
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.core.inputBytesHeld == 0)
        #expect(machine.core.calls.count == 0)
    }

    @Test func brokenMessage_endsTheCallAndTellsTheHandler() throws {
        let machine = try Machine()
        let stream = try machine.open("Push")
        machine.send(stream, MessageFramer.frame([1].span) + [7])
        try machine.turn()
        #expect(machine.handler.pushed == [[1]])
        #expect(machine.seen[stream.id]?.error?.reason == "MESSAGE_PREFIX_INVALID")
        #expect(machine.handler.cancelled.count == 1)
    }

    @Test func tooManyUnfinishedBytes_areResourceExhausted() throws {
        var limits = ServerLimits()
        limits.messageBytesInFlightMax = 100_000
        let machine = try Machine(limits: limits)
        var streams: [HTTP2Stream] = []
        for _ in 0..<3 {
            let stream = try machine.open("Echo")
            // Half of a message of 80,000 bytes.
            machine.send(stream, [0, 0, 1, 0x38, 0x80] + [UInt8](repeating: 1, count: 40_000))
            streams.append(stream)
            try machine.turn()
        }
        #expect(machine.seen[streams[2].id]?.error?.reason == "MESSAGE_MEMORY_EXHAUSTED")
        #expect(machine.seen[streams[2].id]?.error?.retryAfterMilliseconds == 1_000)
        #expect(machine.seen[streams[0].id]?.isEnded == false)
        expectHit(.messageBytesInFlight, atLeast: 1, in: machine)
        machine.http2.reset(streams[0], .cancel)
        machine.http2.reset(streams[1], .cancel)
        try machine.turn()
        #expect(machine.core.inputBytesHeld == 0)
        #expect(try machine.call("Echo").status == "0")
    }
}
