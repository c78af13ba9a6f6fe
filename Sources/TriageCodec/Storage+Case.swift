// The parts of a case that events and snapshots share, both ways.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

extension StorageWriter {
    func write(_ facts: ReportFacts) -> UnsafeMutablePointer<Triaged__Storage__V1__ReportFacts> {
        let stored = unsafe arena.new(triaged__storage__v1__report_facts__init)
        unsafe stored.pointee.harm_family = Int32(facts.family.rawValue)
        unsafe stored.pointee.reporter_kind = Int32(facts.reporter.rawValue)
        unsafe stored.pointee.imminence = Int32(facts.imminence.rawValue)
        unsafe stored.pointee.modifier_bits = Int32(facts.modifiers.rawValue)
        unsafe stored.pointee.signal_permille = Int32(facts.signalPermille)
        unsafe stored.pointee.live = facts.live ? 1 : 0
        unsafe stored.pointee.language = Int32(facts.language.rawValue)
        unsafe stored.pointee.region = Int32(facts.region.rawValue)
        unsafe stored.pointee.routing = Int32(facts.routing.rawValue)
        unsafe stored.pointee.clearance = Int32(facts.clearance.rawValue)
        unsafe stored.pointee.subject_high = facts.subject.high
        unsafe stored.pointee.subject_low = facts.subject.low
        return unsafe stored
    }

    func write(_ code: LevelCode) -> UnsafeMutablePointer<Triaged__Storage__V1__LevelCode> {
        let stored = unsafe arena.new(triaged__storage__v1__level_code__init)
        unsafe stored.pointee.harm_family = Int32(code.family.rawValue)
        unsafe stored.pointee.decision_point = Int32(code.point.rawValue)
        unsafe stored.pointee.modifier_bits = Int32(code.modifiers.rawValue)
        return unsafe stored
    }

    func write(_ assessment: Assessment) -> UnsafeMutablePointer<Triaged__Storage__V1__Assessment> {
        let stored = unsafe arena.new(triaged__storage__v1__assessment__init)
        unsafe stored.pointee.level = Int32(assessment.level.rawValue)
        unsafe stored.pointee.code = write(assessment.code)
        unsafe stored.pointee.effective_deadline_milliseconds =
            assessment.effectiveDeadline.milliseconds
        unsafe stored.pointee.governed_by = Int32(assessment.governedBy.rawValue)
        return unsafe stored
    }

    func write(
        _ answers: ProtocolAnswers
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__ProtocolAnswers> {
        let stored = unsafe arena.new(triaged__storage__v1__protocol_answers__init)
        unsafe stored.pointee.protocol_version = text(answers.protocolVersion)
        unsafe stored.pointee.happening_now = Int32(answers.happeningNow.rawValue)
        unsafe stored.pointee.credible_threat = Int32(answers.credibleThreat.rawValue)
        unsafe stored.pointee.suicide_rung = Int32(answers.suicideRung.rawValue)
        unsafe stored.pointee.action_count = Int32(answers.actionCount.rawValue)
        unsafe stored.pointee.present_bits = Int32(answers.modifiersPresent.rawValue)
        unsafe stored.pointee.unknown_bits = Int32(answers.modifiersUnknown.rawValue)
        unsafe stored.pointee.absent_bits = Int32(answers.modifiersAbsent.rawValue)
        return unsafe stored
    }

    func write(
        _ why: ClaimExplanation
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__ClaimExplanation> {
        let stored = unsafe arena.new(triaged__storage__v1__claim_explanation__init)
        unsafe stored.pointee.code = write(why.code)
        unsafe stored.pointee.governed_by = Int32(why.governedBy.rawValue)
        unsafe stored.pointee.level = Int32(why.level.rawValue)
        unsafe stored.pointee.effective_deadline_milliseconds = why.effectiveDeadline.milliseconds
        unsafe stored.pointee.skipped_count = Int64(clamping: why.skippedCount)
        unsafe stored.pointee.first_skip_reason = Int32(why.firstSkipReason.rawValue)
        return unsafe stored
    }

    func write(
        _ decision: CaseDecision
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__CaseDecision> {
        let stored = unsafe arena.new(triaged__storage__v1__case_decision__init)
        unsafe stored.pointee.outcome = Int32(decision.outcome.rawValue)
        unsafe stored.pointee.policy_version = text(decision.policyVersion)
        unsafe stored.pointee.n_policy_keys = decision.policyKeys.count
        unsafe stored.pointee.policy_keys = arena.texts(decision.policyKeys)
        unsafe stored.pointee.rationale = text(decision.rationale)
        unsafe stored.pointee.referral = Int32(decision.duties.referral.rawValue)
        unsafe stored.pointee.statutory_report = Int32(decision.duties.statutoryReport.rawValue)
        unsafe stored.pointee.preservation = Int32(decision.duties.preservation.rawValue)
        unsafe stored.pointee.welfare_resource = Int32(decision.duties.welfareResource.rawValue)
        unsafe stored.pointee.principal_index = Int32(decision.principal.value)
        unsafe stored.pointee.decide_milliseconds = decision.decidedAt.milliseconds
        return unsafe stored
    }
}

extension StorageReader {
    static func read(
        _ stored: Triaged__Storage__V1__ReportFacts
    ) throws(CodecError) -> ReportFacts {
        guard unsafe (0...1_000).contains(stored.signal_permille) else {
            throw .outOfRange("ReportFacts.signal_permille")
        }
        return unsafe ReportFacts(
            family: try choice(stored.harm_family, "ReportFacts.harm_family"),
            reporter: try choice(stored.reporter_kind, "ReportFacts.reporter_kind"),
            imminence: try choice(stored.imminence, "ReportFacts.imminence"),
            modifiers: try modifiers(stored.modifier_bits, "ReportFacts.modifier_bits"),
            signalPermille: UInt16(stored.signal_permille), live: stored.live != 0,
            language: try language(stored.language, "ReportFacts.language"),
            region: try region(stored.region, "ReportFacts.region"),
            routing: try choice(stored.routing, "ReportFacts.routing"),
            clearance: try choice(stored.clearance, "ReportFacts.clearance"),
            subject: Hash128(high: stored.subject_high, low: stored.subject_low))
    }

    static func language(_ raw: Int32, _ field: StaticString) throws(CodecError) -> LanguageCode {
        guard (0...0x7FFF).contains(raw) else { throw .outOfRange("\(field)") }
        return LanguageCode(rawValue: UInt16(raw))
    }

    static func region(_ raw: Int32, _ field: StaticString) throws(CodecError) -> RegionCode {
        guard (0...0x3FF).contains(raw) else { throw .outOfRange("\(field)") }
        return RegionCode(rawValue: UInt16(raw))
    }

    static func read(_ stored: Triaged__Storage__V1__LevelCode) throws(CodecError) -> LevelCode {
        unsafe LevelCode(
            family: try choice(stored.harm_family, "LevelCode.harm_family"),
            point: try choice(stored.decision_point, "LevelCode.decision_point"),
            modifiers: try modifiers(stored.modifier_bits, "LevelCode.modifier_bits"))
    }

    static func read(_ stored: Triaged__Storage__V1__Assessment) throws(CodecError) -> Assessment {
        unsafe Assessment(
            level: try choice(stored.level, "Assessment.level"),
            code: try read(try part(stored.code, "Assessment.code")),
            effectiveDeadline: try time(stored.effective_deadline_milliseconds),
            governedBy: try choice(stored.governed_by, "Assessment.governed_by"))
    }

    static func read(
        _ stored: Triaged__Storage__V1__ProtocolAnswers
    ) throws(CodecError) -> ProtocolAnswers {
        unsafe ProtocolAnswers(
            protocolVersion: string(stored.protocol_version),
            happeningNow: try choice(stored.happening_now, "ProtocolAnswers.happening_now"),
            credibleThreat: try choice(stored.credible_threat, "ProtocolAnswers.credible_threat"),
            suicideRung: try choice(stored.suicide_rung, "ProtocolAnswers.suicide_rung"),
            actionCount: try choice(stored.action_count, "ProtocolAnswers.action_count"),
            modifiersPresent: try modifiers(stored.present_bits, "ProtocolAnswers.present_bits"),
            modifiersUnknown: try modifiers(stored.unknown_bits, "ProtocolAnswers.unknown_bits"),
            modifiersAbsent: try modifiers(stored.absent_bits, "ProtocolAnswers.absent_bits"))
    }

    static func read(
        _ stored: Triaged__Storage__V1__ClaimExplanation
    ) throws(CodecError) -> ClaimExplanation {
        unsafe ClaimExplanation(
            code: try read(try part(stored.code, "ClaimExplanation.code")),
            governedBy: try choice(stored.governed_by, "ClaimExplanation.governed_by"),
            level: try choice(stored.level, "ClaimExplanation.level"),
            effectiveDeadline: try time(stored.effective_deadline_milliseconds),
            skippedCount: try number(stored.skipped_count, "ClaimExplanation.skipped_count"),
            firstSkipReason: try choice(
                stored.first_skip_reason, "ClaimExplanation.first_skip_reason"))
    }

    static func read(
        _ stored: Triaged__Storage__V1__CaseDecision
    ) throws(CodecError) -> CaseDecision {
        unsafe CaseDecision(
            outcome: try choice(stored.outcome, "CaseDecision.outcome"),
            policyVersion: string(stored.policy_version),
            policyKeys: texts(stored.policy_keys, stored.n_policy_keys),
            rationale: string(stored.rationale),
            duties: DutyAnswers(
                referral: try choice(stored.referral, "CaseDecision.referral"),
                statutoryReport: try choice(
                    stored.statutory_report, "CaseDecision.statutory_report"),
                preservation: try choice(stored.preservation, "CaseDecision.preservation"),
                welfareResource: try choice(
                    stored.welfare_resource, "CaseDecision.welfare_resource")),
            principal: try principal(stored.principal_index, "CaseDecision.principal_index"),
            decidedAt: try time(stored.decide_milliseconds))
    }
}
