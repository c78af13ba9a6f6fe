// Peers that are judged anew after a reload: all of them in time, however long the turns are, and
// few in a turn that is short.

import TestSupport
import Testing
import TriageBase

@testable import TriageTransport

@Suite struct RecheckQueueTests {
    private final class Peer {
        let number: Int
        init(_ number: Int) { self.number = number }
    }

    private let clock = FakeClock()
    private var now: MonotonicTime { clock.monotonicTime() }

    private func peers(_ count: Int) -> [Peer] { (0..<count).map(Peer.init) }

    /// Turns of so many milliseconds, until nobody waits: who was taken in each.
    private func drain(
        _ queue: inout RecheckQueue<Peer>, turn milliseconds: Int64
    ) -> [[Peer]] {
        var turns: [[Peer]] = []
        while !queue.isEmpty {
            clock.advance(milliseconds: milliseconds)
            turns.append(queue.take(at: now))
        }
        return turns
    }

    @Test(arguments: [1, 10, 48, 500, 5_000] as [Int64])
    func everybody_isTakenInTime_theOldestFirst(turn: Int64) {
        var queue = RecheckQueue<Peer>()
        queue.add(peers(2_048), at: now)
        let turns = drain(&queue, turn: turn)
        #expect(turns.flatMap { $0 }.map(\.number) == Array(0..<2_048))
        let limit = Limits.recheckMillisecondsMax
        #expect(Int64(turns.count - 1) * turn < limit)
        // Even: no call waits for many at once because few were taken before.
        let share = 2_048 * turn / limit + 1
        #expect(turns.allSatisfy { !$0.isEmpty && $0.count <= min(2_048, share) })
    }

    @Test func aTurnWithoutTime_takesOne() {
        var queue = RecheckQueue<Peer>()
        queue.add(peers(3), at: now)
        for number in 0..<3 { #expect(queue.take(at: now).map(\.number) == [number]) }
        #expect(queue.isEmpty)
        #expect(queue.take(at: now).isEmpty)
    }

    @Test func reloadsInARow_putNobodyOff() {
        var queue = RecheckQueue<Peer>()
        let peers = peers(1_000)
        var since: [Int: MonotonicTime] = [:]
        for _ in 0..<40 {
            // Faster than a pass.
            queue.add(peers, at: now)
            for peer in peers where since[peer.number] == nil { since[peer.number] = now }
            for _ in 0..<5 {
                clock.advance(milliseconds: 50)
                for peer in queue.take(at: now) { since[peer.number] = nil }
                let waits = since.values.map { now.nanoseconds(since: $0) / 1_000_000 }
                #expect(waits.max() ?? 0 < UInt64(Limits.recheckMillisecondsMax))
            }
        }
    }

    @Test func whoIsThere_isThereOnce() {
        var queue = RecheckQueue<Peer>()
        let peers = peers(10)
        for _ in 0..<3 { queue.add(peers, at: now) }
        clock.advance(milliseconds: Limits.recheckMillisecondsMax)
        #expect(queue.take(at: now).map(\.number) == Array(0..<10))
    }
}
