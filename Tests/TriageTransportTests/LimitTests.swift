// Each limit of a connection that a peer can reach with frames alone: it is counted, the peer is
// told why, and just below it nothing happens. Raw bytes, and the test's own clock.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

@Suite struct FrameLimitTests {
    private func expectCalm(_ kind: LimitKind, _ peer: RawPeer, _ note: String = "") {
        #expect(peer.connection.isEnding, "\(kind) \(note)")
        expectHit(kind, in: peer, note)
        #expect(peer.goAway?.code == HTTP2ErrorCode.enhanceYourCalm.rawValue, "\(kind) \(note)")
        #expect(peer.goAway?.debug == kind.farewell.description, "\(kind) \(note)")
        #expect(peer.core.calls.count == 0)
    }

    @Test func continuations_oneTooMany_endTheConnection() throws {
        let block = RawFrame.request("Echo")
        for (count, isFine) in [(8, true), (9, false)] {
            let peer = try RawPeer()
            try peer.send([], .headers(1, block, end: true, complete: false))
            for index in 1...count where !peer.connection.isEnding {
                try peer.send([], .continuation(1, complete: isFine && index == count))
            }
            if isFine {
                #expect(!peer.connection.isEnding)
                #expect(peer.frames.contains { $0.type == 1 && $0.stream == 1 }, "it is answered")
            } else {
                expectCalm(.continuations, peer)
            }
        }
    }

    @Test func fields_oneTooMany_areCountedAndAnswered() throws {
        for (count, hits) in [(94, UInt64(0)), (95, 1)] {
            let peer = try RawPeer()
            let crumbs = (0..<count).map { _ in ("cookie", "a=b") }
            try peer.send([], .headers(1, RawFrame.request("Nothing", crumbs), end: true))
            #expect(peer.hits(.headerFields) == hits)
            if hits == 1 { expectHit(.headerFields, in: peer) }
            #expect(peer.hits(.headerBytes) == 0)
            #expect(!peer.connection.isEnding)
        }
    }

    @Test func headerBytes_oneTooMany_areCountedAndAnswered() throws {
        let base = [
            (":method", "POST"), (":scheme", "https"), (":path", "/t.T/Nothing"),
            (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc"),
        ].reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
        let room = Limits.headerListBytesMax - base - 33
        for (size, hits) in [(room, UInt64(0)), (room + 1, 1)] {
            let peer = try RawPeer()
            let fields = [("x", String(repeating: "v", count: size))]
            let block = RawFrame.request("Nothing", fields)
            // No frame may be larger than 16,384 bytes.
            try peer.send(
                [], .headers(1, Array(block.prefix(16_000)), end: true, complete: false),
                .continuation(1, Array(block.dropFirst(16_000)), complete: true))
            #expect(peer.hits(.headerBytes) == hits)
            if hits == 1 { expectHit(.headerBytes, in: peer) }
            #expect(peer.hits(.headerFields) == 0)
            #expect(!peer.connection.isEnding)
            #expect(peer.frames.contains { $0.type == 1 && $0.stream == 1 })
        }
    }

    @Test func http2Bomb_ofIndexedCrumbs_endsTheConnectionAndIsCounted() throws {
        let peer = try RawPeer()
        // One entry in the dynamic table, then a thousand one-byte references to it.
        let block =
            RawFrame.request("Echo") + RawFrame.literals([("cookie", "a=b")], kind: 0x40)
            + [UInt8](repeating: 0x80 | 62, count: 1_000)
        try peer.send([], .headers(1, block, end: true))
        #expect(peer.connection.isEnding)
        expectHit(.headerFields, in: peer)
        #expect(peer.goAway?.code == HTTP2ErrorCode.enhanceYourCalm.rawValue)
        #expect(peer.core.calls.count == 0)
    }

    @Test func emptyData_hiddenInFrontOfAFullFrame_endsTheConnection() throws {
        for padding in [0, 200] {
            for (count, isFine) in [(10, true), (11, false)] {
                let peer = try RawPeer()
                try peer.send([], .headers(1, RawFrame.request("Hold")))
                let empty =
                    padding == 0
                    ? RawFrame.data(1)
                    : RawFrame(
                        type: 0, flags: RawFrame.padded, stream: 1,
                        payload: [UInt8(padding)] + [UInt8](repeating: 0, count: padding))
                let row = [RawFrame](repeating: empty, count: count)
                try peer.send(
                    [], row + [.data(1, [0])] + row + [.data(1, [0, 0, 0, 0], end: true)])
                if isFine {
                    #expect(!peer.connection.isEnding)
                    #expect(peer.handler.held.count == 1)
                } else {
                    expectCalm(.emptyFrames, peer, "padding \(padding)")
                }
            }
        }
    }

    @Test func settings_atTheLimit_areFine_oneMoreIsNot_andTheyComeBack() throws {
        let peer = try RawPeer()
        for _ in 0..<(Limits.settingsPerMinute - 1) { try peer.send([], .settings) }
        #expect(!peer.connection.isEnding)
        for _ in 0..<10 {
            try peer.advance(milliseconds: 6_001)
            for _ in 0..<10 { try peer.send([], .settings) }
        }
        #expect(!peer.connection.isEnding, "a hundred a minute, for ever")
        for _ in 0..<2 { try peer.send([], .settings) }
        expectCalm(.settings, peer)
    }

    @Test func settingsEntries_oneTooMany_endTheConnection() throws {
        let max = Limits.settingsEntriesMax
        for (count, isFine) in [(max, true), (max + 1, false)] {
            let peer = try RawPeer()
            // Of a setting that nobody knows.
            let entry: [UInt8] = [0xBA, 0xBA, 0, 0, 0, 0]
            let payload = [[UInt8]](repeating: entry, count: count).flatMap { $0 }
            try peer.send([], RawFrame(type: 4, payload: payload))
            if isFine {
                #expect(!peer.connection.isEnding)
            } else {
                expectCalm(.settingsEntries, peer)
            }
        }
    }

    @Test func answersThatPileUpInOneRead_endTheConnection() throws {
        for frame in [RawFrame.ping, .settings] {
            let peer = try RawPeer()
            try peer.send([], [RawFrame](repeating: frame, count: Limits.queuedAnswersMax + 2))
            expectCalm(.queuedAnswers, peer)
        }
    }

    @Test func priorities_atEnvoysFormula() throws {
        let peer = try RawPeer()
        let frame = RawFrame(type: 2, stream: 1, payload: [0, 0, 0, 0, 16])
        try peer.send([], [RawFrame](repeating: frame, count: 100))
        #expect(!peer.connection.isEnding)
        try peer.send([], frame)
        expectCalm(.priorities, peer)
    }

    @Test func windowUpdates_atEnvoysFormula() throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Hold")))
        try peer.send([], [RawFrame](repeating: .windowUpdate(0, 1), count: 7))
        #expect(!peer.connection.isEnding)
        try peer.send([], .windowUpdate(0, 1))
        expectCalm(.windowUpdates, peer)
    }

    @Test func streams_oneTooMany_areCounted() throws {
        let peer = try RawPeer()
        for index in 0..<101 {
            try peer.send([], .headers(Int32(index * 2 + 1), RawFrame.request("Hold")))
            #expect(peer.connection.isEnding == (index == 100))
        }
        expectHit(.concurrentStreams, in: peer)
        #expect(peer.core.calls.count == 0)
    }

    @Test func streams_aboveALimitThatThePeerDoesNotKnow_areRefusedAndCounted() throws {
        let peer = try RawPeer(greet: false)
        let requests = (0..<103).map {
            RawFrame.headers(Int32($0 * 2 + 1), RawFrame.request("Hold"))
        }
        // Less than a turn's worth at once, so that order does not matter.
        try peer.send(RawFrame.preface, .settings)
        for request in requests { try peer.send([], request) }
        #expect(!peer.connection.isEnding)
        expectHit(.concurrentStreams, 3, in: peer)
        #expect(peer.core.calls.count == 100)
        #expect(
            peer.frames.filter { $0.type == 3 }.map(\.payload)
                == [[UInt8]](repeating: [0, 0, 0, 7], count: 3))
    }

    @Test func keyUpdates_endTheConnectionAndAreCounted() throws {
        let peer = try RawPeer()
        for index in 0...Limits.keyUpdatesMax {
            try peer.tls.updateKeys()
            // Of a type that nobody knows: it is skipped.
            try? peer.send([], RawFrame(type: 0xBA))
            #expect(peer.connection.isEnding == (index == Limits.keyUpdatesMax))
        }
        expectHit(.keyUpdates, in: peer)
    }

    /// What a handler refuses a message for is counted like what the wire refuses.
    @Test func aBoundThatAnErrorNames_isCounted() throws {
        let machine = try Machine()
        let names = [
            "message_fields", "message_depth", "message_unknown_bytes", "evidence_streams",
            "backup_streams", "stream_reports", "watch_bytes", "journal_bytes", "no_such_limit",
        ]
        for name in names {
            let stream = try machine.open("Hold")
            machine.send(stream, MessageFramer.frame([1].span), end: true)
            try machine.turn()
            let call = try #require(machine.handler.held.last)
            machine.core.finish(
                call,
                RPCError(
                    .invalidArgument, reason: "MALFORMED_MESSAGE", message: "too much",
                    metadata: ["limit": name]))
            try machine.turn()
        }
        expectHit(.messageFields, in: machine)
        expectHit(.messageDepth, in: machine)
        expectHit(.messageUnknownBytes, in: machine)
        expectHit(.evidenceStreams, in: machine)
        expectHit(.backupStreams, in: machine)
        expectHit(.streamReports, in: machine)
        expectHit(.watchBytes, in: machine)
        expectHit(.journalBytes, in: machine)
    }

    // MARK: Resets

    @Test func rapidReset_inOneRead_isHeldToTheSameLimit() throws {
        let peer = try RawPeer()
        var stream: Int32 = 1
        for _ in 0..<60 where !peer.connection.isEnding {
            var frames: [RawFrame] = []
            for _ in 0..<10 {
                frames += [
                    .headers(stream, RawFrame.request("Hold")), .data(stream, [0, 0, 0, 0, 0]),
                    .reset(stream),
                ]
                stream += 2
            }
            try peer.send([], frames)
            #expect(peer.core.calls.count == 0, "nothing would end what is kept of them")
        }
        expectCalm(.resets, peer)
        let started = peer.core.methodCounts.map(\.started).reduce(0, +)
        #expect(started <= UInt64(Limits.resetBurst) + 10)
    }

    /// What makes a server reset a stream without the client doing it.
    enum Provocation: CaseIterable {
        case windowOverflow
        case bodyOverItsLength
        case malformedHeaders
        case malformedTrailers

        func frames(_ stream: Int32) -> [RawFrame] {
            let request = RawFrame.request("Hold")
            return switch self {
            case .windowOverflow:
                [.headers(stream, request), .windowUpdate(stream, 0x7FFF_FFFF)]
            case .bodyOverItsLength:
                [
                    .headers(stream, RawFrame.request("Hold", [("content-length", "1")])),
                    .data(stream, [0, 0]),
                ]
            case .malformedHeaders:
                [.headers(stream, RawFrame.request("Hold", [("connection", "close")]), end: true)]
            case .malformedTrailers:
                [
                    .headers(stream, request),
                    .headers(stream, RawFrame.literals([(":path", "/")]), end: true),
                ]
            }
        }
    }

    @Test(arguments: Provocation.allCases) func madeYouReset_isCountedAndEnds(
        provocation: Provocation
    ) throws {
        let peer = try RawPeer()
        var count = 0
        while !peer.connection.isEnding, count < 400 {
            try peer.send([], provocation.frames(Int32(count * 2 + 1)))
            count += 1
            if count == Limits.provokedResetsPerMinute { #expect(!peer.connection.isEnding) }
        }
        // What was sent is judged when the next bytes come.
        let max = Limits.provokedResetsPerMinute
        #expect((max + 1...max + 3).contains(count), "\(provocation): \(count)")
        expectCalm(.provokedResets, peer, "\(provocation)")
    }

    @Test func madeYouReset_atTheAllowedPace_isFine() throws {
        let peer = try RawPeer()
        var stream: Int32 = 1
        for _ in 0..<40 {
            for _ in 0..<18 {
                try peer.send([], Provocation.malformedHeaders.frames(stream))
                stream += 2
            }
            try peer.advance(milliseconds: 6_000)
        }
        #expect(!peer.connection.isEnding)
    }
}

@Suite struct TimeLimitTests {
    private func expectTimeout(_ kind: LimitKind, _ peer: RawPeer) {
        #expect(peer.connection.isEnding, "\(kind)")
        expectHit(kind, in: peer)
    }

    @Test func preface_thatNeverComes_isTimedOut() throws {
        let parts: [[UInt8]] = [
            [], Array(RawFrame.preface.prefix(10)), RawFrame.preface,
            RawFrame.preface + RawFrame.settings.bytes.prefix(8),
        ]
        for part in parts {
            let peer = try RawPeer(greet: false)
            if !part.isEmpty { try peer.send(part) }
            try peer.advance(milliseconds: 4_900)
            #expect(!peer.connection.isEnding)
            try peer.advance(milliseconds: 200)
            expectTimeout(.prefaceTime, peer)
        }
    }

    @Test func preface_byteByByte_isTimedOut() throws {
        let peer = try RawPeer(greet: false)
        for byte in RawFrame.preface where !peer.connection.isEnding {
            try peer.send([byte])
            try peer.advance(milliseconds: 500)
        }
        expectTimeout(.prefaceTime, peer)
    }

    @Test func socketThatTakesNothing_isClosed() throws {
        let peer = try RawPeer()
        peer.takes = false
        try peer.send([], .headers(1, RawFrame.request("Nothing"), end: true))
        #expect(peer.connection.wire.tls.outputCount > 0)
        for _ in 0..<6 { try peer.advance(milliseconds: 9_900) }
        #expect(!peer.connection.isEnding)
        try peer.advance(milliseconds: 1_000)
        expectTimeout(.stalledSocket, peer)
    }

    @Test func headerBlock_dribbled_isTimedOut_butBlocksOfABusyClientAreNot() throws {
        let peer = try RawPeer()
        let block = RawFrame.request("Nothing")
        for index in 0..<30 {
            // Each second, the look falls into the middle of another block.
            let stream = Int32(index * 2 + 1)
            try peer.send([], .headers(stream, [], end: true, complete: false))
            try peer.advance(milliseconds: 1_000)
            try peer.send([], .continuation(stream, block, complete: true))
        }
        #expect(!peer.connection.isEnding)
        try peer.send([], .headers(101, [], end: true, complete: false))
        for byte in block.prefix(7) {
            try peer.advance(milliseconds: 1_900)
            if !peer.connection.isEnding {
                try peer.send([], .continuation(101, [byte], complete: false))
            }
        }
        expectTimeout(.headerBlockTime, peer)
    }

    @Test(arguments: ["Echo", "Pull", "Push"]) func requestThatNeverComes_endsWhateverItsDeadline(
        method: String
    ) throws {
        for timeout in [[], [("grpc-timeout", "99999999H")]] {
            let peer = try RawPeer()
            try peer.send([], .headers(1, RawFrame.request(method, timeout)))
            try peer.send([], .data(1, [0, 0, 0]))
            try peer.advance(milliseconds: 59_900)
            #expect(peer.core.calls.count == 1)
            try peer.advance(milliseconds: 200)
            #expect(peer.core.calls.count == 0)
            expectHit(.bodyTime, in: peer)
            #expect(peer.hits(.unaryTime) == 0)
        }
    }

    @Test func clientStream_withADeadline_hasItFromItsFirstMessageOn() throws {
        let peer = try RawPeer()
        try peer.send([], .headers(1, RawFrame.request("Push", [("grpc-timeout", "5M")])))
        try peer.send([], .data(1, [0, 0, 0, 0, 0]))
        try peer.advance(milliseconds: 290_000)
        #expect(peer.core.calls.count == 1)
        try peer.advance(milliseconds: 11_000)
        #expect(peer.core.calls.count == 0)
        #expect(peer.hits(.bodyTime) == 0)
    }
}
