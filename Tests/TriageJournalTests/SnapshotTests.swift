// Snapshots that are damaged, half-written, or too many; segments that they make superfluous.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct SnapshotTests {
    static let snapshot2 = "00000000000000000002.snapshot"
    static let snapshot3 = "00000000000000000003.snapshot"

    /// Three records; snapshots after the second and the third one.
    private func bench(encrypted: Bool = false) throws -> Workbench {
        var bench = Workbench(encrypted: encrypted)
        let (data, journal) = try bench.start()
        try bench.write([[10], [20]], to: journal)
        try takeSnapshot(of: bench, data, journal)
        try bench.write([[30]], to: journal)
        try takeSnapshot(of: bench, data, journal)
        try bench.write([[40]], to: journal)
        return bench
    }

    private func takeSnapshot(
        of bench: Workbench, _ data: DataDirectory, _ journal: JournalWriter
    ) throws {
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
        try snapshot.append(section: 2, Workbench.payload(9, count: 3000).span)
        try snapshot.append(section: 2, Workbench.payload(9, count: 3000).span)
        _ = try snapshot.finish()
    }

    @Test(arguments: [false, true])
    func everyChangedByteOfTheNewestSnapshotFallsBackToTheOlder(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        let count = try #require(bench.disk.bytes(of: Workbench.file(Self.snapshot3))).count
        for offset in 0..<count {
            let outcome = try bench.recovering(Self.snapshot3) {
                $0[offset] ^= 1 << UInt8(offset % 8)
            }
            let (state, report) = try outcome.get()
            #expect(report.snapshot?.file == Self.snapshot2, "byte \(offset) changed, unseen")
            #expect(state.restarts == 1)
            #expect(state.records == Array(bench.durable[2...]))
            #expect(
                state.snapshot.prefix(2) == [bench.durable[0].body, bench.durable[1].body])
            #expect(report.rejectedSnapshots.first?.file == Self.snapshot3)
            #expect(report.rejectedSnapshots.first?.error.place != nil)
        }
    }

    @Test(arguments: [false, true])
    func everyShorterSnapshotFallsBack(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        let count = try #require(bench.disk.bytes(of: Workbench.file(Self.snapshot3))).count
        for kept in 0..<count {
            let outcome = try bench.recovering(Self.snapshot3) { $0.removeLast($0.count - kept) }
            let (state, report) = try outcome.get()
            #expect(report.snapshot?.file == Self.snapshot2, "cut to \(kept) bytes, unseen")
            #expect(state.records == Array(bench.durable[2...]))
        }
        let (_, report) = try bench.recovering(Self.snapshot3) { $0 += [1] }.get()
        #expect(report.rejectedSnapshots.count == 1)
    }

    @Test func twoBadSnapshotsAreReplacedByTheWholeJournal() throws {
        let bench = try bench()
        bench.disk.replace(Workbench.file(Self.snapshot2), with: [1, 2, 3])
        let (state, report) = try bench.recovering(Self.snapshot3) { $0[5000] ^= 1 }.get()
        #expect(report.snapshot == nil)
        #expect(report.rejectedSnapshots.map(\.file) == [Self.snapshot3, Self.snapshot2])
        #expect(state.records == bench.durable)
    }

    @Test func aBadSnapshotThatTheJournalDoesNotCoverIsDataLoss() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[3000], [3000], [3000]], to: journal)
        try takeSnapshot(of: bench, data, journal)
        try bench.write([[3000]], to: journal)
        bench.options.snapshotsKept = 1
        bench.disk = bench.disk.copy()
        let (again, _) = try bench.start()
        #expect(try again.tidy(time: .epoch).segments.count == 3)
        let outcome = try bench.recovering(Self.snapshot3) { $0[4096 + 100] ^= 1 }
        guard case .failure(let error) = outcome else {
            Issue.record("a journal without its beginning was taken for whole")
            return
        }
        #expect(error.place == Place(file: Self.snapshot3, offset: 4096))
    }

    @Test func pruningKeepsTwoAndTrimmingKeepsWhatTheOlderOneNeeds() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        for _ in 0..<3 {
            try bench.write([[3000], [3000]], to: journal)
            try takeSnapshot(of: bench, data, journal)
        }
        let tidied = try data.tidy(time: .epoch)
        #expect(tidied.snapshots == [Self.snapshot2])
        #expect(tidied.segments == (1...4).map { "0000000000000000000\($0).journal" })
        #expect(try data.tidy(time: .epoch).segments == [])
        bench.disk = bench.disk.copy()
        // The newest one lost: the older one and the journal give the same state.
        bench.disk.erase(Workbench.file("00000000000000000006.snapshot"))
        var state = Recorded()
        let (_, report) = try bench.open(into: &state)
        #expect(report.snapshot?.head.sequence == 4)
        #expect(state.records == Array(bench.durable[4...]))
    }

    @Test func nothingIsTrimmedBeforeTwoSnapshotsExist() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[3000], [3000], [3000]], to: journal)
        try takeSnapshot(of: bench, data, journal)
        #expect(try data.tidy(time: .epoch).segments == [])
    }

    @Test func aFailureAtAnyCallOfASnapshotLeavesTheOldState() throws {
        let bench = try bench()
        for fault in [SimCall.open, .write, .sync, .rename, .syncDirectory] {
            var copy = bench
            copy.disk = bench.disk.copy()
            let (data, journal) = try copy.start()
            copy.disk.failNext(fault, .inputOutput)
            #expect(throws: JournalError.self) {
                try takeSnapshot(of: copy, data, journal)
            }
            // The journal is not touched by it.
            try copy.write([[5]], to: journal)
            copy.disk = copy.disk.copy()
            var state = Recorded()
            let (_, report) = try copy.open(into: &state)
            #expect(state.records.last == copy.durable.last, "\(fault)")
            #expect(report.rejectedSnapshots.isEmpty, "\(fault)")
            #expect(report.head.sequence == 5)
        }
    }

    @Test func anAbandonedSnapshotLeavesNothing() throws {
        let bench = try bench()
        var copy = bench
        copy.disk = bench.disk.copy()
        let (data, journal) = try copy.start()
        let before = copy.disk.fileNames
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        try snapshot.append(section: 1, Workbench.payload(1, count: 9000).span)
        snapshot.abandon()
        #expect(copy.disk.fileNames == before)
        #expect(throws: JournalError.self) { try snapshot.append(section: 1, [1].span) }
    }

    /// A directory whose blocks a thread writes, or whoever makes them.
    private func bench(with workers: (any WorkerSource)?) throws -> Workbench {
        var bench = try Workbench.with([[10]])
        bench.disk = bench.disk.copy()
        bench.options.workers = workers
        return bench
    }

    @Test func aThreadWritesTheSameFile() throws {
        let alone = try bench(with: nil)
        var behind = alone
        behind.disk = alone.disk.copy()
        behind.options.workers = SystemWorkers()
        var files: [[UInt8]] = []
        for bench in [alone, behind] {
            let (data, journal) = try bench.start()
            let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
            for number in 0..<200 as Range<UInt64> {
                // Some have a block of their own, which is longer than others.
                let count = number % 50 == 7 ? 9_000 : 700
                try snapshot.append(
                    section: number < 150 ? 1 : 2, Workbench.payload(number, count: count).span)
            }
            let file = try snapshot.finish().file
            files.append(try #require(bench.disk.bytes(of: Workbench.file(file))))
            journal.close(time: .epoch)
        }
        #expect(files[0].count > 40 * 4_096)
        #expect(files[0] == files[1])
    }

    @Test(arguments: [0, 1, 5])
    func aBlockThatAThreadCannotWriteIsFinal(before: Int) throws {
        let bench = try bench(with: SystemWorkers())
        let (data, journal) = try bench.start()
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        let record = Workbench.payload(1, count: 4_000)
        for _ in 0..<before { try snapshot.append(section: 1, record.span) }
        bench.disk.failNext(.write, on: ".snapshot.tmp", .noSpace)
        #expect {
            for _ in 0..<10 { try snapshot.append(section: 1, record.span) }
            _ = try snapshot.finish()
        } throws: { error in
            guard case .io(let cause) = error as? JournalError else { return false }
            return cause.errno == .noSpace
        }
        #expect(throws: JournalError.self) { try snapshot.finish() }
        // The journal's own thread may have made its spare segment meanwhile.
        #expect(!bench.disk.fileNames.contains { $0.contains(".snapshot") })
        journal.close(time: .epoch)
    }

    @Test func theRateIsKept() throws {
        var bench = try Workbench.with([[10]])
        bench.disk = bench.disk.copy()
        let (data, journal) = try bench.start()
        let start = bench.disk.monotonicTime()
        let snapshot = try data.makeSnapshot(
            at: journal.durableTree, time: .epoch, bytesPerSecond: 1_000_000)
        for _ in 0..<100 { try snapshot.append(section: 1, Workbench.payload(1, count: 4000).span) }
        _ = try snapshot.finish()
        // 100 blocks of 4096 bytes at 1 MB/s; the simulated clock moves only by pauses.
        #expect(bench.disk.monotonicTime().nanoseconds(since: start) == 409_600_000)
    }

    @Test func aRecordThatTheStateDoesNotTakeStopsTheStart() throws {
        let bench = try bench()
        var copy = bench
        copy.disk = bench.disk.copy()
        var state = Recorded()
        state.rejects = 4
        #expect {
            try copy.open(into: &state)
        } throws: { error in
            guard
                case .rejected(segment1, let offset, "an event of an unknown kind") = error
                    as? JournalError
            else { return false }
            return offset == Workbench.ends([[10], [20], [30]])[2] + 32
        }
    }
}
