// The end of a call as header fields: `grpc-status`, `grpc-message`, `grpc-status-details-bin`, and
// what a client makes of them, or of their absence. Knows nothing of streams.

import TriageBase

/// Writes the fields that end a call, and reads them.
///
/// Source: gRPC PROTOCOL-HTTP2 "Responses"; `doc/statuscodes.md`;
/// `doc/http-grpc-status-mapping.md`.
package enum Status {
    /// Longest `grpc-message`, in encoded bytes: with the details it stays inside the trailer
    /// limit.
    static let messageBytesMax = 1 << 10
    /// The name of the status field.
    package static let statusName = Array("grpc-status".utf8)
    /// The name of the message field.
    package static let messageName = Array("grpc-message".utf8)
    /// The name of the details field.
    package static let detailsName = Array("grpc-status-details-bin".utf8)
    /// The name of the field that tells a client's library when to try again.
    package static let pushbackName = Array("grpc-retry-pushback-ms".utf8)

    /// The fields that report an error, details included.
    ///
    /// - Returns: At most ``Limits/trailerBytesMax`` bytes, 32 counted a field.
    package static func trailers(_ error: RPCError) -> [MetadataField] {
        var fields = [
            MetadataField(
                name: statusName, value: Array(String(error.code.rawValue).utf8)),
            MetadataField(
                name: messageName,
                value: PercentEncoding.encode(error.message, bytesMax: messageBytesMax)),
            MetadataField(
                name: detailsName, value: Base64.encode(StatusDetails.encode(error).span)),
        ]
        if let pushback = pushback(error) {
            fields.append(MetadataField(name: pushbackName, value: Array(pushback.utf8)))
        }
        return fields
    }

    /// What a library that retries by its policy is told: when, or -1 for not at all.
    ///
    /// Never 0, which grpcio 1.85 takes for no answer at all and waits out the deadline.
    /// A limit that time does not lift (a message that is too large) must not be tried again,
    /// though its code is one that is retried; nil leaves the delay to the policy.
    ///
    /// Source: gRPC proposal A6 "Pushback".
    private static func pushback(_ error: RPCError) -> String? {
        switch error.code {
        case .resourceExhausted: error.retryAfterMilliseconds.map { String(max(1, $0)) } ?? "-1"
        case .unavailable: error.retryAfterMilliseconds.map { String(max(1, $0)) }
        default: nil
        }
    }

    /// Reads `grpc-retry-pushback-ms`: milliseconds; nil when it says not to retry, or nothing that
    /// can be understood, which means the same.
    ///
    /// Source: gRPC proposal A6 "Pushback".
    package static func pushback(_ text: Span<UInt8>) -> Int64? {
        guard text.count >= 1, text.count <= 10 else { return nil }
        var value: Int64 = 0
        for index in text.indices {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value * 10 + Int64(digit)
        }
        return value
    }

    /// Reads the end of a call.
    ///
    /// - Parameters:
    ///   - status: Value of `grpc-status`.
    ///   - message: Value of `grpc-message`, empty if absent.
    ///   - details: Value of `grpc-status-details-bin`, empty if absent.
    /// - Returns: nil for OK. A status that is not a known number is UNKNOWN.
    package static func decode(
        status: Span<UInt8>, message: Span<UInt8>, details: Span<UInt8>
    ) -> RPCError? {
        let code = code(status)
        if code == .ok { return nil }
        var error = RPCError(code, reason: "", message: PercentEncoding.decode(message))
        if details.count > 0, details.count <= Limits.headerListBytesMax,
            let bytes = Base64.decode(details)
        {
            StatusDetails.decode(bytes, into: &error)
        }
        return error
    }

    private static func code(_ text: Span<UInt8>) -> StatusCode {
        guard text.count >= 1, text.count <= 2 else { return .unknown }
        var value: UInt8 = 0
        for index in text.indices {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return .unknown }
            value = value * 10 + digit
        }
        return StatusCode(rawValue: value) ?? .unknown
    }

    /// What an HTTP answer without `grpc-status` means.
    package static func code(httpStatus: Int) -> StatusCode {
        switch httpStatus {
        case 400: .internal
        case 401: .unauthenticated
        case 403: .permissionDenied
        case 404: .unimplemented
        case 429, 502, 503, 504: .unavailable
        default: .unknown
        }
    }

    /// What RST_STREAM with an HTTP/2 error code means to a client.
    ///
    /// Source: gRPC PROTOCOL-HTTP2 "Errors".
    package static func code(http2Error: UInt32) -> StatusCode {
        switch http2Error {
        case 0x7: .unavailable  // REFUSED_STREAM: no handler ran
        case 0x8: .cancelled
        case 0xB: .resourceExhausted  // ENHANCE_YOUR_CALM
        case 0xC: .permissionDenied  // INADEQUATE_SECURITY
        default: .internal
        }
    }
}
