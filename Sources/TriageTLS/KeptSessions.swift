// Whose the sessions are that a server keeps for resumption. OpenSSL's cache knows sessions alone,
// of which the oldest goes first: whoever reconnects in a loop would fill it, and push out all
// others. Here each identity has a bound of its own, in number and in bytes.

internal import COpenSSL
internal import Synchronization
internal import TriageBase

/// The sessions in one context's cache, by the identity that they would be resumed as.
///
/// - Isolation: any.
@safe final class KeptSessions: Sendable {
    /// An SSL_SESSION with a reference of its own, so that its address stays its own.
    // @unchecked Sendable: never changed; references are counted atomically.
    @safe private struct Held: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    private struct State {
        /// The oldest first.
        var byOwner: [Int: [Held]] = [:]
        var isRetired = false
    }

    /// The place of this object among a context's extra data.
    static let index = CRYPTO_get_ex_new_index(
        CRYPTO_EX_INDEX_SSL_CTX, 0, nil, nil, nil, nil)
    /// The place of the owner among a session's extra data.
    ///
    /// OpenSSL copies it along when a resumed session becomes the next one.
    private static let ownerIndex = CRYPTO_get_ex_new_index(
        CRYPTO_EX_INDEX_SSL_SESSION, 0, nil, nil, nil, nil)
    /// Whose sessions they are that show no certificate.
    private static let nobody = 1

    private let state = Mutex(State())

    deinit {
        state.withLock { state in
            for held in state.byOwner.values.joined() { unsafe SSL_SESSION_free(held.pointer) }
        }
    }

    /// Takes note of a session that OpenSSL has just put into its cache, or has it taken out again.
    ///
    /// The lock is never held while OpenSSL is asked to remove one: it would ask us back, under a
    /// lock of its own.
    ///
    /// - Returns: 1 when the reference that came with it is ours now, otherwise 0.
    func keep(_ ssl: OpaquePointer, _ session: OpaquePointer, _ peer: SessionState) -> Int32 {
        guard let owner = unsafe Self.owner(ssl, session, peer) else {
            peer.isTooLargeToResume = true
            unsafe SSL_CTX_remove_session(SSL_get_SSL_CTX(ssl), session)
            return 0
        }
        let held = unsafe Held(pointer: session)
        // Ours alone from here on: what OpenSSL says of it meanwhile finds nothing any more.
        let (isKept, oldest) = state.withLock { state -> (Bool, Held?) in
            if state.isRetired { return (false, nil) }
            var own = state.byOwner.removeValue(forKey: owner) ?? []
            let oldest = own.count >= Limits.sessionsPerIdentityMax ? own.removeFirst() : nil
            own.append(held)
            state.byOwner[owner] = own
            return (true, oldest)
        }
        if !isKept { unsafe SSL_CTX_remove_session(SSL_get_SSL_CTX(ssl), session) }
        if let oldest {
            unsafe SSL_CTX_remove_session(SSL_get_SSL_CTX(ssl), oldest.pointer)
            unsafe SSL_SESSION_free(oldest.pointer)
        }
        return isKept ? 1 : 0
    }

    /// Forgets a session that has left the cache; OpenSSL holds a lock of its own.
    fileprivate func forget(_ session: OpaquePointer) {
        guard let mark = unsafe SSL_SESSION_get_ex_data(session, Self.ownerIndex) else { return }
        let owner = Int(bitPattern: mark)
        let gone = unsafe Held(pointer: session)
        let held = state.withLock { state -> Held? in
            guard
                let place = state.byOwner[owner]?.firstIndex(where: {
                    unsafe $0.pointer == gone.pointer
                })
            else { return nil }
            let held = state.byOwner[owner]?.remove(at: place)
            if state.byOwner[owner]?.isEmpty == true { state.byOwner[owner] = nil }
            return held
        }
        unsafe SSL_SESSION_free(held?.pointer)
    }

    /// Keeps no session from now on; those that are in the cache are forgotten as they leave it.
    func retire() { state.withLock { $0.isRetired = true } }

    // MARK: Whose

    /// Whose a session is; nil when its certificates are too many bytes to be kept.
    ///
    /// Known from the full handshake, and copied from session to session. A number stands for the
    /// name: should two names have the same, they share a bound.
    private static func owner(
        _ ssl: OpaquePointer, _ session: OpaquePointer, _ peer: SessionState
    ) -> Int? {
        if let mark = unsafe SSL_SESSION_get_ex_data(session, ownerIndex) {
            return Int(bitPattern: mark)
        }
        guard unsafe chainBytes(ssl, session) <= Limits.sessionChainBytesMax else { return nil }
        // Never 0, which is what a session without a mark has.
        let owner = peer.verifiedPrincipal.map { $0.hashValue | 2 } ?? nobody
        let mark = unsafe UnsafeMutableRawPointer(bitPattern: owner)
        guard unsafe SSL_SESSION_set_ex_data(session, ownerIndex, mark) == 1 else { return nil }
        return owner
    }

    /// What the peer has sent as its certificates, which a session holds on to, leaf included.
    private static func chainBytes(_ ssl: OpaquePointer, _ session: OpaquePointer) -> Int {
        // A server's list is without the leaf.
        var bytes = unsafe SSL_SESSION_get0_peer(session).map { unsafe Int(i2d_X509($0, nil)) } ?? 0
        let chain = unsafe SSL_get_peer_cert_chain(ssl)
        for position in 0..<max(0, unsafe OPENSSL_sk_num(chain)) {
            guard let item = unsafe OPENSSL_sk_value(chain, position) else { continue }
            bytes += unsafe Int(i2d_X509(OpaquePointer(item), nil))
        }
        return bytes
    }
}

/// Told by OpenSSL of each session that leaves the cache: pushed out, timed out, taken out.
func onSessionGone(_ context: OpaquePointer?, _ session: OpaquePointer?) {
    guard let session = unsafe session,
        let user = unsafe SSL_CTX_get_ex_data(context, KeptSessions.index)
    else { return }
    unsafe Unmanaged<KeptSessions>.fromOpaque(user).takeUnretainedValue().forget(session)
}
