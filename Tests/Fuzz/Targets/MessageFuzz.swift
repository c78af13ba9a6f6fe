// Request bytes through the validator and every decoder. The same bytes give the same result twice:
// a decoder that is used again remembers nothing. A report gives the same through the reader of
// canonical ones and without it.

import TriageBase
import TriageCodec

enum MessageFuzz {
    private static let principal = Principal(spiffeID: "spiffe://triaged.test/alice")

    static func run(_ bytes: [UInt8]) {
        var input = FuzzInput(bytes)
        let method = input.byte()
        let message = input.rest()
        let decoder = RequestDecoder(pageTokenKey: PageTokenKey(first: 1, second: 2))
        let first = outcome(decoder, method, message)
        check(outcome(decoder, method, message) == first, "another result the second time")
        check(
            report(message) { bytes throws(RequestError) in try decoder.decodeSubmitReport(bytes) }
                == report(message) { bytes throws(RequestError) in
                    try decoder.decodeAnySubmitReport(bytes)
                }, "the reader of canonical reports takes it otherwise")
    }

    /// What came of a report, as text.
    private static func report(
        _ bytes: [UInt8], _ decode: (Span<UInt8>) throws(RequestError) -> WriteRequest
    ) -> String {
        do throws(RequestError) { return "\(try decode(bytes.span))" } catch { return "\(error)" }
    }

    private static func outcome(
        _ decoder: RequestDecoder, _ method: UInt8, _ bytes: [UInt8]
    ) -> RequestError? {
        do throws(RequestError) {
            try method < 16
                ? cases(decoder, method, bytes.span) : others(decoder, method, bytes.span)
            return nil
        } catch { return error }
    }

    private static func cases(
        _ decoder: RequestDecoder, _ method: UInt8, _ bytes: Span<UInt8>
    ) throws(RequestError) {
        switch method {
        case 1: _ = try decoder.decodeSubmitReports(bytes)
        case 2: _ = try decoder.decodeGetCase(bytes)
        case 3: _ = try decoder.decodeListCases(bytes, principal: principal)
        case 4: _ = try decoder.decodeAnswerProtocol(bytes)
        case 5: _ = try decoder.decodeDecideCase(bytes)
        case 6: _ = try decoder.decodeCloseCase(bytes)
        case 7: _ = try decoder.decodeReopenCase(bytes)
        case 8: _ = try decoder.decodeWatchBoard(bytes)
        case 9: _ = try decoder.decodeClaimNext(bytes)
        case 10: _ = try decoder.decodeAcceptCase(bytes)
        case 11: _ = try decoder.decodeRenewLease(bytes)
        case 12: _ = try decoder.decodeReleaseLease(bytes)
        case 13: _ = try decoder.decodeHandOffCase(bytes)
        case 14: _ = try decoder.decodeCompleteCase(bytes)
        case 15: _ = try decoder.decodeWatchAssignments(bytes)
        default: _ = try decoder.decodeSubmitReport(bytes)
        }
    }

    private static func others(
        _ decoder: RequestDecoder, _ method: UInt8, _ bytes: Span<UInt8>
    ) throws(RequestError) {
        switch method {
        case 16: _ = try decoder.decodeSubmitDisclosureRequest(bytes)
        case 17: _ = try decoder.decodeGetDisclosureRequest(bytes)
        case 18: _ = try decoder.decodeListDisclosureRequests(bytes, principal: principal)
        case 19: _ = try decoder.decodeAddVerification(bytes)
        case 20: _ = try decoder.decodeSetScope(bytes)
        case 21: _ = try decoder.decodeApproveDisclosure(bytes)
        case 22: _ = try decoder.decodeRejectDisclosure(bytes)
        case 23: _ = try decoder.decodeWatchDisclosureRequest(bytes)
        case 24: try decoder.decodeGetStatus(bytes)
        case 25: _ = try decoder.decodeCreateSnapshot(bytes)
        case 26: _ = try decoder.decodeHealthCheck(bytes)
        case 27: _ = try decoder.decodeReflection(bytes)
        default: _ = try decoder.decodeSubmitReport(bytes)
        }
    }
}
