// What may happen to a case and what follows from it: targets, order, joining, raising and
// lowering, the guards of deciding, closing and reopening. Pure functions of what they are given.

internal import TriageBase

/// Service targets: the first human touch, by level.
///
/// Not law. Manchester-style spacing. Source: domain reference §8.2 (proposal).
package enum Targets {
    /// Changes with any figure.
    package static let version = "2026-11"

    /// How long after receipt somebody has to have looked.
    package static func milliseconds(_ level: Level) -> Int64 {
        switch level {
        case .p0: 2 * 60_000
        case .p1: 10 * 60_000
        case .p2: 60 * 60_000
        case .p3: 120 * 60_000
        case .p4: 240 * 60_000
        }
    }
}

extension CasePlace {
    /// True until the case is closed.
    var isOpen: Bool { state != .closed }

    /// 0 for P0; 1 for P1 and for a case whose legal clock has come within its handling allowance;
    /// 2 for the rest.
    ///
    /// Depends on the time of the last event and not on now: the event
    /// ``Event/legalClockDue(case:)`` promotes it.
    var band: Int {
        switch level {
        case .p0: 0
        case .p1: 1
        case .p2, .p3, .p4: legalDeadline <= updatedAt ? 1 : 2
        }
    }

    /// The case's place in the total order.
    var key: PriorityKey {
        PriorityKey(
            band: band, effectiveDeadline: effectiveDeadline, modifierCount: modifiers.count,
            number: number)
    }

    /// Who may take the case.
    var lane: Lane {
        Lane(
            family: Int(family.rawValue), language: language.rawValue,
            clearance: Int(clearance.rawValue), region: Int(routing.rawValue))
    }

    /// Where the case stands in the index while it is open.
    var standing: Standing { isQueued ? .claimable(lane) : .held }

    /// True while a legal clock has yet to promote the case.
    var awaitsLegalClock: Bool {
        isOpen && level > .p1 && legalDeadline > updatedAt && legalDeadline != .distantFuture
    }
}

extension Case {
    /// True until it is closed.
    package var isOpen: Bool { state != .closed }

    /// Which of the three parts of the order it is in.
    package var band: Int { CasePlace(self).band }

    /// Its place in the total order.
    package var key: PriorityKey { CasePlace(self).key }

    /// Who may take it.
    package var lane: Lane { CasePlace(self).lane }

    /// What has to happen next with it.
    package var waitsFor: CaseWait {
        switch state {
        case .received, .screened, .queued: .specialist
        case .assigned: .acceptance
        case .inTriage: .decision
        case .decided: assignment == .none ? .closing : .closingByHolder
        case .closed: .nothing
        }
    }

    /// True while a legal clock has yet to promote it.
    var awaitsLegalClock: Bool { CasePlace(self).awaitsLegalClock }
}

/// What may happen to a case and what follows from it.
package enum CaseRules {
    // MARK: Order

    /// Completes a level with the deadline that it gives.
    static func assess(
        _ level: Level, _ code: LevelCode, receivedAt: WallTime, legalDeadline: WallTime
    ) -> Assessment {
        let target = receivedAt.advanced(byMilliseconds: Targets.milliseconds(level))
        return legalDeadline < target
            ? Assessment(
                level: level, code: code, effectiveDeadline: legalDeadline, governedBy: .legal)
            : Assessment(level: level, code: code, effectiveDeadline: target, governedBy: .target)
    }

    // MARK: Intake

    /// What a report that opens a case gives it.
    static func open(
        _ facts: ReportFacts, at now: WallTime
    ) -> (facts: ReportFacts, assessment: Assessment) {
        var facts = facts
        // A stream on air is a circumstance, whether or not the reporter ticked it.
        if facts.live { facts.modifiers.insert(.liveOrSpreading) }
        facts.clearance = facts.clearance.widened(
            with: .required(for: facts.family, modifiers: facts.modifiers))
        let code = LevelCode(family: facts.family, point: .screening, modifiers: facts.modifiers)
        let assessment = assess(
            Screening.level(of: facts), code, receivedAt: now, legalDeadline: .distantFuture)
        return (facts, assessment)
    }

    /// What a further report about the same subject makes of an open case.
    ///
    /// It can raise the level, add circumstances, make the kind of harm graver and the clearance
    /// stricter; it takes nothing away, and the case keeps its receipt time.
    static func join(
        _ report: ReportFacts, to existing: Case
    ) -> (facts: ReportFacts, assessment: Assessment) {
        var facts = report
        facts.family = graver(existing.code.family, report.family)
        facts.live = existing.live || report.live
        facts.modifiers = existing.modifiers.union(report.modifiers)
        if report.live { facts.modifiers.insert(.liveOrSpreading) }
        facts.clearance = existing.clearance.widened(with: report.clearance)
            .widened(with: .required(for: facts.family, modifiers: facts.modifiers))
        if existing.language != .undetermined { facts.language = existing.language }
        if existing.region != .unknown {
            facts.region = existing.region
            facts.routing = existing.routing
        }
        // The raise that is owed to an unknown kind is the report's own, not the merged kind's.
        let screened = min(Screening.level(of: facts), ownLevel(of: report, facts))
        let level = min(existing.level, screened)
        let code = LevelCode(
            family: facts.family, point: level < existing.level ? .screening : existing.code.point,
            modifiers: facts.modifiers)
        let assessment = assess(
            level, code, receivedAt: existing.receivedAt, legalDeadline: existing.legalDeadline)
        return (facts, assessment)
    }

    /// The level of the report under its own kind, with the case's circumstances.
    private static func ownLevel(of report: ReportFacts, _ merged: ReportFacts) -> Level {
        var facts = merged
        facts.family = report.family
        return Screening.level(of: facts)
    }

    /// Kinds of harm, gravest first.
    ///
    /// Decides which of two a case goes by, and so which skill it asks for. An unknown kind yields
    /// to any known one: its raise of the level stays.
    static let gravity: [HarmFamily] = [
        .terrorism, .childSexualExploitation, .suicideSelfHarm, .violentThreat, .domesticViolence,
        .missingPerson, .humanTrafficking, .disaster, .otherImminentHarm, .intimateImageAbuse,
        .unrecognised,
    ]

    /// The graver of two kinds of harm.
    static func graver(_ a: HarmFamily, _ b: HarmFamily) -> HarmFamily {
        if a == b { return a }
        return gravity.first { $0 == a || $0 == b } ?? a
    }

    // MARK: Protocol

    /// What a round of answers leads to.
    struct Answered {
        /// What the answers gave by themselves.
        var answered: Assessment
        /// What the case has after them.
        var resulting: Assessment
        /// A lowering that now waits for a second person.
        var pendingLowering: Level?
    }

    /// Judges a round of answers.
    ///
    /// Raising takes effect at once, by anyone. Lowering needs a reason, the lease, and from P0 or
    /// P1 two people: the holder proposes, another person's answers confirm; the more urgent of the
    /// two levels results.
    ///
    /// - Parameters:
    ///   - answers: The round.
    ///   - reason: Why the level is lowered; empty when no reason was given.
    ///   - existing: The case.
    ///   - holds: True when the caller shows the current lease.
    ///   - caller: The caller in the World's table; `.none` when it was never seen.
    /// - Returns: What the answers gave, and what the case has after them.
    /// - Throws: ``DomainError`` for a lowering without reason, lease or second person.
    static func answer(
        _ answers: ProtocolAnswers, reason: String, on existing: Case, holds: Bool,
        caller: PrincipalIndex
    ) throws(DomainError) -> Answered {
        let walked = DecisionTree.walk(
            answers, reported: existing.modifiers, family: existing.code.family)
        let (received, legal) = (existing.receivedAt, existing.legalDeadline)
        let answered = assess(walked.level, walked.code, receivedAt: received, legalDeadline: legal)

        guard walked.level > existing.level else {
            var code = walked.code
            // Only the holder can take a circumstance away.
            if !holds { code.modifiers.formUnion(existing.modifiers) }
            let result = assess(walked.level, code, receivedAt: received, legalDeadline: legal)
            return Answered(answered: answered, resulting: result, pendingLowering: nil)
        }

        guard !reason.isEmpty else { throw .lowerReasonRequired }
        let needsTwo = existing.level <= .p1
        if needsTwo, let pending = existing.pendingLowering.first {
            guard pending.proposer != caller else {
                throw .secondPersonRequired(action: "confirm the lowering")
            }
            let level = min(pending.level, walked.level)
            let result = assess(level, walked.code, receivedAt: received, legalDeadline: legal)
            return Answered(answered: answered, resulting: result, pendingLowering: nil)
        }
        guard holds else { throw .leaseNotHeld(current: false) }
        guard needsTwo else {
            return Answered(answered: answered, resulting: answered, pendingLowering: nil)
        }
        var code = existing.code
        code.modifiers.formUnion(walked.code.modifiers)
        let result = assess(existing.level, code, receivedAt: received, legalDeadline: legal)
        return Answered(answered: answered, resulting: result, pendingLowering: walked.level)
    }

    // MARK: States

    /// What can be asked of a case, and in which states.
    enum Action: CaseIterable {
        case answer
        case decide
        case close
        case reopen
        case handOff
        case complete

        /// Where it is allowed.
        var allowed: [CaseState] {
            switch self {
            case .answer: [.queued, .assigned, .inTriage, .decided]
            // Deciding again amends: what closing misses can be supplied.
            case .decide: [.inTriage, .decided]
            case .close: [.decided]
            case .reopen: [.decided, .closed]
            case .handOff: [.assigned, .inTriage]
            case .complete: [.decided]
            }
        }

        /// What it leads to, for the error.
        var goal: String {
            switch self {
            case .answer: "ANSWERED"
            case .decide: "DECIDED"
            case .close: "CLOSED"
            case .reopen: "QUEUED"
            case .handOff: "HANDED_OFF"
            case .complete: "COMPLETED"
            }
        }
    }

    /// Refuses what the state does not allow.
    static func check(_ action: Action, from state: CaseState) throws(DomainError) {
        if action.allowed.contains(state) { return }
        throw .illegalTransition(
            resource: .case, from: state.text, to: action.goal, allowed: action.allowed.map(\.text))
    }

    /// Refuses closing what must stay open: a P0 or P1 with a duty unanswered, a live risk.
    static func checkClosing(
        _ existing: Case, liveRiskEnded: Bool
    ) throws(DomainError) {
        guard let decision = existing.decisions.last, !decision.policyVersion.isEmpty else {
            throw .illegalTransition(
                resource: .case, from: existing.state.text, to: Action.close.goal,
                allowed: Action.close.allowed.map(\.text))
        }
        if existing.level <= .p1 {
            let missing = decision.duties.unanswered
            if !missing.isEmpty { throw .dutiesUnanswered(missing) }
        }
        if existing.live && !liveRiskEnded { throw .liveRiskOpen }
    }
}

extension DutyAnswers {
    /// The duties without an answer, by their API names.
    var unanswered: [String] {
        var missing: [String] = []
        if referral == .unanswered { missing.append("referral") }
        if statutoryReport == .unanswered { missing.append("statutory_report") }
        if preservation == .unanswered { missing.append("preservation") }
        if welfareResource == .unanswered { missing.append("welfare_resource") }
        return missing
    }
}

extension CaseState {
    /// As the API names it, without the prefix.
    package var text: String {
        switch self {
        case .received: "RECEIVED"
        case .screened: "SCREENED"
        case .queued: "QUEUED"
        case .assigned: "ASSIGNED"
        case .inTriage: "IN_TRIAGE"
        case .decided: "DECIDED"
        case .closed: "CLOSED"
        }
    }
}
