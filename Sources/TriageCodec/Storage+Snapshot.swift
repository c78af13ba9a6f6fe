// The records of a snapshot, both ways.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

extension StorageWriter {
    func write(
        _ counters: WorldCounters
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__CountersRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__counters_record__init)
        unsafe stored.pointee.sequence = Int64(bitPattern: counters.sequence)
        unsafe stored.pointee.time_milliseconds = counters.time.milliseconds
        unsafe stored.pointee.last_case = Int64(counters.lastCase.value)
        unsafe stored.pointee.last_report = Int64(counters.lastReport.value)
        unsafe stored.pointee.last_assignment = Int64(counters.lastAssignment.value)
        return unsafe stored
    }

    func write(
        _ index: Int, _ principal: Principal
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__PrincipalRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__principal_record__init)
        unsafe stored.pointee.index = Int32(index)
        unsafe stored.pointee.principal = text(principal.text)
        return unsafe stored
    }

    func write(_ report: StoredReport) -> UnsafeMutablePointer<Triaged__Storage__V1__StoredReport> {
        let stored = unsafe arena.new(triaged__storage__v1__stored_report__init)
        unsafe stored.pointee.report_number = Int64(report.number.value)
        unsafe stored.pointee.receive_milliseconds = report.receivedAt.milliseconds
        unsafe stored.pointee.submitter_index = Int32(report.submitter.value)
        unsafe stored.pointee.content = arena.bytes(report.content)
        return unsafe stored
    }

    func write(_ round: ProtocolRound) -> UnsafeMutablePointer<Triaged__Storage__V1__ProtocolRound>
    {
        let stored = unsafe arena.new(triaged__storage__v1__protocol_round__init)
        unsafe stored.pointee.answers = write(round.answers)
        unsafe stored.pointee.level = Int32(round.level.rawValue)
        unsafe stored.pointee.code = write(round.code)
        unsafe stored.pointee.principal_index = Int32(round.principal.value)
        unsafe stored.pointee.answer_milliseconds = round.answeredAt.milliseconds
        unsafe stored.pointee.lower_reason = text(round.lowerReason)
        return unsafe stored
    }

    func write(
        _ reopening: Reopening
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Reopening> {
        let stored = unsafe arena.new(triaged__storage__v1__reopening__init)
        unsafe stored.pointee.reason = text(reopening.reason)
        unsafe stored.pointee.principal_index = Int32(reopening.principal.value)
        unsafe stored.pointee.reopen_milliseconds = reopening.reopenedAt.milliseconds
        return unsafe stored
    }

    func write(_ value: Case) -> UnsafeMutablePointer<Triaged__Storage__V1__CaseRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__case_record__init)
        unsafe stored.pointee.case_number = Int64(value.number.value)
        unsafe stored.pointee.state = Int32(value.state.rawValue)
        unsafe stored.pointee.level = Int32(value.level.rawValue)
        unsafe stored.pointee.code = write(value.code)
        unsafe stored.pointee.clearance = Int32(value.clearance.rawValue)
        unsafe stored.pointee.language = Int32(value.language.rawValue)
        unsafe stored.pointee.region = Int32(value.region.rawValue)
        unsafe stored.pointee.routing = Int32(value.routing.rawValue)
        unsafe stored.pointee.modifier_bits = Int32(value.modifiers.rawValue)
        unsafe stored.pointee.governed_by = Int32(value.governedBy.rawValue)
        unsafe stored.pointee.live = value.live ? 1 : 0
        unsafe stored.pointee.receive_milliseconds = value.receivedAt.milliseconds
        unsafe stored.pointee.update_milliseconds = value.updatedAt.milliseconds
        unsafe stored.pointee.effective_deadline_milliseconds = value.effectiveDeadline.milliseconds
        unsafe stored.pointee.legal_deadline_milliseconds = value.legalDeadline.milliseconds
        unsafe stored.pointee.revision = Int64(bitPattern: value.revision)
        unsafe stored.pointee.assignment_number = Int64(value.assignment.value)
        unsafe stored.pointee.subject_high = value.subject.high
        unsafe stored.pointee.subject_low = value.subject.low
        unsafe stored.pointee.first = write(value.first)
        if let pending = value.pendingLowering.first {
            let copy = unsafe arena.new(triaged__storage__v1__pending_lowering__init)
            unsafe copy.pointee.level = Int32(pending.level.rawValue)
            unsafe copy.pointee.proposer_index = Int32(pending.proposer.value)
            unsafe copy.pointee.propose_milliseconds = pending.proposedAt.milliseconds
            unsafe stored.pointee.pending_lowering = unsafe copy
        }
        unsafe stored.pointee.n_declined_by = value.declinedBy.count
        unsafe stored.pointee.declined_by = principals(value.declinedBy)
        unsafe stored.pointee.more_report_count = Int32(value.more.count)
        unsafe stored.pointee.round_count = Int32(value.rounds.count)
        unsafe stored.pointee.decision_count = Int32(value.decisions.count)
        unsafe stored.pointee.reopening_count = Int32(value.reopenings.count)
        return unsafe stored
    }

    func write(
        _ assignment: Assignment
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__AssignmentRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__assignment_record__init)
        unsafe stored.pointee.assignment_number = Int64(assignment.number.value)
        unsafe stored.pointee.case_number = Int64(assignment.caseNumber.value)
        unsafe stored.pointee.specialist_index = Int32(assignment.specialist.value)
        unsafe stored.pointee.state = Int32(assignment.state.rawValue)
        unsafe stored.pointee.release_reason = Int32(assignment.releaseReason.rawValue)
        unsafe stored.pointee.offer_milliseconds = assignment.offeredAt.milliseconds
        unsafe stored.pointee.accept_milliseconds = assignment.acceptedAt.milliseconds
        unsafe stored.pointee.expire_milliseconds = assignment.expiresAt.milliseconds
        unsafe stored.pointee.end_milliseconds = assignment.endedAt.milliseconds
        unsafe stored.pointee.handed_off_from = Int64(assignment.handedOffFrom.value)
        unsafe stored.pointee.revision = Int64(bitPattern: assignment.revision)
        unsafe stored.pointee.note = text(assignment.note)
        if let why = assignment.explanation { unsafe stored.pointee.explanation = write(why) }
        return unsafe stored
    }

    func write(
        _ request: DisclosureRequest
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__DisclosureRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__disclosure_record__init)
        unsafe stored.pointee.disclosure_id = request.id.value
        unsafe stored.pointee.state = Int32(request.state.rawValue)
        unsafe stored.pointee.filing = write(request.filing)
        unsafe stored.pointee.requester_index = Int32(request.requester.value)
        unsafe stored.pointee.receive_milliseconds = request.receivedAt.milliseconds
        unsafe stored.pointee.update_milliseconds = request.updatedAt.milliseconds
        unsafe stored.pointee.instrument = text(request.instrument)
        unsafe stored.pointee.n_clocks = request.clocks.count
        unsafe stored.pointee.clocks = arena.list(request.clocks) { unsafe write($0) }
        if let hold = request.preservation {
            let copy = unsafe arena.new(triaged__storage__v1__preservation__init)
            unsafe copy.pointee.state = Int32(hold.state.rawValue)
            unsafe copy.pointee.place_milliseconds = hold.placedAt.milliseconds
            unsafe copy.pointee.expire_milliseconds = hold.expiresAt.milliseconds
            unsafe copy.pointee.rule = text(hold.rule)
            unsafe stored.pointee.preservation = unsafe copy
        }
        unsafe stored.pointee.n_verifications = request.verifications.count
        unsafe stored.pointee.verifications = arena.list(request.verifications) {
            unsafe write($0)
        }
        if let scope = request.scope { unsafe stored.pointee.scope = write(scope) }
        if let approval = request.approval {
            let copy = unsafe arena.new(triaged__storage__v1__approval__init)
            unsafe copy.pointee.principal_index = Int32(approval.principal.value)
            unsafe copy.pointee.approve_milliseconds = approval.approvedAt.milliseconds
            unsafe copy.pointee.scope_revision = Int64(bitPattern: approval.scopeRevision)
            unsafe stored.pointee.approval = unsafe copy
        }
        if let rejection = request.rejection {
            unsafe stored.pointee.rejection = write(rejection)
        }
        unsafe stored.pointee.revision = Int64(bitPattern: request.revision)
        unsafe stored.pointee.n_former_scopers = request.formerScopers.count
        unsafe stored.pointee.former_scopers = principals(request.formerScopers)
        return unsafe stored
    }

    private func principals(_ list: [PrincipalIndex]) -> UnsafeMutablePointer<Int32> {
        let copy = unsafe arena.take(list.count, of: Int32.self)
        for (index, principal) in list.enumerated() {
            unsafe copy[index] = Int32(principal.value)
        }
        return unsafe copy
    }

    func write(_ entry: LedgerEntry) -> UnsafeMutablePointer<Triaged__Storage__V1__LedgerRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__ledger_record__init)
        unsafe stored.pointee.key_high = entry.key.high
        unsafe stored.pointee.key_low = entry.key.low
        unsafe stored.pointee.fingerprint_high = entry.fingerprint.high
        unsafe stored.pointee.fingerprint_low = entry.fingerprint.low
        unsafe stored.pointee.time_milliseconds = entry.time.milliseconds
        // The case of the oneof is the number of the field that is set.
        switch entry.answer {
        case .receipt(let receipt):
            let copy = unsafe arena.new(triaged__storage__v1__receipt_record__init)
            unsafe copy.pointee.case_number = Int64(receipt.caseNumber.value)
            unsafe copy.pointee.report_number = Int64(receipt.report.value)
            unsafe copy.pointee.opened = receipt.opened ? 1 : 0
            unsafe copy.pointee.level = Int32(receipt.level.rawValue)
            unsafe copy.pointee.revision = Int64(bitPattern: receipt.revision)
            unsafe copy.pointee.receive_milliseconds = receipt.receivedAt.milliseconds
            unsafe stored.pointee.answer_case = .init(6)
            unsafe stored.pointee.receipt = unsafe copy
        case .changedCase(let number):
            unsafe stored.pointee.answer_case = .init(7)
            unsafe stored.pointee.case_number = Int64(number.value)
        case .offer(let number):
            unsafe stored.pointee.answer_case = .init(8)
            unsafe stored.pointee.offered_assignment = Int64(number.value)
        case .changedAssignment(let number):
            unsafe stored.pointee.answer_case = .init(9)
            unsafe stored.pointee.assignment_number = Int64(number.value)
        case .changedDisclosure(let id):
            unsafe stored.pointee.answer_case = .init(10)
            unsafe stored.pointee.disclosure_id = id.value
        case .snapshot(let taken):
            unsafe stored.pointee.answer_case = .init(11)
            unsafe stored.pointee.snapshot = write(taken)
        case .evidence(let number):
            unsafe stored.pointee.answer_case = .init(12)
            unsafe stored.pointee.evidence_number = Int64(number.value)
        case .hold(let number):
            unsafe stored.pointee.answer_case = .init(13)
            unsafe stored.pointee.hold_number = Int64(number.value)
        case .erasedTexts(let matter):
            unsafe stored.pointee.answer_case = .init(14)
            unsafe stored.pointee.erased_texts_case = Int64(matter.value)
        case .key(let made):
            unsafe stored.pointee.answer_case = .init(15)
            unsafe stored.pointee.key = write(made)
        case .recorded: break
        }
        return unsafe stored
    }

    func write(
        _ taken: SnapshotAnswer
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__SnapshotTaken> {
        let stored = unsafe arena.new(triaged__storage__v1__snapshot_taken__init)
        unsafe stored.pointee.sequence = Int64(bitPattern: taken.sequence)
        unsafe stored.pointee.record_count = Int64(clamping: taken.recordCount)
        unsafe stored.pointee.size_bytes = Int64(clamping: taken.bytes)
        unsafe stored.pointee.duration_milliseconds = Int64(clamping: taken.milliseconds)
        return unsafe stored
    }
}

extension StorageReader {
    static func read(
        _ stored: Triaged__Storage__V1__CountersRecord
    ) throws(CodecError) -> WorldCounters {
        unsafe WorldCounters(
            sequence: try number(stored.sequence, "CountersRecord.sequence"),
            time: try time(stored.time_milliseconds),
            lastCase: try caseNumber(stored.last_case),
            lastReport: try reportNumber(stored.last_report),
            lastAssignment: try assignmentNumber(stored.last_assignment))
    }

    static func read(
        _ stored: Triaged__Storage__V1__PrincipalRecord
    ) throws(CodecError) -> PrincipalRecord {
        unsafe PrincipalRecord(
            index: try principal(stored.index, "PrincipalRecord.index"),
            principal: Principal(journaled: string(stored.principal)))
    }

    static func read(
        _ stored: Triaged__Storage__V1__StoredReport
    ) throws(CodecError) -> StoredReport {
        unsafe StoredReport(
            number: try reportNumber(stored.report_number),
            receivedAt: try time(stored.receive_milliseconds),
            submitter: try principal(stored.submitter_index, "StoredReport.submitter_index"),
            content: try withBytes(stored.content) { bytes throws(CodecError) in
                try content(bytes)
            })
    }

    static func read(
        _ stored: Triaged__Storage__V1__ProtocolRound
    ) throws(CodecError) -> ProtocolRound {
        unsafe ProtocolRound(
            answers: try read(try part(stored.answers, "ProtocolRound.answers")),
            level: try choice(stored.level, "ProtocolRound.level"),
            code: try read(try part(stored.code, "ProtocolRound.code")),
            principal: try principal(stored.principal_index, "ProtocolRound.principal_index"),
            answeredAt: try time(stored.answer_milliseconds),
            lowerReason: string(stored.lower_reason))
    }

    static func read(
        _ stored: Triaged__Storage__V1__Reopening
    ) throws(CodecError) -> Reopening {
        unsafe Reopening(
            reason: string(stored.reason),
            principal: try principal(stored.principal_index, "Reopening.principal_index"),
            reopenedAt: try time(stored.reopen_milliseconds))
    }

    static func read(_ stored: Triaged__Storage__V1__CaseRecord) throws(CodecError) -> Case {
        let facts = unsafe ReportFacts(
            family: .unrecognised, reporter: .unrecognised, imminence: .unspecified,
            modifiers: try modifiers(stored.modifier_bits, "CaseRecord.modifier_bits"),
            signalPermille: 0, live: stored.live != 0,
            language: try language(stored.language, "CaseRecord.language"),
            region: try region(stored.region, "CaseRecord.region"),
            routing: try choice(stored.routing, "CaseRecord.routing"),
            clearance: try choice(stored.clearance, "CaseRecord.clearance"),
            subject: Hash128(high: stored.subject_high, low: stored.subject_low))
        var value = unsafe Case(
            number: try caseNumber(stored.case_number), facts: facts,
            level: try choice(stored.level, "CaseRecord.level"),
            code: try read(try part(stored.code, "CaseRecord.code")),
            first: try read(try part(stored.first, "CaseRecord.first")))
        value.state = unsafe try choice(stored.state, "CaseRecord.state")
        value.governedBy = unsafe try choice(stored.governed_by, "CaseRecord.governed_by")
        value.receivedAt = unsafe try time(stored.receive_milliseconds)
        value.updatedAt = unsafe try time(stored.update_milliseconds)
        value.effectiveDeadline = unsafe try time(stored.effective_deadline_milliseconds)
        value.legalDeadline = unsafe try time(stored.legal_deadline_milliseconds)
        value.revision = unsafe try number(stored.revision, "CaseRecord.revision")
        value.assignment = unsafe try assignmentNumber(stored.assignment_number)
        if let pending = unsafe stored.pending_lowering?.pointee {
            value.pendingLowering = [
                unsafe PendingLowering(
                    level: try choice(pending.level, "PendingLowering.level"),
                    proposer: try principal(
                        pending.proposer_index, "PendingLowering.proposer_index"),
                    proposedAt: try time(pending.propose_milliseconds))
            ]
        }
        for index in unsafe 0..<stored.n_declined_by {
            value.declinedBy.append(
                unsafe try principal(stored.declined_by[index], "CaseRecord.declined_by"))
        }
        return value
    }

    static func read(
        _ stored: Triaged__Storage__V1__AssignmentRecord
    ) throws(CodecError) -> Assignment {
        var value = unsafe Assignment(
            number: try assignmentNumber(stored.assignment_number),
            caseNumber: try caseNumber(stored.case_number),
            specialist: try principal(
                stored.specialist_index, "AssignmentRecord.specialist_index"),
            offeredAt: try time(stored.offer_milliseconds),
            expiresAt: try time(stored.expire_milliseconds),
            handedOffFrom: try assignmentNumber(stored.handed_off_from), note: string(stored.note))
        value.state = unsafe try choice(stored.state, "AssignmentRecord.state")
        value.releaseReason = unsafe try choice(
            stored.release_reason, "AssignmentRecord.release_reason")
        value.acceptedAt = unsafe try time(stored.accept_milliseconds)
        value.endedAt = unsafe try time(stored.end_milliseconds)
        value.revision = unsafe try number(stored.revision, "AssignmentRecord.revision")
        if let why = unsafe stored.explanation?.pointee {
            value.explanation = unsafe try read(why)
        }
        return value
    }

    static func read(
        _ stored: Triaged__Storage__V1__DisclosureRecord
    ) throws(CodecError) -> DisclosureRequest {
        var value = unsafe DisclosureRequest(
            id: DisclosureID(stored.disclosure_id),
            filing: try read(try part(stored.filing, "DisclosureRecord.filing")),
            requester: try principal(stored.requester_index, "DisclosureRecord.requester_index"),
            receivedAt: try time(stored.receive_milliseconds))
        value.state = unsafe try choice(stored.state, "DisclosureRecord.state")
        value.updatedAt = unsafe try time(stored.update_milliseconds)
        value.instrument = unsafe string(stored.instrument)
        value.clocks = unsafe try list(stored.clocks, stored.n_clocks) {
            clock throws(CodecError) in try unsafe read(clock)
        }
        if let hold = unsafe stored.preservation?.pointee {
            value.preservation = unsafe Preservation(
                state: try choice(hold.state, "Preservation.state"),
                placedAt: try time(hold.place_milliseconds),
                expiresAt: try time(hold.expire_milliseconds), rule: string(hold.rule))
        }
        value.verifications = unsafe try list(stored.verifications, stored.n_verifications) {
            verification throws(CodecError) in try unsafe read(verification)
        }
        if let scope = unsafe stored.scope?.pointee { value.scope = unsafe try read(scope) }
        if let approval = unsafe stored.approval?.pointee {
            value.approval = unsafe Approval(
                principal: try principal(approval.principal_index, "Approval.principal_index"),
                approvedAt: try time(approval.approve_milliseconds),
                scopeRevision: try number(approval.scope_revision, "Approval.scope_revision"))
        }
        if let rejection = unsafe stored.rejection?.pointee {
            value.rejection = unsafe try read(rejection)
        }
        value.revision = unsafe try number(stored.revision, "DisclosureRecord.revision")
        for index in unsafe 0..<stored.n_former_scopers {
            value.formerScopers.append(
                unsafe try principal(
                    stored.former_scopers[index], "DisclosureRecord.former_scopers"))
        }
        return value
    }

    static func read(
        _ stored: Triaged__Storage__V1__SnapshotTaken
    ) throws(CodecError) -> SnapshotAnswer {
        unsafe SnapshotAnswer(
            sequence: try number(stored.sequence, "SnapshotTaken.sequence"),
            recordCount: try number(stored.record_count, "SnapshotTaken.record_count"),
            bytes: try number(stored.size_bytes, "SnapshotTaken.size_bytes"),
            milliseconds: try number(
                stored.duration_milliseconds, "SnapshotTaken.duration_milliseconds"))
    }

    static func read(
        _ stored: Triaged__Storage__V1__LedgerRecord
    ) throws(CodecError) -> LedgerEntry {
        let answeredAt = unsafe try time(stored.time_milliseconds)
        let answer: LedgerAnswer
        switch unsafe stored.answer_case.rawValue {
        case 6:
            let receipt = unsafe try part(stored.receipt, "LedgerRecord.receipt")
            answer = unsafe .receipt(
                ReportReceipt(
                    caseNumber: try caseNumber(receipt.case_number),
                    report: try reportNumber(receipt.report_number), opened: receipt.opened != 0,
                    level: try choice(receipt.level, "ReceiptRecord.level"),
                    revision: try number(receipt.revision, "ReceiptRecord.revision"),
                    receivedAt: try time(receipt.receive_milliseconds)))
            guard unsafe receipt.receive_milliseconds == stored.time_milliseconds else {
                throw .outOfRange("ReceiptRecord.receive_milliseconds")
            }
        case 7: answer = unsafe .changedCase(try caseNumber(stored.case_number))
        case 8: answer = unsafe .offer(try assignmentNumber(stored.offered_assignment))
        case 9:
            answer = unsafe .changedAssignment(try assignmentNumber(stored.assignment_number))
        case 10: answer = unsafe .changedDisclosure(DisclosureID(stored.disclosure_id))
        case 11:
            answer = unsafe .snapshot(try read(try part(stored.snapshot, "LedgerRecord.snapshot")))
        case 12:
            answer = unsafe .evidence(
                EvidenceNumber(try smallNumber(stored.evidence_number, "LedgerRecord.evidence")))
        case 13:
            answer = unsafe .hold(
                HoldNumber(try smallNumber(stored.hold_number, "LedgerRecord.hold")))
        case 14: answer = unsafe .erasedTexts(try caseNumber(stored.erased_texts_case))
        case 15: answer = unsafe .key(try read(try part(stored.key, "LedgerRecord.key")))
        default: answer = .recorded
        }
        return unsafe LedgerEntry(
            key: Hash128(high: stored.key_high, low: stored.key_low),
            fingerprint: Hash128(high: stored.fingerprint_high, low: stored.fingerprint_low),
            time: answeredAt, answer: answer)
    }
}
