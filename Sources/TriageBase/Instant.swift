// Wall time and monotonic time as distinct types, and the clock that supplies them.
// Knows nothing of time zones, calendars or how long anything should take.

/// A point in civil time: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
///
/// Domain rules and the journal use only this type; they receive it, they never read a clock.
package struct WallTime: Comparable, Hashable, Sendable {
    /// Milliseconds since the Unix epoch; negative before it.
    package var milliseconds: Int64

    /// Wraps a count of milliseconds since the Unix epoch.
    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// The Unix epoch; also "never set" in fixed-layout records.
    package static let epoch = WallTime(milliseconds: 0)

    /// A time after every time that can occur: the deadline of what has none.
    package static let distantFuture = WallTime(milliseconds: 253_402_300_799_999)

    package static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }

    /// The time `milliseconds` later, or earlier when negative; saturates at ``distantFuture``.
    package func advanced(byMilliseconds milliseconds: Int64) -> WallTime {
        let (sum, overflow) = self.milliseconds.addingReportingOverflow(milliseconds)
        if overflow { return milliseconds > 0 ? .distantFuture : .epoch }
        return WallTime(milliseconds: min(sum, Self.distantFuture.milliseconds))
    }
}

/// A point on the machine's monotonic clock: nanoseconds since an arbitrary start.
///
/// For timeouts and latencies only: meaningless in another process or after a restart.
package struct MonotonicTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's arbitrary start.
    package var nanoseconds: UInt64

    /// Wraps a reading of the monotonic clock.
    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// A time that is never reached: the deadline of what has none.
    package static var never: MonotonicTime { MonotonicTime(nanoseconds: .max) }

    package static func == (a: MonotonicTime, b: MonotonicTime) -> Bool {
        a.nanoseconds == b.nanoseconds
    }

    package static func < (a: MonotonicTime, b: MonotonicTime) -> Bool {
        a.nanoseconds < b.nanoseconds
    }

    /// The time `nanoseconds` later; saturates at ``never``.
    package func advanced(byNanoseconds nanoseconds: UInt64) -> MonotonicTime {
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        return overflow ? .never : MonotonicTime(nanoseconds: sum)
    }

    /// Nanoseconds from `earlier` to this time; 0 when `earlier` is later.
    package func nanoseconds(since earlier: MonotonicTime) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }
}

/// Supplies both times.
///
/// The real one is in `TriageIO`; tests and simulation drive their own.
package protocol TimeSource: Sendable {
    /// Civil time now.
    func wallTime() -> WallTime
    /// Monotonic time now.
    func monotonicTime() -> MonotonicTime
}
