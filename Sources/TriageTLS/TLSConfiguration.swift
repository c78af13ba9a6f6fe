// Where a context's certificates are and how strict it is. Values only.

package import TriageBase

/// What a ``TLSContext`` is made from.
///
/// Paths are of PEM files.
package struct TLSConfiguration: Sendable {
    /// Whether a server's clients must present a certificate.
    package enum ClientCertificate: Sendable {
        /// No certificate, no connection.
        case required
        /// Without one the connection has no principal; a bad one is refused all the same.
        case optional
    }

    enum Role: Sendable {
        case server(ClientCertificate)
        case client(serverName: String)
    }

    var role: Role
    var certificateChain: String?
    var privateKey: String?
    var trust: String
    var revocationList: String?

    /// All files that a context is made from.
    package var files: [String] {
        [certificateChain, privateKey, trust, revocationList].compactMap { $0 }
    }

    /// The time that certificates are judged by; nil for the machine's clock.
    ///
    /// For tests and simulation, which must not wait for a certificate to expire.
    package var clock: (@Sendable () -> WallTime)?

    /// What a client offers in ALPN.
    ///
    /// Every session but one that agreed on `h2` is refused.
    package var offeredProtocols = ["h2"]

    /// A server's configuration.
    ///
    /// - Parameters:
    ///   - certificateChain: The leaf, then its intermediates.
    ///   - privateKey: The leaf's key, not encrypted, closed to others than owner and group.
    ///   - clientTrust: The authorities of clients.
    ///   - crl: Revocation lists of all these authorities; nil checks no revocation.
    ///   - clientCertificate: Whether clients must present one.
    /// - Returns: The configuration; nothing is read yet.
    package static func server(
        certificateChain: String, privateKey: String, clientTrust: String, crl: String?,
        clientCertificate: ClientCertificate
    ) -> TLSConfiguration {
        TLSConfiguration(
            role: .server(clientCertificate), certificateChain: certificateChain,
            privateKey: privateKey, trust: clientTrust, revocationList: crl)
    }

    /// A client's configuration.
    ///
    /// - Parameters:
    ///   - certificateChain: The leaf, then its intermediates; nil to present none.
    ///   - privateKey: The leaf's key; nil exactly when there is no certificate.
    ///   - serverTrust: The authorities of the server.
    ///   - serverName: The DNS name or IP address that the server's certificate must be for.
    /// - Returns: The configuration; nothing is read yet.
    package static func client(
        certificateChain: String?, privateKey: String?, serverTrust: String, serverName: String
    ) -> TLSConfiguration {
        TLSConfiguration(
            role: .client(serverName: serverName), certificateChain: certificateChain,
            privateKey: privateKey, trust: serverTrust, revocationList: nil)
    }
}
