// What a wait for events ends with: an event, the time that was given, or a word from another
// thread; and that the last two are nobody's events.

import Synchronization
import Testing
import TriageBase
import TriageIO

@Suite struct EventLoopTests {
    private let clock = SystemClock()
    private static let millisecond: UInt64 = 1_000_000

    /// Two ends of a connection over loopback.
    private struct Pair: ~Copyable {
        let client: Socket
        let server: Socket

        init() throws {
            let listener = try Socket.listen(host: "127.0.0.1", port: 0, backlog: 1)
            let one = try Socket.connect(host: "127.0.0.1", port: listener.localPort())
            let other = try Self.accept(listener)
            client = one
            server = other
        }

        private static func accept(_ listener: borrowing Socket) throws -> Socket {
            while true {
                if let accepted = try listener.accept() { return accepted }
            }
        }
    }

    /// Waits again and again until so many milliseconds from now; returns how often it returned
    /// before that.
    private func wait(_ loop: EventLoop, milliseconds: UInt64) -> Int {
        let until = clock.monotonicTime().advanced(byNanoseconds: milliseconds * Self.millisecond)
        var early = -1
        repeat {
            #expect(loop.wait(until: until, now: clock.monotonicTime()) { true } == 0)
            early += 1
        } while clock.monotonicTime() < until
        return early
    }

    @Test func wait_endsAtItsTime_neverBefore() throws {
        let loop = try EventLoop(WakeUp())
        #expect(wait(loop, milliseconds: 2) == 0)
        // The alarm has gone off and is set anew.
        #expect(wait(loop, milliseconds: 2) == 0)
    }

    @Test func wait_forATimeThatIsNow_returnsAtOnce() throws {
        let loop = try EventLoop(WakeUp())
        let now = clock.monotonicTime()
        #expect(loop.wait(until: now, now: now) { true } == 0)
    }

    @Test func wait_afterAnEarlierOne_wasCutShort_wakesOnceMore() throws {
        let wakeUp = try WakeUp()
        let loop = try EventLoop(wakeUp)
        let now = clock.monotonicTime()
        // Late enough for it to be set still when the next wait begins, on a busy machine too.
        let soon = now.advanced(byNanoseconds: 500 * Self.millisecond)
        // Something comes up, and the wait does not take its alarm back.
        #expect(loop.wait(until: soon, now: now) { false } == 0)
        // The owner knows no later time than before: to it, the alarm is not yet due.
        let late = now.advanced(byNanoseconds: 60_000 * Self.millisecond)
        #expect(loop.wait(until: late, now: now) { true } == 0)
        let woken = clock.monotonicTime()
        #expect(soon <= woken && woken < late)
        // Once it has gone off, nothing is left of it.
        #expect(wait(loop, milliseconds: 2) == 0)
    }

    @Test func wait_forLess_isNotHeldByALongerOne() throws {
        let loop = try EventLoop(WakeUp())
        let now = clock.monotonicTime()
        let late = now.advanced(byNanoseconds: 3_600_000 * Self.millisecond)
        #expect(loop.wait(until: late, now: now) { false } == 0)
        #expect(wait(loop, milliseconds: 2) == 0)
    }

    @Test func events_comeAlone_withoutWakeUpAndAlarm() throws {
        let wakeUp = try WakeUp()
        let loop = try EventLoop(wakeUp)
        let pair = try Pair()
        try loop.add(pair.server.descriptor, token: 7, .onChange)
        #expect(pair.client.write([1, 2, 3].span) == .bytes(3))
        let now = clock.monotonicTime()
        let soon = now.advanced(byNanoseconds: Self.millisecond)
        // Another thread's word comes while this one is about to sleep; the alarm is set too, and
        // due by the time that anybody looks.
        let first = loop.wait(until: soon, now: now) {
            wakeUp.wake()
            while clock.monotonicTime() <= soon {}
            return true
        }
        try #require(first == 1)
        #expect(loop.event(0).token == 7)
        #expect(loop.event(0).isReadable)
        // All three have been told.
        let later = clock.monotonicTime()
        #expect(loop.wait(until: later, now: later) { true } == 0)
    }

    @Test func word_fromAnotherThread_endsAWaitWithoutEnd() throws {
        let wakeUp = try WakeUp()
        let loop = try EventLoop(wakeUp)
        let hasWord = Atomic<Bool>(false)
        let other = try Thread(name: "other") {
            let from = SystemClock().monotonicTime()
            while SystemClock().monotonicTime().nanoseconds(since: from) < Self.millisecond {}
            hasWord.store(true, ordering: .sequentiallyConsistent)
            wakeUp.wake()
        }
        let count = loop.wait(until: .never, now: clock.monotonicTime()) {
            !hasWord.load(ordering: .sequentiallyConsistent)
        }
        let isWoken = hasWord.load(ordering: .sequentiallyConsistent)
        #expect(count == 0)
        #expect(isWoken)
        other.join()
    }
}
