// The replay's plan is a function of its seed and the bundled figures, and has their shape.

import Foundation
import Testing
import TriageCodec

@testable import triagectl

@Suite struct ReplayPlanTests {
    static let sample = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Deploy/sample").standardized.path

    func plan(
        seed: UInt64, rate: Double = 20_000, hours: Int64 = 24, surges: [SurgeChoice] = []
    ) throws -> [PlannedReport] {
        var planner = ReplayPlanner(
            data: try ReplayData(folder: Self.sample),
            parameters: ReplayParameters(
                seed: seed, ratePerDay: rate, spanMilliseconds: hours * 3_600_000, startHour: 0,
                surges: surges))
        return planner.plan()
    }

    @Test func sameSeedGivesTheSamePlan() throws {
        let a = try plan(seed: 7)
        let b = try plan(seed: 7)
        #expect(a.map(\.requestID) == b.map(\.requestID))
        #expect(a.map(\.report) == b.map(\.report))
        #expect(try plan(seed: 8).map(\.requestID) != a.map(\.requestID))
    }

    @Test func timesAreOrderedAndWithinTheSpan() throws {
        let offsets = try plan(seed: 1).map(\.offset)
        #expect(offsets == offsets.sorted())
        #expect(offsets.allSatisfy { $0 >= 0 && $0 < 24 * 3_600_000 })
    }

    // Twelve Mondays: the mean must be that of the curve, and the night much quieter than the
    // evening.
    @Test func baselineHasTheRateAndTheCurveOfTheTrace() throws {
        let data = try ReplayData(folder: Self.sample)
        let perWeek = data.hourWeights.reduce(0, +)
        let monday = data.hourWeights[0..<24].reduce(0, +)
        let expected = 20_000 * 7 * monday / perWeek
        let days = try (1...12).map { try plan(seed: $0) }
        let mean = Double(days.map(\.count).reduce(0, +)) / 12
        #expect(abs(mean - expected) < expected * 0.05)
        func count(hour: Int64) -> Int {
            days.joined().count { $0.offset / 3_600_000 == hour }
        }
        #expect(count(hour: 18) > 2 * count(hour: 3))
    }

    @Test func surgeJoinsFewIncidentsAndPeaksWhereAsked() throws {
        let choice = SurgeChoice(name: "west-texas", multiplier: 2, peakAtMilliseconds: 3_600_000)
        let surge = try plan(seed: 3, rate: 0, hours: 3, surges: [choice])
        let subjects = Set(surge.map { $0.report.message("subject")?.text("id") ?? "" })
        #expect(subjects.count <= 4)
        let peak = surge.count { $0.offset >= 3_600_000 && $0.offset < 4_200_000 }
        #expect(peak >= 900 && peak <= 1_200, "514 real arrivals, each twice, in the peak: \(peak)")
    }

    @Test func missingSampleNamesTheFile() {
        #expect(throws: (any Error).self) { try ReplayData(folder: "/nowhere") }
    }
}
