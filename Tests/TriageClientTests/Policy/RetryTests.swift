// The rules of retries, one by one: what is tried again, when, how often, and at whose expense.

import Testing
import TriageBase
import TriageGRPC

@testable import TriageClient
@testable import TriageTransport

@Suite struct BackoffTests {
    private let shape = Backoff.Shape(initial: 1_000, multiplier: 1.6, longest: 120_000)

    @Test(arguments: 1...20) func pauses_growAndStayWithinTheirJitter(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var backoff = Backoff(shape)
        var expected = 1_000.0
        for _ in 0..<30 {
            let pause = Double(backoff.pause(&random))
            expect(pause >= expected * 0.8 - 1 && pause <= expected * 1.2 + 1)
            expected = min(expected * 1.6, 120_000)
        }
        backoff.reset()
        expect(backoff.pause(&random) <= 1_200)
    }

    @Test func clients_doNotComeBackTogether() {
        let shape = Backoff.Shape(initial: 1_000_000_000, multiplier: 1.6, longest: 1 << 40)
        let pauses = (0..<100).map { seed in
            var random = SeededRandom(seed: UInt64(seed))
            var backoff = Backoff(shape)
            return backoff.pause(&random)
        }
        expect(Set(pauses).count > 90)
    }
}

@Suite struct RetryThrottleTests {
    @Test func budget_isUsedUpByFailuresAndFilledBySuccesses() {
        var throttle = RetryThrottle(tokensMax: 10, tokenRatio: 0.1)
        for _ in 0..<4 { throttle.failed() }
        expect(throttle.allowsRetry)
        throttle.failed()
        expect(!throttle.allowsRetry, "half of the tokens are gone")
        for _ in 0..<100 { throttle.failed() }
        expect(throttle.tokens == 0)
        for _ in 0..<51 { throttle.succeeded() }
        expect(throttle.allowsRetry, "5.1 tokens")
        for _ in 0..<1_000 { throttle.succeeded() }
        expect(throttle.tokens == 10)
    }
}

@Suite struct RetryStateTests {
    private static let policy = ServiceConfig.RetryPolicy(
        attemptsMax: 4,
        backoff: Backoff.Shape(initial: 100_000_000, multiplier: 2, longest: 2_000_000_000),
        codes: [.unavailable, .resourceExhausted])
    private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

    /// One call, its budget and its chance.
    private struct Bench {
        var state: RetryState
        var throttle = RetryThrottle(tokensMax: 10, tokenRatio: 0.1)
        var random = SeededRandom(seed: 1)
        var now: MonotonicTime
        var mayRepeat = true
        var deadline = MonotonicTime.never

        mutating func fails(
            _ code: StatusCode = .unavailable, unprocessed: Bool = false,
            _ pushback: RetryPushback = .none
        ) -> RetryVerdict {
            state.attemptFailed(
                AttemptEnd(code: code, isUnprocessed: unprocessed, pushback: pushback),
                mayRepeat: mayRepeat, now: now, deadline: deadline, throttle: &throttle,
                random: &random)
        }

        /// Milliseconds until the next attempt; nil when there is none.
        mutating func pause(
            _ code: StatusCode = .unavailable, _ pushback: RetryPushback = .none
        ) -> Double? {
            guard case .againAt(let time) = fails(code, pushback) else { return nil }
            return Double(time.nanoseconds(since: now)) / 1e6
        }
    }

    private func bench(_ policy: ServiceConfig.RetryPolicy? = policy) -> Bench {
        Bench(state: RetryState(policy), now: start)
    }

    @Test func unavailable_isTriedFourTimes_withGrowingPauses() throws {
        var bench = bench()
        for expected in [100.0, 200, 400] {
            let pause = try require(bench.pause())
            expect(pause >= expected * 0.8 && pause <= expected * 1.2)
        }
        expect(bench.state.previousAttempts == 3)
        expect(bench.fails() == .give)
        expect(bench.state.attempts == 4)
    }

    @Test(
        "no other code is tried again for its own sake",
        arguments: StatusCode.allCases.filter { $0 != .unavailable && $0 != .ok })
    func otherCodes_areGiven(code: StatusCode) {
        var bench = bench()
        expect(bench.fails(code) == .give)
    }

    @Test func aCodeOfThePolicy_isTriedAgainWhenTheServerAsksForIt() {
        var bench = bench()
        expect(bench.pause(.resourceExhausted, .after(milliseconds: 250)) == 250)
        expect(bench.fails(.aborted, .after(milliseconds: 250)) == .give, "not in the policy")
    }

    @Test func pushback_isObeyed_andBeginsTheSeriesAnew() throws {
        var bench = bench()
        _ = bench.pause()
        expect(bench.pause(.unavailable, .after(milliseconds: 7)) == 7)
        let pause = try require(bench.pause())
        expect(pause <= 120)
        var never = self.bench()
        expect(never.fails(.unavailable, .never) == .give)
        expect(never.throttle.tokens == 9, "it costs a token")
    }

    @Test func withoutAPolicy_orTheRightToRepeat_nothingIsTriedAgain() {
        var none = bench(nil)
        expect(none.fails() == .give)
        var write = bench()
        write.mayRepeat = false
        expect(write.fails() == .give)
    }

    @Test func afterTheServerBeganToAnswer_nothingIsTriedAgain() {
        var bench = bench()
        bench.state.commit()
        expect(bench.fails() == .give)
        expect(bench.fails(unprocessed: true) == .give)
    }

    @Test func whatNoServerBeganWith_isTriedAgainAtOnce_alsoAWriteWithoutPolicy() {
        var bench = bench(nil)
        bench.mayRepeat = false
        expect(bench.fails(unprocessed: true) == .again)
        expect(bench.fails(unprocessed: true) == .again)
        expect(bench.fails(unprocessed: true) == .give, "three in a row are no accident")
        expect(bench.state.previousAttempts == 0, "no server knows of them")
    }

    @Test func noAttempt_isPlannedForAfterTheDeadline() {
        var bench = bench()
        bench.deadline = start.advanced(byNanoseconds: 50_000_000)
        expect(bench.fails() == .give)
    }

    @Test func whenMostCallsFail_theBudgetStopsRetries() {
        var throttle = RetryThrottle(tokensMax: 10, tokenRatio: 0.1)
        var retries = 0
        for _ in 0..<100 {
            var bench = bench()
            bench.throttle = throttle
            while bench.pause() != nil { retries += 1 }
            throttle = bench.throttle
        }
        expect(retries == 3, "four failures of the first call, and one of the second")
    }
}
