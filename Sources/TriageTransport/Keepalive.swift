// Whether a silent peer is still there. Pure: what was received, and the time, are handed in. Knows
// nothing of frames; the connection sends the ping.

import TriageBase

/// Asks a peer that is silent while it has streams open for a sign of life.
///
/// A peer without streams is not asked: its connection ends by idleness anyway. Any byte is an
/// answer, as in gRPC's keepalive.
struct Keepalive {
    /// What is to be done.
    enum Step: Equatable {
        case nothing
        /// Send a PING.
        case ping
        /// The peer is gone: end the connection.
        case dead
    }

    private var bytesSeen: UInt64 = 0
    private var heardAt: MonotonicTime
    private var askedAt: MonotonicTime?

    init(now: MonotonicTime) { heardAt = now }

    /// Looks at the peer; once a second is often enough.
    ///
    /// - Parameters:
    ///   - bytes: Received on the connection so far.
    ///   - hasStreams: Whether any stream is open.
    ///   - now: The time.
    ///   - limits: After which silence to ask, and how long to wait for the answer.
    /// - Returns: What to do now.
    mutating func judge(
        bytes: UInt64, hasStreams: Bool, now: MonotonicTime, limits: ServerLimits
    ) -> Step {
        if bytes != bytesSeen || !hasStreams {
            bytesSeen = bytes
            heardAt = now
            askedAt = nil
            return .nothing
        }
        if let askedAt {
            let waited = now.nanoseconds(since: askedAt)
            let waitMax = UInt64(limits.keepaliveTimeoutMilliseconds) * 1_000_000
            return waited > waitMax ? .dead : .nothing
        }
        let silence = UInt64(limits.keepaliveMilliseconds) * 1_000_000
        guard now.nanoseconds(since: heardAt) >= silence else { return .nothing }
        askedAt = now
        return .ping
    }
}
