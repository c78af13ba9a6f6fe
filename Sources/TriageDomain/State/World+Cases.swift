// Reports, answers, decisions, closing and reopening: from command to events, and from event to
// state. The judgement itself is in CaseRules.

internal import TriageBase

extension World {
    // MARK: Finding

    /// The place of a case that somebody named.
    func place(of number: CaseNumber) throws(DomainError) -> Int {
        guard number != .none, number.value < UInt64(state.cases.endIndex) else {
            throw .notFound(.case)
        }
        return Int(number.value)
    }

    /// The place of a case, if the etag is the one that the caller saw.
    func place(of number: CaseNumber, etag: UInt64?) throws(DomainError) -> Int {
        let place = try place(of: number)
        if let etag, etag != state.cases[place].revision { throw .etagMismatch(.case) }
        return place
    }

    /// The newest open case about a subject.
    ///
    /// There is one at most, but for a case that was reopened after another had begun.
    func openCase(about subject: Hash128) -> CaseNumber? {
        var newest: UInt64 = 0
        _ = indexes.subjects.first(WorldIndexes.hash(subject)) { number in
            if number > newest, state.cases[Int(number)].subject == subject { newest = number }
            return false
        }
        return newest == 0 ? nil : CaseNumber(newest)
    }

    /// True when the caller shows the current, accepted and running lease of a case.
    ///
    /// - Throws: ``DomainError/leaseNotHeld(current:)`` for a token that is not that of the current
    ///   assignment, or is somebody else's.
    func showsLease(
        _ place: Int, token: AssignmentNumber, _ context: CommandContext
    ) throws(DomainError) -> Bool {
        guard token != .none else { return false }
        guard token == state.cases[place].assignment,
            let held = state.heldAssignment(token.value), held.expiresAt > context.now
        else { throw .leaseNotHeld(current: false) }
        guard state.principals[Int(held.specialist.value)] == context.principal else {
            throw .leaseNotHeld(current: true)
        }
        return held.state == .active
    }

    // MARK: Decide

    func submitReport(
        _ facts: ReportFacts, _ content: [UInt8], _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let report = ReportNumber(state.counters.lastReport.value + 1)
        guard let number = openCase(about: facts.subject) else {
            let number = CaseNumber(UInt64(state.cases.endIndex))
            let opened = CaseRules.open(facts, at: context.now)
            events.append(
                .reportReceived(
                    case: number, report: report, opened: true, facts: opened.facts,
                    assessment: opened.assessment, content: content))
            return .receipt(case: number, report: report, opened: true)
        }
        let place = Int(number.value)
        guard state.cases[place].reportCount < Limits.reportsPerCaseMax else {
            throw .tooManyReports(limit: Limits.reportsPerCaseMax)
        }
        let joined = CaseRules.join(facts, to: state.cases[place])
        events.append(
            .reportReceived(
                case: number, report: report, opened: false, facts: joined.facts,
                assessment: joined.assessment, content: content))
        return .receipt(case: number, report: report, opened: false)
    }

    func answerProtocol(
        _ number: CaseNumber, _ answers: ProtocolAnswers, _ reason: String, token: AssignmentNumber,
        etag: UInt64?, _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: number, etag: etag)
        let holds = try showsLease(place, token: token, context)
        try CaseRules.check(.answer, from: state.cases[place].state)
        let result = try CaseRules.answer(
            answers, reason: reason, on: state.cases[place], holds: holds,
            caller: indexes.principals.number(context.principal, in: state.principals))
        events.append(
            .protocolAnswered(
                case: number, answers: answers, answered: result.answered,
                resulting: result.resulting, lowerReason: reason,
                pendingLowering: result.pendingLowering))
        return .caseChanged(number)
    }

    func decideCase(
        _ number: CaseNumber, _ decision: CaseDecision, token: AssignmentNumber, etag: UInt64?,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: number, etag: etag)
        let holds = try showsLease(place, token: token, context)
        try CaseRules.check(.decide, from: state.cases[place].state)
        guard holds else { throw .leaseNotHeld(current: false) }
        guard !decision.policyVersion.isEmpty else {
            throw .invalidField(
                field: "decision.policy_version", description: "a decision names its policy")
        }
        placeHold(following: decision, of: place, context, &events)
        events.append(.caseDecided(case: number, decision: decision))
        return .caseChanged(number)
    }

    func closeCase(
        _ number: CaseNumber, token: AssignmentNumber, liveRiskEnded: Bool, etag: UInt64?,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: number, etag: etag)
        let holds = try showsLease(place, token: token, context)
        try CaseRules.check(.close, from: state.cases[place].state)
        let assignment = state.cases[place].assignment
        guard holds || assignment == .none else { throw .leaseNotHeld(current: false) }
        try CaseRules.checkClosing(state.cases[place], liveRiskEnded: liveRiskEnded)
        if assignment != .none {
            events.append(
                .assignmentEnded(assignment: assignment, state: .completed, reason: .notReleased))
        }
        events.append(.caseClosed(case: number))
        return .caseChanged(number)
    }

    func reopenCase(
        _ number: CaseNumber, _ reason: String, etag: UInt64?, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: number, etag: etag)
        try CaseRules.check(.reopen, from: state.cases[place].state)
        let assignment = state.cases[place].assignment
        if assignment != .none {
            events.append(
                .assignmentEnded(assignment: assignment, state: .revoked, reason: .notReleased))
        }
        events.append(.caseReopened(case: number, reason: reason))
        return .caseChanged(number)
    }

    // MARK: Apply

    /// Changes a case, stamps it, and keeps the indexes in step.
    mutating func change(
        _ number: CaseNumber, _ header: EventHeader, _ body: (inout Case) -> Void
    ) {
        let place = Int(number.value)
        let old = indexes.isDeferred ? nil : CasePlace(state.cases[place])
        body(&state.cases[place])
        state.cases[place].revision = header.sequence
        state.cases[place].updatedAt = header.time
        guard let old else { return }
        let new = CasePlace(state.cases[place])
        indexes.move(from: old, to: new, state)
    }

    mutating func applyReport(
        _ number: CaseNumber, _ report: ReportNumber, opened: Bool, _ facts: ReportFacts,
        _ assessment: Assessment, _ content: [UInt8], _ header: EventHeader
    ) {
        state.counters.lastReport = report
        let stored = StoredReport(
            number: report, receivedAt: header.time,
            submitter: indexes.principals.intern(header.principal, in: &state.principals),
            content: content)
        guard opened else {
            change(number, header) { $0.join(stored, facts, assessment) }
            return
        }
        invariant(Int(number.value) == state.cases.endIndex, "case numbers have no gap")
        var value = Case(
            number: number, facts: facts, level: assessment.level, code: assessment.code,
            first: stored)
        // Received, screened and queued in one record: rules screen without waiting.
        value.state = .queued
        value.take(assessment)
        value.revision = header.sequence
        state.counters.lastCase = number
        let place = indexes.isDeferred ? nil : CasePlace(value)
        state.cases.append(consume value)
        if let place { indexes.enter(place, state) }
    }

    mutating func applyAnswers(
        _ number: CaseNumber, _ answers: ProtocolAnswers, _ answered: Assessment,
        _ resulting: Assessment, _ reason: String, _ pending: Level?, _ header: EventHeader
    ) {
        let principal = indexes.principals.intern(header.principal, in: &state.principals)
        change(number, header) {
            $0.rounds.append(
                ProtocolRound(
                    answers: answers, level: answered.level, code: answered.code,
                    principal: principal, answeredAt: header.time, lowerReason: reason))
            $0.take(resulting)
            $0.pendingLowering =
                pending.map {
                    [PendingLowering(level: $0, proposer: principal, proposedAt: header.time)]
                } ?? []
        }
    }

    mutating func applyDecision(
        _ number: CaseNumber, _ decision: CaseDecision, _ header: EventHeader
    ) {
        var decision = decision
        decision.principal = indexes.principals.intern(header.principal, in: &state.principals)
        decision.decidedAt = header.time
        change(number, header) {
            $0.decisions.append(decision)
            $0.state = .decided
        }
    }

    mutating func applyReopening(_ number: CaseNumber, _ reason: String, _ header: EventHeader) {
        let principal = indexes.principals.intern(header.principal, in: &state.principals)
        change(number, header) {
            $0.state = .queued
            if $0.reopenings.count == Limits.reopeningsPerCaseMax { $0.reopenings.removeFirst() }
            $0.reopenings.append(
                Reopening(reason: reason, principal: principal, reopenedAt: header.time))
        }
    }

    mutating func applyClosing(_ number: CaseNumber, _ header: EventHeader) {
        change(number, header) {
            $0.state = .closed
            // Closing asserts that the live risk is over, and settles what waited for a second
            // person.
            $0.live = false
            $0.pendingLowering = []
        }
    }
}

extension Case {
    /// Takes over a level and the place that it gives.
    mutating func take(_ assessment: Assessment) {
        level = assessment.level
        code = assessment.code
        modifiers = assessment.code.modifiers
        effectiveDeadline = assessment.effectiveDeadline
        governedBy = assessment.governedBy
    }

    /// Takes in a further report.
    mutating func join(_ report: StoredReport, _ facts: ReportFacts, _ assessment: Assessment) {
        // News that the proposer of a lowering did not have.
        if assessment.level < level || assessment.code.modifiers != modifiers
            || facts.family != code.family || facts.live != live
        {
            pendingLowering = []
        }
        more.append(report)
        clearance = facts.clearance
        language = facts.language
        region = facts.region
        routing = facts.routing
        live = facts.live
        take(assessment)
    }
}
