// The parts that requests about cases are made of: filters, protocol answers, decisions.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

extension RequestDecoder {
    /// Checks which cases a list or watch wants; all when there is no filter.
    func decode(
        _ filter: UnsafeMutablePointer<Triaged__V1__CaseFilter>?, _ form: inout Form
    ) -> BoardFilter {
        var board = BoardFilter()
        guard let filter = unsafe filter?.pointee else { return board }
        let max = Limits.filterValuesMax
        for index in unsafe 0..<filter.n_levels {
            let level = unsafe elements(filter.levels, filter.n_levels)[index]
            if (1...5).contains(level.rawValue) {
                board.levels |= 1 << UInt8(level.rawValue - 1)
            } else {
                form.refuse({ "filter.levels[\(index)]" }, "is not a level")
            }
        }
        for index in unsafe 0..<filter.n_states {
            let value = unsafe elements(filter.states, filter.n_states)[index]
            let state: CaseState = form.choice(value, "filter.states[\(index)]")
            board.states |= 1 << state.rawValue
        }
        for index in unsafe 0..<filter.n_harm_families {
            let value = unsafe elements(filter.harm_families, filter.n_harm_families)[index]
            // Unspecified asks for the kinds that this version does not know.
            let family: HarmFamily = form.choice(
                value, required: false, "filter.harm_families[\(index)]")
            board.families |= 1 << UInt16(family.rawValue)
        }
        unsafe form.checkCount(filter.n_language_codes, max: max, "filter.language_codes")
        for index in unsafe 0..<min(max, filter.n_language_codes) {
            let tag = unsafe elements(filter.language_codes, min(max, filter.n_language_codes))[
                index]
            board.languages.append(unsafe form.language(tag, "filter.language_codes[\(index)]"))
        }
        unsafe form.checkCount(filter.n_region_codes, max: max, "filter.region_codes")
        for index in unsafe 0..<min(max, filter.n_region_codes) {
            let code = unsafe elements(filter.region_codes, min(max, filter.n_region_codes))[index]
            board.regions.append(unsafe form.region(code, "filter.region_codes[\(index)]"))
        }
        unsafe form.checkCount(filter.n_assignees, max: max, "filter.assignees")
        for index in unsafe 0..<min(max, filter.n_assignees) {
            let name = unsafe elements(filter.assignees, min(max, filter.n_assignees))[index]
            board.assignees.append(unsafe form.principal(name, "filter.assignees[\(index)]"))
        }
        return board
    }

    /// Checks answers to the protocol; nil after a problem of the whole.
    func decode(
        _ answers: UnsafeMutablePointer<Triaged__V1__ProtocolAnswers>?, _ form: inout Form
    ) -> ProtocolAnswers? {
        guard let answers = unsafe answers?.pointee else {
            form.refuse({ "answers" }, "is required")
            return nil
        }
        var decoded = unsafe ProtocolAnswers(
            protocolVersion: form.text(
                answers.protocol_version, min: 1, max: 32, "answers.protocol_version"),
            happeningNow: form.choice(answers.happening_now, "answers.happening_now"),
            credibleThreat: form.choice(answers.credible_threat, "answers.credible_threat"),
            suicideRung: form.choice(
                answers.suicide_rung, required: false, "answers.suicide_rung"),
            actionCount: form.choice(answers.action_count, "answers.action_count"),
            modifiersPresent: [], modifiersUnknown: [], modifiersAbsent: [])
        var seen: RiskModifiers = []
        for index in unsafe 0..<answers.n_modifiers {
            let element = unsafe elements(answers.modifiers, answers.n_modifiers)[index]
            guard let answer = unsafe element?.pointee else { continue }
            let path = "answers.modifiers[\(index)]"
            let modifier = unsafe form.modifier(answer.modifier, path + ".modifier")
            let value: Answer = unsafe form.choice(answer.answer, path + ".answer")
            if !seen.isDisjoint(with: modifier) {
                form.refuse({ path + ".modifier" }, "must occur at most once")
            }
            seen.formUnion(modifier)
            switch value {
            case .yes: decoded.modifiersPresent.formUnion(modifier)
            case .unknown: decoded.modifiersUnknown.formUnion(modifier)
            case .no: decoded.modifiersAbsent.formUnion(modifier)
            }
        }
        return decoded
    }

    /// Checks a decision; nil after a problem of the whole.
    func decode(
        _ decision: UnsafeMutablePointer<Triaged__V1__Decision>?, _ form: inout Form
    ) -> CaseDecision? {
        guard let decision = unsafe decision?.pointee else {
            form.refuse({ "decision" }, "is required")
            return nil
        }
        var duties = DutyAnswers(
            referral: .unanswered, statutoryReport: .unanswered, preservation: .unanswered,
            welfareResource: .unanswered)
        if let sent = unsafe decision.duties?.pointee {
            duties = unsafe DutyAnswers(
                referral: form.choice(
                    sent.referral, required: false, "decision.duties.referral"),
                statutoryReport: form.choice(
                    sent.statutory_report, required: false, "decision.duties.statutory_report"),
                preservation: form.choice(
                    sent.preservation, required: false, "decision.duties.preservation"),
                welfareResource: form.choice(
                    sent.welfare_resource, required: false, "decision.duties.welfare_resource"))
        }
        return unsafe CaseDecision(
            outcome: form.choice(decision.outcome, "decision.outcome"),
            policyVersion: form.text(
                decision.policy_version, min: 1, max: 64, "decision.policy_version"),
            policyKeys: form.texts(
                decision.policy_keys, decision.n_policy_keys, countMax: 16, bytesMax: 128,
                "decision.policy_keys"),
            rationale: form.text(decision.rationale, max: 4 << 10, "decision.rationale"),
            duties: duties)
    }
}
