import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct AssignmentRulesTests {
    @Test func theMostUrgentEligibleCaseIsOfferedWithItsReason() throws {
        let driver = Driver()
        // Two that a general specialist may not see, both more urgent, and two that they may.
        let wall = try driver.submit(
            .example(1, family: .childSexualExploitation, imminence: .now))
        try driver.submit(.example(2, family: .suicideSelfHarm, imminence: .now))
        let slow = try driver.submit(.example(3, imminence: .notImminent))
        let soon = try driver.submit(.example(4))
        let offer = try #require(try driver.claim(as: .bob, .generalOnly))
        #expect(offer.matter.number == soon.caseNumber)
        #expect(offer.why.level == .p2)
        #expect(offer.why.code.text == "VIO-S")
        #expect(offer.why.governedBy == .target)
        #expect(offer.why.skippedCount == 2)
        #expect(offer.why.firstSkipReason == .clearance)
        #expect(offer.assignment.state == .offered)
        #expect(
            offer.assignment.expiresAt
                == driver.now.advanced(byMilliseconds: AssignmentRules.offerMilliseconds(.p2)))
        let first = try #require(try driver.claim(as: .alice))
        #expect(first.matter.number == wall.caseNumber)
        #expect(first.why.skippedCount == 0)
        #expect(first.why.firstSkipReason == .none)
        #expect(try driver.claim(as: .bob, .generalOnly)?.matter.number == slow.caseNumber)
        #expect(try driver.claim(as: .bob, .generalOnly) == nil)
    }

    @Test func aRepeatedClaimIsToldTheSameReason_whateverHasBecomeSince() throws {
        let driver = Driver()
        try driver.submit(.example(1, family: .childSexualExploitation, imminence: .now))
        let mild = try driver.submit(.example(2)).caseNumber
        let id = RequestID(high: 5, low: 5)
        func claim(_ world: borrowing World) throws -> (AssignmentNumber, String) {
            var events: [Event] = []
            let context = CommandContext(
                principal: .bob, now: driver.now, requestID: id,
                fingerprint: Hash128(high: 0, low: 0), random: 0)
            let decision = try world.decide(
                .claimNext(eligibility: .generalOnly), context, into: &events)
            #expect(events.isEmpty)
            guard case .offer(let view, _, let why) = world.outcome(of: decision) else {
                throw Unexpected()
            }
            return (view.value.number, "\(why)")
        }
        guard
            case .offer(let view, _, let why) = try driver.run(
                .claimNext(eligibility: .generalOnly), as: .bob, id: id)
        else { throw Unexpected() }
        #expect(why.skippedCount == 1 && why.firstSkipReason == .clearance && why.level == .p2)
        // The case is raised, and what was passed over is taken by another.
        try driver.submit(.example(2, imminence: .now))
        #expect(try driver.matter(mild).level != .p2)
        _ = try driver.take(as: .alice)
        let first = (view.value.number, "\(why)")
        #expect(try claim(driver.world) == first)
        #expect(try claim(driver.replayed()) == first)
        #expect(try claim(rebuilt(from: driver.world.snapshotState)) == first)
    }

    @Test func skipReasonsNameWhatIsMissing() {
        let lane = Lane(family: 2, language: 77, clearance: 2, region: 1)
        func reason(
            skills: UInt32 = .max, clearances: UInt8 = .max, regions: UInt8 = .max,
            languages: [UInt16] = [77]
        ) -> SkipReason {
            AssignmentRules.skipReason(
                lane,
                Eligibility(
                    skills: skills, clearances: clearances, regions: regions, languages: languages))
        }
        #expect(reason() == .none)
        #expect(reason(skills: ~4) == .skill)
        #expect(reason(clearances: ~4) == .clearance)
        #expect(reason(regions: ~2) == .region)
        #expect(reason(languages: [78]) == .language)
    }

    @Test func anAcceptedOfferRunsAsALeaseOfItsLevel() throws {
        for level in Level.allCases {
            let driver = Driver()
            let number = try driver.submit(.example(imminence: .notImminent)).caseNumber
            let lease: Assignment
            if level <= .p2 {
                try driver.answer(number, level)
                lease = try driver.take()
            } else {
                lease = try driver.take()
                try driver.answer(number, level, reason: "r", token: lease.number)
            }
            try driver.run(
                .renewLease(assignment: lease.number, token: lease.number, leaseMilliseconds: 0))
            #expect(
                try driver.world.assignment(lease.number).value.expiresAt
                    == driver.now.advanced(
                        byMilliseconds: AssignmentRules.leaseMilliseconds(level)))
        }
    }

    @Test func renewalIsCappedAtOneHour() throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        func renew(_ milliseconds: Int64) throws -> WallTime {
            try driver.run(
                .renewLease(
                    assignment: lease.number, token: lease.number, leaseMilliseconds: milliseconds))
            return try driver.world.assignment(lease.number).value.expiresAt
        }
        #expect(try renew(.max) == driver.now.advanced(byMilliseconds: 3_600_000))
        #expect(try renew(1_000) == driver.now.advanced(byMilliseconds: 1_000))
        #expect(throws: DomainError.self) { try renew(-1) }
    }

    @Test func anUnansweredOfferReturnsToItsPlace() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let key = try driver.matter(number).key
        let offer = try #require(try driver.claim())
        #expect(driver.world.nextTimer == offer.assignment.expiresAt)
        #expect(throws: DomainError.leaseNotHeld(current: true)) {
            try driver.run(
                .acceptCase(assignment: offer.assignment.number, token: offer.assignment.number),
                as: .bob)
        }
        try driver.advance(seconds: 179)
        #expect(try driver.matter(number).state == .assigned)
        try driver.advance(seconds: 1)
        #expect(try driver.world.assignment(offer.assignment.number).value.state == .timedOut)
        #expect(try driver.matter(number).key == key)
        #expect(driver.world.nextTimer == nil)
        // Not declined: the same person may try again.
        #expect(try driver.claim()?.matter.number == number)
    }

    @Test func whoDeclinedIsNotOfferedItAgain() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let offer = try #require(try driver.claim())
        try driver.release(offer.assignment.number, .wellness)
        let ended = try driver.world.assignment(offer.assignment.number).value
        #expect(ended.state == .declined)
        #expect(ended.releaseReason == .wellness)
        #expect(try driver.claim() == nil)
        let other = try driver.submit(.example(2, imminence: .notImminent))
        let next = try #require(try driver.claim())
        #expect(next.matter.number == other.caseNumber)
        #expect(next.why.skippedCount == 1)
        #expect(next.why.firstSkipReason == .declined)
        #expect(try driver.claim(as: .bob)?.matter.number == number)
    }

    @Test(arguments: [
        (ReleaseReason.wellness, true), (.conflict, true), (.skill, true), (.shiftEnd, false),
        (.other, false),
    ])
    func whoGaveItBackForGoodIsNotOfferedItAgain(_ reason: ReleaseReason, _ excluded: Bool) throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        try driver.release(lease.number, reason)
        #expect(try driver.world.assignment(lease.number).value.state == .released)
        #expect(try (driver.claim() == nil) == excluded)
    }

    @Test func aReleaseWithoutReasonIsRefused() throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        #expect(throws: DomainError.self) { try driver.release(lease.number, .notReleased) }
    }

    @Test func nobodyHoldsMoreThanTheCap() throws {
        let driver = Driver()
        let cap = AssignmentRules.assignmentsPerSpecialistMax
        for subject in 1...UInt64(cap + 2) { try driver.submit(.example(subject)) }
        for _ in 0..<cap { #expect(try driver.claim() != nil) }
        #expect(throws: DomainError.tooManyAssignments(limit: cap)) { try driver.claim() }
        let bobs = try driver.take(as: .bob)
        #expect(throws: DomainError.tooManyAssignments(limit: cap)) {
            try driver.handOff(bobs.number, to: .alice, as: .bob)
        }
        try driver.advance(seconds: 180)
        #expect(try driver.claim() != nil)
    }

    @Test func aHandOffOffersTheCaseToTheOther() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let lease = try driver.take()
        let next = try driver.handOff(lease.number, to: .bob)
        #expect(next.specialist != lease.specialist)
        #expect(next.handedOffFrom == lease.number)
        #expect(next.number > lease.number)
        #expect(next.note == "look at the second video")
        #expect(next.state == .offered)
        #expect(driver.journal.last?.events.count == 2)
        #expect(try driver.world.assignment(lease.number).value.state == .handedOff)
        #expect(try driver.matter(number).assignment == next.number)
        #expect(driver.world.heldAssignments(of: .bob).map(\.value.number) == [next.number])
        #expect(driver.world.heldAssignments(of: .alice).isEmpty)
        // Not accepted in time: back to the queue.
        try driver.advance(seconds: 180)
        #expect(try driver.matter(number).state == .queued)
    }

    @Test func aHandOffNeedsSomebodyWhoMayTakeIt() throws {
        let driver = Driver()
        try driver.submit(.example(family: .childSexualExploitation))
        let bobs = try driver.take(as: .bob)
        try driver.release(bobs.number, .conflict, as: .bob)
        let lease = try driver.take()
        #expect(throws: DomainError.notEligible(.clearance)) {
            try driver.handOff(lease.number, to: .lena, .generalOnly)
        }
        #expect(throws: DomainError.notEligible(.declined)) {
            try driver.handOff(lease.number, to: .bob)
        }
        #expect(throws: DomainError.self) { try driver.handOff(lease.number, to: .alice) }
    }

    @Test func aDecidedCaseIsNotHandedOff() throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        try driver.decideIt(lease)
        #expect(
            throws: DomainError.illegalTransition(
                resource: .case, from: "DECIDED", to: "HANDED_OFF",
                allowed: ["ASSIGNED", "IN_TRIAGE"])
        ) { try driver.handOff(lease.number, to: .bob) }
    }

    @Test func aStaleTokenIsRefusedEverywhere() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let old = try driver.take()
        try driver.advance(seconds: 20 * 60)
        #expect(try driver.world.assignment(old.number).value.state == .expired)
        let new = try driver.take(as: .bob)
        #expect(new.number > old.number)
        let token = old.number
        let stale: [Command] = [
            .acceptCase(assignment: token, token: token),
            .renewLease(assignment: token, token: token, leaseMilliseconds: 0),
            .releaseLease(assignment: token, token: token, reason: .other),
            .handOffCase(
                assignment: token, token: token, to: .lena, eligibility: .everything, note: "n"),
            .completeCase(assignment: token, token: token),
            .renewLease(assignment: new.number, token: token, leaseMilliseconds: 0),
            .decideCase(case: number, decision: .example(), token: token, etag: nil),
            .closeCase(case: number, token: token, liveRiskEnded: false, etag: nil),
            .answerProtocol(
                case: number, answers: .giving(.p0), lowerReason: "", token: token, etag: nil),
        ]
        for command in stale {
            #expect(throws: DomainError.leaseNotHeld(current: false)) { try driver.run(command) }
        }
        // The current token in the wrong hands.
        #expect(throws: DomainError.leaseNotHeld(current: true)) {
            try driver.run(
                .decideCase(case: number, decision: .example(), token: new.number, etag: nil))
        }
        #expect(throws: DomainError.notFound(.assignment)) {
            try driver.run(
                .acceptCase(assignment: AssignmentNumber(99), token: AssignmentNumber(99)))
        }
    }

    @Test func aLeaseIsDeadAtItsEndEvenBeforeTheTimerFired() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let lease = try driver.take()
        driver.now = lease.expiresAt
        #expect(throws: DomainError.leaseNotHeld(current: false)) {
            try driver.run(
                .decideCase(case: number, decision: .example(), token: lease.number, etag: nil))
        }
        driver.now = driver.now.advanced(byMilliseconds: -1)
        try driver.decideIt(lease)
    }

    @Test func everyStateAnswersEveryAction() throws {
        for action in AssignmentRules.Action.allCases {
            for state in AssignmentState.allCases {
                do throws(DomainError) {
                    try AssignmentRules.check(action, from: state)
                    #expect(action.allowed.contains(state))
                } catch {
                    #expect(!action.allowed.contains(state))
                    #expect(
                        error
                            == .illegalTransition(
                                resource: .assignment, from: state.text, to: action.goal,
                                allowed: action.allowed.map(\.text)))
                }
            }
            #expect(action.allowed.filter { !$0.holdsCase } == [])
        }
    }

    @Test func endedAssignmentsAreForgottenAfterADay() throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        try driver.release(lease.number, .shiftEnd)
        try driver.advance(seconds: 24 * 3_600 - 1)
        try driver.submit(.example(2))
        #expect(try driver.world.assignment(lease.number).value.state == .released)
        try driver.advance(seconds: 1)
        try driver.submit(.example(3))
        #expect(throws: DomainError.notFound(.assignment)) {
            try driver.world.assignment(lease.number)
        }
        #expect(try #require(try driver.claim()).assignment.number == AssignmentNumber(2))
    }
}

extension Driver {
    func release(
        _ number: AssignmentNumber, _ reason: ReleaseReason, as principal: Principal = .alice
    ) throws(DomainError) {
        try run(.releaseLease(assignment: number, token: number, reason: reason), as: principal)
    }

    @discardableResult
    func handOff(
        _ number: AssignmentNumber, to other: Principal, _ eligibility: Eligibility = .everything,
        as principal: Principal = .alice
    ) throws -> Assignment {
        let outcome = try run(
            .handOffCase(
                assignment: number, token: number, to: other, eligibility: eligibility,
                note: "look at the second video"), as: principal)
        guard case .changedAssignment(let view) = outcome else { throw Unexpected() }
        return view.value
    }
}
