// Until when a session may be resumed. A resumed session skips the verification of certificates, so
// it carries the time at which the first of them, or of the revocation lists, ceases to hold.

internal import COpenSSL
internal import CTriageShims
internal import TriageBase

/// The deadline that is attached to an `SSL_SESSION`.
enum Resumption {
    /// The place of the deadline among a session's extra data.
    ///
    /// OpenSSL copies it along when it copies a session.
    private static let index = CRYPTO_get_ex_new_index(
        CRYPTO_EX_INDEX_SSL_SESSION, 0, nil, nil, nil, nil)

    /// Attaches the deadline of the chain that `ssl` has just verified; does nothing when it
    /// verified none.
    static func setDeadline(_ ssl: OpaquePointer, _ session: OpaquePointer, _ shared: SharedState) {
        guard let chain = unsafe SSL_get0_verified_chain(ssl) else { return }
        var deadline = shared.revocationNextUpdate ?? .distantFuture
        for position in 0..<max(0, unsafe OPENSSL_sk_num(chain)) {
            guard let item = unsafe OPENSSL_sk_value(chain, position) else { continue }
            deadline = unsafe min(
                deadline, WallTime(asn1: unsafe X509_get0_notAfter(OpaquePointer(item))))
        }
        let seconds = max(1, Int(deadline.milliseconds / 1_000))
        _ = unsafe SSL_SESSION_set_ex_data(
            session, index, UnsafeMutableRawPointer(bitPattern: seconds))
        // With the machine's clock OpenSSL itself then falls back to a full handshake in time.
        let left = max(1, (deadline.milliseconds - shared.now.milliseconds) / 1_000)
        if left < ContextHandle.sessionSecondsMax {
            _ = unsafe SSL_SESSION_set_timeout(session, Int(left))
        }
    }

    /// True while everything that vouched for the session still holds.
    static func isValid(_ session: OpaquePointer?, at now: WallTime) -> Bool {
        guard let session = unsafe session else { return false }
        guard let deadline = unsafe SSL_SESSION_get_ex_data(session, index) else {
            // No certificate was verified, so none can have expired.
            return unsafe SSL_SESSION_get0_peer(session) == nil
        }
        return now.milliseconds / 1_000 < Int64(Int(bitPattern: deadline))
    }
}

/// Notes the deadline of a new session, and whose it is; a client also keeps the session for its
/// next connection.
func onNewSession(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
    guard let ssl = unsafe ssl, let session = unsafe session,
        let user = unsafe SSL_get_ex_data(ssl, 0)
    else { return 0 }
    return unsafe SessionState.with(user) { state in
        unsafe Resumption.setDeadline(ssl, session, state.shared)
        guard state.peerIsServer else {
            return unsafe state.shared.sessions.keep(ssl, session, state)
        }
        unsafe state.shared.saveSession(session)
        return 1
    }
}
