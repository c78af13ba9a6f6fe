// What a disclosure request must contain, how it moves, and who may do what to it. Pure functions;
// the law itself is data in LegalBasis.swift.

internal import TriageBase

/// What a disclosure request must contain, how it moves, and who may do what to it.
package enum DisclosureRules {
    // MARK: States

    /// What can be asked of a request, and in which states.
    enum Action: CaseIterable {
        case verify
        case scope
        case approve
        case reject

        /// Where it is allowed.
        var allowed: [DisclosureState] {
            switch self {
            case .verify: [.verifying]
            // Setting it again replaces it, and what was read for approval is no longer current.
            case .scope: [.legalReview, .scoped, .awaitingApproval]
            case .approve: [.awaitingApproval]
            case .reject: DisclosureState.allCases.filter(\.isOpen)
            }
        }

        /// What it leads to, for the error.
        var goal: String {
            switch self {
            case .verify: "VERIFIED"
            case .scope: "SCOPED"
            case .approve: "APPROVED"
            case .reject: "REJECTED"
            }
        }
    }

    /// Refuses what the state does not allow.
    static func check(_ action: Action, from state: DisclosureState) throws(DomainError) {
        if action.allowed.contains(state) { return }
        throw .illegalTransition(
            resource: .disclosureRequest, from: state.text, to: action.goal,
            allowed: action.allowed.map(\.text))
    }

    // MARK: Filing

    /// Checks the required content of a request.
    ///
    /// - Throws: ``DomainError/invalidField(field:description:)`` naming the first field at fault,
    ///   and in its description all others, so that one round trip is enough.
    static func check(_ filing: DisclosureFiling, at now: WallTime) throws(DomainError) {
        var problems: [(field: String, description: String)] = []
        func require(_ condition: Bool, _ field: String, _ description: String) {
            if !condition { problems.append((field, description)) }
        }
        switch filing.kind {
        case .emergency: checkEmergency(filing, require)
        case .legalProcess:
            require(filing.legalProcess != nil, "legal_process", "name the process")
        case .preservation: break
        }
        if let process = filing.legalProcess {
            require(!process.citation.isEmpty, "legal_process.citation", "cite it verbatim")
            require(!process.offence.isEmpty, "legal_process.offence", "name the offence")
        }
        require(!filing.agency.name.isEmpty, "agency.name", "name the agency")
        require(!filing.officer.name.isEmpty, "officer.name", "name the officer")
        require(!filing.identifiers.isEmpty, "subject_identifiers", "name at least one")
        require(!filing.dataRequests.isEmpty, "data_requests", "ask for at least one category")
        for (index, request) in filing.dataRequests.enumerated() {
            let field = "data_requests[\(index)]"
            require(!request.justification.isEmpty, field + ".justification", "say why")
            require(request.start < request.end, field + ".end_time", "must be after start_time")
            // Historic data only: nothing is watched for anybody.
            require(request.end <= now, field + ".end_time", "must not be in the future")
        }
        guard let first = problems.first else { return }
        let others = problems.dropFirst().map { "\($0.field): \($0.description)" }
        throw .invalidField(
            field: first.field, description: ([first.description] + others).joined(separator: "; "))
    }

    private static func checkEmergency(
        _ filing: DisclosureFiling, _ require: (Bool, String, String) -> Void
    ) {
        require(
            filing.officer.sworn, "officer.sworn", "an emergency is declared by a sworn officer")
        guard let emergency = filing.emergency else {
            require(false, "emergency", "say what the danger is")
            return
        }
        require(
            emergency.dangerToLifeDeclared, "emergency.danger_to_life_declared",
            "declare danger of death or serious physical injury")
        require(emergency.onLetterhead, "emergency.on_letterhead", "hand it in on letterhead")
        require(!emergency.summary.isEmpty, "emergency.summary", "say what is happening")
        require(!emergency.personInDanger.isEmpty, "emergency.person_in_danger", "say who")
        require(!emergency.necessity.isEmpty, "emergency.necessity", "say how the data will help")
        require(
            emergency.neededBy == .epoch || !emergency.neededByReason.isEmpty,
            "emergency.needed_by_reason", "say why by then")
    }

    /// The clocks that a request starts.
    ///
    /// Beside each statutory clock runs `handling`, by whose end work has to begin so that the
    /// statutory one can be kept: it is what orders a linked case.
    static func clocks(_ rule: InstrumentRule, receivedAt: WallTime) -> [DisclosureClock] {
        var clocks: [DisclosureClock] = []
        for clock in rule.clocks {
            let deadline = receivedAt.advanced(byMilliseconds: clock.milliseconds)
            clocks.append(DisclosureClock(kind: clock.kind, deadline: deadline, rule: rule.key))
            if clock.isStatutory {
                let begin = deadline.advanced(byMilliseconds: -clock.allowanceMilliseconds)
                clocks.append(
                    DisclosureClock(kind: handlingClock, deadline: begin, rule: rule.key))
            }
        }
        return clocks
    }

    /// The kind of the clock that orders a linked case.
    package static let handlingClock = "handling"

    /// The hold that a request places on receipt, before anything is verified; nil when none.
    static func preservation(
        _ rule: InstrumentRule, receivedAt: WallTime
    ) -> (expiresAt: WallTime, rule: String)? {
        guard let key = rule.preservedUnder, let hold = InstrumentRules.rule(key, at: receivedAt),
            let period = hold.preservation
        else { return nil }
        return (receivedAt.advanced(byMilliseconds: period.periodMilliseconds), key)
    }

    // MARK: Verification

    /// Where a verification step leads.
    ///
    /// Two passed steps by different methods, one of them out of band, verify the requester; a
    /// failed step ends verification. Verified and legal review are one record: nobody has to act
    /// between.
    static func resulting(
        from earlier: [Verification], adding step: Verification
    ) -> DisclosureState {
        if step.outcome == .failed { return .verificationFailed }
        var methods = Set(earlier.filter { $0.outcome == .passed }.map(\.method))
        methods.insert(step.method)
        let outOfBand = methods.contains { $0.isOutOfBand }
        return methods.count >= 2 && outOfBand ? .legalReview : .verifying
    }

    // MARK: Scope

    /// Refuses a scope that is wider than what was asked for, or than what its basis reaches.
    ///
    /// - Parameters:
    ///   - scope: What may leave, at most.
    ///   - filing: What was asked for.
    ///   - rule: The instrument under which the request was classified.
    /// - Throws: ``DomainError/invalidField(field:description:)`` for the first item at fault.
    static func check(
        _ scope: Scope, of filing: DisclosureFiling, under rule: InstrumentRule?
    ) throws(DomainError) {
        guard let rule, !rule.reaches.isEmpty else {
            throw .invalidField(
                field: "scope", description: "a preservation holds data and discloses none")
        }
        guard let reach = rule.reaches.first(where: { $0.basis == scope.legalBasis }) else {
            throw .invalidField(
                field: "scope.legal_basis", description: "not a basis of \(rule.key)")
        }
        if reach.needsGoodFaithFinding && scope.goodFaithFinding.isEmpty {
            throw .invalidField(
                field: "scope.good_faith_finding", description: "this basis needs a finding")
        }
        if scope.items.isEmpty {
            throw .invalidField(field: "scope.items", description: "name at least one")
        }
        for (index, item) in scope.items.enumerated() {
            let field = "scope.items[\(index)]"
            guard filing.identifiers.indices.contains(item.subjectIndex) else {
                throw .invalidField(
                    field: field + ".subject_index", description: "no such identifier was asked for"
                )
            }
            guard reach.categories.contains(item.category) else {
                throw .invalidField(
                    field: field + ".category", description: "the legal basis does not reach it")
            }
            let asked = filing.dataRequests.filter { $0.category == item.category }
            guard !asked.isEmpty else {
                throw .invalidField(
                    field: field + ".category", description: "this category was not asked for")
            }
            guard item.start < item.end,
                asked.contains(where: { $0.start <= item.start && item.end <= $0.end })
            else {
                throw .invalidField(
                    field: field + ".start_time",
                    description: "the period must lie within one that was asked for")
            }
        }
    }

    // MARK: Approval

    /// Refuses a further person once as many took part as are remembered.
    ///
    /// Whoever took part before may go on.
    static func checkParticipant(
        _ caller: PrincipalIndex, of request: DisclosureRequest
    ) throws(DomainError) {
        let limit = Limits.participantsPerDisclosureMax
        let participants = request.participants
        if participants.count >= limit, !participants.contains(caller) {
            throw .tooManyParticipants(limit: limit)
        }
    }

    /// Refuses an approval by somebody who ever filed, verified or scoped the request.
    static func checkApprover(
        _ caller: PrincipalIndex, of request: DisclosureRequest
    ) throws(DomainError) {
        if request.participants.contains(caller) {
            throw .secondPersonRequired(action: "approve")
        }
    }
}

extension DisclosureState {
    /// Neither approved nor rejected.
    package var isOpen: Bool {
        switch self {
        case .approved, .rejected: false
        case .received, .classified, .verifying, .verified, .legalReview, .scoped,
            .awaitingApproval, .verificationFailed:
            true
        }
    }

    /// As the API names it, without the prefix.
    package var text: String {
        switch self {
        case .received: "RECEIVED"
        case .classified: "CLASSIFIED"
        case .verifying: "VERIFYING"
        case .verified: "VERIFIED"
        case .legalReview: "LEGAL_REVIEW"
        case .scoped: "SCOPED"
        case .awaitingApproval: "AWAITING_APPROVAL"
        case .approved: "APPROVED"
        case .verificationFailed: "VERIFICATION_FAILED"
        case .rejected: "REJECTED"
        }
    }
}
