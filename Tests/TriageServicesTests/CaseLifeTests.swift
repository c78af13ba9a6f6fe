// TriageService and AssignmentService, from the first report to the closed case.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC

@testable import TriageServices

@Suite struct CaseLifeTests {
    private var answers: DynamicValue {
        .message(
            message([
                "protocol_version": .string("2026-11"),
                "happening_now": .enumeration("ANSWER_NO"),
                "credible_threat": .enumeration("ANSWER_YES"),
                "action_count": .enumeration("ACTION_COUNT_ONE"),
            ]))
    }

    private var decision: DynamicValue {
        .message(
            message([
                "outcome": .enumeration("DECISION_OUTCOME_HARM_REFERRED"),
                "policy_version": .string("v7"),
                "duties": .message(
                    message([
                        "referral": .enumeration("DUTY_ANSWER_DONE"),
                        "statutory_report": .enumeration("DUTY_ANSWER_NOT_APPLICABLE"),
                        "preservation": .enumeration("DUTY_ANSWER_DONE"),
                        "welfare_resource": .enumeration("DUTY_ANSWER_DONE"),
                    ])),
            ]))
    }

    @Test func fromReportToClosed_andReopened() throws {
        let bench = ServiceBench()
        let name = try bench.submit()
        let (assignment, token) = try bench.claim()
        let accepted = try bench.reply(
            .acceptCase, by: "specialist",
            ["request_id": bench.uuid(), "name": assignment, "fencing_token": token])
        #expect(accepted.text("state") == "ASSIGNMENT_STATE_ACTIVE")
        let renewed = try bench.reply(
            .renewLease, by: "specialist",
            ["request_id": bench.uuid(), "name": assignment, "fencing_token": token])
        #expect(renewed.int("revision") == 4)
        let answered = try bench.reply(
            .answerProtocol, by: "specialist",
            [
                "request_id": bench.uuid(), "name": .string(name), "answers": answers,
                "fencing_token": token,
            ])
        #expect(answered.text("level") == "LEVEL_P1" && answered.text("level_code") == "VIO-B")
        let decided = try bench.reply(
            .decideCase, by: "specialist",
            [
                "request_id": bench.uuid(), "name": .string(name), "decision": decision,
                "fencing_token": token, "etag": .string(answered.text("etag")),
            ])
        #expect(decided.text("state") == "CASE_STATE_DECIDED")
        let closed = try bench.reply(
            .closeCase, by: "specialist",
            ["request_id": bench.uuid(), "name": .string(name), "fencing_token": token])
        #expect(closed.text("state") == "CASE_STATE_CLOSED")
        let reopened = try bench.reply(
            .reopenCase, by: "lead",
            ["request_id": bench.uuid(), "name": .string(name), "reason": .string("new facts")])
        #expect(reopened.text("state") == "CASE_STATE_QUEUED")
    }

    @Test func releaseHandOffAndComplete() throws {
        let bench = ServiceBench()
        let name = try bench.submit()
        let (first, token) = try bench.claim()
        let released = try bench.reply(
            .releaseLease, by: "specialist",
            [
                "request_id": bench.uuid(), "name": first, "fencing_token": token,
                "reason": .enumeration("RELEASE_REASON_WELLNESS"),
            ])
        #expect(released.text("state") == "ASSIGNMENT_STATE_DECLINED")
        #expect(released.text("release_reason") == "RELEASE_REASON_WELLNESS")
        let (second, next) = try bench.claim(by: "ben")
        _ = try bench.reply(
            .acceptCase, by: "ben",
            ["request_id": bench.uuid(), "name": second, "fencing_token": next])
        let unknown = try bench.refusal(
            .handOffCase, by: "ben",
            [
                "request_id": bench.uuid(), "name": second, "fencing_token": next,
                "specialist": .string("spiffe://triaged.example/intake"), "note": .string("n"),
            ])
        #expect(unknown.fieldViolations.map(\.field) == ["specialist"])
        let handing: KeyValuePairs<String, DynamicValue> = [
            "request_id": bench.uuid(), "name": second, "fencing_token": next,
            "specialist": .string("spiffe://triaged.example/lead"), "note": .string("n"),
        ]
        let handed = try bench.reply(.handOffCase, by: "ben", handing)
        #expect(handed.text("specialist") == "spiffe://triaged.example/lead")
        // A repeat is one, also when nobody could be handed anything by now.
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("lead")]?.roles = RoleSet(.auditor)
        bench.policy.replace(policy)
        #expect(
            try bench.reply(.handOffCase, by: "ben", handing).text("name") == handed.text("name"))
        bench.policy.replace(ServiceBench.policy())
        let (third, last) = (DynamicValue.string(handed.text("name")), handed.int("fencing_token"))
        _ = try bench.reply(
            .acceptCase, by: "lead",
            ["request_id": bench.uuid(), "name": third, "fencing_token": .int(last)])
        _ = try bench.reply(
            .decideCase, by: "lead",
            [
                "request_id": bench.uuid(), "name": .string(name), "decision": decision,
                "fencing_token": .int(last),
            ])
        let completed = try bench.reply(
            .completeCase, by: "lead",
            ["request_id": bench.uuid(), "name": third, "fencing_token": .int(last)])
        #expect(completed.text("state") == "ASSIGNMENT_STATE_COMPLETED")
    }

    @Test func aStaleToken_isRefused_andSaysWhy() throws {
        let bench = ServiceBench()
        try bench.submit()
        let (assignment, token) = try bench.claim()
        bench.engine.clock.advance(milliseconds: 3_600_000)
        let error = try bench.refusal(
            .acceptCase, by: "specialist",
            ["request_id": bench.uuid(), "name": assignment, "fencing_token": token])
        #expect(error.code == .failedPrecondition && error.reason == "LEASE_NOT_HELD")
    }

    @Test func theBasicView_hasNothingSensitive_theFullViewIsRecorded() throws {
        let bench = ServiceBench()
        let name = try bench.submit()
        let basic = try bench.reply(.getCase, by: "lead", ["name": .string(name)])
        #expect(basic.messages("reports").isEmpty && basic.message("subject") == nil)
        let before = bench.engine.journal.durableCount
        let full = try bench.reply(
            .getCase, by: "lead",
            [
                "name": .string(name), "view": .enumeration("CASE_VIEW_FULL"),
                "purpose": .string("review"),
            ])
        #expect(
            full.messages("reports").map { $0.text("description") } == ["words that must not leak"])
        #expect(bench.engine.journal.durableCount == before + 1)
    }

    @Test func theBoard_inPages_withTokensBoundToCallerAndFilter() throws {
        let bench = ServiceBench()
        for subject in 0..<5 { try bench.submit(about: "post-\(subject)") }
        var names: [String] = []
        var token = ""
        repeat {
            let page = try bench.reply(
                .listCases, by: "lead", ["page_size": .int(2), "page_token": .string(token)])
            names += page.messages("cases").map { $0.text("name") }
            #expect(page.int("open_count") == 5 && page.int("revision") == 5)
            token = page.text("next_page_token")
            if names.count == 2 {
                let stolen = try bench.refusal(
                    .listCases, by: "auditor", ["page_token": .string(token)])
                #expect(stolen.fieldViolations.map(\.field) == ["page_token"])
                let refiltered = try bench.refusal(
                    .listCases, by: "lead",
                    [
                        "page_token": .string(token),
                        "filter": .message(
                            message(["levels": .list([.enumeration("LEVEL_P0")])])),
                    ])
                #expect(refiltered.code == .invalidArgument)
            }
        } while !token.isEmpty
        #expect(names == (1...5).map { "cases/\($0)" })
    }

    @Test func aClaim_waits_andEndsBeforeItsDeadline() throws {
        let bench = ServiceBench()
        let bytes = try bench.schema(.claimNext).request.encode(
            message([
                "request_id": bench.uuid(), "wait_duration": .duration(milliseconds: 50_000),
            ]))
        let call = bench.begin(
            .claimNext, by: "specialist", bytes,
            deadline: bench.responder.now.advanced(byNanoseconds: 2_100_000_000))
        bench.settle()
        #expect(!bench.answer(call).isOver)
        bench.engine.clock.advance(milliseconds: 2_000)
        bench.settle()
        #expect(bench.answer(call).isOver && bench.answer(call).messages == [[]])
    }

    @Test func aClaimThatWaits_isWokenByAReport_andCancelledWithItsCall() throws {
        let bench = ServiceBench()
        func wait() throws -> CallID {
            let call = bench.begin(
                .claimNext, by: "specialist",
                try bench.schema(.claimNext).request.encode(
                    message([
                        "request_id": bench.uuid(),
                        "wait_duration": .duration(milliseconds: 50_000),
                    ])))
            bench.settle()
            return call
        }
        let gone = try wait()
        bench.handler.callCancelled(gone, .byClient)
        let stays = try wait()
        try bench.submit()
        #expect(!bench.answer(gone).isOver)
        let reply = try bench.messages(.claimNext, stays)
        #expect(reply.first?.message("case")?.text("name") == "cases/1")
        #expect(reply.first?.message("explanation") != nil)
    }
}
