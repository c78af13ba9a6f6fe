// Writes snapshots on a thread of their own, from a copy of the state that costs the engine a few
// retains, and tidies away what a new one makes superfluous.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageIO
internal import TriageJournal

/// Snapshots into a data directory.
final class BackgroundSnapshots: SnapshotTaker {
    private let directory: DataDirectory
    private let clock: any TimeSource
    private let thread: TaskThread

    init(_ directory: DataDirectory, _ clock: any TimeSource) throws(IOError) {
        self.directory = directory
        self.clock = clock
        thread = try TaskThread(name: "snapshot", urgency: .background)
    }

    func take(
        _ state: WorldState, at tree: MerkleTree, time: WallTime,
        report: @escaping @Sendable (SnapshotResult) -> Void
    ) {
        thread.submit { [directory, clock] in
            do throws(JournalError) {
                report(.taken(try Self.write(state, tree, time, directory, clock)))
            } catch {
                return report(.failed(error))
            }
            do throws(JournalError) { report(.tidied(try directory.tidy())) } catch {
                report(.tidyFailed(error))
            }
        }
    }

    /// Does something else on the thread, after what was begun: nothing is tidied away meanwhile.
    func run(_ body: @escaping @Sendable () -> Void) { thread.submit(body) }

    /// Ends the thread, once what was begun is written.
    func stop() { thread.stop() }

    private static func write(
        _ state: WorldState, _ tree: MerkleTree, _ time: WallTime, _ directory: DataDirectory,
        _ clock: any TimeSource
    ) throws(JournalError) -> SnapshotReceipt {
        let started = clock.monotonicTime()
        let writer = try directory.makeSnapshot(at: tree, time: time)
        do {
            try SnapshotCodec.encode(state) { (section, record) throws(JournalError) in
                try writer.append(section: section, record)
            }
            let info = try writer.finish()
            let nanoseconds = clock.monotonicTime().nanoseconds(since: started)
            return SnapshotReceipt(
                sequence: info.head.sequence, recordCount: info.records, bytes: info.bytes,
                durationMilliseconds: Int64(nanoseconds / 1_000_000), time: info.time)
        } catch {
            writer.abandon()
            throw error
        }
    }
}
