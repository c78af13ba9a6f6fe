// The World as it is rebuilt from a snapshot's records and the journal's: the other end of what the
// engine and the snapshot writer put on disk.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageJournal

/// A World that recovery fills.
struct RecoveredWorld: RecoveryTarget, ~Copyable {
    private enum Phase: ~Copyable {
        /// Taking a snapshot's records.
        case building(WorldBuilder)
        /// Applying the journal's.
        case replaying(World)
    }

    private var phase: Phase? = .building(WorldBuilder())
    /// Records behind this one never became durable for sure, and are left out.
    private let last: UInt64
    private let events = EventCodec()
    private var snapshot = SnapshotDecoder()

    init(upTo last: UInt64 = .max) { self.last = last }

    mutating func restart() {
        phase = .building(WorldBuilder())
        snapshot = SnapshotDecoder()
    }

    mutating func snapshotRecord(
        section: UInt16, _ record: Span<UInt8>
    ) throws(RecordRejection) {
        guard case .building(var builder) = phase.take() else {
            throw RecordRejection("a snapshot's record after the journal's")
        }
        do { try snapshot.decode(section: section, record, into: &builder) } catch {
            throw RecordRejection("\(error)")
        }
        phase = .building(builder)
    }

    mutating func snapshotLoaded(_ info: SnapshotInfo) throws(RecordRejection) {
        do { try snapshot.finish() } catch { throw RecordRejection("\(error)") }
        try beginReplay()
        guard case .replaying(let world) = phase.take() else { return }
        let sequence = world.snapshotState.counters.sequence
        phase = .replaying(world)
        guard sequence == info.head.sequence else {
            throw RecordRejection("its state is that of another record than it says")
        }
    }

    private mutating func beginReplay() throws(RecordRejection) {
        switch phase.take() {
        case .building(let builder):
            do { phase = .replaying(try builder.finish()) } catch {
                throw RecordRejection(error.description)
            }
        case .replaying(let world): phase = .replaying(world)
        case nil: preconditionFailure("recovery goes on after its end")
        }
    }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ payload: Span<UInt8>
    ) throws(RecordRejection) {
        if sequence > last { return }
        try beginReplay()
        guard case .replaying(var world) = phase.take() else { return }
        do {
            let (header, decoded) = try events.decode(payload, sequence: sequence, time: time)
            world.apply(decoded, header)
        } catch {
            throw RecordRejection("\(error)")
        }
        phase = .replaying(world)
    }

    /// The World, once recovery has ended.
    consuming func takeWorld() throws(RecordRejection) -> World {
        switch consume phase {
        case .building(let builder):
            do { return try builder.finish() } catch { throw RecordRejection(error.description) }
        case .replaying(let world): return world
        case nil: preconditionFailure("the World was taken before")
        }
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
