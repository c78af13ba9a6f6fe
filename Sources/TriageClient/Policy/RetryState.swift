// Whether a call that failed is tried again, and when. Pure: time and chance are handed in. Knows
// nothing of connections or messages.
//
//     attempt ──ended: never begun──────────▶ again at once        (transparent)
//        ▲  └────ended: code, budget, time──▶ again after a pause  (policy)
//        └──────────────────────────────────────────┘
//     attempt ──headers or a reply came, too much was sent──▶ committed: its end is the call's

internal import TriageBase
internal import TriageGRPC
internal import TriageTransport

/// How one attempt failed.
struct AttemptEnd {
    var code: StatusCode
    /// No server began with it.
    var isUnprocessed: Bool
    var pushback: RetryPushback
}

/// What becomes of a call one of whose attempts failed.
enum RetryVerdict: Equatable {
    /// The failure is the call's.
    case give
    /// Try again at once.
    case again
    /// Try again at that time.
    case againAt(MonotonicTime)
}

/// The attempts of one call.
///
/// Source: gRPC proposal A6.
struct RetryState {
    private let policy: ServiceConfig.RetryPolicy?
    private var backoff: Backoff?
    private var refusals = 0
    /// Attempts that the policy made after the first: `grpc-previous-rpc-attempts`.
    private(set) var previousAttempts = 0
    /// Attempts in all, those included of which no server knows.
    private(set) var attempts = 1
    /// Nothing is tried again any more.
    private(set) var isCommitted = false

    /// A call that has begun with its first attempt.
    ///
    /// - Parameter policy: nil: only what no server began with is tried again.
    init(_ policy: ServiceConfig.RetryPolicy?) {
        self.policy = policy
        backoff = policy.map { Backoff($0.backoff) }
    }

    /// The server has begun to answer, or there is too much to send again.
    mutating func commit() { isCommitted = true }

    /// Judges a failed attempt.
    ///
    /// - Parameters:
    ///   - end: How it failed.
    ///   - mayRepeat: Whether the call does no harm when it is carried out twice.
    ///   - now: The time.
    ///   - deadline: The call's: no attempt is planned for later.
    ///   - throttle: The budget; told of the failure.
    ///   - random: Chance.
    /// - Returns: What becomes of the call.
    mutating func attemptFailed(
        _ end: AttemptEnd, mayRepeat: @autoclosure () -> Bool, now: MonotonicTime,
        deadline: MonotonicTime, throttle: inout RetryThrottle, random: inout SeededRandom
    ) -> RetryVerdict {
        if end.isUnprocessed, !isCommitted {
            refusals += 1
            if refusals < Limits.refusedAttemptsMax {
                attempts += 1
                return .again
            }
        }
        guard let policy else { return .give }
        let isRetryable = policy.isRetryable(end.code, end.pushback)
        if isRetryable || end.pushback == .never {
            throttle.failed()
        } else {
            throttle.succeeded()
        }
        guard isRetryable, end.pushback != .never, !isCommitted,
            previousAttempts + 1 < policy.attemptsMax, throttle.allowsRetry, mayRepeat()
        else { return .give }
        let pause = pause(end.pushback, &random)
        let time = now.advanced(byNanoseconds: pause)
        guard time < deadline else { return .give }
        previousAttempts += 1
        attempts += 1
        return .againAt(time)
    }

    private mutating func pause(
        _ pushback: RetryPushback, _ random: inout SeededRandom
    ) -> UInt64 {
        if case .after(let milliseconds) = pushback {
            // The server's wish begins the series anew.
            backoff?.reset()
            return UInt64(milliseconds) * 1_000_000
        }
        return backoff?.pause(&random) ?? 0
    }
}
