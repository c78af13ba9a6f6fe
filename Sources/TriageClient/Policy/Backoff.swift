// Pauses that grow from failure to failure and never fall in step with others'. Pure: chance is
// handed in. Knows nothing of what failed.

internal import TriageBase

/// A growing pause.
///
/// Both of gRPC's back-offs are this: of connections (`doc/connection-backoff.md`) and of calls
/// (proposal A6, "Exponential Backoff").
struct Backoff: Equatable, Sendable {
    /// The first pause, the factor, and the longest, nanoseconds.
    struct Shape: Equatable, Sendable {
        var initial: UInt64
        var multiplier: Double
        var longest: UInt64
    }

    /// Pauses differ by up to this share both ways, so that clients that failed together do not
    /// come back together.
    static let jitter = 0.2

    let shape: Shape
    private var next: Double

    init(_ shape: Shape) {
        self.shape = shape
        next = Double(shape.initial)
    }

    /// The pause after one more failure, nanoseconds.
    mutating func pause(_ random: inout SeededRandom) -> UInt64 {
        let base = min(next, Double(shape.longest))
        next = base * shape.multiplier
        return UInt64(base * (1 + Self.jitter * (2 * random.unit() - 1)))
    }

    /// Begins anew: it has worked.
    mutating func reset() { next = Double(shape.initial) }
}
