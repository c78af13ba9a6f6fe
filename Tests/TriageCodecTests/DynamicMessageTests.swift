// Dynamic messages against the API's own schemas.

import Testing
import TriageBase
import TriageCodec

@Suite struct DynamicMessageTests {
    let schema = MethodSchema.named("SubmitReport").request

    /// What a server says is no more to be trusted than what a client does.
    @Test(arguments: [
        (Int64.min, false), (-9_223_372_036_854_775, false), (-62_135_596_800, true),
        (253_402_300_799, true), (253_402_300_800, false), (Int64.max, false),
    ])
    func timesOutOfRange_areRefused(seconds: Int64, isInRange: Bool) throws {
        let reply = MethodSchema.named("GetCase").reply
        var known = DynamicMessage()
        known["create_time"] = .timestamp(WallTime(milliseconds: 1_000))
        let bytes = try reply.encode(known)
        try #require(bytes.count == Int(bytes[1]) + 2, "tag, length, time")
        var bits = UInt64(bitPattern: seconds)
        var number: [UInt8] = []
        repeat {
            number.append(UInt8(bits & 0x7F) | (bits > 0x7F ? 0x80 : 0))
            bits >>= 7
        } while bits > 0
        let other = [bytes[0], UInt8(number.count + 1), 0x08] + number
        let time = try? reply.decode(other.span).time("create_time")
        #expect(time?.milliseconds == (isInRange ? seconds &* 1_000 : nil))
    }

    /// As many as fit into the largest reply: none of them copies those before it.
    @Test(.timeLimit(.minutes(5))) func aLongListIsReadInOneGo() throws {
        let reply = MethodSchema.named("ListCases").reply
        var one = DynamicMessage()
        one["cases"] = .list([.message(DynamicMessage())])
        let bytes = try reply.encode(one)
        let count = 500_000
        let all = [UInt8]((0..<count).lazy.flatMap { _ in bytes })
        #expect(try reply.decode(all.span).messages("cases").count == count)
    }

    func sample() -> DynamicMessage {
        var stream = DynamicMessage()
        stream["live"] = .bool(true)
        stream["viewer_count"] = .int(-1)
        stream["start_time"] = .timestamp(WallTime(milliseconds: -1_500))
        var subject = DynamicMessage()
        subject["kind"] = .enumeration("SUBJECT_KIND_LIVE_STREAM")
        subject["id"] = .string("déjà")
        subject["live_stream"] = .message(stream)
        var signal = DynamicMessage()
        signal["confidence"] = .double(0.25)
        var report = DynamicMessage()
        report["subject"] = .message(subject)
        report["modifiers"] = .list([
            .enumeration("RISK_MODIFIER_MINOR"), .enumeration("RISK_MODIFIER_NAMED_VICTIM"),
        ])
        report["signals"] = .list([.message(signal)])
        var request = DynamicMessage()
        request["request_id"] = .string("x")
        request["report"] = .message(report)
        return request
    }

    func decode(_ bytes: [UInt8]) throws -> DynamicMessage { try schema.decode(bytes.span) }

    @Test func roundTrips() throws {
        #expect(try decode(try schema.encode(sample())) == sample())
    }

    @Test func packedAndUnpackedListsAreTheSame() throws {
        // Field 8 (modifiers) of field 2 (report), once packed, once element by element.
        let packed: [UInt8] = [0x12, 4, 0x42, 2, 1, 2]
        let unpacked: [UInt8] = [0x12, 4, 0x40, 1, 0x40, 2]
        #expect(try decode(packed) == decode(unpacked))
    }

    @Test func everyTruncationIsRefusedOrAPrefix() throws {
        let bytes = try schema.encode(sample())
        for count in 1..<bytes.count {
            let cut = Array(bytes.prefix(count))
            if let message = try? decode(cut) { #expect(message.fields.count < 2) }
        }
    }

    @Test func unknownFieldsAreSkipped() throws {
        let bytes = try schema.encode(sample()) + [0xFA, 0x07, 1, 9, 0xF8, 0x07, 5]
        #expect(try decode(bytes) == sample())
    }

    @Test func enumValuesAreTakenByTheirEnd() throws {
        var request = sample()
        var report = try #require(request.message("report"))
        report["harm_family"] = .string("suicide-self-harm")
        request["report"] = .message(report)
        let decoded = try decode(try schema.encode(request))
        #expect(decoded.message("report")?.text("harm_family") == "HARM_FAMILY_SUICIDE_SELF_HARM")
    }

    @Test func errorsNameThePath() {
        var request = sample()
        request["report"] = .message(
            {
                var report = DynamicMessage()
                report["harm_family"] = .string("nonsense")
                return report
            }())
        #expect {
            try schema.encode(request)
        } throws: { error in
            (error as? DynamicMessageError)?.path == "report.harm_family"
        }
    }
}
