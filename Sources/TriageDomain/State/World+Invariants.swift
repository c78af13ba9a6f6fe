// The full check of a World against its own rules, for tests, simulation and the operator's offline
// inspection. It reads everything and changes nothing.

internal import TriageBase

extension World {
    /// Checks that state, indexes and rules agree.
    ///
    /// - Throws: ``BrokenInvariant`` for the first rule found broken.
    /// - Complexity: O(n log n) time, O(n) memory.
    package func checkInvariants() throws(BrokenInvariant) {
        try indexes.priority.checkInvariants()
        try checkCases()
        try checkAssignments()
        try checkDisclosures()
        try checkEvidence()
        try checkLedger()
        try checkTimers()
    }

    private func checkCases() throws(BrokenInvariant) {
        var queued = [Int](repeating: 0, count: Level.allCases.count)
        var open = queued
        var oldest = [UInt64?](repeating: nil, count: queued.count)
        for place in state.cases.indices {
            let value = state.cases[place]
            let row = Int(value.level.rawValue)
            try require(value.number.value == UInt64(place), "case \(place) has another number")
            let isFound =
                indexes.subjects.first(WorldIndexes.hash(value.subject)) { $0 == UInt64(place) }
                != nil
            try require(isFound == value.isOpen, "case \(place): subject index is off")
            try checkCase(value)
            guard value.isOpen else { continue }
            open[row] += 1
            try require(indexes.priority.contains(value.key), "case \(place) is not on the board")
            guard value.state == .queued else { continue }
            queued[row] += 1
            if oldest[row] == nil { oldest[row] = UInt64(place) }
        }
        try require(indexes.priority.count == open.reduce(0, +), "the board has other cases")
        try require(
            indexes.priority.claimableCount == queued.reduce(0, +), "lanes have other cases")
        try require(indexes.openCounts == open, "counts of open cases are off")
        try require(indexes.queuedCounts == queued, "counts of queued cases are off")
        for row in oldest.indices {
            try require(indexes.oldestQueued[row].first == oldest[row], "oldest of P\(row) is off")
        }
        try require(Int(state.counters.lastCase.value) == state.cases.count, "lastCase is off")
    }

    private func checkCase(_ value: Case) throws(BrokenInvariant) {
        let place = value.number.value
        let isHeld = value.assignment != .none
        switch value.state {
        case .received, .screened: throw BrokenInvariant("case \(place) was not queued")
        case .queued, .closed: try require(!isHeld, "case \(place) is held")
        case .assigned, .inTriage: try require(isHeld, "case \(place) is held by nobody")
        case .decided: try require(!value.decisions.isEmpty, "case \(place) has no decision")
        }
        guard isHeld else { return }
        guard let held = state.heldAssignment(value.assignment.value) else {
            throw BrokenInvariant("case \(place) is held by what has ended")
        }
        try require(
            held.caseNumber == value.number, "case \(place) is held by another's assignment")
        try require(
            value.state != .assigned || held.state == .offered, "case \(place): not an offer")
        try require(
            value.state != .inTriage || held.state == .active, "case \(place): not a lease")
    }

    private func checkAssignments() throws(BrokenInvariant) {
        var held = 0
        var holders: Set<UInt64> = []
        for assignment in state.assignments where assignment.state.holdsCase {
            held += 1
            let number = assignment.number.value
            try require(
                holders.insert(assignment.caseNumber.value).inserted,
                "case \(assignment.caseNumber.value) has two holders")
            try require(
                state.cases[Int(assignment.caseNumber.value)].assignment == assignment.number,
                "assignment \(number) holds a case that it has not")
            try require(
                indexes.held(by: assignment.specialist).contains(assignment.number),
                "assignment \(number) is not among its holder's")
        }
        try require(indexes.heldAssignments == held, "count of held assignments is off")
        try require(
            indexes.heldBy.reduce(0) { $0 + $1.count } == held, "somebody holds what has ended")
        try require(
            Int(state.counters.lastAssignment.value) == state.assignments.endIndex - 1,
            "lastAssignment is off")
    }

    private func checkDisclosures() throws(BrokenInvariant) {
        var open = 0
        for place in state.disclosures.indices {
            let request = state.disclosures[place]
            if request.state.isOpen { open += 1 }
            try require(disclosurePlace(request.id) == place, "request \(place) is not found")
            try require(
                (request.state == .approved) == (request.approval != nil),
                "request \(place): approval and state differ")
            try require(
                (request.state == .rejected) == (request.rejection != nil),
                "request \(place): rejection and state differ")
            if let approval = request.approval {
                try require(request.scope != nil, "request \(place) was approved without a scope")
                try require(
                    !request.participants.contains(approval.principal),
                    "request \(place) was approved by one person")
            }
            try checkParticipants(request, place)
        }
        try require(indexes.openDisclosures == open, "count of open requests is off")
    }

    private func checkParticipants(
        _ request: DisclosureRequest, _ place: Int
    ) throws(BrokenInvariant) {
        try require(
            Set(request.formerScopers).count == request.formerScopers.count,
            "request \(place) names a former scoper twice")
        try require(
            request.formerScopers.isEmpty || request.scope != nil,
            "request \(place) had a scope and has none")
        try require(
            request.participants.count <= Limits.participantsPerDisclosureMax
                && request.verifications.count <= Limits.verificationsPerDisclosureMax,
            "request \(place) is beyond its bounds")
    }

    private func checkEvidence() throws(BrokenInvariant) {
        var stored = 0
        var bytes = 0
        for place in state.evidence.indices {
            let evidence = state.evidence[place]
            try require(
                evidence.number.value == UInt64(place), "evidence \(place) has another number")
            try require(
                indexes.evidenceOfCase[evidence.caseNumber]?.contains(place) == true,
                "evidence \(place) is not among its case's")
            guard evidence.erasure == nil else { continue }
            stored += 1
            bytes += evidence.attachment.size
        }
        try require(indexes.storedEvidence == stored, "count of evidence is off")
        try require(indexes.storedEvidenceBytes == bytes, "bytes of evidence are off")
        try require(bytes <= Limits.vaultBytesMax, "evidence is beyond its bound")
        var active = 0
        for place in state.holds.indices {
            let hold = state.holds[place]
            try require(hold.number.value == UInt64(place), "hold \(place) has another number")
            try require(
                indexes.holdsOfCase[hold.caseNumber]?.contains(place) == true,
                "hold \(place) is not among its case's")
            try require(
                (hold.state == .released) == (hold.release != nil),
                "hold \(place): release and state differ")
            if hold.state == .active { active += 1 }
        }
        try require(indexes.activeHolds == active, "count of holds is off")
        let preserved = state.disclosures.indices.filter {
            state.disclosures[$0].preservation?.state == .active
        }
        try require(indexes.activePreservations == Set(preserved), "preservations are off")
    }

    private func checkLedger() throws(BrokenInvariant) {
        var last = WallTime.epoch
        for place in state.ledger.indices {
            let entry = state.ledger[place]
            try require(last <= entry.time, "ledger entry \(place) is out of order")
            last = entry.time
        }
        try require(indexes.ledger.count == state.ledger.count, "the ledger's index is off")
    }

    private func checkTimers() throws(BrokenInvariant) {
        let set = Set(indexes.timers.elements)
        func isSet(_ timer: Timer) throws(BrokenInvariant) {
            try require(set.contains(timer), "a timer is missing: \(timer)")
        }
        for assignment in state.assignments where assignment.state.holdsCase {
            try isSet(Timer(.assignment(assignment.number.value), at: assignment.expiresAt))
        }
        for place in state.disclosures.indices {
            guard let hold = state.disclosures[place].preservation, hold.state == .active else {
                continue
            }
            try isSet(Timer(.preservation(UInt64(place)), at: hold.expiresAt))
        }
        for place in state.holds.indices where state.holds[place].state == .active {
            try isSet(Timer(.hold(UInt64(place)), at: state.holds[place].order.expiresAt))
        }
        for place in state.cases.indices where state.cases[place].awaitsLegalClock {
            try isSet(Timer(.legalClock(UInt64(place)), at: state.cases[place].legalDeadline))
        }
        if let first = indexes.timers.first {
            try require(state.isCurrent(first), "the first timer is stale")
        }
    }
}

private func require(
    _ condition: Bool, _ text: @autoclosure () -> String
) throws(BrokenInvariant) {
    if !condition { throw BrokenInvariant(text()) }
}
