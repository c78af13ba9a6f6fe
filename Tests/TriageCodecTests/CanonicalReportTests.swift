// The reader of canonical reports against the way through protobuf-c, which knows nothing of it:
// what it takes the other takes too, and makes the same of it.

import CTriageProtos
import Testing
import TriageBase
import TriageDomain

@testable import TriageCodec

@Suite("Canonical reports") struct CanonicalReportTests {
    let decoder = RequestDecoder(pageTokenKey: PageTokenKey(first: 1, second: 2))

    /// What a request was decoded to.
    struct Read: Equatable {
        let id: RequestID
        let facts: String
        let content: [UInt8]
    }

    func canonical(_ bytes: [UInt8]) -> Read? {
        decoder.decodeCanonical(bytes.span).map {
            Read(id: $0.id, facts: "\($0.report.facts)", content: $0.report.content)
        }
    }

    func other(_ bytes: [UInt8]) -> Read? {
        guard let write = try? decoder.decodeAnySubmitReport(bytes.span),
            case .submitReport(let facts, let content) = write.command
        else { return nil }
        return Read(id: write.key.requestID, facts: "\(facts)", content: content)
    }

    /// A report in which every field is, but those that only replies have.
    static let full = Valid.submitReport.with("report.name", nil).with("report.submitter", nil)

    /// A request as protobuf-c, and every other library's encoder, writes it.
    func written(_ message: DynamicMessage) throws -> [UInt8] {
        let bytes = try request("SubmitReport", message)
        let arena = Arena()
        return unsafe arena.pack(
            try arena.unpack(bytes.span, .request, triaged__v1__submit_report_request__init))
    }

    @Test("takes every report that is right, and makes of it what protobuf-c's way does")
    func takesWhatIsRight() throws {
        var arbitrary = Arbitrary(seed: 41)
        for _ in 0..<1_000 {
            let message = arbitrary.submitReport()
            let bytes = try written(message)
            let read = try #require(canonical(bytes), "\(message)")
            #expect(read == other(bytes), "\(message)")
        }
    }

    @Test("takes nothing that protobuf-c's way refuses or reads otherwise")
    func leavesWhatIsWrong() throws {
        var arbitrary = Arbitrary(seed: 42)
        var taken = 0
        for _ in 0..<6_000 {
            var bytes = try written(arbitrary.submitReport())
            mutate(&bytes, &arbitrary)
            guard let read = canonical(bytes) else { continue }
            taken += 1
            #expect(read == other(bytes), "\(bytes)")
        }
        // Otherwise this compares nothing.
        #expect(taken > 200)
    }

    @Test("takes nothing that is cut off, anywhere") func leavesWhatIsCutOff() throws {
        let bytes = try written(Self.full)
        #expect(canonical(bytes) != nil)
        for count in 0..<bytes.count { #expect(canonical([UInt8](bytes.prefix(count))) == nil) }
    }

    @Test("every bound is that of protobuf-c's way")
    func keepsEveryBound() throws {
        let bounds: [(String, Int)] = [
            ("report.subject.id", 256), ("report.subject.account_id", 256),
            ("report.subject.uri", 2_048), ("report.reporter.id", 256),
            ("report.signals[0].source", 128), ("report.signals[0].version", 64),
            ("report.signals[0].label", 128), ("report.description", 8_192),
            ("report.evidence_uris[0]", 2_048), ("report.external_id", 128),
        ]
        for (path, most) in bounds {
            let full = try written(Self.full.with(path, letters(most)))
            #expect(canonical(full) != nil && canonical(full) == other(full), "\(path)")
            let over = try request(
                "SubmitReport", Self.full.with(path, letters(most + 1)))
            #expect(canonical(over) == nil, "\(path)")
        }
    }

    @Test("leaves what is right but written otherwise to protobuf-c's way")
    func leavesOtherForms() throws {
        let bytes = try written(Self.full)
        // An unknown field; the report before its id; a length in more bytes than it needs.
        let unknown = bytes + [0x78, 1]
        let id = 38
        let swapped = [UInt8](bytes[id...] + bytes[..<id])
        let long = [0x0A, 0xA4, 0x00] + bytes[2...]
        for form in [unknown, swapped, [UInt8](long)] {
            #expect(canonical(form) == nil)
            #expect(other(form) == other(bytes) && other(form) != nil)
        }
    }
}

extension Arbitrary {
    private mutating func optional(
        _ message: inout DynamicMessage, _ name: String, _ make: (inout Arbitrary) -> DynamicValue
    ) {
        if flag() { message[name] = make(&self) }
    }

    private mutating func words(_ bytesMax: Int) -> DynamicValue {
        var words = ""
        for scalar in (text() + "é").unicodeScalars {
            guard words.utf8.count + UTF8.width(scalar) <= bytesMax else { break }
            words.unicodeScalars.append(scalar)
        }
        return .string(words)
    }

    private mutating func stamp() -> DynamicValue {
        var stamp = DynamicMessage()
        stamp["seconds"] = .int(
            flag() ? Int64(below(253_402_300_800)) : -Int64(below(62_135_596_801)))
        stamp["nanos"] = .int(flag() ? 0 : Int64(below(1_000_000_000)))
        return .message(stamp)
    }

    private mutating func subject() -> DynamicValue {
        var subject = DynamicMessage()
        let kind = below(9) + 1
        subject["kind"] = e("\(kind)")
        subject["id"] = words(256)
        optional(&subject, "account_id") { $0.words(256) }
        optional(&subject, "uri") { $0.words(2_048) }
        if kind == 7 {
            optional(&subject, "live_stream") { arbitrary in
                var stream = DynamicMessage()
                let live = arbitrary.flag()
                stream["live"] = .bool(live)
                arbitrary.optional(&stream, "viewer_count") { .int(Int64($0.below(1 << 31))) }
                arbitrary.optional(&stream, "start_time") { $0.stamp() }
                arbitrary.optional(&stream, "last_heartbeat_time") { $0.stamp() }
                if !live { arbitrary.optional(&stream, "end_time") { $0.stamp() } }
                return .message(stream)
            }
        }
        return .message(subject)
    }

    private mutating func signal() -> DynamicValue {
        var signal = DynamicMessage()
        signal["source"] = words(128)
        optional(&signal, "version") { $0.words(64) }
        signal["label"] = words(128)
        optional(&signal, "confidence") { .double(Double($0.below(10_001)) / 10_000) }
        optional(&signal, "observe_time") { $0.stamp() }
        return .message(signal)
    }

    /// A request that is right: every field and every value that it may have comes up.
    mutating func submitReport() -> DynamicMessage {
        var report = DynamicMessage()
        report["subject"] = subject()
        optional(&report, "related_subjects") { a in .list(a.list(3) { $0.subject() }) }
        report["harm_family"] = e("\(below(127) + 1)")
        optional(&report, "imminence") { e("\($0.below(UInt64(Imminence.allCases.count)))") }
        optional(&report, "modifiers") { a in
            .list((1...7).filter { _ in a.flag() }.map { e("\($0)") })
        }
        var reporter = DynamicMessage()
        reporter["kind"] = e("\(below(5) + 1)")
        optional(&reporter, "id") { $0.words(256) }
        report["reporter"] = .message(reporter)
        optional(&report, "signals") { a in .list(a.list(3) { $0.signal() }) }
        optional(&report, "language_code") { $0.flag() ? "pt-BR" : "und" }
        optional(&report, "region_code") { $0.flag() ? "BR" : "de" }
        optional(&report, "description") { $0.words(8_192) }
        optional(&report, "evidence_uris") { a in .list(a.list(3) { $0.words(2_048) }) }
        optional(&report, "external_id") { $0.words(128) }
        optional(&report, "occur_time") { $0.stamp() }
        return [
            "request_id": .string(RequestID(high: bits() | 1, low: bits()).uuidText),
            "report": .message(report),
        ]
    }
}
