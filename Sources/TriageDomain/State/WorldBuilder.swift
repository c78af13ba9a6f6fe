// Makes a World from what a snapshot holds: takes the parts one by one, checks that they fit
// together, and builds every index. Knows nothing of files or of how the parts were encoded.

package import TriageBase

/// Why the parts of a snapshot make no World.
package struct WorldImportError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What does not fit, and where; no content.
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Collects the parts of a World.
///
/// Sections may come in any order, each in the order of ``WorldState``.
package struct WorldBuilder: ~Copyable, Sendable {
    private var state = WorldState()
    private var assignmentsBegan = false

    /// Makes a builder without parts, which would finish to an empty World.
    package init() {}

    /// Sets the counters.
    package mutating func set(_ counters: WorldCounters) {
        state.counters = counters
    }

    /// Adds the next principal.
    package mutating func add(_ record: PrincipalRecord) throws(WorldImportError) {
        guard Int(record.index.value) == state.principals.endIndex else {
            throw WorldImportError("principal \(record.index.value) is out of order")
        }
        state.principals.append(record.principal)
    }

    /// Adds the next case.
    package mutating func add(_ value: Case) throws(WorldImportError) {
        guard value.number.value == UInt64(state.cases.endIndex) else {
            throw WorldImportError("case \(value.number.value) is out of order")
        }
        state.cases.append(value)
    }

    /// Whether a case begins a run of its own; see ``add(run:)``.
    package static func beginsRun(_ number: CaseNumber) -> Bool {
        (number.value &- 1) % UInt64(ChunkedArray<Case>.chunkSize) == 0
    }

    /// Adds the next cases, whose numbers follow each other.
    ///
    /// Without touching them when they begin with one that ``beginsRun(_:)``, up to the next one
    /// that does.
    package mutating func add(run cases: ContiguousArray<Case>) throws(WorldImportError) {
        guard let first = cases.first else { return }
        guard first.number.value == UInt64(state.cases.endIndex) else {
            throw WorldImportError("case \(first.number.value) is out of order")
        }
        state.cases.append(run: cases)
    }

    /// Adds the next entries of the request ledger, whose times do not fall.
    package mutating func add(run entries: ContiguousArray<LedgerEntry>) throws(WorldImportError) {
        guard let first = entries.first else { return }
        if let last = state.ledger.last, last.time > first.time {
            throw WorldImportError("ledger entry \(state.ledger.count) is out of order")
        }
        state.ledger.append(run: entries)
    }

    /// Adds the next assignment; the first one may have any number.
    package mutating func add(_ assignment: Assignment) throws(WorldImportError) {
        let number = assignment.number.value
        guard number > 0, number >> 48 == 0 else {
            throw WorldImportError("assignment number \(number) is out of range")
        }
        if !assignmentsBegan {
            state.assignments = ChunkedArray(startIndex: Int(number))
            assignmentsBegan = true
        }
        guard Int(number) == state.assignments.endIndex else {
            throw WorldImportError("assignment \(number) is out of order")
        }
        state.assignments.append(assignment)
    }

    /// Adds the next disclosure request.
    package mutating func add(_ request: DisclosureRequest) throws(WorldImportError) {
        guard request.id != .none else { throw WorldImportError("a disclosure request has no id") }
        state.disclosures.append(request)
    }

    /// Adds the next object of evidence.
    package mutating func add(_ evidence: Evidence) throws(WorldImportError) {
        guard Int(evidence.number.value) == state.evidence.endIndex else {
            throw WorldImportError("evidence \(evidence.number.value) is out of order")
        }
        state.evidence.append(evidence)
    }

    /// Adds the next hold.
    package mutating func add(_ hold: Hold) throws(WorldImportError) {
        guard Int(hold.number.value) == state.holds.endIndex else {
            throw WorldImportError("hold \(hold.number.value) is out of order")
        }
        state.holds.append(hold)
    }

    /// Adds the next entry of the request ledger.
    package mutating func add(_ entry: LedgerEntry) throws(WorldImportError) {
        if let last = state.ledger.last, last.time > entry.time {
            throw WorldImportError("ledger entry \(state.ledger.count) is out of order")
        }
        state.ledger.append(entry)
    }

    /// Checks that the parts fit together, and builds the indexes.
    ///
    /// - Throws: ``WorldImportError`` for the first thing that does not fit.
    /// - Complexity: O(n log n) time; about a third of a second for a million cases.
    package consuming func finish() throws(WorldImportError) -> World {
        var world = try beginReplay()
        world.finishReplay()
        return world
    }

    /// Checks that the parts fit together, and makes a World that applies events and, until
    /// ``World/finishReplay()``, does nothing else.
    ///
    /// - Throws: ``WorldImportError`` for the first thing that does not fit.
    /// - Complexity: O(n)
    package consuming func beginReplay() throws(WorldImportError) -> World {
        var state = state
        if !assignmentsBegan {
            state.assignments = ChunkedArray(
                startIndex: Int(state.counters.lastAssignment.value) + 1)
        }
        try Self.checkReferences(state)
        try Self.checkEvidence(state)
        var indexes = WorldIndexes()
        indexes.beginReplay()
        indexes.principals.load(state.principals)
        for place in state.disclosures.indices {
            let request = state.disclosures[place]
            guard indexes.disclosurePlaces.value(mix64(request.id.value)) == nil else {
                throw WorldImportError("disclosure request \(place) has another one's id")
            }
            indexes.enter(request, at: place)
        }
        for place in state.evidence.indices { indexes.enter(state.evidence[place], at: place) }
        for place in state.holds.indices { indexes.enter(state.holds[place], at: place) }
        return World(state: state, indexes: indexes)
    }

    private static func checkEvidence(_ state: WorldState) throws(WorldImportError) {
        let principals = state.principals.endIndex
        let isKnown = { (index: PrincipalIndex) in
            index != .none && Int(index.value) < principals
        }
        for evidence in state.evidence {
            guard state.cases.indices.contains(Int(clamping: evidence.caseNumber.value)),
                isKnown(evidence.principal), evidence.erasure.map({ isKnown($0.principal) }) ?? true
            else { throw WorldImportError("evidence refers to nothing") }
        }
        for hold in state.holds {
            guard state.cases.indices.contains(Int(clamping: hold.caseNumber.value)),
                isKnown(hold.principal), hold.release.map({ isKnown($0.principal) }) ?? true
            else { throw WorldImportError("a hold refers to nothing") }
        }
    }

    private static func checkReferences(_ state: WorldState) throws(WorldImportError) {
        let counters = state.counters
        guard counters.lastCase.value == UInt64(state.cases.count) else {
            throw WorldImportError(
                "\(state.cases.count) cases where \(counters.lastCase.value) are due")
        }
        guard Int(counters.lastAssignment.value) == state.assignments.endIndex - 1 else {
            throw WorldImportError("the newest assignment is not \(counters.lastAssignment.value)")
        }
        let principals = state.principals.endIndex
        var heldCount = 0
        for assignment in state.assignments {
            let number = assignment.number.value
            guard assignment.specialist != .none, Int(assignment.specialist.value) < principals,
                state.cases.indices.contains(Int(clamping: assignment.caseNumber.value))
            else { throw WorldImportError("assignment \(number) refers to nothing") }
            guard assignment.state.holdsCase else { continue }
            heldCount += 1
            guard state.cases[Int(assignment.caseNumber.value)].assignment == assignment.number
            else { throw WorldImportError("assignment \(number) holds a case that it has not") }
        }
        try state.cases.lendEach { (value) throws(WorldImportError) in
            let number = value.number.value
            guard Int(value.first.submitter.value) < principals else {
                throw WorldImportError("case \(number) refers to nobody")
            }
            guard value.assignment != .none else { return }
            heldCount -= 1
            guard state.heldAssignment(value.assignment.value)?.caseNumber == value.number else {
                throw WorldImportError("case \(number) is held by nothing")
            }
        }
        guard heldCount == 0 else { throw WorldImportError("assignments and cases do not match") }
        for request in state.disclosures {
            guard request.requester != .none, Int(request.requester.value) < principals,
                Int(clamping: request.filing.caseNumber.value) < state.cases.endIndex
            else { throw WorldImportError("a disclosure request refers to nothing") }
            guard
                request.formerScopers.allSatisfy({ $0 != .none && Int($0.value) < principals })
            else { throw WorldImportError("a disclosure request names nobody") }
        }
    }
}

extension WorldIndexes {
    /// Enters all cases at once.
    mutating func load(cases: ChunkedArray<Case>) {
        var entries: [(key: PriorityKey, standing: Standing)] = []
        var queued = [[UInt64]](repeating: [], count: Level.allCases.count)
        entries.reserveCapacity(cases.count)
        var pairs: ContiguousArray<HashIndex.Slot> = []
        pairs.reserveCapacity(cases.count)
        cases.lendEach { value in
            let place = CasePlace(value)
            guard place.isOpen else { return }
            entries.append((place.key, place.standing))
            pairs.append(
                HashIndex.Slot(hash: Self.hash(place.subject), value: place.number.value))
            let row = Int(place.level.rawValue)
            openCounts[row] += 1
            guard place.isQueued else { return }
            queuedCounts[row] += 1
            queued[row].append(place.number.value)
        }
        subjects.load(pairs)
        priority.load(entries)
        for row in queued.indices { oldestQueued[row].load(queued[row]) }
    }

    /// Enters what is held.
    mutating func load(assignments: ChunkedArray<Assignment>) {
        for assignment in assignments where assignment.state.holdsCase {
            enterHeld(assignment)
        }
    }

    /// Sets every timer.
    mutating func loadTimers(_ state: WorldState) {
        var all: [Timer] = []
        for assignment in state.assignments where assignment.state.holdsCase {
            all.append(Timer(.assignment(assignment.number.value), at: assignment.expiresAt))
        }
        for place in state.disclosures.indices {
            guard let hold = state.disclosures[place].preservation, hold.state == .active else {
                continue
            }
            all.append(Timer(.preservation(UInt64(place)), at: hold.expiresAt))
        }
        for hold in state.holds where hold.state == .active {
            all.append(Timer(.hold(hold.number.value), at: hold.order.expiresAt))
        }
        state.cases.lendEach { value in
            guard value.awaitsLegalClock else { return }
            all.append(Timer(.legalClock(value.number.value), at: value.legalDeadline))
        }
        timers.load(all)
    }
}
