// One turn at a time: what is held, what is committed, what is refused.

import TestSupport
import Testing
import TriageBase
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

@Suite struct EngineCoreTests {
    @Test func replies_areHeldUntilTheCommit_readsToo() throws {
        let bench = EngineBench()
        var deliveredAtCommit: [Int] = []
        bench.journal.committing = { deliveredAtCommit.append(bench.sink.deliveries.count) }
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.listCases(after: nil, limit: 10, filter: BoardFilter())))
        #expect(deliveredAtCommit == [0])
        #expect(replies.map(\.reply.kind) == ["receipt", "board"])
        guard case .board(let page, let openCount, let revision) = replies[1].reply else {
            throw Unexpected()
        }
        #expect(page.cases.count == 1 && openCount == 1 && revision == 1)
    }

    @Test func aTurn_commitsOnce_andDeliversOncePerReactor() {
        let bench = EngineBench()
        let batches = (0..<40).map { index in
            RequestBatch(
                reactor: index % 2,
                requests: (0..<5).map { offset in
                    bench.request(
                        .write(
                            bench.report(about: UInt64(index * 5 + offset)), bench.freshKey()))
                })
        }
        bench.core.turn(batches)
        #expect(bench.journal.commitCount == 1)
        #expect(bench.journal.records.count == 200)
        #expect(bench.sinks.map(\.deliveries.count) == [1, 1])
        #expect(bench.sinks.map { $0.all.count } == [100, 100])
        #expect(bench.core.currentStatus().counters.commitRecords.sum == 200)
    }

    @Test func aBigTurn_commitsInBetween() {
        let bench = EngineBench { $0.turnBytesMax = 1 }
        let requests = (0..<3).map {
            bench.request(.write(bench.report(about: $0), bench.freshKey()))
        }
        bench.core.turn([RequestBatch(reactor: 0, requests: requests)])
        #expect(bench.journal.commitCount == 3)
        #expect(bench.sink.deliveries.map(\.count) == [1, 1, 1])
    }

    @Test func completions_carryCallAndEchoBack() {
        let bench = EngineBench()
        let request = bench.request(.status)
        let replies = bench.turn(request)
        #expect(replies.map(\.call) == [request.call])
        #expect(replies.map(\.echo) == [request.echo])
    }

    @Test func repeatedRequestID_isAnsweredAlike_andJournalsNothing() throws {
        let bench = EngineBench()
        let key = bench.freshKey()
        let command = bench.report(about: 1)
        let first = bench.turn(bench.request(.write(command, key)))
        bench.clock.advance(milliseconds: 5_000)
        let second = bench.turn(bench.request(.write(command, key)))
        guard case .receipt(let a) = first[0].reply, case .receipt(let b) = second[0].reply else {
            throw Unexpected()
        }
        #expect(a == b)
        #expect(bench.journal.records.count == 1)
        #expect(bench.journal.commitCount == 1)
    }

    @Test func refusalByTheRules_journalsNothing() {
        let bench = EngineBench()
        let replies = bench.turn(
            bench.request(
                .write(
                    .acceptCase(assignment: AssignmentNumber(5), token: AssignmentNumber(5)),
                    bench.freshKey())))
        #expect(replies.count == 1 && replies[0].reply.kind.hasPrefix("refused(notFound"))
        #expect(bench.journal.records.isEmpty && bench.journal.commitCount == 0)
    }

    @Test func timeNeverFalls_whateverTheClockDoes() throws {
        let bench = EngineBench()
        let first = try bench.submit(about: 1)
        bench.clock.setWall(byMilliseconds: -3_600_000)
        let second = try bench.submit(about: 2)
        #expect(second.receivedAt >= first.receivedAt)
    }

    @Test func aStatusInTheMiddleOfATurn_isOfOneMoment() throws {
        let bench = EngineBench()
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.status))
        guard case .status(let status) = replies[1].reply else { throw Unexpected() }
        #expect(status.counts.reports == 1 && status.durableSequence == 1)
    }

    // MARK: Back-pressure and failure

    @Test(arguments: [
        (JournalError.bufferFull, EngineFailure.overloaded),
        (.noSpace(IOError(.allocate, path: "x", .noSpace)), .storageFull),
        (.recordTooLarge(bytes: 3), .tooLarge),
    ])
    func appendRefused_changesNothing_andIsNotFinal(
        error: JournalError, failure: EngineFailure
    ) throws {
        let bench = EngineBench()
        bench.journal.appendError = error
        let replies = bench.turn(bench.request(.write(bench.report(about: 1), bench.freshKey())))
        guard case .failed(failure) = replies[0].reply else { throw Unexpected() }
        #expect(bench.core.currentStatus().counts.cases == 0)
        bench.journal.appendError = nil
        #expect(try bench.submit(about: 1).opened)
    }

    private static let broken = JournalError.poisoned(IOError(.sync, path: "j", .inputOutput))

    @Test func failedCommit_acknowledgesNothingOfItsTurn_readsIncluded() {
        let bench = EngineBench()
        bench.journal.commitError = Self.broken
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.listCases(after: nil, limit: 10, filter: BoardFilter())),
            bench.request(.readCase(CaseNumber(1), purpose: nil, clearedForChildSafety: false)))
        #expect(replies.map(\.reply.kind) == Array(repeating: "failed(journalFailed)", count: 3))
        #expect(bench.journalFailures == [Self.broken])
    }

    @Test func afterAFailedCommit_writesAreRefused_andReadsShowDurableState() throws {
        // The durable state is that of the first report: what a second engine makes of it.
        let bench = EngineBench(reload: { journal in
            let other = EngineBench()
            _ = try? other.submit(about: 1)
            return journal.durableCount == 1 ? other.core.takeWorld() : nil
        })
        _ = try bench.submit(about: 1)
        bench.journal.commitError = Self.broken
        bench.turn(bench.request(.write(bench.report(about: 2), bench.freshKey())))
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 3), bench.freshKey())),
            bench.request(.claim(anything, bench.freshKey(), waitMilliseconds: 100)),
            bench.request(.readCase(CaseNumber(1), purpose: "look", clearedForChildSafety: true)),
            bench.request(.listCases(after: nil, limit: 10, filter: BoardFilter())),
            bench.request(.status))
        #expect(
            replies.map(\.reply.kind)
                == [
                    "failed(journalFailed)", "failed(journalFailed)", "failed(journalFailed)",
                    "board", "status",
                ])
        guard case .board(let page, _, let revision) = replies[3].reply,
            case .status(let status) = replies[4].reply
        else { throw Unexpected() }
        #expect(revision == 1 && status.durableSequence == 1)
        #expect(page.cases.map(\.value.number) == [CaseNumber(1)])
        #expect(bench.journalFailures.count == 1)
        #expect(bench.core.currentStatus().state == .journalFailed)
        #expect(bench.core.nextDeadline == nil)
    }

    @Test func failedCommit_whoseStateCannotBeReadBack_refusesReadsToo() {
        let bench = EngineBench()
        bench.journal.commitError = Self.broken
        bench.turn(bench.request(.write(bench.report(about: 1), bench.freshKey())))
        let replies = bench.turn(
            bench.request(.listCases(after: nil, limit: 10, filter: BoardFilter())),
            bench.request(.status))
        #expect(replies.map(\.reply.kind) == ["failed(journalFailed)", "status"])
    }

    // MARK: Timers

    @Test func anOfferThatIsNotAccepted_endsByItself() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let offer = try bench.claim()
        let due = try #require(bench.core.nextDeadline)
        let wait = Int64(due.nanoseconds(since: bench.clock.monotonicTime()) / 1_000_000)
        #expect(wait == offer.value.expiresAt.milliseconds - bench.clock.wallTime().milliseconds)
        bench.clock.advance(milliseconds: wait - 1)
        bench.turn()
        #expect(bench.core.currentStatus().counts.heldAssignments == 1)
        bench.clock.advance(milliseconds: 1)
        bench.turn()
        #expect(bench.core.currentStatus().counts.heldAssignments == 0)
        #expect(bench.core.currentStatus().counts.levels.contains { $0.queued == 1 })
    }

    @Test func timersThatTheJournalHasNoRoomFor_doNotSpin() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        _ = try bench.claim()
        bench.clock.advance(milliseconds: 3_600_000)
        bench.journal.appendError = .bufferFull
        bench.turn()
        #expect(!bench.core.hasWork)
        bench.journal.appendError = nil
        bench.turn()
        #expect(bench.core.currentStatus().counts.heldAssignments == 0)
    }

    // MARK: Sensitive reads

    @Test func aFullRead_isRecorded_beforeItIsAnswered() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let replies = bench.turn(
            bench.request(.readCase(CaseNumber(1), purpose: "triage", clearedForChildSafety: false))
        )
        #expect(replies.map(\.reply.kind) == ["caseView"])
        #expect(bench.journal.durableCount == 2)
        bench.turn(
            bench.request(.readCase(CaseNumber(1), purpose: nil, clearedForChildSafety: false)))
        #expect(bench.journal.durableCount == 2)
    }

    @Test func aFullRead_behindTheChildSafetyWall_needsTheClearance() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1, .childSexualExploitation)
        let refused = bench.turn(
            bench.request(.readCase(CaseNumber(1), purpose: "triage", clearedForChildSafety: false))
        )
        #expect(refused.map(\.reply.kind) == ["failed(clearanceRequired)"])
        #expect(bench.journal.durableCount == 1)
        let allowed = bench.turn(
            bench.request(.readCase(CaseNumber(1), purpose: "triage", clearedForChildSafety: true)))
        #expect(allowed.map(\.reply.kind) == ["caseView"])
    }
}
