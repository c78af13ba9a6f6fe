import Foundation

/// The seeds of a randomised test: some fixed ones, and one from `TRIAGED_TEST_SEED` or the clock.
enum Seeds {
    static let all: [UInt64] = {
        let given = ProcessInfo.processInfo.environment["TRIAGED_TEST_SEED"].flatMap { UInt64($0) }
        let extra = given ?? UInt64(Date().timeIntervalSince1970 * 1_000)
        print("seeds: 1, 2, 3, and \(extra) (repeat with TRIAGED_TEST_SEED=\(extra))")
        return [1, 2, 3, extra]
    }()
}
