// The machine's clocks behind TimeSource. Everything that decides by time receives it instead.

import Glibc
package import TriageBase

/// The real clocks: CLOCK_REALTIME and CLOCK_MONOTONIC, read through the vDSO.
package struct SystemClock: TimeSource {
    /// Makes the clock; it has no state.
    package init() {}

    package func wallTime() -> WallTime {
        let time = Self.read(CLOCK_REALTIME)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }

    package func monotonicTime() -> MonotonicTime {
        let time = Self.read(CLOCK_MONOTONIC)
        return MonotonicTime(
            nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Source: clock_gettime(2); it cannot fail for these two clocks.
    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        let result = unsafe clock_gettime(clock, &time)
        invariant(result == 0, "the kernel has both clocks")
        return time
    }
}
