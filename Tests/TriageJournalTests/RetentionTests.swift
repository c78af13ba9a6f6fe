// What becomes of segments that a snapshot stands for: kept, moved or removed, and recoverable
// wherever it is interrupted.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct RetentionTests {
    static let archive = "archive"

    /// A segment a record; a snapshot after every second record.
    private func bench(
        _ retention: JournalRetention, snapshots: Int = 3, kept: Int = 2
    ) throws -> (bench: Workbench, data: DataDirectory, journal: JournalWriter) {
        var bench = Workbench()
        bench.options.journalRetention = retention
        bench.options.snapshotsKept = kept
        let (data, journal) = try bench.start()
        for _ in 0..<snapshots {
            try bench.write([[3000], [3000]], to: journal)
            try takeSnapshot(of: bench, data, journal)
        }
        return (bench, data, journal)
    }

    private func takeSnapshot(
        of bench: Workbench, _ data: DataDirectory, _ journal: JournalWriter
    ) throws {
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
        _ = try snapshot.finish()
    }

    private func segments(_ numbers: ClosedRange<Int>) -> [String] {
        numbers.map { "0000000000000000000\($0).journal" }
    }

    /// Recovers a copy of the disk and checks that it gives everything.
    private func expectWhole(_ bench: Workbench, _ what: Comment) throws {
        var copy = bench
        copy.disk = bench.disk.copy()
        var state = Recorded()
        let (_, report) = try copy.open(into: &state)
        let covered = Int(report.snapshot?.head.sequence ?? 0)
        #expect(report.head.sequence == UInt64(bench.durable.count), what)
        #expect(state.records == Array(bench.durable[covered...]), what)
        #expect(state.snapshot == bench.durable.prefix(covered).map(\.body), what)
    }

    @Test func nothingIsRemovedByDefault() throws {
        #expect(StorageOptions().journalRetention == .keep && StorageOptions().snapshotsKept == 2)
        let (bench, data, _) = try bench(.keep)
        let tidied = try data.tidy(time: .epoch)
        #expect(tidied.segments.isEmpty && tidied.snapshots.count == 1)
        #expect(tidied.holdings.segments == 6 && tidied.holdings.firstSequence == 1)
        #expect(tidied.holdings.snapshots == 2)
        try expectWhole(bench, "kept")
    }

    @Test(arguments: [(1, 5), (2, 4), (3, 2)])
    func removesExactlyWhatTheOldestKeptSnapshotStandsFor(kept: Int, last: Int) throws {
        let (bench, data, journal) = try bench(.remove, kept: kept)
        let tidied = try data.tidy(time: .epoch)
        // With one kept, the last segment holds record 6, which the snapshot covers: it stays.
        #expect(tidied.segments == segments(1...last))
        #expect(tidied.holdings.firstSequence == UInt64(last + 1))
        #expect(tidied.holdings.snapshots == kept)
        #expect(try data.tidy(time: .epoch).segments.isEmpty)
        try expectWhole(bench, "removed")
        // The journal goes on, and what is left verifies from its first segment on.
        var after = bench
        try after.write([[3000], [10]], to: journal)
        try expectWhole(after, "written to afterwards")
        let result = try after.inspection().verify()
        #expect(result.problems.isEmpty)
        #expect(result.statistics.segments.first?.first == UInt64(last + 1))
    }

    @Test func theArchiveAndTheDirectoryTogetherAreTheWholeLog() throws {
        let (bench, data, _) = try bench(.archive(Self.archive))
        let before = segments(1...4).map { bench.disk.bytes(of: Workbench.file($0)) }
        #expect(try data.tidy(time: .epoch).segments == segments(1...4))
        for (name, bytes) in zip(segments(1...4), before) {
            #expect(bench.disk.bytes(of: Workbench.file(name)) == nil)
            #expect(bench.disk.bytes(of: Self.archive + "/" + name) == bytes)
        }
        try expectWhole(bench, "archived")
        // Who looks for what needs a data key is told what cannot be seen.
        #expect(try KeyUsage(of: Workbench.path, disk: bench.disk).elsewhere == 4)
        let usage = try KeyUsage(of: Workbench.path, archive: Self.archive, disk: bench.disk)
        #expect(usage.elsewhere == 0 && usage.segments == [0: 6])
        let whole = try bench.inspection(archive: Self.archive).verify()
        #expect(whole.problems.isEmpty)
        #expect(whole.statistics.segments.map(\.first) == [1, 2, 3, 4, 5, 6])
        // What else somebody keeps there is not ours to judge.
        bench.disk.replace(Self.archive + "/SHA256SUMS", with: [1])
        #expect(try bench.inspection(archive: Self.archive).verify().problems.isEmpty)
        #expect(
            try KeyUsage(of: Workbench.path, archive: Self.archive, disk: bench.disk) == usage)
        // The leaves of a segment that was only removed stand for it; one that should be in the
        // archive is missing.
        #expect(try bench.inspection().verify().problems.isEmpty)
        bench.disk.erase(Self.archive + "/" + segments(2...2)[0])
        let gap = try bench.inspection(archive: Self.archive).verify()
        #expect(gap.problems == [.gap(file: segments(3...3)[0], missing: 2)])
    }

    @Test(arguments: [JournalRetention.remove, .archive(archive)])
    func aFailureOrPowerCutAtAnyCallLeavesADirectoryThatRecoversAndIsTidiedLater(
        _ retention: JournalRetention
    ) throws {
        let made = try bench(retention).bench
        var call = 1
        var isOver = false
        var cutShort = 0
        while !isOver {
            isOver = true
            for fails in [false, true] {
                var bench = made
                bench.disk = made.disk.copy()
                let (data, _) = try bench.start()
                let start = bench.disk.calls
                if fails {
                    bench.disk.failCall(start + call, .inputOutput)
                } else {
                    bench.disk.cutPower(at: start + call)
                }
                let failed = (try? data.tidy(time: .epoch)) == nil
                if failed {
                    isOver = false
                    cutShort += 1
                }
                bench.disk.failCall(nil, .inputOutput)
                if !fails { bench.disk = bench.disk.afterPowerCut(seed: UInt64(call)) }
                try expectWhole(bench, "after call \(call)")
                bench.disk = bench.disk.copy()
                let (again, _) = try bench.start()
                let tidied = try again.tidy(time: .epoch)
                #expect(tidied.holdings.firstSequence == 5, "after call \(call)")
                #expect(tidied.holdings.snapshots == 2)
                try expectWhole(bench, "tidied after call \(call)")
                if retention != .remove {
                    var state = Recorded()
                    _ = try bench.inspection(archive: Self.archive).readJournal(into: &state)
                    #expect(state.records == bench.durable, "after call \(call)")
                }
            }
            call += 1
        }
        #expect(cutShort > 20)
    }

    @Test func aSnapshotThatCannotBeReadBackKeepsTheJournal() throws {
        let (bench, data, _) = try bench(.remove)
        let name = Workbench.file("00000000000000000004.snapshot")
        var bytes = try #require(bench.disk.bytes(of: name))
        bytes[4096 + 100] ^= 1
        bench.disk.replace(name, with: bytes)
        #expect(throws: JournalError.self) { try data.tidy(time: .epoch) }
        #expect(try data.holdings().firstSequence == 1)
        #expect(try data.holdings().snapshots == 3)
        try expectWhole(bench, "not tidied")
    }

    /// Once segments are gone a snapshot is all there is of their records: the last good one stays
    /// until a newer one was read back.
    @Test(arguments: [1, 2])
    func aSnapshotThatCannotBeReadBackKeepsTheGoodOneBeforeIt(kept: Int) throws {
        var (bench, data, journal) = try bench(.remove, kept: kept)
        #expect(try data.tidy(time: .epoch).segments.count > 1)
        for damaged in [true, false] {
            try bench.write([[3000], [3000]], to: journal)
            try takeSnapshot(of: bench, data, journal)
            guard damaged else { continue }
            let name = try #require(bench.disk.fileNames.filter { $0.hasSuffix(".snapshot") }.max())
            var bytes = try #require(bench.disk.bytes(of: name))
            bytes[4096 + 100] ^= 1
            bench.disk.replace(name, with: bytes)
            // With two kept the older one, which is good, is the oldest that stays.
            if kept == 1 { #expect(throws: JournalError.self) { try data.tidy(time: .epoch) } }
            if kept == 2 { #expect(try data.tidy(time: .epoch).snapshots.count == 1) }
            try expectWhole(bench, "with a bad snapshot")
        }
        if kept == 2 { #expect(throws: JournalError.self) { try data.tidy(time: .epoch) } }
        try expectWhole(bench, "with a good one behind the bad one")
        // Once as many as are kept are good again, the bad one goes too.
        for _ in 1..<kept {
            try bench.write([[3000], [3000]], to: journal)
            try takeSnapshot(of: bench, data, journal)
        }
        #expect(try data.tidy(time: .epoch).holdings.snapshots == kept)
        try expectWhole(bench, "tidied")
    }

    /// An archive that is missing is on a disk that is not there: what is copied into a new folder
    /// of that name would be lost to whoever looks for it on that disk.
    @Test(arguments: [false, true])
    func anArchiveThatIsMissingIsNotMadeAgain(isInUse: Bool) throws {
        var (bench, data, journal) = try bench(.archive(Self.archive))
        #expect(try bench.disk.list(Self.archive).isEmpty, "made at the start")
        if isInUse {
            #expect(try data.tidy(time: .epoch).segments == segments(1...4))
            journal.close(time: .epoch)
            bench.disk = bench.disk.copy()
            bench.disk.erase(Self.archive)
            (data, journal) = try bench.start()
            try bench.write([[3000], [3000]], to: journal)
            try takeSnapshot(of: bench, data, journal)
        } else {
            bench.disk.erase(Self.archive)
        }
        let first = try data.holdings().firstSequence
        #expect {
            try data.tidy(time: .epoch)
        } throws: { error in
            guard case .io(let error) = error as? JournalError else { return false }
            return error.errno == .notFound && error.path == Self.archive
        }
        #expect(throws: JournalError.self) { _ = try data.makeRedaction() }
        #expect((try? bench.disk.list(Self.archive)) == nil)
        #expect(try data.holdings().firstSequence == first)
        // Once it is there again, it goes on.
        try bench.disk.makeDirectory(Self.archive)
        #expect(
            try data.tidy(time: .epoch).segments == (isInUse ? segments(5...6) : segments(1...4)))
        try expectWhole(bench, "archived")
    }

    @Test func anotherFileInTheArchiveIsNeverReplaced() throws {
        let (bench, data, _) = try bench(.archive(Self.archive))
        let file = Self.archive + "/" + segments(1...1)[0]
        bench.disk.replace(file, with: [1, 2, 3])
        #expect {
            try data.tidy(time: .epoch)
        } throws: { error in
            (error as? JournalError)?.place == Place(file: file, offset: 0)
        }
        #expect(bench.disk.bytes(of: file) == [1, 2, 3])
        #expect(try data.holdings().firstSequence == 1)
        try expectWhole(bench, "not archived")
    }
}
