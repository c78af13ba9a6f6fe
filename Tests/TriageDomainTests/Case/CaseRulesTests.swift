import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct CaseRulesTests {
    @Test func reopeningsAreRemembered_theLastOnes_withWhoAndWhen() throws {
        let driver = Driver()
        let number = try driver.submit(.example(imminence: .notImminent)).caseNumber
        for round in 1...Limits.reopeningsPerCaseMax + 2 {
            try driver.decideIt(try driver.take())
            try driver.run(
                .reopenCase(case: number, reason: "reason \(round)", etag: nil), as: .bob)
        }
        let view = try driver.world.view(of: number, full: true)
        let reopenings = view.value.reopenings
        #expect(reopenings.count == Limits.reopeningsPerCaseMax)
        #expect(reopenings.first?.reason == "reason 3")
        #expect(reopenings.last?.reason == "reason \(Limits.reopeningsPerCaseMax + 2)")
        #expect(reopenings.last.flatMap { view.principals[$0.principal] } == .bob)
        #expect(reopenings.last?.reopenedAt == driver.now)
        #expect(described(driver.replayed().snapshotState) == described(driver.world.snapshotState))
    }

    @Test func theBoardSaysWhatACaseWaitsFor() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        func waits() throws -> CaseWait { try driver.matter(number).waitsFor }
        #expect(try waits() == .specialist)
        let offer = try #require(try driver.claim()).assignment
        #expect(try waits() == .acceptance)
        try driver.run(.acceptCase(assignment: offer.number, token: offer.number))
        #expect(try waits() == .decision)
        try driver.decideIt(offer)
        #expect(try waits() == .closingByHolder)
        // The lease runs out: it stays decided and on the board, is offered to nobody, and says so.
        try driver.advance(seconds: 2 * 3_600)
        #expect(try waits() == .closing)
        #expect(try driver.matter(number).state == .decided)
        #expect(try driver.claim(as: .bob) == nil)
        let board = driver.world.board(after: nil, limit: 9, filter: BoardFilter())
        #expect(board.cases.map(\.value.waitsFor) == [.closing])
        // A lead, who holds nothing, closes it.
        try driver.run(
            .closeCase(case: number, token: .none, liveRiskEnded: true, etag: nil), as: .bob)
        #expect(try waits() == .nothing)
    }

    // MARK: Joining

    @Test func aReportAboutTheSameSubjectJoinsTheOpenCase() throws {
        let driver = Driver()
        let first = try driver.submit(.example(7))
        let began = driver.now
        try driver.advance(seconds: 30)
        let second = try driver.submit(.example(7))
        #expect(first.opened && !second.opened)
        #expect(second.caseNumber == first.caseNumber)
        #expect(second.report == ReportNumber(2))
        #expect(second.receivedAt == driver.now)
        let matter = try driver.matter(first.caseNumber)
        #expect(matter.reportCount == 2)
        #expect(matter.receivedAt == began)
        #expect(try driver.submit(.example(8)).opened)
    }

    @Test func joiningRaisesAndNeverTakesAway() throws {
        let driver = Driver()
        let number = try driver.submit(
            .example(
                family: .suicideSelfHarm, modifiers: [.minor], live: true,
                language: LanguageCode(rawValue: 77))
        ).caseNumber
        let before = try driver.matter(number)
        #expect(before.clearance == .graphic)
        #expect(before.modifiers == [.minor, .liveOrSpreading])

        try driver.submit(.example(imminence: .notImminent, language: LanguageCode(rawValue: 99)))
        let same = try driver.matter(number)
        #expect(same.level == before.level)
        #expect(same.modifiers == before.modifiers)
        #expect(same.code.family == .suicideSelfHarm)
        #expect(same.language == before.language)
        #expect(same.effectiveDeadline == before.effectiveDeadline)
        #expect(same.live)

        try driver.submit(
            .example(
                family: .childSexualExploitation, reporter: .partner, imminence: .now,
                modifiers: [.weaponOrMeans]))
        let after = try driver.matter(number)
        #expect(after.level == .p0)
        #expect(after.band == 0)
        #expect(after.code.family == .childSexualExploitation)
        #expect(after.clearance == .childSafety)
        #expect(after.modifiers == [.minor, .liveOrSpreading, .weaponOrMeans])
        #expect(
            after.effectiveDeadline
                == before.receivedAt.advanced(byMilliseconds: Targets.milliseconds(.p0)))
    }

    @Test func anUnknownFamilyYieldsToAKnownOneAndKeepsItsRaise() throws {
        let driver = Driver()
        let number = try driver.submit(
            .example(family: .otherImminentHarm, imminence: .within7Days)
        ).caseNumber
        #expect(try driver.matter(number).level == .p3)
        try driver.submit(.example(family: .unrecognised, imminence: .within7Days))
        #expect(try driver.matter(number).level == .p2)
        #expect(try driver.matter(number).code.family == .otherImminentHarm)
    }

    @Test func gravityListsEveryFamilyOnce() {
        #expect(CaseRules.gravity.count == HarmFamily.allCases.count)
        #expect(Set(CaseRules.gravity) == Set(HarmFamily.allCases))
        for a in HarmFamily.allCases {
            for b in HarmFamily.allCases {
                #expect(CaseRules.graver(a, b) == CaseRules.graver(b, a))
            }
        }
    }

    @Test func aFullCaseRefusesFurtherReports() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for _ in 0..<Limits.reportsPerCaseMax { try driver.submit(.example()) }
        #expect(throws: DomainError.tooManyReports(limit: Limits.reportsPerCaseMax)) {
            try driver.submit(.example())
        }
    }

    // MARK: Raising and lowering

    @Test func anyoneRaisesWithoutALease() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        try driver.answer(number, .p0, as: .bob)
        let matter = try driver.matter(number)
        #expect(matter.level == .p0)
        #expect(matter.code.point == .a)
        #expect(matter.rounds.count == 1)
        #expect(matter.rounds[0].answeredAt == driver.now)
    }

    @Test func loweringNeedsAReasonAndTheLease() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        #expect(try driver.matter(number).level == .p2)
        #expect(throws: DomainError.lowerReasonRequired) { try driver.answer(number, .p4) }
        #expect(throws: DomainError.leaseNotHeld(current: false)) {
            try driver.answer(number, .p4, reason: "a joke")
        }
        let lease = try driver.take()
        try driver.answer(number, .p4, reason: "a joke", token: lease.number)
        #expect(try driver.matter(number).level == .p4)
        #expect(try driver.matter(number).rounds.last?.lowerReason == "a joke")
    }

    @Test(arguments: [Level.p0, .p1])
    func loweringFromTheTopNeedsASecondPerson(_ level: Level) throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        try driver.answer(number, level)
        let lease = try driver.take()
        try driver.answer(number, .p3, reason: "old video", token: lease.number)
        let proposed = try driver.matter(number)
        #expect(proposed.level == level)
        #expect(proposed.pendingLowering.map(\.level) == [.p3])
        #expect(throws: DomainError.secondPersonRequired(action: "confirm the lowering")) {
            try driver.answer(number, .p3, reason: "again", token: lease.number)
        }
        // The second person needs no lease; the more urgent of the two levels results.
        try driver.answer(number, .p2, as: .bob, reason: "seen too")
        let lowered = try driver.matter(number)
        #expect(lowered.level == .p2)
        #expect(lowered.pendingLowering.isEmpty)
        #expect(
            lowered.effectiveDeadline
                == lowered.receivedAt.advanced(byMilliseconds: Targets.milliseconds(.p2)))
    }

    @Test func aContradictionOrNewsEndsAProposedLowering() throws {
        for isNews in [false, true] {
            let driver = Driver()
            let number = try driver.submit(.example()).caseNumber
            try driver.answer(number, .p1)
            let lease = try driver.take()
            try driver.answer(number, .p3, reason: "old video", token: lease.number)
            // A report that says nothing new leaves it, or a flood of them would hold a P1 for
            // ever.
            try driver.submit(.example(imminence: .notImminent))
            #expect(try driver.matter(number).pendingLowering.count == 1)
            if isNews {
                try driver.submit(.example(modifiers: [.weaponOrMeans]))
            } else {
                try driver.answer(number, .p1, as: .bob)
            }
            #expect(try driver.matter(number).pendingLowering.isEmpty)
            #expect(try driver.matter(number).level == .p1)
        }
    }

    @Test func onlyTheHolderTakesCircumstancesAway() throws {
        let driver = Driver()
        let number = try driver.submit(
            .example(modifiers: [.minor])
        ).caseNumber
        try driver.answer(number, .p2, as: .bob)
        #expect(try driver.matter(number).modifiers == [.minor])
        let lease = try driver.take()
        try driver.answer(number, .p2, token: lease.number)
        #expect(try driver.matter(number).modifiers == [])
    }

    @Test func aChangedEtagIsRefused() throws {
        let driver = Driver()
        let receipt = try driver.submit(.example())
        try driver.submit(.example())
        let answer = Command.answerProtocol(
            case: receipt.caseNumber, answers: .giving(.p0), lowerReason: "", token: .none,
            etag: receipt.revision)
        #expect(throws: DomainError.etagMismatch(.case)) { try driver.run(answer) }
    }

    // MARK: Deciding, closing, reopening

    @Test func aCaseGoesFromReportToClosedAndBack() throws {
        let driver = Driver()
        let number = try driver.submit(.example(live: true)).caseNumber
        let began = try driver.matter(number).effectiveDeadline
        let lease = try driver.take()
        #expect(try driver.matter(number).state == .inTriage)
        try driver.decideIt(lease, duties: .none)
        let decision = try #require(try driver.matter(number).decisions.first)
        #expect(decision.decidedAt == driver.now)
        #expect(
            try driver.world.view(of: number, full: true).principals[decision.principal] == .alice)

        // User, live: P1. Duties first, then the live risk.
        #expect(
            throws: DomainError.dutiesUnanswered([
                "referral", "statutory_report", "preservation", "welfare_resource",
            ])
        ) { try driver.close(number, lease.number) }
        try driver.decideIt(lease)
        #expect(throws: DomainError.liveRiskOpen) { try driver.close(number, lease.number) }
        #expect(throws: DomainError.leaseNotHeld(current: false)) {
            try driver.close(number, .none, liveRiskEnded: true)
        }
        try driver.close(number, lease.number, liveRiskEnded: true)
        #expect(try driver.matter(number).state == .closed)
        #expect(try driver.world.assignment(lease.number).value.state == .completed)
        #expect(driver.world.counts.openCases == 0)

        // A report now opens another case; reopening keeps the old interval.
        #expect(try driver.submit(.example()).opened)
        try driver.advance(seconds: 3_600)
        try driver.run(.reopenCase(case: number, reason: "again", etag: nil))
        let reopened = try driver.matter(number)
        #expect(reopened.state == .queued)
        #expect(reopened.effectiveDeadline == began)
        #expect(reopened.decisions.count == 2)
    }

    @Test func aLowerCaseClosesWithoutDuties() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let lease = try driver.take()
        try driver.decideIt(lease, duties: .none)
        try driver.close(number, lease.number)
        #expect(try driver.matter(number).state == .closed)
    }

    @Test func aDecidedCaseThatNobodyHoldsClosesWithoutAToken() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let lease = try driver.take()
        try driver.decideIt(lease)
        try driver.run(.completeCase(assignment: lease.number, token: lease.number))
        #expect(try driver.matter(number).state == .decided)
        #expect(try driver.claim(as: .bob) == nil)
        try driver.close(number, .none)
    }

    @Test func reopeningADecidedCaseRevokesItsLease() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let lease = try driver.take()
        try driver.decideIt(lease)
        try driver.run(.reopenCase(case: number, reason: "wrong", etag: nil), as: .bob)
        #expect(try driver.world.assignment(lease.number).value.state == .revoked)
        #expect(try driver.claim(as: .bob)?.matter.number == number)
    }

    /// Every state and every action on a case: allowed, or an error that names from, to and where.
    @Test func everyStateAnswersEveryAction() throws {
        var refused = 0
        for state in [CaseState.queued, .assigned, .inTriage, .decided, .closed] {
            for action in CaseRules.Action.allCases {
                let driver = Driver()
                let (number, token) = try driver.bring(to: state)
                #expect(try driver.matter(number).state == state)
                let before = described(driver.world.snapshotState)
                do throws(DomainError) {
                    try driver.run(command(action, number, token))
                    #expect(action.allowed.contains(state), "\(action) in \(state)")
                } catch {
                    refused += 1
                    #expect(described(driver.world.snapshotState) == before)
                    switch error {
                    case .illegalTransition(let resource, let from, _, let allowed):
                        #expect(resource == .case || resource == .assignment)
                        #expect(!allowed.isEmpty && !allowed.contains(from))
                    case .leaseNotHeld:
                        // Nothing is held there, or only offered: there is no lease to show.
                        #expect(state == .queued || state == .closed || state == .decided)
                    case .notFound(.assignment):
                        // Nobody ever held it.
                        #expect(state == .queued)
                    default: Issue.record("\(action) in \(state): \(error)")
                    }
                    if action.allowed.contains(state) {
                        #expect(action == .handOff || action == .complete, "\(action) in \(state)")
                    }
                }
            }
        }
        #expect(refused > 10)
    }

    private func command(
        _ action: CaseRules.Action, _ number: CaseNumber, _ token: AssignmentNumber
    ) -> Command {
        switch action {
        case .answer:
            .answerProtocol(
                case: number, answers: .giving(.p0), lowerReason: "", token: .none, etag: nil)
        case .decide: .decideCase(case: number, decision: .example(), token: token, etag: nil)
        case .close: .closeCase(case: number, token: token, liveRiskEnded: true, etag: nil)
        case .reopen: .reopenCase(case: number, reason: "r", etag: nil)
        case .handOff:
            .handOffCase(
                assignment: token == .none ? AssignmentNumber(1) : token, token: token, to: .bob,
                eligibility: .everything, note: "n")
        case .complete:
            .completeCase(assignment: token == .none ? AssignmentNumber(1) : token, token: token)
        }
    }

    @Test func anUnknownCaseIsNotFound() {
        let driver = Driver()
        for number in [CaseNumber.none, CaseNumber(1), CaseNumber(.max)] {
            #expect(throws: DomainError.notFound(.case)) {
                try driver.run(.reopenCase(case: number, reason: "r", etag: nil))
            }
            #expect(throws: DomainError.notFound(.case)) {
                try driver.world.view(of: number, full: false)
            }
        }
    }
}

extension Driver {
    func answer(
        _ number: CaseNumber, _ level: Level, as principal: Principal = .alice, reason: String = "",
        token: AssignmentNumber = .none
    ) throws(DomainError) {
        try run(
            .answerProtocol(
                case: number, answers: .giving(level), lowerReason: reason, token: token,
                etag: nil),
            as: principal)
    }

    func close(
        _ number: CaseNumber, _ token: AssignmentNumber, liveRiskEnded: Bool = false
    ) throws(DomainError) {
        try run(.closeCase(case: number, token: token, liveRiskEnded: liveRiskEnded, etag: nil))
    }

    /// A case in a state, and the token with which alice holds it; decided ones she still holds.
    func bring(to state: CaseState) throws -> (CaseNumber, AssignmentNumber) {
        let number = try submit(.example()).caseNumber
        switch state {
        case .received, .screened, .queued: return (number, .none)
        case .assigned: return (number, try claim()?.assignment.number ?? .none)
        case .inTriage: return (number, try take().number)
        case .decided, .closed:
            let lease = try take()
            try decideIt(lease)
            guard state == .closed else { return (number, lease.number) }
            try close(number, lease.number)
            return (number, .none)
        }
    }
}
