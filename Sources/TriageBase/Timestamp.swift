// Civil time as text, for logs, listings and file names. UTC only.

/// RFC 3339 text of wall times.
package enum Timestamp {
    /// Formats a time with milliseconds, in UTC.
    ///
    /// - Parameter time: Any time from year 0 to year 9999.
    /// - Returns: Text such as `2026-11-22T18:31:53.042Z`.
    /// - Complexity: O(1).
    ///
    /// Source: RFC 3339 §5.6; days to civil date after H. Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms".
    package static func rfc3339(_ time: WallTime) -> String {
        let milliseconds = time.milliseconds
        let day = milliseconds.flooredQuotient(86_400_000)
        let inDay = milliseconds - day * 86_400_000
        let (year, month, dayOfMonth) = civilDate(daysSinceEpoch: day)
        let clock = [inDay / 3_600_000, inDay / 60_000 % 60, inDay / 1_000 % 60]
            .map { padded($0, 2) }.joined(separator: ":")
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))T\(clock)"
            + ".\(padded(inDay % 1_000, 3))Z"
    }

    /// The proleptic Gregorian date of a day.
    package static func civilDate(
        daysSinceEpoch: Int64
    ) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = daysSinceEpoch + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let leapDays = dayOfEra / 1_460 - dayOfEra / 36_524 + dayOfEra / 146_096
        let yearOfEra = (dayOfEra - leapDays) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

extension Int64 {
    /// The quotient rounded towards negative infinity.
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
