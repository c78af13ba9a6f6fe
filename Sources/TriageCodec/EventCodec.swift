// Journal records: a header and its events to `triaged.storage.v1.JournalRecord`, and back. What
// the bytes are framed and chained with is the journal's business.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

private typealias StoredEvent = Triaged__Storage__V1__Event

/// Encodes and decodes the payloads of journal records.
///
/// - Isolation: one thread at a time.
package final class EventCodec {
    private let arena = Arena()

    package init() {}

    /// Encodes one record.
    ///
    /// The header's sequence and time are not in the payload: the journal's frame has them.
    ///
    /// - Returns: The payload, to be appended to the journal.
    /// - Complexity: O(bytes); one allocation.
    package func encode(_ header: EventHeader, _ events: [Event]) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(record(header, events))
    }

    /// Encodes one record behind what `payload` has already; allocates nothing while that has room.
    package func encode(_ header: EventHeader, _ events: [Event], into payload: inout [UInt8]) {
        if let report = ReportRecord(header, events) { return report.write(into: &payload) }
        arena.reset()
        let packed = unsafe arena.packed(record(header, events))
        unsafe payload.append(
            copying: UnsafeBufferPointer(start: packed.data, count: packed.len).span)
    }

    /// Decodes one record.
    ///
    /// - Parameters:
    ///   - payload: What ``encode(_:_:)`` gave.
    ///   - sequence: The record's sequence, from its frame.
    ///   - time: The record's time, from its frame.
    /// - Returns: The header and the events, in order.
    /// - Throws: ``CodecError`` when the payload is damaged or of a later version.
    package func decode(
        _ payload: Span<UInt8>, sequence: UInt64, time: WallTime
    ) throws(CodecError) -> (EventHeader, [Event]) {
        arena.reset()
        let record: UnsafeMutablePointer<Triaged__Storage__V1__JournalRecord>
        do {
            unsafe record = try arena.unpack(
                payload, .storage, triaged__storage__v1__journal_record__init)
        } catch { throw .wire(error) }
        let header = unsafe EventHeader(
            sequence: sequence, time: time,
            principal: Principal(journaled: string(record.pointee.principal)),
            requestID: RequestID(
                high: record.pointee.request_id_high, low: record.pointee.request_id_low),
            fingerprint: Hash128(
                high: record.pointee.fingerprint_high, low: record.pointee.fingerprint_low))
        let events = unsafe try StorageReader.list(
            record.pointee.events, record.pointee.n_events
        ) { event throws(CodecError) in try unsafe StorageReader.read(event) }
        return (header, events)
    }

    private func record(
        _ header: EventHeader, _ events: [Event]
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__JournalRecord> {
        let writer = StorageWriter(arena: arena)
        let record = unsafe arena.new(triaged__storage__v1__journal_record__init)
        unsafe record.pointee.principal = arena.text(header.principal.text)
        unsafe record.pointee.request_id_high = header.requestID.high
        unsafe record.pointee.request_id_low = header.requestID.low
        unsafe record.pointee.fingerprint_high = header.fingerprint.high
        unsafe record.pointee.fingerprint_low = header.fingerprint.low
        unsafe record.pointee.n_events = events.count
        unsafe record.pointee.events = arena.list(events) { unsafe writer.write($0) }
        return unsafe record
    }
}

// MARK: Writing

extension StorageWriter {
    fileprivate func write(_ event: Event) -> UnsafeMutablePointer<StoredEvent> {
        let stored = unsafe arena.new(triaged__storage__v1__event__init)
        switch event {
        case .reportReceived, .protocolAnswered, .caseDecided, .caseClosed, .caseReopened,
            .legalClockDue:
            unsafe writeCase(event, stored)
        case .caseOffered, .caseAccepted, .leaseRenewed, .assignmentEnded:
            unsafe writeAssignment(event, stored)
        case .disclosureSubmitted, .preservationPlaced, .preservationExpired, .verificationAdded,
            .scopeSet, .disclosureApproved, .disclosureRejected:
            unsafe writeDisclosure(event, stored)
        case .sensitiveRead(let read):
            let copy = unsafe arena.new(triaged__storage__v1__sensitive_read__init)
            switch read.target {
            case .case(let number):
                unsafe copy.pointee.target_case = .init(1)
                unsafe copy.pointee.case_number = Int64(number.value)
            case .disclosure(let id):
                unsafe copy.pointee.target_case = .init(2)
                unsafe copy.pointee.disclosure_id = id.value
            }
            unsafe copy.pointee.purpose = text(read.purpose)
            unsafe stored.pointee.kind_case = .init(17)
            unsafe stored.pointee.sensitive_read = unsafe copy
        case .snapshotTaken(let taken):
            unsafe stored.pointee.kind_case = .init(19)
            unsafe stored.pointee.snapshot_taken = write(taken)
        }
        return unsafe stored
    }

    private func writeCase(_ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>) {
        switch event {
        case .reportReceived(
            let number, let report, let opened, let facts, let assessment, let content):
            let copy = unsafe arena.new(triaged__storage__v1__report_received__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.report_number = Int64(report.value)
            unsafe copy.pointee.opened = opened ? 1 : 0
            unsafe copy.pointee.facts = write(facts)
            unsafe copy.pointee.assessment = write(assessment)
            unsafe copy.pointee.content = arena.bytes(content)
            unsafe stored.pointee.kind_case = .init(1)
            unsafe stored.pointee.report_received = unsafe copy
        case .protocolAnswered(
            let number, let answers, let answered, let resulting, let reason, let pending):
            let copy = unsafe arena.new(triaged__storage__v1__protocol_answered__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.answers = write(answers)
            unsafe copy.pointee.answered = write(answered)
            unsafe copy.pointee.resulting = write(resulting)
            unsafe copy.pointee.lower_reason = text(reason)
            unsafe copy.pointee.pending_level_plus_one = pending.map { Int32($0.rawValue) + 1 } ?? 0
            unsafe stored.pointee.kind_case = .init(2)
            unsafe stored.pointee.protocol_answered = unsafe copy
        case .caseDecided(let number, let decision):
            let copy = unsafe arena.new(triaged__storage__v1__case_decided__init)
            unsafe copy.pointee.case_number = Int64(number.value)
            unsafe copy.pointee.decision = write(decision)
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
            unsafe copy.pointee.reason = text(reason)
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

    private func writeAssignment(_ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>) {
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
            unsafe copy.pointee.note = text(note)
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

    private func writeDisclosure(_ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>) {
        switch event {
        case .disclosureSubmitted(let id, let filing, let instrument, let clocks):
            let copy = unsafe arena.new(triaged__storage__v1__disclosure_submitted__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.filing = write(filing)
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
            unsafe copy.pointee.verification = write(verification)
            unsafe copy.pointee.resulting_state = Int32(resulting.rawValue)
            unsafe stored.pointee.kind_case = .init(13)
            unsafe stored.pointee.verification_added = unsafe copy
        case .scopeSet(let id, let scope):
            let copy = unsafe arena.new(triaged__storage__v1__scope_set__init)
            unsafe copy.pointee.disclosure_id = id.value
            unsafe copy.pointee.scope = write(scope)
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
            unsafe copy.pointee.rejection = write(rejection)
            unsafe stored.pointee.kind_case = .init(16)
            unsafe stored.pointee.disclosure_rejected = unsafe copy
        default: preconditionFailure("not an event of a disclosure request")
        }
    }
}

// MARK: Reading

extension StorageReader {
    fileprivate static func read(_ event: StoredEvent) throws(CodecError) -> Event {
        // The case of a oneof is the number of the field that is set.
        switch unsafe event.kind_case.rawValue {
        case 1...5, 18: return unsafe try readCase(event)
        case 6...9: return unsafe try readAssignment(event)
        case 10...16: return unsafe try readDisclosure(event)
        case 17:
            let stored = unsafe try part(event.sensitive_read, "Event.sensitive_read")
            let target: SensitiveRead.Target
            switch unsafe stored.target_case.rawValue {
            case 1: target = unsafe .case(try caseNumber(stored.case_number))
            case 2: target = unsafe .disclosure(DisclosureID(stored.disclosure_id))
            default: throw .missing("SensitiveRead.target")
            }
            return unsafe .sensitiveRead(
                SensitiveRead(target: target, purpose: string(stored.purpose)))
        case 19:
            return unsafe .snapshotTaken(
                try read(try part(event.snapshot_taken, "Event.snapshot_taken")))
        default: throw .missing("Event.kind")
        }
    }

    private static func readCase(_ event: StoredEvent) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 1:
            let stored = unsafe try part(event.report_received, "Event.report_received")
            return unsafe .reportReceived(
                case: try caseNumber(stored.case_number),
                report: try reportNumber(stored.report_number),
                opened: stored.opened != 0,
                facts: try read(try part(stored.facts, "ReportReceived.facts")),
                assessment: try read(try part(stored.assessment, "ReportReceived.assessment")),
                content: try content(stored.content))
        case 2:
            let stored = unsafe try part(event.protocol_answered, "Event.protocol_answered")
            let pending = unsafe stored.pending_level_plus_one
            let level: Level? =
                pending == 0
                ? nil : try choice(pending &- 1, "ProtocolAnswered.pending_level_plus_one")
            return unsafe .protocolAnswered(
                case: try caseNumber(stored.case_number),
                answers: try read(try part(stored.answers, "ProtocolAnswered.answers")),
                answered: try read(try part(stored.answered, "ProtocolAnswered.answered")),
                resulting: try read(try part(stored.resulting, "ProtocolAnswered.resulting")),
                lowerReason: string(stored.lower_reason), pendingLowering: level)
        case 3:
            let stored = unsafe try part(event.case_decided, "Event.case_decided")
            return unsafe .caseDecided(
                case: try caseNumber(stored.case_number),
                decision: try read(try part(stored.decision, "CaseDecided.decision")))
        case 4:
            let stored = unsafe try part(event.case_closed, "Event.case_closed")
            return unsafe .caseClosed(case: try caseNumber(stored.case_number))
        case 5:
            let stored = unsafe try part(event.case_reopened, "Event.case_reopened")
            return unsafe .caseReopened(
                case: try caseNumber(stored.case_number), reason: string(stored.reason))
        default:
            let stored = unsafe try part(event.legal_clock_due, "Event.legal_clock_due")
            return unsafe .legalClockDue(case: try caseNumber(stored.case_number))
        }
    }

    private static func readAssignment(_ event: StoredEvent) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 6:
            let stored = unsafe try part(event.case_offered, "Event.case_offered")
            return unsafe .caseOffered(
                assignment: try assignmentNumber(stored.assignment_number),
                case: try caseNumber(stored.case_number),
                specialist: Principal(journaled: string(stored.specialist)),
                expiresAt: try time(stored.expire_milliseconds),
                handedOffFrom: try assignmentNumber(stored.handed_off_from),
                note: string(stored.note),
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
            let stored = unsafe try part(event.assignment_ended, "Event.assignment_ended")
            return unsafe .assignmentEnded(
                assignment: try assignmentNumber(stored.assignment_number),
                state: try choice(stored.state, "AssignmentEnded.state"),
                reason: try choice(stored.release_reason, "AssignmentEnded.release_reason"))
        }
    }

    private static func readDisclosure(_ event: StoredEvent) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 10:
            let stored = unsafe try part(event.disclosure_submitted, "Event.disclosure_submitted")
            return unsafe .disclosureSubmitted(
                request: DisclosureID(stored.disclosure_id),
                filing: try read(try part(stored.filing, "DisclosureSubmitted.filing")),
                instrument: string(stored.instrument),
                clocks: try list(stored.clocks, stored.n_clocks) { clock throws(CodecError) in
                    try unsafe read(clock)
                })
        case 11:
            let stored = unsafe try part(event.preservation_placed, "Event.preservation_placed")
            return unsafe .preservationPlaced(
                request: DisclosureID(stored.disclosure_id),
                expiresAt: try time(stored.expire_milliseconds), rule: string(stored.rule))
        case 12:
            let stored = unsafe try part(event.preservation_expired, "Event.preservation_expired")
            return unsafe .preservationExpired(request: DisclosureID(stored.disclosure_id))
        case 13:
            let stored = unsafe try part(event.verification_added, "Event.verification_added")
            return unsafe .verificationAdded(
                request: DisclosureID(stored.disclosure_id),
                verification: try read(
                    try part(stored.verification, "VerificationAdded.verification")),
                resulting: try choice(
                    stored.resulting_state, "VerificationAdded.resulting_state"))
        case 14:
            let stored = unsafe try part(event.scope_set, "Event.scope_set")
            return unsafe .scopeSet(
                request: DisclosureID(stored.disclosure_id),
                scope: try read(try part(stored.scope, "ScopeSet.scope")))
        case 15:
            let stored = unsafe try part(event.disclosure_approved, "Event.disclosure_approved")
            return unsafe .disclosureApproved(
                request: DisclosureID(stored.disclosure_id),
                scopeRevision: try number(
                    stored.scope_revision, "DisclosureApproved.scope_revision"))
        default:
            let stored = unsafe try part(event.disclosure_rejected, "Event.disclosure_rejected")
            return unsafe .disclosureRejected(
                request: DisclosureID(stored.disclosure_id),
                rejection: try read(try part(stored.rejection, "DisclosureRejected.rejection")))
        }
    }
}
