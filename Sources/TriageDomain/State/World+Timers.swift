// When the World next has something to do by itself, and what happens then.

package import TriageBase

extension World {
    /// Events of one record of timers at most; the rest follow in the next.
    static var timersPerRecordMax: Int { 256 }

    /// When ``Command/fireTimers`` next has something to do; nil when nothing is waited for.
    package var nextTimer: WallTime? { indexes.timers.first?.time }

    /// What ends by now, earliest first.
    func fireTimers(at now: WallTime, _ events: inout [Event]) {
        guard let next = nextTimer, next <= now else { return }
        let due = indexes.timers.collect(upTo: .last(at: now)).filter { state.isCurrent($0) }
            .sorted()
        var last: Timer?
        var count = 0
        for timer in due where timer != last {
            if count == Self.timersPerRecordMax { return }
            count += 1
            last = timer
            switch timer.target {
            case .assignment(let number):
                let offered = state.assignments[Int(number)].state == .offered
                events.append(
                    .assignmentEnded(
                        assignment: AssignmentNumber(number), state: offered ? .timedOut : .expired,
                        reason: .notReleased))
            case .preservation(let place):
                events.append(.preservationExpired(request: state.disclosures[Int(place)].id))
            case .legalClock(let number):
                events.append(.legalClockDue(case: CaseNumber(number)))
            case .hold(let number):
                events.append(.holdExpired(hold: HoldNumber(number)))
            }
        }
    }
}
