// Where a client connects to and as whom, and how it behaves.

package import TriageBase
package import TriageGRPC
package import TriageTransport

/// What a client is made from.
///
/// Paths are of PEM files.
package struct ClientConfiguration: Sendable {
    /// The servers: names or IP literals, each with its port.
    ///
    /// A name stands for all its addresses.
    package var targets: [Endpoint]
    /// Certificates that the server's must chain to.
    package var serverTrust: String
    /// Our certificate and its intermediates; nil to present none.
    package var certificateChain: String?
    /// Its private key; nil exactly when there is no certificate.
    package var privateKey: String?
    /// The DNS name or IP address that every server's certificate must be for; nil: the host of the
    /// target that it is.
    package var serverName: String?
    /// Deadlines, retries, and how a server is chosen.
    ///
    /// Of the published one all but `healthCheckConfig` is obeyed: a server that is NOT_SERVING
    /// keeps its turn until it drains, and its calls are tried again elsewhere where they may be.
    package var service = ServiceConfig.published
    /// After which silence a server with open calls is asked for a sign of life; nil: never.
    ///
    /// As often as a server of ours asks us. Source: gRPC proposal A8.
    package var keepalive: KeepaliveTimes? = KeepaliveTimes(
        silenceMilliseconds: Limits.keepaliveMilliseconds,
        answerMilliseconds: Limits.keepaliveTimeoutMilliseconds)
    /// A connection's age, milliseconds, give or take a tenth.
    package var ageMilliseconds = Limits.clientAgeMilliseconds
    /// Without a call for so long, milliseconds, connections are closed.
    package var idleMilliseconds = Limits.clientIdleMilliseconds
    /// Connections to one address.
    package var connectionsMax = Limits.clientConnectionsMax
    /// Where jitter is drawn from; nil: a new sequence for each client.
    package var seed: UInt64?
    /// Hears, on the client's thread, of what it does on its own; must return soon.
    package var events: (@Sendable (ClientEvent) -> Void)?

    /// Groups the facts.
    package init(
        targets: [Endpoint], serverTrust: String, certificateChain: String?, privateKey: String?,
        serverName: String? = nil
    ) {
        self.targets = targets
        self.serverTrust = serverTrust
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.serverName = serverName
    }

    /// Loads the certificates and resolves the first target, for who makes connections itself.
    ///
    /// - Returns: What a connection is made to.
    /// - Throws: `RPCError` `.failedPrecondition`, reason `CLIENT_IDENTITY`, when a file cannot be
    ///   used; `.unavailable`, reason `HOST_UNKNOWN`, when the host has no address.
    package func endpoint() throws(RPCError) -> ClientEndpoint {
        do {
            return try ClientEndpoint(
                targets[0], certificateChain: certificateChain, privateKey: privateKey,
                serverTrust: serverTrust, serverName: serverName ?? targets[0].host)
        } catch {
            throw Self.refusal(error)
        }
    }

    /// Reads the credentials, so that what is wrong with them is said at once.
    func credentials() throws(RPCError) -> ClientCredentials {
        let credentials = ClientCredentials(
            certificateChain: certificateChain, privateKey: privateKey, serverTrust: serverTrust)
        do {
            for target in targets {
                _ = try credentials.context(serverName: serverName ?? target.host)
            }
        } catch {
            throw Self.refusal(error)
        }
        return credentials
    }

    private static func refusal(_ error: TransportError) -> RPCError {
        switch error {
        case .unresolvable: RPCError(.unavailable, reason: "HOST_UNKNOWN", message: "\(error).")
        case .tls, .socket, .cannotListen, .closed, .timedOut:
            RPCError(.failedPrecondition, reason: "CLIENT_IDENTITY", message: "\(error)")
        }
    }

    var poolSettings: PoolSettings {
        var settings = PoolSettings()
        settings.balancing = service.balancing
        settings.connectionsMax = connectionsMax
        settings.age = UInt64(ageMilliseconds) * 1_000_000
        settings.idle = UInt64(idleMilliseconds) * 1_000_000
        return settings
    }
}
