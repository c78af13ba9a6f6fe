// What a thread asks of the system, read back from the system.

import Glibc
import Synchronization
import Testing
import TriageIO

@Suite struct ThreadTests {
    /// Of the calling thread, on Linux: getpriority(2), "C library/kernel differences".
    private static func niceness() -> Int32 {
        getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
    }

    private func niceness(of urgency: Thread.Urgency) throws -> Int32 {
        let seen = Atomic<Int32>(.min)
        let thread = try Thread(name: "urgency", urgency: urgency) {
            seen.store(Self.niceness(), ordering: .relaxed)
        }
        thread.join()
        return seen.load(ordering: .relaxed)
    }

    @Test func backgroundWork_givesWay_andNothingElseDoes() throws {
        let own = Self.niceness()
        #expect(try niceness(of: .normal) == own)
        #expect(try niceness(of: .prompt) == own)
        #expect(try niceness(of: .background) == min(own + 10, 19))
        #expect(Self.niceness() == own)
    }
}
