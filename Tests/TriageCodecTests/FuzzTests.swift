// Valid requests, damaged at random from a fixed seed, through every decoder: each is taken or
// refused, and nothing traps. What is taken is right in form, so that it must be taken again.

import Testing
import TriageBase

@testable import TriageCodec

@Suite("Mutated requests") struct FuzzTests {
    static let seed: UInt64 = 0x7269_6167
    static let rounds = 250

    @Test("every decoder survives", arguments: Decoding.valid.keys.sorted())
    func survives(_ method: String) throws {
        let valid = try request(method, #require(Decoding.valid[method]))
        let decoding = Decoding()
        var arbitrary = Arbitrary(seed: Self.seed)
        var bytes = valid
        for round in 0..<Self.rounds {
            // Damage adds up over eight rounds.
            if round % 8 == 0 { bytes = valid }
            mutate(&bytes, &arbitrary)
            let first = Self.outcome(method, bytes, decoding)
            #expect(Self.outcome(method, bytes, decoding) == first, "seed \(Self.seed), \(bytes)")
        }
    }

    static func outcome(
        _ method: String, _ bytes: [UInt8], _ decoding: Decoding
    ) -> RequestError? {
        do throws(RequestError) {
            try decoding.run(method, bytes)
            return nil
        } catch { return error }
    }

    @Test("random bytes are never taken for a report") func refusesNoise() {
        var arbitrary = Arbitrary(seed: 99)
        let decoding = Decoding()
        for _ in 0..<2_000 {
            let noise = arbitrary.list(200) { UInt8(truncatingIfNeeded: $0.bits()) }
            #expect(Self.outcome("SubmitReport", noise, decoding) != nil)
        }
    }

    /// protobuf-c merges two copies of a sub-message and loses numbers on the way.
    @Test func refusesASubmessageThatOccursTwice() throws {
        let bytes = try request("SubmitReport", Valid.submitReport)
        let twice = bytes + Wire.text(2, Wire.text(13, "later words"))
        let fault = MessageFault(kind: .repeatedSubmessage, offset: bytes.count, field: "report")
        #expect(Self.outcome("SubmitReport", twice, Decoding()) == .malformed(fault))
        let inner = Wire.text(2, Wire.text(4, [0x08, 1]) + Wire.text(4, [0x08, 1]))
        let deep = MessageFault(kind: .repeatedSubmessage, offset: 6, field: "report.subject")
        #expect(Self.outcome("SubmitReport", inner, Decoding()) == .malformed(deep))
    }
}
