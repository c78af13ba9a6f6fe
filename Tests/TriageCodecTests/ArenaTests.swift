import Testing
import TriageBase

@testable import TriageCodec

@Suite("Arena") struct ArenaTests {
    @Test func handsOutDisjointAlignedMemoryAcrossChunks() {
        let arena = Arena()
        var last: UInt = 0
        for size in [1, 8, 15_000, 3, 40_000, 7, 500_000, 1] {
            let start = unsafe arena.take(size)
            #expect(UInt(bitPattern: start) % 8 == 0)
            unsafe start.initializeMemory(as: UInt8.self, repeating: 0xA5, count: size)
            #expect(UInt(bitPattern: start) != last)
            last = UInt(bitPattern: start)
        }
        #expect(arena.capacity >= 555_000)
    }

    @Test func keepsABoundedAmountAndReusesIt() {
        let arena = Arena()
        let first = arena.capacity
        _ = unsafe arena.take(8 << 20)
        arena.reset()
        #expect(arena.capacity == Limits.arenaRetainedBytesMax)
        for _ in 0..<100 {
            _ = unsafe arena.take(first)
            arena.reset()
        }
        #expect(arena.capacity == Limits.arenaRetainedBytesMax)
    }

    @Test func givesTheSameMemoryAfterReset() {
        let arena = Arena()
        let first = unsafe arena.take(100)
        arena.reset()
        let second = unsafe arena.take(100)
        #expect(UInt(bitPattern: second) == UInt(bitPattern: first))
    }
}
