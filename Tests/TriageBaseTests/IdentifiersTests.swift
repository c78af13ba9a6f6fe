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
