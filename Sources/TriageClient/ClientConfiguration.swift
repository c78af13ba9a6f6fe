// Where a client connects to and as whom.

internal import TriageBase
package import TriageGRPC
package import TriageTransport

/// What a client is made from.
///
/// Paths are of PEM files.
package struct ClientConfiguration: Sendable {
    /// IPv4 or IPv6 literal, or a name that resolves to one.
    package var host: String
    package var port: UInt16
    /// Certificates that the server's must chain to.
    package var serverTrust: String
    /// Our certificate and its intermediates; nil to present none.
    package var certificateChain: String?
    /// Its private key; nil exactly when there is no certificate.
    package var privateKey: String?
    /// The DNS name or IP address that the server's certificate must be for.
    package var serverName: String

    /// Groups the facts.
    package init(
        host: String, port: UInt16, serverTrust: String, certificateChain: String?,
        privateKey: String?, serverName: String
    ) {
        self.host = host
        self.port = port
        self.serverTrust = serverTrust
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.serverName = serverName
    }

    /// Loads the certificates and resolves the host.
    ///
    /// - Returns: What a connection is made to.
    /// - Throws: `RPCError` `.failedPrecondition`, reason `CLIENT_IDENTITY`, when a file cannot be
    ///   used; `.unavailable`, reason `HOST_UNKNOWN`, when the host has no address.
    package func endpoint() throws(RPCError) -> ClientEndpoint {
        do {
            return try ClientEndpoint(
                Endpoint(host: host, port: port), certificateChain: certificateChain,
                privateKey: privateKey, serverTrust: serverTrust, serverName: serverName)
        } catch {
            switch error {
            case .unresolvable:
                throw RPCError(.unavailable, reason: "HOST_UNKNOWN", message: "\(error).")
            case .tls, .socket, .cannotListen, .closed, .timedOut:
                throw RPCError(.failedPrecondition, reason: "CLIENT_IDENTITY", message: "\(error)")
            }
        }
    }
}
