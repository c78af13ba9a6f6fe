// What callers see: every field of every reply, and what is kept from whom.

import Testing
import TriageBase

@testable import TriageCodec
@testable import TriageDomain

@Suite("Reply encoder") struct ReplyEncoderTests {
    let key = PageTokenKey(first: 3, second: 4)
    var encoder: ReplyEncoder { ReplyEncoder(pageTokenKey: key) }
    let received = DynamicValue.timestamp(CaseSamples.received)

    let receipt = ReportReceipt(
        caseNumber: CaseNumber(12), report: ReportNumber(281_474_976_710_655), opened: true,
        level: .p0, revision: 9, receivedAt: CaseSamples.received)

    private func copy(_ receipt: ReportReceipt) -> [UInt8] {
        var bytes: [UInt8] = []
        encoder.withSubmitReport(receipt) { bytes.append(copying: $0) }
        return bytes
    }

    @Test func encodesAReceipt() throws {
        let sent = try reply("SubmitReport", copy(receipt))
        #expect(
            sent == [
                "report": "cases/12/reports/281474976710655", "case": "cases/12", "opened": true,
                "level": e("LEVEL_P0"), "revision": 9, "create_time": received,
            ])
    }

    @Test func encodesAStreamOfResults() throws {
        let id = RequestID(high: 1, low: 2)
        let sent = try reply(
            "SubmitReports",
            encoder.submitReports([
                StreamedReportResult(requestID: id, outcome: .accepted(receipt)),
                StreamedReportResult(
                    requestID: .none,
                    outcome: .refused(code: 3, reason: "INVALID", message: "m", field: "f")),
            ]))
        #expect(sent.int("accepted_count") == 1 && sent.int("refused_count") == 1)
        let results = sent.messages("results")
        #expect(results[0].text("request_id") == "00000000-0000-0001-0000-000000000002")
        #expect(results[0].message("response")?.text("case") == "cases/12")
        #expect(results[1] == ["code": 3, "reason": "INVALID", "message": "m", "field": "f"])
    }

    static let sensitiveCaseFields: Set = [
        "subject", "reports", "protocol_records", "decisions", "reopenings",
    ]

    @Test func showsNothingSensitiveInTheBasicView() throws {
        let view = try CaseSamples.view(content: CaseSamples.content(), live: true)
        let basic = try reply("GetCase", encoder.case(view, detail: .basic))
        #expect(
            basic == [
                "name": "cases/12", "state": e("CASE_STATE_IN_TRIAGE"), "level": e("LEVEL_P1"),
                "level_code": "SUI-B-ML",
                "order": [
                    "band": 1,
                    "effective_deadline_time": .timestamp(
                        CaseSamples.received.advanced(byMilliseconds: 600_000)),
                    "modifier_count": 2, "governed_by": "target:P1",
                ],
                "harm_family": e("HARM_FAMILY_SUICIDE_SELF_HARM"),
                "clearance": e("CLEARANCE_GRAPHIC"), "language_code": "pt", "region_code": "BR",
                "report_count": 1,
                "modifiers": [e("RISK_MODIFIER_MINOR"), e("RISK_MODIFIER_LOCATION_KNOWN")],
                "assignment": "assignments/7", "assignee": "spiffe://triaged.test/alice",
                "create_time": received,
                "update_time": .timestamp(CaseSamples.received.advanced(byMilliseconds: 1_000)),
                "revision": 255, "etag": "00000000000000ff",
                "pending_lowering": [
                    "level": e("LEVEL_P3"), "principal": "spiffe://triaged.test/bob",
                    "create_time": received,
                ],
                "live": true, "waits_for": e("CASE_WAIT_DECISION"),
            ])
        let full = try reply("GetCase", encoder.case(view, detail: .full))
        let added = Set(full.fields.map(\.name)).subtracting(basic.fields.map(\.name))
        #expect(added == Self.sensitiveCaseFields)
    }

    @Test func showsRoundsAndDecisionsInTheFullView() throws {
        let view = try CaseSamples.view(content: CaseSamples.content())
        let full = try reply("GetCase", encoder.case(view, detail: .full))
        #expect(full.message("subject")?.text("id") == "stream-1")
        #expect(
            full.messages("protocol_records") == [
                [
                    "answers": [
                        "protocol_version": "2026-11", "happening_now": e("ANSWER_NO"),
                        "credible_threat": e("ANSWER_YES"), "suicide_rung": e("SUICIDE_RUNG_PLAN"),
                        "action_count": e("ACTION_COUNT_ONE"),
                        "modifiers": [
                            ["modifier": e("RISK_MODIFIER_MINOR"), "answer": e("ANSWER_YES")],
                            [
                                "modifier": e("RISK_MODIFIER_NAMED_VICTIM"),
                                "answer": e("ANSWER_UNKNOWN"),
                            ],
                            [
                                "modifier": e("RISK_MODIFIER_WEAPON_OR_MEANS"),
                                "answer": e("ANSWER_NO"),
                            ],
                        ],
                    ],
                    "level": e("LEVEL_P1"), "level_code": "SUI-B-ML",
                    "principal": "spiffe://triaged.test/alice", "create_time": received,
                    "lower_reason": "why",
                ]
            ])
        #expect(
            full.messages("decisions") == [
                [
                    "outcome": e("DECISION_OUTCOME_HARM_REFERRED"), "policy_version": "p",
                    "policy_keys": ["a", "b"], "rationale": "because",
                    "duties": [
                        "referral": e("DUTY_ANSWER_DONE"),
                        "statutory_report": e("DUTY_ANSWER_NOT_APPLICABLE"),
                        "welfare_resource": e("DUTY_ANSWER_DONE"),
                    ],
                    "principal": "spiffe://triaged.test/alice", "create_time": received,
                ]
            ])
    }

    @Test func showsReopeningsInTheFullView_andWhatIsWithheldInLists() throws {
        let view = try CaseSamples.view(content: CaseSamples.content())
        let full = try reply("GetCase", encoder.case(view, detail: .full))
        #expect(
            full.messages("reopenings") == [
                [
                    "reason": "news", "principal": "spiffe://triaged.test/bob",
                    "create_time": received,
                ]
            ])
        let decoder = RequestDecoder(pageTokenKey: key)
        let asked = try decode(request("ListCases", Valid.listCases)) {
            try decoder.decodeListCases($0, principal: CaseSamples.alice)
        }
        var page = BoardPage(cases: [view], next: nil)
        page.withhold(after: view.value.revision - 1)
        let list = try reply(
            "ListCases",
            encoder.listCases(page, openCount: 1, revision: 1, binding: asked.binding))
        #expect(list.int("withheld_count") == 1 && list["cases"] == nil)
    }

    @Test func showsTheOldestHundredReports() throws {
        let view = try CaseSamples.view(content: CaseSamples.content(), more: 150)
        let full = try reply("GetCase", encoder.case(view, detail: .full))
        let reports = full.messages("reports")
        #expect(reports.count == 100)
        #expect(reports.first?.text("name") == "cases/12/reports/40")
        #expect(reports.last?.text("name") == "cases/12/reports/139")
        #expect(full.int("report_count") == 151)
    }

    @Test("every level, state, family and clearance has the API's number")
    func numbersAgree() throws {
        var view = CaseSamples.view(content: [])
        for level in Level.allCases {
            view.value.level = level
            let sent = try reply("GetCase", encoder.case(view, detail: .basic))
            #expect(sent.text("level") == "LEVEL_P\(level.rawValue)")
        }
        for state in CaseState.allCases {
            view.value.state = state
            let sent = try reply("GetCase", encoder.case(view, detail: .basic))
            let name = sent.text("state").lowercased().filter { $0 != "_" }
            #expect(name == "casestate\(state)".lowercased())
        }
        for family in HarmFamily.allCases where family != .unrecognised {
            view.value.code.family = family
            let sent = try reply("GetCase", encoder.case(view, detail: .basic))
            let name = sent.text("harm_family").lowercased().filter { $0 != "_" }
            #expect(name == "harmfamily\(family)".lowercased())
        }
        for clearance in Clearance.allCases {
            view.value.clearance = clearance
            let sent = try reply("GetCase", encoder.case(view, detail: .basic))
            let name = sent.text("clearance").lowercased().filter { $0 != "_" }
            #expect(name == "clearance\(clearance)".lowercased())
        }
    }

    @Test func tellsWellnessToItsHolderOnly() throws {
        let view = CaseSamples.assignment(.wellness)
        func reason(_ viewer: Principal) throws -> [String] {
            [
                try reply("ReleaseLease", encoder.assignment(view, viewer: viewer))
                    .text("release_reason"),
                try reply(
                    "WatchAssignments",
                    encoder.watchAssignments(view, revision: 1, viewer: viewer)
                ).message("assignment")?.text("release_reason") ?? "",
            ]
        }
        #expect(
            try reason(CaseSamples.alice) == ["RELEASE_REASON_WELLNESS", "RELEASE_REASON_WELLNESS"])
        #expect(try reason(CaseSamples.bob) == ["RELEASE_REASON_OTHER", "RELEASE_REASON_OTHER"])
    }

    @Test func encodesAnAssignment() throws {
        let sent = try reply(
            "ReleaseLease",
            encoder.assignment(CaseSamples.assignment(.conflict), viewer: CaseSamples.bob))
        func later(_ milliseconds: Int64) -> DynamicValue {
            .timestamp(CaseSamples.received.advanced(byMilliseconds: milliseconds))
        }
        #expect(
            sent == [
                "name": "assignments/7", "case": "cases/12",
                "specialist": "spiffe://triaged.test/alice",
                "state": e("ASSIGNMENT_STATE_RELEASED"), "fencing_token": 7,
                "create_time": received, "accept_time": later(1), "expire_time": later(120_000),
                "end_time": later(2), "release_reason": e("RELEASE_REASON_CONFLICT"),
                "note": "note", "handed_off_from": "assignments/6", "revision": 9,
            ])
        let offered = try reply(
            "AcceptCase", encoder.assignment(CaseSamples.assignment(), viewer: CaseSamples.bob))
        #expect(offered["accept_time"] == nil && offered["end_time"] == nil)
        #expect(
            try reply(
                "WatchAssignments",
                encoder.watchAssignments(nil, revision: 5, viewer: CaseSamples.bob))
                == ["revision": 5])
    }

    @Test func explainsAClaim() throws {
        let code = LevelCode(family: .terrorism, point: .screening, modifiers: [])
        let explanation = ClaimExplanation(
            code: code, governedBy: .legal, level: .p2, effectiveDeadline: CaseSamples.received,
            skippedCount: 4, firstSkipReason: .clearance)
        let sent = try reply(
            "ClaimNext",
            encoder.claimNext(CaseSamples.assignment(), CaseSamples.view(content: []), explanation))
        #expect(sent.message("case")?["reports"] == nil)
        #expect(sent.message("assignment")?.text("name") == "assignments/7")
        #expect(
            sent.message("explanation") == [
                "level_code": "TER-S", "governed_by": "legal", "effective_deadline_time": received,
                "skipped_count": 4, "first_skip_reason": e("SKIP_REASON_CLEARANCE"),
            ])
        #expect(encoder.nothingToClaim().isEmpty)
    }

    @Test func encodesBoardChanges() throws {
        let view = try CaseSamples.view(content: CaseSamples.content())
        let changed = try reply("WatchBoard", encoder.watchBoard(changed: view, revision: 6))
        #expect(changed.int("revision") == 6)
        #expect(changed.message("case")?.text("name") == "cases/12")
        for field in Self.sensitiveCaseFields { #expect(changed.message("case")?[field] == nil) }
        let removed = encoder.watchBoard(removed: CaseNumber(12), revision: 7)
        #expect(try reply("WatchBoard", removed) == ["revision": 7, "removed_case": "cases/12"])
        let bookmark = encoder.watchBoard(bookmarkOpenCount: 3, revision: 8)
        #expect(
            try reply("WatchBoard", bookmark) == ["revision": 8, "bookmark": ["open_count": 3]])
    }

    @Test func pagesThroughCases() throws {
        let decoder = RequestDecoder(pageTokenKey: key)
        let next = PriorityKey(
            band: 1, effectiveDeadline: CaseSamples.received, modifierCount: 2,
            number: CaseNumber(12))
        let first = try decode(request("ListCases", Valid.listCases)) {
            try decoder.decodeListCases($0, principal: CaseSamples.alice)
        }
        #expect(first.after == nil)
        let page = BoardPage(cases: [CaseSamples.view(content: [])], next: next)
        let sent = try reply(
            "ListCases",
            encoder.listCases(page, openCount: 9, revision: 8, binding: first.binding))
        #expect(sent.messages("cases").count == 1)
        #expect(sent.int("open_count") == 9 && sent.int("revision") == 8)
        let token = DynamicValue.string(sent.text("next_page_token"))
        let second = try decode(request("ListCases", Valid.listCases.with("page_token", token))) {
            try decoder.decodeListCases($0, principal: CaseSamples.alice)
        }
        #expect(second.after == next)
        let end = try reply(
            "ListCases",
            encoder.listCases(
                BoardPage(cases: [], next: nil), openCount: 0, revision: 1, binding: first.binding))
        #expect(end["next_page_token"] == nil)
    }

    // MARK: Disclosure requests

    @Test("the requester does not see how it is checked", arguments: DisclosureState.allCases)
    func hidesFromTheRequester(_ state: DisclosureState) throws {
        let view = try CaseSamples.disclosure(state)
        let shown = try reply(
            "GetDisclosureRequest", encoder.disclosure(view, audience: .requester))
        let ours = try reply("GetDisclosureRequest", encoder.disclosure(view, audience: .internal))
        #expect(shown["verifications"] == nil && ours.messages("verifications").count == 1)
        #expect(shown["case"] == nil && ours.text("case") == "cases/12")
        #expect((shown["scope"] != nil) == (state == .approved))
        #expect(shown["participants"] == nil)
        // Who filed, verified, set the scope that was replaced, and set this one.
        let people = [CaseSamples.intake, CaseSamples.alice, CaseSamples.carol, CaseSamples.bob]
        #expect(ours["participants"] == .list(people.map { .string($0.text) }))
        #expect(ours["scope"] != nil)
        for part in ["scope", "approval", "rejection"] {
            #expect(shown.message(part)?["principal"] == nil)
            #expect((ours.message(part) != nil) == (ours.message(part)?["principal"] != nil))
        }
        // What it filed itself, it sees.
        #expect(shown.message("officer") == ours.message("officer"))
        let name = ours.text("state").lowercased().filter { $0 != "_" }
        #expect(name == "disclosurestate\(state)".lowercased())
    }

    @Test func listsNothingSensitive() throws {
        let views = try DisclosureState.allCases.map { try CaseSamples.disclosure($0) }
        let decoder = RequestDecoder(pageTokenKey: key)
        let asked = try decode(request("ListDisclosureRequests", Valid.listDisclosures)) {
            try decoder.decodeListDisclosureRequests($0, principal: CaseSamples.alice)
        }
        let cursor = DisclosureCursor(receivedAt: CaseSamples.received, id: DisclosureID(5))
        let page = DisclosurePage(requests: views, next: cursor)
        let bytes = encoder.listDisclosures(page, audience: .internal, binding: asked.binding)
        let text = String(decoding: bytes, as: UTF8.self)
        for secret in [
            "J. Doe", "B-1", "police.test", "555", "Lt. Roe", "missing since", "child of 9",
            "log-in gives", "kid9", "https://example.test/p/1", "the place", "Roe", "rang",
            "finding",
        ] {
            #expect(!text.contains(secret), "\(secret)")
        }
        let sent = try reply("ListDisclosureRequests", bytes)
        #expect(sent.messages("disclosure_requests").count == views.count)
        #expect(sent.messages("disclosure_requests").first?.message("agency") != nil)
        let token = DynamicValue.string(sent.text("next_page_token"))
        let again = try decode(
            request("ListDisclosureRequests", Valid.listDisclosures.with("page_token", token))
        ) { try decoder.decodeListDisclosureRequests($0, principal: CaseSamples.alice) }
        #expect(again.after == cursor)
    }

    @Test func namesTheSourceOfAPeriod() throws {
        let view = try CaseSamples.disclosure(.approved)
        let rule = try #require(InstrumentRules.rule("US_2702_EMERGENCY"))
        let sent = try reply(
            "WatchDisclosureRequest", encoder.watchDisclosure(view, audience: .internal)
        ).message("disclosure_request")
        let clock = try #require(sent?.messages("clocks").first)
        #expect(clock.text("source") == rule.source)
        #expect(clock.text("verification_mark") == rule.mark.rawValue)
        #expect(sent?.message("preservation")?.text("state") == "PRESERVATION_STATE_ACTIVE")
        #expect(sent?.message("approval")?.int("scope_revision") == 76)
        #expect(sent?.text("name") == Valid.disclosureName)
    }

    // MARK: Operations and health

    @Test func encodesStatus() throws {
        var counts = WorldCounts()
        counts.openCases = 3
        counts.cases = 5
        counts.reports = 8
        counts.heldAssignments = 1
        counts.openDisclosures = 2
        counts.lanes = 4
        counts.levels[1].queued = 2
        counts.levels[1].oldestQueued = CaseSamples.received
        counts.levels[4].held = 1
        var report = ServerStatusReport(
            version: "1.0", startTime: CaseSamples.received, state: .draining, durableSequence: 99,
            counts: counts, snapshot: (90, CaseSamples.received), recoveryMilliseconds: 1_500,
            recoveryReport: "cut a torn tail", watchCount: 6)
        #expect(
            try reply("GetStatus", encoder.status(report)) == [
                "version": "1.0", "start_time": received, "state": e("SERVING_STATE_DRAINING"),
                "durable_sequence": 99, "open_case_count": 3,
                "levels": [
                    ["level": e("LEVEL_P1"), "queued_count": 2, "oldest_create_time": received],
                    ["level": e("LEVEL_P4"), "held_count": 1],
                ],
                "case_count": 5, "report_count": 8, "assignment_count": 1,
                "open_disclosure_count": 2, "snapshot_sequence": 90, "snapshot_time": received,
                "recovery_duration": .duration(milliseconds: 1_500),
                "recovery_report": "cut a torn tail", "lane_count": 4, "watch_count": 6,
            ])
        report.snapshot = nil
        #expect(try reply("GetStatus", encoder.status(report))["snapshot_time"] == nil)
    }

    @Test func encodesSnapshotAndHealth() throws {
        let sent = encoder.createSnapshot(
            SnapshotAnswer(sequence: 9, recordCount: 8, bytes: 4_096, milliseconds: 12))
        #expect(
            try reply("CreateSnapshot", sent) == [
                "sequence": 9, "record_count": 8, "size_bytes": 4_096,
                "duration": .duration(milliseconds: 12),
            ])
        let names = ["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
        for (status, name) in zip(HealthStatus.allCases, names) {
            #expect(try reply("Check", encoder.health(status)) == ["status": e(name)])
        }
    }

    @Test func roundsTimesBeforeTheEpochDown() throws {
        var early = receipt
        early.receivedAt = WallTime(milliseconds: -1_500)
        let sent = try reply("SubmitReport", copy(early))
        #expect(sent.time("create_time") == WallTime(milliseconds: -1_500))
    }
}
