// Everything that is stored comes back as it was; what is on disk from earlier versions is still
// read; damage is an error with a name and never a trap.

import Foundation
import Testing
import TriageBase

@testable import TriageCodec
@testable import TriageDomain

@Suite("Event codec") struct EventCodecTests {
    let codec = EventCodec()

    @Test("every kind of event comes back", arguments: 0..<Arbitrary.eventKinds)
    func roundTrips(_ kind: Int) throws {
        var arbitrary = Arbitrary(seed: UInt64(kind) + 1)
        for _ in 0..<60 {
            let header = arbitrary.header()
            let events = (0...arbitrary.below(2)).map { _ in arbitrary.event(kind) }
            var record = RecordParts()
            codec.encode(header, events, into: &record)
            let (readHeader, readEvents) = try codec.decode(record, header)
            // Reflection prints every stored part, so that a part that neither side writes is
            // missed.
            #expect("\(readHeader)" == "\(header)")
            #expect("\(readEvents)" == "\(events)")
            #expect(!record.body.isEmpty)
        }
    }

    @Test("every enum of the domain comes up in the random events")
    func enumsAreExhausted() {
        var arbitrary = Arbitrary(seed: 5)
        var seen = Set<RejectionReason>()
        for _ in 0..<1_000 { seen.insert(arbitrary.rejection().reason) }
        #expect(seen.count == RejectionReason.allCases.count)
    }

    @Test func aRecordWithoutEventsComesBack() throws {
        var arbitrary = Arbitrary(seed: 9)
        let header = arbitrary.header()
        let read = try codec.decode(codec.encode(header, []), header)
        #expect(read.1.isEmpty)
        #expect("\(read.0)" == "\(header)")
    }

    @Test("a number that is not known is refused by name")
    func refusesUnknownNumbers() throws {
        // events (6) { assignment_ended (9) { state (2) = 77 } }
        try expect(.outOfRange("AssignmentEnded.state"), Wire.text(6, Wire.text(9, [0x10, 77])))
        try expect(.missing("Event.kind"), Wire.text(6, []))
        try expect(.missing("ReportReceived.facts"), Wire.text(6, Wire.text(1, [0x08, 1])))
        try expect(
            .outOfRange("time"), Wire.text(6, Wire.text(7, [0x10] + Wire.varint(1 << 60))))
        try expect(.wire(MessageFault(kind: .truncated, offset: 0)), [0x0A, 4, 1])
        // events (6) { case_reopened (5) { case_number (1) = 1, reason_sealed (3) = 2 } }
        try expect(
            .outOfRange("CaseReopened.reason_sealed"), Wire.text(6, Wire.text(5, [8, 1, 24, 2])))
        try expect(
            .outOfRange("CaseReopened.reason_sealed"),
            Wire.text(6, Wire.text(5, [8, 1, 24] + Wire.varint(.max))))
        // events (6) { scope_set (14) { } }: nothing was sealed.
        try expect(.outOfRange("ScopeSet.scope_sealed"), Wire.text(6, Wire.text(14, [])))
    }

    private func expect(_ error: CodecError, _ body: [UInt8]) throws {
        var record = RecordParts()
        record.body = body
        let given = record
        #expect(throws: error) { try codec.decode(given, nil) }
    }

    @Test("what people wrote is in sealed fields, and nowhere else")
    func wordsAreSealed() throws {
        var arbitrary = Arbitrary(seed: 13)
        let word = "a word that no field has by chance"
        var decision = arbitrary.decision()
        decision.rationale = word
        var filing = arbitrary.filing()
        filing.officer.name = word
        var verification = arbitrary.verification()
        verification.note = word
        var scope = arbitrary.scope()
        scope.goodFaithFinding = word
        var rejection = arbitrary.rejection()
        rejection.explanation = word
        var attachment = arbitrary.attachment()
        attachment.caption = word
        var erasure = arbitrary.erasure()
        erasure.reason = word
        var order = arbitrary.holdOrder()
        order.reason = word
        var release = arbitrary.holdRelease()
        release.reason = word
        let (number, id) = (CaseNumber(1), DisclosureID(1))
        let assessment = arbitrary.assessment()
        let events: [Event] = [
            .reportReceived(
                case: number, report: ReportNumber(1), opened: true, facts: arbitrary.facts(),
                assessment: assessment, content: Wire.text(11, Array(word.utf8))),
            .protocolAnswered(
                case: number, answers: arbitrary.answers(), answered: assessment,
                resulting: assessment, lowerReason: word, pendingLowering: nil),
            .caseDecided(case: number, decision: decision),
            .caseReopened(case: number, reason: word),
            .caseOffered(
                assignment: AssignmentNumber(1), case: number, specialist: CaseSamples.bob,
                expiresAt: .epoch, handedOffFrom: .none, note: word, explanation: nil),
            .disclosureSubmitted(request: id, filing: filing, instrument: "i", clocks: []),
            .verificationAdded(request: id, verification: verification, resulting: .verifying),
            .scopeSet(request: id, scope: scope),
            .disclosureRejected(request: id, rejection: rejection),
            .sensitiveRead(SensitiveRead(target: .case(number), purpose: word)),
            .evidenceAttached(
                case: number, evidence: EvidenceNumber(1), attachment: attachment),
            .evidenceErased(evidence: EvidenceNumber(1), erasure: erasure),
            .reportTextsErased(case: number, erasure: erasure),
            .holdPlaced(case: number, hold: HoldNumber(1), order: order),
            .holdReleased(hold: HoldNumber(1), release: release),
        ]
        // All in one record: each has a field of its own, in order.
        let record = codec.encode(arbitrary.header(), events)
        #expect(record.sealed.count == events.count)
        for field in record.sealed {
            #expect(String(decoding: field, as: UTF8.self).contains(word))
        }
        #expect(!String(decoding: record.body, as: UTF8.self).contains(word))
        let read = try codec.decode(record, nil)
        #expect("\(read.1)" == "\(events)")
    }

    @Test(
        "a sealed text is UTF-8 without NUL",
        arguments: [[0xC3], [65, 0, 66], [0xED, 0xA0, 0x80]])
    func refusesTextThatIsNone(_ text: [UInt8]) throws {
        var record = RecordParts()
        record.body = Wire.text(6, Wire.text(5, [8, 1, 24, 1]))
        _ = record.seal(text)
        let kind: MessageFault.Kind = text.contains(0) ? .embeddedNUL : .invalidUTF8
        #expect {
            try codec.decode(record, nil)
        } throws: { error in
            guard case .wire(let fault) = error as? CodecError else { return false }
            return fault.kind == kind && fault.field == "CaseReopened.reason_sealed"
        }
    }

    @Test("what was erased is a text that says so, a report without words, or refused by name")
    func erasedFields() throws {
        var arbitrary = Arbitrary(seed: 11)
        var refused = Set<String>()
        for kind in 0..<Arbitrary.eventKinds {
            for _ in 0..<20 {
                let header = arbitrary.header()
                let event = arbitrary.event(kind)
                let record = codec.encode(header, [event])
                if record.sealed.isEmpty { continue }
                do {
                    let read = try codec.decode(record, header, erasing: true)
                    try expectErased(event, read.1[0])
                } catch CodecError.erased(let field) {
                    refused.insert(field)
                }
            }
        }
        #expect(
            refused == [
                "DisclosureSubmitted.filing_sealed", "VerificationAdded.verification_sealed",
                "ScopeSet.scope_sealed", "DisclosureRejected.rejection_sealed",
            ])
    }

    /// The event with its words erased, and nothing else.
    private func expectErased(_ event: Event, _ read: Event) throws {
        switch event {
        case .reportReceived(let number, let report, let opened, let facts, let assessment, _):
            let erased = Event.reportReceived(
                case: number, report: report, opened: opened, facts: facts,
                assessment: assessment, content: Erased.content)
            #expect("\(read)" == "\(erased)")
        case .protocolAnswered(let number, let answers, let answered, let resulting, _, let level):
            let erased = Event.protocolAnswered(
                case: number, answers: answers, answered: answered, resulting: resulting,
                lowerReason: Erased.text, pendingLowering: level)
            #expect("\(read)" == "\(erased)")
        case .caseDecided(let number, var decision):
            decision.rationale = Erased.text
            #expect("\(read)" == "\(Event.caseDecided(case: number, decision: decision))")
        case .caseReopened(let number, _):
            #expect("\(read)" == "\(Event.caseReopened(case: number, reason: Erased.text))")
        case .caseOffered(
            let assignment, let number, let specialist, let end, let from, _, let why):
            let erased = Event.caseOffered(
                assignment: assignment, case: number, specialist: specialist, expiresAt: end,
                handedOffFrom: from, note: Erased.text, explanation: why)
            #expect("\(read)" == "\(erased)")
        case .sensitiveRead(var sensitive):
            sensitive.purpose = Erased.text
            #expect("\(read)" == "\(Event.sensitiveRead(sensitive))")
        default: try expectErasedEvidence(event, read)
        }
    }

    private func expectErasedEvidence(_ event: Event, _ read: Event) throws {
        switch event {
        case .evidenceAttached(let number, let evidence, var attachment):
            attachment.caption = Erased.text
            let erased = Event.evidenceAttached(
                case: number, evidence: evidence, attachment: attachment)
            #expect("\(read)" == "\(erased)")
        case .evidenceErased(let evidence, var erasure):
            erasure.reason = Erased.text
            #expect("\(read)" == "\(Event.evidenceErased(evidence: evidence, erasure: erasure))")
        case .reportTextsErased(let number, var erasure):
            erasure.reason = Erased.text
            #expect("\(read)" == "\(Event.reportTextsErased(case: number, erasure: erasure))")
        case .holdPlaced(let number, let hold, var order):
            order.reason = Erased.text
            let erased = Event.holdPlaced(case: number, hold: hold, order: order)
            #expect("\(read)" == "\(erased)")
        case .holdReleased(let hold, var release):
            release.reason = Erased.text
            #expect("\(read)" == "\(Event.holdReleased(hold: hold, release: release))")
        default: Issue.record("\(event) has nothing to erase")
        }
    }

    @Test func refusesDamagedReportContent() throws {
        var arbitrary = Arbitrary(seed: 3)
        let event = Event.reportReceived(
            case: CaseNumber(1), report: ReportNumber(1), opened: true, facts: arbitrary.facts(),
            assessment: arbitrary.assessment(), content: [0x0A, 9])
        let record = codec.encode(arbitrary.header(), [event])
        #expect(throws: CodecError.wire(MessageFault(kind: .truncated, offset: 0))) {
            try codec.decode(record, nil)
        }
    }

    @Test("damaged bytes never trap") func damageNeverTraps() {
        var arbitrary = Arbitrary(seed: 17)
        var refused = 0
        for round in 0..<4_000 {
            let event = arbitrary.event(round % Arbitrary.eventKinds)
            let record = codec.encode(arbitrary.header(), [event])
            var damaged = RecordParts()
            damaged.body = record.body
            if round % 2 == 0 { mutate(&damaged.body, &arbitrary) }
            for field in record.sealed {
                var field = field
                if round % 2 == 1 { mutate(&field, &arbitrary) }
                _ = damaged.seal(field)
            }
            do { _ = try codec.decode(damaged, nil) } catch { refused += 1 }
        }
        #expect(refused > 500)
    }
}

extension EventCodec {
    /// Encodes into a record of its own.
    func encode(_ header: EventHeader, _ events: [Event]) -> RecordParts {
        var record = RecordParts()
        encode(header, events, into: &record)
        return record
    }

    /// Decodes what was encoded, all of its sealed fields erased perhaps.
    func decode(
        _ record: RecordParts, _ header: EventHeader?, erasing: Bool = false
    ) throws(CodecError) -> (EventHeader, [Event]) {
        try record.withView { view throws(CodecError) in
            var given = view
            if erasing {
                given = RecordView(body: view.body)
                for _ in 0..<view.fieldCount { given.addField(nil) }
            }
            return try decode(
                given, sequence: header?.sequence ?? 1, time: header?.time ?? .epoch)
        }
    }
}

/// Damages bytes in one of the ways in which a fuzzer does.
func mutate(_ bytes: inout [UInt8], _ arbitrary: inout Arbitrary) {
    for _ in 0...arbitrary.below(3) {
        guard !bytes.isEmpty else { return }
        let at = Int(arbitrary.below(UInt64(bytes.count)))
        switch arbitrary.below(6) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: arbitrary.bits())
        case 1: bytes[at] ^= 1 << UInt8(arbitrary.below(8))
        case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int(arbitrary.below(8)) + 1))
        case 3: bytes.insert(UInt8(truncatingIfNeeded: arbitrary.bits()), at: at)
        case 4: bytes.removeLast(bytes.count - at)
        default: bytes += bytes[at..<min(bytes.count, at + 32)]
        }
    }
}

@Suite("Snapshot codec") struct SnapshotCodecTests {
    /// A state with every kind of record.
    static func state(_ seed: UInt64, isOfFirstRelease: Bool = false) throws -> WorldState {
        var arbitrary = Arbitrary(seed: seed)
        var builder = WorldBuilder()
        let cases = arbitrary.below(20) + 1
        let assignments = arbitrary.below(20) + 1
        builder.set(
            WorldCounters(
                sequence: arbitrary.below(1 << 62), time: arbitrary.time(),
                lastCase: CaseNumber(cases), lastReport: ReportNumber(arbitrary.number()),
                lastAssignment: AssignmentNumber(assignments)))
        for index in 1...2 as ClosedRange<UInt32> {
            try builder.add(
                PrincipalRecord(
                    index: PrincipalIndex(index),
                    principal: Principal(journaled: "spiffe://t.test/\(index)")))
        }
        for number in 1...cases { try builder.add(arbitrary.closedCase(number)) }
        for number in 1...assignments { try builder.add(arbitrary.endedAssignment(number)) }
        for _ in 0..<8 { try builder.add(arbitrary.disclosure()) }
        for index in 0..<20 {
            try builder.add(
                arbitrary.ledgerEntry(
                    WallTime(milliseconds: Int64(index)),
                    kinds: isOfFirstRelease
                        ? Arbitrary.answerKindsAtFirst : Arbitrary.answerKinds))
        }
        if isOfFirstRelease { return try builder.finish().snapshotState }
        for number in 1...6 as ClosedRange<UInt64> {
            try builder.add(arbitrary.evidence(number))
            try builder.add(arbitrary.hold(number))
        }
        return try builder.finish().snapshotState
    }

    static func records(_ state: WorldState) -> [(section: UInt16, bytes: [UInt8])] {
        var records: [(section: UInt16, bytes: [UInt8])] = []
        SnapshotCodec.encode(state) { section, record in
            records.append((section, [UInt8](copying: record)))
        }
        return records
    }

    static func read(_ records: [(section: UInt16, bytes: [UInt8])]) throws -> WorldState {
        var builder = WorldBuilder()
        let decoder = SnapshotDecoder()
        var assembler = SnapshotAssembler()
        var items = SnapshotItems()
        for (section, bytes) in records {
            try decoder.decode(section: section, bytes.span, into: &items)
        }
        items.close()
        for (item, _) in items.items { try assembler.add(item, to: &builder) }
        try assembler.finish()
        return try builder.finish().snapshotState
    }

    static func describe(_ state: WorldState) -> [String] {
        ["\(state.counters)"] + state.principals.indices.map { "\(state.principals[$0])" }
            + state.cases.indices.map { "\(state.cases[$0])" }
            + state.assignments.indices.map { "\(state.assignments[$0])" }
            + state.disclosures.indices.map { "\(state.disclosures[$0])" }
            + state.ledger.indices.map { "\(state.ledger[$0])" }
            + state.evidence.indices.map { "\(state.evidence[$0])" }
            + state.holds.indices.map { "\(state.holds[$0])" }
    }

    @Test("a state comes back", arguments: 1...20 as ClosedRange<UInt64>)
    func roundTrips(_ seed: UInt64) throws {
        let state = try Self.state(seed)
        let records = Self.records(state)
        #expect(try Self.describe(Self.read(records)) == Self.describe(state))
        // Sections come in their order, each in one piece.
        #expect(records.map(\.section) == records.map(\.section).sorted())
        #expect(Set(records.map(\.section)) == Set(SnapshotSections.allCases.map(\.rawValue)))
    }

    @Test("who set a replaced scope comes back; records of before have nobody")
    func formerScopersComeBack() throws {
        var builder = WorldBuilder()
        var arbitrary = Arbitrary(seed: 31)
        for index in 1...9 as ClosedRange<UInt32> {
            try builder.add(
                PrincipalRecord(
                    index: PrincipalIndex(index),
                    principal: Principal(spiffeID: "spiffe://triaged.test/\(index)")))
        }
        var request = arbitrary.disclosure()
        request.verifications = []
        request.scope = nil
        #expect(request.formerScopers.isEmpty)
        try builder.add(request)
        request.id = DisclosureID(request.id.value &+ 2)
        request.formerScopers = [PrincipalIndex(9), PrincipalIndex(2)]
        try builder.add(request)
        let read = try Self.read(Self.records(try builder.finish().snapshotState))
        #expect(read.disclosures[0].formerScopers.isEmpty)
        #expect(read.disclosures[1].formerScopers.map(\.value) == [9, 2])
        let named = request
        #expect(throws: WorldImportError.self, "it names somebody whom nobody knows") {
            var stranger = WorldBuilder()
            try stranger.add(PrincipalRecord(index: PrincipalIndex(1), principal: CaseSamples.bob))
            try stranger.add(named)
            _ = try stranger.finish()
        }
    }

    @Test("reopenings come back, after everything else of their case")
    func reopeningsComeBack() throws {
        var builder = WorldBuilder()
        var arbitrary = Arbitrary(seed: 41)
        try builder.add(PrincipalRecord(index: PrincipalIndex(1), principal: CaseSamples.bob))
        var expected: [String] = []
        for number in 1...3 as ClosedRange<UInt64> {
            var value = arbitrary.closedCase(number)
            value.reopenings = (1..<number).map {
                Reopening(
                    reason: "reason \($0)", principal: PrincipalIndex(1),
                    reopenedAt: WallTime(milliseconds: Int64($0)))
            }
            expected.append("\(value)")
            try builder.add(value)
        }
        builder.set(WorldCounters(lastCase: CaseNumber(3)))
        let records = Self.records(try builder.finish().snapshotState)
        #expect(try Self.read(records).cases.map { "\($0)" } == expected)
        for index in records.indices where records[index].bytes[0] == 0x52 {
            var fewer = records
            fewer.remove(at: index)
            #expect(throws: (any Error).self) { try Self.read(fewer) }
        }
        #expect(records.count { $0.bytes[0] == 0x52 } == 3)
    }

    @Test("what a claim and a snapshot were answered with comes back")
    func answersComeBack() throws {
        var builder = WorldBuilder()
        var arbitrary = Arbitrary(seed: 37)
        try builder.add(PrincipalRecord(index: PrincipalIndex(1), principal: CaseSamples.bob))
        try builder.add(arbitrary.closedCase(1))
        let why = arbitrary.explanation()
        for number in 1...2 as ClosedRange<UInt64> {
            var assignment = Assignment(
                number: AssignmentNumber(number), caseNumber: CaseNumber(1),
                specialist: PrincipalIndex(1), offeredAt: .epoch, expiresAt: .epoch,
                handedOffFrom: .none, note: "", explanation: number == 1 ? why : nil)
            assignment.state = .declined
            try builder.add(assignment)
        }
        builder.set(
            WorldCounters(lastCase: CaseNumber(1), lastAssignment: AssignmentNumber(2)))
        let taken = arbitrary.snapshotAnswer()
        try builder.add(
            LedgerEntry(
                key: arbitrary.hash(), fingerprint: arbitrary.hash(), time: .epoch,
                answer: .snapshot(taken)))
        let read = try Self.read(Self.records(try builder.finish().snapshotState))
        let found = try #require(read.assignments[1].explanation)
        #expect("\(found)" == "\(why)")
        #expect(read.assignments[2].explanation == nil)
        #expect(read.ledger[0].answer == .snapshot(taken))
    }

    @Test func aCaseIsARecordForEachOfItsParts() throws {
        let state = try Self.state(4)
        let parts = state.cases.indices.reduce(0) {
            let value = state.cases[$1]
            return $0 + value.reportCount + value.rounds.count + value.decisions.count
        }
        #expect(Self.records(state).count { $0.section == 3 } == parts)
    }

    @Test func refusesRecordsThatAreMissingOrOutOfPlace() throws {
        let records = Self.records(try Self.state(7))
        for index in records.indices {
            var fewer = records
            fewer.remove(at: index)
            // The ledger and the requests may be any number, and old assignments are forgotten.
            let isOldest = records[index].section == 4 && records[index - 1].section == 3
            if records[index].section < 5, !isOldest {
                #expect(throws: (any Error).self, "\(index)") { try Self.read(fewer) }
            }
        }
        var wrong = records
        wrong[0].section = 2
        #expect(throws: CodecError.outOfOrder("record 1 in section 2")) { try Self.read(wrong) }
        let parts = records.filter { $0.section == 3 }
        let orphan = try #require(parts.first { $0.bytes[0] != 0x1A })
        #expect(throws: CodecError.outOfOrder("a part without a case")) {
            try Self.read([orphan])
        }
    }

    @Test("damaged records never trap") func damageNeverTraps() throws {
        var arbitrary = Arbitrary(seed: 23)
        let records = Self.records(try Self.state(2))
        var refused = 0
        for _ in 0..<1_500 {
            var damaged = records
            let at = Int(arbitrary.below(UInt64(records.count)))
            mutate(&damaged[at].bytes, &arbitrary)
            do { _ = try Self.read(damaged) } catch { refused += 1 }
        }
        #expect(refused > 300)
    }
}
