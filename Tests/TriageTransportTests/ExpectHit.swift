// How tests say that a limit was hit: in one way, so that another test can look whether each limit
// is met by one.

import Testing

@testable import TriageTransport

/// Something that counts how often limits were hit.
protocol CountsLimits {
    func hits(_ kind: LimitKind) -> UInt64
}

extension Machine: CountsLimits {}
extension RawPeer: CountsLimits {}

extension LimitHits: CountsLimits {
    func hits(_ kind: LimitKind) -> UInt64 { self[kind] }
}

/// A limit was hit, and counted at least so often.
func expectHit(
    _ kind: LimitKind, atLeast wanted: UInt64, in counter: some CountsLimits,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    precondition(wanted > 0, "a limit that was not hit is not met")
    #expect(counter.hits(kind) >= wanted, "\(kind)", sourceLocation: sourceLocation)
}

/// A limit was hit, and counted so often.
func expectHit(
    _ kind: LimitKind, _ wanted: UInt64 = 1, in counter: some CountsLimits, _ note: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    precondition(wanted > 0, "a limit that was not hit is not met")
    #expect(counter.hits(kind) == wanted, "\(kind) \(note)", sourceLocation: sourceLocation)
}
