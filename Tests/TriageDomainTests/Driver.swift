// A World with a clock that the test turns and a journal that the test can replay. Every command
// goes through decide, apply and the invariant checker.

import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

/// Drives one World as the engine does.
final class Driver {
    private(set) var world: World
    private(set) var journal: [(header: EventHeader, events: [Event])] = []
    var now = WallTime(milliseconds: 1_800_000_000_000)
    private var requests: UInt64 = 0
    /// Checks every invariant after each record; off for long runs.
    var checksEachStep = true

    init() { world = World() }

    /// Decides and applies.
    @discardableResult
    func run(
        _ command: Command, as principal: Principal = .alice, id: RequestID? = nil,
        fingerprint: UInt64 = 0, random: UInt64 = 0
    ) throws(DomainError) -> Outcome {
        let (decision, _) = try step(
            command, as: principal, id: id, fingerprint: fingerprint, random: random)
        return world.outcome(of: decision)
    }

    /// Decides and applies; returns the events too.
    func step(
        _ command: Command, as principal: Principal = .alice, id: RequestID? = nil,
        fingerprint: UInt64 = 0, random: UInt64 = 0
    ) throws(DomainError) -> (Decision, [Event]) {
        requests += 1
        var requestID = id ?? RequestID(high: 1, low: requests)
        if case .fireTimers = command { requestID = .none }
        let context = CommandContext(
            principal: principal, now: now, requestID: requestID,
            fingerprint: Hash128(high: 0, low: fingerprint), random: random)
        var events: [Event] = []
        let decision = try world.decide(command, context, into: &events)
        guard !events.isEmpty else { return (decision, []) }
        let header = EventHeader(
            sequence: world.counters.sequence + 1, time: now, principal: principal,
            requestID: requestID, fingerprint: Hash128(high: 0, low: fingerprint))
        world.apply(events, header)
        journal.append((header, events))
        if checksEachStep { checkInvariants() }
        return (decision, events)
    }

    func checkInvariants() {
        do { try world.checkInvariants() } catch { Issue.record("\(error)") }
    }

    /// Turns the clock on and lets everything happen that is due.
    func advance(seconds: Int64) throws {
        now = now.advanced(byMilliseconds: seconds * 1_000)
        while let timer = world.nextTimer, timer <= now { try run(.fireTimers, as: .system) }
    }

    /// The World that the journal gives.
    func replayed() -> World {
        var copy = World()
        for record in journal { copy.apply(record.events, record.header) }
        return copy
    }

    // MARK: Shorthands

    @discardableResult
    func submit(_ facts: ReportFacts, as principal: Principal = .intake) throws -> ReportReceipt {
        let outcome = try run(.submitReport(facts: facts, content: [1, 2, 3]), as: principal)
        guard case .receipt(let receipt) = outcome else { throw Unexpected() }
        return receipt
    }

    func claim(
        as principal: Principal = .alice, _ eligibility: Eligibility = .everything
    ) throws -> (assignment: Assignment, matter: Case, why: ClaimExplanation)? {
        switch try run(.claimNext(eligibility: eligibility), as: principal) {
        case .offer(let assignment, let matter, let why): (assignment.value, matter.value, why)
        case .nothingToClaim: nil
        default: throw Unexpected()
        }
    }

    /// Claims and accepts.
    func take(as principal: Principal = .alice) throws -> Assignment {
        guard let offer = try claim(as: principal) else { throw Unexpected() }
        let number = offer.assignment.number
        guard
            case .changedAssignment(let view) = try run(
                .acceptCase(assignment: number, token: number), as: principal)
        else { throw Unexpected() }
        return view.value
    }

    func decideIt(
        _ assignment: Assignment, as principal: Principal = .alice, duties: DutyAnswers = .done
    )
        throws
    {
        try run(
            .decideCase(
                case: assignment.caseNumber, decision: .example(duties), token: assignment.number,
                etag: nil), as: principal)
    }

    func matter(_ number: CaseNumber) throws -> Case {
        try world.view(of: number, full: true).value
    }

    func request(_ id: DisclosureID) throws -> DisclosureRequest {
        try world.disclosure(id, visibleTo: nil).value
    }
}

/// An outcome of another kind than the test is about.
struct Unexpected: Error {}

/// What can be seen of a World beside its state: order, lanes, timers, counts.
func observed(_ world: borrowing World) -> [String] {
    let board = world.board(after: nil, limit: 10_000, filter: BoardFilter())
    var lines = board.cases.map { "\($0.value.number.value) \($0.assignee?.text ?? "-")" }
    lines.append("\(world.counts)")
    lines.append("\(String(describing: world.nextTimer))")
    for eligibility in [Eligibility.everything, .generalOnly] {
        var events: [Event] = []
        let context = CommandContext(
            principal: Principal(dnsName: "observer"), now: world.counters.time, requestID: .none,
            fingerprint: Hash128(high: 0, low: 0), random: 0)
        let decision = try? world.decide(
            .claimNext(eligibility: eligibility), context, into: &events)
        lines.append("\(String(describing: decision))")
    }
    return lines
}

/// The World that an exported state gives.
func rebuilt(from state: WorldState) throws -> World { try builder(of: state).finish() }

/// An exported state, to make a World of.
func builder(of state: WorldState) throws -> WorldBuilder {
    var builder = WorldBuilder()
    builder.set(state.counters)
    for index in state.principals.indices {
        try builder.add(
            PrincipalRecord(
                index: PrincipalIndex(UInt32(index)), principal: state.principals[index]))
    }
    for value in state.cases { try builder.add(value) }
    for value in state.assignments { try builder.add(value) }
    for value in state.disclosures { try builder.add(value) }
    for value in state.ledger { try builder.add(value) }
    for value in state.evidence { try builder.add(value) }
    for value in state.holds { try builder.add(value) }
    return builder
}
