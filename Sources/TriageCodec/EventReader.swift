// Journal events from the body of a record and its sealed fields. The other way round is
// EventCodec's.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

private typealias StoredEvent = Triaged__Storage__V1__Event

/// The sealed fields of the record that is read, and memory to unpack them in.
struct SealedFields: ~Escapable {
    private let record: RecordView
    private let arena: Arena

    @_lifetime(copy record)
    init(_ record: RecordView, arena: Arena) {
        self.record = record
        self.arena = arena
    }

    /// Whether the record has a field of that number, which was not erased.
    ///
    /// - Throws: ``CodecError``: `.outOfRange` when it has none.
    private func isThere(_ number: Int32, _ field: StaticString) throws(CodecError) -> Bool {
        guard number > 0, number <= record.fieldCount else { throw .outOfRange("\(field)") }
        return !record.isErased(Int(number))
    }

    /// A text; empty when there is none.
    func text(_ number: Int32, _ field: StaticString) throws(CodecError) -> String {
        if number == 0 { return "" }
        guard try isThere(number, field) else { return Erased.text }
        let result: Result<String, MessageFault> = unsafe record.field(Int(number))
            .withUnsafeBufferPointer { bytes in
                do throws(MessageFault) {
                    try unsafe MessageValidator.validate(text: bytes)
                } catch {
                    return .failure(
                        MessageFault(kind: error.kind, offset: error.offset, field: "\(field)"))
                }
                return unsafe .success(String(decoding: bytes, as: UTF8.self))
            }
        do { return try result.get() } catch { throw .wire(error) }
    }

    /// Packed report content.
    func content(_ number: Int32, _ field: StaticString) throws(CodecError) -> [UInt8] {
        guard try isThere(number, field) else { return Erased.content }
        return try StorageReader.content(record.field(Int(number)))
    }

    /// A message that the state cannot do without.
    func message<M, T>(
        _ number: Int32, _ field: StaticString,
        _ initialise: (UnsafeMutablePointer<M>?) -> Void, _ read: (M) throws(CodecError) -> T
    ) throws(CodecError) -> T {
        guard try isThere(number, field) else { throw .erased("\(field)") }
        let stored: UnsafeMutablePointer<M>
        do {
            unsafe stored = try arena.unpack(record.field(Int(number)), .storage, initialise)
        } catch {
            throw .wire(error)
        }
        return unsafe try read(stored.pointee)
    }
}

extension StorageReader {
    /// Reads one event.
    static func read(
        _ event: Triaged__Storage__V1__Event, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        // The case of a oneof is the number of the field that is set.
        switch unsafe event.kind_case.rawValue {
        case 1...5, 18: return unsafe try readCase(event, sealed)
        case 6...9: return unsafe try readAssignment(event, sealed)
        case 10...16: return unsafe try readDisclosure(event, sealed)
        case 17:
            let stored = unsafe try part(event.sensitive_read, "Event.sensitive_read")
            let target: SensitiveRead.Target
            switch unsafe stored.target_case.rawValue {
            case 1: target = unsafe .case(try caseNumber(stored.case_number))
            case 2: target = unsafe .disclosure(DisclosureID(stored.disclosure_id))
            case 5:
                target = unsafe .evidence(
                    try caseNumber(stored.evidence_case),
                    EvidenceNumber(try smallNumber(stored.evidence_number, "evidence_number")))
            default: throw .missing("SensitiveRead.target")
            }
            return unsafe .sensitiveRead(
                SensitiveRead(
                    target: target,
                    purpose: try sealed.text(
                        stored.purpose_sealed, "SensitiveRead.purpose_sealed")))
        case 19:
            return unsafe .snapshotTaken(
                try read(
                    try part(event.snapshot_taken, "Event.snapshot_taken")))
        case 20...26: return unsafe try readEvidence(event, sealed)
        default: throw .missing("Event.kind")
        }
    }

    private static func readCase(
        _ event: StoredEvent, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 1:
            let stored = unsafe try part(
                event.report_received, "Event.report_received")
            return unsafe .reportReceived(
                case: try caseNumber(stored.case_number),
                report: try reportNumber(stored.report_number),
                opened: stored.opened != 0,
                facts: try read(
                    try part(stored.facts, "ReportReceived.facts")),
                assessment: try read(
                    try part(stored.assessment, "ReportReceived.assessment")),
                content: try sealed.content(
                    stored.content_sealed, "ReportReceived.content_sealed"))
        case 2:
            let stored = unsafe try part(
                event.protocol_answered, "Event.protocol_answered")
            let pending = unsafe stored.pending_level_plus_one
            let level: Level? =
                pending == 0
                ? nil
                : try choice(pending &- 1, "ProtocolAnswered.pending_level_plus_one")
            return unsafe .protocolAnswered(
                case: try caseNumber(stored.case_number),
                answers: try read(
                    try part(stored.answers, "ProtocolAnswered.answers")),
                answered: try read(
                    try part(stored.answered, "ProtocolAnswered.answered")),
                resulting: try read(
                    try part(stored.resulting, "ProtocolAnswered.resulting")),
                lowerReason: try sealed.text(
                    stored.lower_reason_sealed, "ProtocolAnswered.lower_reason_sealed"),
                pendingLowering: level)
        case 3:
            let stored = unsafe try part(event.case_decided, "Event.case_decided")
            var decision = unsafe try read(
                try part(stored.decision, "CaseDecided.decision"))
            decision.rationale = unsafe try sealed.text(
                stored.rationale_sealed, "CaseDecided.rationale_sealed")
            return unsafe .caseDecided(
                case: try caseNumber(stored.case_number), decision: decision)
        case 4:
            let stored = unsafe try part(event.case_closed, "Event.case_closed")
            return unsafe .caseClosed(case: try caseNumber(stored.case_number))
        case 5:
            let stored = unsafe try part(event.case_reopened, "Event.case_reopened")
            return unsafe .caseReopened(
                case: try caseNumber(stored.case_number),
                reason: try sealed.text(stored.reason_sealed, "CaseReopened.reason_sealed"))
        default:
            let stored = unsafe try part(
                event.legal_clock_due, "Event.legal_clock_due")
            return unsafe .legalClockDue(case: try caseNumber(stored.case_number))
        }
    }

    private static func readAssignment(
        _ event: StoredEvent, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 6:
            let stored = unsafe try part(event.case_offered, "Event.case_offered")
            return unsafe .caseOffered(
                assignment: try assignmentNumber(stored.assignment_number),
                case: try caseNumber(stored.case_number),
                specialist: Principal(journaled: string(stored.specialist)),
                expiresAt: try time(stored.expire_milliseconds),
                handedOffFrom: try assignmentNumber(stored.handed_off_from),
                note: try sealed.text(stored.note_sealed, "CaseOffered.note_sealed"),
                explanation: try stored.explanation.map {
                    why throws(CodecError) in try unsafe read(why.pointee)
                })
        case 7:
            let stored = unsafe try part(event.case_accepted, "Event.case_accepted")
            return unsafe .caseAccepted(
                assignment: try assignmentNumber(stored.assignment_number),
                expiresAt: try time(stored.expire_milliseconds))
        case 8:
            let stored = unsafe try part(event.lease_renewed, "Event.lease_renewed")
            return unsafe .leaseRenewed(
                assignment: try assignmentNumber(stored.assignment_number),
                expiresAt: try time(stored.expire_milliseconds))
        default:
            let stored = unsafe try part(
                event.assignment_ended, "Event.assignment_ended")
            return unsafe .assignmentEnded(
                assignment: try assignmentNumber(stored.assignment_number),
                state: try choice(stored.state, "AssignmentEnded.state"),
                reason: try choice(
                    stored.release_reason, "AssignmentEnded.release_reason"))
        }
    }

    private static func readDisclosure(
        _ event: StoredEvent, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 10:
            let stored = unsafe try part(
                event.disclosure_submitted, "Event.disclosure_submitted")
            return unsafe .disclosureSubmitted(
                request: DisclosureID(stored.disclosure_id),
                filing: try sealed.message(
                    stored.filing_sealed, "DisclosureSubmitted.filing_sealed",
                    triaged__storage__v1__disclosure_filing__init
                ) { value throws(CodecError) in try unsafe read(value) },
                instrument: string(stored.instrument),
                clocks: try list(stored.clocks, stored.n_clocks) {
                    clock throws(CodecError) in
                    try unsafe read(clock)
                })
        case 11:
            let stored = unsafe try part(
                event.preservation_placed, "Event.preservation_placed")
            return unsafe .preservationPlaced(
                request: DisclosureID(stored.disclosure_id),
                expiresAt: try time(stored.expire_milliseconds),
                rule: string(stored.rule))
        case 12:
            let stored = unsafe try part(
                event.preservation_expired, "Event.preservation_expired")
            return unsafe .preservationExpired(request: DisclosureID(stored.disclosure_id))
        case 13:
            let stored = unsafe try part(
                event.verification_added, "Event.verification_added")
            return unsafe .verificationAdded(
                request: DisclosureID(stored.disclosure_id),
                verification: try sealed.message(
                    stored.verification_sealed, "VerificationAdded.verification_sealed",
                    triaged__storage__v1__verification__init
                ) { value throws(CodecError) in try unsafe read(value) },
                resulting: try choice(
                    stored.resulting_state, "VerificationAdded.resulting_state"))
        case 14:
            let stored = unsafe try part(event.scope_set, "Event.scope_set")
            return unsafe .scopeSet(
                request: DisclosureID(stored.disclosure_id),
                scope: try sealed.message(
                    stored.scope_sealed, "ScopeSet.scope_sealed",
                    triaged__storage__v1__scope__init
                ) { value throws(CodecError) in try unsafe read(value) })
        case 15:
            let stored = unsafe try part(
                event.disclosure_approved, "Event.disclosure_approved")
            return unsafe .disclosureApproved(
                request: DisclosureID(stored.disclosure_id),
                scopeRevision: try number(
                    stored.scope_revision, "DisclosureApproved.scope_revision"))
        default:
            let stored = unsafe try part(
                event.disclosure_rejected, "Event.disclosure_rejected")
            return unsafe .disclosureRejected(
                request: DisclosureID(stored.disclosure_id),
                rejection: try sealed.message(
                    stored.rejection_sealed, "DisclosureRejected.rejection_sealed",
                    triaged__storage__v1__rejection__init
                ) { value throws(CodecError) in try unsafe read(value) })
        }
    }
}
