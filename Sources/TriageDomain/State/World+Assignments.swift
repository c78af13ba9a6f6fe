// Offers, leases, hand-offs and their ends: from command to events, and from event to state.

internal import TriageBase

extension World {
    // MARK: Finding

    /// The assignment that a holder names with its token.
    ///
    /// - Throws: ``DomainError/notFound(_:)``; ``DomainError/leaseNotHeld(current:)`` when the
    ///   token is not its number, it has ended or run out, or it is somebody else's.
    private func held(
        _ number: AssignmentNumber, _ token: AssignmentNumber, _ context: CommandContext
    ) throws(DomainError) -> Assignment {
        _ = try assignmentPlace(number)
        guard token == number, let held = state.heldAssignment(number.value),
            held.expiresAt > context.now
        else { throw .leaseNotHeld(current: false) }
        guard state.principals[Int(held.specialist.value)] == context.principal else {
            throw .leaseNotHeld(current: true)
        }
        return held
    }

    func assignmentPlace(_ number: AssignmentNumber) throws(DomainError) -> Int {
        guard state.assignments.indices.contains(Int(clamping: number.value)) else {
            throw .notFound(.assignment)
        }
        return Int(number.value)
    }

    private var nextAssignment: AssignmentNumber {
        AssignmentNumber(state.counters.lastAssignment.value + 1)
    }

    private func checkCap(_ principal: PrincipalIndex) throws(DomainError) {
        let limit = AssignmentRules.assignmentsPerSpecialistMax
        if indexes.held(by: principal).count >= limit { throw .tooManyAssignments(limit: limit) }
    }

    // MARK: Claims

    func claimNext(
        _ eligibility: Eligibility, _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let caller = indexes.principals.number(context.principal, in: state.principals)
        try checkCap(caller)
        var declinedCount: UInt64 = 0
        var firstDeclined: PriorityKey?
        let key = indexes.priority.firstEligible(
            eligibility, limit: AssignmentRules.declinedScanMax
        ) { key in
            guard state.cases[Int(key.number.value)].declinedBy.contains(caller) else {
                return false
            }
            declinedCount += 1
            firstDeclined = firstDeclined ?? key
            return true
        }
        guard let key else { return .nothingToClaim }
        let place = Int(key.number.value)
        // Whole lanes are counted: the exact number would mean a search in each of several hundred
        // trees, for a figure that only explains.
        let skipped = indexes.priority.passedOver(before: key, eligibility)
        var reason = skipped.first.map { AssignmentRules.skipReason($0.lane, eligibility) } ?? .none
        if let firstDeclined, firstDeclined < skipped.first?.key ?? key { reason = .declined }
        let offer = nextAssignment
        // Part of the event, so that a repeated claim is told the same, whatever has become since.
        let why = explanation(
            of: state.cases[place], skipped: UInt64(skipped.count) + declinedCount, reason)
        events.append(
            .caseOffered(
                assignment: offer, case: key.number, specialist: context.principal,
                expiresAt: offerEnd(place, context), handedOffFrom: .none, note: "",
                explanation: why))
        return .offer(offer, why)
    }

    func explanation(
        of value: Case, skipped: UInt64, _ reason: SkipReason
    ) -> ClaimExplanation {
        ClaimExplanation(
            code: value.code, governedBy: value.governedBy, level: value.level,
            effectiveDeadline: value.effectiveDeadline, skippedCount: skipped,
            firstSkipReason: reason)
    }

    private func offerEnd(_ place: Int, _ context: CommandContext) -> WallTime {
        context.now.advanced(
            byMilliseconds: AssignmentRules.offerMilliseconds(state.cases[place].level))
    }

    // MARK: Holders' commands

    func acceptCase(
        _ number: AssignmentNumber, _ token: AssignmentNumber, _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let assignment = try held(number, token, context)
        try AssignmentRules.check(.accept, from: assignment.state)
        let lease = AssignmentRules.leaseMilliseconds(level(of: assignment))
        events.append(
            .caseAccepted(
                assignment: number, expiresAt: context.now.advanced(byMilliseconds: lease)))
        return .assignmentChanged(number)
    }

    func renewLease(
        _ number: AssignmentNumber, _ token: AssignmentNumber, _ milliseconds: Int64,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let assignment = try held(number, token, context)
        try AssignmentRules.check(.renew, from: assignment.state)
        guard milliseconds >= 0 else {
            throw .invalidField(field: "lease_duration", description: "a lease cannot be negative")
        }
        let asked =
            milliseconds > 0
            ? milliseconds : AssignmentRules.leaseMilliseconds(level(of: assignment))
        let lease = min(asked, AssignmentRules.leaseMillisecondsMax)
        events.append(
            .leaseRenewed(
                assignment: number, expiresAt: context.now.advanced(byMilliseconds: lease)))
        return .assignmentChanged(number)
    }

    func releaseLease(
        _ number: AssignmentNumber, _ token: AssignmentNumber, _ reason: ReleaseReason,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let assignment = try held(number, token, context)
        try AssignmentRules.check(.release, from: assignment.state)
        guard reason != .notReleased else {
            throw .invalidField(field: "reason", description: "a release has a reason")
        }
        events.append(
            .assignmentEnded(
                assignment: number, state: assignment.state == .offered ? .declined : .released,
                reason: reason))
        return .assignmentChanged(number)
    }

    func handOffCase(
        _ number: AssignmentNumber, _ token: AssignmentNumber, to specialist: Principal,
        _ eligibility: Eligibility?, note: String, _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        guard let eligibility else {
            throw .invalidField(
                field: "specialist",
                description: "must be the identity of a specialist or lead that the policy names")
        }
        let assignment = try held(number, token, context)
        try AssignmentRules.check(.handOff, from: assignment.state)
        let place = Int(assignment.caseNumber.value)
        try CaseRules.check(.handOff, from: state.cases[place].state)
        guard specialist != context.principal else {
            throw .invalidField(field: "specialist", description: "the case is already yours")
        }
        let lane = state.cases[place].lane
        guard eligibility.covers(lane) else {
            throw .notEligible(AssignmentRules.skipReason(lane, eligibility))
        }
        let other = indexes.principals.number(specialist, in: state.principals)
        guard other == .none || !state.cases[place].declinedBy.contains(other) else {
            throw .notEligible(.declined)
        }
        try checkCap(other)
        events.append(
            .assignmentEnded(assignment: number, state: .handedOff, reason: .notReleased))
        let offer = nextAssignment
        events.append(
            .caseOffered(
                assignment: offer, case: assignment.caseNumber, specialist: specialist,
                expiresAt: offerEnd(place, context), handedOffFrom: number, note: note,
                explanation: nil))
        return .assignmentChanged(offer)
    }

    func completeCase(
        _ number: AssignmentNumber, _ token: AssignmentNumber, _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let assignment = try held(number, token, context)
        try AssignmentRules.check(.complete, from: assignment.state)
        try CaseRules.check(.complete, from: state.cases[Int(assignment.caseNumber.value)].state)
        events.append(
            .assignmentEnded(assignment: number, state: .completed, reason: .notReleased))
        return .assignmentChanged(number)
    }

    private func level(of assignment: Assignment) -> Level {
        state.cases[Int(assignment.caseNumber.value)].level
    }

    // MARK: Apply

    mutating func applyOffer(
        _ number: AssignmentNumber, _ matter: CaseNumber, _ specialist: Principal,
        _ expiresAt: WallTime, _ from: AssignmentNumber, _ note: String,
        _ explanation: ClaimExplanation?, _ header: EventHeader
    ) {
        invariant(Int(number.value) == state.assignments.endIndex, "fencing tokens have no gap")
        invariant(state.cases[Int(matter.value)].assignment == .none, "a case has one holder")
        var assignment = Assignment(
            number: number, caseNumber: matter,
            specialist: indexes.principals.intern(specialist, in: &state.principals),
            offeredAt: header.time, expiresAt: expiresAt, handedOffFrom: from, note: note,
            explanation: explanation)
        assignment.revision = header.sequence
        state.counters.lastAssignment = number
        state.assignments.append(assignment)
        indexes.hold(assignment, state)
        change(matter, header) {
            $0.assignment = number
            $0.state = .assigned
        }
    }

    mutating func applyAcceptance(
        _ number: AssignmentNumber, _ expiresAt: WallTime, _ header: EventHeader
    ) {
        let place = Int(number.value)
        state.assignments[place].state = .active
        state.assignments[place].acceptedAt = header.time
        extend(place, to: expiresAt, header)
        change(state.assignments[place].caseNumber, header) { $0.state = .inTriage }
    }

    mutating func applyRenewal(
        _ number: AssignmentNumber, _ expiresAt: WallTime, _ header: EventHeader
    ) {
        extend(Int(number.value), to: expiresAt, header)
    }

    private mutating func extend(_ place: Int, to expiresAt: WallTime, _ header: EventHeader) {
        state.assignments[place].expiresAt = expiresAt
        state.assignments[place].revision = header.sequence
        indexes.arm(Timer(.assignment(UInt64(place)), at: expiresAt), state)
    }

    mutating func applyEnd(
        _ number: AssignmentNumber, _ ending: AssignmentState, _ reason: ReleaseReason,
        _ header: EventHeader
    ) {
        let place = Int(number.value)
        invariant(state.assignments[place].state.holdsCase, "an assignment ends once")
        state.assignments[place].state = ending
        state.assignments[place].releaseReason = reason
        state.assignments[place].endedAt = header.time
        state.assignments[place].revision = header.sequence
        let assignment = state.assignments[place]
        indexes.letGo(assignment)
        change(assignment.caseNumber, header) {
            $0.assignment = .none
            if $0.state != .decided { $0.state = .queued }
            if AssignmentRules.excludes(ending, reason) {
                $0.declinedBy.append(assignment.specialist)
            }
        }
    }

    /// Forgets the oldest assignments, once they ended 24 hours ago: a repeated request may name
    /// them until then.
    mutating func trimAssignments(at now: WallTime) {
        guard let oldest = state.assignments.first, isForgettable(oldest, now) else { return }
        let end = min(state.assignments.startIndex + 8, state.assignments.endIndex)
        var place = state.assignments.startIndex
        while place < end, isForgettable(state.assignments[place], now) { place += 1 }
        state.assignments.removePrefix(upTo: place)
    }

    private func isForgettable(_ assignment: Assignment, _ now: WallTime) -> Bool {
        !assignment.state.holdsCase
            && assignment.endedAt.advanced(byMilliseconds: Limits.requestIDMilliseconds) <= now
    }
}
