// From the wire bytes of each request to domain values: everything that can be said about a request
// without looking at the state is said here. Who may call, and whether things exist, is not known.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
internal import TriageDomain

/// Decodes the requests of one reactor.
///
/// Every `decode…` function validates the wire bytes, unpacks them into the arena, checks every
/// constraint that the `.proto` comments state, and throws ``RequestError`` with all that is wrong.
/// Nothing that it returns refers to the bytes or to the arena.
///
/// - Isolation: one thread at a time.
package final class RequestDecoder {
    let arena = Arena()
    private let pageTokenKey: PageTokenKey

    /// Makes a decoder; all decoders and encoders of a server share one key.
    package init(pageTokenKey: PageTokenKey) {
        self.pageTokenKey = pageTokenKey
    }

    // MARK: TriageService

    /// Decodes SubmitReport.
    ///
    /// - Complexity: O(bytes); one allocation, the stored content.
    package func decodeSubmitReport(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        if let (id, report) = decodeCanonical(bytes) { return submission(id, report) }
        return try decodeAnySubmitReport(bytes)
    }

    /// The way for reports that are written otherwise than usual, or have something wrong; takes
    /// all others as well, so that a test can hold the two ways against each other.
    package func decodeAnySubmitReport(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__submit_report_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let report = unsafe decode(message.pointee.report, &form)
        guard let report = try form.finish(report) else { throw .invalid(form.problems) }
        return submission(requestID, report)
    }

    /// Decodes one message of the stream of SubmitReports.
    ///
    /// - Throws: ``RequestError/malformed(_:)`` when the bytes are not a message, which ends the
    ///   stream; what is wrong with a well-formed report is in the result.
    package func decodeSubmitReports(_ bytes: Span<UInt8>) throws(RequestError) -> StreamedReport {
        if let (id, report) = decodeCanonical(bytes) {
            return StreamedReport(requestID: id, write: .success(submission(id, report)))
        }
        let message = unsafe try unpack(bytes, triaged__v1__submit_reports_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let report = unsafe decode(message.pointee.report, &form)
        do throws(RequestError) {
            guard let report = try form.finish(report) else { throw .invalid(form.problems) }
            return StreamedReport(
                requestID: requestID, write: .success(submission(requestID, report)))
        } catch {
            return StreamedReport(requestID: requestID, write: .failure(error))
        }
    }

    private func submission(_ requestID: RequestID, _ report: DecodedReport) -> WriteRequest {
        let fingerprint = Hash128(of: report.content.span, seed: Seed.submitReport.rawValue)
        return WriteRequest(
            key: WriteKey(requestID: requestID, fingerprint: fingerprint),
            command: .submitReport(facts: report.facts, content: report.content))
    }

    /// Decodes GetCase.
    package func decodeGetCase(_ bytes: Span<UInt8>) throws(RequestError) -> GetCaseRequest {
        let message = unsafe try unpack(bytes, triaged__v1__get_case_request__init)
        var form = Form()
        let number = unsafe form.caseName(message.pointee.name, "name")
        let view = unsafe message.pointee.view.rawValue
        if view > 2 { form.refuse({ "view" }, "is not a value that this service knows") }
        let purpose = unsafe form.text(
            message.pointee.purpose, min: view == 2 ? 1 : 0, max: 256, "purpose")
        return try form.finish(
            GetCaseRequest(number: number, detail: view == 2 ? .full : .basic, purpose: purpose))
    }

    /// Decodes ListCases; the token must be one that `principal` got with the same filter.
    package func decodeListCases(
        _ bytes: Span<UInt8>, principal: Principal
    ) throws(RequestError) -> ListCasesRequest {
        let message = unsafe try unpack(bytes, triaged__v1__list_cases_request__init)
        var form = Form()
        let pageSize = unsafe form.pageSize(message.pointee.page_size)
        let filter = unsafe decode(message.pointee.filter, &form)
        let filterHash = unsafe message.pointee.filter.map { unsafe fingerprint($0, .filter) }
        let binding = PageBinding(
            principal: principal, filter: filterHash ?? Hash128(high: 0, low: 0))
        let place = unsafe openToken(message.pointee.page_token, .cases, binding, &form)
        return try form.finish(
            ListCasesRequest(
                pageSize: pageSize,
                after: place.flatMap { PriorityKey(high: $0.high, low: $0.low) },
                filter: filter, binding: binding))
    }

    /// Decodes AnswerProtocol.
    package func decodeAnswerProtocol(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__answer_protocol_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.name, "name")
        let answers = unsafe decode(message.pointee.answers, &form)
        let reason = unsafe form.text(message.pointee.lower_reason, max: 1 << 10, "lower_reason")
        let token = unsafe form.token(message.pointee.fencing_token, required: false)
        let etag = unsafe form.etag(message.pointee.etag)
        guard let answers = try form.finish(answers) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .answerProtocol,
            .answerProtocol(
                case: number, answers: answers, lowerReason: reason, token: token, etag: etag))
    }

    /// Decodes DecideCase.
    package func decodeDecideCase(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__decide_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.name, "name")
        let decision = unsafe decode(message.pointee.decision, &form)
        let token = unsafe form.token(message.pointee.fencing_token)
        let etag = unsafe form.etag(message.pointee.etag)
        guard let decision = try form.finish(decision) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .decideCase,
            .decideCase(case: number, decision: decision, token: token, etag: etag))
    }

    /// Decodes CloseCase.
    package func decodeCloseCase(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__close_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.name, "name")
        let token = unsafe form.token(message.pointee.fencing_token, required: false)
        let etag = unsafe form.etag(message.pointee.etag)
        let liveRiskEnded = unsafe message.pointee.live_risk_ended != 0
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .closeCase,
            .closeCase(case: number, token: token, liveRiskEnded: liveRiskEnded, etag: etag))
    }

    /// Decodes ReopenCase.
    package func decodeReopenCase(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__reopen_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.name, "name")
        let reason = unsafe form.text(message.pointee.reason, min: 1, max: 1 << 10, "reason")
        let etag = unsafe form.etag(message.pointee.etag)
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .reopenCase,
            .reopenCase(case: number, reason: reason, etag: etag))
    }

    /// Decodes WatchBoard.
    package func decodeWatchBoard(_ bytes: Span<UInt8>) throws(RequestError) -> WatchBoardRequest {
        let message = unsafe try unpack(bytes, triaged__v1__watch_board_request__init)
        var form = Form()
        let revision = unsafe form.revision(message.pointee.resume_revision)
        let filter = unsafe decode(message.pointee.filter, &form)
        return try form.finish(WatchBoardRequest(resumeRevision: revision, filter: filter))
    }

    // MARK: Shared steps

    /// Tells the writes apart in fingerprints.
    ///
    /// So a request id used with another method is seen as used with another content. Journaled:
    /// never renumbered.
    enum Seed: UInt64 {
        case filter = 0
        case submitReport = 1
        case answerProtocol = 2
        case decideCase = 3
        case closeCase = 4
        case reopenCase = 5
        case claimNext = 6
        case acceptCase = 7
        case renewLease = 8
        case releaseLease = 9
        case handOffCase = 10
        case completeCase = 11
        case submitDisclosureRequest = 12
        case addVerification = 13
        case setScope = 14
        case approveDisclosure = 15
        case rejectDisclosure = 16
        case createSnapshot = 17
        case attachEvidence = 18
        case eraseEvidence = 19
        case eraseReportTexts = 20
        case placeHold = 21
        case releaseHold = 22
        case rotateKeys = 23
    }

    /// Empties the arena and unpacks a request into it.
    @inline(__always)
    func unpack<M>(
        _ bytes: Span<UInt8>, _ initialise: (UnsafeMutablePointer<M>?) -> Void
    ) throws(RequestError) -> UnsafeMutablePointer<M> {
        arena.reset()
        do {
            return unsafe try arena.unpack(bytes, .request, initialise)
        } catch {
            throw Self.requestError(error)
        }
    }

    /// A text that is no text is a problem of its field; anything else is a problem of the message.
    private static func requestError(_ error: MessageFault) -> RequestError {
        switch error.kind {
        case .invalidUTF8:
            .invalid([FieldProblem(field: error.field, description: "must be valid UTF-8")])
        case .embeddedNUL:
            .invalid([FieldProblem(field: error.field, description: "must not contain NUL")])
        default: .malformed(error)
        }
    }

    /// The fingerprint of a message packed anew.
    func fingerprint<M>(_ message: UnsafeMutablePointer<M>, _ seed: Seed) -> Hash128 {
        let packed = unsafe arena.packed(message)
        return unsafe Hash128(
            of: UnsafeBufferPointer(start: packed.data, count: packed.len).span,
            seed: seed.rawValue)
    }

    /// Makes a write of a message whose request id was taken out.
    func write<M>(
        _ requestID: RequestID, _ message: UnsafeMutablePointer<M>, _ seed: Seed, _ command: Command
    ) -> WriteRequest {
        unsafe WriteRequest(
            key: WriteKey(requestID: requestID, fingerprint: fingerprint(message, seed)),
            command: command)
    }

    /// Opens an optional page token.
    func openToken(
        _ text: CText?, _ list: PageToken.List, _ binding: PageBinding, _ form: inout Form
    ) -> (high: UInt64, low: UInt64)? {
        guard unsafe byteCount(text) > 0 else { return nil }
        let place = unsafe withBytes(text) { PageToken.open($0, list, binding, pageTokenKey) }
        if place == nil {
            form.refuse(
                { "page_token" }, "must be a token that the same caller got with the same filter")
        }
        return place
    }
}
