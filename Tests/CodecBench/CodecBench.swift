// What the codec costs: `triage-codec-bench [ROUNDS [NAME]]` prints one JSON object a line: name,
// value, unit, reach and holds. 200,000 rounds of each unless told otherwise.

import Glibc
import TriageBase
import TriageCodec
import TriageDomain

/// Measures the hot path: a report in, its event to disk, its reply out.
func runBenchmarks(arguments: [String]) {
    let rounds = arguments.dropFirst().first.flatMap { Int($0) } ?? 200_000
    let only = arguments.dropFirst(2).first
    do {
        try CodecBench(rounds: rounds, only: only).run()
    } catch {
        print("\(error)")
        exit(1)
    }
}

struct CodecBench {
    let rounds: Int
    /// Measures this one alone, so that its allocations can be counted from outside.
    let only: String?
    let decoder = RequestDecoder(pageTokenKey: .random())
    let encoder = ReplyEncoder(pageTokenKey: .random())
    let codec = EventCodec()

    func run() throws {
        let request = try MethodSchema.named("SubmitReport").request.encode(Self.report)
        print(#"{"name":"codec.report_bytes","value":\#(request.count),"unit":"bytes"}"#)
        let write = try decoder.decodeSubmitReport(request.span)
        guard case .submitReport(let facts, let content) = write.command else { return }
        measure("decode_submit_report", reach: 1_000) {
            if let write = try? decoder.decodeSubmitReport(request.span) { keep(write.key) }
        }
        let time = WallTime(milliseconds: 1_700_000_000_000)
        let header = EventHeader(
            sequence: 123_456, time: time,
            principal: Principal(spiffeID: "spiffe://triaged.test/intake/eu"),
            requestID: write.key.requestID, fingerprint: write.key.fingerprint)
        let assessment = Assessment(
            level: .p1,
            code: LevelCode(family: .suicideSelfHarm, point: .screening, modifiers: .minor),
            effectiveDeadline: time, governedBy: .target)
        let events = [
            Event.reportReceived(
                case: CaseNumber(1_234_567), report: ReportNumber(7_654_321), opened: true,
                facts: facts, assessment: assessment, content: content)
        ]
        var record = RecordParts()
        measure("encode_report_event", reach: 500) {
            codec.encode(header, events, into: &record)
        }
        record.withView { view in
            measure("decode_report_event", reach: 2_000) {
                if let read = try? codec.decode(view, sequence: 1, time: time) {
                    keep(read.0.sequence)
                }
            }
        }
        let bytes = record.body.count + record.sealed[0].count
        print(#"{"name":"codec.record_bytes","value":\#(bytes),"unit":"bytes"}"#)
        let receipt = ReportReceipt(
            caseNumber: CaseNumber(1_234_567), report: ReportNumber(7_654_321), opened: true,
            level: .p1, revision: 123_456, receivedAt: time)
        measure("encode_submit_reply", reach: 500) {
            encoder.withSubmitReport(receipt) { keep($0.count) }
        }
        var value = Case(
            number: CaseNumber(1_234_567), facts: facts, level: .p1, code: assessment.code,
            first: StoredReport(
                number: ReportNumber(1), receivedAt: time, submitter: PrincipalIndex(1),
                content: content))
        value.effectiveDeadline = time
        let view = CaseView(value: value, assignee: nil, principals: [:])
        measure("encode_case_basic", reach: 1_500) {
            keep(encoder.case(view, detail: .basic).count)
        }
        measure("encode_case_full", reach: 3_000) {
            keep(encoder.case(view, detail: .full).count)
        }
    }

    /// Prints the median over batches of the processor time of one call.
    private func measure(_ name: String, reach: Double, _ body: () -> Void) {
        if let only, only != name { return }
        let batches = 20
        var times: [Double] = []
        for _ in 0..<batches {
            let start = clock()
            for _ in 0..<(rounds / batches) { body() }
            let used = Double(clock() - start) * (1e9 / Double(CLOCKS_PER_SEC))
            times.append(used / Double(rounds / batches))
        }
        let median = times.sorted()[batches / 2]
        print(
            """
            {"name":"codec.\(name)","value":\(Double(Int(median * 10)) / 10),"unit":"ns",\
            "reach":\(reach),"holds":\(median <= reach)}
            """)
    }

    /// A report of about 200 bytes.
    static let report: DynamicMessage = {
        var subject = DynamicMessage()
        subject["kind"] = .enumeration("SUBJECT_KIND_POST")
        subject["id"] = .string("post-7319846501837")
        subject["account_id"] = .string("account-182736455")
        var reporter = DynamicMessage()
        reporter["kind"] = .enumeration("REPORTER_KIND_USER")
        reporter["id"] = .string("user-99182")
        var signal = DynamicMessage()
        signal["source"] = .string("self-harm-text")
        signal["version"] = .string("7")
        signal["label"] = .string("intent")
        signal["confidence"] = .double(0.83)
        var report = DynamicMessage()
        report["subject"] = .message(subject)
        report["harm_family"] = .enumeration("HARM_FAMILY_SUICIDE_SELF_HARM")
        report["modifiers"] = .list([.enumeration("RISK_MODIFIER_MINOR")])
        report["reporter"] = .message(reporter)
        report["signals"] = .list([.message(signal)])
        report["language_code"] = .string("en")
        report["region_code"] = .string("US")
        report["description"] = .string("says goodbye to everyone and names tonight")
        var request = DynamicMessage()
        request["request_id"] = .string("0f8fad5b-d9cb-469f-a165-70867728950e")
        request["report"] = .message(report)
        return request
    }()
}

/// Keeps a result from being optimised away.
@inline(never)
func keep<Value>(_ value: Value) {}
