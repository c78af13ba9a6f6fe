// SubmitReports: a stream of reports, each with its own result, a bounded number in flight, so that
// a fast client is held back by the disk and by nothing else.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageEngine
internal import TriageGRPC

/// One SubmitReports call.
final class ReportStream {
    /// Reports of one stream that may wait for the disk at once.
    static let inFlightMax = 64

    let holder: ServiceHandler.Holder
    var results: [StreamedReportResult] = []
    var inFlight = 0
    /// The next message waits for room.
    var isPaused = false
    var inputEnded = false
    /// Why its client may report no more, since the policy has changed.
    var refusal: RPCError?

    init(_ holder: ServiceHandler.Holder) { self.holder = holder }
}

extension ServiceHandler {
    func reportReceived(_ call: CallID, _ stream: ReportStream, _ message: Span<UInt8>) {
        guard stream.results.count < Limits.reportsPerStreamMax else {
            longCalls[call.raw] = nil
            responder.finish(
                call,
                RPCError(
                    .resourceExhausted, reason: "TOO_MANY_REPORTS",
                    message: "one stream takes \(Limits.reportsPerStreamMax) reports: repeat these "
                        + "with the same request ids in shorter streams, nothing is counted twice",
                    metadata: [
                        "limit": "stream_reports", "limit_max": String(Limits.reportsPerStreamMax),
                    ]))
            return
        }
        let report: StreamedReport
        do { report = try decoder.decodeSubmitReports(message) } catch {
            longCalls[call.raw] = nil
            responder.finish(call, RPCError(error))
            return
        }
        let index = stream.results.count
        switch report.write {
        case .success where stream.refusal != nil:
            let refused = Self.refused(report.requestID, stream.refusal ?? Self.internalError)
            guard keep(refused, call, stream) else { return }
        case .success(let write):
            // Replaced when the engine answers.
            let pending = Self.refused(report.requestID, RPCError(EngineFailure.stopping))
            guard keep(pending, call, stream) else { return }
            stream.inFlight += 1
            ask(
                call, echo: Echo.streamItem | UInt64(index), stream.holder.principal,
                .write(write.command, write.key))
        case .failure(let error):
            let refused = Self.refused(report.requestID, RPCError(error))
            guard keep(refused, call, stream) else { return }
        }
        if stream.inFlight < ReportStream.inFlightMax {
            responder.requestMore(call)
        } else {
            stream.isPaused = true
        }
    }

    /// Adds a result; false when the stream's peer may hold no more, and the stream is over.
    private func keep(
        _ result: StreamedReportResult, _ call: CallID, _ stream: ReportStream
    ) -> Bool {
        stream.results.append(result)
        if responder.hold(call, bytes: result.bytesHeldMax) { return true }
        longCalls[call.raw] = nil
        return false
    }

    func reportCompleted(_ call: CallID, _ completion: Completion) {
        guard case .reports(let stream) = longCalls[call.raw] else { return }
        let index = Int(completion.echo & 0xFFFF_FFFF)
        let id = stream.results[index].requestID
        stream.inFlight -= 1
        switch completion.reply {
        case .receipt(let receipt), .outcome(.receipt(let receipt)):
            stream.results[index] = StreamedReportResult(
                requestID: id, outcome: .accepted(receipt))
        case .refused(let error): stream.results[index] = Self.refused(id, RPCError(error))
        case .failed(let failure): stream.results[index] = Self.refused(id, RPCError(failure))
        default: stream.results[index] = Self.refused(id, Self.internalError)
        }
        if stream.isPaused {
            stream.isPaused = false
            responder.requestMore(call)
        }
        finishIfComplete(call, stream)
    }

    func finishIfComplete(_ call: CallID, _ stream: ReportStream) {
        guard stream.inputEnded, stream.inFlight == 0 else { return }
        longCalls[call.raw] = nil
        responder.respond(call, encoder.submitReports(stream.results))
    }

    private static func refused(_ id: RequestID, _ error: RPCError) -> StreamedReportResult {
        StreamedReportResult(
            requestID: id,
            outcome: .refused(
                code: Int32(error.code.rawValue), reason: error.reason, message: error.message,
                field: error.fieldViolations.first?.field ?? ""))
    }
}
