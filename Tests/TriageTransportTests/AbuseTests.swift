// Floods end the connection that sends them, and what an honest client does never does.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2

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

    private func expectCalm(_ machine: Machine, _ kind: LimitKind, isHeard: Bool = true) {
        #expect(machine.connection.isEnding, "\(kind)")
        #expect(machine.hits(kind) == 1, "\(kind)")
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
        expectCalm(machine, .resets)
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
        expectCalm(machine, .provokedResets)
    }

    @Test func pingFlood_isToldTooManyPings() throws {
        let machine = try Machine()
        for _ in 0..<20 where !machine.connection.isEnding {
            try machine.sendRaw(frame(6, [1, 2, 3, 4, 5, 6, 7, 8]))
        }
        expectCalm(machine, .pings)
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
        expectCalm(machine, .settings, isHeard: false)
    }

    @Test func emptyData_endsTheConnection() throws {
        let machine = try Machine()
        let stream = try machine.open("Hold")
        try machine.turn()
        for _ in 0..<15 where !machine.connection.isEnding {
            try machine.sendRaw(frame(0, stream: stream.id))
        }
        expectCalm(machine, .emptyFrames)
    }

    @Test func priorityFlood_endsTheConnection() throws {
        let machine = try Machine()
        let frames = (0..<150).flatMap { _ in frame(2, stream: 1, [0, 0, 0, 0, 16]) }
        try machine.sendRaw(frames)
        expectCalm(machine, .priorities)
    }

    @Test func windowUpdateFlood_endsTheConnection() throws {
        let machine = try Machine()
        let frames = (0..<50).flatMap { _ in frame(8, [0, 0, 0, 1]) }
        try machine.sendRaw(frames)
        expectCalm(machine, .windowUpdates)
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
        admission.close(ada)
        #expect(admission.identify(ada))
        admission.close(ada)
        admission.close(nil)
        for _ in 0..<2 { #expect(admission.accept() == nil) }
    }

    @Test func identity_withTooManyConnections_isToldAndClosed() throws {
        var limits = ServerLimits()
        limits.connectionsPerIdentityMax = 1
        let admission = Admission(limits: limits)
        let first = try Machine(limits: limits, admission: admission)
        let second = try Machine(limits: limits, admission: admission)
        #expect(second.connection.isEnding)
        #expect(second.hits(.connectionsPerIdentity) == 1)
        #expect(try first.call("Echo").status == "0")
        first.connection.remove()
        second.connection.remove()
        let third = try Machine(limits: limits, admission: admission)
        #expect(try third.call("Echo").status == "0")
    }
}
