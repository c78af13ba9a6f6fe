// What a reactor counts: plain numbers, kept by one thread and added up when somebody asks. Knows
// nothing of how they are shown.

import TriageGRPC
import TriageTLS

/// What one method counts on one reactor.
///
/// In a slab: the histogram's arrays are touched once for all calls that ended alike in a turn.
struct MethodCounters: ~Copyable {
    var started: UInt64 = 0
    var received: UInt64 = 0
    var sent: UInt64 = 0
    private var latencySum: UInt64 = 0
    private var handled = [UInt64](repeating: 0, count: ServerMetrics.codeCount)
    private var buckets = [UInt64](repeating: 0, count: ServerMetrics.bucketCount)

    /// So many calls ended after so long.
    mutating func ended(_ count: UInt64, _ code: StatusCode, nanoseconds: UInt64) {
        handled[Int(code.rawValue)] += count
        latencySum += nanoseconds * count
        buckets[ServerMetrics.bucket(nanoseconds)] += count
    }

    var copy: ServerMetrics.PerMethod {
        ServerMetrics.PerMethod(
            started: started, received: received, sent: sent, latencySum: latencySum,
            handled: handled, latencyBuckets: buckets)
    }
}

/// Counters of one reactor, or the sum over reactors.
package struct ServerMetrics: Sendable {
    /// Upper bounds of the latency buckets, nanoseconds; one more bucket takes the rest.
    ///
    /// Source: gRPC proposal A66, without its finest and coarsest steps.
    package static let bucketBounds: [UInt64] = [
        50_000, 100_000, 200_000, 300_000, 500_000, 800_000, 1_000_000, 2_000_000, 3_000_000,
        5_000_000, 8_000_000, 10_000_000, 20_000_000, 50_000_000, 100_000_000, 200_000_000,
        500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000, 60_000_000_000,
    ]
    static let codeCount = StatusCode.allCases.count
    static let bucketCount = bucketBounds.count + 1

    /// What is counted a method.
    package struct PerMethod: Sendable {
        /// Calls begun.
        package internal(set) var started: UInt64 = 0
        /// Messages received.
        package internal(set) var received: UInt64 = 0
        /// Messages sent.
        package internal(set) var sent: UInt64 = 0
        /// Sum of latencies, nanoseconds.
        package internal(set) var latencySum: UInt64 = 0
        /// Calls ended, by status code.
        package internal(set) var handled = [UInt64](repeating: 0, count: codeCount)
        /// Latency histogram, not cumulative.
        package internal(set) var latencyBuckets = [UInt64](repeating: 0, count: bucketCount)

        mutating func add(_ other: PerMethod) {
            started += other.started
            received += other.received
            sent += other.sent
            latencySum += other.latencySum
            for index in handled.indices { handled[index] += other.handled[index] }
            for index in latencyBuckets.indices {
                latencyBuckets[index] += other.latencyBuckets[index]
            }
        }
    }

    /// By method; the last entry is for calls that no method matches.
    package internal(set) var methods: [PerMethod]
    /// How often each limit was hit.
    package var limits = LimitHits()

    /// Connections accepted since start.
    package internal(set) var connectionsAccepted: UInt64 = 0
    /// Connections now.
    package internal(set) var connectionsOpen: UInt64 = 0
    /// Calls that are not answered yet, and streams that are still being sent.
    package internal(set) var callsOpen: UInt64 = 0
    /// Handshakes completed with full verification.
    package internal(set) var handshakesFull: UInt64 = 0
    /// Handshakes that resumed a session.
    package internal(set) var handshakesResumed: UInt64 = 0
    /// Handshakes that failed.
    package internal(set) var handshakesFailed: UInt64 = 0
    /// Certificates refused, in handshakes and after a reload, by ``PeerRefusal/index``.
    package internal(set) var refusals = [UInt64](repeating: 0, count: PeerRefusal.labels.count)
    /// Open connections ended because a reload left their certificates without trust.
    package internal(set) var peersRefused: UInt64 = 0
    /// Time spent in handshakes, nanoseconds.
    package internal(set) var handshakeNanoseconds: UInt64 = 0
    /// Ciphertext bytes read.
    package internal(set) var bytesReceived: UInt64 = 0
    /// Ciphertext bytes written.
    package internal(set) var bytesSent: UInt64 = 0
    /// Messages that came compressed.
    package internal(set) var messagesInflated: UInt64 = 0
    /// Messages that left compressed.
    package internal(set) var messagesDeflated: UInt64 = 0
    /// Calls that their client had tried before.
    package internal(set) var callsRetried: UInt64 = 0
    /// Turns of the loop.
    package internal(set) var turns: UInt64 = 0
    /// Request and reply bytes held now.
    package internal(set) var bytesHeld: UInt64 = 0

    /// All zero, for so many methods.
    package init(methodCount: Int) {
        methods = [PerMethod](repeating: PerMethod(), count: methodCount + 1)
    }

    mutating func count(_ limit: LimitKind, _ times: Int = 1) {
        limits.count(limit, times)
    }

    /// The bucket of a latency: the first whose bound is not below it.
    static func bucket(_ nanoseconds: UInt64) -> Int {
        var low = 0
        var high = bucketBounds.count
        while low < high {
            let middle = (low + high) / 2
            if bucketBounds[middle] < nanoseconds { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Adds another reactor's numbers.
    ///
    /// - Precondition: both are for the same methods.
    package mutating func add(_ other: ServerMetrics) {
        for index in methods.indices { methods[index].add(other.methods[index]) }
        limits.add(other.limits)
        connectionsAccepted += other.connectionsAccepted
        connectionsOpen += other.connectionsOpen
        callsOpen += other.callsOpen
        handshakesFull += other.handshakesFull
        handshakesResumed += other.handshakesResumed
        handshakesFailed += other.handshakesFailed
        peersRefused += other.peersRefused
        for index in refusals.indices { refusals[index] += other.refusals[index] }
        handshakeNanoseconds += other.handshakeNanoseconds
        bytesReceived += other.bytesReceived
        bytesSent += other.bytesSent
        messagesInflated += other.messagesInflated
        messagesDeflated += other.messagesDeflated
        callsRetried += other.callsRetried
        turns += other.turns
        bytesHeld += other.bytesHeld
    }
}
