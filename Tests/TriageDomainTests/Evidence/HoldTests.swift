// Holds: placed under rules, ended by time or by decision, and what they and preservations forbid.

import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct HoldTests {
    private static let day: Int64 = 86_400_000

    private func driver() throws -> Driver {
        let driver = Driver()
        try driver.submit(.example())
        try driver.attach()
        return driver
    }

    private func refusesErasure(
        _ driver: Driver, identities: Set<Hash128> = []
    ) -> Holder? {
        let refusal = driver.refusal { try driver.erase(identities: identities) }
        let texts = driver.refusal {
            try driver.run(
                .eraseReportTexts(
                    case: CaseNumber(1), erasure: .example, identities: identities), as: .lena)
        }
        #expect(refusal == texts, "one rule for all of a case")
        guard case .held(let holder) = refusal else { return nil }
        return holder
    }

    // MARK: Placing

    @Test func placed_hasItsRulesPeriod_andForbids() throws {
        let driver = try driver()
        let hold = try driver.hold()
        #expect(hold.state == .active && hold.order.reference == "CT-1")
        #expect(hold.order.expiresAt == driver.now.advanced(byMilliseconds: 365 * Self.day))
        #expect(refusesErasure(driver) == .hold(CaseNumber(1), hold.number))
        #expect(driver.world.counts.activeHolds == 1)
    }

    @Test func longerIsAllowed_shorterAndTooLongAreNot() throws {
        let driver = try driver()
        var order = HoldOrder.example
        order.expiresAt = driver.now.advanced(byMilliseconds: 400 * Self.day)
        #expect(try driver.hold(order).order.expiresAt == order.expiresAt)
        let wrong = [
            driver.now.advanced(byMilliseconds: 364 * Self.day), driver.now,
            driver.now.advanced(byMilliseconds: 3_654 * Self.day),
        ]
        for end in wrong {
            order.expiresAt = end
            guard
                case .invalidField("hold.expire_time", _) = driver.refusal({
                    _ = try driver.hold(order)
                })
            else {
                Issue.record("took \(end)")
                continue
            }
        }
    }

    @Test func aRuleWithoutAPeriod_needsAnEnd_anUnknownOneIsRefused() throws {
        let driver = try driver()
        var order = HoldOrder(rule: "COURT_ORDER", authority: "District Court", reason: "ordered")
        guard
            case .invalidField("hold.expire_time", _) = driver.refusal({
                _ = try driver.hold(order)
            })
        else {
            Issue.record("took no end")
            return
        }
        order.expiresAt = driver.now.advanced(byMilliseconds: Self.day)
        _ = try driver.hold(order)
        order.rule = "NONE"
        guard case .invalidField("hold.rule", _) = driver.refusal({ _ = try driver.hold(order) })
        else {
            Issue.record("took an unknown rule")
            return
        }
    }

    /// A rule applies from its day on: the year of 2258A(h) since 7 May 2024, 90 days before.
    @Test func rules_applyFromTheirDay() throws {
        let driver = try driver()
        driver.now = WallTime(milliseconds: 1_715_040_000_000 - 1)
        let before = try #require(HoldRules.rule("US_2258A_REPORT", at: driver.now))
        #expect(before.periodMilliseconds == 90 * Self.day)
        let after = try #require(
            HoldRules.rule("US_2258A_REPORT", at: WallTime(milliseconds: 1_715_040_000_000)))
        #expect(after.periodMilliseconds == 365 * Self.day)
        #expect(HoldRules.rule("EU_2023_1543_PRESERVATION", at: driver.now) == nil)
    }

    @Test func everyRule_hasASource_andVersionsOfOneRuleAreInOrder() {
        for rule in HoldRules.all {
            #expect(!rule.source.isEmpty && !rule.title.isEmpty, "\(rule.key)")
            let versions = HoldRules.all.filter { $0.key == rule.key }.map(\.effectiveFrom)
            #expect(versions == versions.sorted())
        }
    }

    @Test func asManyAsMay_arePlaced() throws {
        let driver = try driver()
        driver.checksEachStep = false
        for _ in 0..<Limits.holdsPerCaseMax { _ = try driver.hold() }
        #expect(
            driver.refusal { _ = try driver.hold() }
                == .tooManyHolds(limit: Limits.holdsPerCaseMax))
    }

    // MARK: Ending

    @Test func releasedOrExpired_forbidsNoLonger() throws {
        let driver = try driver()
        let released = try driver.hold()
        try driver.run(
            .releaseHold(
                case: CaseNumber(1), hold: released.number,
                release: HoldRelease(authority: "Counsel", reason: "withdrawn")), as: .luis)
        let view = try driver.world.holds(of: CaseNumber(1), after: 0, limit: 10).items[0]
        #expect(view.value.state == .released)
        #expect(view.principals[view.value.release?.principal ?? .none] == .luis)
        let running = try driver.hold()
        #expect(driver.world.nextTimer == running.order.expiresAt)
        #expect(refusesErasure(driver) == .hold(CaseNumber(1), running.number))
        try driver.advance(seconds: 365 * 86_400)
        let ended = try driver.world.holds(of: CaseNumber(1), after: 0, limit: 10).items[1]
        #expect(ended.value.state == .expired && driver.world.counts.activeHolds == 0)
        #expect(refusesErasure(driver) == nil)
        #expect(
            try driver.world.evidence(EvidenceNumber(1), of: CaseNumber(1)).value.erasure != nil)
    }

    /// The timer's event may come a moment late; the period has ended all the same.
    @Test func beyondItsEnd_itForbidsNothing_evenBeforeTheTimer() throws {
        let driver = try driver()
        let hold = try driver.hold()
        driver.now = hold.order.expiresAt.advanced(byMilliseconds: -1)
        #expect(refusesErasure(driver) == .hold(CaseNumber(1), hold.number))
        driver.now = hold.order.expiresAt
        #expect(refusesErasure(driver) == nil)
    }

    @Test func ended_cannotBeReleased_norAnothersOrNone() throws {
        let driver = try driver()
        try driver.submit(.example(2))
        let hold = try driver.hold()
        let release = HoldRelease(authority: "Counsel", reason: "withdrawn")
        let command = { (matter: UInt64, number: UInt64) in
            Command.releaseHold(
                case: CaseNumber(matter), hold: HoldNumber(number), release: release)
        }
        for (matter, number) in [(2, 1), (1, 2), (1, 0)] as [(UInt64, UInt64)] {
            #expect(
                driver.refusal { try driver.run(command(matter, number)) } == .notFound(.hold))
        }
        try driver.run(command(1, hold.number.value))
        #expect(
            driver.refusal { try driver.run(command(1, hold.number.value)) }
                == .illegalTransition(
                    resource: .hold, from: "RELEASED", to: "RELEASED", allowed: ["ACTIVE"]))
    }

    // MARK: Statute

    @Test func aStatutoryReport_placesItsYear_inTheDecisionsOwnRecord() throws {
        let driver = Driver()
        try driver.submit(.example(family: .childSexualExploitation, clearance: .childSafety))
        var duties = DutyAnswers.done
        duties.statutoryReport = .done
        let assignment = try driver.take()
        let records = driver.journal.count
        try driver.decideIt(assignment, duties: duties)
        #expect(driver.journal.count == records + 1)
        let hold = try driver.world.holds(of: CaseNumber(1), after: 0, limit: 10).items[0].value
        #expect(hold.order.rule == "US_2258A_REPORT" && hold.state == .active)
        #expect(hold.order.expiresAt == driver.now.advanced(byMilliseconds: 365 * Self.day))
        #expect(try driver.matter(CaseNumber(1)).state == .decided)
    }

    @Test func otherDecisions_placeNone() throws {
        for (family, answer) in [
            (HarmFamily.childSexualExploitation, DutyAnswer.notApplicable), (.terrorism, .done),
        ] {
            let driver = Driver()
            try driver.submit(.example(family: family))
            var duties = DutyAnswers.done
            duties.statutoryReport = answer
            try driver.decideIt(try driver.take(), duties: duties)
            #expect(driver.world.counts.activeHolds == 0)
        }
    }

    // MARK: Preservations

    private func file(_ driver: Driver, _ filing: DisclosureFiling) throws -> DisclosureID {
        guard
            case .changedDisclosure(let view) = try driver.run(
                .submitDisclosureRequest(filing), as: .agency, random: 5)
        else { throw Unexpected() }
        return view.value.id
    }

    @Test func aPreservationThatNamesTheCase_forbids_untilItExpires() throws {
        let driver = try driver()
        let id = try file(driver, .emergency(case: CaseNumber(1)))
        #expect(refusesErasure(driver) == .preservation(id))
        try driver.advance(seconds: 90 * 86_400)
        #expect(refusesErasure(driver) == nil)
    }

    /// Identifiers are compared by what they say, not by what they are called.
    @Test(arguments: [
        "user1", " USER1 ", "@User1", "https://user1", "http://www.user1/", "u@example.org",
    ])
    func aPreservationThatNamesASubject_forbids(text: String) throws {
        let driver = try driver()
        let id = try file(driver, .preservation())
        #expect(
            refusesErasure(driver, identities: [HoldRules.identity(of: text)])
                == .preservation(id))
    }

    @Test func aPreservationOfSomebodyElse_forbidsNothing() throws {
        let driver = try driver()
        _ = try file(driver, .preservation())
        let others = Set(["user2", "user", "user11", ""].map(HoldRules.identity(of:)))
        #expect(refusesErasure(driver, identities: others) == nil)
    }

    /// Once the words are gone the case still knows the hash of its main subject.
    @Test func aPreservationThatNamesTheMainSubject_forbids_withoutItsWords() throws {
        let driver = Driver()
        var facts = ReportFacts.example()
        facts.subject = Hash128(of: Array("user1".utf8).span, seed: 1)
        try driver.submit(facts)
        try driver.attach()
        let id = try file(driver, .preservation())
        #expect(refusesErasure(driver) == .preservation(id))
    }

    /// A disclosure request without a preservation keeps nothing.
    @Test func aRequestUnderProcess_forbidsNothing() throws {
        let driver = try driver()
        _ = try file(driver, .process(.subpoena))
        #expect(
            refusesErasure(driver, identities: [HoldRules.identity(of: "user1")]) == nil)
    }
}
