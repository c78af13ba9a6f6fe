// How long what TLS rests on is still good, and when to say so. Pure.

package import TriageBase

/// How urgent a renewal is.
package enum TLSAlarm: Int, Sendable {
    /// There is time.
    case none = 0
    /// Renew it now.
    case soon = 1
    /// It is good no more: peers are refused.
    case past = 2
}

/// From when to when a certificate or a revocation list is good.
package struct TLSValidity: Equatable, Sendable {
    /// The first moment.
    package var from: WallTime
    /// The moment at which it is good no more.
    package var until: WallTime

    /// Describes a span.
    package init(from: WallTime, until: WallTime) {
        self.from = from
        self.until = until
    }

    /// How urgent a renewal is.
    ///
    /// A week before the end, or when a third of a shorter life is left: those who renew by
    /// themselves do so at half of it.
    package func alarm(at now: WallTime) -> TLSAlarm {
        let left = until.milliseconds - now.milliseconds
        if left <= 0 { return .past }
        let third = (until.milliseconds - from.milliseconds) / 3
        return left < min(Self.weekMilliseconds, third) ? .soon : .none
    }

    private static let weekMilliseconds: Int64 = 7 * 86_400_000
}
