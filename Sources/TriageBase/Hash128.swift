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
        var rest = bytes
        // Written out and on a part of known length, so that the optimiser makes one load of the
        // eight, without a check.
        while rest.count >= 8 {
            let eight = rest.extracting(first: 8)
            let low =
                UInt32(eight[0]) | UInt32(eight[1]) << 8
                | UInt32(eight[2]) << 16 | UInt32(eight[3]) << 24
            let high =
                UInt32(eight[4]) | UInt32(eight[5]) << 8
                | UInt32(eight[6]) << 16 | UInt32(eight[7]) << 24
            Self.mix(UInt64(high) << 32 | UInt64(low), &a, &b)
            rest = rest.extracting(droppingFirst: 8)
        }
        if !rest.isEmpty {
            var word: UInt64 = 0
            for index in rest.indices {
                word |= UInt64(rest[index]) << UInt64(8 &* index)
            }
            Self.mix(word, &a, &b)
        }
        a = mix64(a ^ UInt64(bytes.count))
        b = mix64(b &+ a)
        high = a
        low = b
    }

    @inline(__always)
    private static func mix(_ word: UInt64, _ a: inout UInt64, _ b: inout UInt64) {
        a = mix64(a ^ word) &+ b
        b = (b << 23 | b >> 41) ^ (word &* 0xFF51_AFD7_ED55_8CCD)
    }

    /// The fingerprint of this one together with another, order mattering.
    package func combined(with other: Hash128) -> Hash128 {
        let a = mix64(high &+ mix64(other.low))
        return Hash128(high: a, low: mix64(low ^ mix64(other.high &+ a)))
    }
}
