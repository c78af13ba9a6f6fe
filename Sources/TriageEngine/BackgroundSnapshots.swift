// Writes snapshots by a worker of their own, from a copy of the state that costs the engine a few
// retains, takes erased words out of the journal that a new one stands for, and tidies away what it
// makes superfluous.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageIO
internal import TriageJournal

/// Snapshots into a data directory.
final class BackgroundSnapshots: SnapshotTaker {
    private let directory: DataDirectory
    private let clock: any TimeSource
    private let worker: any Worker
    private let forgetter = WordForgetter()
    /// Counts what the worker was given: for what waits, words are forgotten later.
    private let given = Monitor(0)

    init(
        _ directory: DataDirectory, _ clock: any TimeSource, _ workers: any WorkerSource
    ) throws(IOError) {
        self.directory = directory
        self.clock = clock
        worker = try workers.makeWorker(name: "snapshot", urgency: .background)
    }

    func take(
        _ state: WorldState, at tree: MerkleTree, time: WallTime, isPaced: Bool,
        report: @escaping @Sendable (SnapshotResult) -> Void
    ) {
        let mine = next()
        worker.submit { [directory, clock, forgetter, given] in
            do throws(JournalError) {
                report(.taken(try Self.write(state, tree, time, isPaced, directory, clock)))
            } catch {
                return report(.failed(error))
            }
            // Before segments are moved to an archive, which is out of reach. An end does not wait.
            if isPaced {
                let (forgotten, failure) = forgetter.run(state, directory) {
                    given.change { $0 == mine }
                }
                report(.forgotten(forgotten))
                if let failure { report(.forgetFailed(failure)) }
            }
            do throws(JournalError) {
                report(.tidied(try directory.tidy(time: clock.wallTime())))
            } catch {
                report(.tidyFailed(error))
            }
        }
    }

    /// Lets the worker do something else, after what was begun: nothing is tidied away meanwhile.
    func run(_ body: @escaping @Sendable () -> Void) {
        _ = next()
        worker.submit(body)
    }

    /// Ends the worker, once what was begun is written.
    func stop() {
        _ = next()
        worker.stop()
    }

    /// Something waits for the worker.
    private func next() -> Int {
        given.change { given in
            given += 1
            return given
        }
    }

    private static func write(
        _ state: WorldState, _ tree: MerkleTree, _ time: WallTime, _ isPaced: Bool,
        _ directory: DataDirectory, _ clock: any TimeSource
    ) throws(JournalError) -> SnapshotReceipt {
        let started = clock.monotonicTime()
        var info = directory.snapshot(at: tree)
        if info == nil {
            let writer = try directory.makeSnapshot(
                at: tree, time: time, bytesPerSecond: isPaced ? nil : .max)
            do {
                try SnapshotCodec.encode(state) { (section, record) throws(JournalError) in
                    try writer.append(section: section, record)
                }
                info = try writer.finish()
            } catch {
                writer.abandon()
                throw error
            }
        }
        guard let info else { preconditionFailure("it was there, or was written") }
        let nanoseconds = clock.monotonicTime().nanoseconds(since: started)
        return SnapshotReceipt(
            sequence: info.head.sequence, recordCount: info.records, bytes: info.bytes,
            durationMilliseconds: Int64(nanoseconds / 1_000_000), time: info.time)
    }
}
