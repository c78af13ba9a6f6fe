// What can go wrong in this module, in words that tell nothing of a key or of what it protects.

internal import COpenSSL

/// Why a cryptographic operation did not come about.
package enum CryptoError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The bytes, their additional data, the nonce, the tag or the key are not those of the
    /// sealing: nothing can be told of which.
    case authenticationFailed
    /// OpenSSL lacks the algorithm, or memory ran out; its own words.
    case unavailable(String)

    package var description: String {
        switch self {
        case .authenticationFailed: "the bytes were not sealed so by this key"
        case .unavailable(let reason): "the cryptographic library refuses: \(reason)"
        }
    }

    /// Takes the calling thread's error queue; its oldest entry is the cause.
    static func fromQueue() -> CryptoError {
        let first = ERR_get_error()
        defer { ERR_clear_error() }
        guard first != 0, let words = unsafe ERR_reason_error_string(first) else {
            return .unavailable("no reason given")
        }
        return unsafe .unavailable(String(cString: words))
    }
}
