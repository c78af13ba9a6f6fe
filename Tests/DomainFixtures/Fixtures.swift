// Values that tests of the rules start from.

package import TriageBase
package import TriageDomain

extension Principal {
    package static let intake = Principal(spiffeID: "spiffe://example.org/intake")
    package static let alice = Principal(spiffeID: "spiffe://example.org/specialist/alice")
    package static let bob = Principal(spiffeID: "spiffe://example.org/specialist/bob")
    package static let lena = Principal(spiffeID: "spiffe://example.org/legal/lena")
    package static let luis = Principal(spiffeID: "spiffe://example.org/legal/luis")
    package static let lars = Principal(spiffeID: "spiffe://example.org/legal/lars")
    package static let agency = Principal(dnsName: "api.police.example")
}

extension Eligibility {
    package static let everything = Eligibility(
        skills: .max, clearances: .max, regions: .max, languages: [], allLanguages: true)
    package static let generalOnly = Eligibility(
        skills: .max, clearances: 1 << Clearance.general.rawValue, regions: .max, languages: [],
        allLanguages: true)
}

extension ReportFacts {
    /// A threat by a user, about subject 1, of which little is known: P2.
    package static func example(
        _ subject: UInt64 = 1, family: HarmFamily = .violentThreat, reporter: ReporterKind = .user,
        imminence: Imminence = .unspecified, modifiers: RiskModifiers = [], signal: UInt16 = 0,
        live: Bool = false, language: LanguageCode = .undetermined, region: RegionCode = .unknown,
        clearance: Clearance = .general
    ) -> ReportFacts {
        ReportFacts(
            family: family, reporter: reporter, imminence: imminence, modifiers: modifiers,
            signalPermille: signal, live: live, language: language, region: region,
            routing: .serving(region), clearance: clearance,
            subject: Hash128(high: 0, low: subject))
    }
}

extension ProtocolAnswers {
    /// Answers that give `level`, without circumstances.
    package static func giving(_ level: Level) -> ProtocolAnswers {
        var answers = ProtocolAnswers(
            protocolVersion: "2026-11", happeningNow: .no, credibleThreat: .no,
            suicideRung: .notAsked, actionCount: .none, modifiersPresent: [],
            modifiersUnknown: [], modifiersAbsent: RiskModifiers(rawValue: 0x7F))
        switch level {
        case .p0: answers.happeningNow = .yes
        case .p1: answers.credibleThreat = .yes
        case .p2: answers.actionCount = .twoOrMore
        case .p3: answers.actionCount = .one
        case .p4: break
        }
        return answers
    }
}

extension DutyAnswers {
    package static let done = DutyAnswers(
        referral: .done, statutoryReport: .notApplicable, preservation: .done,
        welfareResource: .done)
    package static let none = DutyAnswers(
        referral: .unanswered, statutoryReport: .unanswered, preservation: .unanswered,
        welfareResource: .unanswered)
}

extension CaseDecision {
    package static func example(_ duties: DutyAnswers = .done) -> CaseDecision {
        CaseDecision(
            outcome: .harmReferred, policyVersion: "2026-11", policyKeys: ["violence.threat"],
            rationale: "credible", duties: duties)
    }
}

extension DisclosureFiling {
    /// A complete emergency request to the United States entity.
    package static func emergency(
        addressee: Addressee = .unitedStates, process: LegalProcessKind? = nil,
        case number: CaseNumber = .none
    ) -> DisclosureFiling {
        var filing = DisclosureFiling(
            kind: .emergency, addressee: addressee, userNotice: .wouldEndanger)
        filing.fillIn()
        filing.officer.sworn = true
        var emergency = Emergency(nature: .missingPerson)
        emergency.summary = "A child went missing after school"
        emergency.personInDanger = "A girl of nine"
        emergency.necessity = "Her last log-ins say where she is"
        emergency.dangerToLifeDeclared = true
        emergency.onLetterhead = true
        filing.emergency = emergency
        filing.cite(process)
        filing.caseNumber = number
        return filing
    }

    /// A complete request under legal process.
    package static func process(
        _ kind: LegalProcessKind, addressee: Addressee = .unitedStates
    ) -> DisclosureFiling {
        var filing = DisclosureFiling(
            kind: .legalProcess, addressee: addressee, userNotice: .permitted)
        filing.fillIn()
        filing.cite(kind)
        return filing
    }

    /// A complete request for a hold.
    package static func preservation(
        addressee: Addressee = .unitedStates, process: LegalProcessKind? = nil
    ) -> DisclosureFiling {
        var filing = DisclosureFiling(
            kind: .preservation, addressee: addressee, userNotice: .prohibited)
        filing.fillIn()
        filing.cite(process)
        return filing
    }

    private mutating func cite(_ kind: LegalProcessKind?) {
        guard let kind else { return }
        var process = LegalProcess(kind: kind)
        process.citation = "18 U.S.C. 2703"
        process.offence = "Kidnapping"
        legalProcess = process
    }

    private mutating func fillIn() {
        agency.name = "Example Police"
        agency.address = "1 Example Square"
        officer.name = "R. Doe"
        officer.badgeID = "4711"
        officer.email = "doe@police.example"
        officer.phone = "+1 555 0100"
        identifiers = [
            SubjectIdentifier(kind: .username, value: "user1"),
            SubjectIdentifier(kind: .email, value: "u@example.org"),
        ]
        dataRequests = [
            DataRequest(
                category: .subscriber, justification: "who", start: Self.start, end: Self.end),
            DataRequest(
                category: .login, justification: "where from", start: Self.start, end: Self.end),
            DataRequest(
                category: .content, justification: "what was said", start: Self.start,
                end: Self.end),
        ]
    }

    /// The period asked for: one day that lies before every test's clock.
    package static let start = WallTime(milliseconds: 1_799_000_000_000)
    package static let end = WallTime(milliseconds: 1_799_086_400_000)
}

extension Scope {
    /// One item, within what the examples ask for.
    package static func example(
        _ basis: LegalBasis, _ category: DataCategory = .subscriber,
        finding: String = "in good faith"
    ) -> Scope {
        Scope(
            items: [
                ScopeItem(
                    subjectIndex: 0, category: category, start: DisclosureFiling.start,
                    end: DisclosureFiling.end)
            ], legalBasis: basis, goodFaithFinding: finding)
    }
}

extension Verification {
    package static let callBack = Verification(method: .callBack, outcome: .passed, note: "")
    package static let registry = Verification(method: .agencyRegistry, outcome: .passed, note: "")
    package static let email = Verification(method: .officialEmail, outcome: .passed, note: "")
    package static let forged = Verification(
        method: .documentExamination, outcome: .failed, note: "forged")
}

extension AttachedObject {
    /// An object of some bytes; each number another one.
    package static func example(_ number: UInt64 = 1, size: Int = 1_000) -> AttachedObject {
        AttachedObject(
            mediaType: "video/mp4", caption: "the bridge",
            object: ObjectName(Digest(number, 0, 0, 1)),
            sha256: Digest(number, 0, 0, 2), size: size)
    }
}

extension Erasure {
    package static let example = Erasure(
        ground: .dataSubjectRequest, legalBasis: "Regulation (EU) 2016/679, Article 17(1)",
        reason: "asked for by its subject")
}

extension HoldOrder {
    package static let example = HoldOrder(
        rule: "US_2258A_REPORT", authority: "National Center", reference: "CT-1", reason: "reported"
    )
}

/// Everything that a snapshot would hold, as text to compare field by field.
package func described(_ state: WorldState) -> [String] {
    state.cases.map { "\($0)" } + state.assignments.map { "\($0)" }
        + state.disclosures.map { "\($0)" } + state.ledger.map { "\($0)" }
        + state.evidence.map { "\($0)" } + state.holds.map { "\($0)" }
        + state.principals.map { $0.text } + ["\(state.counters)"]
}
