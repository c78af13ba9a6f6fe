// What may differ between a server, a test and a simulation: sizes, pacing, where threads and
// random bits come from. Defaults are the server's.

internal import TriageBase
package import TriageCrypto
package import TriageIO

/// Sizes and pacing of a data directory.
package struct StorageOptions: Sendable {
    /// Bytes of a new segment; a multiple of 4096.
    package var segmentBytes = Limits.segmentBytes
    /// Pending bytes above which appends are refused.
    package var bufferBytesMax = Limits.journalBufferBytesMax
    /// Where the helper comes from that prepares the next segment; nil: it is prepared when it is
    /// needed.
    package var workers: (any WorkerSource)? = SystemWorkers()
    /// Pace of zeroing the next segment, so that commits do not stall behind it; nil for none.
    package var preparationBytesPerSecond: Int? = 100_000_000
    /// Bytes of a snapshot block; a multiple of 4096.
    package var snapshotBlockBytes = 256 << 10
    /// Pace of writing a snapshot; nil for none, on an idle server.
    package var snapshotBytesPerSecond: Int? = 100_000_000
    /// Threads that read and decode ahead while a state is recovered; 0: none, one after the other.
    package var recoveryThreads = min(Thread.processorCount, 8)
    /// Bytes of the journal that one of them takes at a time.
    package var recoveryPieceBytes = Self.pieceBytes
    /// Enough bytes that switching costs nothing, few enough that what they become stays in the
    /// processor's cache.
    package static let pieceBytes = 1 << 20
    /// Snapshots kept; the journal is kept from the oldest of them on at least.
    package var snapshotsKept = 2
    /// What becomes of segments before that.
    package var journalRetention = JournalRetention.keep

    /// Makes a source of random bytes for salts, nonces and identifiers.
    package var makeRandom: @Sendable () -> RandomBytes = { RandomBytes() }

    /// The server's options.
    package init() {}

    /// The threads that work ahead while a state is recovered.
    package var helpers: HelperThreads {
        HelperThreads(count: recoveryThreads, source: workers ?? SystemWorkers())
    }
}

/// Spreads writing over time.
struct Pacer {
    private let disk: any Disk
    private let bytesPerSecond: Int?
    private let start: MonotonicTime
    private var bytes = 0

    init(_ disk: any Disk, bytesPerSecond: Int?) {
        self.disk = disk
        self.bytesPerSecond = bytesPerSecond
        start = disk.monotonicTime()
    }

    /// Counts what was written, and waits until the pace allows more.
    mutating func wrote(_ count: Int) {
        guard let bytesPerSecond, bytesPerSecond > 0 else { return }
        bytes += count
        let due = UInt64(Double(bytes) / Double(bytesPerSecond) * 1e9)
        let spent = disk.monotonicTime().nanoseconds(since: start)
        if due > spent { disk.pause(nanoseconds: due - spent) }
    }
}
