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
            heard(now)
            return .nothing
        }
        return judge(
            now,
            KeepaliveTimes(
                silenceMilliseconds: limits.keepaliveMilliseconds,
                answerMilliseconds: limits.keepaliveTimeoutMilliseconds))
    }

    /// The peer has shown that it is there.
    mutating func heard(_ now: MonotonicTime) {
        heardAt = now
        askedAt = nil
    }

    /// Looks at a peer that has streams open, at ``nextLook(_:)`` or later.
    mutating func judge(_ now: MonotonicTime, _ times: KeepaliveTimes) -> Step {
        if let askedAt {
            let waitMax = UInt64(times.answerMilliseconds) * 1_000_000
            return now.nanoseconds(since: askedAt) > waitMax ? .dead : .nothing
        }
        let silence = UInt64(times.silenceMilliseconds) * 1_000_000
        guard now.nanoseconds(since: heardAt) >= silence else { return .nothing }
        askedAt = now
        return .ping
    }

    /// When there will be something to do, if the peer stays silent.
    func nextLook(_ times: KeepaliveTimes) -> MonotonicTime {
        if let askedAt {
            return askedAt.advanced(byNanoseconds: UInt64(times.answerMilliseconds) * 1_000_000 + 1)
        }
        return heardAt.advanced(byNanoseconds: UInt64(times.silenceMilliseconds) * 1_000_000)
    }
}

/// How long a peer with open streams may be silent.
package struct KeepaliveTimes: Equatable, Sendable {
    /// Before it is asked for a sign of life, milliseconds.
    package var silenceMilliseconds: Int64
    /// For its answer, milliseconds.
    package var answerMilliseconds: Int64

    /// Groups the two.
    package init(silenceMilliseconds: Int64, answerMilliseconds: Int64) {
        self.silenceMilliseconds = silenceMilliseconds
        self.answerMilliseconds = answerMilliseconds
    }

    /// What a client goes on with that was told that it pings too much: twice the silence, up to a
    /// connection's greatest age, however often it is told.
    ///
    /// Source: gRPC proposal A8, "Client-side Keepalive".
    package var halvedPings: KeepaliveTimes {
        let most = max(silenceMilliseconds, Limits.ageMillisecondsMax)
        return KeepaliveTimes(
            silenceMilliseconds: silenceMilliseconds > most / 2 ? most : silenceMilliseconds * 2,
            answerMilliseconds: answerMilliseconds)
    }
}
