// What only some calls have: metadata of their own, compression, earlier attempts. Kept apart so
// that a plain call pays for none of it. Knows nothing of zlib, streams or HPACK.

import TriageBase

/// A message encoding that gRPC knows by name.
package enum MessageEncoding: UInt8, Sendable {
    case identity
    case gzip
    /// Named by the peer, and not one of ours.
    case unknown

    /// What a server or client of ours can read, for `grpc-accept-encoding`.
    package static let accepted = "identity,gzip"

    /// Reads the value of `grpc-encoding`.
    package init(_ value: Span<UInt8>) {
        if equal(value, Self.identityName) {
            self = .identity
        } else if equal(value, Self.gzipName) {
            self = .gzip
        } else {
            self = .unknown
        }
    }

    private static let identityName = Array("identity".utf8)
    private static let gzipName = Array("gzip".utf8)

    /// Whether the value of a `grpc-accept-encoding` names gzip.
    ///
    /// Source: gRPC PROTOCOL-HTTP2: `Message-Accept-Encoding`, a list with commas and blanks.
    package static func acceptsGzip(_ value: Span<UInt8>) -> Bool {
        var start = 0
        for index in 0...value.count where index == value.count || value[index] == UInt8(ascii: ",")
        {
            var first = start
            var end = index
            while first < end, value[first] == UInt8(ascii: " ") { first += 1 }
            while end > first, value[end - 1] == UInt8(ascii: " ") { end -= 1 }
            if equal(value.extracting(first..<end), gzipName) { return true }
            start = index + 1
        }
        return false
    }
}

/// When the messages of a reply are compressed; never for a client that does not accept it.
package enum ReplyCompression: UInt8, Sendable {
    /// From ``TriageBase/Limits/compressedReplyBytesMin`` on, if the message then gets smaller.
    case whenItPays
    case always
    case never
}

/// The extras of one call.
///
/// - Isolation: confined to its reactor's thread, like the call.
package final class CallExtras {
    /// The client's own metadata; gathered only for methods that ask for it.
    package var metadata: [MetadataField] = []
    /// `grpc-previous-rpc-attempts`: how often the client's library has tried this call before.
    package var previousAttempts = 0

    /// W3C `traceparent` value, if the method reads it and it has a plausible length; else empty.
    package private(set) var traceparent: [UInt8] = []

    /// Sees `traceparent`; of version 00 it has 55 bytes.
    package func traceparentReceived(_ value: Span<UInt8>) {
        if value.count == 55 { traceparent = [UInt8](copying: value) }
    }

    /// The request's messages may be compressed with gzip.
    package var isRequestGzip = false
    /// The message that is being delivered came compressed.
    package var isMessageCompressed = false
    /// The client accepts gzip, and the method's replies are worth it.
    package var mayCompress = false
    /// Which messages are compressed, if any may be.
    package var compression = ReplyCompression.whenItPays

    /// Sent with the response's headers.
    package var initialMetadata: [MetadataField] = []
    /// Sent with the status.
    package var trailingMetadata: [MetadataField] = []

    /// Nothing yet.
    package init() {}

    /// Whether a message of so many bytes should leave compressed.
    package func compresses(_ count: Int) -> Bool {
        guard mayCompress else { return false }
        switch compression {
        case .whenItPays: return count >= Limits.compressedReplyBytesMin
        case .always: return true
        case .never: return false
        }
    }
}
