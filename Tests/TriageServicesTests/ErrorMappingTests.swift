// Every refusal as its caller sees it.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC

@testable import TriageEngine
@testable import TriageServices

@Suite struct ErrorMappingTests {
    /// One of every case, with the code that it must have.
    static let domain: [(DomainError, StatusCode, String)] = [
        (.notFound(.case), .notFound, "NOT_FOUND"),
        (
            .illegalTransition(
                resource: .case, from: "CLOSED", to: "DECIDED", allowed: ["IN_TRIAGE"]),
            .failedPrecondition, "ILLEGAL_TRANSITION"
        ),
        (.leaseNotHeld(current: true), .failedPrecondition, "LEASE_NOT_HELD"),
        (.leaseNotHeld(current: false), .failedPrecondition, "LEASE_NOT_HELD"),
        (.etagMismatch(.case), .aborted, "ETAG_MISMATCH"),
        (.requestIDReused, .invalidArgument, "REQUEST_ID_REUSED"),
        (.lowerReasonRequired, .invalidArgument, "LOWER_REASON_REQUIRED"),
        (.dutiesUnanswered(["referral"]), .failedPrecondition, "DUTIES_UNANSWERED"),
        (.liveRiskOpen, .failedPrecondition, "LIVE_RISK_OPEN"),
        (.secondPersonRequired(action: "approval"), .failedPrecondition, "SECOND_PERSON_REQUIRED"),
        (.notEligible(.skill), .failedPrecondition, "NOT_ELIGIBLE"),
        (.tooManyReports(limit: 3), .resourceExhausted, "TOO_MANY_REPORTS"),
        (.invalidField(field: "f", description: "is wrong"), .invalidArgument, "INVALID_FIELD"),
        (.tooManyAssignments(limit: 5), .resourceExhausted, "TOO_MANY_ASSIGNMENTS"),
    ]

    static let engine: [(EngineFailure, StatusCode, String)] = [
        (.journalFailed, .unavailable, "JOURNAL_FAILED"),
        (.overloaded, .resourceExhausted, "OVERLOADED"),
        (.storageFull, .resourceExhausted, "STORAGE_FULL"),
        (.tooLarge, .resourceExhausted, "RECORD_TOO_LARGE"),
        (.stopping, .unavailable, "DRAINING"),
        (.clearanceRequired, .permissionDenied, "CLEARANCE_REQUIRED"),
        (.revisionCompacted(oldest: 4), .outOfRange, "REVISION_COMPACTED"),
        (.watchTooSlow(revision: 9), .resourceExhausted, "WATCH_TOO_SLOW"),
        (.tooManyWatches, .resourceExhausted, "TOO_MANY_WATCHES"),
        (.snapshotFailed, .unavailable, "SNAPSHOT_FAILED"),
    ]

    private func check(_ error: RPCError, _ code: StatusCode, _ reason: String) {
        #expect(error.code == code && error.reason == reason)
        #expect(error.reason.utf8.count <= 63)
        #expect(error.reason.allSatisfy { $0.isUppercase || $0 == "_" })
        #expect(!error.message.isEmpty && error.message.utf8.count < 512)
        // What is variable in the message is in the metadata too.
        for digit in error.message.split(whereSeparator: { !$0.isNumber }) where digit.count > 0 {
            let isConstant =
                error.message.contains("P\(digit)") || error.message.contains("revision 0")
                || error.message.contains("resume_revision 0")
            #expect(isConstant || error.metadata.values.contains(String(digit)), "\(error.message)")
        }
        // It survives the wire with its details.
        let details = StatusDetails.encode(error)
        var decoded = RPCError(error.code, reason: "", message: error.message)
        StatusDetails.decode(details, into: &decoded)
        #expect(decoded == error)
    }

    @Test func everyRefusalByTheRules() {
        for (error, code, reason) in Self.domain { check(RPCError(error), code, reason) }
    }

    @Test func everyFailureOfTheEngine() {
        for (failure, code, reason) in Self.engine { check(RPCError(failure), code, reason) }
    }

    @Test func anIllegalTransition_namesFromToAndAllowed() {
        let error = RPCError(Self.domain[1].0)
        #expect(error.metadata["from"] == "CLOSED" && error.metadata["to"] == "DECIDED")
        #expect(error.metadata["allowed"] == "IN_TRIAGE")
    }

    @Test func aBadMessage_namesEveryFieldAtFault() throws {
        let bench = ServiceBench()
        let error = try bench.refusal(.submitReport, by: "intake", ["request_id": .string("no")])
        #expect(error.code == .invalidArgument && error.reason == "INVALID_FIELD")
        #expect(Set(error.fieldViolations.map(\.field)).isSuperset(of: ["request_id", "report"]))
    }

    @Test func bytesThatAreNoMessage_areInvalid_andSayNothingOfTheirContent() {
        let bench = ServiceBench()
        let error = bench.call(.submitReport, by: "intake", bytes: [0x0A, 0xFF, 0x01]).error
        #expect(error?.code == .invalidArgument && error?.reason == "MALFORMED_MESSAGE")
    }

    /// The transport counts it under this name.
    @Test(
        arguments: [
            (.tooDeep, "message_depth"), (.tooManyFields, "message_fields"),
            (.tooManyUnknownBytes, "message_unknown_bytes"), (.truncated, nil),
        ] as [(MessageFault.Kind, String?)])
    func aBoundOfAMessage_isNamed(kind: MessageFault.Kind, limit: String?) {
        let error = RPCError(RequestError.malformed(MessageFault(kind: kind, offset: 7)))
        #expect(error.metadata["limit"] == limit)
        #expect(error.metadata["problem"] == kind.rawValue)
    }

    @Test func aRepeatedRequestID_withOtherContent_isRefused() throws {
        let bench = ServiceBench()
        let id = bench.uuid()
        _ = try bench.reply(
            .submitReport, by: "intake", ["request_id": id, "report": bench.report(about: "a")])
        let error = try bench.refusal(
            .submitReport, by: "intake", ["request_id": id, "report": bench.report(about: "b")])
        #expect(error.reason == "REQUEST_ID_REUSED")
    }

    @Test func whatWaitsForTheDisk_isBounded_andReadsGoOn() throws {
        let bench = ServiceBench()
        bench.engine.journalBytesMax = 0
        let write = bench.begin(
            .submitReport, by: "intake",
            try bench.schema(.submitReport).request.encode(
                message(["request_id": bench.uuid(), "report": bench.report()])))
        let read = bench.begin(.listCases, by: "lead", [])
        bench.settle()
        #expect(bench.answer(write).error?.reason == "OVERLOADED")
        #expect(bench.answer(write).error?.retryAfterMilliseconds != nil)
        #expect(bench.answer(read).isOver && bench.answer(read).error == nil)
    }

    @Test func aStoppedEngine_isDraining() throws {
        let bench = ServiceBench()
        bench.engine.isStopped = true
        #expect(try bench.refusal(.listCases, by: "lead").reason == "DRAINING")
    }
}
