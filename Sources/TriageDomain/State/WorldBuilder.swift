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
    /// The highest number of a principal that submitted the first report of a case.
    private var lastSubmitter: UInt32 = 0
    /// The cases that say that somebody holds them, and by which assignment.
    private var held: [(case: CaseNumber, assignment: AssignmentNumber)] = []

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
        note(value.number, submitter: value.first.submitter, value.assignment)
        state.cases.append(value)
    }

    /// Remembers what a case refers to, while it is in the processor's cache: walking a million of
    /// them again at the end takes a tenth of a second.
    @inline(__always)
    private mutating func note(
        _ number: CaseNumber, submitter: PrincipalIndex, _ assignment: AssignmentNumber
    ) {
        lastSubmitter = max(lastSubmitter, submitter.value)
        if assignment != .none { held.append((number, assignment)) }
    }

    /// Whether a case begins a run of its own; see ``add(run:)``.
    package static func beginsRun(_ number: CaseNumber) -> Bool {
        (number.value &- 1) % UInt64(ChunkedArray<Case>.chunkSize) == 0
    }

    /// Adds the next cases, whose numbers follow each other.
    ///
    /// Without copying them when they begin with one that ``beginsRun(_:)``, up to the next one
    /// that does.
    package mutating func add(run cases: ContiguousArray<Case>) throws(WorldImportError) {
        guard let first = cases.first else { return }
        guard first.number.value == UInt64(state.cases.endIndex) else {
            throw WorldImportError("case \(first.number.value) is out of order")
        }
        // Field by field, which copies nothing else.
        let span = cases.span
        for index in span.indices {
            note(
                span[index].number, submitter: span[index].first.submitter,
                span[index].assignment)
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
        var evidence = evidence
        // A snapshot of before captions were erased with their evidence still has it.
        if evidence.erasure != nil { evidence.eraseCaption() }
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
        try checkReferences(state)
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

    private func checkReferences(_ state: WorldState) throws(WorldImportError) {
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
        if Int(lastSubmitter) >= principals || !held.allSatisfy({ Self.isHeld($0, state) }) {
            throw Self.wrongCase(state)
        }
        heldCount -= held.count
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

    private static func isHeld(
        _ held: (case: CaseNumber, assignment: AssignmentNumber), _ state: WorldState
    ) -> Bool {
        state.heldAssignment(held.assignment.value)?.caseNumber == held.case
    }

    /// Names the first case that refers to what is not there.
    private static func wrongCase(_ state: WorldState) -> WorldImportError {
        for value in state.cases {
            let number = value.number.value
            if Int(value.first.submitter.value) >= state.principals.endIndex {
                return WorldImportError("case \(number) refers to nobody")
            }
            if value.assignment != .none, !isHeld((value.number, value.assignment), state) {
                return WorldImportError("case \(number) is held by nothing")
            }
        }
        preconditionFailure("what was noted of a case is what it says")
    }
}
