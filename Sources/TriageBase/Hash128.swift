// 128-bit fingerprints of bytes: for finding equal subjects and equal requests. Not cryptographic;
// what must resist forgery is chained with SHA-256 in the journal.

/// A 128-bit fingerprint.
package struct Hash128: Hashable, Sendable {
    /// The first half.
    package var high: UInt64
    /// The second half.
    package var low: UInt64

    /// Wraps two halves.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// All zero: "no fingerprint".
    package static let zero = Hash128(high: 0, low: 0)

    /// Fingerprints bytes.
    ///
    /// Stable for ever: fingerprints are journaled.
    ///
    /// - Parameters:
    ///   - bytes: Any bytes.
    ///   - seed: Separates uses, so that equal bytes of different kinds differ.
    package init(of bytes: Span<UInt8>, seed: UInt64) {
        var a = mix64(seed ^ 0x9E37_79B9_7F4A_7C15)
        var b = mix64(seed &+ 0xD1B5_4A32_D192_ED03)
        var index = 0
        let count = bytes.count
        while index < count {
            var word: UInt64 = 0
            let end = min(index + 8, count)
            var shift: UInt64 = 0
            while index < end {
                word |= UInt64(bytes[index]) << shift
                shift += 8
                index += 1
            }
            a = mix64(a ^ word) &+ b
            b = (b << 23 | b >> 41) ^ (word &* 0xFF51_AFD7_ED55_8CCD)
        }
        a = mix64(a ^ UInt64(count))
        b = mix64(b &+ a)
        high = a
        low = b
    }

    /// The fingerprint of this one together with another, order mattering.
    package func combined(with other: Hash128) -> Hash128 {
        let a = mix64(high &+ mix64(other.low))
        return Hash128(high: a, low: mix64(low ^ mix64(other.high &+ a)))
    }
}
