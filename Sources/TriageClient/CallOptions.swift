// What a caller may ask for with one call.

package import TriageBase
package import TriageGRPC

/// When a call ends with DEADLINE_EXCEEDED, its waiting, its attempts and their pauses included.
package enum CallDeadline: Equatable, Sendable {
    /// After the method's timeout in the service configuration; without one there after
    /// ``TriageBase/Limits/clientCallMilliseconds``, or never when the server streams.
    case published
    /// So many milliseconds from now; at least one.
    case after(milliseconds: Int64)
    /// At that time of the machine's monotonic clock: what a call that one serves has left.
    case at(MonotonicTime)
    /// Never.
    case never
}

/// How one call is made; the defaults are those of the method's service configuration.
package struct CallOptions: Sendable {
    /// When it ends at the latest.
    package var deadline = CallDeadline.published
    /// Waits while no server can be reached, instead of failing; nil: as configured.
    package var waitsForReady: Bool?
    /// Whether it does no harm when the server carries it out twice, so that a failed attempt may
    /// be followed by another; nil: a method that has a retry policy is a read, or carries a
    /// `request_id`.
    package var isIdempotent: Bool?
    /// Sent with the request.
    ///
    /// Values of names that end in `-bin` are base64, see ``TriageGRPC/MetadataField``.
    package var metadata: [MetadataField] = []
    /// Request messages leave compressed with gzip.
    package var sendsGzip = false
    /// Largest reply message, bytes; nil: as configured, else 4 MiB.
    package var replyBytesMax: Int?

    /// The defaults.
    package init() {}

    /// The defaults, but for the deadline.
    package init(timeoutMilliseconds: Int64) {
        deadline = .after(milliseconds: timeoutMilliseconds)
    }
}

/// Which sides of a method stream.
package enum CallKind: Sendable {
    case unary, clientStream, serverStream, bidirectional

    var serverStreams: Bool { self == .serverStream || self == .bidirectional }
    var clientStreams: Bool { self == .clientStream || self == .bidirectional }
}
