// What a client does on its own, for whoever wants to see it: a log, or `triagectl --verbose`.

package import TriageBase
package import TriageGRPC

/// Something that a client did or met, without being asked.
///
/// No part carries what a call is about.
package enum ClientEvent: Sendable, CustomStringConvertible {
    /// A name stands for these addresses.
    case resolved(host: String, addresses: [String])
    /// A name could not be looked up.
    case unresolvable(host: String, reason: String)
    /// An address is connected to.
    case connecting(Endpoint)
    /// Calls may go there; the TLS session may have been resumed.
    case connected(Endpoint, isResumed: Bool)
    /// An address could not be connected to, or a connection ended.
    case disconnected(Endpoint, reason: String)
    /// A server wants no further calls on a connection.
    case draining(Endpoint)
    /// A server finds our pings too many; they come half as often from now on.
    case pingsHalved(Endpoint, silenceMilliseconds: Int64)
    /// Changed certificate files were read.
    case credentialsReloaded
    /// Changed certificate files cannot be used; those read before are.
    case credentialsRefused(reason: String)
    /// An attempt of a call failed and will be followed by another.
    case retrying(path: String, attempt: Int, error: RPCError, pauseMilliseconds: Int64)

    package var description: String {
        switch self {
        case .resolved(let host, let addresses):
            "\(host) is \(addresses.joined(separator: ", "))"
        case .unresolvable(let host, let reason): "\(host) cannot be looked up: \(reason)"
        case .connecting(let address): "connecting to \(address)"
        case .connected(let address, let isResumed):
            "connected to \(address)\(isResumed ? ", TLS resumed" : "")"
        case .disconnected(let address, let reason): "\(address): \(reason)"
        case .draining(let address): "\(address) is going away"
        case .pingsHalved(let address, let silence):
            "\(address) finds our pings too many: the next after \(silence / 1_000) s of silence"
        case .credentialsReloaded: "certificate files have changed and were read again"
        case .credentialsRefused(let reason):
            "certificate files have changed but cannot be used: \(reason)"
        case .retrying(let path, let attempt, let error, let pause):
            "\(path): attempt \(attempt) failed (\(error.code.name), \(error.reason)): "
                + "\(error.message); again in \(pause) ms"
        }
    }
}
