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
}
