// Disclosure requests: from command to events, and from event to state. The judgement itself is in
// DisclosureRules and the instrument rules.

internal import TriageBase

extension World {
    // MARK: Finding

    func disclosurePlace(_ id: DisclosureID) -> Int? {
        indexes.disclosurePlaces.value(mix64(id.value)).map { Int($0) }
    }

    /// The place of a request that somebody named.
    func place(of id: DisclosureID) throws(DomainError) -> Int {
        guard let place = disclosurePlace(id) else { throw .notFound(.disclosureRequest) }
        return place
    }

    private func place(of id: DisclosureID, etag: UInt64?) throws(DomainError) -> Int {
        let place = try place(of: id)
        if let etag, etag != state.disclosures[place].revision {
            throw .etagMismatch(.disclosureRequest)
        }
        return place
    }

    /// A caller in the World's table; `.none` when it was never seen.
    private func number(of principal: Principal) -> PrincipalIndex {
        indexes.principals.number(principal, in: state.principals)
    }

    /// An id that nothing has, from random bits.
    private func freshID(_ random: UInt64) -> DisclosureID {
        var value = random
        while value == 0 || disclosurePlace(DisclosureID(value)) != nil {
            value = mix64(value &+ 0x9E37_79B9_7F4A_7C15)
        }
        return DisclosureID(value)
    }

    // MARK: Decide

    func submitDisclosure(
        _ filing: DisclosureFiling, _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        if filing.caseNumber != .none { _ = try place(of: filing.caseNumber) }
        try DisclosureRules.check(filing, at: context.now)
        let rule = InstrumentRules.classify(filing, at: context.now)
        let id = freshID(context.random)
        events.append(
            .disclosureSubmitted(
                request: id, filing: filing, instrument: rule.key,
                clocks: DisclosureRules.clocks(rule, receivedAt: context.now)))
        // The hold comes first, so that no clock can be lost to verification.
        if let hold = DisclosureRules.preservation(rule, receivedAt: context.now) {
            events.append(
                .preservationPlaced(request: id, expiresAt: hold.expiresAt, rule: hold.rule))
        }
        return .disclosureChanged(id)
    }

    func addVerification(
        _ id: DisclosureID, _ verification: Verification, etag: UInt64?,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: id, etag: etag)
        let request = state.disclosures[place]
        try DisclosureRules.check(.verify, from: request.state)
        try DisclosureRules.checkParticipant(number(of: context.principal), of: request)
        guard request.verifications.count < Limits.verificationsPerDisclosureMax else {
            throw .tooManyVerifications(limit: Limits.verificationsPerDisclosureMax)
        }
        let resulting = DisclosureRules.resulting(
            from: request.verifications, adding: verification)
        events.append(
            .verificationAdded(request: id, verification: verification, resulting: resulting))
        return .disclosureChanged(id)
    }

    func setScope(
        _ id: DisclosureID, _ scope: Scope, etag: UInt64?, _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: id, etag: etag)
        let request = state.disclosures[place]
        try DisclosureRules.check(.scope, from: request.state)
        try DisclosureRules.checkParticipant(number(of: context.principal), of: request)
        // The rules of the day of receipt.
        let rule = InstrumentRules.rule(request.instrument, at: request.receivedAt)
        try DisclosureRules.check(scope, of: request.filing, under: rule)
        events.append(.scopeSet(request: id, scope: scope))
        return .disclosureChanged(id)
    }

    func approveDisclosure(
        _ id: DisclosureID, etag: UInt64, _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: id, etag: etag)
        let request = state.disclosures[place]
        try DisclosureRules.check(.approve, from: request.state)
        try DisclosureRules.checkApprover(number(of: context.principal), of: request)
        events.append(.disclosureApproved(request: id, scopeRevision: request.revision))
        return .disclosureChanged(id)
    }

    func rejectDisclosure(
        _ id: DisclosureID, _ rejection: Rejection, etag: UInt64?, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: id, etag: etag)
        try DisclosureRules.check(.reject, from: state.disclosures[place].state)
        events.append(.disclosureRejected(request: id, rejection: rejection))
        return .disclosureChanged(id)
    }

    // MARK: Apply

    mutating func changeDisclosure(
        _ id: DisclosureID, _ header: EventHeader, _ body: (inout DisclosureRequest) -> Void
    ) {
        guard let place = disclosurePlace(id) else {
            preconditionFailure("an event names a request that is not there")
        }
        let wasOpen = state.disclosures[place].state.isOpen
        body(&state.disclosures[place])
        state.disclosures[place].revision = header.sequence
        state.disclosures[place].updatedAt = header.time
        let isOpen = state.disclosures[place].state.isOpen
        if wasOpen && !isOpen {
            indexes.openDisclosures -= 1
            updateLegalDeadline(of: state.disclosures[place].filing.caseNumber, header)
        }
    }

    mutating func applySubmission(
        _ id: DisclosureID, _ filing: DisclosureFiling, _ instrument: String,
        _ clocks: [DisclosureClock], _ header: EventHeader
    ) {
        var request = DisclosureRequest(
            id: id, filing: filing,
            requester: indexes.principals.intern(header.principal, in: &state.principals),
            receivedAt: header.time)
        // Received and classified in one record; verification is what it waits for.
        request.state = .verifying
        request.instrument = instrument
        request.clocks = clocks
        request.revision = header.sequence
        let place = state.disclosures.endIndex
        state.disclosures.append(request)
        indexes.enter(request, at: place)
        updateLegalDeadline(of: filing.caseNumber, header)
    }

    mutating func applyPreservation(
        _ id: DisclosureID, _ expiresAt: WallTime, _ rule: String, _ header: EventHeader
    ) {
        changeDisclosure(id, header) {
            $0.preservation = Preservation(
                state: .active, placedAt: header.time, expiresAt: expiresAt, rule: rule)
        }
        guard let place = disclosurePlace(id) else { return }
        indexes.activePreservations.insert(place)
        indexes.arm(Timer(.preservation(UInt64(place)), at: expiresAt), state)
    }

    mutating func applyVerification(
        _ id: DisclosureID, _ verification: Verification, _ resulting: DisclosureState,
        _ header: EventHeader
    ) {
        var verification = verification
        verification.principal = indexes.principals.intern(
            header.principal, in: &state.principals)
        verification.verifiedAt = header.time
        changeDisclosure(id, header) {
            $0.verifications.append(verification)
            $0.state = resulting
        }
    }

    mutating func applyScope(_ id: DisclosureID, _ scope: Scope, _ header: EventHeader) {
        var scope = scope
        scope.principal = indexes.principals.intern(header.principal, in: &state.principals)
        scope.setAt = header.time
        changeDisclosure(id, header) {
            $0.replaceScope(by: scope)
            // Scoped, and at once waiting for approval: nobody has to act between.
            $0.state = .awaitingApproval
        }
    }

    mutating func applyApproval(_ id: DisclosureID, _ revision: UInt64, _ header: EventHeader) {
        let principal = indexes.principals.intern(header.principal, in: &state.principals)
        changeDisclosure(id, header) {
            $0.approval = Approval(
                principal: principal, approvedAt: header.time, scopeRevision: revision)
            $0.state = .approved
        }
    }

    mutating func applyRejection(
        _ id: DisclosureID, _ rejection: Rejection, _ header: EventHeader
    ) {
        var rejection = rejection
        rejection.principal = indexes.principals.intern(header.principal, in: &state.principals)
        rejection.rejectedAt = header.time
        changeDisclosure(id, header) {
            $0.rejection = rejection
            $0.state = .rejected
            // A rejected request keeps no hold; another request's hold is its own.
            if $0.preservation?.state == .active { $0.preservation?.state = .released }
        }
        if let place = disclosurePlace(id) { indexes.activePreservations.remove(place) }
    }

    /// Takes over the earliest handling clock of the open requests that belong to a case.
    ///
    /// It can bring the case's deadline forward. When the clock stops, the deadline stays until the
    /// level is next assessed: what was urgent for a while is not sent back behind others.
    private mutating func updateLegalDeadline(of number: CaseNumber, _ header: EventHeader) {
        guard number != .none else { return }
        var earliest = WallTime.distantFuture
        for place in indexes.disclosuresOfCase[number] ?? []
        where state.disclosures[place].state.isOpen {
            for clock in state.disclosures[place].clocks
            where clock.kind == DisclosureRules.handlingClock {
                earliest = min(earliest, clock.deadline)
            }
        }
        guard earliest != state.cases[Int(number.value)].legalDeadline else { return }
        change(number, header) {
            $0.legalDeadline = earliest
            if earliest < $0.effectiveDeadline {
                $0.effectiveDeadline = earliest
                $0.governedBy = .legal
            }
        }
    }
}

extension WorldIndexes {
    /// Enters a disclosure request.
    mutating func enter(_ request: DisclosureRequest, at place: Int) {
        disclosurePlaces.insert(mix64(request.id.value), value: UInt64(place))
        disclosuresOfRequester[request.requester, default: []].append(place)
        if request.filing.caseNumber != .none {
            disclosuresOfCase[request.filing.caseNumber, default: []].append(place)
        }
        if request.state.isOpen { openDisclosures += 1 }
        if request.preservation?.state == .active { activePreservations.insert(place) }
    }
}
