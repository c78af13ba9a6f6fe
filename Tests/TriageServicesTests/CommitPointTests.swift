// From when on a call's work stands, whatever becomes of the call: cancelled before it was handed
// to the engine, or late, it is not begun; afterwards it is done, and the request id tells.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageGRPC
import TriageIO

@testable import TriageEngine
@testable import TriageServices

@Suite struct CommitPointTests {
    private let bench = ServiceBench()

    private func submission(_ id: DynamicValue) throws -> [UInt8] {
        try bench.schema(.submitReport).request.encode(
            message(["request_id": id, "report": bench.report()]))
    }

    private func begin(_ id: DynamicValue) throws -> CallID {
        bench.begin(.submitReport, by: "intake", try submission(id))
    }

    private func receipt(_ id: DynamicValue) throws -> DynamicMessage {
        try bench.reply(
            .submitReport, by: "intake", ["request_id": id, "report": bench.report()])
    }

    @Test func cancelledInTheTurnThatBroughtIt_isNotDone() throws {
        let id = bench.uuid()
        let gone = try begin(id)
        let stays = bench.begin(.submitReport, by: "intake", try submission(bench.uuid()))
        bench.handler.callCancelled(gone, .byClient)
        bench.settle()
        #expect(bench.engine.journal.records.count == 1, "the other one's")
        #expect(bench.answer(stays).messages.count == 1)
        // It was never there: the same id begins anew.
        #expect(try receipt(id).bool("opened") == false)
        #expect(bench.engine.journal.records.count == 2)
    }

    @Test func cancelledOnceItIsWithTheEngine_isDone_andTheIDTells() throws {
        let id = bench.uuid()
        let call = try begin(id)
        bench.handler.turnEnded()
        bench.handler.callCancelled(call, .byClient)
        bench.settle()
        #expect(bench.engine.journal.records.count == 1)
        let first = try receipt(id)
        #expect(first.bool("opened") && first.text("case") == "cases/1")
        #expect(bench.engine.journal.records.count == 1, "an answer, not another report")
    }

    @Test(arguments: [CancelReason.byClient, .deadlineExceeded, .drained])
    func aClaimThatWasGrantedBeforeItsCancel_isHeld_andTheIDGivesIt(reason: CancelReason) throws {
        try bench.submit()
        let id = bench.uuid()
        let call = bench.begin(
            .claimNext, by: "specialist",
            try bench.schema(.claimNext).request.encode(
                message(["request_id": id, "wait_duration": .duration(milliseconds: 50_000)])))
        bench.handler.turnEnded()
        bench.engine.run()
        // The answer is on its way when the client goes.
        bench.handler.callCancelled(call, reason)
        bench.settle()
        let again = try bench.reply(.claimNext, by: "specialist", ["request_id": id])
        #expect(again.message("assignment")?.text("case") == "cases/1")
        let other = try bench.reply(.claimNext, by: "ben", ["request_id": bench.uuid()])
        #expect(other.message("assignment") == nil, "it is held")
    }

    @Test func aClaimCancelledInItsTurn_takesNothing() throws {
        try bench.submit()
        let call = bench.begin(
            .claimNext, by: "specialist",
            try bench.schema(.claimNext).request.encode(
                message([
                    "request_id": bench.uuid(), "wait_duration": .duration(milliseconds: 50_000),
                ])))
        bench.handler.callCancelled(call, .byClient)
        bench.settle()
        let other = try bench.reply(.claimNext, by: "ben", ["request_id": bench.uuid()])
        #expect(other.message("assignment")?.text("case") == "cases/1")
    }

    @Test func whatComesToTheEngineAfterItsDeadline_isNotBegun() throws {
        let id = bench.uuid()
        let call = bench.begin(
            .submitReport, by: "intake", try submission(id),
            deadline: bench.engine.clock.monotonicTime().advanced(byNanoseconds: 1_000_000))
        bench.handler.turnEnded()
        bench.engine.clock.advance(milliseconds: 2)
        bench.settle()
        #expect(bench.engine.journal.records.isEmpty)
        #expect(bench.answer(call).error?.code == .deadlineExceeded)
        #expect(bench.engine.core.currentStatus().counters.expired == 1)
        #expect(try receipt(id).bool("opened"), "a repeat is done")
    }

    /// Nothing can take these back.
    @Test(arguments: [Route.eraseReportTexts, .eraseEvidence, .rotateKeys])
    func whatCannotBeUndone_isNotBegunAfterItsDeadline(route: Route) throws {
        let bench = ServiceBench(vault: FakeVault())
        try bench.submit()
        let records = bench.engine.journal.records.count
        let erasure = DynamicValue.message(
            message([
                "ground": .enumeration("ERASURE_GROUND_DATA_SUBJECT_REQUEST"),
                "legal_basis": .string("GDPR 17"), "reason": .string("Asked for."),
            ]))
        let fields: KeyValuePairs<String, DynamicValue> =
            switch route {
            case .rotateKeys:
                ["request_id": bench.uuid(), "kind": .enumeration("KEY_KIND_DATA")]
            case .eraseEvidence:
                [
                    "request_id": bench.uuid(), "name": .string("cases/1/evidence/1"),
                    "erasure": erasure,
                ]
            default:
                ["request_id": bench.uuid(), "case": .string("cases/1"), "erasure": erasure]
            }
        let call = bench.begin(
            route, by: route == .rotateKeys ? "operator" : "legal",
            try bench.schema(route).request.encode(message(fields)),
            deadline: bench.engine.clock.monotonicTime().advanced(byNanoseconds: 1_000_000))
        bench.handler.turnEnded()
        bench.engine.clock.advance(milliseconds: 2)
        bench.settle()
        #expect(bench.answer(call).error?.code == .deadlineExceeded)
        #expect(bench.engine.journal.records.count == records)
    }
}
