// Cases as the API shows them: the BASIC view without any sensitive field, the FULL view with the
// words of the reports, which are read back from their stored form.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

/// Reports shown in the FULL view.
private let reportsShownMax = 100

extension ReplyEncoder {
    func build(_ view: CaseView, _ detail: CaseDetail) -> UnsafeMutablePointer<Triaged__V1__Case> {
        let value = view.value
        let message = unsafe arena.new(triaged__v1__case__init)
        unsafe message.pointee.name = arena.name(value.number)
        unsafe message.pointee.state = .init(UInt32(value.state.rawValue))
        unsafe message.pointee.level = API.level(value.level)
        unsafe message.pointee.level_code = arena.text(value.code.text)
        unsafe message.pointee.order = order(of: value)
        unsafe message.pointee.harm_family = .init(UInt32(value.code.family.rawValue))
        unsafe message.pointee.clearance = .init(UInt32(value.clearance.rawValue))
        unsafe message.pointee.language_code = arena.text(value.language.text)
        unsafe message.pointee.region_code = arena.text(value.region.text)
        unsafe message.pointee.report_count = Int32(clamping: value.reportCount)
        let modifiers = unsafe arena.modifiers(value.modifiers)
        unsafe message.pointee.n_modifiers = modifiers.count
        unsafe message.pointee.modifiers = modifiers.list
        unsafe message.pointee.assignment = arena.name(value.assignment)
        if let assignee = view.assignee {
            unsafe message.pointee.assignee = arena.text(assignee.text)
        }
        unsafe message.pointee.create_time = arena.time(value.receivedAt)
        unsafe message.pointee.update_time = arena.time(value.updatedAt)
        unsafe message.pointee.revision = Int64(bitPattern: value.revision)
        unsafe message.pointee.etag = arena.etag(revision: value.revision)
        if let pending = value.pendingLowering.first {
            let copy = unsafe arena.new(triaged__v1__pending_lowering__init)
            unsafe copy.pointee.level = API.level(pending.level)
            unsafe copy.pointee.principal = name(pending.proposer, view.principals)
            unsafe copy.pointee.create_time = arena.time(pending.proposedAt)
            unsafe message.pointee.pending_lowering = unsafe copy
        }
        unsafe message.pointee.live = value.live ? 1 : 0
        unsafe message.pointee.waits_for = .init(UInt32(value.waitsFor.rawValue))
        switch detail {
        case .basic: break
        case .full: unsafe addSensitive(view, to: message)
        }
        return unsafe message
    }

    private func order(of value: Case) -> UnsafeMutablePointer<Triaged__V1__CaseOrder> {
        let order = unsafe arena.new(triaged__v1__case_order__init)
        unsafe order.pointee.band = Int32(value.band)
        unsafe order.pointee.effective_deadline_time = arena.time(value.effectiveDeadline)
        unsafe order.pointee.modifier_count = Int32(value.modifiers.count)
        unsafe order.pointee.governed_by = arena.text(value.governedBy.text(level: value.level))
        return unsafe order
    }

    /// The name of a principal, as far as the view has it.
    func name(_ index: PrincipalIndex, _ principals: [PrincipalIndex: Principal]) -> CText {
        unsafe arena.text(principals[index]?.text ?? "")
    }

    /// The fields of the FULL view.
    private func addSensitive(
        _ view: CaseView, to message: UnsafeMutablePointer<Triaged__V1__Case>
    ) {
        let value = view.value
        var reports = [value.first]
        reports.append(contentsOf: value.more.prefix(reportsShownMax - 1))
        unsafe message.pointee.n_reports = reports.count
        unsafe message.pointee.reports = arena.list(reports) { report in
            unsafe self.report(report, of: value.number, view.principals)
        }
        unsafe message.pointee.subject = message.pointee.reports[0]?.pointee.subject
        unsafe message.pointee.n_protocol_records = value.rounds.count
        unsafe message.pointee.protocol_records = arena.list(value.rounds) { round in
            let record = unsafe arena.new(triaged__v1__protocol_record__init)
            unsafe record.pointee.answers = answers(round.answers)
            unsafe record.pointee.level = API.level(round.level)
            unsafe record.pointee.level_code = arena.text(round.code.text)
            unsafe record.pointee.principal = name(round.principal, view.principals)
            unsafe record.pointee.create_time = arena.time(round.answeredAt)
            unsafe record.pointee.lower_reason = arena.text(round.lowerReason)
            return unsafe record
        }
        unsafe message.pointee.n_decisions = value.decisions.count
        unsafe message.pointee.decisions = arena.list(value.decisions) { decision in
            unsafe self.decision(decision, view.principals)
        }
        unsafe message.pointee.n_reopenings = value.reopenings.count
        unsafe message.pointee.reopenings = arena.list(value.reopenings) { reopening in
            let copy = unsafe arena.new(triaged__v1__reopening__init)
            unsafe copy.pointee.reason = arena.text(reopening.reason)
            unsafe copy.pointee.principal = name(reopening.principal, view.principals)
            unsafe copy.pointee.create_time = arena.time(reopening.reopenedAt)
            return unsafe copy
        }
    }

    private func answers(
        _ answers: ProtocolAnswers
    ) -> UnsafeMutablePointer<Triaged__V1__ProtocolAnswers> {
        let message = unsafe arena.new(triaged__v1__protocol_answers__init)
        unsafe message.pointee.protocol_version = arena.text(answers.protocolVersion)
        unsafe message.pointee.happening_now = .init(UInt32(answers.happeningNow.rawValue))
        unsafe message.pointee.credible_threat = .init(UInt32(answers.credibleThreat.rawValue))
        unsafe message.pointee.suicide_rung = .init(UInt32(answers.suicideRung.rawValue))
        unsafe message.pointee.action_count = .init(UInt32(answers.actionCount.rawValue))
        var given: [(modifier: UInt32, answer: Answer)] = []
        for bit in 0..<7 {
            let modifier = RiskModifiers(rawValue: 1 << UInt8(bit))
            if answers.modifiersPresent.contains(modifier) { given.append((UInt32(bit + 1), .yes)) }
            if answers.modifiersUnknown.contains(modifier) {
                given.append((UInt32(bit + 1), .unknown))
            }
            if answers.modifiersAbsent.contains(modifier) { given.append((UInt32(bit + 1), .no)) }
        }
        unsafe message.pointee.n_modifiers = given.count
        unsafe message.pointee.modifiers = arena.list(given) { entry in
            let copy = unsafe arena.new(triaged__v1__modifier_answer__init)
            unsafe copy.pointee.modifier = .init(entry.modifier)
            unsafe copy.pointee.answer = .init(UInt32(entry.answer.rawValue))
            return unsafe copy
        }
        return unsafe message
    }

    private func decision(
        _ decision: CaseDecision, _ principals: [PrincipalIndex: Principal]
    ) -> UnsafeMutablePointer<Triaged__V1__Decision> {
        let message = unsafe arena.new(triaged__v1__decision__init)
        unsafe message.pointee.outcome = .init(UInt32(decision.outcome.rawValue))
        unsafe message.pointee.policy_version = arena.text(decision.policyVersion)
        unsafe message.pointee.n_policy_keys = decision.policyKeys.count
        unsafe message.pointee.policy_keys = arena.texts(decision.policyKeys)
        unsafe message.pointee.rationale = arena.text(decision.rationale)
        let duties = unsafe arena.new(triaged__v1__duty_answers__init)
        unsafe duties.pointee.referral = .init(UInt32(decision.duties.referral.rawValue))
        unsafe duties.pointee.statutory_report = .init(
            UInt32(decision.duties.statutoryReport.rawValue))
        unsafe duties.pointee.preservation = .init(UInt32(decision.duties.preservation.rawValue))
        unsafe duties.pointee.welfare_resource = .init(
            UInt32(decision.duties.welfareResource.rawValue))
        unsafe message.pointee.duties = unsafe duties
        unsafe message.pointee.principal = name(decision.principal, principals)
        unsafe message.pointee.create_time = arena.time(decision.decidedAt)
        return unsafe message
    }

    // MARK: Reports

    /// A report with its words, which share the memory of the unpacked content.
    private func report(
        _ report: StoredReport, of number: CaseNumber,
        _ principals: [PrincipalIndex: Principal]
    ) -> UnsafeMutablePointer<Triaged__V1__Report> {
        let message = unsafe arena.new(triaged__v1__report__init)
        unsafe message.pointee.name = arena.name(number, report.number)
        unsafe message.pointee.create_time = arena.time(report.receivedAt)
        unsafe message.pointee.submitter = name(report.submitter, principals)
        let content: UnsafeMutablePointer<Triaged__Storage__V1__ReportContent>
        do {
            unsafe content = try arena.unpack(
                report.content.span, .storage, triaged__storage__v1__report_content__init)
        } catch {
            // Content enters the World from the request decoder, which packed it, or from the disk,
            // where the codec has checked it.
            invariant(false, "the stored content of a report can be read: \(error.kind.rawValue)")
            return unsafe message
        }
        if let subject = unsafe content.pointee.subject {
            unsafe message.pointee.subject = self.subject(subject)
        }
        let related = unsafe elements(
            content.pointee.related_subjects, content.pointee.n_related_subjects)
        unsafe message.pointee.n_related_subjects = related.count
        unsafe message.pointee.related_subjects = arena.list(related.compactMap { unsafe $0 }) {
            unsafe self.subject($0)
        }
        // A number that this version does not know is shown as unspecified.
        let family =
            unsafe HarmFamily(
                rawValue: UInt8(clamping: content.pointee.harm_family)) ?? .unrecognised
        unsafe message.pointee.harm_family = .init(UInt32(family.rawValue))
        unsafe message.pointee.imminence = .init(UInt32(clamping: content.pointee.imminence))
        var modifiers: RiskModifiers = []
        for index in unsafe 0..<content.pointee.n_modifiers {
            let value = unsafe content.pointee.modifiers[index]
            guard (1...7).contains(value) else { continue }
            modifiers.insert(RiskModifiers(rawValue: 1 << UInt8(value - 1)))
        }
        let list = unsafe arena.modifiers(modifiers)
        unsafe message.pointee.n_modifiers = list.count
        unsafe message.pointee.modifiers = list.list
        let reporter = unsafe arena.new(triaged__v1__reporter__init)
        unsafe reporter.pointee.kind = .init(UInt32(clamping: content.pointee.reporter_kind))
        unsafe reporter.pointee.id = content.pointee.reporter_id
        unsafe message.pointee.reporter = unsafe reporter
        unsafe message.pointee.n_signals = content.pointee.n_signals
        unsafe message.pointee.signals = signals(content)
        unsafe message.pointee.language_code = content.pointee.language_code
        unsafe message.pointee.region_code = content.pointee.region_code
        unsafe message.pointee.description =
            content.pointee.erased != 0 ? arena.text(Erased.text) : content.pointee.description
        unsafe message.pointee.n_evidence_uris = content.pointee.n_evidence_uris
        unsafe message.pointee.evidence_uris = content.pointee.evidence_uris
        unsafe message.pointee.external_id = content.pointee.external_id
        unsafe message.pointee.occur_time = time(content.pointee.occur_time)
        return unsafe message
    }

    private func signals(
        _ content: UnsafeMutablePointer<Triaged__Storage__V1__ReportContent>
    ) -> UnsafeMutablePointer<UnsafeMutablePointer<Triaged__V1__MachineSignal>?> {
        let stored = unsafe elements(content.pointee.signals, content.pointee.n_signals)
        return unsafe arena.list(stored) { signal in
            let copy = unsafe arena.new(triaged__v1__machine_signal__init)
            guard let signal = unsafe signal?.pointee else { return unsafe copy }
            unsafe copy.pointee.source = signal.source
            unsafe copy.pointee.version = signal.version
            unsafe copy.pointee.label = signal.label
            unsafe copy.pointee.confidence = signal.confidence
            unsafe copy.pointee.observe_time = time(signal.observe_time)
            return unsafe copy
        }
    }

    private func subject(
        _ stored: UnsafeMutablePointer<Triaged__Storage__V1__Subject>
    ) -> UnsafeMutablePointer<Triaged__V1__Subject> {
        let message = unsafe arena.new(triaged__v1__subject__init)
        unsafe message.pointee.kind = .init(UInt32(clamping: stored.pointee.kind))
        unsafe message.pointee.id = stored.pointee.id
        unsafe message.pointee.account_id = stored.pointee.account_id
        unsafe message.pointee.uri = stored.pointee.uri
        if let stream = unsafe stored.pointee.live_stream?.pointee {
            let copy = unsafe arena.new(triaged__v1__live_stream__init)
            unsafe copy.pointee.live = stream.live
            unsafe copy.pointee.viewer_count = stream.viewer_count
            unsafe copy.pointee.start_time = time(stream.start_time)
            unsafe copy.pointee.last_heartbeat_time = time(stream.last_heartbeat_time)
            unsafe copy.pointee.end_time = time(stream.end_time)
            unsafe message.pointee.live_stream = unsafe copy
        }
        return unsafe message
    }

    private func time(
        _ stored: UnsafeMutablePointer<Triaged__Storage__V1__SubmittedTime>?
    ) -> UnsafeMutablePointer<Google__Protobuf__Timestamp>? {
        guard let stored = unsafe stored?.pointee else { return nil }
        let message = unsafe arena.new(google__protobuf__timestamp__init)
        unsafe message.pointee.seconds = stored.seconds
        unsafe message.pointee.nanos = stored.nanos
        return unsafe message
    }
}
