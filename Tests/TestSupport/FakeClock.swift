// Time for tests: it stands still until a test moves it.

internal import Synchronization
package import TriageBase

/// Time that moves when a test says so.
package final class FakeClock: TimeSource {
    private let nanoseconds = Atomic<UInt64>(1_000_000_000)
    private let wallOffset = Atomic<Int64>(1_700_000_000_000)

    /// Makes a clock that shows an instant of November 2023.
    package init() {}

    package func wallTime() -> WallTime {
        WallTime(
            milliseconds: wallOffset.load(ordering: .relaxed)
                + Int64(nanoseconds.load(ordering: .relaxed) / 1_000_000))
    }

    package func monotonicTime() -> MonotonicTime {
        MonotonicTime(nanoseconds: nanoseconds.load(ordering: .relaxed))
    }

    package func advance(milliseconds: Int64) {
        nanoseconds.add(UInt64(milliseconds) * 1_000_000, ordering: .relaxed)
    }

    /// Sets the time of day, and only that.
    package func setWall(byMilliseconds delta: Int64) { wallOffset.add(delta, ordering: .relaxed) }
}
