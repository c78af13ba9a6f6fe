// The whole state of the service and the two things that can be done with it: decide what a command
// leads to, and apply what happened. Deterministic: no clock, no randomness, no I/O of its own.

package import TriageBase

/// What a command leads to, before it is on disk.
package enum Decision: Sendable {
    /// The request id was answered before; nothing happens.
    case repeated(LedgerAnswer)
    /// A report was taken in.
    case receipt(case: CaseNumber, report: ReportNumber, opened: Bool)
    case caseChanged(CaseNumber)
    case offer(AssignmentNumber, ClaimExplanation)
    /// Nothing that the caller may take is queued; nothing happens, and the request id stays
    /// unused.
    case nothingToClaim
    case assignmentChanged(AssignmentNumber)
    case disclosureChanged(DisclosureID)
    case evidenceChanged(EvidenceNumber)
    case holdChanged(HoldNumber)
    case textsErased(CaseNumber)
    case keyRecorded(KeyAnswer)
    case snapshotRecorded(SnapshotAnswer)
    /// Something was written down that changes no resource that can be named (a read, timers). No
    /// event means that there was nothing to do.
    case recorded
}

/// All state, and the rules over it.
///
/// ```
///   decide(command, context) -> events, decision      changes nothing
///   apply(events, header)                             never fails on what decide gave
///   outcome(of: decision)                             right after apply, for the reply
/// ```
///
/// A record that decide left without events is not to be journaled. One writer; ``snapshotState``
/// is what another thread may have.
///
/// - Isolation: engine.
package struct World: ~Copyable, Sendable {
    var state: WorldState
    var indexes: WorldIndexes

    /// Makes an empty World.
    package init() {
        state = WorldState()
        indexes = WorldIndexes()
    }

    init(state: WorldState, indexes: consuming WorldIndexes) {
        self.state = state
        self.indexes = indexes
    }

    /// A copy of all that a snapshot holds; a few retains, readable on another thread.
    package var snapshotState: WorldState { state }

    /// Makes all that was not kept up while a journal was replayed: a World of
    /// ``WorldBuilder/beginReplay()`` is for ``apply(_:_:)`` alone until then.
    ///
    /// - Parameters:
    ///   - casesPerPart: Cases of one piece of it: enough pieces to keep several processors busy to
    ///     the end.
    ///   - run: Runs the pieces; without, they come one after the other.
    /// - Complexity: O(n log n); about a quarter of a second for a million cases.
    package mutating func finishReplay(
        casesPerPart: Int = 1 << 15, _ run: Concurrently = { for piece in $0 { piece() } }
    ) {
        indexes.finishReplay(state, casesPerPart: casesPerPart, run)
    }

    // MARK: Decide

    /// Decides what a command leads to, and changes nothing.
    ///
    /// - Parameters:
    ///   - command: What is asked; checked in form, its caller authorised.
    ///   - context: Who asks, when, under which request id.
    ///   - events: What happens is appended here; nothing on an error.
    /// - Returns: What to answer, once the events are applied and durable.
    /// - Throws: ``DomainError`` when the rules refuse it.
    package func decide(
        _ command: Command, _ context: CommandContext, into events: inout [Event]
    ) throws(DomainError) -> Decision {
        if let answer = try repeatedAnswer(context) { return .repeated(answer) }
        switch command {
        case .submitReport(let facts, let content):
            return try submitReport(facts, content, context, &events)
        case .answerProtocol(let number, let answers, let reason, let token, let etag):
            return try answerProtocol(
                number, answers, reason, token: token, etag: etag, context, &events)
        case .decideCase(let number, let decision, let token, let etag):
            return try decideCase(number, decision, token: token, etag: etag, context, &events)
        case .closeCase(let number, let token, let liveRiskEnded, let etag):
            return try closeCase(
                number, token: token, liveRiskEnded: liveRiskEnded, etag: etag, context, &events)
        case .reopenCase(let number, let reason, let etag):
            return try reopenCase(number, reason, etag: etag, &events)
        case .claimNext(let eligibility):
            return try claimNext(eligibility, context, &events)
        case .acceptCase(let number, let token):
            return try acceptCase(number, token, context, &events)
        case .renewLease(let number, let token, let milliseconds):
            return try renewLease(number, token, milliseconds, context, &events)
        case .releaseLease(let number, let token, let reason):
            return try releaseLease(number, token, reason, context, &events)
        case .handOffCase(let number, let token, let specialist, let eligibility, let note):
            return try handOffCase(
                number, token, to: specialist, eligibility, note: note, context, &events)
        case .completeCase(let number, let token):
            return try completeCase(number, token, context, &events)
        case .submitDisclosureRequest(let filing):
            return try submitDisclosure(filing, context, &events)
        case .addVerification(let id, let verification, let etag):
            return try addVerification(id, verification, etag: etag, context, &events)
        case .setScope(let id, let scope, let etag):
            return try setScope(id, scope, etag: etag, context, &events)
        case .approveDisclosure(let id, let etag):
            return try approveDisclosure(id, etag: etag, context, &events)
        case .rejectDisclosure(let id, let rejection, let etag):
            return try rejectDisclosure(id, rejection, etag: etag, &events)
        case .attachEvidence(let matter, let attachment):
            return try attachEvidence(matter, attachment, &events)
        case .eraseEvidence(let matter, let number, let erasure, let identities):
            return try eraseEvidence(matter, number, erasure, identities, context, &events)
        case .eraseReportTexts(let matter, let erasure, let identities):
            return try eraseReportTexts(matter, erasure, identities, context, &events)
        case .placeHold(let matter, let order):
            return try placeHold(matter, order, context, &events)
        case .releaseHold(let matter, let number, let release):
            return try releaseHold(matter, number, release, &events)
        case .recordKey(let made):
            events.append(.keyRenewed(made))
            return .keyRecorded(made)
        case .recordSnapshot(let taken):
            events.append(.snapshotTaken(taken))
            return .snapshotRecorded(taken)
        case .recordRead(let read):
            return try recordRead(read, &events)
        case .fireTimers:
            fireTimers(at: context.now, &events)
            return .recorded
        }
    }

    /// Brings what a report's command looks up first into the processor's cache.
    ///
    /// The ledger and the subjects are large and are read at random: each of the two costs a wait
    /// for memory. Called for some commands before the first of them is decided, the processor
    /// waits for all of those at once. It changes nothing that can be seen.
    ///
    /// - Parameters:
    ///   - principal: Who asks.
    ///   - id: The request's.
    ///   - subject: What the report is about.
    @inline(__always)
    package mutating func expect(
        _ principal: Principal, _ id: RequestID, about subject: Hash128
    ) {
        indexes.glance(atKey: RequestLedger.key(principal, id), subject: subject)
    }

    /// The first answer to the context's request id, if there was one within 24 hours.
    ///
    /// - Throws: ``DomainError/requestIDReused``.
    package func repeatedAnswer(_ context: CommandContext) throws(DomainError) -> LedgerAnswer? {
        guard !context.requestID.isNone else { return nil }
        let key = RequestLedger.key(context.principal, context.requestID)
        guard let entry = indexes.ledger.entry(key, at: context.now, in: state.ledger) else {
            return nil
        }
        guard entry.fingerprint == context.fingerprint else { throw .requestIDReused }
        return entry.answer
    }

    private func recordRead(
        _ read: SensitiveRead, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        switch read.target {
        case .case(let number): _ = try place(of: number)
        case .disclosure(let id): _ = try place(of: id)
        case .evidence(let matter, let number): _ = try evidence(number, of: matter)
        }
        events.append(.sensitiveRead(read))
        return .recorded
    }

    // MARK: Apply

    /// Makes what happened so.
    ///
    /// - Parameters:
    ///   - events: Of one journal record, in order.
    ///   - header: The record's; sequences rise, times never fall.
    /// - Precondition: The events follow from this World; otherwise the process traps.
    package mutating func apply(_ events: [Event], _ header: EventHeader) {
        apply(events.span, header)
    }

    /// Makes what happened so: as above, the events standing among others.
    package mutating func apply(_ events: ArraySlice<Event>, _ header: EventHeader) {
        apply(events.span, header)
    }

    private mutating func apply(_ events: Span<Event>, _ header: EventHeader) {
        invariant(header.sequence > state.counters.sequence, "journal sequences rise")
        state.counters.sequence = header.sequence
        state.counters.time = max(state.counters.time, header.time)
        for index in events.indices { apply(events[index], header) }
        indexes.ledger.forget(at: header.time, in: &state.ledger)
        if !header.requestID.isNone, !events.isEmpty,
            let answer = answer(to: events[events.count - 1], header)
        {
            let entry = LedgerEntry(
                key: RequestLedger.key(header.principal, header.requestID),
                fingerprint: header.fingerprint, time: header.time, answer: answer)
            indexes.ledger.record(entry, in: &state.ledger)
        }
        trimAssignments(at: header.time)
        indexes.settleTimers(state)
    }

    private mutating func apply(_ event: Event, _ header: EventHeader) {
        switch event {
        case .reportReceived(
            let number, let report, let opened, let facts, let assessment, let content):
            applyReport(number, report, opened: opened, facts, assessment, content, header)
        case .protocolAnswered(
            let number, let answers, let answered, let resulting, let reason, let pending):
            applyAnswers(number, answers, answered, resulting, reason, pending, header)
        case .caseDecided(let number, let decision): applyDecision(number, decision, header)
        case .caseClosed(let number): applyClosing(number, header)
        case .caseReopened(let number, let reason): applyReopening(number, reason, header)
        case .legalClockDue(let number): change(number, header) { _ in }
        case .caseOffered(
            let number, let matter, let specialist, let expiresAt, let from, let note, let why):
            applyOffer(number, matter, specialist, expiresAt, from, note, why, header)
        case .caseAccepted(let number, let expiresAt): applyAcceptance(number, expiresAt, header)
        case .leaseRenewed(let number, let expiresAt): applyRenewal(number, expiresAt, header)
        case .assignmentEnded(let number, let ending, let reason):
            applyEnd(number, ending, reason, header)
        case .disclosureSubmitted(let id, let filing, let instrument, let clocks):
            applySubmission(id, filing, instrument, clocks, header)
        case .preservationPlaced(let id, let expiresAt, let rule):
            applyPreservation(id, expiresAt, rule, header)
        case .preservationExpired(let id):
            changeDisclosure(id, header) { $0.preservation?.state = .expired }
            if let place = disclosurePlace(id) { indexes.activePreservations.remove(place) }
        case .verificationAdded(let id, let verification, let resulting):
            applyVerification(id, verification, resulting, header)
        case .scopeSet(let id, let scope): applyScope(id, scope, header)
        case .disclosureApproved(let id, let revision): applyApproval(id, revision, header)
        case .disclosureRejected(let id, let rejection): applyRejection(id, rejection, header)
        case .evidenceAttached(let matter, let number, let attachment):
            applyAttachment(matter, number, attachment, header)
        case .evidenceErased(let number, let erasure): applyErasure(number, erasure, header)
        case .reportTextsErased(let matter, _): applyTextErasure(matter, header)
        case .holdPlaced(let matter, let number, let order):
            applyHold(matter, number, order, header)
        case .holdReleased(let number, let release): applyRelease(number, release, header)
        case .holdExpired(let number): changeHold(number, header) { $0.state = .expired }
        case .sensitiveRead, .snapshotTaken, .keyRenewed: break
        }
    }

    /// What a repeat of the request that led to this record's last event is answered with.
    private func answer(to event: Event, _ header: EventHeader) -> LedgerAnswer? {
        switch event {
        case .reportReceived(let number, let report, let opened, _, let assessment, _):
            .receipt(
                ReportReceipt(
                    caseNumber: number, report: report, opened: opened, level: assessment.level,
                    revision: header.sequence, receivedAt: header.time))
        case .protocolAnswered(let number, _, _, _, _, _), .caseDecided(let number, _),
            .caseClosed(let number), .caseReopened(let number, _), .legalClockDue(let number):
            .changedCase(number)
        case .caseOffered(let number, _, _, _, let from, _, _):
            from == .none ? .offer(number) : .changedAssignment(number)
        case .caseAccepted(let number, _), .leaseRenewed(let number, _),
            .assignmentEnded(let number, _, _):
            .changedAssignment(number)
        case .disclosureSubmitted(let id, _, _, _), .preservationPlaced(let id, _, _),
            .preservationExpired(let id), .verificationAdded(let id, _, _), .scopeSet(let id, _),
            .disclosureApproved(let id, _), .disclosureRejected(let id, _):
            .changedDisclosure(id)
        case .evidenceAttached(_, let number, _), .evidenceErased(let number, _):
            .evidence(number)
        case .reportTextsErased(let matter, _): .erasedTexts(matter)
        case .holdPlaced(_, let number, _), .holdReleased(let number, _),
            .holdExpired(let number):
            .hold(number)
        case .keyRenewed(let made): .key(made)
        case .snapshotTaken(let taken): .snapshot(taken)
        case .sensitiveRead: nil
        }
    }

    // MARK: Outcome

    /// The reply to a decision, from the World as it is now.
    ///
    /// Call it right after ``apply(_:_:)`` of the same record, or after decide for a repeat.
    package func outcome(of decision: Decision) -> Outcome {
        switch decision {
        case .repeated(.receipt(let receipt)): return .receipt(receipt)
        case .receipt(let number, let report, let opened):
            let place = Int(number.value)
            return .receipt(
                ReportReceipt(
                    caseNumber: number, report: report, opened: opened,
                    level: state.cases[place].level, revision: state.cases[place].revision,
                    receivedAt: state.cases[place].updatedAt))
        case .caseChanged(let number), .repeated(.changedCase(let number)):
            return .changedCase(caseView(Int(number.value), full: true))
        case .offer(let number, let explanation):
            let offered = state.assignments[Int(number.value)]
            return .offer(
                assignmentView(offered), caseView(Int(offered.caseNumber.value), full: false),
                explanation)
        case .repeated(.offer(let number)):
            let offered = state.assignments[Int(number.value)]
            let place = Int(offered.caseNumber.value)
            return .offer(
                assignmentView(offered), caseView(place, full: false),
                offered.explanation ?? explanation(of: state.cases[place], skipped: 0, .none))
        case .nothingToClaim: return .nothingToClaim
        case .assignmentChanged(let number), .repeated(.changedAssignment(let number)):
            return .changedAssignment(assignmentView(state.assignments[Int(number.value)]))
        case .disclosureChanged(let id), .repeated(.changedDisclosure(let id)):
            guard let place = disclosurePlace(id) else {
                preconditionFailure("a decision names a request that is not there")
            }
            return .changedDisclosure(disclosureView(place))
        case .evidenceChanged(let number), .repeated(.evidence(let number)):
            return .evidence(evidenceView(Int(number.value)))
        case .holdChanged(let number), .repeated(.hold(let number)):
            return .hold(holdView(Int(number.value)))
        case .textsErased(let matter), .repeated(.erasedTexts(let matter)):
            let value = state.cases[Int(matter.value)]
            return .erasedTexts(
                matter, reportCount: value.reportCount, revision: value.revision)
        case .keyRecorded(let made), .repeated(.key(let made)): return .key(made)
        case .snapshotRecorded(let taken), .repeated(.snapshot(let taken)):
            return .snapshot(taken)
        case .recorded, .repeated(.recorded): return .recorded
        }
    }
}
