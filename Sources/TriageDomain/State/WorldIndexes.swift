// Everything that is computed from the state so that it can be found quickly, and that no snapshot
// holds. Keeps itself in step with each change of a case; decides nothing.

internal import TriageBase

/// What of a case the indexes depend on.
///
/// All that is fixed in size: reading it copies no reference.
struct CasePlace {
    let number: CaseNumber
    let state: CaseState
    let level: Level
    let family: HarmFamily
    let clearance: Clearance
    let language: LanguageCode
    let routing: RoutingRegion
    let modifiers: RiskModifiers
    let updatedAt: WallTime
    let effectiveDeadline: WallTime
    let legalDeadline: WallTime
    let subject: Hash128

    @inline(__always)
    init(_ value: borrowing Case) {
        number = value.number
        state = value.state
        level = value.level
        family = value.code.family
        clearance = value.clearance
        language = value.language
        routing = value.routing
        modifiers = value.modifiers
        updatedAt = value.updatedAt
        effectiveDeadline = value.effectiveDeadline
        legalDeadline = value.legalDeadline
        subject = value.subject
    }

    /// That of one of several cases, field by field: see ``ChunkedArray/forEachChunk(in:_:)``.
    @inline(__always)
    init(_ cases: Span<Case>, _ index: Int) {
        number = cases[index].number
        state = cases[index].state
        level = cases[index].level
        family = cases[index].code.family
        clearance = cases[index].clearance
        language = cases[index].language
        routing = cases[index].routing
        modifiers = cases[index].modifiers
        updatedAt = cases[index].updatedAt
        effectiveDeadline = cases[index].effectiveDeadline
        legalDeadline = cases[index].legalDeadline
        subject = cases[index].subject
    }

    var isQueued: Bool { state == .queued }
}

/// What is computed from the state.
struct WorldIndexes: ~Copyable, Sendable {
    var priority = PriorityIndex()
    /// From a subject's hash to the open cases about it.
    var subjects = HashIndex()
    var ledger = RequestLedger()
    var principals = PrincipalTable()
    /// From a disclosure request's id to its place.
    var disclosurePlaces = HashIndex(segmentBits: 0)
    /// Places of the requests that a principal filed, oldest first.
    var disclosuresOfRequester: [PrincipalIndex: [Int]] = [:]
    /// Places of the requests that belong to a case.
    var disclosuresOfCase: [CaseNumber: [Int]] = [:]
    var openDisclosures = 0
    /// Places of the requests whose preservation is active.
    var activePreservations: Set<Int> = []
    /// Places of the evidence of a case, oldest first; also their numbers.
    var evidenceOfCase: [CaseNumber: [Int]] = [:]
    /// Places of the holds of a case, oldest first; also their numbers.
    var holdsOfCase: [CaseNumber: [Int]] = [:]
    var storedEvidence = 0
    var storedEvidenceBytes = 0
    var activeHolds = 0
    /// Offers and leases of a principal, by its index, oldest first.
    var heldBy: [[AssignmentNumber]] = []
    var heldAssignments = 0
    var timers = LazyHeap<Timer>()
    /// Open cases of each level: queued, and the rest.
    var queuedCounts = [Int](repeating: 0, count: Level.allCases.count)
    var openCounts = [Int](repeating: 0, count: Level.allCases.count)
    /// True during a replay.
    ///
    /// What depends on cases, assignments, the ledger and timers is then not kept up, and is made
    /// of the last state at its end. Applying events asks none of it.
    var isDeferred = false
    /// Numbers of the queued cases of each level: the least is the oldest.
    var oldestQueued = [LazyHeap<UInt64>](repeating: LazyHeap(), count: Level.allCases.count)

    /// Of ``World/expect(_:_:about:)``: kept, so that the compiler keeps the reads.
    private var glances: UInt64 = 0

    /// Reads where two searches are going to begin.
    @inline(__always)
    mutating func glance(atKey key: Hash128, subject: Hash128) {
        glances ^= ledger.glance(at: key) ^ subjects.glance(at: Self.hash(subject))
    }

    // MARK: Cases

    static func hash(_ subject: Hash128) -> UInt64 { mix64(subject.low &+ subject.high) }

    mutating func enter(_ place: CasePlace, _ state: WorldState) {
        if place.isOpen {
            priority.insert(place.key, in: place.standing)
            subjects.insert(Self.hash(place.subject), value: place.number.value)
        }
        count(place, after: nil, state)
    }

    mutating func move(
        from old: CasePlace, to new: CasePlace, _ state: WorldState
    ) {
        switch (old.isOpen, new.isOpen) {
        case (true, true):
            priority.move(old.key, from: old.standing, to: new.key, in: new.standing)
        case (true, false):
            priority.remove(old.key, from: old.standing)
            subjects.remove(Self.hash(old.subject), value: old.number.value)
        case (false, true):
            priority.insert(new.key, in: new.standing)
            subjects.insert(Self.hash(new.subject), value: new.number.value)
        case (false, false): break
        }
        if old.isOpen { openCounts[Int(old.level.rawValue)] -= 1 }
        if old.isQueued { queuedCounts[Int(old.level.rawValue)] -= 1 }
        count(new, after: old, state)
        if old.isQueued && (!new.isQueued || new.level != old.level) {
            settleOldest(old.level, state)
        }
    }

    private mutating func count(_ place: CasePlace, after old: CasePlace?, _ state: WorldState) {
        let row = Int(place.level.rawValue)
        if place.isOpen { openCounts[row] += 1 }
        if place.isQueued {
            queuedCounts[row] += 1
            let wasThere = old.map { $0.isQueued && $0.level == place.level } ?? false
            if !wasThere { pushOldest(place, state) }
        }
        if place.awaitsLegalClock {
            let wasArmed =
                old.map { $0.awaitsLegalClock && $0.legalDeadline == place.legalDeadline } ?? false
            if !wasArmed {
                arm(Timer(.legalClock(place.number.value), at: place.legalDeadline), state)
            }
        }
    }

    private mutating func pushOldest(_ place: CasePlace, _ state: WorldState) {
        let level = place.level
        let cases = state.cases
        oldestQueued[Int(level.rawValue)].push(place.number.value) {
            Self.isQueued($0, at: level, cases)
        }
    }

    private mutating func settleOldest(_ level: Level, _ state: WorldState) {
        let cases = state.cases
        oldestQueued[Int(level.rawValue)].settle { Self.isQueued($0, at: level, cases) }
    }

    private static func isQueued(
        _ number: UInt64, at level: Level, _ cases: ChunkedArray<Case>
    ) -> Bool {
        let place = Int(number)
        return cases[place].state == .queued && cases[place].level == level
    }

    // MARK: Timers

    mutating func arm(_ timer: Timer, _ state: WorldState) {
        if isDeferred { return }
        timers.push(timer) { state.isCurrent($0) }
    }

    /// Drops ends that are no longer waited for from the front.
    @inline(__always)
    mutating func settleTimers(_ state: WorldState) {
        guard timers.first != nil else { return }
        timers.settle { state.isCurrent($0) }
    }

    // MARK: Assignments

    mutating func hold(_ assignment: Assignment, _ state: WorldState) {
        if isDeferred { return }
        enterHeld(assignment)
        arm(Timer(.assignment(assignment.number.value), at: assignment.expiresAt), state)
    }

    mutating func enterHeld(_ assignment: Assignment) {
        let row = Int(assignment.specialist.value)
        while heldBy.count <= row { heldBy.append([]) }
        heldBy[row].append(assignment.number)
        heldAssignments += 1
    }

    mutating func letGo(_ assignment: Assignment) {
        if isDeferred { return }
        let row = Int(assignment.specialist.value)
        heldBy[row].removeAll { $0 == assignment.number }
        heldAssignments -= 1
    }

    func held(by principal: PrincipalIndex) -> [AssignmentNumber] {
        let row = Int(principal.value)
        return row < heldBy.count ? heldBy[row] : []
    }
}
