// Where a client connects to and as whom.

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
}
