// API messages as Swift literals, so that a test reads like the message that it sends.

import TriageBase
package import TriageCodec

extension DynamicValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(floatLiteral value: Double) { self = .double(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: DynamicValue...) { self = .list(elements) }
    package init(dictionaryLiteral elements: (String, DynamicValue)...) {
        var message = DynamicMessage()
        for (name, value) in elements { message[name] = value }
        self = .message(message)
    }
}

extension DynamicMessage: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, DynamicValue)...) {
        self.init()
        for (name, value) in elements { self[name] = value }
    }

    /// This message with one field set, or taken away by nil, by a path such as `a.b[2].c`.
    func with(_ path: String, _ value: DynamicValue?) -> DynamicMessage {
        guard case .message(let changed) = Self.replace(.message(self), path[...], value) else {
            return self
        }
        return changed
    }

    private static func replace(
        _ target: DynamicValue?, _ path: Substring, _ value: DynamicValue?
    ) -> DynamicValue? {
        if path.isEmpty { return value }
        if path.first == "[" {
            guard case .list(var list) = target, let end = path.firstIndex(of: "]"),
                let index = Int(path[path.index(after: path.startIndex)..<end])
            else { return target }
            var rest = path[path.index(after: end)...]
            if rest.first == "." { rest = rest.dropFirst() }
            if let element = replace(list[index], rest, value) { list[index] = element }
            return .list(list)
        }
        let name = path.prefix { $0 != "." && $0 != "[" }
        var rest = path.dropFirst(name.count)
        if rest.first == "." { rest = rest.dropFirst() }
        var message = DynamicMessage()
        if case .message(let inner) = target { message = inner }
        message[String(name)] = replace(message[String(name)], rest, value)
        return .message(message)
    }
}

/// An enum value.
func e(_ name: String) -> DynamicValue { .enumeration(name) }

/// A time, in seconds.
func t(_ seconds: Int64) -> DynamicValue { .timestamp(WallTime(milliseconds: seconds * 1_000)) }

/// `count` letters.
func letters(_ count: Int) -> DynamicValue { .string(String(repeating: "x", count: count)) }

/// The serialised request of a method.
func request(_ method: String, _ message: DynamicMessage) throws -> [UInt8] {
    try MethodSchema.named(method).request.encode(message)
}

/// A reply of a method, read back.
func reply(_ method: String, _ bytes: [UInt8]) throws -> DynamicMessage {
    plain(try MethodSchema.named(method).reply.decode(bytes.span))
}

/// A message in which every integer is an `int`, as a literal makes it.
private func plain(_ message: DynamicMessage) -> DynamicMessage {
    var out = DynamicMessage()
    for field in message.fields { out[field.name] = plain(field.value) }
    return out
}

private func plain(_ value: DynamicValue) -> DynamicValue {
    switch value {
    case .long(let number): .int(number)
    case .message(let message): .message(plain(message))
    case .list(let values): .list(values.map(plain))
    default: value
    }
}

let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"

/// Requests that are right in every part, one for each method.
enum Valid {
    static let report: DynamicValue = [
        "name": "cases/9/reports/9", "submitter": "ignored",
        "subject": [
            "kind": e("SUBJECT_KIND_LIVE_STREAM"), "id": "stream-1", "account_id": "acct-1",
            "uri": "https://example.test/1",
            "live_stream": [
                "live": true, "viewer_count": 12, "start_time": t(1_700_000_000),
                "last_heartbeat_time": t(1_700_000_100),
            ],
        ],
        "related_subjects": [["kind": e("SUBJECT_KIND_ACCOUNT"), "id": "acct-1"]],
        "harm_family": e("HARM_FAMILY_SUICIDE_SELF_HARM"), "imminence": e("IMMINENCE_NOW"),
        "modifiers": [e("RISK_MODIFIER_MINOR"), e("RISK_MODIFIER_LOCATION_KNOWN")],
        "reporter": ["kind": e("REPORTER_KIND_USER"), "id": "user-7"],
        "signals": [
            [
                "source": "model-a", "version": "3", "label": "self-harm", "confidence": 0.25,
                "observe_time": t(1_700_000_050),
            ],
            ["source": "list-b", "label": "hash", "confidence": 0.75],
        ],
        "language_code": "pt-BR", "region_code": "br", "description": "ele disse adeus à família",
        "evidence_uris": ["https://evidence.test/1"], "external_id": "ext-1",
        "occur_time": t(1_699_999_000),
    ]
    static let submitReport: DynamicMessage = ["request_id": .string(uuid), "report": report]
    static let getCase: DynamicMessage = [
        "name": "cases/12", "view": e("CASE_VIEW_FULL"), "purpose": "shift hand-over",
    ]
    static let filter: DynamicValue = [
        "levels": [e("LEVEL_P0"), e("LEVEL_P4")], "states": [e("CASE_STATE_QUEUED")],
        "harm_families": [e("HARM_FAMILY_UNSPECIFIED"), e("HARM_FAMILY_DISASTER")],
        "language_codes": ["pt"], "region_codes": ["BR"],
        "assignees": ["spiffe://triaged.test/alice"],
    ]
    static let listCases: DynamicMessage = ["page_size": 20, "filter": filter]
    static let answerProtocol: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/12",
        "answers": [
            "protocol_version": "2026-11", "happening_now": e("ANSWER_NO"),
            "credible_threat": e("ANSWER_UNKNOWN"), "suicide_rung": e("SUICIDE_RUNG_PLAN"),
            "action_count": e("ACTION_COUNT_TWO_OR_MORE"),
            "modifiers": [
                ["modifier": e("RISK_MODIFIER_MINOR"), "answer": e("ANSWER_YES")],
                ["modifier": e("RISK_MODIFIER_PRIOR_HISTORY"), "answer": e("ANSWER_NO")],
                ["modifier": e("RISK_MODIFIER_NAMED_VICTIM"), "answer": e("ANSWER_UNKNOWN")],
            ],
        ],
        "lower_reason": "spoke to the person", "fencing_token": 7, "etag": "00000000000000ff",
    ]
    static let decideCase: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/12",
        "decision": [
            "outcome": e("DECISION_OUTCOME_HARM_REFERRED"), "policy_version": "p-9",
            "policy_keys": ["threat.imminent"], "rationale": "named school",
            "duties": [
                "referral": e("DUTY_ANSWER_DONE"),
                "statutory_report": e("DUTY_ANSWER_NOT_APPLICABLE"),
            ],
        ],
        "fencing_token": 7, "etag": "00000000000000ff",
    ]
    static let closeCase: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/12", "fencing_token": 7,
        "etag": "00000000000000ff", "live_risk_ended": true,
    ]
    static let reopenCase: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/12", "reason": "new evidence",
        "etag": "00000000000000ff",
    ]
    static let watchBoard: DynamicMessage = ["resume_revision": 5, "filter": filter]
    static let claimNext: DynamicMessage = [
        "request_id": .string(uuid), "wait_duration": .duration(milliseconds: 5_000),
    ]
    static let assignment: DynamicMessage = [
        "request_id": .string(uuid), "name": "assignments/7", "fencing_token": 7,
    ]
    static let renewLease = assignment.with("lease_duration", .duration(milliseconds: 600_000))
    static let releaseLease = assignment.with("reason", e("RELEASE_REASON_WELLNESS"))
    static let handOffCase = assignment.with("specialist", "spiffe://triaged.test/bob").with(
        "note", "knows the family")
    static let disclosureRequest: DynamicValue = [
        "kind": e("DISCLOSURE_KIND_EMERGENCY"),
        "agency": ["name": "County Police", "region_code": "US", "address": "1 Main St"],
        "officer": [
            "name": "J. Doe", "badge_id": "B-1", "email": "j.doe@police.test",
            "phone": "+1 555 0100", "title": "Sgt", "sworn": true, "supervisor_contact": "Lt. Roe",
        ],
        "emergency": [
            "nature": e("EMERGENCY_NATURE_MISSING_PERSON"), "summary": "missing since noon",
            "person_in_danger": "a child of 9", "necessity": "last log-in gives the place",
            "needed_by_time": t(1_700_003_600), "needed_by_reason": "dusk",
            "danger_to_life_declared": true, "on_letterhead": true,
        ],
        "subject_identifiers": [["kind": e("IDENTIFIER_KIND_USERNAME"), "value": "kid9"]],
        "content_uris": ["https://example.test/p/1"],
        "data_requests": [
            [
                "category": e("DATA_CATEGORY_LOGIN"), "justification": "the place",
                "start_time": t(1_699_900_000), "end_time": t(1_700_000_000),
            ]
        ],
        "legal_process": [
            "kind": e("LEGAL_PROCESS_KIND_SUBPOENA"), "citation": "18 U.S.C. 2703(c)(2)",
            "offence": "kidnapping", "court": "District", "judge": "Roe",
        ],
        "addressee": e("ADDRESSEE_UNITED_STATES"), "user_notice": e("USER_NOTICE_WOULD_ENDANGER"),
        "documents": [
            ["sha256": .string(String(repeating: "aB", count: 32)), "title": "letter"]
        ],
        "case": "cases/12",
    ]
    static let submitDisclosure: DynamicMessage = [
        "request_id": .string(uuid), "disclosure_request": disclosureRequest,
    ]
    static let disclosureName = "disclosureRequests/00000000deadbeef"
    static let getDisclosure: DynamicMessage = [
        "name": .string(disclosureName), "purpose": "review",
    ]
    static let listDisclosures: DynamicMessage = [
        "page_size": 10, "states": [e("DISCLOSURE_STATE_VERIFYING")],
    ]
    static let attachEvidence: DynamicMessage = [
        "start": [
            "request_id": .string(uuid), "case": "cases/7", "media_type": "video/mp4",
            "caption": "the bridge", "size_bytes": .long(12),
            "sha256": .string(String(repeating: "a", count: 64)),
        ]
    ]
    private static let erasure: DynamicValue = [
        "ground": e("ERASURE_GROUND_ORDER"), "legal_basis": "District Court, 12 Gs 3/26",
        "reason": "ordered",
    ]
    static let eraseEvidence: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/7/evidence/3", "erasure": erasure,
    ]
    static let eraseReportTexts: DynamicMessage = [
        "request_id": .string(uuid), "case": "cases/7", "erasure": erasure,
    ]
    static let placeHold: DynamicMessage = [
        "request_id": .string(uuid), "case": "cases/7",
        "hold": [
            "rule": "US_2703F_PRESERVATION", "authority": "FBI", "reference": "288A-1",
            "reason": "an inquiry", "expire_time": t(1_800_000_000),
        ],
    ]
    static let releaseHold: DynamicMessage = [
        "request_id": .string(uuid), "name": "cases/7/holds/2",
        "release": ["authority": "FBI", "reason": "withdrawn"],
    ]
    static let disclosureWrite: DynamicMessage = [
        "request_id": .string(uuid), "name": .string(disclosureName), "etag": "00000000000000ff",
    ]
    static let addVerification = disclosureWrite.with(
        "verification",
        [
            "method": e("VERIFICATION_METHOD_CALL_BACK"),
            "outcome": e("VERIFICATION_OUTCOME_PASSED"), "note": "rang the desk",
        ])
    static let setScope = disclosureWrite.with(
        "scope",
        [
            "items": [
                [
                    "subject_index": 0, "category": e("DATA_CATEGORY_LOGIN"),
                    "start_time": t(1_699_900_000), "end_time": t(1_700_000_000),
                ]
            ],
            "legal_basis": e("LEGAL_BASIS_US_2702_EMERGENCY"),
            "good_faith_finding": "a child is missing",
        ])
    static let rejectDisclosure = disclosureWrite.with(
        "rejection",
        ["reason": e("REJECTION_REASON_VAGUE"), "explanation": "say which account"])
}

/// Lends bytes to a decoder.
///
/// Named bytes, because Swift 6.3.1 does not compile `f(try g().span)` (broken module in IR
/// generation).
func decode<T>(_ bytes: [UInt8], _ body: (Span<UInt8>) throws -> T) rethrows -> T {
    try body(bytes.span)
}
