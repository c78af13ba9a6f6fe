// Counts how often each limit was hit: plain numbers, kept by one thread. Knows nothing of how they
// are judged or shown.

/// How often each limit was hit.
package struct LimitHits: Sendable {
    private var counts = [UInt64](repeating: 0, count: LimitKind.allCases.count)

    /// None, so far.
    package init() {}

    /// How often one was hit.
    package subscript(_ limit: LimitKind) -> UInt64 { counts[Int(limit.rawValue)] }

    mutating func count(_ limit: LimitKind, _ times: Int = 1) {
        counts[Int(limit.rawValue)] += UInt64(times)
    }

    /// Adds what somebody else has counted.
    package mutating func add(_ other: LimitHits) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }
}
