// What an operator or a test may set about the engine. Defaults are the server's.

internal import TriageBase

/// Settings of the engine.
package struct EngineConfiguration: Sendable {
    /// Records since the last snapshot after which the next one is taken; 0: never for that reason.
    package var snapshotRecords: UInt64 = 2_000_000
    /// Milliseconds since the last snapshot after which the next one is taken, if anything was
    /// journaled since; 0: never for that reason.
    package var snapshotMilliseconds: Int64 = 3_600_000
    /// Whether ``Engine/stop()`` takes a snapshot, so that the next start has nothing to replay.
    package var snapshotAtStop = true
    /// Journal bytes after which a turn commits although more requests wait: bounds latency.
    package var turnBytesMax = 4 << 20
    /// Journal bytes that may wait in the inbox; above it writes are refused.
    package var inboxBytesMax = Limits.journalBufferBytesMax
    /// Changes that are kept for watches that resume or lag.
    package var ringCount = Limits.boardRingCount
    /// Changes in one part of a watch.
    ///
    /// With ``watchCredits`` it bounds what a watch that nobody reads may hold: about 200 KiB.
    package var watchPartMax = 64
    /// Bytes that may be kept for the board watches of one identity.
    package var watchBytesPerIdentityMax = Limits.watchBytesPerIdentityMax
    /// Parts that a watch may have on their way before its reactor gives credit again.
    package var watchCredits = 8
    /// Milliseconds between two writings of the journal's mark.
    package var markMilliseconds: Int64 = 5_000
    /// Milliseconds after a record within which a head that covers it is signed.
    package var headMilliseconds: Int64 = 300_000
    /// Unpredictable bits, for identifiers.
    package var unguessableBits: @Sendable () -> UInt64 = {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    /// The server's settings.
    package init() {}
}
