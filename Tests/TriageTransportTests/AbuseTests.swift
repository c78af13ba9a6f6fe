// Floods end the connection that sends them, and what an honest client does never does.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

@Suite struct AbuseTests {
    private func frame(
        _ type: UInt8, stream: Int32 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        let count = payload.count
        let id = UInt32(bitPattern: stream)
        return [
            UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, 0,
            UInt8(id >> 24), UInt8(id >> 16 & 255), UInt8(id >> 8 & 255), UInt8(id & 255),
        ] + payload
    }

    private func expectCalm(_ kind: LimitKind, _ machine: Machine, isHeard: Bool = true) {
        #expect(machine.connection.isEnding, "\(kind)")
        expectHit(kind, in: machine)
        if isHeard { #expect(machine.goAways.last?.code == .enhanceYourCalm, "\(kind)") }
        #expect(machine.isClosed, "\(kind)")
        #expect(machine.core.calls.count == 0)
    }

    private func reset(_ machine: Machine, _ count: Int) throws {
        for _ in 0..<count where !machine.connection.isEnding {
            let stream = try machine.open("Hold")
            machine.send(stream, MessageFramer.frame([1].span), end: true)
            try machine.turn()
            machine.http2.reset(stream, .cancel)
            try machine.turn()
        }
    }

    @Test func threeHundredCancelledCalls_areFine() throws {
        let machine = try Machine()
        try reset(machine, 300)
        #expect(machine.handler.cancelled.count == 300)
        #expect(try machine.call("Echo").status == "0")
    }

    @Test func rapidReset_endsTheConnection() throws {
        let machine = try Machine()
        try reset(machine, 600)
        expectCalm(.resets, machine)
        #expect(machine.handler.cancelled.count == machine.handler.held.count)
    }

    @Test func resets_atAHumanPace_areFine() throws {
        let machine = try Machine()
        for _ in 0..<20 {
            try reset(machine, 45)
            try machine.advance(milliseconds: 1_000)
        }
        #expect(!machine.connection.isEnding)
    }

    @Test func provokedResets_endTheConnection() throws {
        let machine = try Machine()
        // A connection-specific field makes a request malformed: the server must reset its stream.
        for _ in 0..<300 where !machine.connection.isEnding {
            _ = try machine.open("Hold", changes: [("connection", "close")], endStream: true)
            try machine.turn()
        }
        expectCalm(.provokedResets, machine)
    }

    @Test func pingFlood_isToldTooManyPings() throws {
        let machine = try Machine()
        for _ in 0..<20 where !machine.connection.isEnding {
            try machine.sendRaw(frame(6, [1, 2, 3, 4, 5, 6, 7, 8]))
        }
        expectCalm(.pings, machine)
    }

    @Test func pingBesideEveryCall_isFine() throws {
        let machine = try Machine()
        for _ in 0..<100 {
            try machine.sendRaw(frame(6, [1, 2, 3, 4, 5, 6, 7, 8]))
            #expect(try machine.call("Echo").status == "0")
        }
    }

    @Test func settingsFlood_endsTheConnection() throws {
        let machine = try Machine()
        try machine.sendRaw((0..<110).flatMap { _ in frame(4) })
        // Our own client does not expect the answers that it never asked for, and stops listening.
        expectCalm(.settings, machine, isHeard: false)
    }

    @Test func emptyData_endsTheConnection() throws {
        let machine = try Machine()
        let stream = try machine.open("Hold")
        try machine.turn()
        for _ in 0..<15 where !machine.connection.isEnding {
            try machine.sendRaw(frame(0, stream: stream.id))
        }
        expectCalm(.emptyFrames, machine)
    }

    @Test func priorityFlood_endsTheConnection() throws {
        let machine = try Machine()
        let frames = (0..<150).flatMap { _ in frame(2, stream: 1, [0, 0, 0, 0, 16]) }
        try machine.sendRaw(frames)
        expectCalm(.priorities, machine)
    }

    @Test func windowUpdateFlood_endsTheConnection() throws {
        let machine = try Machine()
        let frames = (0..<50).flatMap { _ in frame(8, [0, 0, 0, 1]) }
        try machine.sendRaw(frames)
        expectCalm(.windowUpdates, machine)
    }

    @Test func garbage_endsTheConnectionOnly() throws {
        var random = SeededRandom(seed: 0xBAD)
        for _ in 0..<30 {
            let machine = try Machine()
            _ = try machine.open("Hold")
            try machine.turn()
            let bytes = (0..<200).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            try? machine.sendRaw(bytes)
            try? machine.advance(milliseconds: 70_000)
            machine.connection.remove()
            #expect(machine.core.calls.count == 0)
            #expect(machine.core.inputBytesHeld == 0)
            #expect(machine.core.outputBytesHeld == 0)
        }
    }

    @Test func tokenBucket_refillsAtItsRate() {
        var now = MonotonicTime(nanoseconds: 0)
        var bucket = TokenBucket(burst: 3, perSecond: 2, now: now)
        var taken = (0..<4).map { _ in bucket.take(1, now: now) }
        #expect(taken == [true, true, true, false])
        now = now.advanced(byNanoseconds: 1_000_000_000)
        taken = (0..<2).map { _ in bucket.take(1, now: now) }
        #expect(taken == [true, false], "one of the two was owed")
    }
}

@Suite struct AdmissionTests {
    @Test func limits_holdAndAreGivenBack() {
        var limits = ServerLimits()
        limits.connectionsMax = 3
        limits.unidentifiedConnectionsMax = 2
        limits.connectionsPerIdentityMax = 1
        let admission = Admission(limits: limits)
        let ada = Principal(dnsName: "ada")
        #expect(admission.accept() == nil)
        #expect(admission.accept() == nil)
        #expect(admission.accept() == .unidentifiedConnections)
        #expect(admission.identify(ada))
        #expect(admission.accept() == nil)
        #expect(admission.accept() == .connections)
        #expect(!admission.identify(ada))
        admission.close(.identity(ada))
        #expect(admission.identify(ada))
        admission.close(.identity(ada))
        admission.close(.unidentified)
        for _ in 0..<2 { #expect(admission.accept() == nil) }
    }

    @Test func identity_withTooManyConnections_isToldAndClosed() throws {
        var limits = ServerLimits()
        limits.connectionsPerIdentityMax = 1
        let admission = Admission(limits: limits)
        let first = try Machine(limits: limits, admission: admission)
        let second = try Machine(limits: limits, admission: admission)
        #expect(second.connection.isEnding)
        expectHit(.connectionsPerIdentity, in: second)
        #expect(try first.call("Echo").status == "0")
        first.connection.remove()
        second.connection.remove()
        let third = try Machine(limits: limits, admission: admission)
        #expect(try third.call("Echo").status == "0")
    }

    /// They stay as long as they like, and keep nobody out but one another.
    @Test func connectionsWithoutACertificate_keepNobodyElseOut() throws {
        var limits = ServerLimits()
        limits.unidentifiedConnectionsMax = 1
        limits.strangersPerDoorMax = 2
        let admission = Admission(limits: limits)
        let first = try Machine(limits: limits, identified: false, admission: admission)
        func another(_ identified: Bool, at door: Audience = .internal) throws -> Machine {
            first.core.now = first.core.now.advanced(byNanoseconds: 1_000_000)
            return try Machine(
                limits: limits, identified: identified, admission: admission, beside: first,
                door: door)
        }
        let second = try another(false)
        let ada = try another(true)
        #expect(try ada.call("Echo").status == "0")
        #expect(first.hits(.strangers) == 0)
        let third = try another(false)
        expectHit(.strangers, in: first)
        #expect(first.connection.isEnding && !first.connection.mayLinger)
        try first.turn()
        #expect(first.goAways.last?.code == .enhanceYourCalm)
        first.connection.remove()
        for machine in [second, third] { #expect(try machine.call("Probe").status == "0") }
        // Another door has a budget of its own.
        let outside = [try another(false, at: .external), try another(false, at: .external)]
        expectHit(.strangers, in: first)
        for machine in [second, third, ada] + outside { #expect(!machine.connection.isEnding) }
        // Whose place is free again is not one of them any more.
        second.connection.remove()
        let fourth = try another(false)
        expectHit(.strangers, in: first)
        #expect(try fourth.call("Probe").status == "0")
        #expect(!third.connection.isEnding)
    }

    @Test func whoIsTooManyForItsIdentity_countsAsAHandshakeUntilItIsGone() throws {
        var limits = ServerLimits()
        limits.connectionsPerIdentityMax = 1
        limits.unidentifiedConnectionsMax = 1
        let admission = Admission(limits: limits)
        let first = try Machine(limits: limits, admission: admission)
        let second = try Machine(limits: limits, admission: admission)
        #expect(second.connection.isEnding)
        #expect(admission.accept() == .unidentifiedConnections)
        second.connection.remove()
        #expect(admission.accept() == nil)
        #expect(try first.call("Echo").status == "0")
    }

    @Test func chainThatIsTooLong_isCounted() throws {
        let machine = try Machine(handshake: false, client: Credentials.clientWithLongChain())
        try machine.shakeHands()
        #expect(machine.connection.isEnding)
        expectHit(.certificateChain, in: machine)
        #expect(machine.core.metrics.refusals[PeerRefusal.chainTooLong.index] == 1)
    }

    @Test func chainThatIsTooLargeToBeKept_isCounted_andServed() throws {
        let machine = try Machine(handshake: false, client: Credentials.clientWithWideChain())
        try machine.shakeHands()
        expectHit(.sessionBytes, in: machine)
        #expect(try machine.call("Echo").status == "0")
    }
}
