// Judges what a peer has done on one connection: floods of frames that are cheap to send and dear
// to answer. Pure: counters and time are handed in. Knows nothing of streams' contents.

import TriageBase
import TriageHTTP2

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

    init(now: MonotonicTime) {
        resets = TokenBucket(
            burst: Limits.resetBurst, perSecond: Double(Limits.resetsPerSecond), now: now)
        let provokedMax = Limits.provokedResetsPerMinute
        provoked = TokenBucket(burst: provokedMax, perSecond: Double(provokedMax) / 60, now: now)
        pings = TokenBucket(
            burst: Limits.pingBurst, perSecond: 1_000 / Double(Limits.pingMillisecondsEach),
            now: now)
        let settingsMax = Limits.settingsPerMinute
        settings = TokenBucket(burst: settingsMax, perSecond: Double(settingsMax) / 60, now: now)
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
            now.resetsProvoked + now.oversizeHeaders
            - (before.resetsProvoked + before.oversizeHeaders)
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
        if now.settingsEntriesExceeded > 0 { return .settingsEntries }
        if now.emptyDataFramesLongestRow > Limits.emptyFramesMax { return .emptyFrames }
        if now.priorities > Limits.prioritiesPerStream * (1 + now.streamsOpened) {
            return .priorities
        }
        let windowUpdatesMax =
            Limits.windowUpdatesFree + Limits.windowUpdatesPerStream * now.streamsOpened
            + Limits.windowUpdatesPerDataFrame * now.dataFramesSent
        if now.windowUpdates > windowUpdatesMax { return .windowUpdates }
        return nil
    }

    /// Counts the limits that the session enforces by itself; called before ``judge(_:at:)``.
    @inline(__always)
    func countExcesses(_ now: HTTP2Counters, in metrics: inout ServerMetrics) {
        guard now.excesses != seen.excesses else { return }
        metrics.count(.headerBytes, now.headerBytesExceeded - seen.headerBytesExceeded)
        metrics.count(.headerFields, now.headerFieldsExceeded - seen.headerFieldsExceeded)
        metrics.count(.concurrentStreams, now.streamsRefused - seen.streamsRefused)
    }
}
