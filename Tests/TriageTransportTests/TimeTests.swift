// Deadlines, time limits of connections, and drain; the clock is turned by hand.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

@testable import TriageTransport

@Suite struct DeadlineTests {
    private func hold(_ machine: Machine, timeout: String? = nil, method: String = "Hold") throws
        -> HTTP2Stream
    {
        let stream = try machine.open(
            method, changes: timeout.map { [("grpc-timeout", $0)] } ?? [])
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        return stream
    }

    @Test func deadline_endsTheCallAndTellsTheHandler() throws {
        let machine = try Machine()
        let stream = try hold(machine, timeout: "500m")
        try machine.advance(milliseconds: 490)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 20)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        #expect(machine.handler.cancelled.count == 1)
        if case .deadlineExceeded = machine.handler.cancelled[0].1 {} else { Issue.record("wrong") }
        #expect(machine.hits(.unaryTime) == 0)
        #expect(machine.core.calls.count == 0)
    }

    /// gRPC PROTOCOL-HTTP2 "Requests": TimeoutUnit.
    @Test(
        arguments: [
            ("1H", 3_600_000), ("1M", 60_000), ("2S", 2_000), ("3000m", 3_000), ("4000000u", 4_000),
            ("50000000n", 50),
        ] as [(String, UInt64)]) func everyUnit_isEnforced(
            timeout: String, milliseconds: UInt64
        ) throws
    {
        var limits = ServerLimits()
        // Nothing else may end the call first.
        limits.unaryMillisecondsMax = 7_200_000
        limits.ageMillisecondsMax = 36_000_000
        let machine = try Machine(limits: limits)
        let stream = try hold(machine, timeout: timeout)
        try machine.advance(milliseconds: milliseconds - 20)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 40)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        #expect(machine.handler.cancelled.count == 1)
    }

    @Test func answeredCall_hasNoDeadlineAnyMore() throws {
        let machine = try Machine()
        _ = try hold(machine, timeout: "500m")
        machine.core.respond(machine.handler.held[0], [1])
        try machine.advance(milliseconds: 5_000)
        #expect(machine.handler.cancelled.isEmpty)
        #expect(machine.core.timers.count == 0)
    }

    @Test func zeroTimeout_endsTheCall() throws {
        let machine = try Machine()
        let stream = try hold(machine, timeout: "0n")
        try machine.advance(milliseconds: 5)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
    }

    @Test(arguments: [nil, "2H"]) func unary_isCapped(timeout: String?) throws {
        let machine = try Machine()
        let stream = try hold(machine, timeout: timeout)
        try machine.advance(milliseconds: 59_900)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 200)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        expectHit(.unaryTime, in: machine)
    }

    @Test func longLived_isNotCapped() throws {
        let machine = try Machine()
        let stream = try hold(machine, method: "Pull")
        machine.core.markLongLived(machine.handler.pulls[0])
        try machine.advance(milliseconds: 200_000)
        #expect(machine.seen[stream.id]?.isEnded == false)
    }

    @Test func serverStream_hasOnlyItsOwnDeadline() throws {
        let machine = try Machine()
        let open = try hold(machine, method: "Pull")
        let timed = try hold(machine, timeout: "90S", method: "Pull")
        try machine.advance(milliseconds: 80_000)
        #expect(machine.seen[timed.id]?.isEnded == false)
        try machine.advance(milliseconds: 11_000)
        #expect(machine.seen[timed.id]?.error?.code == .deadlineExceeded)
        #expect(machine.seen[open.id]?.isEnded == false)
    }

    @Test func requestThatNeverComes_isCapped() throws {
        for method in ["Echo", "Pull"] {
            let machine = try Machine()
            let stream = try machine.open(method)
            try machine.turn()
            try machine.advance(milliseconds: 60_100)
            #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        }
    }

    @Test func clientStream_livesAsLongAsItMoves() throws {
        let machine = try Machine()
        let stream = try machine.open("Push")
        for _ in 0..<5 {
            machine.send(stream, MessageFramer.frame([1].span))
            try machine.turn()
            try machine.advance(milliseconds: 40_000)
        }
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 21_000)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
    }
}

@Suite struct StreamDeadlineTests {
    private func push(_ machine: Machine, timeout: String? = nil) throws -> HTTP2Stream {
        let stream = try machine.open(
            "Push", changes: timeout.map { [("grpc-timeout", $0)] } ?? [])
        try machine.turn()
        return stream
    }

    private func send(_ machine: Machine, _ stream: HTTP2Stream) throws {
        machine.send(stream, MessageFramer.frame([1].span))
        try machine.turn()
    }

    /// An upload: what it holds others wait for, whatever deadline it has.
    @Test(arguments: [nil, "2H"])
    func longLived_thatFallsSilent_ends(timeout: String?) throws {
        let machine = try Machine()
        let stream = try push(machine, timeout: timeout)
        #expect(machine.core.markLongLived(machine.handler.held[0]))
        for _ in 0..<3 {
            try send(machine, stream)
            try machine.advance(milliseconds: 59_000)
        }
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.connection.longLivedCount == 0)
        expectHit(.bodyTime, in: machine)
    }

    @Test func longLived_hasItsClientsDeadlineToo() throws {
        let machine = try Machine()
        let stream = try push(machine, timeout: "90S")
        machine.core.markLongLived(machine.handler.held[0])
        for _ in 0..<2 {
            try send(machine, stream)
            try machine.advance(milliseconds: 44_000)
        }
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 3_000)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        #expect(machine.hits(.bodyTime) == 0)
    }

    /// The disk is slow: that is no fault of the client's, whose time begins when it is asked.
    @Test(arguments: [false, true])
    func aHandlerThatTakesItsTime_costsTheClientNone(isLongLived: Bool) throws {
        let machine = try Machine()
        machine.handler.asksForMore = false
        let stream = try push(machine)
        if isLongLived { machine.core.markLongLived(machine.handler.held[0]) }
        try send(machine, stream)
        for _ in 0..<3 { try machine.advance(milliseconds: 59_000) }
        #expect(machine.seen[stream.id]?.isEnded == false)
        machine.core.requestMore(machine.handler.held[0])
        try machine.advance(milliseconds: 59_000)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        expectHit(.bodyTime, in: machine)
    }

    /// All has come, and what is left takes longer than a call may: an object of evidence.
    @Test func longLived_thatIsComplete_isNotCapped() throws {
        let machine = try Machine()
        machine.handler.answersEnd = false
        let stream = try push(machine)
        machine.core.markLongLived(machine.handler.held[0])
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        for _ in 0..<3 { try machine.advance(milliseconds: 59_000) }
        #expect(machine.handler.ended.count == 1)
        #expect(machine.seen[stream.id]?.isEnded == false)
        machine.core.respond(machine.handler.held[0], [7])
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[7]])
    }

    @Test func stream_thatIsComplete_isCappedFromThen() throws {
        let machine = try Machine()
        machine.handler.answersEnd = false
        let stream = try push(machine)
        try send(machine, stream)
        try machine.advance(milliseconds: 59_000)
        machine.http2.endStream(stream)
        try machine.turn()
        try machine.advance(milliseconds: 59_000)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.seen[stream.id]?.error?.code == .deadlineExceeded)
        expectHit(.unaryTime, in: machine)
    }
}

@Suite struct ConnectionTimeTests {
    @Test func handshake_thatDoesNotEnd_isClosed() throws {
        let machine = try Machine(handshake: false)
        for (milliseconds, isEnding) in [(9_900, false), (200, true)] {
            machine.core.now = machine.core.now.advanced(
                byNanoseconds: UInt64(milliseconds) * 1_000_000)
            machine.connection.sweep()
            #expect(machine.connection.isEnding == isEnding)
        }
        expectHit(.handshakeTime, in: machine)
    }

    @Test func idleConnection_isToldAndClosed() throws {
        let machine = try Machine()
        _ = try machine.call("Echo")
        try machine.advance(milliseconds: 1_000)
        try machine.advance(milliseconds: 299_000)
        #expect(!machine.connection.isEnding)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.connection.isEnding)
        #expect(machine.goAways.map(\.code) == [.noError])
        #expect(machine.isClosed)
        expectHit(.idleTime, in: machine)
    }

    /// A server may say so for as long as a client comes back.
    @Test func whoIsToldForEverThatItPingsTooMuch_pingsOnceAnAge() {
        var times = KeepaliveTimes(silenceMilliseconds: 60_000, answerMilliseconds: 20_000)
        let now = MonotonicTime(nanoseconds: 1)
        times = times.halvedPings
        #expect(times.silenceMilliseconds == 120_000)
        for _ in 0..<100 { times = times.halvedPings }
        #expect(times.silenceMilliseconds == Limits.ageMillisecondsMax)
        #expect(Keepalive(now: now).nextLook(times) > now)
    }

    @Test func openStream_keepsAConnection() throws {
        let machine = try Machine()
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        for _ in 0..<20 { try machine.advance(milliseconds: 60_000) }
        #expect(!machine.connection.isEnding)
    }

    /// nghttp2 has reset its stream, and reads on.
    @Test func headerBlock_thatWasRefusedAndDoesNotEnd_isClosed() throws {
        let peer = try RawPeer()
        let block = RawFrame.literals([("connection", "close")])
        try peer.send([], .headers(1, block, complete: false))
        try peer.advance(milliseconds: 1_000)
        try peer.advance(milliseconds: 9_000)
        #expect(!peer.connection.isEnding)
        try peer.advance(milliseconds: 2_000)
        #expect(peer.connection.isEnding)
        expectHit(.headerBlockTime, in: peer)
    }

    /// nghttp2 tells of the end of neither: the connection must live, with what is open on it.
    @Test(arguments: [false, true])
    func headerBlock_thatEndsUnheard_isNoneThatGoesOn(isTrailers: Bool) throws {
        let peer = try RawPeer()
        try peer.send(
            [], .headers(1, RawFrame.request("Hold")), .headers(3, RawFrame.request("Hold")),
            .data(3, [0, 0, 0, 0, 1, 7], end: true))
        let stream: Int32 = isTrailers ? 1 : 5
        let block = RawFrame.literals([isTrailers ? ("x-end", "1") : ("connection", "close")])
        try peer.send([], .headers(stream, block, end: isTrailers, complete: false))
        if isTrailers {
            // Answered before its end has come, and so closed by us.
            let calls = peer.core.calls.slots
            let call = try #require(calls.first { peer.core.calls[$0].stream.id == 1 })
            peer.core.finish(peer.core.id(call), WireError.memoryExhausted)
            try peer.pump()
        }
        try peer.send([], .continuation(stream, complete: true))
        for _ in 0..<12 { try peer.advance(milliseconds: 1_000) }
        #expect(!peer.connection.isEnding, "\(peer.connection.endReason)")
        #expect(peer.hits(.headerBlockTime) == 0)
        peer.core.respond(try #require(peer.handler.held.last), [1])
        try peer.pump()
        #expect(peer.frames.contains { $0.stream == 3 && $0.type == 0 })
    }

    @Test func headerBlock_thatDoesNotEnd_isClosed() throws {
        let machine = try Machine()
        // HEADERS on stream 1 without END_HEADERS, and nothing after it.
        try machine.sendRaw([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83])
        try machine.advance(milliseconds: 1_000)
        try machine.advance(milliseconds: 9_000)
        #expect(!machine.connection.isEnding)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.connection.isEnding)
        expectHit(.headerBlockTime, in: machine)
    }
}

@Suite struct EndedConnectionTests {
    private func pass(_ peer: RawPeer, milliseconds: UInt64) {
        peer.core.now = peer.core.now.advanced(byNanoseconds: milliseconds * 1_000_000)
    }

    /// Else who reads a little now and then stretches a drain, and reads on after a revocation.
    @Test func outputThatMovesSlowly_hasFiveSeconds() throws {
        let peer = try RawPeer()
        peer.connection.end("told to")
        for second in 1...6 {
            pass(peer, milliseconds: 1_000)
            peer.connection.sentAt = peer.core.now
            #expect(peer.connection.isOverdue(lingersSince: nil) == (second == 6))
        }
    }

    @Test func outputThatStandsStill_hasTwoSeconds_howeverLongItWasSilentBefore() throws {
        let peer = try RawPeer()
        pass(peer, milliseconds: 60_000)
        #expect(!peer.connection.isOverdue(lingersSince: nil), "it has not ended")
        peer.connection.end("told to")
        #expect(!peer.connection.isOverdue(lingersSince: nil), "its last words have not left")
        pass(peer, milliseconds: 2_000)
        #expect(!peer.connection.isOverdue(lingersSince: nil))
        pass(peer, milliseconds: 1)
        #expect(peer.connection.isOverdue(lingersSince: nil))
    }

    @Test func peerThatDoesNotClose_hasTwoSecondsMore() throws {
        let peer = try RawPeer()
        peer.connection.end("told to")
        pass(peer, milliseconds: 4_000)
        let since = peer.core.now
        pass(peer, milliseconds: 2_000)
        #expect(!peer.connection.isOverdue(lingersSince: since))
        pass(peer, milliseconds: 1)
        #expect(peer.connection.isOverdue(lingersSince: since))
    }
}

@Suite struct DrainTests {
    @Test func drain_saysSoTwiceAndFinishesCalls() throws {
        let machine = try Machine()
        let stream = try machine.open("Hold")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        machine.connection.beginDrain()
        try machine.turn()
        #expect(machine.goAways.map(\.last) == [Int32.max, stream.id])
        #expect(machine.goAways.allSatisfy { $0.code == .noError })
        #expect(!machine.connection.isEnding)
        machine.core.respond(machine.handler.held[0], [4])
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[4]])
        #expect(machine.connection.isEnding)
        #expect(machine.isClosed)
    }

    @Test func streamOnItsWay_betweenTheTwo_isServed() throws {
        let machine = try Machine()
        let stream = try machine.open("Echo")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        machine.connection.beginDrain()
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[1]])
        #expect(machine.connection.isEnding)
    }

    @Test func graceThatIsOver_endsCallsWithUnavailable() throws {
        let machine = try Machine()
        let stream = try machine.open("Hold")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        machine.connection.beginDrain()
        try machine.turn()
        machine.connection.finishDrain()
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == "SERVER_DRAINING")
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.isClosed)
        expectHit(.drainTime, in: machine)
    }

    @Test func idleConnection_endsWhenTheAnswerIsDue() throws {
        let machine = try Machine()
        machine.connection.beginDrain()
        try machine.turn()
        // A client of nghttp2 that has no streams ends by itself and answers no PING any more.
        #expect(!machine.connection.isEnding)
        try machine.advance(milliseconds: 1_100)
        #expect(machine.connection.isEnding)
    }
}
