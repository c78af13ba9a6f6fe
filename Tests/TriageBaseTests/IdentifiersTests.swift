import Testing
import TriageBase

@Suite struct IdentifiersTests {
    // `#require` cannot hold a Span, which does not escape.
    func parse(_ text: String) -> RequestID? {
        RequestID(uuid: Array(text.utf8).span)
    }

    @Test func uuidRoundTrips() throws {
        let text = "0b5a1f9e-3c57-4a1e-9d6b-8f2a61c0d4e7"
        let id = try #require(parse(text))
        #expect(id.uuidText == text)
    }

    @Test("every character counts where a digit may stand, and no other does")
    func readsEveryDigit() {
        let text = Array("0b5a1f9e-3C57-4a1e-9D6b-8f2a61c0d4e7".utf8)
        for index in text.indices {
            let isHyphen = text[index] == UInt8(ascii: "-")
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[index] = byte
                let value = isHyphen ? (byte == text[index] ? 0 : nil) : hexDigitValue(byte)
                let read = RequestID(uuid: changed.span)
                #expect((read == nil) == (value == nil))
                guard let read, let value, !isHyphen else { continue }
                let place = text[..<index].count { $0 != UInt8(ascii: "-") }
                let word = place < 16 ? read.high : read.low
                #expect(word >> UInt64(60 - place % 16 * 4) & 0xF == UInt64(value))
            }
        }
    }

    @Test(arguments: [
        "", "0b5a1f9e-3c57-4a1e-9d6b-8f2a61c0d4e", "0b5a1f9e_3c57-4a1e-9d6b-8f2a61c0d4e7",
        "0b5a1f9e-3c57-4a1e-9d6b-8f2a61c0d4eg", "00000000-0000-0000-0000-000000000000",
    ])
    func malformedUUIDIsRefused(_ text: String) {
        #expect(parse(text) == nil)
    }

    @Test func limitsAreConsistent() {
        Limits.assertRelations()
    }

    @Test func wallTimeSaturates() {
        #expect(WallTime.distantFuture.advanced(byMilliseconds: .max) == .distantFuture)
        #expect(
            MonotonicTime(nanoseconds: 5).nanoseconds(since: MonotonicTime(nanoseconds: 9)) == 0)
    }
}
