// The value of the `grpc-timeout` header, both ways. Knows no clock.

import TriageBase

/// Reads and writes `grpc-timeout`.
///
/// Source: gRPC PROTOCOL-HTTP2: `Timeout -> "grpc-timeout" TimeoutValue TimeoutUnit`; the value is
/// a positive integer of at most 8 digits, the unit one of H M S m u n.
package enum Timeout {
    /// Most digits of the value.
    package static let digitsMax = 8

    /// Parses a header value.
    ///
    /// Zero is accepted and means that the deadline has passed: clients send it for deadlines that
    /// ran out on their side.
    ///
    /// - Returns: Nanoseconds, saturated; nil unless it is 1 to 8 digits and one known unit.
    package static func parse(_ text: Span<UInt8>) -> UInt64? {
        guard text.count >= 2, text.count <= digitsMax + 1 else { return nil }
        var value: UInt64 = 0
        for index in 0..<(text.count - 1) {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value * 10 + UInt64(digit)
        }
        // 99,999,999 hours are 3.6e20 ns, beyond 64 bits: saturate.
        let (product, overflow) = value.multipliedReportingOverflow(by: scale(text[text.count - 1]))
        guard scale(text[text.count - 1]) > 0 else { return nil }
        return overflow ? .max : product
    }

    /// Writes a duration in the finest unit that holds it in 8 digits, rounded up.
    ///
    /// Rounding up keeps a deadline that has not passed from being sent as zero.
    package static func format(nanoseconds: UInt64) -> [UInt8] {
        for unit in [
            UInt8(ascii: "n"), UInt8(ascii: "u"), UInt8(ascii: "m"), UInt8(ascii: "S"),
            UInt8(ascii: "M"), UInt8(ascii: "H"),
        ] {
            let scale = scale(unit)
            let value = nanoseconds / scale + (nanoseconds % scale == 0 ? 0 : 1)
            if value < 100_000_000 { return Array(String(value).utf8) + [unit] }
        }
        return Array("99999999H".utf8)
    }

    private static func scale(_ unit: UInt8) -> UInt64 {
        switch unit {
        case UInt8(ascii: "H"): 3_600_000_000_000
        case UInt8(ascii: "M"): 60_000_000_000
        case UInt8(ascii: "S"): 1_000_000_000
        case UInt8(ascii: "m"): 1_000_000
        case UInt8(ascii: "u"): 1_000
        case UInt8(ascii: "n"): 1
        default: 0
        }
    }
}
