// What all sessions of a listener (or of a client) share: certificate, key, trust, revocation,
// rules. Loading checks everything that can be checked before the first connection. Knows no peer.

internal import COpenSSL
internal import CTriageShims
internal import Synchronization
package import TriageBase

/// A loaded TLS configuration; immutable, shared by threads.
///
/// To replace certificates, make a new context for new connections. Sessions that the old one kept
/// cannot be resumed in the new one, so a new revocation list holds for everyone who reconnects.
// @unchecked Sendable: SSL_CTX is reference-counted and locked by OpenSSL; it is not configured any
// more after init. The rest is immutable or behind a Mutex.
@safe package final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    let shared: SharedState
    let role: TLSConfiguration.Role
    /// The context's store refers to it.
    let checkedLists: CheckedLists

    /// When our own certificate is good; for ever for a client without one.
    package let certificateValidity: TLSValidity
    /// When the revocation list that is due first is good; nil without lists.
    ///
    /// Past it every peer is refused, so alarm before.
    package let revocationValidity: TLSValidity?

    /// When our own certificate expires; ``WallTime/distantFuture`` for a client without one.
    package var certificateNotAfter: WallTime { certificateValidity.until }
    /// When the first revocation list is due for an update; nil without lists.
    package var revocationNextUpdate: WallTime? { revocationValidity?.until }

    /// Loads and checks a configuration.
    ///
    /// - Parameter configuration: Paths and rules.
    /// - Throws: ``TLSError``: the configuration cases; `.unavailable` when OpenSSL refuses.
    package init(_ configuration: TLSConfiguration) throws(TLSError) {
        let now = configuration.clock?() ?? .machine()
        let owned = try ContextHandle(configuration.role)
        try owned.limit()
        if let chain = configuration.certificateChain {
            guard let key = configuration.privateKey else {
                throw .fileInvalid(path: chain, reason: "no private key is configured for it")
            }
            certificateValidity = try owned.loadIdentity(chain: chain, key: key, now: now)
        } else {
            certificateValidity = TLSValidity(from: .epoch, until: .distantFuture)
        }
        try owned.loadTrust(configuration.trust, role: configuration.role)
        checkedLists = CheckedLists(clock: configuration.clock)
        if let path = configuration.revocationList {
            revocationValidity = try owned.loadRevocationList(path, now: now, checkedLists)
        } else {
            revocationValidity = nil
        }
        owned.setRules(configuration)
        shared = SharedState(
            clock: configuration.clock, revocationNextUpdate: revocationValidity?.until)
        guard owned.setUser(shared.sessions) else { throw .unavailable("out of memory") }
        role = configuration.role
        unsafe pointer = owned.take()
    }

    deinit {
        shared.dropSession()
        unsafe SSL_CTX_free(pointer)
    }

    /// Forgets the sessions that it kept, and keeps none from now on.
    ///
    /// For a context that has been replaced: nobody can resume them any more, and it lives as long
    /// as a connection that began under it.
    ///
    /// - Isolation: any.
    ///
    /// Source: SSL_CTX_flush_sessions(3): 0 means all.
    package func retire() {
        shared.sessions.retire()
        unsafe SSL_CTX_flush_sessions(pointer, 0)
    }

    /// Sessions that a server keeps for resumption.
    package var sessionsKept: Int {
        unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SESS_NUMBER, 0, nil)
    }

    /// Full handshakes and resumed ones that this context has completed as a server.
    package var handshakeCounts: (full: Int, resumed: Int) {
        let all = unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SESS_ACCEPT_GOOD, 0, nil)
        let resumed = unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SESS_HIT, 0, nil)
        return (all - resumed, resumed)
    }

    /// How often a revocation list was checked whole, its signature too, rather than remembered.
    package var revocationListChecks: Int { checkedLists.checkCount }
}

/// What the sessions of one context share beside OpenSSL's own state.
@safe final class SharedState: Sendable {
    let clock: (@Sendable () -> WallTime)?
    let revocationNextUpdate: WallTime?
    /// A server's.
    let sessions = KeptSessions()
    private let saved = Mutex(SavedSession())

    /// The latest session that a server gave us to resume.
    // @unchecked Sendable: only ever touched inside the Mutex; SSL_SESSION counts references
    // atomically.
    @safe private struct SavedSession: @unchecked Sendable {
        var pointer: OpaquePointer?
    }

    init(clock: (@Sendable () -> WallTime)?, revocationNextUpdate: WallTime?) {
        self.clock = clock
        self.revocationNextUpdate = revocationNextUpdate
    }

    /// The time to judge certificates by.
    var now: WallTime { clock?() ?? .machine() }

    /// Keeps a session for the next connection; takes over one reference.
    func saveSession(_ session: OpaquePointer) {
        unsafe SSL_SESSION_free(swapSession(session))
    }

    /// Hands out the saved session with its reference: each is used once (RFC 8446 §C.4).
    func takeSession() -> OpaquePointer? { unsafe swapSession(nil) }

    func dropSession() { unsafe SSL_SESSION_free(swapSession(nil)) }

    private func swapSession(_ new: OpaquePointer?) -> OpaquePointer? {
        let new = unsafe SavedSession(pointer: new)
        let old = saved.withLock { saved in
            let old = saved
            saved = new
            return old
        }
        return unsafe old.pointer
    }
}
