import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct DisclosureRulesTests {
    // MARK: Filing

    @Test func anEmergencyPlacesItsHoldInTheSameRecord() throws {
        let driver = Driver()
        let request = try driver.file(.emergency())
        #expect(request.state == .verifying)
        #expect(request.instrument == "US_2702_EMERGENCY")
        let hold = try #require(request.preservation)
        #expect(hold.state == .active)
        #expect(hold.rule == "US_2703F_PRESERVATION")
        #expect(hold.expiresAt == driver.now.advanced(byMilliseconds: 90 * 86_400_000))
        #expect(driver.journal.count == 1)
        #expect(driver.world.nextTimer == hold.expiresAt)
        #expect(driver.world.counts.openDisclosures == 1)
        try driver.advance(seconds: 90 * 86_400)
        #expect(try driver.request(request.id).preservation?.state == .expired)
        #expect(driver.world.nextTimer == nil)
    }

    @Test func whatAnEmergencyLacksIsNamed() {
        let lacking: [(String, (inout DisclosureFiling) -> Void)] = [
            ("officer.sworn", { $0.officer.sworn = false }),
            ("emergency", { $0.emergency = nil }),
            ("emergency.danger_to_life_declared", { $0.emergency?.dangerToLifeDeclared = false }),
            ("emergency.on_letterhead", { $0.emergency?.onLetterhead = false }),
            ("emergency.summary", { $0.emergency?.summary = "" }),
            ("emergency.person_in_danger", { $0.emergency?.personInDanger = "" }),
            ("emergency.necessity", { $0.emergency?.necessity = "" }),
            ("emergency.needed_by_reason", { $0.emergency?.neededBy = .distantFuture }),
            ("agency.name", { $0.agency.name = "" }),
            ("officer.name", { $0.officer.name = "" }),
            ("subject_identifiers", { $0.identifiers = [] }),
            ("data_requests", { $0.dataRequests = [] }),
            ("data_requests[1].justification", { $0.dataRequests[1].justification = "" }),
            ("data_requests[0].end_time", { $0.dataRequests[0].end = .distantFuture }),
            ("data_requests[0].end_time", { $0.dataRequests[0].start = $0.dataRequests[0].end }),
        ]
        for (field, spoil) in lacking {
            let driver = Driver()
            var filing = DisclosureFiling.emergency()
            spoil(&filing)
            do throws(DomainError) {
                try driver.run(.submitDisclosureRequest(filing), as: .agency)
                Issue.record("accepted without \(field)")
            } catch {
                guard case .invalidField(field, _) = error else {
                    Issue.record("\(field): \(error)")
                    continue
                }
            }
            #expect(driver.world.counts.disclosures == 0)
        }
    }

    @Test func allThatIsLackingIsToldAtOnce() throws {
        let driver = Driver()
        var filing = DisclosureFiling.emergency()
        filing.officer.sworn = false
        filing.identifiers = []
        do throws(DomainError) {
            try driver.run(.submitDisclosureRequest(filing), as: .agency)
            Issue.record("accepted")
        } catch {
            guard case .invalidField("officer.sworn", let description) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(description.contains("subject_identifiers: "))
        }
    }

    @Test func processIsRequiredWhereItIsCited() {
        let driver = Driver()
        var filing = DisclosureFiling.process(.subpoena)
        filing.legalProcess = nil
        #expect(throws: DomainError.self) {
            try driver.run(.submitDisclosureRequest(filing), as: .agency)
        }
    }

    @Test func aLinkedCaseMustExist() {
        let driver = Driver()
        #expect(throws: DomainError.notFound(.case)) {
            try driver.run(.submitDisclosureRequest(.emergency(case: CaseNumber(1))), as: .lena)
        }
    }

    @Test func idsComeFromTheRandomBitsAndDoNotRepeat() throws {
        let driver = Driver()
        var ids: Set<DisclosureID> = []
        for random in [UInt64(0), 0, 7, 7, 7] {
            guard
                case .changedDisclosure(let view) = try driver.run(
                    .submitDisclosureRequest(.emergency()), as: .agency, random: random)
            else { throw Unexpected() }
            #expect(view.value.id != .none)
            #expect(ids.insert(view.value.id).inserted)
        }
        #expect(ids.contains(DisclosureID(7)))
    }

    // MARK: Verification

    @Test func twoMethodsOneOutOfBandVerify() throws {
        let driver = Driver()
        let id = try driver.file(.emergency()).id
        try driver.verify(id, .email)
        try driver.verify(id, .registry)
        #expect(try driver.request(id).state == .verifying)
        try driver.verify(id, .callBack)
        #expect(try driver.request(id).state == .legalReview)
        #expect(try driver.request(id).verifications.count == 3)
        #expect(throws: DomainError.self) { try driver.verify(id, .email) }
    }

    @Test func theSameMethodTwiceIsOne() throws {
        let driver = Driver()
        let id = try driver.file(.emergency()).id
        try driver.verify(id, .callBack)
        try driver.verify(id, .callBack)
        #expect(try driver.request(id).state == .verifying)
    }

    @Test func aFailedStepEndsVerificationAndOnlyRejectionIsLeft() throws {
        let driver = Driver()
        let id = try driver.file(.emergency()).id
        try driver.verify(id, .callBack)
        try driver.verify(id, .forged)
        #expect(try driver.request(id).state == .verificationFailed)
        #expect(
            throws: DomainError.illegalTransition(
                resource: .disclosureRequest, from: "VERIFICATION_FAILED", to: "VERIFIED",
                allowed: ["VERIFYING"])
        ) { try driver.verify(id, .registry) }
        try driver.reject(id)
        let rejected = try driver.request(id)
        #expect(rejected.state == .rejected)
        #expect(rejected.preservation?.state == .released)
        #expect(driver.world.nextTimer == nil)
        #expect(driver.world.counts.openDisclosures == 0)
    }

    // MARK: Scope

    @Test func aScopeStaysWithinWhatWasAskedFor() throws {
        let driver = Driver()
        let id = try driver.verified(.emergency())
        func refused(_ field: String, _ change: (inout Scope) -> Void) {
            var scope = Scope.example(.us2702Emergency)
            change(&scope)
            do throws(DomainError) {
                try driver.setScope(id, scope)
                Issue.record("accepted: \(field)")
            } catch {
                guard case .invalidField(field, _) = error else {
                    Issue.record("\(field): \(error)")
                    return
                }
            }
        }
        refused("scope.items") { $0.items = [] }
        refused("scope.items[0].subject_index") { $0.items[0].subjectIndex = 2 }
        refused("scope.items[0].subject_index") { $0.items[0].subjectIndex = -1 }
        refused("scope.items[0].category") { $0.items[0].category = .transaction }
        refused("scope.items[0].start_time") {
            $0.items[0].start = $0.items[0].start.advanced(byMilliseconds: -1)
        }
        refused("scope.items[0].start_time") {
            $0.items[0].end = $0.items[0].end.advanced(byMilliseconds: 1)
        }
        refused("scope.items[0].start_time") { $0.items[0].end = $0.items[0].start }
        refused("scope.legal_basis") { $0.legalBasis = .euGDPRVitalInterests }
        refused("scope.good_faith_finding") { $0.goodFaithFinding = "" }
        #expect(try driver.request(id).state == .legalReview)
        try driver.setScope(id, .example(.us2702Emergency, .content))
        let scoped = try driver.request(id)
        #expect(scoped.state == .awaitingApproval)
        #expect(scoped.scope?.setAt == driver.now)
    }

    @Test(arguments: [
        (LegalProcessKind.subpoena, [DataCategory.subscriber]),
        (.courtOrder, [.subscriber, .login, .interaction, .transaction]),
        (.searchWarrant, DataCategory.allCases),
    ])
    func theLadderOfProcessLimitsTheCategories(
        _ kind: LegalProcessKind, _ reached: [DataCategory]
    ) throws {
        for category in [DataCategory.subscriber, .login, .content] {
            let driver = Driver()
            let id = try driver.verified(.process(kind))
            let scope = Scope.example(.us2703Process, category, finding: "")
            if reached.contains(category) {
                try driver.setScope(id, scope)
            } else {
                #expect(throws: DomainError.self, "\(kind) \(category)") {
                    try driver.setScope(id, scope)
                }
            }
        }
    }

    @Test func aHoldNeverBecomesADisclosure() throws {
        let driver = Driver()
        let id = try driver.verified(.preservation())
        #expect(try driver.request(id).preservation?.state == .active)
        for basis in LegalBasis.allCases {
            #expect(throws: DomainError.self) { try driver.setScope(id, .example(basis)) }
        }
    }

    // MARK: Approval

    @Test func approvalNeedsSomebodyWhoNeitherFiledNorVerifiedNorScoped() throws {
        let driver = Driver()
        let id = try driver.file(.emergency(), as: .bob).id
        try driver.verify(id, .registry, as: .lena)
        try driver.verify(id, .callBack, as: .alice)
        try driver.setScope(id, .example(.us2702Emergency), as: .luis)
        for principal in [Principal.bob, .lena, .alice, .luis] {
            #expect(throws: DomainError.secondPersonRequired(action: "approve")) {
                try driver.approve(id, as: principal)
            }
        }
        let read = try driver.request(id).revision
        try driver.approve(id, as: .lars)
        let approved = try driver.request(id)
        #expect(approved.state == .approved)
        #expect(approved.approval?.scopeRevision == read)
        #expect(approved.approval?.approvedAt == driver.now)
        #expect(approved.preservation?.state == .active)
        #expect(driver.world.counts.openDisclosures == 0)
        #expect(throws: DomainError.self) { try driver.reject(id) }
    }

    @Test func whoSetAScopeThatWasReplaced_mayNotApprove() throws {
        let driver = Driver()
        let id = try driver.verified(.emergency())
        try driver.setScope(id, .example(.us2702Emergency, .content), as: .lars)
        try driver.setScope(id, .example(.us2702Emergency), as: .bob)
        try driver.setScope(id, .example(.us2702Emergency), as: .bob)
        try driver.setScope(id, .example(.us2702Emergency), as: .luis)
        func names(_ world: borrowing World) throws -> [String] {
            let view = try world.disclosure(id, visibleTo: nil)
            return view.value.participants.compactMap { view.principals[$0]?.text }
        }
        let expected = [Principal.agency, .lena, .lars, .bob, .luis].map(\.text)
        #expect(try names(driver.world) == expected)
        #expect(try names(driver.replayed()) == expected)
        #expect(try names(rebuilt(from: driver.world.snapshotState)) == expected)
        for principal in [Principal.lars, .bob, .luis, .lena, .agency] {
            #expect(throws: DomainError.secondPersonRequired(action: "approve")) {
                try driver.approve(id, as: principal)
            }
        }
        try driver.approve(id, as: .alice)
        #expect(try driver.request(id).state == .approved)
    }

    @Test func moreThanCanBeRememberedMayNotTakePart() throws {
        let driver = Driver()
        let id = try driver.verified(.emergency())
        // The agency and Lena took part already.
        let others = (2..<Limits.participantsPerDisclosureMax).map {
            Principal(spiffeID: "spiffe://example.org/legal/\($0)")
        }
        for other in others { try driver.setScope(id, .example(.us2702Emergency), as: other) }
        #expect(
            throws: DomainError.tooManyParticipants(limit: Limits.participantsPerDisclosureMax)
        ) { try driver.setScope(id, .example(.us2702Emergency), as: .luis) }
        // Who is remembered may go on, and somebody new may approve.
        try driver.setScope(id, .example(.us2702Emergency), as: others[0])
        #expect(throws: DomainError.secondPersonRequired(action: "approve")) {
            try driver.approve(id, as: others[1])
        }
        try driver.approve(id, as: .luis)
    }

    @Test func verificationIsBounded() throws {
        let driver = Driver()
        let id = try driver.file(.emergency()).id
        for _ in 0..<Limits.verificationsPerDisclosureMax { try driver.verify(id, .email) }
        #expect(
            throws: DomainError.tooManyVerifications(
                limit: Limits.verificationsPerDisclosureMax)
        ) { try driver.verify(id, .callBack) }
        try driver.reject(id)
    }

    @Test func nothingIsChangedOnceItIsApproved() throws {
        let driver = Driver()
        let id = try driver.verified(.emergency())
        try driver.setScope(id, .example(.us2702Emergency))
        try driver.approve(id, as: .lars)
        let approved = try driver.request(id)
        #expect(throws: DomainError.self) {
            try driver.setScope(id, .example(.us2702Emergency, .content))
        }
        #expect(throws: DomainError.self) { try driver.verify(id, .forged) }
        #expect(throws: DomainError.self) { try driver.approve(id, as: .alice) }
        #expect(throws: DomainError.self) { try driver.reject(id) }
        #expect(try driver.request(id).revision == approved.revision)
    }

    @Test func onlyWhatWasReadIsApproved() throws {
        let driver = Driver()
        let id = try driver.verified(.emergency())
        try driver.setScope(id, .example(.us2702Emergency))
        let read = try driver.request(id).revision
        try driver.setScope(id, .example(.us2702Emergency, .content))
        #expect(throws: DomainError.etagMismatch(.disclosureRequest)) {
            try driver.run(.approveDisclosure(request: id, etag: read), as: .lars)
        }
    }

    /// Every state and every action: allowed, or an error that names from, to and where.
    @Test func everyStateAnswersEveryAction() throws {
        for state in DisclosureState.allCases {
            for action in DisclosureRules.Action.allCases {
                do throws(DomainError) {
                    try DisclosureRules.check(action, from: state)
                    #expect(action.allowed.contains(state))
                } catch {
                    #expect(!action.allowed.contains(state))
                    #expect(
                        error
                            == .illegalTransition(
                                resource: .disclosureRequest, from: state.text, to: action.goal,
                                allowed: action.allowed.map(\.text)))
                }
                if !state.isOpen { #expect(!action.allowed.contains(state)) }
            }
            #expect(DisclosureRules.Action.reject.allowed.contains(state) == state.isOpen)
        }
    }

    // MARK: Who sees what

    @Test func aForeignRequestIsNotFound() throws {
        let driver = Driver()
        let id = try driver.file(.emergency(), as: .agency).id
        #expect(try driver.world.disclosure(id, visibleTo: .agency).value.id == id)
        for stranger in [Principal.bob, Principal(dnsName: "never.seen")] {
            #expect(throws: DomainError.notFound(.disclosureRequest)) {
                try driver.world.disclosure(id, visibleTo: stranger)
            }
        }
        #expect(throws: DomainError.notFound(.disclosureRequest)) {
            try driver.world.disclosure(DisclosureID(99), visibleTo: nil)
        }
    }

    @Test func listsAreNewestFirstAndPaged() throws {
        let driver = Driver()
        var ids: [DisclosureID] = []
        for index in 0..<7 {
            ids.append(
                try driver.file(.emergency(), as: index % 2 == 0 ? .agency : .bob).id)
        }
        try driver.reject(ids[2])
        func all(_ requester: Principal?, _ states: [DisclosureState] = []) -> [DisclosureID] {
            var found: [DisclosureID] = []
            var cursor: DisclosureCursor?
            repeat {
                let page = driver.world.disclosures(
                    after: cursor, limit: 2, states: states, requester: requester)
                #expect(page.requests.count <= 2)
                found += page.requests.map(\.value.id)
                cursor = page.next
            } while cursor != nil
            return found
        }
        #expect(all(nil) == ids.reversed())
        #expect(all(.agency) == [ids[6], ids[4], ids[2], ids[0]])
        #expect(all(nil, [.rejected]) == [ids[2]])
        #expect(all(.lena).isEmpty)
    }
}

@Suite struct InstrumentRulesTests {
    static let before = WallTime(milliseconds: 1_786_000_000_000)
    static let after = WallTime(milliseconds: 1_800_000_000_000)

    @Test func everyRuleIsComplete() {
        for rule in InstrumentRules.all {
            #expect(!rule.source.isEmpty && !rule.title.isEmpty)
            if let key = rule.preservedUnder {
                #expect(InstrumentRules.rule(key)?.preservation != nil, "\(rule.key)")
            }
            for clock in rule.clocks {
                #expect(0 < clock.allowanceMilliseconds)
                #expect(clock.allowanceMilliseconds < clock.milliseconds, "\(rule.key)")
            }
            // What holds data discloses none.
            if rule.preservation != nil { #expect(rule.reaches.isEmpty) }
        }
        #expect(InstrumentRules.rule("NONE") == nil)
        #expect(InstrumentRules.rule("EU_2023_1543_EMERGENCY", at: Self.before) == nil)
        #expect(InstrumentRules.rule("EU_2023_1543_EMERGENCY")?.mark == .secondary)
    }

    @Test func classificationIsTotal() {
        let kinds: [LegalProcessKind?] = [nil] + LegalProcessKind.allCases
        for time in [WallTime.epoch, Self.before, Self.after] {
            for addressee in Addressee.allCases {
                for kind in kinds {
                    for filing in [
                        DisclosureFiling.emergency(addressee: addressee, process: kind),
                        .process(kind ?? .subpoena, addressee: addressee),
                        .preservation(addressee: addressee, process: kind),
                    ] {
                        let rule = InstrumentRules.classify(filing, at: time)
                        #expect(rule.effectiveFrom <= time)
                        let hold = DisclosureRules.preservation(rule, receivedAt: time)
                        if filing.kind != .legalProcess { #expect(hold != nil, "\(rule.key)") }
                        #expect(
                            rule.reaches.isEmpty
                                == (filing.kind == .preservation
                                    || kind == .euPreservationOrder
                                        && filing.kind == .legalProcess),
                            "\(rule.key)")
                    }
                }
            }
        }
    }

    @Test func emergenciesGoByTheEntityAddressed() {
        func key(_ addressee: Addressee, _ process: LegalProcessKind? = nil) -> String {
            InstrumentRules.classify(
                .emergency(addressee: addressee, process: process), at: Self.after
            ).key
        }
        #expect(key(.unitedStates) == "US_2702_EMERGENCY")
        #expect(key(.unitedKingdom) == "UK_GDPR_VITAL_INTERESTS")
        #expect(key(.eeaSwitzerland) == "EU_GDPR_VITAL_INTERESTS")
        #expect(key(.eeaSwitzerland, .euProductionOrder) == "EU_2023_1543_EMERGENCY")
        #expect(key(.restOfWorld) == "VOLUNTARY_EMERGENCY")
    }

    @Test func aEuropeanOrderGoesByItsDay() {
        let order = DisclosureFiling.process(.euProductionOrder, addressee: .eeaSwitzerland)
        #expect(InstrumentRules.classify(order, at: Self.before).key == "DOMESTIC_PROCESS")
        let first = WallTime(milliseconds: 1_787_011_200_000)
        #expect(InstrumentRules.classify(order, at: first).key == "EU_2023_1543_PRODUCTION")
        #expect(
            InstrumentRules.classify(order, at: first.advanced(byMilliseconds: -1)).key
                == "DOMESTIC_PROCESS")
    }

    @Test func periodsAndClocksAreThoseOfTheReference() throws {
        let day: Int64 = 86_400_000
        func clocks(_ key: String) throws -> [String: Int64] {
            let rule = try #require(InstrumentRules.rule(key))
            return Dictionary(
                uniqueKeysWithValues: DisclosureRules.clocks(rule, receivedAt: .epoch).map {
                    ($0.kind, $0.deadline.milliseconds)
                })
        }
        #expect(try clocks("EU_2023_1543_EMERGENCY")["answer"] == 8 * 3_600_000)
        #expect(try clocks("EU_2023_1543_EMERGENCY")["handling"] == 4 * 3_600_000)
        #expect(try clocks("EU_2023_1543_PRODUCTION")["answer"] == 10 * day)
        // Voluntary: no statutory clock.
        #expect(try clocks("US_2702_EMERGENCY").keys.sorted() == ["service_target"])
        let us = try #require(InstrumentRules.rule("US_2703F_PRESERVATION")?.preservation)
        #expect(us.periodMilliseconds == 90 * day && us.extensionMilliseconds == 90 * day)
        let eu = try #require(InstrumentRules.rule("EU_2023_1543_PRESERVATION")?.preservation)
        #expect(eu.periodMilliseconds == 60 * day && eu.extensionMilliseconds == 30 * day)
    }

    @Test func aLegalClockOrdersItsCaseAndPromotesItWhenItRunsShort() throws {
        let driver = Driver()
        let number = try driver.submit(.example(imminence: .notImminent)).caseNumber
        let other = try driver.submit(.example(2)).caseNumber
        try driver.advance(seconds: 1)
        let id = try driver.file(
            .emergency(addressee: .eeaSwitzerland, process: .euProductionOrder, case: number),
            as: .lena
        ).id
        let linked = try driver.matter(number)
        #expect(linked.legalDeadline == driver.now.advanced(byMilliseconds: 4 * 3_600_000))
        #expect(linked.band == 2)
        // The service target is earlier still.
        #expect(linked.governedBy == .target)
        #expect(driver.world.nextTimer == linked.legalDeadline)
        try driver.advance(seconds: 4 * 3_600)
        let due = try driver.matter(number)
        #expect(due.band == 1)
        #expect(try driver.matter(other).band == 2)
        #expect(
            driver.world.board(after: nil, limit: 1, filter: BoardFilter()).cases[0].value.number
                == number)
        // Approved or rejected, the clock stops.
        try driver.reject(id)
        #expect(try driver.matter(number).legalDeadline == .distantFuture)
        #expect(try driver.matter(number).band == 2)
    }
}

extension Driver {
    func file(
        _ filing: DisclosureFiling, as principal: Principal = .agency
    ) throws -> DisclosureRequest {
        let outcome = try run(
            .submitDisclosureRequest(filing), as: principal,
            random: mix64(world.counters.sequence &+ 1))
        guard case .changedDisclosure(let view) = outcome else { throw Unexpected() }
        return view.value
    }

    func verify(
        _ id: DisclosureID, _ step: Verification, as principal: Principal = .lena
    ) throws(DomainError) {
        try run(.addVerification(request: id, verification: step, etag: nil), as: principal)
    }

    /// Files and verifies a request.
    func verified(_ filing: DisclosureFiling) throws -> DisclosureID {
        let id = try file(filing).id
        try verify(id, .registry)
        try verify(id, .callBack)
        return id
    }

    func setScope(
        _ id: DisclosureID, _ scope: Scope, as principal: Principal = .luis
    ) throws(DomainError) {
        try run(.setScope(request: id, scope: scope, etag: nil), as: principal)
    }

    func approve(_ id: DisclosureID, as principal: Principal) throws {
        try run(
            .approveDisclosure(request: id, etag: try request(id).revision), as: principal)
    }

    func reject(_ id: DisclosureID) throws(DomainError) {
        try run(
            .rejectDisclosure(
                request: id,
                rejection: Rejection(reason: .identityNotVerified, explanation: "call-back failed"),
                etag: nil), as: .lena)
    }
}
