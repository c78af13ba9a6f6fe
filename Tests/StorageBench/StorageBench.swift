// Measures the journal and snapshots beside the raw disk, in the same run on the same disk, and
// prints one JSON object a line: name, value, unit, and where there is a goal, reach and holds.

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
    let record: RecordParts
    let clock = SystemClock()
    let disk = RealDisk()
    /// About what the body and the content of a report with a short description have.
    static let bodyBytes = 100
    static let sealedBytes = 200
    /// What such a record takes in a batch.
    static let recordBytes = 336

    init(directory: String, encrypted: Bool) {
        self.directory = directory
        var random = RandomBytes()
        keys =
            encrypted
            ? KeySource(current: KeyEncryptionKey(SecretKey(random: &random))) : nil
        var record = RecordParts()
        record.body = [UInt8](repeating: 0x5A, count: Self.bodyBytes)
        _ = record.seal([UInt8](repeating: 0x5B, count: Self.sealedBytes))
        self.record = record
    }

    /// Runs the parts that are named, or all; a failed call ends the process with its text.
    static func run(_ arguments: [String]) {
        let wishes = Set(arguments.dropFirst(2))
        let parts = wishes.subtracting(["encrypted"])
        guard arguments.count >= 2,
            parts.isSubset(of: ["checksums", "crypto", "commits", "replay", "snapshot"])
        else {
            fatalError(
                "usage: triage-storage-bench DIRECTORY [encrypted] "
                    + "[checksums|crypto|commits|replay|snapshot]...")
        }
        do {
            try Directory.make(arguments[1])
            let bench = StorageBench(
                directory: arguments[1], encrypted: wishes.contains("encrypted"))
            let runs = { (part: String) in parts.isEmpty || parts.contains(part) }
            if runs("checksums") { try bench.checksums() }
            if runs("crypto") { try bench.ciphers() }
            if runs("commits") { try bench.commits() }
            if runs("replay") { try bench.replay() }
            if runs("snapshot") { try bench.snapshot() }
            try bench.clear()
        } catch {
            fatalError("\(error)")
        }
    }

    func report(
        _ name: String, _ value: Double, _ unit: String, atLeast: Double? = nil,
        atMost: Double? = nil
    ) {
        var line = "{\"name\":\"\(name)\",\"value\":\(rounded(value)),\"unit\":\"\(unit)\""
        if let atLeast { line += ",\"reach\":\(atLeast),\"holds\":\(value >= atLeast)" }
        if let atMost { line += ",\"reach\":\(atMost),\"holds\":\(value <= atMost)" }
        print(line + "}")
    }

    private func rounded(_ value: Double) -> Double {
        value >= 100 ? value.rounded() : (value * 1000).rounded() / 1000
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
        var commitTimes: [Int: [Double]] = [:]
        var raw: [Double] = []
        _ = try rawRate(384, 200)
        // Past the preparation of the first spare segment.
        RealDisk().pause(nanoseconds: 1_500_000_000)
        // Rounds take turns, so that a disturbance of the machine hits all alike.
        for _ in 0..<5 {
            raw.append(try rawRate(384, 300))
            for batch in [1, 64, 512] {
                let commits = batch == 1 ? 400 : 200
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
                commitTimes[batch, default: []].append(total / Double(commits) * 1e6)
            }
        }
        self.report("raw_append_fdatasync", median(raw), "1/s")
        let goals = [1: 0.9, 64: 20, 512: 60]
        for batch in [1, 64, 512] {
            let rate = median(rates[batch] ?? [])
            self.report("durable_records_\(batch)_waiting", rate, "1/s")
            self.report(
                "durable_records_\(batch)_waiting_ratio", rate / median(raw), "x raw",
                atLeast: goals[batch])
            self.report(
                "processor_\(batch)_waiting", median(processorTimes[batch] ?? []), "ns a record")
            self.report("commit_\(batch)_waiting", median(commitTimes[batch] ?? []), "us a commit")
        }
        journal.close()
    }

    func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }

    /// Recovers a directory, timed.
    private func recover(
        _ data: DataDirectory, _ counter: inout Counter
    ) throws -> (report: RecoveryReport, seconds: Double, processorSeconds: Double) {
        var report: RecoveryReport?
        var processor = 0.0
        let time = try seconds {
            processor = try processorSeconds { report = try data.recover(into: &counter) }
        }
        guard let report else { fatalError("recovery gives a report") }
        return (report, time, processor)
    }

    // MARK: Replay

    func replay() throws {
        try clear()
        let data = try DataDirectory(opening: directory, keys: keys)
        var none = Counter()
        var report = try data.recover(into: &none)
        let journal = try data.makeJournal(after: report, time: clock.wallTime())
        let count = 1_000_000
        var appending = 0.0
        let total = try seconds {
            for _ in 0..<count / 2000 {
                appending += try processorSeconds {
                    for _ in 0..<2000 { _ = try journal.append(record, time: .epoch) }
                }
                try journal.commit()
            }
        }
        self.report("journal_write_2000_waiting", Double(count) / total, "records/s")
        self.report("append", appending / Double(count) * 1e9, "processor ns a record")
        journal.close()
        var counter = Counter()
        let again = try recover(data, &counter)
        report = again.report
        invariant(counter.records == count, "everything was replayed")
        self.report(
            "replay", Double(count) / again.seconds, "records/s", atLeast: 500_000)
        self.report("replay_processor", again.processorSeconds / Double(count) * 1e9, "ns a record")
        let bytes = Double(count * Self.recordBytes) / 1048576
        let alone = try processorSeconds { try verifyAll(threads: 0) }
        self.report("verify_processor", bytes / alone, "MiB/s")
        let all = try seconds { try verifyAll(threads: Thread.processorCount) }
        self.report("verify", bytes / all, "MiB/s", atLeast: 500)
    }

    private func verifyAll(threads: Int) throws {
        let result = try Inspection(path: directory, keys: keys, threads: threads).verify()
        invariant(result.problems.isEmpty, "the bench's own directory verifies")
    }

    // MARK: Snapshot

    func snapshot() throws {
        try clear()
        let data = try DataDirectory(opening: directory, keys: keys)
        var none = Counter()
        let report = try data.recover(into: &none)
        let journal = try data.makeJournal(after: report, time: clock.wallTime())
        _ = try journal.append(record, time: .epoch)
        try journal.commit()
        let sequential = try sequentialRate(300 << 20)
        self.report("disk_sequential_write", sequential / 1048576, "MiB/s")
        let stored = [UInt8](repeating: 0x33, count: 291)
        let count = 1_000_000
        var bytes = 0
        var processor = 0.0
        let time = try seconds {
            processor = try processorSeconds {
                let snapshot = try data.makeSnapshot(
                    at: journal.durableTree, time: .epoch, bytesPerSecond: Int.max)
                for _ in 0..<count { try snapshot.append(section: 1, stored.span) }
                bytes = try snapshot.finish().bytes
            }
        }
        let rate = Double(bytes) / time
        self.report("snapshot_write_processor", Double(bytes) / processor / 1048576, "MiB/s")
        self.report(
            "snapshot_write", rate / 1048576, "MiB/s",
            atLeast: min(300, 0.5 * sequential / 1048576))
        var counter = Counter()
        journal.close()
        let again = try recover(data, &counter)
        invariant(counter.snapshotRecords == count, "everything was loaded")
        self.report(
            "snapshot_load_processor", Double(bytes) / again.processorSeconds / 1048576, "MiB/s")
        self.report("snapshot_load", Double(bytes) / again.seconds / 1048576, "MiB/s", atLeast: 300)
        try commitsBesideSnapshot(data, again.report, stored)
    }

    /// Commit latency with and without a paced snapshot beside it.
    private func commitsBesideSnapshot(
        _ data: DataDirectory, _ report: RecoveryReport, _ stored: [UInt8]
    ) throws {
        let journal = try data.makeJournal(after: report, time: .epoch)
        func latencies(_ enough: () -> Bool) throws -> [Double] {
            var times: [Double] = []
            while !enough() {
                times.append(
                    try seconds {
                        for _ in 0..<8 { _ = try journal.append(record, time: .epoch) }
                        try journal.commit()
                    } * 1e6)
            }
            return times.sorted()
        }
        var rounds = 0
        // Past the preparation of the first spare segment.
        let settled = clock.monotonicTime().advanced(byNanoseconds: 2_000_000_000)
        _ = try latencies { clock.monotonicTime() > settled }
        let alone = try latencies {
            rounds += 1
            return rounds > 5000
        }
        let done = Monitor(false)
        let tree = journal.durableTree
        let thread = try Thread(name: "snapshot") {
            do {
                let snapshot = try data.makeSnapshot(at: tree, time: .epoch)
                for _ in 0..<1_000_000 { try snapshot.append(section: 1, stored.span) }
                _ = try snapshot.finish()
            } catch { fatalError("\(error)") }
            done.change { $0 = true }
        }
        let beside = try latencies { done.change { $0 } }
        thread.join()
        for (name, times) in [("alone", alone), ("beside_snapshot", beside)] {
            self.report("commit_p50_\(name)", times[times.count / 2], "us")
            self.report("commit_p99_\(name)", times[times.count * 99 / 100], "us")
            self.report("commit_max_\(name)", times[times.count - 1], "us")
        }
        self.report(
            "commit_p99_beside_snapshot_ratio",
            beside[beside.count * 99 / 100] / alone[alone.count * 99 / 100], "x", atMost: 2)
        journal.close()
    }

    /// Bytes a second of writing in 256 KiB pieces past the page cache, and one sync.
    private func sequentialRate(_ bytes: Int) throws -> Double {
        let handle = try FileHandle(path: file("raw"), access: .createDirect)
        let buffer = PageBuffer(capacity: 256 << 10)
        let time = try seconds {
            for offset in stride(from: 0, to: bytes, by: 256 << 10) {
                try handle.write(buffer.span(0..<256 << 10), at: offset)
            }
            try handle.sync()
        }
        try Directory.remove(file("raw"))
        return Double(bytes) / time
    }
}

/// A state that only counts.
struct Counter: RecoveryTarget {
    var records = 0
    var snapshotRecords = 0
    var bytes = 0

    mutating func restart() { snapshotRecords = 0 }
    mutating func snapshotLoaded(_ snapshot: SnapshotInfo) {}

    mutating func snapshotRecord(section: UInt16, _ record: Span<UInt8>) {
        snapshotRecords += 1
        bytes += record.count
    }

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) {
        records += 1
        bytes += record.body.count
    }
}
