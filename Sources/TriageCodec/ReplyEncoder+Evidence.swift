// Evidence and holds as the API shows them. Lists show no sensitive field.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

extension ReplyEncoder {
    // MARK: Evidence

    /// Evidence: the reply of AttachEvidence and EraseEvidence.
    package func evidence(_ view: EvidenceView) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(build(view, sensitive: true))
    }

    /// The first message of ReadEvidence.
    package func readEvidence(_ view: EvidenceView) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__read_evidence_response__init)
        unsafe reply.pointee.part_case = .init(1)
        unsafe reply.pointee.evidence = build(view, sensitive: true)
        return unsafe arena.pack(reply)
    }

    /// A further message of ReadEvidence.
    package func readEvidence(chunk: [UInt8]) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__read_evidence_response__init)
        unsafe reply.pointee.part_case = .init(2)
        unsafe reply.pointee.chunk = arena.bytes(chunk)
        return unsafe arena.pack(reply)
    }

    /// The reply of ListEvidence.
    package func listEvidence(
        _ part: CasePart<EvidenceView>, binding: PageBinding
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_evidence_response__init)
        unsafe reply.pointee.n_evidence = part.items.count
        unsafe reply.pointee.evidence = arena.list(part.items) {
            unsafe build($0, sensitive: false)
        }
        unsafe reply.pointee.next_page_token = nextToken(part.next, .evidence, binding)
        return unsafe arena.pack(reply)
    }

    /// The reply of EraseReportTexts.
    package func erasedTexts(
        _ number: CaseNumber, reportCount: Int, revision: UInt64
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__erase_report_texts_response__init)
        unsafe reply.pointee.case_ = arena.name(number)
        unsafe reply.pointee.report_count = Int32(clamping: reportCount)
        unsafe reply.pointee.revision = Int64(bitPattern: revision)
        return unsafe arena.pack(reply)
    }

    private func nextToken(
        _ next: UInt64?, _ list: PageToken.List, _ binding: PageBinding
    ) -> CText? {
        guard let next else { return nil }
        return unsafe arena.text(
            PageToken.seal(list, high: 0, low: next, binding, pageTokenKey))
    }

    private func build(
        _ view: EvidenceView, sensitive: Bool
    ) -> UnsafeMutablePointer<Triaged__V1__Evidence> {
        let value = view.value
        let message = unsafe arena.new(triaged__v1__evidence__init)
        unsafe message.pointee.name = arena.text(
            ResourceName.text(value.caseNumber, value.number))
        unsafe message.pointee.state = .init(UInt32(value.state.rawValue))
        unsafe message.pointee.media_type = arena.text(value.attachment.mediaType)
        if sensitive { unsafe message.pointee.caption = arena.text(value.attachment.caption) }
        unsafe message.pointee.size_bytes = Int64(value.attachment.size)
        unsafe message.pointee.sha256 = arena.text(value.attachment.sha256.description)
        unsafe message.pointee.object = arena.text(value.attachment.object.description)
        unsafe message.pointee.principal = name(value.principal, view.principals)
        unsafe message.pointee.create_time = arena.time(value.attachedAt)
        if let erasure = value.erasure {
            let copy = unsafe arena.new(triaged__v1__erasure__init)
            unsafe copy.pointee.ground = .init(UInt32(erasure.ground.rawValue))
            unsafe copy.pointee.legal_basis = arena.text(erasure.legalBasis)
            if sensitive { unsafe copy.pointee.reason = arena.text(erasure.reason) }
            unsafe copy.pointee.principal = name(erasure.principal, view.principals)
            unsafe copy.pointee.create_time = arena.time(erasure.erasedAt)
            unsafe message.pointee.erasure = unsafe copy
        }
        unsafe message.pointee.revision = Int64(bitPattern: value.revision)
        return unsafe message
    }

    // MARK: Holds

    /// A hold: the reply of PlaceHold and ReleaseHold.
    package func hold(_ view: HoldView) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(build(view, sensitive: true))
    }

    /// The reply of ListHolds.
    package func listHolds(_ part: CasePart<HoldView>, binding: PageBinding) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_holds_response__init)
        unsafe reply.pointee.n_holds = part.items.count
        unsafe reply.pointee.holds = arena.list(part.items) { unsafe build($0, sensitive: false) }
        unsafe reply.pointee.next_page_token = nextToken(part.next, .holds, binding)
        return unsafe arena.pack(reply)
    }

    /// The reply of ListHoldRules.
    package func holdRules() -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_hold_rules_response__init)
        unsafe reply.pointee.version = arena.text(HoldRules.version)
        unsafe reply.pointee.n_rules = HoldRules.all.count
        unsafe reply.pointee.rules = arena.list(HoldRules.all) { rule in
            let copy = unsafe arena.new(triaged__v1__hold_rule__init)
            unsafe copy.pointee.key = arena.text(rule.key)
            unsafe copy.pointee.title = arena.text(rule.title)
            unsafe copy.pointee.source = arena.text(rule.source)
            unsafe copy.pointee.verification_mark = arena.text(rule.mark.rawValue)
            unsafe copy.pointee.effective_time = arena.timeIfSet(rule.effectiveFrom)
            unsafe copy.pointee.period_days = Int32(
                clamping: (rule.periodMilliseconds ?? 0) / (24 * 3_600_000))
            return unsafe copy
        }
        return unsafe arena.pack(reply)
    }

    private func build(
        _ view: HoldView, sensitive: Bool
    ) -> UnsafeMutablePointer<Triaged__V1__Hold> {
        let value = view.value
        let rule = HoldRules.rule(value.order.rule, at: value.placedAt)
        let message = unsafe arena.new(triaged__v1__hold__init)
        unsafe message.pointee.name = arena.text(
            ResourceName.text(value.caseNumber, value.number))
        unsafe message.pointee.state = .init(UInt32(value.state.rawValue))
        unsafe message.pointee.rule = arena.text(value.order.rule)
        unsafe message.pointee.authority = arena.text(value.order.authority)
        unsafe message.pointee.reference = arena.text(value.order.reference)
        if sensitive { unsafe message.pointee.reason = arena.text(value.order.reason) }
        unsafe message.pointee.expire_time = arena.time(value.order.expiresAt)
        unsafe message.pointee.source = arena.text(rule?.source ?? value.order.rule)
        unsafe message.pointee.verification_mark = arena.text(rule?.mark.rawValue ?? "U")
        unsafe message.pointee.principal = name(value.principal, view.principals)
        unsafe message.pointee.create_time = arena.time(value.placedAt)
        if let release = value.release {
            let copy = unsafe arena.new(triaged__v1__hold_release__init)
            unsafe copy.pointee.authority = arena.text(release.authority)
            if sensitive { unsafe copy.pointee.reason = arena.text(release.reason) }
            unsafe copy.pointee.principal = name(release.principal, view.principals)
            unsafe copy.pointee.create_time = arena.time(release.releasedAt)
            unsafe message.pointee.release = unsafe copy
        }
        unsafe message.pointee.revision = Int64(bitPattern: value.revision)
        return unsafe message
    }

    // MARK: Keys

    /// The reply of RotateKeys.
    package func rotateKeys(_ answer: KeyAnswer) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__rotate_keys_response__init)
        unsafe reply.pointee.key_number = Int64(answer.number)
        unsafe reply.pointee.object_count = Int64(bitPattern: answer.objects)
        return unsafe arena.pack(reply)
    }
}
