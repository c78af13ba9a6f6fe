// What can keep a server from starting or a client from connecting. Knows nothing of calls.

package import TriageIO
package import TriageTLS

/// Why a server could not start, or a client could not connect.
package enum TransportError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system refused a socket, a descriptor or a thread.
    case socket(SocketError)
    /// TLS could not be set up, or the handshake failed.
    case tls(TLSError)
    /// The host name has no address, or nobody could be asked, in the resolver's words.
    case unresolvable(host: String, reason: String)
    /// The address is in use or may not be used; what the system said is in the error.
    case cannotListen(host: String, port: UInt16, SocketError)
    /// The peer closed the connection, or broke HTTP/2, in these words.
    case closed(String)
    /// Connecting took longer than it may.
    case timedOut

    package var description: String {
        switch self {
        case .socket(let error): "\(error)"
        case .tls(let error): "\(error)"
        case .unresolvable(let host, let reason): "\(host) has no address: \(reason)"
        case .cannotListen(let host, let port, let error):
            "cannot listen on \(host):\(port): \(error)"
        case .closed(let reason): "the connection ended: \(reason)"
        case .timedOut: "the connection could not be set up in time"
        }
    }
}
