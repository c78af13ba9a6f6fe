// When a connection has lived long enough: then it ends in peace, so that its client connects anew,
// with a fresh look at its certificate, and perhaps to another server. Pure: time and chance are
// handed in.

import TriageBase

/// The span of one connection's life.
struct ConnectionAge {
    /// When it is told to end.
    let end: MonotonicTime
    /// When calls that are still open then end as well.
    let graceEnd: MonotonicTime

    /// Draws the span of a connection that begins now.
    ///
    /// Ages differ by up to a tenth both ways: connections that began together, after a restart, do
    /// not all come back together. Source: gRPC proposal A9, "connection storms".
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - limits: Age and grace.
    ///   - certificateMilliseconds: How long the peer's certificate is still good, if it has one:
    ///     its connection is told to end then, and takes no new call; those that are open have the
    ///     grace.
    ///   - random: Chance.
    init(
        now: MonotonicTime, limits: ServerLimits, certificateMilliseconds: Int64?,
        random: inout SeededRandom
    ) {
        let spread = 1 + Self.jitter * (2 * random.unit() - 1)
        let age = min(
            Double(limits.ageMillisecondsMax) * spread, Double(certificateMilliseconds ?? .max))
        end = now.advanced(byNanoseconds: UInt64(age * 1e6))
        graceEnd = end.advanced(
            byNanoseconds: UInt64(limits.ageGraceMilliseconds) * 1_000_000)
    }

    /// What is to be done.
    enum Step {
        case nothing
        /// Tell the client to go.
        case retire
        /// End what is still open.
        case finish
    }

    /// What the time asks for.
    func judge(_ now: MonotonicTime) -> Step {
        if now < end { return .nothing }
        return now < graceEnd ? .retire : .finish
    }

    private static let jitter = 0.1
}
