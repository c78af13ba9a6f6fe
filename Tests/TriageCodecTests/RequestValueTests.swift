// What valid requests decode to.

import CTriageProtos
import Testing
import TriageBase
import TriageDomain

@testable import TriageCodec

@Suite("Request decoder: values") struct RequestValueTests {
    let decoder = RequestDecoder(pageTokenKey: PageTokenKey(first: 1, second: 2))
    let alice = Principal(spiffeID: "spiffe://triaged.test/alice")
    let id = RequestID(high: 0x0f8f_ad5b_d9cb_469f, low: 0xa165_7086_7728_950e)

    func report(_ message: DynamicMessage) throws -> (WriteKey, ReportFacts, [UInt8]) {
        let write = try decode(request("SubmitReport", message)) {
            try decoder.decodeSubmitReport($0)
        }
        guard case .submitReport(let facts, let content) = write.command else {
            Issue.record("not a report")
            throw RequestError.invalid([])
        }
        return (write.key, facts, content)
    }

    @Test func takesTheFactsOfAReport() throws {
        let (key, facts, content) = try report(Valid.submitReport)
        #expect(key.requestID == id)
        #expect(key.fingerprint == Hash128(of: content.span, seed: 1))
        #expect(facts.family == .suicideSelfHarm)
        #expect(facts.reporter == .user)
        #expect(facts.imminence == .now)
        #expect(facts.modifiers == [.minor, .locationKnown])
        #expect(facts.signalPermille == 750)
        #expect(facts.live)
        #expect(facts.language.text == "pt")
        #expect(facts.region.text == "BR")
        #expect(facts.routing == .americas)
        #expect(facts.clearance == .required(for: .suicideSelfHarm, modifiers: facts.modifiers))
        #expect(facts.subject == Hash128(of: Array("stream-1".utf8).span, seed: 7))
    }

    @Test func keepsTheWordsAndDropsWhatIsOutputOnly() throws {
        let (_, _, content) = try report(Valid.submitReport)
        let view = CaseSamples.view(content: content, live: true)
        let full = ReplyEncoder(pageTokenKey: .random()).case(view, detail: .full)
        let shown = try #require(try reply("GetCase", full).messages("reports").first)
        guard case .message(var sent) = Valid.report else { return }
        sent["name"] = "cases/12/reports/40"
        sent["submitter"] = "spiffe://triaged.test/intake"
        sent["create_time"] = .timestamp(CaseSamples.received)
        #expect(Set(shown.fields.map(\.name)) == Set(sent.fields.map(\.name)))
        for field in shown.fields { #expect(field.value == sent[field.name], "\(field.name)") }
    }

    @Test func keepsAKindOfHarmThatItDoesNotKnow() throws {
        let (_, facts, content) = try report(Valid.submitReport.with("report.harm_family", e("77")))
        #expect(facts.family == .unrecognised)
        let arena = Arena()
        let stored = unsafe try arena.unpack(
            content.span, .storage, triaged__storage__v1__report_content__init)
        #expect(unsafe stored.pointee.harm_family == 77)
        let negative = Valid.submitReport.with("report.harm_family", e("-1"))
        #expect(try report(negative).1.family == .unrecognised)
    }

    static let streams: [(DynamicValue, DynamicValue?, Bool)] = [
        (e("SUBJECT_KIND_LIVE_STREAM"), nil, true),
        (e("SUBJECT_KIND_LIVE_STREAM"), ["live": true], true),
        (e("SUBJECT_KIND_LIVE_STREAM"), ["live": false], false),
        (e("SUBJECT_KIND_LIVE_STREAM"), ["end_time": t(1)], false),
        (e("SUBJECT_KIND_VIDEO"), nil, false),
    ]

    @Test("a stream is live until somebody says that it is not", arguments: streams)
    func tellsLive(_ kind: DynamicValue, _ stream: DynamicValue?, _ live: Bool) throws {
        let message = Valid.submitReport.with("report.subject.kind", kind)
            .with("report.subject.live_stream", stream)
        #expect(try report(message).1.live == live)
        // A related stream that is on air makes the report live too.
        let related: DynamicValue = ["kind": e("SUBJECT_KIND_LIVE_STREAM"), "id": "other"]
        #expect(try report(message.with("report.related_subjects[0]", related)).1.live)
    }

    @Test(
        "doubt in a confidence goes up",
        arguments: [(0.0, 0), (0.0001, 1), (0.8995, 900), (1, 1000)])
    func roundsConfidence(_ confidence: Double, _ permille: Int) throws {
        let signals: DynamicValue = [
            ["source": "s", "label": "l", "confidence": .double(confidence)]
        ]
        let facts = try report(Valid.submitReport.with("report.signals", signals)).1
        #expect(Int(facts.signalPermille) == permille)
    }

    @Test func fingerprintsWhatAReportSaysAndNotHowItIsWritten() throws {
        let (key, _, _) = try report(Valid.submitReport)
        // Another request id, another order of fields, unpacked modifiers, an unknown field.
        let other = Valid.submitReport.with("request_id", "11111111-1111-1111-1111-111111111111")
        #expect(try report(other).0.fingerprint == key.fingerprint)
        let bytes = try request("SubmitReport", Valid.submitReport)
        let swapped = Array(bytes[38...]) + bytes[..<38] + [0x98, 0x06, 1]
        let write = try decoder.decodeSubmitReport(swapped.span)
        #expect(write.key == key)
        let changed = Valid.submitReport.with("report.description", "something else")
        #expect(try report(changed).0.fingerprint != key.fingerprint)
    }

    @Test("writes of different methods have different fingerprints")
    func fingerprintsTellMethodsApart() throws {
        let bytes = try request("AcceptCase", Valid.assignment)
        let accept = try decoder.decodeAcceptCase(bytes.span)
        let complete = try decoder.decodeCompleteCase(bytes.span)
        #expect(accept.key.requestID == complete.key.requestID)
        #expect(accept.key.fingerprint != complete.key.fingerprint)
        let again = try decode(
            request("AcceptCase", Valid.assignment.with("request_id", .string(uuid.uppercased())))
        ) { try decoder.decodeAcceptCase($0) }
        #expect(again.key == accept.key)
    }

    @Test func decodesAnswers() throws {
        let write = try decode(request("AnswerProtocol", Valid.answerProtocol)) {
            try decoder.decodeAnswerProtocol($0)
        }
        guard
            case .answerProtocol(let number, let answers, let reason, let token, let etag) =
                write.command
        else { Issue.record("another command"); return }
        #expect(number == CaseNumber(12))
        #expect(token == AssignmentNumber(7))
        #expect(etag == 255)
        #expect(reason == "spoke to the person")
        #expect(answers.protocolVersion == "2026-11")
        #expect(answers.happeningNow == .no)
        #expect(answers.credibleThreat == .unknown)
        #expect(answers.suicideRung == .plan)
        #expect(answers.actionCount == .twoOrMore)
        #expect(answers.modifiersPresent == .minor)
        #expect(answers.modifiersAbsent == .priorHistory)
        #expect(answers.modifiersUnknown == .namedVictim)
    }

    @Test func decodesADecision() throws {
        let write = try decode(request("DecideCase", Valid.decideCase)) {
            try decoder.decodeDecideCase($0)
        }
        guard case .decideCase(_, let decision, _, _) = write.command else {
            Issue.record("another command")
            return
        }
        #expect(decision.outcome == .harmReferred)
        #expect(decision.policyVersion == "p-9")
        #expect(decision.policyKeys == ["threat.imminent"])
        #expect(decision.rationale == "named school")
        #expect(decision.duties.referral == .done)
        #expect(decision.duties.statutoryReport == .notApplicable)
        #expect(decision.duties.preservation == .unanswered)
    }

    @Test func decodesAFilter() throws {
        let filter = try decode(request("WatchBoard", Valid.watchBoard)) {
            try decoder.decodeWatchBoard($0)
        }
        .filter
        #expect(filter.levels == 0b10001)
        #expect(filter.states == 1 << 3)
        #expect(filter.families == 1 << 9 | 1)
        #expect(filter.languages.map(\.text) == ["pt"])
        #expect(filter.regions.map(\.text) == ["BR"])
        #expect(filter.assignees == [alice])
        #expect(try decoder.decodeWatchBoard([UInt8]().span).filter.matchesAll)
    }

    @Test("page sizes", arguments: [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000)])
    func resolvesPageSize(_ sent: Int64, _ size: Int) throws {
        let bytes = try request("ListCases", ["page_size": .int(sent)])
        #expect(try decoder.decodeListCases(bytes.span, principal: alice).pageSize == size)
        let other = try request("ListDisclosureRequests", ["page_size": .int(sent)])
        let list = try decoder.decodeListDisclosureRequests(other.span, principal: alice)
        #expect(list.pageSize == size)
    }

    @Test func decodesAssignmentWrites() throws {
        let claim = try decode(request("ClaimNext", Valid.claimNext)) {
            try decoder.decodeClaimNext($0)
        }
        #expect(claim.waitMilliseconds == 5_000)
        let patient = Valid.claimNext.with("wait_duration", .duration(milliseconds: 55_000))
        #expect(
            try decode(request("ClaimNext", patient)) { try decoder.decodeClaimNext($0) }.key
                == claim.key)
        let renew = try decode(request("RenewLease", Valid.renewLease)) {
            try decoder.decodeRenewLease($0)
        }
        guard case .renewLease(let assignment, let token, 600_000) = renew.command else {
            Issue.record("another command")
            return
        }
        #expect(assignment == AssignmentNumber(7) && token == AssignmentNumber(7))
        let release = try decode(request("ReleaseLease", Valid.releaseLease)) {
            try decoder.decodeReleaseLease($0)
        }
        guard case .releaseLease(_, _, .wellness) = release.command else {
            Issue.record("another command")
            return
        }
        let handOff = try decode(request("HandOffCase", Valid.handOffCase)) {
            try decoder.decodeHandOffCase($0)
        }
        #expect(handOff.specialist.text == "spiffe://triaged.test/bob")
        #expect(handOff.note == "knows the family")
    }

    @Test func decodesAFiling() throws {
        let write = try decode(request("SubmitDisclosureRequest", Valid.submitDisclosure)) {
            try decoder.decodeSubmitDisclosureRequest($0)
        }
        guard case .submitDisclosureRequest(let filing) = write.command else {
            Issue.record("another command")
            return
        }
        var request = DisclosureRequest(
            id: DisclosureID(1), filing: filing, requester: PrincipalIndex(1),
            receivedAt: CaseSamples.received)
        request.revision = 3
        let view = DisclosureView(value: request, principals: [PrincipalIndex(1): alice])
        let shown = try reply(
            "GetDisclosureRequest",
            ReplyEncoder(pageTokenKey: .random()).disclosure(view, audience: .internal))
        guard case .message(let sent) = Valid.disclosureRequest else { return }
        for field in sent.fields where field.name != "documents" {
            #expect(shown[field.name] == field.value, "\(field.name)")
        }
        // A digest is kept in lower case.
        let digest = shown.messages("documents").first?.text("sha256")
        #expect(digest == String(repeating: "ab", count: 32))
    }

    @Test func decodesReflection() throws {
        func question(_ bytes: [UInt8]) throws -> ReflectionRequest {
            try decoder.decodeReflection((Wire.text(1, "host") + bytes).span)
        }
        #expect(try question([]) == ReflectionRequest(host: "host", question: .none))
        #expect(try question(Wire.text(3, "a.proto")).question == .fileByName("a.proto"))
        #expect(try question(Wire.text(4, "a.B")).question == .fileContainingSymbol("a.B"))
        #expect(
            try question(Wire.text(5, Wire.text(1, "a.B") + [0x10, 9])).question
                == .fileContainingExtension(type: "a.B", number: 9))
        #expect(try question(Wire.text(6, "a.B")).question == .extensionNumbers(type: "a.B"))
        #expect(try question(Wire.text(7, "*")).question == .listServices("*"))
        #expect(throws: RequestError.self) { try question(Wire.text(7, letters(513).text)) }
    }
}

extension DynamicValue {
    /// The text of a string value.
    var text: String {
        if case .string(let text) = self { text } else { "" }
    }
}
