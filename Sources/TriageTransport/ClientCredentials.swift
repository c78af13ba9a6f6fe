// As whom a client connects and whom it trusts, from files that others replace while it runs: a
// workload's certificate lives an hour. Knows nothing of addresses.

package import TriageBase
import TriageIO
package import TriageTLS

/// A client's certificate, key and trusted authorities, read again when their files have changed.
///
/// A file is looked at when a connection is made (three calls of stat(2)), because nothing else
/// needs it; it is read then too, about a millisecond, on the loop's thread. Files that do not fit
/// together (one was replaced and the other not yet) are left aside and what was read before is
/// used: the next connection looks again.
///
/// - Isolation: made on any thread, then confined to one loop's.
package final class ClientCredentials {
    private let certificateChain: String?
    private let privateKey: String?
    private let serverTrust: String
    private var contexts: [String: TLSContext] = [:]
    /// How the files were when they were read last, for good or not.
    private var stamps: [FileStamp?] = []
    private let paths: [String]

    /// Why the newest files are not used; nil when they are.
    package private(set) var problem: TLSError?
    /// How often changed files were taken.
    package private(set) var reloadCount = 0

    /// Names the files; nothing is read yet.
    ///
    /// - Parameters:
    ///   - certificateChain: Our certificate and its intermediates, PEM; nil to present none.
    ///   - privateKey: Its key, PEM; nil exactly when there is no certificate.
    ///   - serverTrust: The authorities of the server, PEM.
    package init(certificateChain: String?, privateKey: String?, serverTrust: String) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.serverTrust = serverTrust
        paths = [certificateChain, privateKey, serverTrust].compactMap { $0 }
    }

    /// What connections to a server of that name are made with.
    ///
    /// - Parameter serverName: The DNS name or IP address that its certificate must be for.
    /// - Returns: The newest that could be read.
    /// - Throws: ``TransportError``: `.tls` when nothing usable was ever read.
    package func context(serverName: String) throws(TransportError) -> TLSContext {
        let now = paths.map { FileStamp(path: $0) }
        if let known = contexts[serverName], now == stamps { return known }
        let hasChanged = now != stamps && !stamps.isEmpty
        stamps = now
        do throws(TLSError) {
            let made = try TLSContext(
                .client(
                    certificateChain: certificateChain, privateKey: privateKey,
                    serverTrust: serverTrust, serverName: serverName))
            if hasChanged {
                contexts = [:]
                reloadCount += 1
            }
            contexts[serverName] = made
            problem = nil
            return made
        } catch {
            problem = error
            guard let known = contexts[serverName] else { throw .tls(error) }
            return known
        }
    }
}

extension ClientLoopContext {
    /// Starts to connect with the newest credentials.
    ///
    /// - Parameters:
    ///   - address: Where to: a literal and a port.
    ///   - serverName: The DNS name or IP address that the server's certificate must be for.
    ///   - credentials: As whom, and whom to trust.
    ///   - tag: The owner's number for the connection.
    ///   - timeoutMilliseconds: How long it may take to become ready.
    ///   - keepalive: After which silence to ask the server for a sign of life; nil: never.
    ///   - receiver: Hears what becomes of it.
    /// - Returns: The connection.
    /// - Throws: ``TransportError`` when the attempt fails at once.
    package func connect(
        _ address: Endpoint, serverName: String, credentials: ClientCredentials, tag: Int,
        timeoutMilliseconds: Int64, keepalive: KeepaliveTimes?,
        receiver: any ClientConnectionReceiver
    ) throws(TransportError) -> ClientConnection {
        try connect(
            address: address.host, port: address.port,
            tls: try credentials.context(serverName: serverName), tag: tag,
            timeoutMilliseconds: timeoutMilliseconds, keepalive: keepalive, receiver: receiver)
    }
}
