// When a snapshot is taken and who waits for it. Knows nothing of how it is written.

internal import TriageBase
internal import TriageCodec

/// One snapshot at a time: by count of records, by time, or because somebody asked.
struct SnapshotSchedule {
    /// A call for a snapshot.
    struct Call {
        let request: EngineRequest
        let key: WriteKey
        let reactor: Int
    }

    /// Sequence of the last snapshot begun.
    private var sequence: UInt64 = 0
    /// Sequence of the last one that was taken.
    private var taken: UInt64 = 0
    private var begunAt = MonotonicTime(nanoseconds: 0)
    private(set) var isRunning = false
    /// Whose snapshot runs.
    private var served: [Call] = []
    /// Who asked since it began: they get the next one.
    private var asking: [Call] = []

    /// Starts counting.
    mutating func begin(sequence: UInt64, now: MonotonicTime) {
        self.sequence = sequence
        taken = sequence
        begunAt = now
    }

    /// Asks for a snapshot; the answer comes when it is durable.
    ///
    /// A repeat of a call whose snapshot runs is answered with that one.
    mutating func ask(_ call: Call) {
        let isRepeat = served.contains {
            $0.key.requestID == call.key.requestID
                && $0.request.principal == call.request.principal
        }
        if isRepeat { served.append(call) } else { asking.append(call) }
    }

    /// When the next one is due by time.
    func due(_ configuration: EngineConfiguration, durable: UInt64) -> MonotonicTime? {
        guard !isRunning, configuration.snapshotMilliseconds > 0, durable > taken else {
            return nil
        }
        return begunAt.advanced(
            byNanoseconds: UInt64(configuration.snapshotMilliseconds) * 1_000_000)
    }

    /// Whether one begins now; if so, it is taken as begun.
    mutating func begins(
        _ configuration: EngineConfiguration, durable: UInt64, now: MonotonicTime
    ) -> Bool {
        guard !isRunning else { return false }
        let byCount =
            configuration.snapshotRecords > 0
            && durable >= sequence + configuration.snapshotRecords
        let byTime = due(configuration, durable: durable).map { $0 <= now } ?? false
        guard byCount || byTime || !asking.isEmpty else { return false }
        sequence = durable
        begunAt = now
        isRunning = true
        served = asking
        asking = []
        return true
    }

    /// Whether a last one is worth taking: something was journaled since the last that was taken,
    /// or is being taken.
    mutating func beginsLast(durable: UInt64) -> Bool {
        guard durable > (isRunning ? sequence : taken) || !asking.isEmpty else { return false }
        sequence = durable
        isRunning = true
        served = asking
        asking = []
        return true
    }

    /// The running one has ended.
    ///
    /// - Parameter taken: The sequence that it stands for; nil: it failed, and is due again when
    ///   the next one would have been.
    /// - Returns: Who asked for it.
    mutating func ended(taken: UInt64?) -> [Call] {
        isRunning = false
        self.taken = max(self.taken, taken ?? 0)
        defer { served = [] }
        return served
    }

    /// No snapshot will begin any more.
    ///
    /// - Returns: Who asked for one that has not begun.
    mutating func fail() -> [Call] {
        defer { asking = [] }
        return asking
    }
}
