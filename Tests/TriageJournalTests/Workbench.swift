// What the journal's tests share: a state that remembers what it was given, and a small data
// directory on a simulated disk whose content is known.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

/// A record as a test wrote it.
struct Written: Equatable {
    var sequence: UInt64
    var milliseconds: Int64
    var body: [UInt8]
    /// nil: erased.
    var sealed: [[UInt8]?] = []
}

extension Written {
    init(sequence: UInt64, milliseconds: Int64, _ parts: RecordParts) {
        self.init(
            sequence: sequence, milliseconds: milliseconds, body: parts.body, sealed: parts.sealed)
    }
}

/// A state that remembers everything it is given, and decodes that by remembering it too.
struct Recorded: RecoveryTarget, RecordDecoder {
    var snapshot: [[UInt8]] = []
    var sections: [UInt16] = []
    var loaded: SnapshotInfo?
    var records: [Written] = []
    var restarts = 0
    var rejects: UInt64?
    /// Whether the decoder rejects it already, and not only the state.
    var rejectsEarly = true

    var makeDecoder: @Sendable () -> Recorded {
        { [rejects, rejectsEarly] in Recorded(rejects: rejects, rejectsEarly: rejectsEarly) }
    }

    mutating func take() -> Recorded {
        defer { self = Recorded(rejects: rejects, rejectsEarly: rejectsEarly) }
        return self
    }

    mutating func take(_ records: Recorded) throws(RejectedRecord) {
        if let index = records.records.firstIndex(where: { $0.sequence == rejects }) {
            throw RejectedRecord("an event that makes no sense", at: index)
        }
        snapshot += records.snapshot
        sections += records.sections
        self.records += records.records
    }

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
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        if sequence == rejects, rejectsEarly {
            throw RecordRejection("an event of an unknown kind")
        }
        var written = Written(
            sequence: sequence, milliseconds: time.milliseconds,
            body: [UInt8](copying: record.body))
        for number in 0..<record.fieldCount {
            written.sealed.append(
                record.isErased(number + 1) ? nil : [UInt8](copying: record.field(number + 1)))
        }
        records.append(written)
    }
}

/// The keys of tests: no secret, the same for ever.
enum TestKeys {
    static func source(byte: UInt8 = 0x42) -> KeySource {
        let bytes = [UInt8](repeating: byte, count: 32)
        return KeySource(current: KeyEncryptionKey(SecretKey(copying: bytes.span)))
    }
}

/// A data directory on a simulated disk, and what was made durable in it.
struct Workbench {
    static let path = "data"
    var disk: SimDisk
    var options = StorageOptions()
    var keys: KeySource?
    var durable: [Written] = []

    init(seed: UInt64 = 1, segmentBytes: Int = 8192, encrypted: Bool = false) {
        disk = SimDisk(seed: seed)
        options.segmentBytes = segmentBytes
        options.workers = nil
        options.recoveryThreads = 0
        options.recoveryPieceBytes = 3_000
        options.preparationBytesPerSecond = nil
        options.snapshotBytesPerSecond = nil
        options.snapshotBlockBytes = 4096
        options.journalRetention = .remove
        keys = encrypted ? TestKeys.source() : nil
    }

    static func file(_ name: String) -> String { path + "/" + name }

    /// Bytes that tell which record they are of; never a run of zeros.
    static func payload(_ sequence: UInt64, count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: sequence &* 31 &+ UInt64($0)) | 1 }
    }

    /// How many bytes of a record of `count` are in which sealed field: none, one or two.
    static func sealedCounts(_ sequence: UInt64, count: Int) -> [Int] {
        switch sequence % 3 {
        case 0: []
        case 1: [count / 2]
        default: [count / 3, count / 4]
        }
    }

    /// A record of `count` bytes that tells which one it is.
    static func parts(_ sequence: UInt64, count: Int) -> RecordParts {
        var parts = RecordParts()
        var rest = payload(sequence, count: count)[...]
        for sealed in sealedCounts(sequence, count: count) {
            _ = parts.seal(Array(rest.suffix(sealed)))
            rest = rest.dropLast(sealed)
        }
        parts.body = Array(rest)
        return parts
    }

    /// Opens the directory; recovers into `state`.
    func open(into state: inout Recorded) throws(JournalError) -> (DataDirectory, RecoveryReport) {
        let data = try DataDirectory(
            opening: Self.path, disk: disk, options: options, keys: keys)
        return (data, try data.recover(into: &state))
    }

    /// Opens the directory and makes the journal, at a time before any record's if not told
    /// otherwise.
    func start(
        time: WallTime = WallTime(milliseconds: 1)
    ) throws(JournalError) -> (DataDirectory, JournalWriter) {
        var state = Recorded()
        let (data, report) = try open(into: &state)
        return (data, try data.makeJournal(after: report, time: time))
    }

    /// The directory from outside.
    func inspection(archive: String? = nil) throws(JournalError) -> Inspection {
        try Inspection(
            path: Self.path, archive: archive, disk: disk, keys: keys,
            pieceBytes: options.recoveryPieceBytes)
    }

    /// Writes batches of records with the given sizes.
    mutating func write(_ batches: [[Int]], to journal: JournalWriter) throws {
        for batch in batches {
            for count in batch {
                let sequence = journal.nextSequence
                let parts = Self.parts(sequence, count: count)
                let time = WallTime(milliseconds: Int64(sequence) * 10)
                try #require(try journal.append(parts, time: time) == sequence)
                durable.append(
                    Written(sequence: sequence, milliseconds: time.milliseconds, parts))
            }
            try journal.commit()
        }
    }

    /// A directory of one segment with these batches, closed without a mark.
    static func with(
        _ batches: [[Int]], segmentBytes: Int = 8192, encrypted: Bool = false
    ) throws -> Workbench {
        var bench = Workbench(segmentBytes: segmentBytes, encrypted: encrypted)
        let (_, journal) = try bench.start()
        try bench.write(batches, to: journal)
        return bench
    }

    /// Bytes of a record in a batch (FORMAT.md §6).
    static func recordBytes(_ sequence: UInt64, _ count: Int) -> Int {
        (16 + count + 20 * sealedCounts(sequence, count: count).count + 7) / 8 * 8
    }

    /// Offsets at which batches of the first segment end.
    static func ends(_ batches: [[Int]], from first: UInt64 = 1) -> [Int] {
        var end = 4096
        var sequence = first
        return batches.map { batch in
            end += 88
            for count in batch {
                end += recordBytes(sequence, count)
                sequence += 1
            }
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
