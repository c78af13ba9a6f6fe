// The wheel against a sorted list: nothing fires early, nothing late by more than a tick, nothing
// is lost.

import Testing
import TriageBase

@Suite struct TimerWheelTests {
    private static let tick: UInt64 = 1 << 21

    @Test(arguments: 1...8) func randomDeadlines_fireOnceAndInTime(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var now = MonotonicTime(nanoseconds: random.next() >> 20)
        let wheel = TimerWheel(now: now)
        var model: [Int: UInt64] = [:]
        for _ in 0..<20_000 {
            let id = Int(random.next() % 200)
            switch random.next() % 4 {
            case 0, 1:
                // Up to 20 s: several turns of the wheel; sometimes in the past.
                let deadline = now.nanoseconds + random.next() % 20_000_000_000
                let shifted = random.next() % 50 == 0 ? now.nanoseconds - 1 : deadline
                wheel.set(id, MonotonicTime(nanoseconds: shifted))
                model[id] = shifted
            case 2:
                wheel.clear(id)
                model[id] = nil
            default:
                now.nanoseconds +=
                    random.next() % (random.next() % 100 == 0 ? 9_000_000_000 : 9_000_000)
                var fired: [Int] = []
                wheel.advance(to: now, into: &fired)
                for id in fired {
                    let deadline = model.removeValue(forKey: id)
                    #expect(deadline != nil)
                    #expect((deadline ?? .max) <= now.nanoseconds)
                }
                for (id, deadline) in model {
                    #expect(
                        deadline + 2 * Self.tick > now.nanoseconds, "\(id) is late, seed \(seed)")
                }
            }
            #expect(wheel.count == model.count)
        }
    }

    @Test func nextExpiry_isNeverAfterTheNextDeadlineByMoreThanATick() {
        var random = SeededRandom(seed: 99)
        let now = MonotonicTime(nanoseconds: 5_000_000_000)
        for _ in 0..<500 {
            let wheel = TimerWheel(now: now)
            #expect(wheel.nextExpiry == nil)
            var first = UInt64.max
            for id in 0..<Int(1 + random.next() % 5) {
                let deadline = now.nanoseconds + random.next() % 2_000_000_000
                wheel.set(id, MonotonicTime(nanoseconds: deadline))
                first = min(first, deadline)
            }
            let next = wheel.nextExpiry?.nanoseconds ?? 0
            #expect(next >= first)
            #expect(next <= first + 2 * Self.tick)
        }
    }

    @Test func never_clears() {
        let wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
        wheel.set(3, MonotonicTime(nanoseconds: 10))
        wheel.set(3, .never)
        #expect(wheel.count == 0)
        var fired: [Int] = []
        wheel.advance(to: MonotonicTime(nanoseconds: 1 << 40), into: &fired)
        #expect(fired.isEmpty)
    }
}
