// DisclosureService: the way to approval and to rejection, and what an outside agency may see.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC

@testable import TriageServices

@Suite struct DisclosureLifeTests {
    private func verify(
        _ bench: ServiceBench, _ name: String, by person: String, _ method: String
    ) throws -> DynamicMessage {
        try bench.reply(
            .addVerification, by: person,
            [
                "request_id": bench.uuid(), "name": .string(name),
                "verification": .message(
                    message([
                        "method": .enumeration("VERIFICATION_METHOD_\(method)"),
                        "outcome": .enumeration("VERIFICATION_OUTCOME_PASSED"),
                        "note": .string("checked"),
                    ])),
            ])
    }

    private var scope: DynamicValue {
        .message(
            message([
                "items": .list([
                    .message(
                        message([
                            "category": .enumeration("DATA_CATEGORY_LOGIN"),
                            "start_time": .timestamp(WallTime(milliseconds: 1_600_000_000_000)),
                            "end_time": .timestamp(WallTime(milliseconds: 1_600_000_100_000)),
                        ]))
                ]),
                "legal_basis": .enumeration("LEGAL_BASIS_US_2702_EMERGENCY"),
                "good_faith_finding": .string("A child is in danger of death."),
            ]))
    }

    @Test func fromFilingToApproval_byThreePeople() throws {
        let bench = ServiceBench()
        let filed = try bench.file()
        let name = filed.text("name")
        // Filing and its preservation are one record.
        #expect(bench.engine.journal.records.count == 1)
        #expect(filed.message("preservation")?.text("state") == "PRESERVATION_STATE_ACTIVE")
        _ = try verify(bench, name, by: "erin", "OFFICIAL_EMAIL")
        let verified = try verify(bench, name, by: "erin", "CALL_BACK")
        #expect(verified.text("state") == "DISCLOSURE_STATE_LEGAL_REVIEW")
        let scoped = try bench.reply(
            .setScope, by: "farid",
            ["request_id": bench.uuid(), "name": .string(name), "scope": scope])
        for person in ["erin", "farid"] {
            let error = try bench.refusal(
                .approveDisclosure, by: person,
                [
                    "request_id": bench.uuid(), "name": .string(name),
                    "etag": .string(scoped.text("etag")),
                ])
            #expect(error.reason == "SECOND_PERSON_REQUIRED")
        }
        let stale = try bench.refusal(
            .approveDisclosure, by: "gina",
            [
                "request_id": bench.uuid(), "name": .string(name),
                "etag": .string(verified.text("etag")),
            ])
        #expect(stale.code == .aborted && stale.reason == "ETAG_MISMATCH")
        let approved = try bench.reply(
            .approveDisclosure, by: "gina",
            [
                "request_id": bench.uuid(), "name": .string(name),
                "etag": .string(scoped.text("etag")),
            ])
        #expect(approved.text("state") == "DISCLOSURE_STATE_APPROVED")
    }

    @Test func rejection_withACodeOfTheList() throws {
        let bench = ServiceBench()
        let name = try bench.file().text("name")
        let rejected = try bench.reply(
            .rejectDisclosure, by: "legal",
            [
                "request_id": bench.uuid(), "name": .string(name),
                "rejection": .message(
                    message([
                        "reason": .enumeration("REJECTION_REASON_CALL_BACK_FAILED"),
                        "explanation": .string("no answer"),
                    ])),
            ])
        #expect(rejected.text("state") == "DISCLOSURE_STATE_REJECTED")
    }

    @Test func anAgency_cannotTellAForeignRequestFromAMissingOne() throws {
        let bench = ServiceBench()
        let name = try bench.file().text("name")
        let missing = "disclosureRequests/00000000000000ff"
        for route in [Route.getDisclosureRequest, .watchDisclosureRequest] {
            let foreign = try bench.refusal(route, by: "otherAgency", ["name": .string(name)])
            let absent = try bench.refusal(route, by: "otherAgency", ["name": .string(missing)])
            #expect(foreign == absent && foreign.code == .notFound)
        }
        let list = try bench.reply(.listDisclosureRequests, by: "otherAgency")
        #expect(list.messages("disclosure_requests").isEmpty)
        let own = try bench.reply(.listDisclosureRequests, by: "external_partner")
        #expect(own.messages("disclosure_requests").map { $0.text("name") } == [name])
    }

    @Test func anAgency_seesItsOwn_withoutOurSide() throws {
        let bench = ServiceBench()
        let name = try bench.file().text("name")
        _ = try verify(bench, name, by: "erin", "CALL_BACK")
        let records = bench.engine.journal.durableCount
        let own = try bench.reply(
            .getDisclosureRequest, by: "external_partner", ["name": .string(name)])
        #expect(own.message("officer")?.text("name") == "Officer Secret")
        #expect(own.messages("verifications").isEmpty)
        #expect(bench.engine.journal.durableCount == records)
    }

    @Test func anInsider_needsAPurpose_andIsRecorded() throws {
        let bench = ServiceBench()
        let name = try bench.file().text("name")
        let error = try bench.refusal(.getDisclosureRequest, by: "legal", ["name": .string(name)])
        #expect(error.fieldViolations.map(\.field) == ["purpose"])
        _ = try bench.reply(
            .getDisclosureRequest, by: "legal",
            ["name": .string(name), "purpose": .string("verify")])
        #expect(bench.engine.journal.durableCount == 2)
    }

    @Test func anAgency_cannotLinkACase_norLearnWhichThereAre() throws {
        let bench = ServiceBench()
        try bench.submit()
        guard case .message(var filing) = bench.filing else { throw Unexpected() }
        var errors: [RPCError] = []
        for name in ["cases/1", "cases/999"] {
            filing["case"] = .string(name)
            errors.append(
                try bench.refusal(
                    .submitDisclosureRequest, by: "external_partner",
                    ["request_id": bench.uuid(), "disclosure_request": .message(filing)]))
        }
        #expect(errors[0] == errors[1])
        #expect(errors[0].fieldViolations.map(\.field) == ["disclosure_request.case"])
    }

    @Test func aWatch_showsEveryChange_andEndsWithTheRequest() throws {
        let bench = ServiceBench()
        let name = try bench.file().text("name")
        let watch = bench.begin(
            .watchDisclosureRequest, by: "external_partner",
            try bench.schema(.watchDisclosureRequest).request.encode(
                message(["name": .string(name)])))
        bench.settle()
        #expect(bench.answer(watch).isLongLived)
        _ = try verify(bench, name, by: "erin", "CALL_BACK")
        _ = try bench.reply(
            .rejectDisclosure, by: "legal",
            [
                "request_id": bench.uuid(), "name": .string(name),
                "rejection": .message(
                    message(["reason": .enumeration("REJECTION_REASON_DUPLICATE")])),
            ])
        let states = try bench.messages(.watchDisclosureRequest, watch).map {
            $0.message("disclosure_request")?.text("state")
        }
        #expect(states.count == 3 && states.last == "DISCLOSURE_STATE_REJECTED")
        #expect(bench.answer(watch).isOver && bench.answer(watch).error == nil)
    }
}
