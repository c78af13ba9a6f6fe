// The errors that the wire itself answers with, before or instead of a service. One place, so that
// reasons stay stable and texts say what to do. Carries no bytes of the peer's but lengths and
// limits.

import TriageBase

/// The catalogue of errors of the wire.
package enum WireError {
    /// No such method.
    package static let methodUnknown = RPCError(
        .unimplemented, reason: "METHOD_UNKNOWN",
        message: "The server has no such method. List its services by reflection.")
    /// A call without a client certificate.
    package static let identityRequired = RPCError(
        .unauthenticated, reason: "CLIENT_CERTIFICATE_REQUIRED",
        message: "Only health checks are answered without a client certificate. Present one.")
    /// A message encoding that is not offered.
    package static let encodingUnsupported = RPCError(
        .unimplemented, reason: "ENCODING_UNSUPPORTED",
        message: "The message encoding is not supported. Use one of grpc-accept-encoding.")
    /// A malformed `grpc-timeout`.
    package static let timeoutMalformed = RPCError(
        .invalidArgument, reason: "TIMEOUT_MALFORMED",
        message: "grpc-timeout must be 1 to 8 digits and one of the units H M S m u n.")
    /// `te: trailers` is missing.
    package static let trailersUnsupported = RPCError(
        .internal, reason: "TE_TRAILERS_MISSING",
        message: "The request lacks te: trailers, so a proxy on the way may drop the status.")
    /// A method that takes one message got none, or more than one.
    package static let requestCardinality = RPCError(
        .unimplemented, reason: "REQUEST_CARDINALITY",
        message: "The method takes exactly one message.")
    /// The request ended inside a message.
    package static let messageTruncated = RPCError(
        .internal, reason: "MESSAGE_TRUNCATED", message: "The request ended inside a message.")
    /// The deadline passed.
    package static let deadlineExceeded = RPCError(
        .deadlineExceeded, reason: "DEADLINE_EXCEEDED",
        message: "The call's deadline passed before it was answered.")
    /// The messages that wait for their end use up the memory that is set aside for them.
    package static let memoryExhausted = RPCError(
        .resourceExhausted, reason: "MESSAGE_MEMORY_EXHAUSTED",
        message: "Too many bytes of unfinished requests are held. Try again shortly.",
        retryAfterMilliseconds: 1_000)
    /// The caller's own unfinished requests and unread replies use up its share of that memory.
    package static let identityMemoryExhausted = RPCError(
        .resourceExhausted, reason: "IDENTITY_MEMORY_EXHAUSTED",
        message: "Too many bytes of your own requests and replies are held. Read replies first.",
        retryAfterMilliseconds: 1_000)
    /// More calls of one identity than it may begin.
    package static let callRateExceeded = RPCError(
        .resourceExhausted, reason: "CALL_RATE_EXCEEDED",
        message: "Your identity begins too many calls. A page of a list costs as much as "
            + "\(Limits.bulkReadCost) others; reports are never counted.",
        retryAfterMilliseconds: 100)
    /// Too many long-lived streams on one connection.
    package static let longLivedStreams = RPCError(
        .resourceExhausted, reason: "LONG_LIVED_STREAMS_EXHAUSTED",
        message: "A connection may hold \(Limits.longLivedStreamsMax) watches. Open another one.",
        metadata: ["streams_max": String(Limits.longLivedStreamsMax)])
    /// The server is going away and the grace is over.
    package static let draining = RPCError(
        .unavailable, reason: "SERVER_DRAINING",
        message: "The server is shutting down. Try again on another connection.",
        retryAfterMilliseconds: 1_000)
    /// The connection has reached its age and the grace is over.
    package static let connectionAged = RPCError(
        .unavailable, reason: "CONNECTION_AGED",
        message: "The connection has reached its age. Go on with another one.",
        retryAfterMilliseconds: 0)
    /// A handler answered in a way that its method does not allow.
    package static let replyCardinality = RPCError(
        .internal, reason: "INTERNAL", message: "The server failed to answer. Report it.")

    /// A compressed message that does not unpack.
    package static let messageCorrupt = RPCError(
        .internal, reason: "MESSAGE_COMPRESSION_BROKEN",
        message: "A compressed message is not one whole gzip member.")
    /// A message that unpacks to far more than it was.
    package static let messageRatio = RPCError(
        .resourceExhausted, reason: "MESSAGE_COMPRESSION_RATIO",
        message: "A message may unpack to \(Limits.inflateRatioMax) times its size. Send it "
            + "uncompressed.",
        metadata: ["ratio_max": String(Limits.inflateRatioMax)])

    /// A header list over the announced limit.
    ///
    /// - Parameters:
    ///   - bytes: Its size, 32 added a field.
    ///   - fields: How many fields it has.
    /// - Returns: The error.
    package static func metadataTooLarge(bytes: Int, fields: Int) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "METADATA_TOO_LARGE",
            message: "The request's metadata of \(bytes) bytes in \(fields) fields is above the "
                + "limit of \(Limits.headerListBytesMax) bytes or "
                + "\(Limits.headerFieldsMax) fields.",
            metadata: [
                "bytes": String(bytes), "bytes_max": String(Limits.headerListBytesMax),
                "fields": String(fields), "fields_max": String(Limits.headerFieldsMax),
            ])
    }

    /// A message that unpacks to more than is allowed.
    package static func messageUnpacksTooLarge(limit: Int) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "MESSAGE_TOO_LARGE",
            message: "A compressed message unpacks to more than the limit of \(limit) bytes.",
            metadata: ["bytes_max": String(limit)])
    }

    /// The error for a broken stream of messages.
    package static func deframe(_ error: DeframeError) -> RPCError {
        switch error {
        case .invalidFlag:
            RPCError(
                .internal, reason: "MESSAGE_PREFIX_INVALID",
                message: "The compressed flag of a message must be 0 or 1.")
        case .compressedWithoutEncoding:
            RPCError(
                .internal, reason: "MESSAGE_ENCODING_MISSING",
                message: "A message is marked as compressed, but grpc-encoding names no encoding.")
        case .tooLarge(let announced, let limit):
            RPCError(
                .resourceExhausted, reason: "MESSAGE_TOO_LARGE",
                message: "A message of \(announced) bytes is above the limit of \(limit) bytes.",
                metadata: ["bytes": String(announced), "bytes_max": String(limit)])
        }
    }
}
