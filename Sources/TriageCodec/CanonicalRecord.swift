// Reads the records that are nearly all of a journal and of a snapshot: a report's, a case's and a
// receipt's, as this server writes them. A start after a crash waits for nothing else. A record
// that is otherwise in any way is left to protobuf-c's way, which reads every record and says what
// is wrong with it. What comes out is the same: tests hold the two ways against each other.

internal import TriageBase
internal import TriageDomain

/// What the body of a report's record says.
struct CanonicalReportRecord {
    var principal: Principal
    var requestID: RequestID
    var fingerprint: Hash128
    var number: CaseNumber
    var report: ReportNumber
    var opened: Bool
    var facts: ReportFacts
    var assessment: Assessment
    var contentSealed: Int32
}

extension CanonicalReader {
    /// Walks over a record's bytes; nil unless it is canonical to its end.
    static func read<T>(
        _ bytes: Span<UInt8>, _ body: (inout CanonicalReader) -> T?
    ) -> T? {
        guard bytes.count <= WireLimits.storage.bytes else { return nil }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return nil }
            var reader = unsafe CanonicalReader(bytes, at: start)
            guard let value = body(&reader), reader.isCanonical, reader.isAtEnd else { return nil }
            return value
        }
    }

    /// A message whose tag was taken; nil unless it is canonical to its end.
    @inline(__always)
    private mutating func message<T>(_ body: (inout CanonicalReader) -> T?) -> T? {
        let outer = enter()
        let value = body(&self)
        leave(outer)
        return isCanonical ? value : nil
    }

    @inline(__always)
    private mutating func time(_ field: UInt8) -> WallTime {
        let milliseconds = signed(field)
        if !StorageReader.isTime(milliseconds) { refuse() }
        return WallTime(milliseconds: milliseconds)
    }

    @inline(__always)
    private mutating func modifiers(_ field: UInt8) -> RiskModifiers {
        RiskModifiers(rawValue: UInt8(truncatingIfNeeded: number(field, max: 0x7F)))
    }

    /// A number that names something; 0 for none.
    @inline(__always)
    private mutating func named(_ field: UInt8) -> UInt64 {
        number(field, max: ResourceName.numberMax)
    }

    @inline(__always)
    private mutating func principalIndex(_ field: UInt8) -> PrincipalIndex {
        PrincipalIndex(UInt32(truncatingIfNeeded: number(field, max: UInt64(Int32.max))))
    }

    // MARK: Reports

    /// The body of a record that is one report's.
    ///
    /// - Parameter principal: Makes a principal of its text.
    /// - Returns: nil unless it is canonical so far.
    mutating func reportRecord(
        _ principal: (UnsafeBufferPointer<UInt8>) -> Principal
    ) -> CanonicalReportRecord? {
        typealias Field = RecordField.Record
        guard take(bytes: Field.principal) else { return nil }
        let name = unsafe text(Limits.storedMessageBytesMax)
        let requestID = RequestID(
            high: fixed(Field.requestIDHigh), low: fixed(Field.requestIDLow))
        let fingerprint = Hash128(
            high: fixed(Field.fingerprintHigh), low: fixed(Field.fingerprintLow))
        guard isCanonical, take(bytes: Field.events) else { return nil }
        return message { reader in
            guard reader.take(bytes: RecordField.Event.reportReceived) else { return nil }
            return reader.message { reader in
                unsafe reader.report(principal(name), requestID, fingerprint)
            }
        }
    }

    @inline(__always)
    private mutating func report(
        _ principal: Principal, _ requestID: RequestID, _ fingerprint: Hash128
    ) -> CanonicalReportRecord? {
        typealias Field = RecordField.Report
        let number = CaseNumber(named(Field.caseNumber))
        let report = ReportNumber(named(Field.reportNumber))
        let opened = flag(Field.opened)
        guard take(bytes: Field.facts), let facts = message({ $0.facts() }),
            take(bytes: Field.assessment), let assessment = message({ $0.assessment() })
        else { return nil }
        return CanonicalReportRecord(
            principal: principal, requestID: requestID, fingerprint: fingerprint, number: number,
            report: report, opened: opened, facts: facts, assessment: assessment,
            contentSealed: Int32(
                truncatingIfNeeded: self.number(Field.contentSealed, max: UInt64(Int32.max))))
    }

    @inline(__always)
    private mutating func facts() -> ReportFacts? {
        typealias Field = RecordField.Facts
        guard let family: HarmFamily = choice(Field.harmFamily),
            let reporter: ReporterKind = choice(Field.reporterKind),
            let imminence: Imminence = choice(Field.imminence)
        else { return nil }
        let modifiers = modifiers(Field.modifierBits)
        let permille = number(Field.signalPermille, max: 1_000)
        let live = flag(Field.live)
        let language = language(Field.language)
        let region = region(Field.region)
        guard let routing: RoutingRegion = choice(Field.routing),
            let clearance: Clearance = choice(Field.clearance)
        else { return nil }
        return ReportFacts(
            family: family, reporter: reporter, imminence: imminence, modifiers: modifiers,
            signalPermille: UInt16(truncatingIfNeeded: permille), live: live, language: language,
            region: region, routing: routing, clearance: clearance,
            subject: Hash128(high: fixed(Field.subjectHigh), low: fixed(Field.subjectLow)))
    }

    @inline(__always)
    private mutating func language(_ field: UInt8) -> LanguageCode {
        LanguageCode(rawValue: UInt16(truncatingIfNeeded: number(field, max: 0x7FFF)))
    }

    @inline(__always)
    private mutating func region(_ field: UInt8) -> RegionCode {
        RegionCode(rawValue: UInt16(truncatingIfNeeded: number(field, max: 0x3FF)))
    }

    @inline(__always)
    private mutating func assessment() -> Assessment? {
        typealias Field = RecordField.Assessed
        guard let level: Level = choice(Field.level), take(bytes: Field.code),
            let code = message({ $0.code() })
        else { return nil }
        let deadline = time(Field.deadline)
        guard let governedBy: GoverningDeadline = choice(Field.governedBy) else { return nil }
        return Assessment(
            level: level, code: code, effectiveDeadline: deadline, governedBy: governedBy)
    }

    @inline(__always)
    private mutating func code() -> LevelCode? {
        typealias Field = RecordField.Code
        guard let family: HarmFamily = choice(Field.harmFamily),
            let point: DecisionPoint = choice(Field.decisionPoint)
        else { return nil }
        return LevelCode(family: family, point: point, modifiers: modifiers(Field.modifierBits))
    }

    // MARK: Snapshots

    /// A record of a snapshot that is a case's own, without what is rare.
    mutating func caseRecord() -> (value: Case, parts: SnapshotParts)? {
        guard take(bytes: SnapshotField.Record.caseRecord) else { return nil }
        return message { $0.openedCase() }
    }

    @inline(__always)
    private mutating func openedCase() -> (value: Case, parts: SnapshotParts)? {
        typealias Field = SnapshotField.Case
        let number = CaseNumber(named(Field.number))
        guard let state: CaseState = choice(Field.state), let level: Level = choice(Field.level),
            take(bytes: Field.code), let code = message({ $0.code() }),
            let clearance: Clearance = choice(Field.clearance)
        else { return nil }
        let language = language(Field.language)
        let region = region(Field.region)
        guard let routing: RoutingRegion = choice(Field.routing) else { return nil }
        let modifiers = modifiers(Field.modifierBits)
        guard let governedBy: GoverningDeadline = choice(Field.governedBy) else { return nil }
        let live = flag(Field.live)
        let receivedAt = time(Field.receivedAt)
        let updatedAt = time(Field.updatedAt)
        let effectiveDeadline = time(Field.effectiveDeadline)
        let legalDeadline = time(Field.legalDeadline)
        let revision = self.number(Field.revision, max: UInt64(Int64.max))
        let assignment = AssignmentNumber(named(Field.assignment))
        let subject = Hash128(high: fixed(Field.subjectHigh), low: fixed(Field.subjectLow))
        guard isCanonical, take(bytes: Field.first), let first = message({ $0.storedReport() })
        else { return nil }
        let facts = ReportFacts(
            family: .unrecognised, reporter: .unrecognised, imminence: .unspecified,
            modifiers: modifiers, signalPermille: 0, live: live, language: language,
            region: region, routing: routing, clearance: clearance, subject: subject)
        var value = Case(number: number, facts: facts, level: level, code: code, first: first)
        value.state = state
        value.governedBy = governedBy
        value.receivedAt = receivedAt
        value.updatedAt = updatedAt
        value.effectiveDeadline = effectiveDeadline
        value.legalDeadline = legalDeadline
        value.revision = revision
        value.assignment = assignment
        let countMax = UInt64(Int32.max)
        let parts = SnapshotParts(
            reports: Int(self.number(Field.reportCount, max: countMax)),
            rounds: Int(self.number(Field.roundCount, max: countMax)),
            decisions: Int(self.number(Field.decisionCount, max: countMax)),
            reopenings: Int(self.number(Field.reopeningCount, max: countMax)))
        return (value, parts)
    }

    @inline(__always)
    private mutating func storedReport() -> StoredReport? {
        typealias Field = SnapshotField.Report
        let number = ReportNumber(named(Field.number))
        let receivedAt = time(Field.receivedAt)
        let submitter = principalIndex(Field.submitter)
        let packed = unsafe blob(Field.content)
        guard isCanonical, let content = unsafe try? StorageReader.content(packed.span) else {
            return nil
        }
        return StoredReport(
            number: number, receivedAt: receivedAt, submitter: submitter, content: content)
    }

    /// A record of a snapshot that is an entry of the ledger, with one of the usual answers.
    mutating func ledgerRecord() -> LedgerEntry? {
        guard take(bytes: SnapshotField.Record.ledger) else { return nil }
        return message { $0.ledgerEntry() }
    }

    @inline(__always)
    private mutating func ledgerEntry() -> LedgerEntry? {
        typealias Field = SnapshotField.Ledger
        let key = Hash128(high: fixed(Field.keyHigh), low: fixed(Field.keyLow))
        let fingerprint = Hash128(
            high: fixed(Field.fingerprintHigh), low: fixed(Field.fingerprintLow))
        let time = time(Field.time)
        let answer: LedgerAnswer
        if take(bytes: Field.receipt) {
            guard let receipt = message({ $0.receipt() }), receipt.receivedAt == time else {
                return nil
            }
            answer = .receipt(receipt)
        } else if let number = oneof(Field.caseNumber) {
            answer = .changedCase(CaseNumber(number))
        } else if let number = oneof(Field.offeredAssignment) {
            answer = .offer(AssignmentNumber(number))
        } else if let number = oneof(Field.assignmentNumber) {
            answer = .changedAssignment(AssignmentNumber(number))
        } else {
            return nil
        }
        return LedgerEntry(key: key, fingerprint: fingerprint, time: time, answer: answer)
    }

    /// A number that is one of several choices; nil when it is not there.
    @inline(__always)
    private mutating func oneof(_ field: UInt8) -> UInt64? {
        let number = named(field)
        return number == 0 ? nil : number
    }

    @inline(__always)
    private mutating func receipt() -> ReportReceipt? {
        typealias Field = SnapshotField.Receipt
        let number = CaseNumber(named(Field.caseNumber))
        let report = ReportNumber(named(Field.reportNumber))
        let opened = flag(Field.opened)
        guard let level: Level = choice(Field.level) else { return nil }
        return ReportReceipt(
            caseNumber: number, report: report, opened: opened, level: level,
            revision: self.number(Field.revision, max: UInt64(Int64.max)),
            receivedAt: time(Field.receivedAt))
    }
}
