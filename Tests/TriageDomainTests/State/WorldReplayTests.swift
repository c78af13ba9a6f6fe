import Testing
import TriageBase

@testable import TriageDomain

/// Commands from a seed: most of them sensible, some of them stale, foreign or out of turn.
private struct Chance {
    var random: SeededRandom
    let specialists = (0..<4).map { Principal(spiffeID: "spiffe://example.org/specialist/\($0)") }
    let legal = (0..<8).map { Principal(spiffeID: "spiffe://example.org/legal/\($0)") }

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

    mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

    mutating func facts() -> ReportFacts {
        // Mostly mild ones, or everything would soon be P1 and nothing left to promote.
        if below(3) > 0 { return .example(UInt64(below(300)), imminence: .notImminent) }
        return .example(
            UInt64(below(300)), family: pick(HarmFamily.allCases),
            reporter: pick(ReporterKind.allCases),
            imminence: pick(Imminence.allCases),
            modifiers: RiskModifiers(rawValue: UInt8(below(128)) & UInt8(below(128))),
            signal: UInt16(below(1_001)), live: below(5) == 0,
            language: LanguageCode(rawValue: UInt16(below(3))),
            region: RegionCode(rawValue: UInt16(below(900))))
    }

    mutating func eligibility() -> Eligibility {
        switch below(4) {
        case 0: .generalOnly
        case 1:
            Eligibility(
                skills: UInt32(truncatingIfNeeded: random.next()), clearances: .max, regions: .max,
                languages: [1])
        default: .everything
        }
    }

    /// One command and who asks, for the World as it is.
    mutating func command(_ state: WorldState) -> (Command, Principal) {
        let number = CaseNumber(UInt64(below(state.cases.count + 2)))
        let specialist = pick(specialists)
        switch below(20) {
        case 0...5: return (.submitReport(facts: facts(), content: [UInt8(below(256))]), .intake)
        case 6, 7: return (.claimNext(eligibility: eligibility()), specialist)
        case 8:
            return (
                .answerProtocol(
                    case: number, answers: .giving(below(4) == 0 ? .p1 : .p4),
                    lowerReason: below(4) == 0 ? "" : "looked", token: .none, etag: nil), specialist
            )
        case 9: return (.reopenCase(case: number, reason: "again", etag: nil), specialist)
        case 10...14: return holderCommand(state)
        case 15: return (evidenceCommand(number, state), pick(legal))
        default: return disclosureCommand(state)
        }
    }

    /// What the holder of a case may ask; now and then with a token of before, or as somebody else.
    private mutating func holderCommand(_ state: WorldState) -> (Command, Principal) {
        let held = state.assignments.filter(\.state.holdsCase)
        guard !held.isEmpty else { return (.claimNext(eligibility: .everything), specialists[0]) }
        let assignment = pick(held)
        let matter = assignment.caseNumber
        var token = assignment.number
        var caller = state.principals[Int(assignment.specialist.value)]
        if below(10) == 0 { token = AssignmentNumber(UInt64(below(Int(token.value) + 1))) }
        if below(10) == 0 { caller = pick(specialists) }
        let command: Command =
            switch below(12) {
            case 0...2: .acceptCase(assignment: token, token: token)
            case 3: .renewLease(assignment: token, token: token, leaseMilliseconds: 60_000)
            case 4:
                .releaseLease(assignment: token, token: token, reason: pick(ReleaseReason.allCases))
            case 5:
                .handOffCase(
                    assignment: token, token: token, to: pick(specialists),
                    eligibility: eligibility(), note: "n")
            case 6: .completeCase(assignment: token, token: token)
            case 7:
                .answerProtocol(
                    case: matter, answers: .giving(pick(Level.allCases)), lowerReason: "seen",
                    token: token, etag: nil)
            case 8, 9: .decideCase(case: matter, decision: .example(), token: token, etag: nil)
            default:
                .closeCase(case: matter, token: token, liveRiskEnded: below(2) == 0, etag: nil)
            }
        return (command, caller)
    }

    /// Evidence and holds of a case; some of them of another one.
    private mutating func evidenceCommand(_ number: CaseNumber, _ state: WorldState) -> Command {
        let evidence = EvidenceNumber(UInt64(below(state.evidence.count + 2)))
        let hold = HoldNumber(UInt64(below(state.holds.count + 2)))
        let owner =
            state.evidence.indices.contains(Int(evidence.value))
            ? state.evidence[Int(evidence.value)].caseNumber : number
        switch below(10) {
        case 0...3:
            return .attachEvidence(
                case: number, attachment: .example(random.next(), size: below(1 << 20)))
        case 4, 5:
            return .eraseEvidence(
                case: owner, evidence: evidence, erasure: .example, identities: [])
        case 6:
            return .eraseReportTexts(
                case: number, erasure: .example, replacement: [], identities: [])
        case 7, 8:
            var order = HoldOrder.example
            if below(2) == 0 { order.rule = "INTERNAL_REVIEW" }
            order.expiresAt = WallTime(
                milliseconds: 1_800_000_000_000 + Int64(below(1 << 30)) * 40)
            return .placeHold(case: number, order: order)
        default:
            let matter =
                state.holds.indices.contains(Int(hold.value))
                ? state.holds[Int(hold.value)].caseNumber : number
            return .releaseHold(
                case: matter, hold: hold, release: HoldRelease(authority: "a", reason: "r"))
        }
    }

    private mutating func disclosureCommand(_ state: WorldState) -> (Command, Principal) {
        let principal = pick(legal)
        let open = state.disclosures.suffix(12).filter(\.state.isOpen)
        guard !open.isEmpty, below(8) > 0 else {
            let number = CaseNumber(UInt64(below(state.cases.count + 1)))
            switch below(6) {
            case 0: return (.submitDisclosureRequest(.emergency(case: number)), .agency)
            case 1...4:
                let filing = DisclosureFiling.emergency(
                    addressee: .eeaSwitzerland, process: .euProductionOrder, case: number)
                return (.submitDisclosureRequest(filing), principal)
            default:
                return (
                    .submitDisclosureRequest(.process(pick([.subpoena, .searchWarrant]))), .agency
                )
            }
        }
        let request = pick(open)
        let command: Command =
            switch below(16) {
            case 0...7:
                .addVerification(
                    request: request.id,
                    verification: below(20) == 0 ? .forged : pick([.callBack, .registry, .email]),
                    etag: nil)
            case 8...12:
                .setScope(
                    request: request.id,
                    scope: .example(
                        request.instrument.hasPrefix("EU")
                            ? .eu20231543Production : pick([.us2702Emergency, .us2703Process])),
                    etag: nil)
            case 13, 14: .approveDisclosure(request: request.id, etag: request.revision)
            default:
                .rejectDisclosure(
                    request: request.id, rejection: Rejection(reason: .vague, explanation: ""),
                    etag: nil)
            }
        return (command, principal)
    }
}

@Suite struct WorldReplayTests {
    static let seeds: [UInt64] = [
        1, 2, 3, UInt64(ContinuousClock.now.duration(to: .now).components.attoseconds),
    ]

    /// Runs random commands; returns how often each kind of event happened.
    private func play(_ driver: Driver, seed: UInt64, steps: Int) throws -> [String: Int] {
        var chance = Chance(seed: seed)
        var happened: [String: Int] = [:]
        var refused = 0
        var highestToken: UInt64 = 0
        driver.checksEachStep = false
        for step in 0..<steps {
            let state = driver.world.snapshotState
            let (command, principal) = chance.command(state)
            do throws(DomainError) {
                let (decision, events) = try driver.step(
                    command, as: principal, random: chance.random.next())
                _ = driver.world.outcome(of: decision)
                for case .caseOffered(let number, _, _, _, _, _, _) in events {
                    #expect(number.value > highestToken, "fencing tokens only grow")
                    highestToken = number.value
                }
            } catch {
                refused += 1
                if step % 128 == 0 {
                    #expect(
                        described(driver.world.snapshotState) == described(state),
                        "a refused command changes nothing")
                }
            }
            if chance.below(8) == 0 { try driver.advance(seconds: Int64(chance.below(600))) }
            if chance.below(100) == 0 { try driver.advance(seconds: 5 * 3_600) }
            if step % 50 == 0 { driver.checkInvariants() }
        }
        driver.checkInvariants()
        for event in driver.journal.flatMap(\.events) {
            happened[String("\(event)".prefix { $0 != "(" }), default: 0] += 1
        }
        happened["refused"] = refused
        return happened
    }

    @Test(arguments: seeds) func replayingTheJournalGivesTheSameWorld(_ seed: UInt64) throws {
        print("seed \(seed)")
        let driver = Driver()
        let happened = try play(driver, seed: seed, steps: 3_000)
        // The run was worth replaying: every kind of event came up. That of the clock may be a dull
        // one; the others are known not to be.
        let wanted =
            seed > 3
            ? []
            : [
                "reportReceived", "protocolAnswered", "caseDecided", "caseClosed", "caseReopened",
                "caseOffered", "caseAccepted", "leaseRenewed", "assignmentEnded",
                "disclosureSubmitted", "preservationPlaced", "verificationAdded", "scopeSet",
                "disclosureApproved", "disclosureRejected", "legalClockDue", "refused",
            ]
        for kind in wanted {
            #expect(happened[kind, default: 0] > 0, "no \(kind) under seed \(seed)")
        }

        let replayed = driver.replayed()
        #expect(described(replayed.snapshotState) == described(driver.world.snapshotState))
        #expect(observed(replayed) == observed(driver.world))
    }

    @Test(arguments: seeds) func aSnapshotAndTheRestOfTheJournalGiveTheSameWorld(
        _ seed: UInt64
    ) throws {
        print("seed \(seed)")
        let driver = Driver()
        _ = try play(driver, seed: seed, steps: 1_000)
        let taken = driver.world.snapshotState
        let text = described(taken)
        let records = driver.journal.count
        _ = try play(driver, seed: seed &+ 1, steps: 1_000)
        // The copy did not move with the World.
        #expect(described(taken) == text)

        var restored = try rebuilt(from: taken)
        try restored.checkInvariants()
        #expect(described(restored.snapshotState) == text)
        for record in driver.journal[records...] { restored.apply(record.events, record.header) }
        try restored.checkInvariants()
        #expect(described(restored.snapshotState) == described(driver.world.snapshotState))
        #expect(observed(restored) == observed(driver.world))
    }

    @Test func timersOfManyComeInBoundedRecords() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...600 { try driver.submit(.example(UInt64(subject))) }
        for index in 0..<600 {
            try driver.run(
                .claimNext(eligibility: .everything), as: Principal(dnsName: "s\(index)"))
        }
        let before = driver.journal.count
        try driver.advance(seconds: 180)
        #expect(driver.journal[before...].map(\.events.count) == [256, 256, 88])
        #expect(driver.world.counts.heldAssignments == 0)
        driver.checkInvariants()
    }

    // MARK: What makes no World

    @Test func partsThatDoNotFitAreRefused() throws {
        let driver = Driver()
        try driver.submit(.example(1))
        try driver.submit(.example(2))
        _ = try driver.take()
        _ = try driver.file(.emergency())
        let state = driver.world.snapshotState
        _ = try rebuilt(from: state)

        func refused(_ name: String, _ spoil: (inout WorldState) -> Void) {
            var spoiled = state
            spoil(&spoiled)
            #expect(throws: WorldImportError.self, "\(name)") { _ = try rebuilt(from: spoiled) }
        }
        refused("a case lost") { $0.cases.removePrefix(upTo: 2) }
        refused("a case number off") { $0.cases[2].number = CaseNumber(9) }
        refused("a case too few") { $0.counters.lastCase = CaseNumber(3) }
        refused("a submitter unknown") { $0.cases[1].first.submitter = PrincipalIndex(99) }
        refused("a case held by nothing") { $0.cases[2].assignment = AssignmentNumber(7) }
        refused("a holder without its case") { $0.cases[1].assignment = .none }
        refused("an assignment of no case") { $0.assignments[1].caseNumber = CaseNumber(9) }
        refused("an assignment of nobody") { $0.assignments[1].specialist = .none }
        refused("a token lost") { $0.counters.lastAssignment = AssignmentNumber(2) }
        refused("a request of nobody") { $0.disclosures[0].requester = .none }
        refused("a request twice") { $0.disclosures.append($0.disclosures[0]) }
        refused("a ledger out of order") {
            $0.ledger.append(
                LedgerEntry(
                    key: Hash128(high: 1, low: 1), fingerprint: Hash128(high: 1, low: 1),
                    time: .epoch, answer: .recorded))
        }
    }
}
