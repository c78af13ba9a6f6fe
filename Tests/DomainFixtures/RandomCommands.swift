// Commands by chance, for tests that let a World live: of all kinds, most of them sensible.

package import TriageBase
package import TriageDomain

/// Commands from a seed: most of them sensible, some of them stale, foreign or out of turn.
package struct RandomCommands {
    /// Where every choice comes from.
    package var random: SeededRandom
    /// Who works on cases.
    package let specialists = (0..<4).map {
        Principal(spiffeID: "spiffe://example.org/specialist/\($0)")
    }
    /// Who works on disclosure requests.
    package let legal = (0..<8).map { Principal(spiffeID: "spiffe://example.org/legal/\($0)") }

    /// Starts the choices that belong to `seed`.
    package init(seed: UInt64) { random = SeededRandom(seed: seed) }

    /// A number from 0 to below `limit`.
    package mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

    /// One of the values, which are not none.
    package mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

    /// A report, mostly mild.
    package mutating func facts() -> ReportFacts {
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

    /// What a specialist may take: mostly everything.
    package mutating func eligibility() -> Eligibility {
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
    package mutating func command(_ state: WorldState) -> (Command, Principal) {
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
            return .eraseReportTexts(case: number, erasure: .example, identities: [])
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
