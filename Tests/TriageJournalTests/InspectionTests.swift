// A data directory seen from outside: counts, records, and everything that does not verify at once.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct InspectionTests {
    private func bench() throws -> Workbench {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[3000], [700, 20], [3000]], to: journal)
        let snapshot = try data.makeSnapshot(
            at: journal.durableTree, time: WallTime(milliseconds: 9))
        try snapshot.append(section: 3, Workbench.payload(1, count: 5000).span)
        try snapshot.append(section: 5, [1, 2].span)
        _ = try snapshot.finish()
        try bench.write([[40]], to: journal)
        journal.writeMark(time: .epoch)
        return bench
    }

    @Test func readsBesideARunningServer() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[10], [20, 30]], to: journal)
        let inspection = try bench.inspection()
        #expect(inspection.cluster == data.cluster)
        var state = Recorded()
        let changes = bench.disk.changes
        let statistics = try inspection.readJournal(into: &state)
        #expect(bench.disk.changes == changes)
        #expect(state.records == bench.durable)
        #expect(statistics.head == journal.durableHead)
    }

    @Test func countsWhatIsThere() throws {
        let bench = try bench()
        let inspection = try bench.inspection()
        var state = Recorded()
        let statistics = try inspection.readJournal(into: &state)
        #expect(statistics.segments.map(\.first) == [1, 4])
        #expect(statistics.segments.map(\.last) == [3, 5])
        #expect(statistics.segments.map(\.batches) == [2, 2])
        #expect(
            statistics.segments.map(\.bytesUsed) == [
                Workbench.ends([[3000], [700, 20]])[1], Workbench.ends([[3000], [40]])[1],
            ])
        #expect(statistics.snapshots.map(\.head.sequence) == [4])
        let (info, sections) = try inspection.readSnapshot(after: 4, into: &state)
        #expect(info.records == 2)
        #expect(sections.map(\.section) == [3, 5])
        #expect(sections.map(\.records) == [1, 1])
        #expect(state.snapshot.last == [1, 2])
    }

    @Test func aGoodDirectoryVerifies() throws {
        let bench = try bench()
        let result = try bench.inspection().verify()
        #expect(result.problems.isEmpty)
        #expect(result.statistics.head?.sequence == 5)
        #expect(result.snapshots.count == 1)
    }

    /// Where a server beside it retires a segment and prunes a snapshot after they were listed.
    @Test func whatRetentionTakesMeanwhile_isNoProblem() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[3000], [700, 20], [3000]], to: journal)
        for _ in 0..<2 {
            _ = try data.makeSnapshot(at: journal.durableTree, time: .epoch).finish()
            try bench.write([[40]], to: journal)
        }
        let taken = [segment1, "00000000000000000005.snapshot"]
        var isBeside = true
        let result = try bench.inspection().verify { done, _ in
            guard isBeside, done > 0 else { return }
            isBeside = false
            for name in taken { bench.disk.erase(Workbench.file(name)) }
        }
        #expect(!isBeside && result.problems == [])
        #expect(result.snapshots.map(\.head.sequence) == [4])
        #expect(result.statistics.head == journal.durableHead)
        #expect(result.statistics.segments.map(\.first) == [4])
        // Gone with its leaves it is one.
        bench.disk.erase(Workbench.file("00000000000000000001.leaves"))
        #expect(
            try bench.inspection().verify().problems == [
                .gap(file: "00000000000000000004.journal", missing: 1)
            ])
    }

    @Test func everyProblemIsNamed() throws {
        let bench = try bench()
        let disk = bench.disk.copy()
        for (name, offset) in [
            ("00000000000000000004.snapshot", 4200), ("00000000000000000004.journal", 4200),
        ] {
            var bytes = try #require(disk.bytes(of: Workbench.file(name)))
            bytes[offset] ^= 1
            disk.replace(Workbench.file(name), with: bytes)
        }
        let result = try Inspection(path: Workbench.path, disk: disk).verify()
        #expect(
            result.problems.map(\.place) == [
                Place(file: "00000000000000000004.snapshot", offset: 4096),
                Place(file: "00000000000000000004.journal", offset: 4096),
            ])
        #expect(result.statistics.segments.count == 1)
    }

    @Test func whatIsNoDataDirectoryIsRefused() {
        #expect(throws: JournalError.self) {
            _ = try Inspection(path: "nothing", disk: SimDisk())
        }
    }
}
