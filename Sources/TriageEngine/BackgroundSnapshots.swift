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
    private let progress = Monitor(Progress())

    /// What has happened since a snapshot was begun.
    private struct Progress {
        /// Counts what the worker was given: for what waits, words are forgotten later.
        var given = 0
        /// Whether the last snapshot was given, or none comes any more.
        var isEnding = false
        /// The newest record that erased words.
        var erasedBy: UInt64 = 0
    }

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
        let mine = next(isLast: !isPaced)
        worker.submit { [directory, clock, forgetter, progress] in
            do throws(JournalError) {
                report(.taken(try Self.write(state, tree, time, isPaced, directory, clock)))
            } catch {
                return report(.failed(error))
            }
            // Before segments are moved to an archive, which is out of reach. An end does not wait.
            if isPaced {
                let (forgotten, failure) = forgetter.run(state, directory) {
                    progress.change { $0.given == mine }
                }
                report(.forgotten(forgotten))
                if let failure { report(.forgetFailed(failure)) }
            }
            do throws(JournalError) {
                let tidied = try directory.tidy(time: clock.wallTime()) { first in
                    forgetter.isFree(first)
                        && progress.change { !$0.isEnding && $0.erasedBy <= tree.size }
                }
                report(.tidied(tidied))
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

    func wordsErased(by sequence: UInt64) {
        progress.change { $0.erasedBy = sequence }
    }

    /// Ends the worker, once what was begun is written.
    func stop() {
        _ = next(isLast: true)
        worker.stop()
    }

    /// Something waits for the worker.
    private func next(isLast: Bool = false) -> Int {
        progress.change { progress in
            progress.given += 1
            if isLast { progress.isEnding = true }
            return progress.given
        }
    }

    private static func write(
        _ state: WorldState, _ tree: MerkleTree, _ time: WallTime, _ isPaced: Bool,
        _ directory: DataDirectory, _ clock: any TimeSource
    ) throws(JournalError) -> SnapshotReceipt {
        let started = clock.monotonicTime()
        let info: SnapshotInfo
        if let there = try directory.settledSnapshot(at: tree) {
            info = there
        } else {
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
        let nanoseconds = clock.monotonicTime().nanoseconds(since: started)
        return SnapshotReceipt(
            sequence: info.head.sequence, recordCount: info.records, bytes: info.bytes,
            durationMilliseconds: Int64(nanoseconds / 1_000_000), time: info.time)
    }
}
