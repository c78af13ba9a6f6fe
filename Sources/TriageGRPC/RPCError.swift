// A failed call as its caller sees it: code, a text that says what failed and what to do, and typed
// details. Encodes the details as google.rpc.Status without a protobuf library, so that the wire
// layer itself can answer with them.

/// The status codes of gRPC.
///
/// Source: gRPC `doc/statuscodes.md`.
package enum StatusCode: UInt8, Sendable, CaseIterable {
    case ok = 0
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16

    /// The name that gRPC's documents and tools use, such as `INVALID_ARGUMENT`.
    package var name: String {
        switch self {
        case .ok: "OK"
        case .cancelled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }
}

/// One field of a request that is wrong.
package struct FieldViolation: Equatable, Sendable {
    /// Path of the field, as in `subject.account_id`.
    package var field: String
    /// What is wrong and what would be right; never the value itself.
    package var description: String

    /// Names a field and what is wrong with it.
    package init(field: String, description: String) {
        self.field = field
        self.description = description
    }
}

/// Why a call failed, ready to be sent.
///
/// `reason` is UPPER_SNAKE and stable: clients may switch on it. `metadata` repeats every variable
/// part of the message. No part may carry personal data, content or internals.
package struct RPCError: Error, Equatable, Sendable {
    /// The gRPC status code.
    package var code: StatusCode
    /// `google.rpc.ErrorInfo.reason`.
    package var reason: String
    /// What failed and what to do, one sentence or two.
    package var message: String
    /// `google.rpc.ErrorInfo.metadata`.
    package var metadata: [String: String]
    /// `google.rpc.BadRequest.field_violations`.
    package var fieldViolations: [FieldViolation]
    /// `google.rpc.RetryInfo.retry_delay`, in milliseconds; nil when a retry would not help.
    package var retryAfterMilliseconds: Int64?

    /// Describes a failure.
    package init(
        _ code: StatusCode, reason: String, message: String, metadata: [String: String] = [:],
        fieldViolations: [FieldViolation] = [], retryAfterMilliseconds: Int64? = nil
    ) {
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.fieldViolations = fieldViolations
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }
}

extension StatusCode {
    /// The name as metrics write it, `DeadlineExceeded`.
    package var title: String {
        switch self {
        case .ok: "OK"
        case .cancelled: "Canceled"
        case .unknown: "Unknown"
        case .invalidArgument: "InvalidArgument"
        case .deadlineExceeded: "DeadlineExceeded"
        case .notFound: "NotFound"
        case .alreadyExists: "AlreadyExists"
        case .permissionDenied: "PermissionDenied"
        case .resourceExhausted: "ResourceExhausted"
        case .failedPrecondition: "FailedPrecondition"
        case .aborted: "Aborted"
        case .outOfRange: "OutOfRange"
        case .unimplemented: "Unimplemented"
        case .internal: "Internal"
        case .unavailable: "Unavailable"
        case .dataLoss: "DataLoss"
        case .unauthenticated: "Unauthenticated"
        }
    }
}
