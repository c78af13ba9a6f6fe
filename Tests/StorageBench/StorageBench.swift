// Measures journal and snapshot files beside the raw disk, in the same run on the same disk, and
// prints one JSON object a line: name, the values of its repeats, unit, and what is asked for.
// Deploy/bench storage judges them, and measures the same under a server.

import Glibc
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

/// The measurements, in order.
struct StorageBench {
    let directory: String
    /// A key of random bytes, for a run with encryption.
    let keys: KeySource?
    /// Small counts and one repeat: shows that it runs.
    let isShort: Bool
    let record: RecordParts
    let clock = SystemClock()
    let disk = RealDisk()
    /// About what the body and the content of a report with a short description have.
    static let bodyBytes = 100
    static let sealedBytes = 200
    /// What such a record takes in a batch.
    static let recordBytes = 336
    /// What a case and its entry in the ledger take in a snapshot, on average.
    static let storedBytes = 200

    /// Records, or cases, of the parts that have many.
    var many: Int { isShort ? 20_000 : 1_000_000 }
    var repeats: Int { isShort ? 1 : 3 }

    init(directory: String, encrypted: Bool, short: Bool) {
        self.directory = directory
        isShort = short
        var random = RandomBytes()
        keys =
            encrypted
            ? KeySource(current: KeyEncryptionKey(SecretKey(random: &random))) : nil
        var record = RecordParts()
        record.body = [UInt8](repeating: 0x5A, count: Self.bodyBytes)
        _ = record.seal([UInt8](repeating: 0x5B, count: Self.sealedBytes))
        self.record = record
    }

    /// Runs the parts that are named; a failed call ends the process with its text.
    static func run(_ arguments: [String]) {
        let options: Set<String> = ["encrypted", "short"]
        let wishes = Set(arguments.dropFirst(2))
        let parts = wishes.subtracting(options)
        guard arguments.count >= 3,
            parts.isSubset(of: ["checksums", "crypto", "commits", "replay", "snapshot"])
        else {
            fatalError(
                "usage: triage-storage-bench DIRECTORY [encrypted] [short] "
                    + "checksums|crypto|commits|replay|snapshot...")
        }
        do {
            try Directory.make(arguments[1])
            let bench = StorageBench(
                directory: arguments[1], encrypted: wishes.contains("encrypted"),
                short: wishes.contains("short"))
            if parts.contains("checksums") { try bench.checksums() }
            if parts.contains("crypto") { try bench.ciphers() }
            if parts.contains("commits") { try bench.commits() }
            if parts.contains("replay") { try bench.replay() }
            if parts.contains("snapshot") { try bench.snapshot() }
            try bench.clear()
        } catch {
            fatalError("\(error)")
        }
    }

    func report(
        _ name: String, _ values: [Double], _ unit: String, atLeast: Double? = nil,
        atMost: Double? = nil
    ) {
        let shown = values.map { "\($0)" }.joined(separator: ",")
        var line = "{\"name\":\"\(name)\",\"values\":[\(shown)],\"unit\":\"\(unit)\""
        if let atLeast { line += ",\"at_least\":\(atLeast)" }
        if let atMost { line += ",\"at_most\":\(atMost)" }
        print(line + "}")
    }

    func report(_ name: String, _ value: Double, _ unit: String, atMost: Double? = nil) {
        report(name, [value], unit, atMost: atMost)
    }

    func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = clock.monotonicTime()
        try body()
        return Double(clock.monotonicTime().nanoseconds(since: start)) / 1e9
    }

    /// The calling thread's own processor time: what a busy machine does not change.
    func processorSeconds(_ body: () throws -> Void) rethrows -> Double {
        func now() -> Double {
            var time = timespec()
            _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let start = now()
        try body()
        return now() - start
    }

    func clear() throws {
        for entry in try Directory.list(directory) { try Directory.remove(file(entry.name)) }
    }

    func file(_ name: String) -> String { directory + "/" + name }

    // MARK: Processor only

    func checksums() throws {
        let count = 1_000_000
        let bytes = [UInt8](repeating: 0x5A, count: 316)
        var crc: UInt32 = 0
        let crcTime = processorSeconds {
            for _ in 0..<count { crc = crc32c(bytes.span, after: crc) }
        }
        report("crc32c_316_bytes", crcTime / Double(count) * 1e9 + Double(crc & 0), "ns")
        var digest = Digest.zero
        let pairTime = processorSeconds {
            for _ in 0..<count {
                digest =
                    SHA256.hashPair(
                        head: bytes.span.extracting(0..<1), bytes.span,
                        otherHead: bytes.span.extracting(1..<2),
                        bytes.span
                    ).1
            }
        }
        report("sha256_316_bytes_in_pairs", pairTime / Double(2 * count) * 1e9, "ns")
        let leaves = [Digest](repeating: digest, count: 512)
        var tree = MerkleTree()
        var scratch: [Digest] = []
        let treeTime = processorSeconds {
            for _ in 0..<1000 { tree.append(leaves, scratch: &scratch) }
        }
        report("tree_a_leaf", treeTime / 512_000 * 1e9, "ns", atMost: 150)
    }

    // MARK: Commits

    /// Appends and syncs as one writer would without any of this; returns the calls a second.
    private func rawRate(_ bytes: Int, _ count: Int) throws -> Double {
        let path = file("raw")
        let handle = try FileHandle(path: path, access: .create)
        let data = [UInt8](repeating: 1, count: bytes)
        let time = try seconds {
            for index in 0..<count {
                try handle.write(data.span, at: index * bytes)
                try handle.sync()
            }
        }
        try Directory.remove(path)
        return Double(count) / time
    }

    func commits() throws {
        let data = try DataDirectory(opening: directory, keys: keys)
        var none = Counter()
        let report = try data.recover(into: &none)
        let journal = try data.makeJournal(after: report, time: clock.wallTime())
        var rates: [Int: [Double]] = [:]
        var processorTimes: [Int: [Double]] = [:]
        var raw: [Double] = []
        _ = try rawRate(384, 200)
        // Past the preparation of the first spare segment.
        if !isShort { RealDisk().pause(nanoseconds: 1_500_000_000) }
        // Rounds take turns, so that a disturbance of the machine hits all alike.
        for _ in 0..<(isShort ? 1 : 7) {
            raw.append(try rawRate(384, isShort ? 50 : 400))
            for batch in [1, 64, 512] {
                let commits = isShort ? 20 : batch == 1 ? 400 : 200
                var processor = 0.0
                let total = try seconds {
                    processor = try processorSeconds {
                        for _ in 0..<commits {
                            for _ in 0..<batch {
                                _ = try journal.append(record, time: .epoch)
                            }
                            try journal.commit()
                        }
                    }
                }
                let records = Double(commits * batch)
                rates[batch, default: []].append(records / total)
                processorTimes[batch, default: []].append(processor / records * 1e9)
            }
        }
        self.report("raw_append_fdatasync", raw, "1/s")
        let goals = [1: 0.9, 64: 20, 512: 60]
        for batch in [1, 64, 512] {
            let rate = rates[batch] ?? []
            self.report("commits_\(batch)_waiting", rate, "1/s")
            self.report(
                "commits_\(batch)_waiting_per_raw", zip(rate, raw).map { $0 / $1 }, "ratio",
                atLeast: goals[batch])
            self.report(
                "commits_\(batch)_waiting_processor", processorTimes[batch] ?? [], "ns a record")
        }
        journal.close(time: clock.wallTime())
        try clear()
    }

    // MARK: Replay

    /// What a journal's files cost to read back, without what the events do.
    func replay() throws {
        let data = try DataDirectory(opening: directory, keys: keys)
        var none = Counter()
        let journal = try data.makeJournal(
            after: try data.recover(into: &none), time: clock.wallTime())
        let count = many
        let total = try seconds {
            for _ in 0..<count / 2000 {
                for _ in 0..<2000 { _ = try journal.append(record, time: .epoch) }
                try journal.commit()
            }
        }
        report("journal_write_2000_waiting", Double(count) / total, "records/s")
        journal.close(time: clock.wallTime())
        var rates: [Double] = []
        var verifying: [Double] = []
        let mebibytes = Double(count * Self.recordBytes) / 1_048_576
        for _ in 0..<repeats {
            var counter = Counter()
            let time = try seconds { _ = try data.recover(into: &counter) }
            invariant(counter.records == count, "everything was replayed")
            rates.append(Double(count) / time)
            verifying.append(mebibytes / (try processorSeconds { try verifyAll(threads: 0) }))
        }
        report("replay_files", rates, "records/s")
        report("verify_processor", verifying, "MiB/s")
        try clear()
    }

    private func verifyAll(threads: Int) throws {
        let result = try Inspection(path: directory, keys: keys, threads: threads).verify()
        invariant(result.problems.isEmpty, "the bench's own directory verifies")
    }

    // MARK: Snapshot

    /// What the disk writes and reads from end to end, and what a snapshot's file costs beside it
    /// without what its records say.
    func snapshot() throws {
        let data = try DataDirectory(opening: directory, keys: keys)
        var none = Counter()
        let report = try data.recover(into: &none)
        let journal = try data.makeJournal(after: report, time: clock.wallTime())
        _ = try journal.append(record, time: .epoch)
        try journal.commit()
        let tree = journal.durableTree
        journal.close(time: clock.wallTime())
        let stored = [UInt8](repeating: 0x33, count: Self.storedBytes)
        let count = 2 * many
        var raw: (write: [Double], read: [Double]) = ([], [])
        var ours: (write: [Double], load: [Double]) = ([], [])
        var processor: [Double] = []
        for _ in 0..<repeats {
            let sequential = try sequentialRates(isShort ? 8 << 20 : 400 << 20)
            raw.write.append(sequential.write)
            raw.read.append(sequential.read)
            var bytes = 0
            var used = 0.0
            let time = try seconds {
                used = try processorSeconds {
                    let snapshot = try data.makeSnapshot(
                        at: tree, time: .epoch, bytesPerSecond: Int.max)
                    for _ in 0..<count { try snapshot.append(section: 1, stored.span) }
                    bytes = try snapshot.finish().bytes
                }
            }
            let mebibytes = Double(bytes) / 1_048_576
            ours.write.append(mebibytes / time)
            processor.append(mebibytes / used)
            var counter = Counter()
            let loading = try seconds { _ = try data.recover(into: &counter) }
            invariant(counter.snapshotRecords == count, "everything was loaded")
            ours.load.append(mebibytes / loading)
        }
        self.report("disk_sequential_write", raw.write, "MiB/s")
        self.report("disk_sequential_read", raw.read, "MiB/s")
        self.report("snapshot_file_write", ours.write, "MiB/s")
        self.report("snapshot_file_write_processor", processor, "MiB/s")
        self.report("snapshot_file_load", ours.load, "MiB/s")
        try clear()
    }

    /// MiB a second of writing in 256 KiB pieces past the page cache and one sync, and of reading
    /// the same back past it.
    private func sequentialRates(_ bytes: Int) throws -> (write: Double, read: Double) {
        let handle = try FileHandle(path: file("raw"), access: .createDirect)
        let piece = 256 << 10
        var buffer = PageBuffer(capacity: piece)
        let writing = try seconds {
            for offset in stride(from: 0, to: bytes, by: piece) {
                try handle.write(buffer.span(0..<piece), at: offset)
            }
            try handle.sync()
        }
        let reading = try seconds {
            for offset in stride(from: 0, to: bytes, by: piece) {
                var target = buffer.mutableSpan(0..<piece)
                let count = try handle.read(into: &target, at: offset)
                invariant(count == piece, "what was written is there")
            }
        }
        try Directory.remove(file("raw"))
        let mebibytes = Double(bytes) / 1_048_576
        return (mebibytes / writing, mebibytes / reading)
    }
}

/// A state that only counts, ahead of what would be done with the records.
struct Counter: RecoveryTarget, RecordDecoder {
    var records = 0
    var snapshotRecords = 0

    var makeDecoder: @Sendable () -> Counter { { Counter() } }

    mutating func restart() { snapshotRecords = 0 }
    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) {}

    mutating func take() -> Counter {
        defer { self = Counter() }
        return self
    }

    mutating func take(_ counted: Counter) {
        records += counted.records
        snapshotRecords += counted.snapshotRecords
    }

    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) { snapshotRecords += 1 }

    mutating func journalRecord(sequence: UInt64, time: WallTime, _ record: RecordView) {
        records += 1
    }
}
