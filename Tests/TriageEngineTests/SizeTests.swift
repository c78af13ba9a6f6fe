// What crosses threads once a call stays small: a turn moves thousands of them.

import Testing
import TriageDomain

@testable import TriageEngine

@Suite struct SizeTests {
    @Test func whatAReportPassesThrough_isSmall() {
        #expect(MemoryLayout<EngineRequest>.stride <= 176)
        #expect(MemoryLayout<Completion>.stride <= 80)
        #expect(MemoryLayout<Event>.stride <= 112)
        #expect(MemoryLayout<Outcome>.stride <= 40)
    }
}
