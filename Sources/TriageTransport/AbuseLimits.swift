// Judges what a peer has done on one connection: floods of frames that are cheap to send and dear
// to answer. Pure: counters and time are handed in. Knows nothing of streams' contents.

import TriageBase
import TriageHTTP2

/// Which bound a peer has broken; each is a counter in the metrics.
package enum LimitKind: UInt8, CaseIterable, Sendable {
    case connections
    case unidentifiedConnections
    case connectionsPerIdentity
    case resets
    case provokedResets
    case pings
    case settings
    case emptyFrames
    case priorities
    case windowUpdates
    case headerBytes
    case handshakeTime
    case prefaceTime
    case headerBlockTime
    case idleTime
    case outputBytes
    case stalledStream
    case stalledSocket
    case messageBytes
    case messageBytesInFlight
    case longLivedStreams
    case newCallsPerTurn
    case unaryTime
    case drainTime

    /// The metric label.
    package var label: String {
        switch self {
        case .connections: "connections"
        case .unidentifiedConnections: "unidentified_connections"
        case .connectionsPerIdentity: "connections_per_identity"
        case .resets: "resets"
        case .provokedResets: "provoked_resets"
        case .pings: "pings"
        case .settings: "settings"
        case .emptyFrames: "empty_frames"
        case .priorities: "priorities"
        case .windowUpdates: "window_updates"
        case .headerBytes: "header_bytes"
        case .handshakeTime: "handshake_time"
        case .prefaceTime: "preface_time"
        case .headerBlockTime: "header_block_time"
        case .idleTime: "idle_time"
        case .outputBytes: "output_bytes"
        case .stalledStream: "stalled_stream"
        case .stalledSocket: "stalled_socket"
        case .messageBytes: "message_bytes"
        case .messageBytesInFlight: "message_bytes_in_flight"
        case .longLivedStreams: "long_lived_streams"
        case .newCallsPerTurn: "new_calls_per_turn"
        case .unaryTime: "unary_time"
        case .drainTime: "drain_time"
        }
    }
}

/// So many at once, so many a second.
struct TokenBucket {
    private let burst: Double
    private let perSecond: Double
    private var tokens: Double
    private var filledAt: MonotonicTime

    init(burst: Int, perSecond: Double, now: MonotonicTime) {
        self.burst = Double(burst)
        self.perSecond = perSecond
        tokens = Double(burst)
        filledAt = now
    }

    /// Takes `count` tokens; false when there are not enough.
    mutating func take(_ count: Int, now: MonotonicTime) -> Bool {
        let elapsed = Double(now.nanoseconds(since: filledAt)) / 1e9
        filledAt = now
        tokens = min(burst, tokens + elapsed * perSecond) - Double(count)
        return tokens >= 0
    }

    /// Puts tokens back, up to the burst.
    mutating func give(_ count: Int) { tokens = min(burst, tokens + Double(count)) }
}

/// The flood limits of one connection.
///
/// Source: shared design `wire.md` "Attacks"; the formulas for PRIORITY and WINDOW_UPDATE are
/// Envoy's.
struct AbuseLimits {
    private var seen = HTTP2Counters()
    private var resets: TokenBucket
    private var provoked: TokenBucket
    private var pings: TokenBucket
    private var settings: TokenBucket

    /// Most DATA frames in a row without content.
    static let emptyFramesMax = 10

    init(now: MonotonicTime) {
        resets = TokenBucket(
            burst: Limits.resetBurst, perSecond: Double(Limits.resetsPerSecond), now: now)
        let provokedMax = Limits.provokedResetsPerMinute
        provoked = TokenBucket(burst: provokedMax, perSecond: Double(provokedMax) / 60, now: now)
        pings = TokenBucket(burst: 10, perSecond: 0.1, now: now)
        settings = TokenBucket(burst: 100, perSecond: 100.0 / 60, now: now)
    }

    /// Compares what the peer has done with what it may.
    ///
    /// Pings are forgiven by DATA frames sent since: clients measure the path with one for each
    /// burst of data, as gRPC's own servers allow.
    ///
    /// - Returns: The first limit that is broken, or nil.
    mutating func judge(_ now: HTTP2Counters, at time: MonotonicTime) -> LimitKind? {
        let before = seen
        seen = now
        if now.resets != before.resets, !resets.take(now.resets - before.resets, now: time) {
            return .resets
        }
        let provokedCount =
            now.resetsProvoked + now.invalidFrames + now.oversizeHeaders
            - (before.resetsProvoked + before.invalidFrames + before.oversizeHeaders)
        if provokedCount > 0, !provoked.take(provokedCount, now: time) { return .provokedResets }
        if now.pings != before.pings {
            pings.give(now.dataFramesSent - before.dataFramesSent)
            if !pings.take(now.pings - before.pings, now: time) { return .pings }
        } else if now.dataFramesSent != before.dataFramesSent {
            pings.give(now.dataFramesSent - before.dataFramesSent)
        }
        if now.settings != before.settings,
            !settings.take(now.settings - before.settings, now: time)
        {
            return .settings
        }
        if now.emptyDataFramesInARow > Self.emptyFramesMax { return .emptyFrames }
        if now.priorities > 100 * (1 + now.streamsOpened) { return .priorities }
        if now.windowUpdates > 5 + 2 * (now.streamsOpened + 10 * now.dataFramesSent) {
            return .windowUpdates
        }
        return nil
    }
}
