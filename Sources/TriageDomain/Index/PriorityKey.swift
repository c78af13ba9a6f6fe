// The sort key of the board. It says where a case stands among all others and nothing else: which
// lane it is in, who may take it and whether it is held is the index's business.

package import TriageBase

/// Where an open case stands in the total order.
///
/// The order is `(band, effective deadline, more modifiers first, received, id)`.
/// Smallest first. None of the parts depends on the current time, so a key changes on events only.
/// Case numbers are given in order of receipt and received times never decrease in number order, so
/// the number alone stands for "(received, id)": two cases of one millisecond are told apart by it,
/// and no key occurs twice.
///
/// | bits | meaning |
/// | --- | --- |
/// | 127-118 | zero |
/// | 117-116 | band, 0 ... 2 |
/// | 115-68 | effective deadline, milliseconds since 1970, 48 bits (year 9999 fits) |
/// | 67-64 | 15 less the modifier count |
/// | 63-48 | zero |
/// | 47-0 | case number |
///
/// Source: domain reference §8.3.
package struct PriorityKey: Comparable, Hashable, Sendable, BitwiseCopyable {
    /// The whole key; compares as the order does.
    let bits: UInt128

    /// Bands: 0 for level P0, 1 for P1 and what runs out of legal slack, 2 for the rest.
    package static let bandCount = 3

    /// Modifiers beyond this count no further.
    package static let modifierCountMax = 15

    /// After every key that a case can have; fills the unused slots of a node.
    static var sentinel: PriorityKey { PriorityKey(bits: .max) }

    @inline(__always)
    init(bits: UInt128) {
        self.bits = bits
    }

    /// Builds the key of a case.
    ///
    /// - Parameters:
    ///   - band: 0 ..< ``bandCount``, most urgent first.
    ///   - effectiveDeadline: When the case must be touched at the latest; before 1970 counts as
    ///     1970.
    ///   - modifierCount: How many aggravating modifiers apply, 0 or more; above
    ///     ``modifierCountMax`` counts as that.
    ///   - number: The case; not ``CaseNumber/none``.
    /// - Precondition: `band` and `number` are in range, the deadline is not after
    ///   ``WallTime/distantFuture``.
    package init(
        band: Int, effectiveDeadline: WallTime, modifierCount: Int, number: CaseNumber
    ) {
        precondition(0 <= band && band < Self.bandCount, "band out of range")
        precondition(modifierCount >= 0, "negative modifier count")
        precondition(number.value != 0 && number.value >> 48 == 0, "case number out of range")
        precondition(effectiveDeadline <= .distantFuture, "deadline out of range")
        let deadline = UInt64(max(0, effectiveDeadline.milliseconds))
        let inverted = UInt64(Self.modifierCountMax - min(modifierCount, Self.modifierCountMax))
        bits = UInt128(UInt64(band) << 52 | deadline << 4 | inverted) << 64 | UInt128(number.value)
    }

    /// Restores a key from ``high`` and ``low``, for example from a page token.
    ///
    /// - Returns: nil unless a case can have this key.
    package init?(high: UInt64, low: UInt64) {
        guard
            high >> 52 < UInt64(Self.bandCount), low != 0, low >> 48 == 0,
            high >> 4 & 0xFFFF_FFFF_FFFF <= UInt64(WallTime.distantFuture.milliseconds)
        else { return nil }
        bits = UInt128(high) << 64 | UInt128(low)
    }

    /// Band, deadline and modifiers; see the table of the type.
    package var high: UInt64 { UInt64(truncatingIfNeeded: bits >> 64) }

    /// The case number.
    package var low: UInt64 { UInt64(truncatingIfNeeded: bits) }

    /// The band, 0 ..< ``bandCount``.
    package var band: Int { Int(high >> 52) }

    /// The effective deadline.
    package var effectiveDeadline: WallTime {
        WallTime(milliseconds: Int64(high >> 4 & 0xFFFF_FFFF_FFFF))
    }

    /// The modifier count, from 0 to ``modifierCountMax``.
    package var modifierCount: Int { Self.modifierCountMax - Int(high & 0xF) }

    /// The case.
    package var number: CaseNumber { CaseNumber(low) }

    /// The least bit pattern above this key.
    ///
    /// Never overflows, because nobody searches for the sentinel.
    @inline(__always)
    var successor: PriorityKey { PriorityKey(bits: bits &+ 1) }

    @inline(__always)
    package static func < (a: PriorityKey, b: PriorityKey) -> Bool { a.bits < b.bits }
}
