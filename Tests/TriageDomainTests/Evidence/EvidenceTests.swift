// Evidence in the World: attached within bounds, listed in pages, erased once and never while it is
// held.

import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

extension Driver {
    @discardableResult
    func attach(
        _ attachment: AttachedObject = .example(), to number: CaseNumber = CaseNumber(1)
    ) throws -> EvidenceView {
        guard
            case .evidence(let view) = try run(
                .attachEvidence(case: number, attachment: attachment))
        else { throw Unexpected() }
        return view
    }

    @discardableResult
    func erase(
        _ number: UInt64 = 1, of matter: CaseNumber = CaseNumber(1),
        identities: Set<Hash128> = [], as principal: Principal = .lena
    ) throws -> EvidenceView {
        guard
            case .evidence(let view) = try run(
                .eraseEvidence(
                    case: matter, evidence: EvidenceNumber(number), erasure: .example,
                    identities: identities), as: principal)
        else { throw Unexpected() }
        return view
    }

    func hold(_ order: HoldOrder = .example) throws -> Hold {
        guard
            case .hold(let view) = try run(
                .placeHold(case: CaseNumber(1), order: order), as: .lena)
        else { throw Unexpected() }
        return view.value
    }

    func refusal(_ body: () throws -> Void) -> DomainError? {
        do {
            try body()
            return nil
        } catch {
            return error as? DomainError
        }
    }
}

@Suite struct EvidenceTests {
    private func driver() throws -> Driver {
        let driver = Driver()
        try driver.submit(.example())
        return driver
    }

    @Test func attached_isThere_withWhoAndWhen() throws {
        let driver = try driver()
        let view = try driver.attach()
        #expect(view.value.number == EvidenceNumber(1) && view.value.state == .stored)
        #expect(view.value.attachment == .example())
        #expect(view.principals[view.value.principal] == .alice)
        #expect(view.value.attachedAt == driver.now)
        #expect(view.value.revision == driver.world.counters.sequence)
        #expect(driver.world.counts.evidence == 1 && driver.world.counts.evidenceBytes == 1_000)
        #expect(driver.world.storedObjects == [AttachedObject.example().object])
        let again = try driver.world.evidence(EvidenceNumber(1), of: CaseNumber(1))
        #expect(again.value.attachment == .example())
    }

    @Test func foreignOrMissing_isNotFound() throws {
        let driver = try driver()
        try driver.submit(.example(2))
        try driver.attach()
        let matters: [(UInt64, UInt64)] = [(2, 1), (1, 2), (1, 0), (3, 1), (0, 1)]
        for (matter, number) in matters {
            let refusal = driver.refusal { try driver.erase(number, of: CaseNumber(matter)) }
            #expect(refusal == .notFound(.evidence))
        }
        #expect(
            driver.refusal { try driver.attach(to: CaseNumber(3)) } == .notFound(.case))
        let read = SensitiveRead(
            target: .evidence(CaseNumber(2), EvidenceNumber(1)), purpose: "p")
        #expect(driver.refusal { try driver.run(.recordRead(read)) } == .notFound(.evidence))
    }

    @Test func bounds_areKept_countingWhatIsErasedWhereItCounts() throws {
        let driver = try driver()
        driver.checksEachStep = false
        for number in 1...UInt64(Limits.evidencePerCaseMax) {
            try driver.attach(.example(number, size: 0))
        }
        try driver.erase()
        #expect(
            driver.refusal { try driver.attach(.example(999)) }
                == .tooMuchEvidence(.objectsOfCase, limit: Limits.evidencePerCaseMax))
        try driver.submit(.example(2))
        let large = AttachedObject.example(1_000, size: Limits.vaultBytesMax)
        let matter = CaseNumber(2)
        try driver.attach(large, to: matter)
        #expect(
            driver.refusal { try driver.attach(.example(1_001, size: 1), to: matter) }
                == .tooMuchEvidence(.bytes, limit: Limits.vaultBytesMax))
        try driver.attach(.example(1_002, size: 0), to: matter)
        try driver.erase(UInt64(Limits.evidencePerCaseMax) + 1, of: matter)
        try driver.attach(.example(1_003, size: 1), to: matter)
        driver.checkInvariants()
    }

    @Test func erased_isGone_andSaysHow_andStaysErased() throws {
        let driver = try driver()
        try driver.attach()
        let view = try driver.erase()
        let erasure = try #require(view.value.erasure)
        #expect(view.value.state == .erased && erasure.legalBasis == Erasure.example.legalBasis)
        #expect(view.principals[erasure.principal] == .lena && erasure.erasedAt == driver.now)
        #expect(driver.world.storedObjects.isEmpty && driver.world.counts.evidence == 0)
        #expect(view.value.attachment.caption == Erased.text)
        let records = driver.journal.count
        try driver.advance(seconds: 60)
        let again = try driver.erase(as: .luis)
        #expect(again.value.erasure == erasure, "who asks again learns how it was erased")
        #expect(driver.journal.count == records, "and nothing more is recorded")
    }

    @Test func repeatedRequest_isAnsweredWithTheEvidenceAsItIs() throws {
        let driver = try driver()
        let id = RequestID(high: 7, low: 7)
        let command = Command.attachEvidence(case: CaseNumber(1), attachment: .example())
        try driver.run(command, id: id)
        // The second object was put under another name; it must not be recorded.
        let other = Command.attachEvidence(case: CaseNumber(1), attachment: .example(2))
        guard case .evidence(let view) = try driver.run(other, id: id) else { throw Unexpected() }
        #expect(view.value.attachment == .example() && driver.world.counts.evidence == 1)
        do throws(DomainError) {
            try driver.run(other, id: id, fingerprint: 5)
            Issue.record("took the id for another request")
        } catch { #expect(error == .requestIDReused) }
    }

    @Test func pages_areInOrder_andEnd() throws {
        let driver = try driver()
        try driver.submit(.example(2))
        for number in 1...7 as ClosedRange<UInt64> {
            try driver.attach(.example(number), to: CaseNumber(number % 2 + 1))
        }
        var seen: [UInt64] = []
        var after: UInt64 = 0
        while true {
            let part = try driver.world.evidence(of: CaseNumber(2), after: after, limit: 2)
            seen += part.items.map(\.value.number.value)
            guard let next = part.next else { break }
            after = next
        }
        #expect(seen == [1, 3, 5, 7])
        let whole = try driver.world.evidence(of: CaseNumber(1), after: 0, limit: 3)
        #expect(whole.items.count == 3 && whole.next == nil)
        do throws(DomainError) {
            _ = try driver.world.evidence(of: CaseNumber(3), after: 0, limit: 1)
            Issue.record("listed what is not there")
        } catch { #expect(error == .notFound(.case)) }
    }

    // MARK: Texts

    @Test func erasedTexts_leaveTheFacts_andLaterReportsKeepTheirs() throws {
        let driver = try driver()
        try driver.submit(.example())
        let before = try driver.matter(CaseNumber(1))
        let command = Command.eraseReportTexts(
            case: CaseNumber(1), erasure: .example, identities: [])
        guard case .erasedTexts(_, let count, let revision) = try driver.run(command, as: .lena)
        else { throw Unexpected() }
        #expect(count == 2 && revision == driver.world.counters.sequence)
        let after = try driver.matter(CaseNumber(1))
        #expect(([after.first] + after.more).allSatisfy { $0.content == Erased.content })
        #expect(after.first.number == before.first.number && after.key == before.key)
        #expect(after.subject == before.subject && after.level == before.level)
        let records = driver.journal.count
        try driver.run(command, as: .lena)
        #expect(driver.journal.count == records, "there is nothing left to erase")
        try driver.submit(.example())
        #expect(try driver.matter(CaseNumber(1)).more.last?.content == [1, 2, 3])
        let replayed = driver.replayed()
        #expect(described(replayed.snapshotState) == described(driver.world.snapshotState))
    }

    @Test func erasedWords_areNamedWithTheTimeOfTheirRecord() throws {
        let driver = try driver()
        try driver.submit(.example())
        try driver.attach()
        try driver.advance(seconds: 1)
        var silent = AttachedObject.example()
        silent.caption = ""
        try driver.attach(silent)
        #expect(driver.world.snapshotState.erasedWords.isEmpty)
        let case1 = try driver.matter(CaseNumber(1))
        try driver.run(
            .eraseReportTexts(case: CaseNumber(1), erasure: .example, identities: []), as: .lena)
        try driver.submit(.example())
        try driver.erase(1)
        // Of what had no caption there are no words.
        let unsaid = try driver.erase(2)
        #expect(unsaid.value.attachment.caption.isEmpty)
        let owners: [WordsOwner] = [
            .report(case1.first.number), .report(case1.more[0].number),
            .evidence(EvidenceNumber(1)),
        ]
        let erased = driver.world.snapshotState.erasedWords
        #expect(erased.map(\.owner) == owners)
        let brought = driver.journal.filter { _, events in
            events.contains {
                switch $0 {
                case .reportReceived: true
                case .evidenceAttached(_, let number, _): number == EvidenceNumber(1)
                default: false
                }
            }
        }
        #expect(erased.map(\.recordedAt) == brought.prefix(3).map(\.0.time))
        let replayed = driver.replayed()
        #expect(described(replayed.snapshotState) == described(driver.world.snapshotState))
    }
}
