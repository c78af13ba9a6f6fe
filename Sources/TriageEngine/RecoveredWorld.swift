// The World as it is rebuilt from a snapshot's records and the journal's: the other end of what the
// engine and the snapshot writer put on disk.

package import TriageBase
internal import TriageCodec
package import TriageDomain
internal import TriageIO
package import TriageJournal

/// Decodes the records of a snapshot and of a journal ahead of their turn.
package struct WorldDecoder: RecordDecoder {
    /// What they were decoded to.
    package struct Records: Sendable {
        /// A snapshot's.
        fileprivate var snapshot = SnapshotItems()
        /// Of the journal's records, each with how many of `events` are behind it.
        fileprivate var headers: [(header: EventHeader, end: Int)] = []
        fileprivate var events: [Event] = []
    }

    private let codec = EventCodec()
    private let snapshot = SnapshotDecoder()
    /// Records behind this one are left out.
    private let last: UInt64
    private var records = Records()

    fileprivate init(upTo last: UInt64) { self.last = last }

    package mutating func snapshotRecord(
        section: UInt16, _ record: Span<UInt8>
    ) throws(RecordRejection) {
        do {
            try snapshot.decode(section: section, record, into: &records.snapshot)
        } catch { throw RecordRejection("\(error)") }
    }

    package mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        if sequence > last { return }
        do {
            let header = try codec.decode(
                record, sequence: sequence, time: time, into: &records.events)
            records.headers.append((header, records.events.count))
        } catch { throw RecordRejection("\(error)") }
    }

    package mutating func take() -> Records {
        var taken = Records()
        records.snapshot.close()
        swap(&taken, &records)
        codec.forgetPrincipals()
        return taken
    }
}

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
    private var assembler = SnapshotAssembler()

    /// Run pieces of the work at the end.
    private let helpers: HelperThreads

    /// Starts empty.
    ///
    /// - Parameters:
    ///   - last: Records behind this one are left out.
    ///   - helpers: Make the indexes at the end.
    package init(upTo last: UInt64 = .max, helpers: HelperThreads = .none) {
        self.last = last
        self.helpers = helpers
    }

    package var makeDecoder: @Sendable () -> WorldDecoder {
        { [last] in WorldDecoder(upTo: last) }
    }

    package mutating func restart() {
        builder = WorldBuilder()
        assembler = SnapshotAssembler()
        isReplaying = false
    }

    package mutating func take(_ records: WorldDecoder.Records) throws(RejectedRecord) {
        guard records.snapshot.items.isEmpty || !isReplaying else {
            throw RejectedRecord("a snapshot's record after the journal's", at: 0)
        }
        for (item, record) in records.snapshot.items {
            do { try assembler.add(item, to: &builder) } catch {
                throw RejectedRecord("\(error)", at: record)
            }
        }
        if records.headers.isEmpty { return }
        do { try beginReplay() } catch { throw RejectedRecord(error.what, at: 0) }
        var start = 0
        for (header, end) in records.headers {
            world.apply(records.events[start..<end], header)
            start = end
        }
    }

    package mutating func snapshotLoaded(_ info: SnapshotInfo) throws(RecordRejection) {
        do { try assembler.finish() } catch { throw RecordRejection("\(error)") }
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
        do { world = try filled.beginReplay() } catch { throw RecordRejection(error.description) }
    }

    /// The World, once recovery has ended.
    package consuming func takeWorld() throws(RecordRejection) -> World {
        try beginReplay()
        world.finishReplay { helpers.run($0) }
        return world
    }

    /// How often the durable state is tried to be read back, and how long between.
    private static let reads = 5
    private static let pauseNanoseconds: UInt64 = 1_000_000_000

    /// Reads the durable state of an open directory again; more than once, if it must be.
    ///
    /// - Parameters:
    ///   - directory: Where it is.
    ///   - last: Its last record.
    ///   - failed: Called each time that it could not be read.
    /// - Returns: nil when it cannot be read.
    static func read(
        _ directory: DataDirectory, upTo last: UInt64, failed: (JournalError) -> Void
    ) -> World? {
        for number in 1...reads {
            do throws(JournalError) { return try read(directory, upTo: last) } catch {
                failed(error)
            }
            if number < reads { directory.disk.pause(nanoseconds: pauseNanoseconds) }
        }
        return nil
    }

    private static func read(
        _ directory: DataDirectory, upTo last: UInt64
    ) throws(JournalError) -> World {
        var target = RecoveredWorld(upTo: last, helpers: directory.helpers)
        let report = try directory.recover(into: &target)
        guard report.head.sequence >= last else {
            throw .gap(file: directory.path, missing: report.head.sequence + 1)
        }
        do { return try target.takeWorld() } catch {
            throw .rejected(file: directory.path, offset: 0, what: error.what)
        }
    }
}
