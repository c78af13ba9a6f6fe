// What the World waits for: ends of offers, leases and holds, and legal clocks. Says when, and
// whether it still stands; what then happens is the rules' business.

internal import TriageBase

/// One end that is waited for.
struct Timer: Comparable, Hashable, Sendable {
    /// What ends.
    enum Target: Hashable, Sendable {
        /// An offer or a lease, by the assignment's number.
        case assignment(UInt64)
        /// A preservation, by the place of its request.
        case preservation(UInt64)
        /// The slack of a legal clock, by the case's number.
        case legalClock(UInt64)
        /// A hold, by its number.
        case hold(UInt64)
    }

    let milliseconds: Int64
    /// The target: 2 bits of kind, 62 of number.
    private let packed: UInt64

    init(_ target: Target, at time: WallTime) {
        milliseconds = time.milliseconds
        packed =
            switch target {
            case .assignment(let number): number << 2
            case .preservation(let place): place << 2 | 1
            case .legalClock(let number): number << 2 | 2
            case .hold(let number): number << 2 | 3
            }
    }

    /// After every timer of that time.
    static func last(at time: WallTime) -> Timer {
        Timer(milliseconds: time.milliseconds, packed: .max)
    }

    private init(milliseconds: Int64, packed: UInt64) {
        self.milliseconds = milliseconds
        self.packed = packed
    }

    var time: WallTime { WallTime(milliseconds: milliseconds) }

    var target: Target {
        switch packed & 3 {
        case 0: .assignment(packed >> 2)
        case 1: .preservation(packed >> 2)
        case 2: .legalClock(packed >> 2)
        default: .hold(packed >> 2)
        }
    }

    static func < (a: Timer, b: Timer) -> Bool {
        a.milliseconds != b.milliseconds
            ? a.milliseconds < b.milliseconds : a.packed < b.packed
    }
}

extension WorldState {
    /// True while what the timer waits for still ends then.
    func isCurrent(_ timer: Timer) -> Bool {
        switch timer.target {
        case .assignment(let number):
            guard let assignment = heldAssignment(number) else { return false }
            return assignment.expiresAt == timer.time
        case .preservation(let place):
            guard let hold = disclosures[Int(place)].preservation else { return false }
            return hold.state == .active && hold.expiresAt == timer.time
        case .legalClock(let number):
            let place = Int(number)
            return cases[place].awaitsLegalClock && cases[place].legalDeadline == timer.time
        case .hold(let number):
            let hold = holds[Int(number)]
            return hold.state == .active && hold.order.expiresAt == timer.time
        }
    }

    /// The assignment, unless it has ended.
    func heldAssignment(_ number: UInt64) -> Assignment? {
        guard assignments.indices.contains(Int(clamping: number)) else { return nil }
        let assignment = assignments[Int(number)]
        return assignment.state.holdsCase ? assignment : nil
    }
}
