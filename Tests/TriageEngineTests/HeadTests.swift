// When heads are signed: within the interval after a record, whoever asks behind the commit of what
// was acknowledged before, never after a failed journal; and proofs, which are asked for and come
// later.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageCrypto
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

/// A keeper of heads that answers when a test says so.
///
/// `@unchecked Sendable`: used by the test's thread only.
final class FakeKeeper: HeadKeeper, @unchecked Sendable {
    typealias Report = @Sendable (AuditAnswer) -> Void
    var signings: [(time: WallTime, report: Report)] = []
    var questions: [(question: AuditQuestion, report: Report)] = []
    /// What the engine is to be told at its next turn.
    var answers: [AuditResult] = []
    var status = SigningStatus()

    func sign(_ time: WallTime, report: @escaping Report) { signings.append((time, report)) }

    func prove(_ question: AuditQuestion, report: @escaping Report) {
        questions.append((question, report))
    }

    static let head = AuditAnswer.head(
        SignedHeadReport(
            size: 1, root: .zero, time: .epoch, checkpoint: "checkpoint", verifierKey: "key"))
}

@Suite struct HeadTests {
    private let keeper = FakeKeeper()
    private let bench: EngineBench

    init() { bench = EngineBench(audit: keeper) { $0.headMilliseconds = 60_000 } }

    /// A turn that takes what the keeper answered.
    private func answer() -> [Completion] {
        let answers = keeper.answers
        keeper.answers = []
        bench.core.turn([], audits: answers)
        return bench.sink.take()
    }

    @Test func aRecordIsUnderASignedHeadWithinTheInterval() throws {
        bench.turn()
        #expect(bench.core.nextDeadline == nil && keeper.signings.isEmpty)
        _ = try bench.submit(about: 1)
        let due = try #require(bench.core.nextDeadline)
        #expect(due.nanoseconds(since: bench.clock.monotonicTime()) == 60_000_000_000)
        // Later records do not put it off.
        bench.clock.advance(milliseconds: 59_000)
        _ = try bench.submit(about: 2)
        #expect(bench.core.nextDeadline == due && keeper.signings.isEmpty)
        bench.clock.advance(milliseconds: 1_000)
        bench.turn()
        #expect(keeper.signings.count == 1)
        // Nothing new: nothing to sign.
        #expect(bench.core.nextDeadline == nil)
        bench.clock.advance(milliseconds: 600_000)
        bench.turn()
        #expect(keeper.signings.count == 1)
        _ = try bench.submit(about: 3)
        #expect(bench.core.nextDeadline != nil)
    }

    @Test func whoAsksGetsAHeadOverEverythingBefore() throws {
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.signHead, by: "auditor"))
        #expect(replies.map(\.reply.kind) == ["receipt"])
        // Asked of the keeper once the record is durable.
        #expect(bench.core.status.durableSequence == 1 && keeper.signings.count == 1)
        keeper.signings[0].report(FakeKeeper.head)
        #expect(answer().map(\.reply.kind) == ["audit"])
        // The interval's head is that one.
        #expect(bench.core.nextDeadline == nil)
    }

    @Test func manyWhoAskInOneTurnGetOneHead() {
        let replies = bench.turn(
            bench.request(.signHead, by: "a"), bench.request(.signHead, by: "b"))
        #expect(replies.isEmpty && keeper.signings.count == 1)
        keeper.signings[0].report(.failed(.signingFailed))
        #expect(answer().map(\.reply.kind) == ["failed(signingFailed)", "failed(signingFailed)"])
    }

    @Test func aHeadThatFailedIsTriedAgain_andWhatAnEarlierProcessLeftIsCovered() throws {
        _ = try bench.submit(about: 1)
        bench.clock.advance(milliseconds: 60_000)
        bench.turn()
        keeper.signings[0].report(.failed(.signingFailed))
        #expect(answer().isEmpty)
        let due = try #require(bench.core.nextDeadline)
        #expect(due.nanoseconds(since: bench.clock.monotonicTime()) == 60_000_000_000)
        bench.clock.advance(milliseconds: 60_000)
        bench.turn()
        #expect(keeper.signings.count == 2)
        // A process that finds one record and no head over it.
        let again = EngineBench(audit: keeper, journal: bench.journal) {
            $0.headMilliseconds = 60_000
        }
        #expect(again.core.nextDeadline != nil)
        keeper.status.newest = SignedHead(
            head: bench.journal.durableHead, time: .epoch, keyNumber: 2,
            signature: Signature(copying: [UInt8](repeating: 0, count: 64).span))
        let covered = EngineBench(audit: keeper, journal: bench.journal)
        #expect(covered.core.nextDeadline == nil)
    }

    @Test func withoutEncryptionThereIsNoHead() {
        let plain = EngineBench()
        let replies = plain.turn(
            plain.request(.signHead), plain.request(.prove(.record(sequence: 1, size: nil))))
        #expect(
            replies.map(\.reply.kind) == [
                "failed(encryptionRequired)", "failed(encryptionRequired)",
            ])
    }

    @Test func aFailedJournalIsNotSigned() throws {
        _ = try bench.submit(about: 1)
        bench.journal.commitError = .poisoned(IOError(.sync, path: "j", .inputOutput))
        let replies = bench.turn(
            bench.request(.signHead),
            bench.request(.write(bench.report(about: 2), bench.freshKey())))
        #expect(
            Set(replies.map(\.reply.kind)) == ["failed(journalFailed)"] && replies.count == 2)
        bench.clock.advance(milliseconds: 600_000)
        bench.turn()
        #expect(keeper.signings.isEmpty)
        #expect(bench.turn(bench.request(.signHead)).map(\.reply.kind) == ["failed(journalFailed)"])
    }

    @Test func proofsAreBounded_andAnsweredWhenTheyAreMade() {
        for _ in 0..<8 { bench.turn(bench.request(.prove(.record(sequence: 1, size: nil)))) }
        #expect(keeper.questions.count == 8)
        let refused = bench.turn(bench.request(.prove(.history(from: 1, to: nil))))
        #expect(refused.map(\.reply.kind) == ["failed(overloaded)"])
        keeper.questions[0].report(.proof("proof"))
        keeper.questions[1].report(.failed(.notProvable("why")))
        #expect(answer().map(\.reply.kind) == ["audit", "failed(notProvable(\"why\"))"])
        bench.turn(bench.request(.prove(.history(from: 1, to: nil))))
        #expect(keeper.questions.count == 9)
    }
}
