// How the engine is, as numbers: for GetStatus, for metrics and for the health answer. Published by
// the engine's thread, read by any other; holds no personal data.

package import TriageBase
package import TriageCodec
package import TriageDomain
package import TriageJournal

/// What the engine does.
package enum EngineState: Sendable {
    /// It takes writes.
    case serving
    /// The journal failed: durable state can be read, nothing can be written.
    case journalFailed
    /// It has been told to stop.
    case stopping
}

/// How the engine is.
package struct EngineStatus: Sendable {
    /// What it does.
    package var state = EngineState.serving
    /// When it was opened.
    package var startTime: WallTime
    /// The last journal sequence that is on disk.
    package var durableSequence: UInt64 = 0
    /// What the World holds.
    package var counts: WorldCounts
    /// The newest snapshot; nil when there is none.
    package var snapshot: SnapshotReceipt?
    /// Files of the data directory, as of the last snapshot or, before one, of the start.
    package var holdings = Holdings()
    /// Reports and evidence whose erased words the journal may still have, as of the last snapshot.
    package var wordsToForget = 0
    /// What the last recovery found and repaired.
    package var recovery: RecoverySummary
    /// How what is on disk is encrypted; nil without.
    package var encryption: EncryptionReport?
    /// The vault; nil without encryption.
    package var vault: VaultStatus?
    /// How far heads are signed; nil without encryption.
    package var signing: SigningStatus?
    /// What failed beside the commits.
    package var housekeeping = HousekeepingStatus()
    /// Watches that are open.
    package var watchCount = 0
    /// Claims that wait for a case.
    package var waitingClaimCount = 0
    /// How far the engine's clock is ahead of the time of day, which was set back.
    package var clockAheadMilliseconds: Int64 = 0
    /// Counters since the start.
    package var counters = EngineCounters()

    /// The status of an engine that was just opened.
    package init(startTime: WallTime, counts: WorldCounts, recovery: RecoverySummary) {
        self.startTime = startTime
        self.counts = counts
        self.recovery = recovery
    }
}

/// What recovery found.
package struct RecoverySummary: Sendable {
    /// How long it took.
    package var milliseconds: Int64
    /// Records replayed behind the snapshot.
    package var recordsReplayed: UInt64
    /// What was repaired, for an operator; empty when nothing was.
    package var report: String

    /// Groups the findings.
    package init(milliseconds: Int64, recordsReplayed: UInt64, report: String) {
        self.milliseconds = milliseconds
        self.recordsReplayed = recordsReplayed
        self.report = report
    }
}

/// Counters of the engine since its start.
package struct EngineCounters: Sendable {
    /// Turns that had something to do.
    package var turns: UInt64 = 0
    /// Requests handled.
    package var requests: UInt64 = 0
    /// Of which too late: their calls' deadlines had passed.
    package var expired: UInt64 = 0
    /// Records appended.
    package var records: UInt64 = 0
    /// Journal commits.
    package var commits: UInt64 = 0
    /// Nanoseconds a commit takes.
    package var commitNanoseconds = Distribution()
    /// Records a commit makes durable.
    package var commitRecords = Distribution()
    /// Writes refused because the disk had no room for the next segment.
    package var storageFull: UInt64 = 0
    /// Snapshots that failed.
    package var snapshotFailures: UInt64 = 0
    /// Segments that were removed or moved to the archive.
    package var segmentsRetired: UInt64 = 0
    /// Segments that were written anew because words in them were erased.
    package var segmentsRewritten: UInt64 = 0
    /// Records whose erased words were taken out of the journal.
    package var recordsForgotten: UInt64 = 0
    /// Times that erased words could not be taken out of the journal.
    package var forgetFailures: UInt64 = 0
    /// Watches ended because they did not keep up.
    package var watchesTooSlow: UInt64 = 0
    /// Times that a board watch was overrun before it had caught up, and swept.
    package var watchSweeps: UInt64 = 0
    /// Times that superfluous files could not be removed or moved.
    package var tidyFailures: UInt64 = 0
    /// Commands that the rules refused, by ``DomainError/Kind``.
    package var refusals = [UInt64](repeating: 0, count: DomainError.Kind.allCases.count)
}

/// Counts of a quantity by powers of two, with its sum: what a Prometheus histogram is made from.
package struct Distribution: Sendable {
    /// Element n counts values below 2^n and not below 2^(n-1); element 0 counts zeros.
    package private(set) var buckets = [UInt64](repeating: 0, count: 48)
    /// Sum of all values.
    package private(set) var sum: UInt64 = 0
    /// How many values.
    package private(set) var count: UInt64 = 0

    /// Counts a value.
    mutating func record(_ value: UInt64) {
        buckets[min(64 - value.leadingZeroBitCount, buckets.count - 1)] += 1
        sum &+= value
        count += 1
    }
}
