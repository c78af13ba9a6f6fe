// Journal records: a header and its events to a body of `triaged.storage.v1.JournalRecord` and
// sealed fields, and back. What the bytes are framed, hashed and encrypted with is the journal's
// business.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

private typealias StoredEvent = Triaged__Storage__V1__Event

/// Encodes and decodes journal records.
///
/// - Isolation: one thread at a time.
package final class EventCodec {
    private let arena = Arena()
    /// Who was read last, and its text: the records of one caller come in runs.
    private var recent: (text: [UInt8], principal: Principal)?

    package init() {}

    /// Makes principals anew from here on: what one thread reads is then no business of another's,
    /// which has what was read before.
    package func forgetPrincipals() { recent = nil }

    /// Encodes one record.
    ///
    /// The header's sequence and time are not in it: the journal's frame has them. What people
    /// wrote is sealed: each text, and each message that is nothing else, is a field of its own.
    /// What `record` held before is forgotten.
    ///
    /// - Complexity: O(bytes); allocates nothing for a report while `record` has room.
    package func encode(
        _ header: EventHeader, _ events: [Event], into record: inout RecordParts
    ) {
        record.removeAll()
        if events.count == 1, ReportRecord.write(header, events.span[0], into: &record) { return }
        arena.reset()
        let packed = unsafe arena.packed(body(header, events, &record))
        unsafe record.body.append(
            copying: UnsafeBufferPointer(start: packed.data, count: packed.len).span)
    }

    /// Decodes one record.
    ///
    /// - Parameters:
    ///   - record: What ``encode(_:_:into:)`` gave, some of its fields erased perhaps.
    ///   - sequence: The record's sequence, from its frame.
    ///   - time: The record's time, from its frame.
    /// - Returns: The header and the events, in order. A text that was erased is ``Erased/text``, a
    ///   report's content ``Erased/content``.
    /// - Throws: ``CodecError`` when the record is damaged or of a later version, or what was
    ///   erased cannot be done without.
    package func decode(
        _ record: RecordView, sequence: UInt64, time: WallTime
    ) throws(CodecError) -> (EventHeader, [Event]) {
        var events: [Event] = []
        let header = try decode(record, sequence: sequence, time: time, into: &events)
        return (header, events)
    }

    /// Decodes one record, its events behind others.
    ///
    /// - Throws: As above; `events` may then have some of the record's.
    package func decode(
        _ record: RecordView, sequence: UInt64, time: WallTime, into events: inout [Event]
    ) throws(CodecError) -> EventHeader {
        if let header = try decodeReport(record, sequence, time, &events) { return header }
        return try decodeAny(record, sequence, time, &events)
    }

    /// Decodes a record that is one report's, as this server writes it; nil of any other.
    func decodeReport(
        _ record: RecordView, _ sequence: UInt64, _ time: WallTime, _ events: inout [Event]
    ) throws(CodecError) -> EventHeader? {
        let read = CanonicalReader.read(record.body) { reader in
            unsafe reader.reportRecord { unsafe principal($0) }
        }
        guard let read else { return nil }
        let content = try SealedFields(record, arena: arena)
            .content(read.contentSealed, "ReportReceived.content_sealed")
        events.append(
            .reportReceived(
                case: read.number, report: read.report, opened: read.opened, facts: read.facts,
                assessment: read.assessment, content: content))
        return EventHeader(
            sequence: sequence, time: time, principal: read.principal, requestID: read.requestID,
            fingerprint: read.fingerprint)
    }

    private func principal(_ text: UnsafeBufferPointer<UInt8>) -> Principal {
        if let recent, unsafe equal(text.span, recent.text) { return recent.principal }
        let principal = unsafe Principal(journaled: String(decoding: text, as: UTF8.self))
        recent = (unsafe Array(text), principal)
        return principal
    }

    /// Decodes any record.
    func decodeAny(
        _ record: RecordView, _ sequence: UInt64, _ time: WallTime, _ events: inout [Event]
    ) throws(CodecError) -> EventHeader {
        arena.reset()
        let body: UnsafeMutablePointer<Triaged__Storage__V1__JournalRecord>
        do {
            unsafe body = try arena.unpack(
                record.body, .storage, triaged__storage__v1__journal_record__init)
        } catch { throw .wire(error) }
        let header = unsafe EventHeader(
            sequence: sequence, time: time,
            principal: Principal(journaled: string(body.pointee.principal)),
            requestID: RequestID(
                high: body.pointee.request_id_high, low: body.pointee.request_id_low),
            fingerprint: Hash128(
                high: body.pointee.fingerprint_high, low: body.pointee.fingerprint_low))
        let sealed = SealedFields(record, arena: arena)
        for index in unsafe 0..<body.pointee.n_events {
            guard
                let event = unsafe elements(body.pointee.events, body.pointee.n_events)[index]
            else { continue }
            events.append(unsafe try StorageReader.read(event.pointee, sealed))
        }
        return header
    }

    private func body(
        _ header: EventHeader, _ events: [Event], _ record: inout RecordParts
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__JournalRecord> {
        let writer = StorageWriter(arena: arena)
        let body = unsafe arena.new(triaged__storage__v1__journal_record__init)
        unsafe body.pointee.principal = arena.text(header.principal.text)
        unsafe body.pointee.request_id_high = header.requestID.high
        unsafe body.pointee.request_id_low = header.requestID.low
        unsafe body.pointee.fingerprint_high = header.fingerprint.high
        unsafe body.pointee.fingerprint_low = header.fingerprint.low
        unsafe body.pointee.n_events = events.count
        unsafe body.pointee.events = arena.list(events) { unsafe writer.write($0, &record) }
        return unsafe body
    }
}

// MARK: Writing

extension StorageWriter {
    /// A sealed text; 0 for none.
    func seal(_ text: String, _ record: inout RecordParts) -> Int32 {
        text.isEmpty ? 0 : Int32(record.seal(Array(text.utf8)))
    }

    /// A sealed message.
    private func seal<M>(
        _ message: UnsafeMutablePointer<M>, _ record: inout RecordParts
    ) -> Int32 {
        unsafe Int32(record.seal(arena.pack(message)))
    }

    fileprivate func write(
        _ event: Event, _ record: inout RecordParts
    ) -> UnsafeMutablePointer<StoredEvent> {
        let stored = unsafe arena.new(triaged__storage__v1__event__init)
        switch event {
        case .reportReceived, .protocolAnswered, .caseDecided, .caseClosed, .caseReopened,
            .legalClockDue:
            unsafe writeCase(event, stored, &record)
        case .caseOffered, .caseAccepted, .leaseRenewed, .assignmentEnded:
            unsafe writeAssignment(event, stored, &record)
        case .disclosureSubmitted, .preservationPlaced, .preservationExpired, .verificationAdded,
            .scopeSet, .disclosureApproved, .disclosureRejected:
            unsafe writeDisclosure(event, stored, &record)
        case .sensitiveRead(let read):
            let copy = unsafe arena.new(triaged__storage__v1__sensitive_read__init)
            switch read.target {
            case .case(let number):
                unsafe copy.pointee.target_case = .init(1)
                unsafe copy.pointee.case_number = Int64(number.value)
            case .disclosure(let id):
                unsafe copy.pointee.target_case = .init(2)
                unsafe copy.pointee.disclosure_id = id.value
            case .evidence(let matter, let number):
                unsafe copy.pointee.target_case = .init(5)
                unsafe copy.pointee.evidence_number = Int64(number.value)
                unsafe copy.pointee.evidence_case = Int64(matter.value)
            }
            unsafe copy.pointee.purpose_sealed = seal(read.purpose, &record)
            unsafe stored.pointee.kind_case = .init(17)
            unsafe stored.pointee.sensitive_read = unsafe copy
        case .snapshotTaken(let taken):
            unsafe stored.pointee.kind_case = .init(19)
            unsafe stored.pointee.snapshot_taken = write(taken)
        case .evidenceAttached, .evidenceErased, .reportTextsErased, .holdPlaced, .holdReleased,
            .holdExpired, .keyRenewed:
            unsafe writeEvidence(event, stored, &record)
        }
        return unsafe stored
    }

    private func writeCase(
        _ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>, _ record: inout RecordParts
    ) {
        switch event {
        case .reportReceived(
            let number, let report, let opened, let facts, let assessment, let content):
            let copy = unsafe arena.new(triaged__storage__v1__report_received__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.report_number = Int64(report.value)
            unsafe copy.pointee.opened = opened ? 1 : 0
            unsafe copy.pointee.facts = write(facts)
            unsafe copy.pointee.assessment = write(assessment)
            unsafe copy.pointee.content_sealed = Int32(record.seal(content))
            unsafe stored.pointee.kind_case = .init(1)
            unsafe stored.pointee.report_received = unsafe copy
        case .protocolAnswered(
            let number, let answers, let answered, let resulting, let reason, let pending):
            let copy = unsafe arena.new(triaged__storage__v1__protocol_answered__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.answers = write(answers)
            unsafe copy.pointee.answered = write(answered)
            unsafe copy.pointee.resulting = write(resulting)
            unsafe copy.pointee.lower_reason_sealed = seal(reason, &record)
            unsafe copy.pointee.pending_level_plus_one = pending.map { Int32($0.rawValue) + 1 } ?? 0
            unsafe stored.pointee.kind_case = .init(2)
            unsafe stored.pointee.protocol_answered = unsafe copy
        case .caseDecided(let number, let decision):
            let copy = unsafe arena.new(triaged__storage__v1__case_decided__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            var unexplained = decision
            unexplained.rationale = ""
            unsafe copy.pointee.decision = write(unexplained)
            unsafe copy.pointee.rationale_sealed = seal(decision.rationale, &record)
            unsafe stored.pointee.kind_case = .init(3)
            unsafe stored.pointee.case_decided = unsafe copy
        case .caseClosed(let number):
            let copy = unsafe arena.new(triaged__storage__v1__case_closed__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe stored.pointee.kind_case = .init(4)
            unsafe stored.pointee.case_closed = unsafe copy
        case .caseReopened(let number, let reason):
            let copy = unsafe arena.new(triaged__storage__v1__case_reopened__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.reason_sealed = seal(reason, &record)
            unsafe stored.pointee.kind_case = .init(5)
            unsafe stored.pointee.case_reopened = unsafe copy
        case .legalClockDue(let number):
            let copy = unsafe arena.new(triaged__storage__v1__legal_clock_due__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe stored.pointee.kind_case = .init(18)
            unsafe stored.pointee.legal_clock_due = unsafe copy
        default: preconditionFailure("not an event of a case")
        }
    }

    private func writeAssignment(
        _ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>, _ record: inout RecordParts
    ) {
        switch event {
        case .caseOffered(
            let assignment, let number, let specialist, let expiresAt, let from, let note,
            let explanation):
            let copy = unsafe arena.new(triaged__storage__v1__case_offered__init)
            unsafe copy.pointee.assignment_number = Int64(assignment.value)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.specialist = text(specialist.text)
            unsafe copy.pointee.expire_milliseconds = expiresAt.milliseconds
            unsafe copy.pointee.handed_off_from = Int64(from.value)
            unsafe copy.pointee.note_sealed = seal(note, &record)
            if let explanation { unsafe copy.pointee.explanation = write(explanation) }
            unsafe stored.pointee.kind_case = .init(6)
            unsafe stored.pointee.case_offered = unsafe copy
        case .caseAccepted(let assignment, let expiresAt):
            unsafe stored.pointee.kind_case = .init(7)
            unsafe stored.pointee.case_accepted = writeLease(assignment, expiresAt)
        case .leaseRenewed(let assignment, let expiresAt):
            unsafe stored.pointee.kind_case = .init(8)
            unsafe stored.pointee.lease_renewed = writeLease(assignment, expiresAt)
        case .assignmentEnded(let assignment, let state, let reason):
            let copy = unsafe arena.new(triaged__storage__v1__assignment_ended__init)
            unsafe copy.pointee.assignment_number = Int64(assignment.value)
            unsafe copy.pointee.state = Int32(state.rawValue)
            unsafe copy.pointee.release_reason = Int32(reason.rawValue)
            unsafe stored.pointee.kind_case = .init(9)
            unsafe stored.pointee.assignment_ended = unsafe copy
        default: preconditionFailure("not an event of an assignment")
        }
    }

    private func writeLease(
        _ assignment: AssignmentNumber, _ expiresAt: WallTime
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__LeaseChanged> {
        let copy = unsafe arena.new(triaged__storage__v1__lease_changed__init)
        unsafe copy.pointee.assignment_number = Int64(assignment.value)
        unsafe copy.pointee.expire_milliseconds = expiresAt.milliseconds
        return unsafe copy
    }

    private func writeDisclosure(
        _ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>, _ record: inout RecordParts
    ) {
        switch event {
        case .disclosureSubmitted(let id, let filing, let instrument, let clocks):
            let copy = unsafe arena.new(triaged__storage__v1__disclosure_submitted__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.filing_sealed = seal(write(filing), &record)
            unsafe copy.pointee.instrument = text(instrument)
            unsafe copy.pointee.n_clocks = clocks.count
            unsafe copy.pointee.clocks = arena.list(clocks) { unsafe write($0) }
            unsafe stored.pointee.kind_case = .init(10)
            unsafe stored.pointee.disclosure_submitted = unsafe copy
        case .preservationPlaced(let id, let expiresAt, let rule):
            let copy = unsafe arena.new(triaged__storage__v1__preservation_placed__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.expire_milliseconds = expiresAt.milliseconds
            unsafe copy.pointee.rule = text(rule)
            unsafe stored.pointee.kind_case = .init(11)
            unsafe stored.pointee.preservation_placed = unsafe copy
        case .preservationExpired(let id):
            let copy = unsafe arena.new(triaged__storage__v1__preservation_expired__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe stored.pointee.kind_case = .init(12)
            unsafe stored.pointee.preservation_expired = unsafe copy
        case .verificationAdded(let id, let verification, let resulting):
            let copy = unsafe arena.new(triaged__storage__v1__verification_added__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.verification_sealed = seal(write(verification), &record)
            unsafe copy.pointee.resulting_state = Int32(resulting.rawValue)
            unsafe stored.pointee.kind_case = .init(13)
            unsafe stored.pointee.verification_added = unsafe copy
        case .scopeSet(let id, let scope):
            let copy = unsafe arena.new(triaged__storage__v1__scope_set__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.scope_sealed = seal(write(scope), &record)
            unsafe stored.pointee.kind_case = .init(14)
            unsafe stored.pointee.scope_set = unsafe copy
        case .disclosureApproved(let id, let revision):
            let copy = unsafe arena.new(triaged__storage__v1__disclosure_approved__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.scope_revision = Int64(bitPattern: revision)
            unsafe stored.pointee.kind_case = .init(15)
            unsafe stored.pointee.disclosure_approved = unsafe copy
        case .disclosureRejected(let id, let rejection):
            let copy = unsafe arena.new(triaged__storage__v1__disclosure_rejected__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.rejection_sealed = seal(write(rejection), &record)
            unsafe stored.pointee.kind_case = .init(16)
            unsafe stored.pointee.disclosure_rejected = unsafe copy
        default: preconditionFailure("not an event of a disclosure request")
        }
    }
}
