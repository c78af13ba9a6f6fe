// The World as it is rebuilt from a snapshot's records and the journal's: the other end of what the
// engine and the snapshot writer put on disk.

package import TriageBase
internal import TriageCodec
package import TriageDomain
package import TriageJournal

/// A World that recovery fills.
package struct RecoveredWorld: RecoveryTarget, ~Copyable {
    /// Takes a snapshot's records.
    ///
    /// Both states are changed in place: moving one for each record would cost as much as decoding
    /// it.
    private var builder = WorldBuilder()
    /// Takes the journal's, once the snapshot's have made it.
    private var world = World()
    private var isReplaying = false
    /// Records behind this one never became durable for sure, and are left out.
    private let last: UInt64
    private let events = EventCodec()
    private var snapshot = SnapshotDecoder()

    /// Starts empty.
    ///
    /// - Parameter last: Records behind this one are left out.
    package init(upTo last: UInt64 = .max) { self.last = last }

    package mutating func restart() {
        builder = WorldBuilder()
        snapshot = SnapshotDecoder()
        isReplaying = false
    }

    package mutating func snapshotRecord(
        section: UInt16, _ record: Span<UInt8>
    ) throws(RecordRejection) {
        guard !isReplaying else { throw RecordRejection("a snapshot's record after the journal's") }
        do { try snapshot.decode(section: section, record, into: &builder) } catch {
            throw RecordRejection("\(error)")
        }
    }

    package mutating func snapshotLoaded(_ info: SnapshotInfo) throws(RecordRejection) {
        do { try snapshot.finish() } catch { throw RecordRejection("\(error)") }
        try beginReplay()
        guard world.snapshotState.counters.sequence == info.head.sequence else {
            throw RecordRejection("its state is that of another record than it says")
        }
    }

    private mutating func beginReplay() throws(RecordRejection) {
        guard !isReplaying else { return }
        isReplaying = true
        var filled = WorldBuilder()
        swap(&filled, &builder)
        do { world = try filled.finish() } catch { throw RecordRejection(error.description) }
    }

    package mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        if sequence > last { return }
        try beginReplay()
        do {
            let (header, decoded) = try events.decode(record, sequence: sequence, time: time)
            world.apply(decoded, header)
        } catch {
            throw RecordRejection("\(error)")
        }
    }

    /// The World, once recovery has ended.
    package consuming func takeWorld() throws(RecordRejection) -> World {
        try beginReplay()
        return world
    }

    /// Reads the durable state of an open directory again.
    ///
    /// - Returns: nil when it cannot be read.
    static func read(_ directory: DataDirectory, upTo last: UInt64) -> World? {
        var target = RecoveredWorld(upTo: last)
        do {
            let report = try directory.recover(into: &target)
            guard report.head.sequence >= last else { return nil }
            return try target.takeWorld()
        } catch {
            return nil
        }
    }
}
