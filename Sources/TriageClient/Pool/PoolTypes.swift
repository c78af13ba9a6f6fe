// What the pool of connections is told and what it answers. Values only.

internal import TriageBase

/// An address that can be connected to, and the name that it was found under.
struct PoolAddress: Equatable, Sendable {
    /// Which of the client's targets.
    var target: Int
    /// An IP literal and a port.
    var endpoint: Endpoint
}

/// How a pool behaves.
struct PoolSettings: Sendable {
    var balancing = ServiceConfig.Balancing.pickFirst
    /// Connections to one address, replacements not counted.
    var connectionsMax = Limits.clientConnectionsMax
    /// Long-lived calls of one connection: what a server of ours allows.
    var longLivedCallsMax = Limits.longLivedStreamsMax
    var backoff = Backoff.Shape(
        initial: UInt64(Limits.connectBackoffMilliseconds) * 1_000_000,
        multiplier: Limits.connectBackoffMultiplier,
        longest: UInt64(Limits.connectBackoffMillisecondsMax) * 1_000_000)
    /// Nanoseconds before the next address is tried while one has not answered; pick first.
    var race = UInt64(Limits.connectRaceMilliseconds) * 1_000_000
    /// A connection's age, nanoseconds, give or take a tenth.
    var age = UInt64(Limits.clientAgeMilliseconds) * 1_000_000
    /// Without a call for so long, nanoseconds, connections are closed.
    var idle = UInt64(Limits.clientIdleMilliseconds) * 1_000_000
    /// Names are not looked up more often than that, nanoseconds.
    var resolve = UInt64(Limits.resolveMilliseconds) * 1_000_000
}

/// What the pool wants done.
enum PoolStep: Equatable {
    /// Connect, and tell the pool what becomes of it under that number.
    case connect(Int, PoolAddress)
    /// End the connection now; it has no calls.
    case close(Int)
    /// Give it no further calls; it ends with its last.
    case retire(Int)
    /// Look the names up, and tell the pool what they stand for.
    case resolve
}

/// Where a call goes.
enum PoolPick: Equatable {
    /// To this connection; its load has been counted.
    case connection(Int)
    /// Nowhere yet: a connection is on its way, or one will have room.
    case wait
    /// No server can be reached, for this reason.
    case failing(String)
}

/// One connection as the pool knows it.
struct PoolMember {
    enum State { case connecting, ready, retiring }

    let id: Int
    /// What it was made to; its place may have gone over to another target since.
    let address: PoolAddress
    var state = State.connecting
    /// It was made to take this one's place.
    var replaces: Int?
    /// Another one is being made to take its place.
    var isBeingReplaced = false
    var readyAt = MonotonicTime(nanoseconds: 0)
    /// When it is old.
    var endAt = MonotonicTime.never
    var open = 0
    var longLived = 0
    var callsMax = 0
    /// Calls that it was ever given.
    var served = 0
    /// Since when it has no call; nil while it has one.
    var idleSince: MonotonicTime?

    var endpoint: Endpoint { address.endpoint }

    func hasRoom(isLongLived: Bool, _ settings: PoolSettings) -> Bool {
        state == .ready && open < callsMax
            && (!isLongLived || longLived < settings.longLivedCallsMax)
    }
}

/// One address as the pool knows it.
struct PoolPlace {
    var address: PoolAddress
    var backoff: Backoff
    /// Not before this time is it connected to.
    var retryAt = MonotonicTime(nanoseconds: 0)
    /// Why it could not be connected to, since it last could; nil when it is not known to fail.
    var failure: String?
    /// The names stand for it no more.
    var isGone = false
    /// Its connections, eldest first.
    var ids: [Int] = []

    var endpoint: Endpoint { address.endpoint }
}

/// Calls that ask for connections.
struct PoolDemand: Equatable {
    /// Found no room.
    var waiting = 0
    /// Found no room, and are long-lived.
    var waitingLongLived = 0
    /// Have a connection, or wait for another attempt.
    var open = 0

    var isNone: Bool { waiting + waitingLongLived + open == 0 }
}
