// How long a connection lives and how it ends: sign of life, age, GOAWAY in two steps. The clock is
// turned by hand, and chance is a seed.

import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

@testable import TriageTransport

@Suite struct KeepaliveTests {
    private func watch(_ machine: Machine) throws -> HTTP2Stream {
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        return stream
    }

    @Test func silentPeerWithAStream_isAsked_andItsAnswerCounts() throws {
        let machine = try Machine()
        _ = try watch(machine)
        for _ in 0..<10 {
            let before = machine.connection.wire.tls.bytesReceived
            try machine.advance(milliseconds: 1_000)
            try machine.advance(milliseconds: 59_000)
            #expect(machine.connection.wire.tls.bytesReceived == before, "not asked too early")
            try machine.advance(milliseconds: 2_000)
            #expect(machine.connection.wire.tls.bytesReceived > before, "it has answered")
        }
        #expect(!machine.connection.isEnding)
        #expect(machine.hits(.keepalive) == 0)
    }

    @Test func peerThatDoesNotAnswer_isDead() throws {
        let machine = try Machine()
        _ = try watch(machine)
        try machine.advance(milliseconds: 1_000)
        machine.isMute = true
        try machine.advance(milliseconds: 60_000)
        try machine.advance(milliseconds: 19_000)
        #expect(!machine.connection.isEnding)
        try machine.advance(milliseconds: 2_000)
        #expect(machine.connection.isEnding)
        expectHit(.keepalive, in: machine)
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.goAways.map(\.code) == [.noError])
    }

    @Test func peerWithoutStreams_isNotAsked() throws {
        let machine = try Machine()
        let before = machine.connection.wire.tls.bytesReceived
        for _ in 0..<4 { try machine.advance(milliseconds: 60_000) }
        #expect(machine.connection.wire.tls.bytesReceived == before)
        #expect(!machine.connection.isEnding)
    }

    @Test func anyByte_isASignOfLife() {
        let limits = ServerLimits()
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        var keepalive = Keepalive(now: now)
        func step(_ bytes: UInt64, afterSeconds seconds: UInt64) -> Keepalive.Step {
            now = now.advanced(byNanoseconds: seconds * 1_000_000_000)
            return keepalive.judge(bytes: bytes, hasStreams: true, now: now, limits: limits)
        }
        #expect(step(1, afterSeconds: 1) == .nothing)
        #expect(step(2, afterSeconds: 300) == .nothing)
        #expect(step(2, afterSeconds: 59) == .nothing)
        #expect(step(2, afterSeconds: 1) == .ping)
        #expect(step(2, afterSeconds: 20) == .nothing)
        #expect(step(3, afterSeconds: 1) == .nothing)
        #expect(step(3, afterSeconds: 60) == .ping)
        #expect(step(3, afterSeconds: 21) == .dead)
    }
}

@Suite struct ConnectionAgeTests {
    private var limits: ServerLimits {
        var limits = ServerLimits()
        limits.ageMillisecondsMax = 10_000
        limits.ageGraceMilliseconds = 5_000
        return limits
    }

    @Test func agesDiffer_byATenthBothWays_andOneSeedRepeatsThem() {
        let now = MonotonicTime(nanoseconds: 1_000_000_000)
        func ages(_ seed: UInt64) -> [UInt64] {
            var random = SeededRandom(seed: seed)
            return (0..<1_000).map { _ in
                ConnectionAge(
                    now: now, limits: limits, certificateMilliseconds: nil, random: &random
                ).end.nanoseconds(since: now)
            }
        }
        let drawn = ages(7)
        #expect(drawn == ages(7))
        #expect(drawn != ages(8))
        #expect(drawn.allSatisfy { (9_000_000_000...11_000_000_000).contains($0) })
        #expect(drawn.contains { $0 < 9_200_000_000 } && drawn.contains { $0 > 10_800_000_000 })
    }

    @Test func certificate_outlivesNoConnection() {
        var random = SeededRandom(seed: 1)
        let now = MonotonicTime(nanoseconds: 0)
        let age = ConnectionAge(
            now: now, limits: limits, certificateMilliseconds: 3_000, random: &random)
        #expect(age.end == now.advanced(byNanoseconds: 3_000_000_000))
    }

    @Test func oldConnection_saysSoTwice_finishesItsCall_andIsCounted() throws {
        let machine = try Machine(limits: limits)
        let stream = try machine.open("Hold")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        try machine.advance(milliseconds: 8_900)
        #expect(machine.goAways.isEmpty)
        try machine.advance(milliseconds: 2_200)
        #expect(machine.goAways.map(\.last) == [Int32.max, stream.id])
        #expect(machine.goAways.allSatisfy { $0.code == .noError })
        machine.core.respond(machine.handler.held[0], [4])
        try machine.turn()
        #expect(machine.seen[stream.id]?.messages == [[4]])
        #expect(machine.isClosed)
        expectHit(.connectionAge, in: machine)
        #expect(machine.hits(.ageGrace) == 0)
    }

    @Test func streamAfterTheGrace_endsWithUnavailable_soThatItsClientGoesOn() throws {
        let machine = try Machine(limits: limits)
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        try machine.advance(milliseconds: 11_100)
        #expect(machine.seen[stream.id]?.isEnded == false)
        try machine.advance(milliseconds: 4_900)
        #expect(machine.seen[stream.id]?.error?.reason == "CONNECTION_AGED")
        #expect(machine.seen[stream.id]?.error?.code == .unavailable)
        #expect(machine.isClosed)
        expectHit(.ageGrace, in: machine)
    }

    @Test func drainOfAnOldConnection_endsItsWatchesAtOnce() throws {
        let machine = try Machine(limits: limits)
        let stream = try machine.open("Pull")
        machine.send(stream, MessageFramer.frame([1].span), end: true)
        try machine.turn()
        machine.core.markLongLived(machine.handler.pulls[0])
        try machine.advance(milliseconds: 11_100)
        #expect(machine.goAways.map(\.last) == [Int32.max, stream.id])
        #expect(machine.seen[stream.id]?.isEnded == false)
        machine.core.isDraining = true
        machine.connection.beginDrain()
        try machine.turn()
        #expect(machine.seen[stream.id]?.error?.reason == "SERVER_DRAINING")
        #expect(machine.handler.cancelled.count == 1)
        #expect(machine.isClosed)
    }

    @Test func idleOldConnection_endsWhenTheAnswerIsDue() throws {
        let machine = try Machine(limits: limits)
        try machine.advance(milliseconds: 11_100)
        #expect(!machine.connection.isEnding)
        try machine.advance(milliseconds: 1_100)
        #expect(machine.connection.isEnding)
        #expect(machine.goAways.first?.last == Int32.max)
    }

    @Test func drain_endsASilentConnection_afterASecond() throws {
        let silent = try Machine(limits: limits, handshake: false)
        silent.core.isDraining = true
        silent.connection.beginDrain()
        for (milliseconds, isEnding) in [(900, false), (200, true)] {
            silent.core.now = silent.core.now.advanced(
                byNanoseconds: UInt64(milliseconds) * 1_000_000)
            silent.connection.sweep()
            #expect(silent.connection.isEnding == isEnding)
        }
        #expect(silent.hits(.handshakeTime) == 0)
    }

    /// Its ClientHello is on its way, or still in the socket.
    @Test(arguments: [false, true])
    func drain_letsAHandshakeFinish(hasBegun: Bool) throws {
        let begun = try Machine(limits: limits, handshake: false)
        if hasBegun { try begun.beginHandshake() }
        begun.core.isDraining = true
        begun.connection.beginDrain()
        #expect(!begun.connection.isEnding)
        try begun.handshake()
        try begun.turn()
        #expect(begun.goAways.map(\.last) == [Int32.max])
        try begun.advance(milliseconds: 1_100)
        #expect(begun.isClosed)
    }
}
