// One turn at a time: what is held, what is committed, what is refused.

import TestSupport
import Testing
import TriageBase
import TriageCodec
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

    @Test func aBatchOfMany_isAnsweredAsEachRequestAlone() {
        let one = EngineBench()
        let alone = EngineBench()
        // More than are looked at together; subjects and request ids that come again, near and far.
        var keys: [WriteKey] = []
        let requests = (0..<300).map { number -> EngineRequest in
            if number % 7 == 3 { return one.request(.status) }
            var key = number % 11 == 9 ? keys[number / 2] : one.freshKey()
            keys.append(key)
            if number % 13 == 12 { key.requestID = keys[number / 3].requestID }
            let subject = number % 5 == 4 ? UInt64(number / 2) : UInt64(number)
            return one.request(.write(one.report(about: subject), key))
        }
        one.core.turn([RequestBatch(reactor: 0, requests: requests)])
        let answers = one.sink.all.map(Self.answer)
        #expect(one.sink.all.map(\.call) == requests.map(\.call))
        #expect(answers == requests.flatMap { alone.turn($0) }.map(Self.answer))
        #expect(one.journal.records.count == alone.journal.records.count)
        // New cases, known ones, repeats and a refusal are all among them.
        #expect(Set(one.sink.all.map(\.reply.kind)).count == 3)
        #expect(Set(answers).count < answers.filter { $0 != "status" }.count)
    }

    private static func answer(_ completion: Completion) -> String {
        if case .receipt(let receipt) = completion.reply { return "\(receipt)" }
        return completion.reply.kind
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

    @Test func aRequestWhoseDeadlineHasPassed_isNotBegun_oneJustBeforeIs() {
        let bench = EngineBench()
        var late = bench.request(.write(bench.report(about: 1), bench.freshKey()))
        late.deadline = bench.clock.monotonicTime()
        var lateRead = bench.request(.status)
        lateRead.deadline = late.deadline
        var timely = bench.request(.write(bench.report(about: 2), bench.freshKey()))
        timely.deadline = late.deadline.advanced(byNanoseconds: 1)
        let replies = bench.turn(late, lateRead, timely)
        #expect(replies.map(\.reply.kind) == ["failed(expired)", "failed(expired)", "receipt"])
        #expect(bench.journal.records.count == 1)
        #expect(bench.core.currentStatus().counters.expired == 2)
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

    @Test func afterAFailedCommit_writesAreRefused_andReadsGoOnAtOnce_withWhatIsDurable() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        _ = try bench.submit(about: 2)
        bench.journal.commitError = Self.broken
        // One case changes and one is opened, neither durably.
        bench.turn(
            bench.request(.write(bench.report(about: 2), bench.freshKey())),
            bench.request(.write(bench.report(about: 3), bench.freshKey())))
        let list = { bench.request(.listCases(after: nil, limit: 10, filter: BoardFilter())) }
        func read(_ number: UInt64) -> EngineRequest {
            bench.request(
                .readCase(CaseNumber(number), purpose: nil, clearedForChildSafety: false))
        }
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 4), bench.freshKey())),
            bench.request(.claim(anything, bench.freshKey(), waitMilliseconds: 100)),
            bench.request(.readCase(CaseNumber(1), purpose: "look", clearedForChildSafety: true)),
            bench.request(.watchBoard(resume: 0, filter: BoardFilter())),
            list(), read(1), read(2), read(3), bench.request(.status))
        #expect(
            replies.map(\.reply.kind)
                == Array(repeating: "failed(journalFailed)", count: 4) + [
                    "board", "caseView", "failed(journalFailed)", "failed(journalFailed)", "status",
                ])
        guard case .board(let page, let openCount, let revision) = replies[4].reply,
            case .status(let status) = replies[8].reply
        else { throw Unexpected() }
        #expect(page.cases.map(\.value.number) == [CaseNumber(1)] && page.withheld == 2)
        #expect(revision == 2 && openCount == 2)
        #expect(status.durableSequence == 2 && status.counts.cases == 2)
        #expect(status.state == .journalFailed && status.counts.reports == 2)
        #expect(bench.journalFailures.count == 1 && bench.reloads == 1)
        #expect(bench.core.nextDeadline == nil)
        // It could not be read back: reads go on as they are.
        bench.core.turn([], reloaded: ReloadedWorld(nil))
        #expect(
            bench.turn(read(1), read(2)).map(\.reply.kind) == [
                "caseView", "failed(journalFailed)",
            ])
        // The durable state: what a second engine makes of the two reports.
        let other = EngineBench()
        _ = try other.submit(about: 1)
        _ = try other.submit(about: 2)
        bench.core.turn([], reloaded: ReloadedWorld(other.core.takeWorld()))
        let after = bench.turn(
            list(), read(2), read(3), bench.request(.watchBoard(resume: 0, filter: BoardFilter())),
            bench.request(.write(bench.report(about: 4), bench.freshKey())))
        #expect(
            after.map(\.reply.kind) == [
                "board", "caseView", "refused(notFound(TriageDomain.DomainError.Resource.case))",
                "failed(journalFailed)", "boardChanges",
            ])
        guard case .board(let whole, _, _) = after[0].reply,
            case .caseView(let second) = after[1].reply
        else { throw Unexpected() }
        #expect(whole.cases.count == 2 && whole.withheld == 0)
        #expect(second.value.reportCount == 1)
    }

    @Test func afterAFailedCommit_disclosureRequestsThatAreNotDurable_areWithheld() throws {
        let bench = EngineBench()
        func file() -> EngineRequest {
            bench.request(
                .write(.submitDisclosureRequest(emergencyFiling()), bench.freshKey()), by: "police")
        }
        let first = bench.turn(file())
        guard case .outcome(.changedDisclosure(let view))? = first.first?.reply else {
            throw Unexpected()
        }
        bench.journal.commitError = Self.broken
        bench.turn(file())
        let own = person("police")
        let replies = bench.turn(
            bench.request(.listDisclosures(after: nil, limit: 9, states: [], requester: own)),
            bench.request(.readDisclosure(view.value.id, requester: own, purpose: nil)),
            bench.request(.readDisclosure(view.value.id, requester: nil, purpose: "look")))
        #expect(
            replies.map(\.reply.kind) == ["disclosures", "disclosure", "failed(journalFailed)"])
        guard case .disclosures(let page) = replies[0].reply else { throw Unexpected() }
        #expect(page.requests.map(\.value.id) == [view.value.id] && page.withheld == 1)
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
        let next = try #require(bench.core.nextDeadline)
        #expect(next > bench.clock.monotonicTime())
        bench.journal.appendError = nil
        bench.clock.advance(
            milliseconds: Int64(next.nanoseconds(since: bench.clock.monotonicTime()) / 1_000_000))
        bench.turn()
        #expect(bench.core.currentStatus().counts.heldAssignments == 0)
    }

    @Test func afterTheJournalFailed_nothingIsWaitedForThatItWouldHaveToTake() throws {
        let bench = EngineBench { $0.snapshotMilliseconds = 1_000 }
        _ = try bench.submit(about: 1)
        _ = try bench.claim()
        #expect(bench.core.nextDeadline != nil)
        bench.journal.commitError = .poisoned(IOError(.sync, path: "x", .inputOutput))
        bench.turn(bench.request(.write(bench.report(about: 2), bench.freshKey())))
        bench.clock.advance(milliseconds: 3_600_000)
        bench.turn()
        #expect(bench.core.nextDeadline == nil)
    }

    // MARK: Time of day

    @Test func aClockThatIsSetBack_delaysNothing_andReordersNothing() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let offer = try bench.claim()
        let lasts = offer.value.expiresAt.milliseconds - offer.value.offeredAt.milliseconds
        bench.clock.setWall(byMilliseconds: -7_200_000)
        bench.clock.advance(milliseconds: lasts - 1)
        let between = try bench.submit(about: 2)
        #expect(between.receivedAt.milliseconds == offer.value.expiresAt.milliseconds - 1)
        #expect(bench.core.currentStatus().counts.heldAssignments == 1)
        #expect(bench.core.currentStatus().clockAheadMilliseconds == 7_200_000)
        bench.clock.advance(milliseconds: 1)
        bench.turn()
        #expect(bench.core.currentStatus().counts.heldAssignments == 0)
        // Once the time of day has caught up, it counts again.
        bench.clock.setWall(byMilliseconds: 7_300_000)
        #expect(try bench.submit(about: 3).receivedAt == bench.clock.wallTime())
        #expect(bench.core.currentStatus().clockAheadMilliseconds == 0)
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
