// What the journal's tests share: a state that remembers what it was given, and a small data
// directory on a simulated disk whose content is known.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

/// A record as a test wrote it.
struct Written: Equatable {
    var sequence: UInt64
    var milliseconds: Int64
    var payload: [UInt8]
}

/// A state that remembers everything it is given.
struct Recorded: RecoveryTarget {
    var snapshot: [[UInt8]] = []
    var sections: [UInt16] = []
    var loaded: SnapshotInfo?
    var records: [Written] = []
    var restarts = 0
    var rejects: UInt64?

    mutating func restart() {
        snapshot = []
        sections = []
        restarts += 1
    }

    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) { loaded = snapshot }

    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {
        sections.append(section)
        snapshot.append([UInt8](copying: record))
    }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ payload: Span<UInt8>
    ) throws(RecordRejection) {
        if sequence == rejects { throw RecordRejection("an event of an unknown kind") }
        records.append(
            Written(
                sequence: sequence, milliseconds: time.milliseconds,
                payload: [UInt8](copying: payload)))
    }
}

/// A data directory on a simulated disk, and what was made durable in it.
struct Workbench {
    static let path = "data"
    var disk: SimDisk
    var options = StorageOptions()
    var durable: [Written] = []

    init(seed: UInt64 = 1, segmentBytes: Int = 8192) {
        disk = SimDisk(seed: seed)
        options.segmentBytes = segmentBytes
        options.workers = nil
        options.preparationBytesPerSecond = nil
        options.snapshotBytesPerSecond = nil
        options.snapshotBlockBytes = 4096
        options.journalRetention = .remove
    }

    static func file(_ name: String) -> String { path + "/" + name }

    /// A payload that tells which record it is of; never a run of zeros.
    static func payload(_ sequence: UInt64, count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: sequence &* 31 &+ UInt64($0)) | 1 }
    }

    /// Opens the directory; recovers into `state`.
    func open(into state: inout Recorded) throws(JournalError) -> (DataDirectory, RecoveryReport) {
        let data = try DataDirectory(opening: Self.path, disk: disk, options: options)
        return (data, try data.recover(into: &state))
    }

    /// Opens the directory and makes the journal.
    func start() throws(JournalError) -> (DataDirectory, JournalWriter) {
        var state = Recorded()
        let (data, report) = try open(into: &state)
        return (data, try data.makeJournal(after: report, time: WallTime(milliseconds: 1)))
    }

    /// Writes batches of records with the given payload sizes.
    mutating func write(_ batches: [[Int]], to journal: JournalWriter) throws {
        for batch in batches {
            for count in batch {
                let sequence = journal.nextSequence
                let payload = Self.payload(sequence, count: count)
                let time = WallTime(milliseconds: Int64(sequence) * 10)
                try #require(try journal.append(payload.span, time: time) == sequence)
                durable.append(
                    Written(
                        sequence: sequence, milliseconds: time.milliseconds, payload: payload))
            }
            try journal.commit()
        }
    }

    /// A directory of one segment with these batches, closed without a mark.
    static func with(_ batches: [[Int]], segmentBytes: Int = 8192) throws -> Workbench {
        var bench = Workbench(segmentBytes: segmentBytes)
        let (_, journal) = try bench.start()
        try bench.write(batches, to: journal)
        return bench
    }

    /// Bytes of a batch of records with these payload sizes (FORMAT.md §4).
    static func batchBytes(_ payloads: [Int]) -> Int {
        56 + payloads.reduce(0) { $0 + (24 + $1 + 7) / 8 * 8 }
    }

    /// Offsets at which batches end in a segment.
    static func ends(_ batches: [[Int]]) -> [Int] {
        var end = 4096
        return batches.map {
            end += batchBytes($0)
            return end
        }
    }

    /// Recovers a copy of the disk on which `change` was done to a file.
    func recovering(
        _ file: String, _ change: (inout [UInt8]) -> Void
    ) throws -> Result<(state: Recorded, report: RecoveryReport), JournalError> {
        var copy = self
        copy.disk = disk.copy()
        var bytes = try #require(copy.disk.bytes(of: Self.file(file)))
        change(&bytes)
        copy.disk.replace(Self.file(file), with: bytes)
        let before = copy.disk.changes
        var state = Recorded()
        do {
            let (_, report) = try copy.open(into: &state)
            #expect(copy.disk.changes == before, "recovery changed the directory")
            return .success((state, report))
        } catch {
            #expect(copy.disk.changes == before, "a refused directory was changed")
            return .failure(error)
        }
    }
}

let segment1 = "00000000000000000001.journal"

/// Makes the checksum of a header block right again (FORMAT.md §3).
func sealHeader(_ bytes: inout [UInt8], at start: Int) {
    let covered = Array(bytes[start..<start + 12] + bytes[start + 16..<start + 4096])
    let crc = crc32c(covered.span)
    for index in 0..<4 {
        bytes[start + 12 + index] = UInt8(truncatingIfNeeded: crc >> (8 * UInt32(index)))
    }
}
