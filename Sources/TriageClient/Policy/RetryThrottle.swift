// The budget of retries: when most calls fail, trying each again only adds to the load. Pure.

/// A bucket of tokens that failures empty and successes fill.
///
/// Source: gRPC proposal A6, "Throttling Retry Attempts and Hedged RPCs".
struct RetryThrottle: Equatable, Sendable {
    private let tokensMax: Double
    private let tokenRatio: Double
    private(set) var tokens: Double

    /// Starts full.
    ///
    /// - Parameters:
    ///   - tokensMax: 1 ... 1,000.
    ///   - tokenRatio: Tokens that a success gives back, above 0.
    init(tokensMax: Double, tokenRatio: Double) {
        self.tokensMax = tokensMax
        self.tokenRatio = tokenRatio
        tokens = tokensMax
    }

    /// Whether there is budget: more than half of the tokens.
    var allowsRetry: Bool { tokens > tokensMax / 2 }

    /// A call failed with a code that is tried again, or the server said not to try again.
    mutating func failed() { tokens = max(0, tokens - 1) }

    /// A call came to any other end.
    mutating func succeeded() { tokens = min(tokensMax, tokens + tokenRatio) }
}
