// Cases, assignments and disclosure requests for tests.

import Testing
import TriageBase
import TriageDomain

@testable import TriageCodec

enum CaseSamples {
    static let received = WallTime(milliseconds: 1_700_000_123_456)
    static let intake = Principal(spiffeID: "spiffe://triaged.test/intake")
    static let alice = Principal(spiffeID: "spiffe://triaged.test/alice")
    static let bob = Principal(spiffeID: "spiffe://triaged.test/bob")
    static let carol = Principal(spiffeID: "spiffe://triaged.test/carol")
    static let principals: [PrincipalIndex: Principal] = [
        PrincipalIndex(1): intake, PrincipalIndex(2): alice, PrincipalIndex(3): bob,
        PrincipalIndex(4): carol,
    ]

    /// Packed content of a valid report.
    static func content() throws -> [UInt8] {
        let decoder = RequestDecoder(pageTokenKey: .random())
        let write = try decode(request("SubmitReport", Valid.submitReport)) {
            try decoder.decodeSubmitReport($0)
        }
        guard case .submitReport(_, let content) = write.command else { return [] }
        return content
    }

    static func view(content: [UInt8], live: Bool = false, more: Int = 0) -> CaseView {
        let code = LevelCode(
            family: .suicideSelfHarm, point: .b, modifiers: [.minor, .locationKnown])
        let facts = ReportFacts(
            family: .suicideSelfHarm, reporter: .user, imminence: .now,
            modifiers: [.minor, .locationKnown], signalPermille: 0, live: live,
            language: LanguageCode(rawValue: 16 << 5 | 20),
            region: RegionCode(rawValue: 2 << 5 | 18), routing: .americas,
            clearance: .graphic, subject: Hash128(high: 1, low: 2))
        var value = Case(
            number: CaseNumber(12), facts: facts, level: .p1, code: code,
            first: StoredReport(
                number: ReportNumber(40), receivedAt: received, submitter: PrincipalIndex(1),
                content: content))
        value.state = .inTriage
        value.effectiveDeadline = received.advanced(byMilliseconds: 600_000)
        value.updatedAt = received.advanced(byMilliseconds: 1_000)
        value.revision = 255
        value.assignment = AssignmentNumber(7)
        value.more = (0..<more).map {
            StoredReport(
                number: ReportNumber(UInt64(41 + $0)), receivedAt: received,
                submitter: PrincipalIndex(1), content: content)
        }
        value.rounds = [
            ProtocolRound(
                answers: ProtocolAnswers(
                    protocolVersion: "2026-11", happeningNow: .no, credibleThreat: .yes,
                    suicideRung: .plan, actionCount: .one, modifiersPresent: .minor,
                    modifiersUnknown: .namedVictim, modifiersAbsent: .weaponOrMeans),
                level: .p1, code: code, principal: PrincipalIndex(2), answeredAt: received,
                lowerReason: "why")
        ]
        value.decisions = [
            CaseDecision(
                outcome: .harmReferred, policyVersion: "p", policyKeys: ["a", "b"],
                rationale: "because",
                duties: DutyAnswers(
                    referral: .done, statutoryReport: .notApplicable, preservation: .unanswered,
                    welfareResource: .done),
                principal: PrincipalIndex(2), decidedAt: received)
        ]
        value.reopenings = [
            Reopening(reason: "news", principal: PrincipalIndex(3), reopenedAt: received)
        ]
        value.pendingLowering = [
            PendingLowering(level: .p3, proposer: PrincipalIndex(3), proposedAt: received)
        ]
        return CaseView(value: value, assignee: alice, principals: principals)
    }

    static func assignment(_ reason: ReleaseReason = .notReleased) -> AssignmentView {
        var value = Assignment(
            number: AssignmentNumber(7), caseNumber: CaseNumber(12), specialist: PrincipalIndex(2),
            offeredAt: received, expiresAt: received.advanced(byMilliseconds: 120_000),
            handedOffFrom: AssignmentNumber(6), note: "note")
        value.revision = 9
        value.releaseReason = reason
        if reason != .notReleased {
            value.state = .released
            value.acceptedAt = received.advanced(byMilliseconds: 1)
            value.endedAt = received.advanced(byMilliseconds: 2)
        }
        return AssignmentView(value: value, specialist: alice)
    }

    static func disclosure(_ state: DisclosureState) throws -> DisclosureView {
        let decoder = RequestDecoder(pageTokenKey: .random())
        let write = try decode(request("SubmitDisclosureRequest", Valid.submitDisclosure)) {
            try decoder.decodeSubmitDisclosureRequest($0)
        }
        guard case .submitDisclosureRequest(let filing) = write.command else {
            throw RequestError.invalid([])
        }
        var value = DisclosureRequest(
            id: DisclosureID(0xDEAD_BEEF), filing: filing, requester: PrincipalIndex(1),
            receivedAt: received)
        value.state = state
        value.instrument = "US_2702_EMERGENCY"
        value.revision = 77
        value.clocks = [
            DisclosureClock(
                kind: "service_target", deadline: received.advanced(byMilliseconds: 3_600_000),
                rule: "US_2702_EMERGENCY")
        ]
        value.preservation = Preservation(
            state: .active, placedAt: received, expiresAt: .distantFuture, rule: "US_2703F")
        value.verifications = [
            Verification(
                method: .callBack, outcome: .passed, note: "rang", principal: PrincipalIndex(2),
                verifiedAt: received)
        ]
        value.scope = Scope(
            items: [
                ScopeItem(
                    subjectIndex: 0, category: .login, start: .epoch, end: received)
            ],
            legalBasis: .us2702Emergency, goodFaithFinding: "finding",
            principal: PrincipalIndex(3), setAt: received)
        value.formerScopers = [PrincipalIndex(4)]
        if state == .approved {
            value.approval = Approval(
                principal: PrincipalIndex(2), approvedAt: received, scopeRevision: 76)
        }
        if state == .rejected {
            value.rejection = Rejection(
                reason: .vague, explanation: "say which", principal: PrincipalIndex(2),
                rejectedAt: received)
        }
        return DisclosureView(value: value, principals: principals)
    }
}
