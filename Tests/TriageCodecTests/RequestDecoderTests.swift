// What each request decodes to, and every constraint that its fields have: broken one at a time,
// each is refused with the right path, and the value is never repeated.

import Testing
import TriageBase
import TriageDomain

@testable import TriageCodec

/// Decodes requests by method name, and tells what was refused.
struct Decoding {
    let decoder = RequestDecoder(pageTokenKey: PageTokenKey(first: 1, second: 2))
    let principal = Principal(spiffeID: "spiffe://triaged.test/alice")

    /// Decodes and throws the value away.
    func run(_ method: String, _ bytes: [UInt8]) throws(RequestError) {
        let bytes = bytes.span
        switch method {
        case "SubmitReport": _ = try decoder.decodeSubmitReport(bytes)
        case "SubmitReports": _ = try decoder.decodeSubmitReports(bytes).write.get()
        case "GetCase": _ = try decoder.decodeGetCase(bytes)
        case "ListCases": _ = try decoder.decodeListCases(bytes, principal: principal)
        case "AnswerProtocol": _ = try decoder.decodeAnswerProtocol(bytes)
        case "DecideCase": _ = try decoder.decodeDecideCase(bytes)
        case "CloseCase": _ = try decoder.decodeCloseCase(bytes)
        case "ReopenCase": _ = try decoder.decodeReopenCase(bytes)
        case "WatchBoard": _ = try decoder.decodeWatchBoard(bytes)
        case "ClaimNext": _ = try decoder.decodeClaimNext(bytes)
        case "AcceptCase": _ = try decoder.decodeAcceptCase(bytes)
        case "RenewLease": _ = try decoder.decodeRenewLease(bytes)
        case "ReleaseLease": _ = try decoder.decodeReleaseLease(bytes)
        case "HandOffCase": _ = try decoder.decodeHandOffCase(bytes)
        case "CompleteCase": _ = try decoder.decodeCompleteCase(bytes)
        case "WatchAssignments": _ = try decoder.decodeWatchAssignments(bytes)
        case "SubmitDisclosureRequest": _ = try decoder.decodeSubmitDisclosureRequest(bytes)
        case "GetDisclosureRequest": _ = try decoder.decodeGetDisclosureRequest(bytes)
        case "ListDisclosureRequests":
            _ = try decoder.decodeListDisclosureRequests(bytes, principal: principal)
        case "AddVerification": _ = try decoder.decodeAddVerification(bytes)
        case "SetScope": _ = try decoder.decodeSetScope(bytes)
        case "ApproveDisclosure": _ = try decoder.decodeApproveDisclosure(bytes)
        case "RejectDisclosure": _ = try decoder.decodeRejectDisclosure(bytes)
        case "WatchDisclosureRequest": _ = try decoder.decodeWatchDisclosureRequest(bytes)
        case "AttachEvidence": _ = try decoder.decodeAttachEvidence(bytes)
        case "ListEvidence": _ = try decoder.decodeListEvidence(bytes, principal: principal)
        case "ReadEvidence": _ = try decoder.decodeReadEvidence(bytes)
        case "EraseEvidence": _ = try decoder.decodeEraseEvidence(bytes)
        case "EraseReportTexts": _ = try decoder.decodeEraseReportTexts(bytes)
        case "PlaceHold": _ = try decoder.decodePlaceHold(bytes)
        case "ReleaseHold": _ = try decoder.decodeReleaseHold(bytes)
        case "ListHolds": _ = try decoder.decodeListHolds(bytes, principal: principal)
        case "ListHoldRules": try decoder.decodeListHoldRules(bytes)
        case "RotateKeys": _ = try decoder.decodeRotateKeys(bytes)
        case "ListBackup": try decoder.decodeListBackup(bytes)
        case "ReadBackup": _ = try decoder.decodeReadBackup(bytes)
        case "SignHead": try decoder.decodeSignHead(bytes)
        case "ProveRecord": _ = try decoder.decodeProveRecord(bytes)
        case "ProveHistory": _ = try decoder.decodeProveHistory(bytes)
        case "GetStatus": try decoder.decodeGetStatus(bytes)
        case "CreateSnapshot": _ = try decoder.decodeCreateSnapshot(bytes)
        case "Check", "Watch": _ = try decoder.decodeHealthCheck(bytes)
        case "List": try decoder.decodeHealthList(bytes)
        case "GetTopChannels": _ = try decoder.decodeTopChannels(bytes)
        case "GetServers": _ = try decoder.decodeServers(bytes)
        case "GetServer": _ = try decoder.decodeServer(bytes)
        case "GetServerSockets": _ = try decoder.decodeServerSockets(bytes)
        case "GetChannel": _ = try decoder.decodeChannel(bytes)
        case "GetSubchannel": _ = try decoder.decodeSubchannel(bytes)
        case "GetSocket": _ = try decoder.decodeSocket(bytes)
        case "ServerReflectionInfo": _ = try decoder.decodeReflection(bytes)
        default: Issue.record("\(method) has no decoder")
        }
    }

    func problems(_ method: String, _ message: DynamicMessage) throws -> [FieldProblem] {
        let bytes = try request(method, message)
        do throws(RequestError) {
            try run(method, bytes)
            return []
        } catch {
            guard case .invalid(let problems) = error else {
                Issue.record("\(method): \(error)")
                return []
            }
            return problems
        }
    }

    /// A request that is right in every part.
    static let valid: [String: DynamicMessage] = [
        "SubmitReport": Valid.submitReport, "SubmitReports": Valid.submitReport,
        "GetCase": Valid.getCase, "ListCases": Valid.listCases,
        "AnswerProtocol": Valid.answerProtocol, "DecideCase": Valid.decideCase,
        "CloseCase": Valid.closeCase, "ReopenCase": Valid.reopenCase,
        "WatchBoard": Valid.watchBoard, "ClaimNext": Valid.claimNext,
        "AcceptCase": Valid.assignment, "RenewLease": Valid.renewLease,
        "ReleaseLease": Valid.releaseLease, "HandOffCase": Valid.handOffCase,
        "CompleteCase": Valid.assignment, "WatchAssignments": ["resume_revision": 3],
        "SubmitDisclosureRequest": Valid.submitDisclosure,
        "GetDisclosureRequest": Valid.getDisclosure,
        "ListDisclosureRequests": Valid.listDisclosures, "AddVerification": Valid.addVerification,
        "SetScope": Valid.setScope, "ApproveDisclosure": Valid.disclosureWrite,
        "RejectDisclosure": Valid.rejectDisclosure,
        "WatchDisclosureRequest": ["name": .string(Valid.disclosureName)],
        "AttachEvidence": Valid.attachEvidence, "ListEvidence": ["case": "cases/7"],
        "ReadEvidence": ["name": "cases/7/evidence/3", "purpose": "assessing the threat"],
        "EraseEvidence": Valid.eraseEvidence, "EraseReportTexts": Valid.eraseReportTexts,
        "PlaceHold": Valid.placeHold, "ReleaseHold": Valid.releaseHold,
        "ListHolds": ["case": "cases/7", "page_size": 10], "ListHoldRules": [:],
        "RotateKeys": ["request_id": .string(uuid), "kind": e("KEY_KIND_DATA")],
        "ListBackup": [:], "ReadBackup": ["name": "keys", "read_bytes": .long(8192)],
        "SignHead": [:], "ProveRecord": ["sequence": 3, "record_count": 7],
        "ProveHistory": ["from_record_count": 3, "to_record_count": 7], "GetStatus": [:],
        "CreateSnapshot": ["request_id": .string(uuid)], "Check": ["service": "triaged.v1"],
        "List": [:], "GetTopChannels": [:], "GetServers": ["start_server_id": .long(1)],
        "GetServer": ["server_id": .long(1)],
        "GetServerSockets": ["server_id": .long(1), "max_results": .long(9)],
        "GetChannel": ["channel_id": .long(1)], "GetSubchannel": ["subchannel_id": .long(1)],
        "GetSocket": ["socket_id": .long(1)],
        "Watch": [:],
    ]
}

/// One field broken.
struct Breakage: CustomTestStringConvertible {
    let method: String
    /// Path of the field that is set.
    let path: String
    let value: DynamicValue?
    /// Path of the field that is refused.
    let field: String

    init(_ method: String, _ path: String, _ value: DynamicValue?, _ field: String? = nil) {
        self.method = method
        self.path = path
        self.value = value
        self.field = field ?? path
    }

    var testDescription: String { "\(method) \(path)" }
}

private func list(_ count: Int, _ value: DynamicValue) -> DynamicValue {
    .list([DynamicValue](repeating: value, count: count))
}

/// A time beyond the year 9999.
private let farTime = DynamicValue.timestamp(WallTime(milliseconds: 253_402_300_800_000))

private let reportBreakages: [Breakage] = ["SubmitReport", "SubmitReports"].flatMap { method in
    [
        Breakage(method, "request_id", nil), Breakage(method, "request_id", "not a uuid"),
        Breakage(method, "request_id", "00000000-0000-0000-0000-000000000000"),
        Breakage(method, "report", nil), Breakage(method, "report.subject", nil),
        Breakage(method, "report.related_subjects[0].kind", nil),
        Breakage(method, "report.related_subjects[0].kind", e("10")),
        Breakage(method, "report.subject.id", nil),
        Breakage(method, "report.subject.id", letters(257)),
        Breakage(method, "report.subject.account_id", letters(257)),
        Breakage(method, "report.subject.uri", letters(2_049)),
        Breakage(
            method, "report.subject.kind", e("SUBJECT_KIND_POST"), "report.subject.live_stream"),
        Breakage(method, "report.subject.live_stream.viewer_count", -1),
        Breakage(method, "report.subject.live_stream.end_time", t(1_700_000_200)),
        Breakage(method, "report.subject.live_stream.start_time", farTime),
        Breakage(method, "report.subject.live_stream.last_heartbeat_time", farTime),
        Breakage(method, "report.related_subjects[0].id", nil),
        Breakage(
            method, "report.related_subjects",
            list(33, ["kind": e("SUBJECT_KIND_POST"), "id": "p"])),
        Breakage(method, "report.harm_family", nil),
        Breakage(method, "report.imminence", e("5")),
        Breakage(method, "report.modifiers[1]", e("8")),
        Breakage(method, "report.modifiers[0]", e("RISK_MODIFIER_UNSPECIFIED")),
        Breakage(method, "report.reporter", nil), Breakage(method, "report.reporter.kind", nil),
        Breakage(method, "report.reporter.kind", e("6")),
        Breakage(method, "report.reporter.id", letters(257)),
        Breakage(method, "report.signals", list(33, ["source": "s", "label": "l"])),
        Breakage(method, "report.signals[1].source", nil),
        Breakage(method, "report.signals[1].source", letters(129)),
        Breakage(method, "report.signals[0].version", letters(65)),
        Breakage(method, "report.signals[0].label", nil),
        Breakage(method, "report.signals[0].label", letters(129)),
        Breakage(method, "report.signals[0].confidence", 1.001),
        Breakage(method, "report.signals[0].confidence", -0.001),
        Breakage(method, "report.signals[0].confidence", .double(.nan)),
        Breakage(method, "report.signals[0].observe_time", farTime),
        Breakage(method, "report.language_code", "english"),
        Breakage(method, "report.language_code", "en_GB"),
        Breakage(method, "report.language_code", "e"),
        Breakage(method, "report.language_code", letters(36)),
        Breakage(method, "report.region_code", "BRA"), Breakage(method, "report.region_code", "4R"),
        Breakage(method, "report.description", letters(8_193)),
        Breakage(method, "report.evidence_uris", list(33, "u")),
        Breakage(method, "report.evidence_uris[0]", ""),
        Breakage(method, "report.evidence_uris[0]", letters(2_049)),
        Breakage(method, "report.external_id", letters(129)),
        Breakage(method, "report.occur_time", farTime),
    ]
}

private let filterBreakages: [Breakage] = ["ListCases", "WatchBoard"].flatMap { method in
    [
        Breakage(method, "filter.levels[1]", e("6")),
        Breakage(method, "filter.levels[0]", e("LEVEL_UNSPECIFIED")),
        Breakage(method, "filter.states[0]", e("8")),
        Breakage(method, "filter.states[0]", e("CASE_STATE_UNSPECIFIED")),
        Breakage(method, "filter.harm_families[1]", e("11")),
        Breakage(method, "filter.language_codes", list(101, "en")),
        Breakage(method, "filter.language_codes[0]", "x"),
        Breakage(method, "filter.region_codes", list(101, "DE")),
        Breakage(method, "filter.region_codes[0]", "DEU"),
        Breakage(method, "filter.assignees", list(101, "dns:a")),
        Breakage(method, "filter.assignees[0]", "alice"),
    ]
}

private let caseBreakages: [Breakage] =
    ["AnswerProtocol", "DecideCase", "CloseCase", "ReopenCase"].flatMap { method in
        [
            Breakage(method, "request_id", nil), Breakage(method, "name", nil),
            Breakage(method, "name", "cases/0"), Breakage(method, "name", "cases/012"),
            Breakage(method, "name", "assignments/12"), Breakage(method, "etag", "255"),
        ]
    } + [
        Breakage("GetCase", "name", "cases/x"), Breakage("GetCase", "view", e("3")),
        Breakage("GetCase", "purpose", nil), Breakage("GetCase", "purpose", letters(257)),
        Breakage("ListCases", "page_size", -1), Breakage("ListCases", "page_token", "x"),
        Breakage("WatchBoard", "resume_revision", -1),
        Breakage("AnswerProtocol", "answers", nil),
        Breakage("AnswerProtocol", "answers.protocol_version", nil),
        Breakage("AnswerProtocol", "answers.protocol_version", letters(33)),
        Breakage("AnswerProtocol", "answers.happening_now", nil),
        Breakage("AnswerProtocol", "answers.happening_now", e("4")),
        Breakage("AnswerProtocol", "answers.credible_threat", nil),
        Breakage("AnswerProtocol", "answers.suicide_rung", e("9")),
        Breakage("AnswerProtocol", "answers.action_count", nil),
        Breakage("AnswerProtocol", "answers.action_count", e("5")),
        Breakage("AnswerProtocol", "answers.modifiers[0].modifier", nil),
        Breakage("AnswerProtocol", "answers.modifiers[0].answer", nil),
        Breakage(
            "AnswerProtocol", "answers.modifiers[1].modifier", e("RISK_MODIFIER_MINOR")),
        Breakage("AnswerProtocol", "lower_reason", letters(1_025)),
        Breakage("AnswerProtocol", "fencing_token", -1),
        Breakage("DecideCase", "decision", nil), Breakage("DecideCase", "decision.outcome", nil),
        Breakage("DecideCase", "decision.outcome", e("9")),
        Breakage("DecideCase", "decision.policy_version", nil),
        Breakage("DecideCase", "decision.policy_version", letters(65)),
        Breakage("DecideCase", "decision.policy_keys", list(17, "k")),
        Breakage("DecideCase", "decision.policy_keys[0]", letters(129)),
        Breakage("DecideCase", "decision.rationale", letters(4_097)),
        Breakage("DecideCase", "decision.duties.referral", e("3")),
        Breakage("DecideCase", "decision.duties.statutory_report", e("3")),
        Breakage("DecideCase", "decision.duties.preservation", e("3")),
        Breakage("DecideCase", "decision.duties.welfare_resource", e("3")),
        Breakage("DecideCase", "fencing_token", nil),
        Breakage("DecideCase", "fencing_token", .int(1 << 48)),
        Breakage("CloseCase", "fencing_token", -1), Breakage("ReopenCase", "reason", nil),
        Breakage("ReopenCase", "reason", letters(1_025)),
    ]

private let assignmentBreakages: [Breakage] =
    ["AcceptCase", "RenewLease", "ReleaseLease", "HandOffCase", "CompleteCase"].flatMap { method in
        [
            Breakage(method, "request_id", nil), Breakage(method, "name", nil),
            Breakage(method, "name", "cases/7"), Breakage(method, "fencing_token", nil),
            Breakage(method, "fencing_token", -7),
        ]
    } + [
        Breakage("ClaimNext", "request_id", nil),
        Breakage("ClaimNext", "wait_duration", .duration(milliseconds: 55_001)),
        Breakage("ClaimNext", "wait_duration", .duration(milliseconds: -1)),
        Breakage("RenewLease", "lease_duration", .duration(milliseconds: -1_000)),
        Breakage("ReleaseLease", "reason", nil), Breakage("ReleaseLease", "reason", e("6")),
        Breakage("HandOffCase", "specialist", nil), Breakage("HandOffCase", "specialist", "bob"),
        Breakage("HandOffCase", "note", nil), Breakage("HandOffCase", "note", letters(2_049)),
        Breakage("WatchAssignments", "resume_revision", -1),
        Breakage("CreateSnapshot", "request_id", "x"),
        Breakage("Check", "service", letters(257)),
    ]

private let disclosureBreakages: [Breakage] =
    ["AddVerification", "SetScope", "ApproveDisclosure", "RejectDisclosure"].flatMap { method in
        [
            Breakage(method, "request_id", nil), Breakage(method, "name", nil),
            Breakage(method, "name", "disclosureRequests/DEADBEEF00000000"),
            Breakage(method, "name", "disclosureRequests/0000000000000000"),
            Breakage(method, "etag", "00000000000000FF"),
        ]
    } + [
        Breakage("GetDisclosureRequest", "name", nil),
        Breakage("GetDisclosureRequest", "purpose", letters(257)),
        Breakage("WatchDisclosureRequest", "name", "x"),
        Breakage("ListDisclosureRequests", "page_size", -1),
        Breakage("ListDisclosureRequests", "page_token", letters(48)),
        Breakage("ListDisclosureRequests", "states[0]", e("11")),
        Breakage("AddVerification", "verification", nil),
        Breakage("AddVerification", "verification.method", nil),
        Breakage("AddVerification", "verification.outcome", e("3")),
        Breakage("AddVerification", "verification.note", letters(2_049)),
        Breakage("SetScope", "scope", nil), Breakage("SetScope", "scope.items", .list([])),
        Breakage(
            "SetScope", "scope.items",
            list(
                257,
                [
                    "category": e("DATA_CATEGORY_LOGIN"), "start_time": t(1), "end_time": t(2),
                ])),
        Breakage("SetScope", "scope.items[0].subject_index", -1),
        Breakage("SetScope", "scope.items[0].category", nil),
        Breakage("SetScope", "scope.items[0].start_time", nil),
        Breakage("SetScope", "scope.items[0].end_time", t(1_699_900_000)),
        Breakage("SetScope", "scope.legal_basis", nil),
        Breakage("SetScope", "scope.good_faith_finding", nil),
        Breakage("SetScope", "scope.good_faith_finding", letters(4_097)),
        Breakage("ApproveDisclosure", "etag", nil),
        Breakage("RejectDisclosure", "rejection", nil),
        Breakage("RejectDisclosure", "rejection.reason", e("24")),
        Breakage("RejectDisclosure", "rejection.explanation", letters(2_049)),
    ]

private let filingBreakages: [Breakage] =
    [
        ("", nil), (".kind", nil), (".kind", e("4")), (".agency", nil), (".agency.name", nil),
        (".agency.name", letters(257)), (".agency.region_code", nil),
        (".agency.region_code", "USA"),
        (".agency.address", nil), (".agency.address", letters(513)), (".officer", nil),
        (".officer.name", nil), (".officer.name", letters(257)), (".officer.badge_id", nil),
        (".officer.badge_id", letters(65)), (".officer.email", nil), (".officer.email", "doe"),
        (".officer.email", "a@b@c"), (".officer.email", "doe@"), (".officer.email", letters(255)),
        (".officer.phone", "1"), (".officer.phone", letters(65)), (".officer.title", letters(129)),
        (".officer.supervisor_contact", letters(513)), (".emergency", nil),
        (".emergency.nature", nil), (".emergency.nature", e("7")), (".emergency.summary", nil),
        (".emergency.summary", letters(8_193)), (".emergency.person_in_danger", nil),
        (".emergency.person_in_danger", letters(1_025)), (".emergency.necessity", nil),
        (".emergency.necessity", letters(4_097)), (".emergency.needed_by_time", farTime),
        (".emergency.needed_by_reason", letters(1_025)), (".subject_identifiers", .list([])),
        (
            ".subject_identifiers",
            list(65, ["kind": e("IDENTIFIER_KIND_PHONE"), "value": "1"])
        ), (".subject_identifiers[0].kind", e("9")),
        (".subject_identifiers[0].value", nil), (".subject_identifiers[0].value", letters(513)),
        (".content_uris", list(65, "u")), (".content_uris[0]", letters(2_049)),
        (".data_requests", .list([])), (".data_requests[0].category", nil),
        (".data_requests[0].justification", nil),
        (".data_requests[0].justification", letters(2_049)), (".data_requests[0].start_time", nil),
        (".data_requests[0].end_time", nil), (".data_requests[0].end_time", t(1_699_900_000)),
        (".legal_process.kind", nil), (".legal_process.citation", nil),
        (".legal_process.citation", letters(513)), (".legal_process.offence", nil),
        (".legal_process.offence", letters(513)), (".legal_process.court", letters(257)),
        (".legal_process.judge", letters(257)), (".addressee", nil), (".addressee", e("5")),
        (".user_notice", nil), (".documents[0].sha256", letters(64)),
        (".documents[0].sha256", "abc"), (".documents[0].title", nil),
        (".documents[0].title", letters(129)),
        (
            ".documents",
            list(17, ["sha256": .string(String(repeating: "a", count: 64)), "title": "t"])
        ),
        (".case", "case/1"),
    ].map { (path: String, value: DynamicValue?) in
        Breakage("SubmitDisclosureRequest", "disclosure_request" + path, value)
    } + [
        Breakage("SubmitDisclosureRequest", "request_id", nil)
    ]

private let evidenceBreakages: [Breakage] =
    [
        ("AttachEvidence", "start.case", "cases/0"), ("AttachEvidence", "start.media_type", nil),
        ("AttachEvidence", "start.media_type", "video"),
        ("AttachEvidence", "start.media_type", "video/MP4"),
        ("AttachEvidence", "start.media_type", letters(128)),
        ("AttachEvidence", "start.caption", letters(1_025)),
        ("AttachEvidence", "start.size_bytes", .long(-1)),
        ("AttachEvidence", "start.size_bytes", .long(268_435_457)),
        ("AttachEvidence", "start.sha256", letters(64)),
        ("ListEvidence", "case", nil), ("ListEvidence", "page_size", -1),
        ("ListEvidence", "page_token", "abc"), ("ReadEvidence", "name", "cases/7/evidence/0"),
        ("ReadEvidence", "name", "cases/7/holds/3"), ("ReadEvidence", "purpose", nil),
        ("ReadEvidence", "purpose", letters(257)), ("EraseEvidence", "request_id", nil),
        ("EraseEvidence", "name", "evidence/3"), ("EraseEvidence", "erasure", nil),
        ("EraseEvidence", "erasure.ground", nil), ("EraseEvidence", "erasure.ground", e("5")),
        ("EraseEvidence", "erasure.legal_basis", nil),
        ("EraseEvidence", "erasure.legal_basis", letters(513)),
        ("EraseEvidence", "erasure.reason", nil),
        ("EraseEvidence", "erasure.reason", letters(1_025)),
        ("EraseReportTexts", "case", "cases/7/reports/1"), ("EraseReportTexts", "erasure", nil),
        ("PlaceHold", "request_id", nil), ("PlaceHold", "case", nil), ("PlaceHold", "hold", nil),
        ("PlaceHold", "hold.rule", nil), ("PlaceHold", "hold.rule", letters(65)),
        ("PlaceHold", "hold.authority", nil), ("PlaceHold", "hold.authority", letters(257)),
        ("PlaceHold", "hold.reference", letters(129)), ("PlaceHold", "hold.reason", nil),
        ("PlaceHold", "hold.expire_time", farTime), ("ReleaseHold", "name", "cases/7/holds"),
        ("ReleaseHold", "release", nil), ("ReleaseHold", "release.authority", nil),
        ("ReleaseHold", "release.reason", nil), ("ListHolds", "case", "7"),
        ("ListHolds", "page_token", "abc"), ("RotateKeys", "request_id", nil),
        ("RotateKeys", "kind", nil), ("RotateKeys", "kind", e("3")),
        ("ReadBackup", "name", nil), ("ReadBackup", "read_bytes", nil),
        ("ReadBackup", "read_bytes", .long(-1)), ("ReadBackup", "size_bytes", .long(-1)),
    ].map { (method: String, path: String, value: DynamicValue?) in
        Breakage(method, path, value)
    } + [
        Breakage("AttachEvidence", "start.request_id", nil, "request_id")
    ]

@Suite("Request decoder: refusals") struct RequestRefusalTests {
    static let breakages =
        reportBreakages + filterBreakages + caseBreakages + assignmentBreakages
        + disclosureBreakages + filingBreakages + evidenceBreakages

    @Test("every method of every service has a decoder that takes a valid request")
    func takesValidRequests() throws {
        for schema in MethodSchema.all {
            let name = String(schema.path.split(separator: "/").last ?? "")
            let message = try #require(Decoding.valid[name], "\(name)")
            #expect(try Decoding().problems(name, message).isEmpty, "\(name)")
        }
    }

    @Test("a broken field is refused by its path", arguments: breakages)
    func refuses(_ breakage: Breakage) throws {
        let valid = try #require(Decoding.valid[breakage.method])
        let broken = valid.with(breakage.path, breakage.value)
        let problems = try Decoding().problems(breakage.method, broken)
        #expect(problems.map(\.field) == [breakage.field])
        if case .string(let sent) = breakage.value, sent.count > 3 {
            #expect(!problems.contains { $0.description.contains(sent) })
        }
    }

    @Test func collectsAllProblemsOfAMessage() throws {
        let broken = Valid.submitReport.with("request_id", "x").with("report.subject.id", nil)
            .with("report.reporter", nil).with("report.signals[1].confidence", 2.0)
            .with("report.region_code", "1")
        let fields = try Decoding().problems("SubmitReport", broken).map(\.field)
        #expect(
            Set(fields) == [
                "request_id", "report.subject.id", "report.reporter",
                "report.signals[1].confidence", "report.region_code",
            ])
        #expect(fields.count == 5)
    }

    @Test func boundsTheNumberOfProblems() throws {
        let modifiers = list(200, e("99"))
        let problems = try Decoding().problems(
            "SubmitReport", Valid.submitReport.with("report.modifiers", modifiers))
        #expect(problems.count == Limits.fieldProblemsMax)
    }

    @Test func textThatIsNoTextIsAProblemOfItsField() throws {
        let bytes = Wire.text(1, uuid) + Wire.text(2, Wire.text(13, [0x61, 0xFF]))
        #expect(
            throws: RequestError.invalid([
                FieldProblem(field: "report.description", description: "must be valid UTF-8")
            ])
        ) { try Decoding().run("SubmitReport", bytes) }
        let nul = Wire.text(1, Array(uuid.utf8) + [0])
        #expect(
            throws: RequestError.invalid([
                FieldProblem(field: "request_id", description: "must not contain NUL")
            ])
        ) { try Decoding().run("SubmitReport", nul) }
    }

    @Test func bytesThatAreNoMessageAreMalformed() {
        #expect(throws: RequestError.malformed(MessageFault(kind: .truncated, offset: 0))) {
            try Decoding().run("GetCase", [0x0A, 9, 1])
        }
    }

    @Test func theValuesAtTheBoundsAreTaken() throws {
        let widest: DynamicMessage = Valid.submitReport
            .with("report.subject.id", letters(256)).with("report.subject.uri", letters(2_048))
            .with("report.description", letters(8_192)).with("report.external_id", letters(128))
            .with("report.evidence_uris", list(32, letters(2_048)))
            .with("report.signals", list(32, ["source": letters(128), "label": letters(128)]))
            .with(
                "report.related_subjects",
                list(32, ["kind": e("SUBJECT_KIND_POST"), "id": letters(256)])
            )
            .with("report.signals[0].confidence", 1.0).with("report.signals[1].confidence", 0.0)
        #expect(try Decoding().problems("SubmitReport", widest).isEmpty)
    }
}
