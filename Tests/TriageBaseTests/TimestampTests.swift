import Testing
import TriageBase

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_372_313_042, "2026-11-22T18:31:53.042Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func formats(_ milliseconds: Int64, _ text: String) {
        #expect(Timestamp.rfc3339(WallTime(milliseconds: milliseconds)) == text)
    }

    @Test(arguments: [
        "2026-11-22T18:31:53Z", "2026-11-22T18:31:53.4Z", "2000-02-29T00:00:00.000Z",
    ])
    func parsesWhatItFormats(_ text: String) throws {
        let time = try #require(Timestamp.parse(rfc3339: text))
        let formatted = Timestamp.rfc3339(time)
        #expect(Timestamp.parse(rfc3339: formatted) == time)
        #expect(formatted.hasPrefix(text.dropLast()))
    }

    @Test(arguments: [
        "", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z",
        "2026-11-22T18:31:53+01:00",
        "2026-11-22T18:31:53.Z", "2026-11-22T18:31:53.1234Z", "2026-11-22t18:31:53Z",
        "2026-13-01T00:00:00Z", "2026-11-22T18:31:5xZ",
    ])
    func refusesOtherText(_ text: String) {
        #expect(Timestamp.parse(rfc3339: text) == nil)
    }
}
