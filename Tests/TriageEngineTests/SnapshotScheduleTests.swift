// When snapshots are taken, and who hears of them.

import TestSupport
import Testing
import TriageBase
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

@Suite struct SnapshotScheduleTests {
    private func receipt(_ sequence: UInt64) -> SnapshotReceipt {
        SnapshotReceipt(
            sequence: sequence, recordCount: 1, bytes: 2, durationMilliseconds: 3, time: .epoch)
    }

    @Test func byCountOfRecords_oneAtATime() throws {
        let bench = EngineBench { $0.snapshotRecords = 2 }
        _ = try bench.submit(about: 1)
        #expect(bench.snapshots.all.isEmpty)
        _ = try bench.submit(about: 2)
        #expect(bench.snapshots.all.map(\.sequence) == [2])
        #expect(bench.snapshots.all.map(\.caseCount) == [2])
        for subject in 3..<8 as Range<UInt64> { _ = try bench.submit(about: subject) }
        #expect(bench.snapshots.all.count == 1)
        bench.core.turn([], snapshots: [.taken(receipt(2))])
        #expect(bench.snapshots.all.map(\.sequence) == [2, 7])
        #expect(bench.core.currentStatus().snapshot?.sequence == 2)
    }

    @Test func byTime_onlyIfSomethingWasJournaled() throws {
        let bench = EngineBench { $0.snapshotMilliseconds = 1_000 }
        bench.clock.advance(milliseconds: 5_000)
        bench.turn()
        #expect(bench.snapshots.all.isEmpty && bench.core.nextDeadline == nil)
        _ = try bench.submit(about: 1)
        #expect(bench.snapshots.all.count == 1)
    }

    @Test func whoAsks_hearsWhenItIsDurable_andWhoAsksMeanwhile_getsTheNextOne() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let first = bench.request(.snapshot)
        #expect(bench.turn(first).isEmpty)
        let second = bench.request(.snapshot)
        #expect(bench.turn(second).isEmpty)
        bench.core.turn([], snapshots: [.taken(receipt(1))])
        #expect(bench.sink.take().map(\.call) == [first.call])
        #expect(bench.snapshots.all.count == 2)
        bench.core.turn([], snapshots: [.failed(.io(IOError(.write, path: "s", .noSpace)))])
        let replies = bench.sink.take()
        #expect(replies.map(\.call) == [second.call])
        #expect(replies.map(\.reply.kind) == ["failed(snapshotFailed)"])
        #expect(bench.core.currentStatus().counters.snapshotFailures == 1)
    }

    @Test func afterTheJournalFailed_noSnapshotIsTaken() throws {
        let bench = EngineBench()
        bench.journal.commitError = .poisoned(IOError(.sync, path: "j", .inputOutput))
        bench.turn(bench.request(.write(bench.report(about: 1), bench.freshKey())))
        #expect(bench.turn(bench.request(.snapshot)).map(\.reply.kind) == ["failed(journalFailed)"])
        #expect(bench.snapshots.all.isEmpty)
    }
}
