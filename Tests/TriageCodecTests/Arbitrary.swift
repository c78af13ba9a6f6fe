// Random values of everything that is stored, from a seed: every enum case and every optional part
// comes up, texts are any UTF-8, numbers use their whole range.

import TriageBase

@testable import TriageCodec
@testable import TriageDomain

/// Makes random values.
struct Arbitrary {
    var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func below(_ bound: UInt64) -> UInt64 { random.next() % bound }
    mutating func flag() -> Bool { below(2) == 1 }
    mutating func bits() -> UInt64 { random.next() }

    mutating func pick<E: CaseIterable>(_ type: E.Type) -> E where E.AllCases == [E] {
        let all = E.allCases
        return all[Int(below(UInt64(all.count)))]
    }

    mutating func text() -> String {
        let alphabet: [Unicode.Scalar] = [
            "a", "Z", "0", " ", "é", "€", "😀", "\u{7F}", "\u{10FFFF}",
        ]
        var text = String.UnicodeScalarView()
        for _ in 0..<below(40) { text.append(alphabet[Int(below(UInt64(alphabet.count)))]) }
        return String(text)
    }

    mutating func time() -> WallTime {
        switch below(4) {
        case 0: .epoch
        case 1: .distantFuture
        case 2: WallTime(milliseconds: -62_135_596_800_000)
        default: WallTime(milliseconds: Int64(below(1 << 41)))
        }
    }

    mutating func list<T>(_ countMax: UInt64, _ make: (inout Arbitrary) -> T) -> [T] {
        (0..<below(countMax + 1)).map { _ in make(&self) }
    }

    mutating func maybe<T>(_ make: (inout Arbitrary) -> T) -> T? { flag() ? make(&self) : nil }

    mutating func number() -> UInt64 { flag() ? below(1 << 48) : below(100) + 1 }
    mutating func hash() -> Hash128 { Hash128(high: bits(), low: bits()) }
    mutating func principalIndex() -> PrincipalIndex { PrincipalIndex(UInt32(below(1 << 31))) }
    mutating func principal() -> Principal { Principal(journaled: text()) }
    mutating func modifiers() -> RiskModifiers { RiskModifiers(rawValue: UInt8(below(128))) }
    mutating func content() -> [UInt8] { Wire.text(11, text()) + [0x18] + Wire.varint(bits()) }

    mutating func code() -> LevelCode {
        LevelCode(
            family: pick(HarmFamily.self), point: pick(DecisionPoint.self), modifiers: modifiers())
    }

    mutating func facts() -> ReportFacts {
        ReportFacts(
            family: pick(HarmFamily.self), reporter: pick(ReporterKind.self),
            imminence: pick(Imminence.self), modifiers: modifiers(),
            signalPermille: UInt16(below(1_001)), live: flag(),
            language: LanguageCode(rawValue: UInt16(below(1 << 15))),
            region: RegionCode(rawValue: UInt16(below(1 << 10))),
            routing: pick(RoutingRegion.self), clearance: pick(Clearance.self), subject: hash())
    }

    mutating func assessment() -> Assessment {
        Assessment(
            level: pick(Level.self), code: code(), effectiveDeadline: time(),
            governedBy: flag() ? .target : .legal)
    }

    mutating func answers() -> ProtocolAnswers {
        ProtocolAnswers(
            protocolVersion: text(), happeningNow: pick(Answer.self),
            credibleThreat: pick(Answer.self), suicideRung: pick(SuicideRung.self),
            actionCount: pick(ActionCount.self), modifiersPresent: modifiers(),
            modifiersUnknown: modifiers(), modifiersAbsent: modifiers())
    }

    mutating func decision() -> CaseDecision {
        CaseDecision(
            outcome: pick(DecisionOutcome.self), policyVersion: text(),
            policyKeys: list(4) { $0.text() }, rationale: text(),
            duties: DutyAnswers(
                referral: pick(DutyAnswer.self), statutoryReport: pick(DutyAnswer.self),
                preservation: pick(DutyAnswer.self), welfareResource: pick(DutyAnswer.self)),
            principal: principalIndex(), decidedAt: time())
    }

    mutating func filing() -> DisclosureFiling {
        var filing = DisclosureFiling(
            kind: pick(DisclosureKind.self), addressee: pick(Addressee.self),
            userNotice: pick(UserNotice.self))
        filing.agency.name = text()
        filing.agency.region = RegionCode(rawValue: UInt16(below(1 << 10)))
        filing.agency.address = text()
        filing.officer.name = text()
        filing.officer.badgeID = text()
        filing.officer.email = text()
        filing.officer.phone = text()
        filing.officer.title = text()
        filing.officer.sworn = flag()
        filing.officer.supervisorContact = text()
        filing.emergency = maybe {
            var emergency = Emergency(nature: $0.pick(EmergencyNature.self))
            emergency.summary = $0.text()
            emergency.personInDanger = $0.text()
            emergency.necessity = $0.text()
            emergency.neededBy = $0.time()
            emergency.neededByReason = $0.text()
            emergency.dangerToLifeDeclared = $0.flag()
            emergency.onLetterhead = $0.flag()
            return emergency
        }
        filing.identifiers = list(3) {
            SubjectIdentifier(kind: $0.pick(IdentifierKind.self), value: $0.text())
        }
        filing.contentURIs = list(3) { $0.text() }
        filing.dataRequests = list(3) {
            DataRequest(
                category: $0.pick(DataCategory.self), justification: $0.text(), start: $0.time(),
                end: $0.time())
        }
        filing.legalProcess = maybe {
            var process = LegalProcess(kind: $0.pick(LegalProcessKind.self))
            process.citation = $0.text()
            process.offence = $0.text()
            process.court = $0.text()
            process.judge = $0.text()
            return process
        }
        filing.documents = list(3) { DocumentReference(sha256: $0.text(), title: $0.text()) }
        filing.caseNumber = CaseNumber(number())
        return filing
    }

    mutating func clock() -> DisclosureClock {
        DisclosureClock(kind: text(), deadline: time(), rule: text())
    }

    mutating func verification() -> Verification {
        Verification(
            method: pick(VerificationMethod.self), outcome: pick(VerificationOutcome.self),
            note: text(), principal: principalIndex(), verifiedAt: time())
    }

    mutating func scope() -> Scope {
        Scope(
            items: list(4) {
                ScopeItem(
                    subjectIndex: Int($0.below(64)), category: $0.pick(DataCategory.self),
                    start: $0.time(), end: $0.time())
            },
            legalBasis: pick(LegalBasis.self), goodFaithFinding: text(),
            principal: principalIndex(), setAt: time())
    }

    mutating func rejection() -> Rejection {
        Rejection(
            reason: pick(RejectionReason.self), explanation: text(), principal: principalIndex(),
            rejectedAt: time())
    }

    // MARK: Events

    static let eventKinds = 28
    /// Those of the first release, of which fixtures are made.
    static let eventKindsAtFirst = 18

    /// An event of one kind.
    mutating func event(_ kind: Int) -> Event {
        switch kind {
        case 0..<9: caseEvent(kind)
        case 9..<Self.eventKindsAtFirst: disclosureEvent(kind)
        default: laterEvent(kind)
        }
    }

    /// What releases after the first one write.
    private mutating func laterEvent(_ kind: Int) -> Event {
        switch kind {
        case 18: .snapshotTaken(snapshotAnswer())
        case 20:
            .evidenceAttached(
                case: CaseNumber(number()), evidence: EvidenceNumber(number() | 1),
                attachment: attachment())
        case 21:
            .evidenceErased(evidence: EvidenceNumber(number() | 1), erasure: erasure())
        case 22:
            .reportTextsErased(case: CaseNumber(number()), erasure: erasure())
        case 23:
            .holdPlaced(
                case: CaseNumber(number()), hold: HoldNumber(number() | 1), order: holdOrder())
        case 24: .holdReleased(hold: HoldNumber(number() | 1), release: holdRelease())
        case 25: .holdExpired(hold: HoldNumber(number() | 1))
        case 26: .keyRenewed(keyAnswer())
        case 27:
            .sensitiveRead(
                SensitiveRead(
                    target: .evidence(CaseNumber(number()), EvidenceNumber(number() | 1)),
                    purpose: text()))
        default:
            .caseOffered(
                assignment: AssignmentNumber(number()), case: CaseNumber(number()),
                specialist: principal(), expiresAt: time(), handedOffFrom: .none, note: "",
                explanation: explanation())
        }
    }

    mutating func digest() -> Digest { Digest(bits(), bits(), bits(), bits()) }

    mutating func attachment() -> AttachedObject {
        AttachedObject(
            mediaType: text(), caption: text(), object: ObjectName(digest()), sha256: digest(),
            size: Int(below(UInt64(Limits.objectBytesMax) + 1)))
    }

    mutating func erasure() -> Erasure {
        Erasure(
            ground: pick(ErasureGround.self), legalBasis: text(), reason: text(),
            principal: principalIndex(), erasedAt: time())
    }

    mutating func holdOrder() -> HoldOrder {
        HoldOrder(
            rule: text(), authority: text(), reference: text(), reason: text(),
            expiresAt: time())
    }

    mutating func holdRelease() -> HoldRelease {
        HoldRelease(
            authority: text(), reason: text(), principal: principalIndex(), releasedAt: time())
    }

    mutating func keyAnswer() -> KeyAnswer {
        KeyAnswer(number: UInt32(below(1 << 32)), objects: below(1 << 62))
    }

    /// Evidence of case 1, by principals that are there.
    mutating func evidence(_ number: UInt64) -> Evidence {
        var value = Evidence(
            number: EvidenceNumber(number), caseNumber: CaseNumber(1), attachment: attachment(),
            principal: PrincipalIndex(1), attachedAt: time(), erasure: maybe { $0.erasure() },
            revision: below(1 << 62))
        value.erasure?.principal = PrincipalIndex(2)
        return value
    }

    /// An ended or running hold of case 1.
    mutating func hold(_ number: UInt64) -> Hold {
        var value = Hold(
            number: HoldNumber(number), caseNumber: CaseNumber(1), state: pick(HoldState.self),
            order: holdOrder(), principal: PrincipalIndex(1), placedAt: time(),
            revision: below(1 << 62))
        if value.state == .released {
            value.release = holdRelease()
            value.release?.principal = PrincipalIndex(2)
        }
        return value
    }

    mutating func snapshotAnswer() -> SnapshotAnswer {
        SnapshotAnswer(
            sequence: below(1 << 62), recordCount: below(1 << 36), bytes: below(1 << 62),
            milliseconds: below(1 << 24))
    }

    mutating func explanation() -> ClaimExplanation {
        ClaimExplanation(
            code: code(), governedBy: pick(GoverningDeadline.self), level: pick(Level.self),
            effectiveDeadline: time(), skippedCount: below(1 << 62),
            firstSkipReason: pick(SkipReason.self))
    }

    private mutating func caseEvent(_ kind: Int) -> Event {
        let number = CaseNumber(number())
        let assignment = AssignmentNumber(self.number())
        switch kind {
        case 0:
            return .reportReceived(
                case: number, report: ReportNumber(self.number()), opened: flag(), facts: facts(),
                assessment: assessment(), content: content())
        case 1:
            return .protocolAnswered(
                case: number, answers: answers(), answered: assessment(), resulting: assessment(),
                lowerReason: text(), pendingLowering: maybe { $0.pick(Level.self) })
        case 2: return .caseDecided(case: number, decision: decision())
        case 3: return .caseClosed(case: number)
        case 4: return .caseReopened(case: number, reason: text())
        case 5:
            return .caseOffered(
                assignment: assignment, case: number, specialist: principal(), expiresAt: time(),
                handedOffFrom: AssignmentNumber(self.number()), note: text(), explanation: nil)
        case 6: return .caseAccepted(assignment: assignment, expiresAt: time())
        case 7: return .leaseRenewed(assignment: assignment, expiresAt: time())
        default:
            return .assignmentEnded(
                assignment: assignment, state: pick(AssignmentState.self),
                reason: pick(ReleaseReason.self))
        }
    }

    private mutating func disclosureEvent(_ kind: Int) -> Event {
        let id = DisclosureID(bits())
        switch kind {
        case 9:
            return .disclosureSubmitted(
                request: id, filing: filing(), instrument: text(), clocks: list(3) { $0.clock() })
        case 10: return .preservationPlaced(request: id, expiresAt: time(), rule: text())
        case 11: return .preservationExpired(request: id)
        case 12:
            return .verificationAdded(
                request: id, verification: verification(), resulting: pick(DisclosureState.self))
        case 13: return .scopeSet(request: id, scope: scope())
        case 14: return .disclosureApproved(request: id, scopeRevision: below(1 << 62))
        case 15: return .disclosureRejected(request: id, rejection: rejection())
        case 16: return .legalClockDue(case: CaseNumber(number()))
        default:
            let target: SensitiveRead.Target =
                flag() ? .case(CaseNumber(number())) : .disclosure(DisclosureID(bits()))
            return .sensitiveRead(SensitiveRead(target: target, purpose: text()))
        }
    }

    mutating func header() -> EventHeader {
        EventHeader(
            sequence: below(1 << 62), time: time(), principal: principal(),
            requestID: RequestID(high: bits(), low: bits()), fingerprint: hash())
    }

    // MARK: State

    mutating func storedReport() -> StoredReport {
        StoredReport(
            number: ReportNumber(number()), receivedAt: time(), submitter: PrincipalIndex(1),
            content: content())
    }

    /// A closed case, which nothing else refers to.
    mutating func closedCase(_ number: UInt64) -> Case {
        var value = Case(
            number: CaseNumber(number), facts: facts(), level: pick(Level.self), code: code(),
            first: storedReport())
        value.state = .closed
        value.governedBy = flag() ? .target : .legal
        value.receivedAt = time()
        value.updatedAt = time()
        value.effectiveDeadline = time()
        value.legalDeadline = time()
        value.revision = below(1 << 62)
        value.more = list(3) { $0.storedReport() }
        value.rounds = list(2) {
            ProtocolRound(
                answers: $0.answers(), level: $0.pick(Level.self), code: $0.code(),
                principal: $0.principalIndex(), answeredAt: $0.time(), lowerReason: $0.text())
        }
        value.decisions = list(2) { $0.decision() }
        if flag() {
            value.pendingLowering = [
                PendingLowering(
                    level: pick(Level.self), proposer: principalIndex(), proposedAt: time())
            ]
        }
        value.declinedBy = list(3) { $0.principalIndex() }
        return value
    }

    mutating func endedAssignment(_ number: UInt64) -> Assignment {
        var value = Assignment(
            number: AssignmentNumber(number), caseNumber: CaseNumber(1),
            specialist: PrincipalIndex(2), offeredAt: time(), expiresAt: time(),
            handedOffFrom: AssignmentNumber(self.number()), note: text())
        let ended = AssignmentState.allCases.filter { !$0.holdsCase }
        value.state = ended[Int(below(UInt64(ended.count)))]
        value.releaseReason = pick(ReleaseReason.self)
        value.acceptedAt = time()
        value.endedAt = time()
        value.revision = below(1 << 62)
        return value
    }

    mutating func disclosure() -> DisclosureRequest {
        var filing = filing()
        filing.caseNumber = .none
        var value = DisclosureRequest(
            id: DisclosureID(bits() | 1), filing: filing, requester: PrincipalIndex(1),
            receivedAt: time())
        value.state = pick(DisclosureState.self)
        value.updatedAt = time()
        value.instrument = text()
        value.clocks = list(3) { $0.clock() }
        value.preservation = maybe {
            Preservation(
                state: $0.pick(PreservationState.self), placedAt: $0.time(), expiresAt: $0.time(),
                rule: $0.text())
        }
        value.verifications = list(3) { $0.verification() }
        value.scope = maybe { $0.scope() }
        value.approval = maybe {
            Approval(
                principal: $0.principalIndex(), approvedAt: $0.time(),
                scopeRevision: $0.below(1 << 62))
        }
        value.rejection = maybe { $0.rejection() }
        value.revision = below(1 << 62)
        return value
    }

    static let answerKinds: UInt64 = 10
    /// Those of the first release, and `recorded`.
    static let answerKindsAtFirst: UInt64 = 6

    mutating func ledgerEntry(_ time: WallTime, kinds: UInt64 = answerKinds) -> LedgerEntry {
        let kind = below(kinds)
        let answer: LedgerAnswer =
            switch kind == kinds - 1 ? Self.answerKinds - 1 : kind {
            case 0:
                .receipt(
                    ReportReceipt(
                        caseNumber: CaseNumber(number()), report: ReportNumber(number()),
                        opened: flag(), level: pick(Level.self), revision: below(1 << 62),
                        receivedAt: time))
            case 1: .changedCase(CaseNumber(number()))
            case 2: .offer(AssignmentNumber(number()))
            case 3: .changedAssignment(AssignmentNumber(number()))
            case 4: .changedDisclosure(DisclosureID(bits()))
            case 5: .evidence(EvidenceNumber(number() | 1))
            case 6: .hold(HoldNumber(number() | 1))
            case 7: .erasedTexts(CaseNumber(number()))
            case 8: .key(keyAnswer())
            default: .recorded
            }
        return LedgerEntry(key: hash(), fingerprint: hash(), time: time, answer: answer)
    }
}
