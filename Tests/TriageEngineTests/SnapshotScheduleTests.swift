// When snapshots are taken, and who hears of them.

import TestSupport
import Testing
import TriageBase
import TriageCodec
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

    @Test func oneThatFailedIsDueAgain_alsoIfNothingWasJournaledSince() throws {
        let bench = EngineBench { $0.snapshotMilliseconds = 1_000 }
        _ = try bench.submit(about: 1)
        bench.clock.advance(milliseconds: 1_000)
        bench.turn()
        #expect(bench.snapshots.all.map(\.sequence) == [1])
        let failure = JournalError.io(IOError(.write, path: "s", .noSpace))
        bench.core.turn([], snapshots: [.failed(failure)])
        #expect(bench.snapshots.all.count == 1 && bench.core.nextDeadline != nil)
        bench.clock.advance(milliseconds: 1_000)
        bench.turn()
        #expect(bench.snapshots.all.map(\.sequence) == [1, 1])
        bench.core.turn([], snapshots: [.failed(failure)])
        // The last chance is the stop.
        #expect(bench.core.takeLastSnapshot())
        bench.core.turn([], snapshots: [.taken(receipt(1))])
        #expect(!bench.core.takeLastSnapshot() && bench.core.nextDeadline == nil)
    }

    @Test func whoAsks_hearsWhenItIsDurable_andWhoAsksMeanwhile_getsTheNextOne() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let first = bench.request(.snapshot(bench.freshKey()))
        #expect(bench.turn(first).isEmpty)
        let second = bench.request(.snapshot(bench.freshKey()))
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
        #expect(
            bench.turn(bench.request(.snapshot(bench.freshKey()))).map(\.reply.kind) == [
                "failed(journalFailed)"
            ])
        #expect(bench.snapshots.all.isEmpty)
    }

    private func answers(_ completions: [Completion]) -> [SnapshotAnswer] {
        completions.compactMap {
            if case .snapshot(let answer) = $0.reply { answer } else { nil }
        }
    }

    @Test func aRepeatedCall_isAnsweredAlike_andTakesNoOther() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let key = bench.freshKey()
        bench.turn(bench.request(.snapshot(key)))
        // While it runs: the same one.
        bench.turn(bench.request(.snapshot(key)))
        bench.core.turn([], snapshots: [.taken(receipt(1))])
        let first = answers(bench.sink.take())
        #expect(first.map(\.sequence) == [1, 1])
        #expect(bench.snapshots.all.count == 1)
        #expect(bench.journal.durableCount == 2, "one record for one request id")
        // Afterwards: the same answer, whatever has been written since.
        _ = try bench.submit(about: 2)
        #expect(answers(bench.turn(bench.request(.snapshot(key)))) == [first[0]])
        #expect(bench.snapshots.all.count == 1)
        // Somebody else's request id of the same value is another one.
        bench.turn(bench.request(.snapshot(key), by: "ben"))
        #expect(bench.snapshots.all.count == 2)
    }

    @Test func aRequestIDOfAnotherWrite_isRefused_bothWays() throws {
        let bench = EngineBench()
        let used = bench.freshKey()
        bench.turn(bench.request(.write(bench.report(about: 1), used)))
        var key = used
        key.fingerprint = Hash128(high: 3, low: 3)
        let refused = bench.turn(bench.request(.snapshot(key)))
        #expect(refused.map(\.reply.kind) == ["refused(requestIDReused)"])
        #expect(bench.snapshots.all.isEmpty)
        let fresh = bench.freshKey()
        bench.turn(bench.request(.snapshot(fresh)))
        bench.core.turn([], snapshots: [.taken(receipt(1))])
        _ = bench.sink.take()
        var other = fresh
        other.fingerprint = Hash128(high: 4, low: 4)
        let again = bench.turn(bench.request(.write(bench.report(about: 2), other)))
        #expect(again.map(\.reply.kind) == ["refused(requestIDReused)"])
    }
}
