// What a server is started with. Values only.

import TriageBase
package import TriageGRPC
import TriageGzip
package import TriageIO
package import TriageTLS

/// The bounds of one server; the defaults are ``TriageBase/Limits``.
///
/// A type of its own so that tests can reach each bound without 2,048 connections or a minute.
package struct ServerLimits: Sendable {
    /// Connections, all reactors together.
    package var connectionsMax = Limits.connectionsMax
    /// Connections whose handshake is not complete, all reactors together.
    package var unidentifiedConnectionsMax = Limits.unidentifiedConnectionsMax
    /// Connections of a door without a certificate, all reactors together.
    package var strangersPerDoorMax = Limits.strangersPerDoorMax
    /// Connections of one identity, all reactors together.
    package var connectionsPerIdentityMax = Limits.connectionsPerIdentityMax
    /// Concurrent streams a connection.
    package var concurrentStreamsMax = Limits.concurrentStreamsMax
    /// Long-lived streams a connection.
    package var longLivedStreamsMax = Limits.longLivedStreamsMax
    /// New calls of a connection in one turn.
    package var newCallsPerTurnMax = Limits.newCallsPerTurnMax
    /// Ciphertext that may wait for a socket, bytes.
    package var outputBytesMax = Limits.outputBytesMax
    /// One message, bytes.
    package var messageBytesMax = Limits.messageBytesMax
    /// One message that came compressed, unpacked.
    package var inflateRatioMax = Limits.inflateRatioMax
    /// Bytes that such a message may have at any ratio.
    package var inflateRatioFreeBytes = Limits.inflateRatioFreeBytes
    /// Unfinished requests and unsent replies of all connections, bytes.
    package var messageBytesInFlightMax = Limits.messageBytesInFlightMax
    /// Calls a second of one identity, a reactor.
    package var callsPerSecondPerIdentity = Limits.callsPerSecondPerIdentity
    /// Calls at once of one identity, a reactor.
    package var callBurstPerIdentity = Limits.callBurstPerIdentity
    /// TLS handshake, from accept, milliseconds.
    package var handshakeMillisecondsMax = Limits.handshakeMillisecondsMax
    /// HTTP/2 preface and SETTINGS after it, milliseconds.
    package var prefaceMillisecondsMax = Limits.prefaceMillisecondsMax
    /// A header block that has begun, milliseconds.
    package var headerBlockMillisecondsMax = Limits.headerBlockMillisecondsMax
    /// A connection without a stream, milliseconds.
    package var idleMillisecondsMax = Limits.idleMillisecondsMax
    /// A silent peer with open streams is asked for a sign of life, milliseconds.
    package var keepaliveMilliseconds = Limits.keepaliveMilliseconds
    /// For its answer, milliseconds.
    package var keepaliveTimeoutMilliseconds = Limits.keepaliveTimeoutMilliseconds
    /// A connection's life, milliseconds, give or take a tenth.
    package var ageMillisecondsMax = Limits.ageMillisecondsMax
    /// Calls still open at its end, milliseconds.
    package var ageGraceMilliseconds = Limits.ageGraceMilliseconds
    /// A call of a method that takes and gives one message, milliseconds.
    package var unaryMillisecondsMax = Limits.unaryMillisecondsMax
    /// A stream that has bytes to send and moves none, milliseconds.
    package var stalledStreamMillisecondsMax = Limits.stalledStreamMillisecondsMax
    /// A socket that takes nothing of what waits for it, milliseconds.
    package var stalledSocketMillisecondsMax = Limits.stalledSocketMillisecondsMax
    /// Calls open when a drain began, milliseconds.
    package var drainMillisecondsMax = Limits.drainMillisecondsMax
    /// TLS handshake steps in one turn.
    package var handshakeStepsPerTurnMax = Limits.handshakeStepsPerTurnMax
    /// Connections accepted in one turn.
    package var acceptsPerTurnMax = Limits.acceptsPerTurnMax

    /// The defaults.
    package init() {}

    /// What a compressed message may unpack to.
    var inflate: InflateLimits {
        InflateLimits(
            bytesMax: messageBytesMax, ratioMax: inflateRatioMax,
            ratioFreeBytes: inflateRatioFreeBytes)
    }
}

/// One door of a server.
package struct ServerListener: Sendable {
    /// IPv4 or IPv6 literal, or a name that resolves to one.
    package var host: String
    /// 0 lets the kernel choose; read it back from ``Server/ports``.
    package var port: UInt16
    /// Certificates and trust of new connections.
    package var tls: TLSContext
    /// Whom it is for.
    package var audience: Audience
    /// Listening sockets that are open already, instead of host and port; empty: none.
    package var inherited: [InheritedSocket]

    /// Describes a door.
    package init(
        host: String, port: UInt16, tls: TLSContext, audience: Audience,
        inherited: [InheritedSocket] = []
    ) {
        self.host = host
        self.port = port
        self.tls = tls
        self.audience = audience
        self.inherited = inherited
    }
}

/// What a ``Server`` is started with.
package struct ServerConfiguration: Sendable {
    /// The doors; at least one.
    package var listeners: [ServerListener]
    /// Threads that serve, each with an accept queue of its own.
    package var reactorCount: Int
    /// CPUs that the reactors are bound to, in order; empty: any.
    package var cpus: [Int] = []
    /// What may be called.
    package var methods: MethodTable
    /// Bounds.
    package var limits = ServerLimits()
    /// Where the ages of connections are drawn from; nil: from the time of the start.
    package var seed: UInt64?

    /// Describes a server with one door, for everybody.
    package init(
        host: String, port: UInt16, reactorCount: Int = 1, tls: TLSContext, methods: MethodTable
    ) {
        listeners = [ServerListener(host: host, port: port, tls: tls, audience: .internal)]
        self.reactorCount = reactorCount
        self.methods = methods
    }
}
