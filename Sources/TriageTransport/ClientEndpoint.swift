// Where a client connects and as whom, ready to use: files loaded, name resolved. What stands above
// needs neither TLS nor sockets for it.

package import TriageBase
import TriageIO
import TriageTLS

/// A server to connect to, with the identity to show it.
package struct ClientEndpoint: Sendable {
    /// The host and port that were asked for.
    package let name: Endpoint
    let address: String
    let tls: TLSContext

    /// Loads certificates and resolves the host; blocks for both.
    ///
    /// - Parameters:
    ///   - name: Where to.
    ///   - certificateChain: Our certificate and its intermediates, PEM; nil to present none.
    ///   - privateKey: Its key, PEM; nil exactly when there is no certificate.
    ///   - serverTrust: The authorities of the server, PEM.
    ///   - serverName: The name that the server's certificate must be for.
    /// - Throws: ``TransportError``: `.tls` when a file cannot be used, `.unresolvable`.
    package init(
        _ name: Endpoint, certificateChain: String?, privateKey: String?, serverTrust: String,
        serverName: String
    ) throws(TransportError) {
        self.name = name
        do {
            tls = try TLSContext(
                .client(
                    certificateChain: certificateChain, privateKey: privateKey,
                    serverTrust: serverTrust, serverName: serverName))
        } catch {
            throw .tls(error)
        }
        address = try Socket.address(of: name.host)
    }
}

extension ClientLoopContext {
    /// Starts to connect.
    ///
    /// - Parameters:
    ///   - endpoint: Where to and as whom.
    ///   - tag: The owner's number for the connection.
    ///   - receiver: Hears what becomes of it.
    /// - Returns: The connection; calls may be started at once and leave when it is ready.
    /// - Throws: ``TransportError`` when the attempt fails at once.
    package func connect(
        _ endpoint: ClientEndpoint, tag: Int = 0, receiver: any ClientConnectionReceiver
    ) throws(TransportError) -> ClientConnection {
        try connect(
            address: endpoint.address, port: endpoint.name.port, tls: endpoint.tls, tag: tag,
            receiver: receiver)
    }
}
