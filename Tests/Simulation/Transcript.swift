// What happened in a run, line by line: its hash tells whether two runs were the same, and whoever
// looks for a fault reads along.

import TriageBase

/// The lines of a run.
final class Transcript {
    private(set) var hash: UInt64 = 0
    /// How often each kind of thing happened.
    private(set) var counts: [String: Int] = [:]
    private let reader: ((String) -> Void)?

    init(reader: ((String) -> Void)?) { self.reader = reader }

    func note(_ line: String) {
        hash = mix64(hash &* 31 &+ Hash128(of: line.utf8.span, seed: 0).low)
        reader?(line)
    }

    /// Tells whoever reads along; of what is known from the lines anyway.
    func tell(_ line: @autoclosure () -> String) { reader?(line()) }

    /// Notes that something happened that a run is to show at times.
    func count(_ what: String, _ times: Int = 1) { counts[what, default: 0] += times }
}

/// Something that must never happen, and did.
package struct Violation: Error, CustomStringConvertible, Sendable {
    /// What.
    package let description: String

    init(_ description: String) { self.description = description }
}

func require(_ condition: Bool, _ text: @autoclosure () -> String) throws(Violation) {
    if !condition { throw Violation(text()) }
}
