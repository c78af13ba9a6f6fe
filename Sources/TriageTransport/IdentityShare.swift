// What one identity may take of one reactor: memory for its requests and replies, and calls a
// second. So that nobody's neighbours notice what it does. Knows no connection and no call.

import TriageBase

/// One identity's share of a reactor.
///
/// Calls are counted by a bucket of tokens that is refilled only when it is empty: a call costs a
/// subtraction and a comparison. An identity that was quiet may therefore have up to two bursts
/// in a row.
///
/// - Isolation: confined to the reactor's thread.
final class IdentityShare {
    /// Bytes of requests and replies that are held for the identity, on all its connections.
    var bytesHeld = 0
    /// How many there may be.
    let bytesMax: Int
    /// Open connections.
    var connectionCount = 0
    private let burst: Int
    private let perSecond: Int
    private var tokens: Int
    private var filledAt: MonotonicTime
    /// The turn in which messages were unpacked last, and to how many bytes.
    private var inflatingTurn: UInt64 = 0
    private var inflatedBytes = 0

    init(bytesMax: Int, burst: Int, perSecond: Int, now: MonotonicTime) {
        self.bytesMax = bytesMax
        self.burst = burst
        self.perSecond = perSecond
        tokens = burst
        filledAt = now
    }

    /// Takes the tokens of a call; false when there are not enough, and then none are taken.
    @inline(__always)
    func take(_ cost: Int, at now: MonotonicTime) -> Bool {
        tokens -= cost
        return tokens >= 0 || refill(cost, now)
    }

    private func refill(_ cost: Int, _ now: MonotonicTime) -> Bool {
        // No more than a burst, so that the product fits.
        let elapsed = min(now.nanoseconds(since: filledAt), nanosecondsToFill)
        let earned = Int(elapsed) / 1_000 * perSecond / 1_000_000
        if earned > 0 {
            tokens = min(burst, tokens + cost + earned) - cost
            filledAt = now
        }
        if tokens >= 0 { return true }
        tokens += cost
        return false
    }

    private var nanosecondsToFill: UInt64 {
        UInt64(burst) * 1_000_000_000 / UInt64(max(1, perSecond)) + 1_000
    }

    /// True when more may be unpacked in a turn, whatever comes of one message.
    @inline(__always)
    func mayInflate(in turn: UInt64) -> Bool {
        inflatedBytes < Limits.inflatedBytesPerTurnMax || inflatingTurn != turn
    }

    /// Notes what was unpacked.
    func inflated(_ bytes: Int, in turn: UInt64) {
        inflatedBytes = (inflatingTurn == turn ? inflatedBytes : 0) + bytes
        inflatingTurn = turn
    }

    /// True when forgetting the share would give nobody a burst that it has not earned.
    func isForgettable(at now: MonotonicTime) -> Bool {
        connectionCount == 0 && now.nanoseconds(since: filledAt) >= nanosecondsToFill
    }
}

/// The shares of all identities of one reactor.
///
/// - Isolation: confined to the reactor's thread.
final class IdentityShares {
    private var shares: [Principal: IdentityShare] = [:]
    private let limits: ServerLimits
    private let bytesMax: Int

    /// Divides a reactor's bytes.
    init(limits: ServerLimits, reactorBytesMax: Int, now: MonotonicTime) {
        self.limits = limits
        bytesMax = max(
            reactorBytesMax / Limits.identitiesThatFillMemory,
            min(reactorBytesMax, 2 * limits.messageBytesMax))
    }

    /// The share of one connection that has shown no certificate, so that none of these takes what
    /// the others need; all of a door have an identity's together.
    func stranger(now: MonotonicTime) -> IdentityShare {
        let each = max(1, limits.strangersPerDoorMax)
        return IdentityShare(
            bytesMax: Limits.strangerBytesMax, burst: max(1, limits.callBurstPerIdentity / each),
            perSecond: max(1, limits.callsPerSecondPerIdentity / each), now: now)
    }

    /// How many identities there are shares of.
    var count: Int { shares.count }

    /// The share of a principal, for a connection that begins.
    func share(of principal: Principal, now: MonotonicTime) -> IdentityShare {
        if let known = shares[principal] { return known }
        let share = IdentityShare(
            bytesMax: bytesMax, burst: limits.callBurstPerIdentity,
            perSecond: limits.callsPerSecondPerIdentity, now: now)
        shares[principal] = share
        return share
    }

    /// Forgets the shares of those who have been gone for long enough.
    func sweep(now: MonotonicTime) {
        if shares.contains(where: { $1.isForgettable(at: now) }) {
            shares = shares.filter { !$1.isForgettable(at: now) }
        }
    }
}
