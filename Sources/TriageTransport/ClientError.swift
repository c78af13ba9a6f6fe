// The errors that a client makes itself, where no status came from the server. One place, so that
// reasons stay stable.

import TriageBase
import TriageGRPC

/// The catalogue of a client's own errors.
enum ClientError {
    static let cancelled = RPCError(
        .cancelled, reason: "CANCELLED", message: "The caller cancelled the call.")
    static let responseCardinality = RPCError(
        .unimplemented, reason: "RESPONSE_CARDINALITY",
        message: "The server sent none or several replies where one is due.")
    static let encodingUnknown = RPCError(
        .internal, reason: "ENCODING_UNSUPPORTED",
        message: "The server answered in a message encoding that was not offered to it.")
    static let messageTruncated = RPCError(
        .internal, reason: "MESSAGE_TRUNCATED", message: "The reply ended inside a message.")

    /// The connection ended before the call was answered.
    static func connectionLost(_ error: TransportError) -> RPCError {
        RPCError(.unavailable, reason: "CONNECTION_LOST", message: "\(error)")
    }

    static let metadataTooLarge = RPCError(
        .resourceExhausted, reason: "METADATA_TOO_LARGE",
        message: "The reply's metadata is above the limit of \(Limits.headerListBytesMax) bytes "
            + "or \(Limits.headerFieldsMax) fields.")

    static let statusMissing = RPCError(
        .internal, reason: "STATUS_MISSING", message: "The server sent no grpc-status.")

    /// The answer is none of gRPC's: a proxy's, or that of a server for other things.
    ///
    /// Source: gRPC `doc/http-grpc-status-mapping.md`.
    static func notGRPC(httpStatus: Int) -> RPCError {
        if httpStatus == 200 {
            return RPCError(
                .unknown, reason: "NOT_GRPC",
                message: "The server's answer has a content type that is not gRPC's.")
        }
        return RPCError(
            Status.code(httpStatus: httpStatus), reason: "HTTP_STATUS",
            message: "The server answered with HTTP status \(httpStatus).",
            metadata: ["http_status": String(httpStatus)])
    }

    static func reset(_ code: UInt32) -> RPCError {
        RPCError(
            Status.code(http2Error: code), reason: "STREAM_RESET",
            message: "The server reset the call with HTTP/2 error code \(code).",
            metadata: ["http2_error": String(code)])
    }
}
