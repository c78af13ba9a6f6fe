// What one identity does costs itself, and not its neighbours on the same reactor.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

@testable import TriageTransport

@Suite struct ShareTests {
    /// 800,000 bytes, of which an identity has 200,000.
    private func tight() -> ServerLimits {
        var limits = ServerLimits()
        limits.messageBytesInFlightMax = 800_000
        limits.messageBytesMax = 50_000
        return limits
    }

    private func pull(_ machine: Machine) throws -> (HTTP2Stream, CallID) {
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        return (stream, try #require(machine.handler.pulls.last))
    }

    @Test func repliesThatAreNotRead_useUpTheReadersOwnRoom() throws {
        let ada = try Machine(limits: tight(), windowBytes: 1_000)
        let bob = try Machine(isBob: true, beside: ada)
        ada.consumes = false
        var outcomes: [SendOutcome] = []
        var last: HTTP2Stream?
        for _ in 0..<10 {
            let (stream, call) = try pull(ada)
            outcomes.append(ada.core.send(call, [UInt8](repeating: 1, count: 45_000)))
            last = stream
            if outcomes.last == .gone { break }
        }
        #expect(outcomes == [.queued, .queued, .queued, .queued, .gone])
        try ada.turn()
        #expect(ada.seen[try #require(last).id]?.error?.reason == "IDENTITY_MEMORY_EXHAUSTED")
        expectHit(.identityBytes, in: ada)
        #expect(ada.core.outputBytesHeld <= 200_000)
        #expect(ada.hits(.messageBytesInFlight) == 0)
        #expect(try bob.call("Echo", [UInt8](repeating: 2, count: 40_000)).status == "0")
        #expect(try ada.call("Echo").status == "0", "small replies still leave")
        ada.connection.remove()
        #expect(ada.core.outputBytesHeld == 0)
        let again = try Machine(beside: ada)
        #expect(try again.call("Echo", [UInt8](repeating: 2, count: 40_000)).status == "0")
    }

    @Test func largeReply_isRefusedWhenThereIsNoRoom_aSmallOneNever() throws {
        let ada = try Machine(limits: tight(), windowBytes: 1_000)
        ada.consumes = false
        var held: [HTTP2Stream] = []
        for _ in 0..<8 {
            let stream = try ada.open("Hold")
            ada.send(stream, MessageFramer.frame([1].span), end: true)
            try ada.turn()
            held.append(stream)
        }
        for (index, call) in ada.handler.held.enumerated() {
            let count = index < 6 ? 45_000 : Limits.smallReplyBytesMax
            ada.core.respond(call, [UInt8](repeating: 1, count: count))
        }
        try ada.turn()
        expectHit(.identityBytes, 2, in: ada)
        for index in 4..<6 {
            #expect(
                ada.seen[held[index].id]?.error?.reason == "IDENTITY_MEMORY_EXHAUSTED")
        }
        #expect(ada.seen[held[6].id]?.fields[":status"] == "200")
        #expect(ada.seen[held[6].id]?.error == nil || ada.seen[held[6].id]?.isEnded == false)
    }

    @Test func whatAHandlerKeepsForACall_isItsPeers() throws {
        let ada = try Machine(limits: tight())
        let bob = try Machine(isBob: true, beside: ada)
        let stream = try ada.open("Hold")
        ada.send(stream, MessageFramer.frame([1].span), end: true)
        try ada.turn()
        let call = try #require(ada.handler.held.last)
        #expect(ada.core.hold(call, bytes: 150_000))
        #expect(ada.core.inputBytesHeld >= 150_000)
        #expect(!ada.core.hold(call, bytes: 50_001))
        expectHit(.identityBytes, in: ada)
        try ada.turn()
        #expect(ada.seen[stream.id]?.error?.reason == "IDENTITY_MEMORY_EXHAUSTED")
        #expect(ada.core.inputBytesHeld == 0, "the call is over")
        #expect(!ada.core.hold(call, bytes: 1))
        #expect(try bob.call("Echo").status == "0")
    }

    /// They have no identity that their calls could be put to.
    @Test func connectionsWithoutACertificate_haveAShareEach() throws {
        let first = try Machine(identified: false)
        let second = try Machine(identified: false, beside: first)
        let stream = try first.open("Probe")
        first.send(stream, [0, 0, 15, 66, 64] + [UInt8](repeating: 1, count: 60_000))
        try first.turn()
        #expect(first.seen[stream.id]?.isEnded != true)
        #expect(try second.call("Probe", [UInt8](repeating: 1, count: 20_000)).status == "0")
        first.send(stream, [UInt8](repeating: 1, count: 10_000))
        try first.turn()
        #expect(first.seen[stream.id]?.error?.reason == "IDENTITY_MEMORY_EXHAUSTED")
        expectHit(.identityBytes, in: first)
    }

    @Test func unfinishedRequests_useUpTheSendersOwnRoom() throws {
        let ada = try Machine(limits: tight())
        let bob = try Machine(isBob: true, beside: ada)
        var streams: [HTTP2Stream] = []
        for _ in 0..<6 {
            let stream = try ada.open("Echo")
            ada.send(stream, [0, 0, 0, 0xC3, 0x50] + [UInt8](repeating: 1, count: 45_000))
            try ada.turn()
            streams.append(stream)
        }
        #expect(ada.seen[streams[3].id]?.isEnded == false)
        for index in 4..<6 {
            #expect(
                ada.seen[streams[index].id]?.error?.reason == "IDENTITY_MEMORY_EXHAUSTED")
        }
        #expect(ada.hits(.messageBytesInFlight) == 0)
        #expect(try bob.call("Echo", [UInt8](repeating: 2, count: 40_000)).status == "0")
        for stream in streams { ada.http2.reset(stream, .cancel) }
        try ada.turn()
        #expect(ada.connection.share.bytesHeld == 0)
        #expect(try ada.call("Echo").status == "0")
    }

    @Test func calls_haveARate_reportsHaveNone() throws {
        var limits = ServerLimits()
        limits.callBurstPerIdentity = 6
        limits.callsPerSecondPerIdentity = 10
        let ada = try Machine(limits: limits)
        let bob = try Machine(isBob: true, beside: ada)
        var statuses = try (0..<3).map { _ in try ada.call("Echo").status }
        statuses.append(try ada.call("List").status)
        #expect(statuses == ["0", "0", "0", "0"])
        for method in ["Echo", "List"] {
            let refused = try ada.call(method)
            #expect(refused.error?.reason == "CALL_RATE_EXCEEDED")
            #expect(refused.error?.code == .resourceExhausted)
            #expect(refused.error?.retryAfterMilliseconds == 100)
        }
        expectHit(.callRate, 2, in: ada)
        for _ in 0..<20 { #expect(try ada.call("Report").status == "0") }
        #expect(try bob.call("Echo").status == "0", "a neighbour has tokens of its own")
        // A new connection brings no new tokens.
        ada.connection.remove()
        let again = try Machine(beside: ada)
        #expect(try again.call("Echo").error?.reason == "CALL_RATE_EXCEEDED")
        try again.advance(milliseconds: 300)
        statuses = try (0..<4).map { _ in try again.call("Echo").status }
        #expect(statuses == ["0", "0", "0", "8"])
    }

    /// To say why costs more than to answer a small call.
    @Test func refusedRequests_haveTheSameRate() throws {
        var limits = ServerLimits()
        limits.callBurstPerIdentity = 6
        limits.callsPerSecondPerIdentity = 10
        let ada = try Machine(limits: limits)
        let bob = try Machine(isBob: true, beside: ada)
        for _ in 0..<6 { #expect(try ada.call("Unknown").status == "12") }
        for changes in [[], [(":method", "GET")], [("content-type", "text/plain")]] {
            let refused = try ada.call("Unknown", changes: changes)
            #expect(refused.closed == .enhanceYourCalm)
            #expect(refused.fields.isEmpty)
        }
        expectHit(.callRate, 3, in: ada)
        #expect(ada.core.calls.count == 0 && ada.connection.plainRequests.isEmpty)
        #expect(try ada.call("Report").status == "0", "it costs nothing")
        #expect(try bob.call("Unknown").status == "12", "a neighbour has tokens of its own")
        try ada.advance(milliseconds: 100)
        #expect(try ada.call("Unknown").status == "12")

        let stranger = try Machine(limits: limits, identified: false)
        #expect(try stranger.call("Echo").status == "16")
        #expect(try stranger.call("Echo").closed == .enhanceYourCalm)
        expectHit(.callRate, in: stranger)
    }

    @Test func shares_areForgottenWhenTheyAreFull() throws {
        let ada = try Machine()
        let bob = try Machine(isBob: true, beside: ada)
        #expect(ada.core.shares.count == 2)
        bob.connection.remove()
        ada.core.shares.sweep(now: ada.core.now)
        #expect(ada.core.shares.count == 2, "its tokens are not yet back")
        let later = ada.core.now.advanced(byNanoseconds: 60_000_000_000)
        ada.core.shares.sweep(now: later)
        #expect(ada.core.shares.count == 1)
        #expect(try ada.call("Echo").status == "0")
    }

    @Test func share_neverGivesMoreThanTwoBurstsAndItsRate() {
        var random = SeededRandom(seed: 0x5EED)
        for _ in 0..<50 {
            var now = MonotonicTime(nanoseconds: 5_000_000_000)
            let start = now
            let (burst, rate) = (Int(random.next() % 50) + 1, Int(random.next() % 1_000) + 1)
            let share = IdentityShare(bytesMax: 1, burst: burst, perSecond: rate, now: now)
            var taken = 0
            var refused = 0
            for _ in 0..<500 {
                now = now.advanced(byNanoseconds: random.next() % 20_000_000)
                let cost = Int(random.next() % 3)
                if share.take(cost, at: now) { taken += cost } else { refused += 1 }
            }
            let seconds = Double(now.nanoseconds(since: start)) / 1e9
            #expect(Double(taken) <= 2 * Double(burst) + Double(rate) * seconds + 1)
            if refused > 100 {
                #expect(Double(taken) >= 0.8 * Double(rate) * seconds - Double(burst))
            }
        }
    }
}
