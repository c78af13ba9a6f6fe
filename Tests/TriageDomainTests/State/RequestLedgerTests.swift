import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct RequestLedgerTests {
    let id = RequestID(high: 9, low: 9)

    @Test func aRepeatedReportIsAnsweredExactlyAsTheFirstTime() throws {
        let driver = Driver()
        let submit = Command.submitReport(facts: .example(), content: [1])
        let first = try driver.run(submit, as: .intake, id: id)
        let records = driver.journal.count
        // The case has moved on since.
        try driver.answer(CaseNumber(1), .p0)
        try driver.advance(seconds: 3_600)
        let again = try driver.run(submit, as: .intake, id: id)
        guard case .receipt(let one) = first, case .receipt(let two) = again else {
            throw Unexpected()
        }
        #expect(one == two)
        #expect(one.level == .p2)
        #expect(driver.journal.count == records + 1)
    }

    @Test func theSameIDWithAnotherContentIsRefused() throws {
        let driver = Driver()
        let submit = Command.submitReport(facts: .example(), content: [1])
        try driver.run(submit, as: .intake, id: id, fingerprint: 1)
        #expect(throws: DomainError.requestIDReused) {
            try driver.run(submit, as: .intake, id: id, fingerprint: 2)
        }
        // Another caller's ids are its own.
        try driver.run(submit, as: .bob, id: id, fingerprint: 2)
        #expect(driver.world.counts.reports == 2)
    }

    @Test func aRefusedRequestMayBeSentAgain() throws {
        let driver = Driver()
        let claim = Command.claimNext(eligibility: .everything)
        guard case .nothingToClaim = try driver.run(claim, id: id) else { throw Unexpected() }
        let reopen = Command.reopenCase(case: CaseNumber(1), reason: "r", etag: nil)
        #expect(throws: DomainError.notFound(.case)) { try driver.run(reopen, id: id) }
        try driver.submit(.example())
        guard case .offer(let offer, _, _) = try driver.run(claim, id: id) else {
            throw Unexpected()
        }
        #expect(offer.value.number == AssignmentNumber(1))
    }

    @Test func aRepeatedClaimIsTheSameOffer() throws {
        let driver = Driver()
        try driver.submit(.example(1))
        try driver.submit(.example(2))
        let claim = Command.claimNext(eligibility: .everything)
        for _ in 0..<2 {
            guard case .offer(let offer, let matter, _) = try driver.run(claim, id: id) else {
                throw Unexpected()
            }
            #expect(offer.value.number == AssignmentNumber(1))
            #expect(matter.value.number == CaseNumber(1))
        }
        #expect(driver.world.counts.heldAssignments == 1)
    }

    @Test func theOthersAreAnsweredWithTheResourceAsItIsNow() throws {
        let driver = Driver()
        try driver.submit(.example())
        let offer = try #require(try driver.claim()).assignment.number
        let accept = Command.acceptCase(assignment: offer, token: offer)
        try driver.run(accept, id: id)
        try driver.release(offer, .shiftEnd)
        guard case .changedAssignment(let view) = try driver.run(accept, id: id) else {
            throw Unexpected()
        }
        #expect(view.value.state == .released)

        let next = RequestID(high: 9, low: 10)
        let file = Command.submitDisclosureRequest(.emergency())
        try driver.run(file, as: .agency, id: next, random: 5)
        try driver.verify(DisclosureID(5), .callBack)
        guard
            case .changedDisclosure(let request) = try driver.run(
                file, as: .agency, id: next, random: 6)
        else { throw Unexpected() }
        #expect(request.value.id == DisclosureID(5))
        #expect(request.value.verifications.count == 1)
        #expect(driver.world.counts.disclosures == 1)
    }

    @Test func aHandOffIsRepeatedAsAnAssignmentAndAClaimAsAnOffer() throws {
        let driver = Driver()
        try driver.submit(.example())
        let lease = try driver.take()
        let handOff = Command.handOffCase(
            assignment: lease.number, token: lease.number, to: .bob, eligibility: .everything,
            note: "n")
        for _ in 0..<2 {
            guard case .changedAssignment(let view) = try driver.run(handOff, id: id) else {
                throw Unexpected()
            }
            #expect(view.value.number == AssignmentNumber(2))
        }
    }

    @Test func itIsForgottenAfterADayAndNotBefore() throws {
        let driver = Driver()
        let submit = Command.submitReport(facts: .example(), content: [1])
        try driver.run(submit, as: .intake, id: id)
        try driver.advance(seconds: 24 * 3_600 - 1)
        try driver.run(submit, as: .intake, id: id)
        #expect(driver.world.counts.reports == 1)
        try driver.advance(seconds: 1)
        try driver.run(submit, as: .intake, id: id)
        #expect(driver.world.counts.reports == 2)
        #expect(driver.world.counts.ledgerEntries == 1)
        // And remembered anew.
        try driver.run(submit, as: .intake, id: id)
        #expect(driver.world.counts.reports == 2)
    }

    @Test func oldEntriesGoFasterThanNewOnesCome() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...1_000 { try driver.submit(.example(UInt64(subject))) }
        try driver.advance(seconds: 24 * 3_600)
        for subject in 1...150 { try driver.submit(.example(UInt64(subject))) }
        #expect(driver.world.counts.ledgerEntries == 150)
        driver.checkInvariants()
    }

    @Test func entriesKeepTheirAnswersInSixtyFourBytes() {
        let time = WallTime(milliseconds: 1_800_000_000_000)
        let answers: [LedgerAnswer] =
            [
                .changedCase(CaseNumber(1 << 47)), .offer(AssignmentNumber(3)),
                .changedAssignment(AssignmentNumber(4)), .changedDisclosure(DisclosureID(.max)),
                .recorded,
            ]
            + Level.allCases.flatMap { level in
                [true, false].map { opened in
                    .receipt(
                        ReportReceipt(
                            caseNumber: CaseNumber(1 << 47), report: ReportNumber(1 << 48 - 1),
                            opened: opened, level: level, revision: .max, receivedAt: time))
                }
            }
        for answer in answers {
            let entry = LedgerEntry(
                key: Hash128(high: 1, low: 2), fingerprint: Hash128(high: 3, low: 4), time: time,
                answer: answer)
            #expect(entry.answer == answer)
        }
        #expect(MemoryLayout<LedgerEntry>.stride == 64)
    }
}
