// Randomness as an input: a generator that one seed replays, for everything that is simulated,
// jittered or sampled. Unpredictable identifiers come from the system generator, by the caller.

/// A small seedable generator (SplitMix64): the same seed gives the same sequence for ever.
///
/// Not for secrets.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the sequence that belongs to `seed`.
    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return mix64(state)
    }

    /// A uniformly distributed number in 0 ..< 1, with 53 random bits.
    package mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }
}

/// Mixes 64 bits so that each input bit changes about half of the output bits.
///
/// A bijection: distinct inputs give distinct outputs. For hash tables, not against an adversary.
package func mix64(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
