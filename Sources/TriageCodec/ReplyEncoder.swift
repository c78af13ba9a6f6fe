// From outcomes and views to the wire bytes of replies. What a caller may see of a case, an
// assignment or a disclosure request is decided here, once; who the caller is, is decided
// elsewhere.

internal import CTriageProtos
package import TriageBase
package import TriageDomain

/// Encodes the replies of one reactor.
///
/// Every function gives the serialised message, without gRPC prefix, in one allocation.
///
/// - Isolation: one thread at a time.
package final class ReplyEncoder {
    let arena = Arena()
    let pageTokenKey: PageTokenKey

    /// Makes an encoder; all decoders and encoders of a server share one key.
    package init(pageTokenKey: PageTokenKey) {
        self.pageTokenKey = pageTokenKey
    }

    // MARK: TriageService

    /// The reply of SubmitReports: one result for each message, in their order.
    package func submitReports(_ results: [StreamedReportResult]) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__submit_reports_response__init)
        var accepted: Int32 = 0
        unsafe reply.pointee.n_results = results.count
        unsafe reply.pointee.results = arena.list(results) { result in
            let item = unsafe arena.new(triaged__v1__submit_report_result__init)
            if !result.requestID.isNone {
                unsafe item.pointee.request_id = arena.text(result.requestID.uuidText)
            }
            switch result.outcome {
            case .accepted(let receipt):
                accepted += 1
                unsafe item.pointee.response = build(receipt)
            case .refused(let code, let reason, let message, let field):
                unsafe item.pointee.code = code
                unsafe item.pointee.reason = arena.text(reason)
                unsafe item.pointee.message = arena.text(message)
                unsafe item.pointee.field = arena.text(field)
            }
            return unsafe item
        }
        unsafe reply.pointee.accepted_count = accepted
        unsafe reply.pointee.refused_count = Int32(results.count) - accepted
        return unsafe arena.pack(reply)
    }

    private func build(
        _ receipt: ReportReceipt
    ) -> UnsafeMutablePointer<Triaged__V1__SubmitReportResponse> {
        let reply = unsafe arena.new(triaged__v1__submit_report_response__init)
        unsafe reply.pointee.report = arena.name(receipt.caseNumber, receipt.report)
        unsafe reply.pointee.case_ = arena.name(receipt.caseNumber)
        unsafe reply.pointee.opened = receipt.opened ? 1 : 0
        unsafe reply.pointee.level = API.level(receipt.level)
        unsafe reply.pointee.revision = Int64(bitPattern: receipt.revision)
        unsafe reply.pointee.create_time = arena.time(receipt.receivedAt)
        return unsafe reply
    }

    /// A case: the reply of GetCase, and of every write that changes a case.
    package func `case`(_ view: CaseView, detail: CaseDetail) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(build(view, detail))
    }

    /// The reply of ListCases.
    package func listCases(
        _ page: BoardPage, openCount: Int, revision: UInt64, binding: PageBinding
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_cases_response__init)
        unsafe reply.pointee.n_cases = page.cases.count
        unsafe reply.pointee.cases = arena.list(page.cases) { unsafe build($0, .basic) }
        if let next = page.next {
            unsafe reply.pointee.next_page_token = arena.text(
                PageToken.seal(.cases, high: next.high, low: next.low, binding, pageTokenKey))
        }
        unsafe reply.pointee.open_count = Int64(openCount)
        unsafe reply.pointee.revision = Int64(bitPattern: revision)
        unsafe reply.pointee.withheld_count = Int64(page.withheld)
        return unsafe arena.pack(reply)
    }

    /// A message of WatchBoard: a case is new or has changed.
    package func watchBoard(changed view: CaseView, revision: UInt64) -> [UInt8] {
        arena.reset()
        let reply = unsafe boardMessage(revision)
        unsafe reply.pointee.change_case = .init(2)
        unsafe reply.pointee.case_ = build(view, .basic)
        return unsafe arena.pack(reply)
    }

    /// A message of WatchBoard: a case has left the board or the filter.
    package func watchBoard(removed number: CaseNumber, revision: UInt64) -> [UInt8] {
        arena.reset()
        let reply = unsafe boardMessage(revision)
        unsafe reply.pointee.change_case = .init(3)
        unsafe reply.pointee.removed_case = arena.name(number)
        return unsafe arena.pack(reply)
    }

    /// A message of WatchBoard: everything up to the revision has been sent.
    package func watchBoard(bookmarkOpenCount openCount: Int, revision: UInt64) -> [UInt8] {
        arena.reset()
        let reply = unsafe boardMessage(revision)
        let bookmark = unsafe arena.new(triaged__v1__board_bookmark__init)
        unsafe bookmark.pointee.open_count = Int64(openCount)
        unsafe reply.pointee.change_case = .init(4)
        unsafe reply.pointee.bookmark = unsafe bookmark
        return unsafe arena.pack(reply)
    }

    /// The case of its oneof is the number of the field that will be set.
    private func boardMessage(
        _ revision: UInt64
    ) -> UnsafeMutablePointer<Triaged__V1__WatchBoardResponse> {
        let reply = unsafe arena.new(triaged__v1__watch_board_response__init)
        unsafe reply.pointee.revision = Int64(bitPattern: revision)
        return unsafe reply
    }

    // MARK: AssignmentService

    /// The reply of ClaimNext with an offer, which is the caller's own.
    package func claimNext(
        _ assignment: AssignmentView, _ view: CaseView, _ explanation: ClaimExplanation
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__claim_next_response__init)
        unsafe reply.pointee.assignment = build(assignment, viewer: assignment.specialist)
        unsafe reply.pointee.case_ = build(view, .basic)
        let why = unsafe arena.new(triaged__v1__claim_explanation__init)
        unsafe why.pointee.level_code = arena.text(explanation.code.text)
        unsafe why.pointee.governed_by = arena.text(
            explanation.governedBy.text(level: explanation.level))
        unsafe why.pointee.effective_deadline_time = arena.time(explanation.effectiveDeadline)
        unsafe why.pointee.skipped_count = Int64(bitPattern: explanation.skippedCount)
        unsafe why.pointee.first_skip_reason = .init(UInt32(explanation.firstSkipReason.rawValue))
        unsafe reply.pointee.explanation = unsafe why
        return unsafe arena.pack(reply)
    }

    /// The reply of ClaimNext when there was nothing to claim: an empty message.
    package func nothingToClaim() -> [UInt8] { [] }

    /// An assignment: the reply of every write that changes one.
    ///
    /// `viewer` is who will see it: a WELLNESS release is told to its holder only.
    package func assignment(_ view: AssignmentView, viewer: Principal) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(build(view, viewer: viewer))
    }

    /// A message of WatchAssignments; a bookmark without an assignment.
    package func watchAssignments(
        _ view: AssignmentView?, revision: UInt64, viewer: Principal
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__watch_assignments_response__init)
        unsafe reply.pointee.revision = Int64(bitPattern: revision)
        if let view { unsafe reply.pointee.assignment = build(view, viewer: viewer) }
        return unsafe arena.pack(reply)
    }

    private func build(
        _ view: AssignmentView, viewer: Principal
    ) -> UnsafeMutablePointer<Triaged__V1__Assignment> {
        let value = view.value
        let message = unsafe arena.new(triaged__v1__assignment__init)
        unsafe message.pointee.name = arena.name(value.number)
        unsafe message.pointee.case_ = arena.name(value.caseNumber)
        unsafe message.pointee.specialist = arena.text(view.specialist.text)
        unsafe message.pointee.state = .init(UInt32(value.state.rawValue))
        unsafe message.pointee.fencing_token = Int64(value.number.value)
        unsafe message.pointee.create_time = arena.time(value.offeredAt)
        unsafe message.pointee.accept_time = arena.timeIfSet(value.acceptedAt)
        unsafe message.pointee.expire_time = arena.time(value.expiresAt)
        unsafe message.pointee.end_time = arena.timeIfSet(value.endedAt)
        let reason: ReleaseReason =
            value.releaseReason == .wellness && viewer != view.specialist
            ? .other : value.releaseReason
        unsafe message.pointee.release_reason = .init(UInt32(reason.rawValue))
        unsafe message.pointee.note = arena.text(value.note)
        unsafe message.pointee.handed_off_from = arena.name(value.handedOffFrom)
        unsafe message.pointee.revision = Int64(bitPattern: value.revision)
        return unsafe message
    }
}

/// The API's numbers of what the domain numbers otherwise.
enum API {
    /// A level: one more than the domain's.
    static func level(_ level: Level) -> Triaged__V1__Level {
        Triaged__V1__Level(UInt32(level.rawValue) + 1)
    }

    /// A time as `google.protobuf.Timestamp` has it.
    static func time(_ time: WallTime) -> (seconds: Int64, nanos: Int32) {
        let (seconds, rest) = time.milliseconds.quotientAndRemainder(dividingBy: 1_000)
        return (
            rest < 0 ? seconds - 1 : seconds,
            Int32(rest < 0 ? rest + 1_000 : rest) * 1_000_000
        )
    }
}

extension Arena {
    /// A time.
    func time(_ time: WallTime) -> UnsafeMutablePointer<Google__Protobuf__Timestamp> {
        let message = unsafe new(google__protobuf__timestamp__init)
        let (seconds, nanos) = API.time(time)
        unsafe message.pointee.seconds = seconds
        unsafe message.pointee.nanos = nanos
        return unsafe message
    }

    /// A time that is absent before it happens.
    func timeIfSet(_ time: WallTime) -> UnsafeMutablePointer<Google__Protobuf__Timestamp>? {
        time == .epoch ? nil : unsafe self.time(time)
    }

    /// A span.
    func duration(milliseconds: Int64) -> UnsafeMutablePointer<Google__Protobuf__Duration> {
        let message = unsafe new(google__protobuf__duration__init)
        unsafe message.pointee.seconds = milliseconds / 1_000
        unsafe message.pointee.nanos = Int32(milliseconds % 1_000) * 1_000_000
        return unsafe message
    }

    /// Circumstances, one number each.
    func modifiers(
        _ set: RiskModifiers
    ) -> (count: Int, list: UnsafeMutablePointer<Triaged__V1__RiskModifier>) {
        let list = unsafe take(set.count, of: Triaged__V1__RiskModifier.self)
        var count = 0
        for bit in 0..<7 where set.rawValue >> UInt8(bit) & 1 == 1 {
            unsafe list[count] = .init(UInt32(bit + 1))
            count += 1
        }
        return unsafe (count, list)
    }
}
