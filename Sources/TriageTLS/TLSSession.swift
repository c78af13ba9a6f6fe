// One TLS connection as a byte machine over OpenSSL: ciphertext and plaintext in, plaintext and
// ciphertext out. Knows nothing of sockets, HTTP/2 or who is allowed to do what.
//
//   receive(ciphertext) ─▶ input ─▶ custom BIO ─▶ SSL ─▶ read(into:)
//   withOutput ◀────────── output ◀─ custom BIO ◀─ SSL ◀─ write(plaintext)

internal import COpenSSL
internal import CTriageShims
package import TriageBase

/// How far a handshake is.
package enum HandshakeStep: Equatable, Sendable {
    /// Send the output and feed more of the peer's bytes.
    case needsInput
    /// The peer is verified; read and write. There may be output to send.
    case complete
}

/// What a read brought.
package enum ReadStep: Equatable, Sendable {
    /// This many bytes of plaintext, at least 1.
    case bytes(Int)
    /// Nothing until more ciphertext is fed.
    case needsInput
    /// The peer has sent close_notify: nothing more will come.
    case closed
}

/// One side of one TLS connection.
///
/// - Isolation: confined to the thread of its reactor.
@safe package final class TLSSession {
    private let ssl: OpaquePointer
    private let context: TLSContext
    private let state: SessionState
    private let retained: Unmanaged<SessionState>
    private var hasFailed = false
    private var isComplete = false

    /// The verified identity of a client; nil before the handshake, without a certificate, and for
    /// servers.
    package private(set) var peerPrincipal: Principal?
    /// When the peer's certificate expires; nil without one.
    package private(set) var peerNotAfter: WallTime?

    /// How long the peer's certificate is still good, milliseconds; nil without one.
    package var peerMillisecondsLeft: Int64? {
        peerNotAfter.map { max(0, $0.milliseconds - context.shared.now.milliseconds) }
    }

    /// Starts a session in the role of its context.
    ///
    /// - Throws: ``TLSError``: `.unavailable` when memory runs out or the server name is not
    ///   usable.
    package init(_ context: TLSContext) throws(TLSError) {
        OpenSSLErrorQueue.clear()
        guard let ssl = unsafe SSL_new(context.pointer) else {
            throw .unavailable(OpenSSLErrorQueue.drainText())
        }
        guard let table = unsafe BIOTable.shared.pointer, let bio = unsafe BIO_new(table) else {
            unsafe SSL_free(ssl)
            throw .unavailable("out of memory")
        }
        let isServer =
            switch context.role {
            case .server: true
            case .client: false
            }
        let state = SessionState(peerIsServer: !isServer, shared: context.shared)
        let retained = unsafe Unmanaged.passRetained(state)
        unsafe BIO_set_data(bio, retained.toOpaque())
        unsafe SSL_set_bio(ssl, bio, bio)
        unsafe self.ssl = ssl
        self.context = context
        self.state = state
        unsafe self.retained = retained

        let isSet = unsafe SSL_set_ex_data(ssl, 0, retained.toOpaque()) == 1
        guard isSet else { throw .unavailable("out of memory") }
        if let clock = context.shared.clock {
            let seconds = Int(clock().milliseconds / 1_000)
            unsafe X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), seconds)
        }
        switch context.role {
        case .server: unsafe SSL_set_accept_state(ssl)
        case .client(let serverName): try setServer(serverName)
        }
    }

    deinit {
        // A connection that ends without close_notify must not take its session out of the cache.
        if !hasFailed { unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        unsafe SSL_free(ssl)
        unsafe retained.release()
    }

    /// Checks the server's certificate for `name`, and asks for it by that name.
    private func setServer(_ name: String) throws(TLSError) {
        unsafe SSL_set_connect_state(ssl)
        let parameters = unsafe SSL_get0_param(ssl)
        // An address is looked for among the IP names, and is never sent as a server name (RFC 6066
        // §3).
        if unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, name) != 1 {
            OpenSSLErrorQueue.clear()
            let flags = UInt32(
                X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
            unsafe X509_VERIFY_PARAM_set_hostflags(parameters, flags)
            guard !name.isEmpty, unsafe X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1,
                unsafe CTriageShims_SSL_set_tlsext_host_name(ssl, name) == 1
            else { throw .unavailable("the server name cannot be used") }
        }
        if let session = unsafe context.shared.takeSession() {
            // A refused session only costs a full handshake.
            if unsafe Resumption.isValid(session, at: context.shared.now) {
                _ = unsafe SSL_set_session(ssl, session)
            }
            unsafe SSL_SESSION_free(session)
        }
    }

    // MARK: Ciphertext

    /// How many bytes the peer has sent so far.
    package private(set) var bytesReceived: UInt64 = 0

    /// Takes bytes that the peer sent.
    package func receive(_ ciphertext: Span<UInt8>) {
        bytesReceived &+= UInt64(ciphertext.count)
        unsafe ciphertext.withUnsafeBufferPointer { unsafe state.input.append($0) }
    }

    /// Ciphertext that waits for the socket, bytes.
    package var outputCount: Int { state.output.count }

    /// Shows the ciphertext that waits for the socket.
    ///
    /// - Parameter body: Sends from the front; returns how many bytes the socket took.
    package func withOutput(_ body: (Span<UInt8>) -> Int) { state.output.consume(body) }

    // MARK: Handshake

    /// Goes on with the handshake as far as the input allows.
    ///
    /// - Returns: Whether it is complete. Output may have grown either way.
    /// - Throws: ``TLSError``: the session is dead. Output may hold an alert: send it, then close.
    ///
    /// Source: SSL_do_handshake(3).
    package func handshake() throws(TLSError) -> HandshakeStep {
        if isComplete { return .complete }
        OpenSSLErrorQueue.clear()
        let result = unsafe SSL_do_handshake(ssl)
        if result == 1 {
            try admit()
            dropExchangeKeys()
            isComplete = true
            return .complete
        }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        // Our BIO never refuses a write and never reports a system error: the rest are failures.
        default: throw handshakeFailure()
        }
    }

    /// Takes note of who the peer is; checks what a resumed session would skip.
    private func admit() throws(TLSError) {
        guard negotiatedH2 else { throw fail(.noCommonProtocol) }
        if resumed, unsafe !Resumption.isValid(SSL_get_session(ssl), at: context.shared.now) {
            unsafe SSL_CTX_remove_session(context.pointer, SSL_get_session(ssl))
            throw fail(.peerRefused(.expired))
        }
        guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return }
        defer { unsafe X509_free(certificate) }
        peerNotAfter = unsafe WallTime(asn1: unsafe X509_get0_notAfter(certificate))
        guard !state.peerIsServer else { return }
        switch unsafe PeerIdentity.of(certificate) {
        case .principal(let principal): peerPrincipal = principal
        case .refused(let refusal): throw fail(.peerRefused(refusal))
        }
    }

    /// Empties the two keys of the key exchange, which OpenSSL keeps until `SSL_free`.
    ///
    /// They are about 5 KiB of an idle connection, and nothing that memory should hold on to.
    ///
    /// Giving a key another type frees its material (EVP_PKEY_set_type(3)); after a TLS 1.3
    /// handshake nothing uses it.
    private func dropExchangeKeys() {
        for query in [SSL_CTRL_GET_TMP_KEY, SSL_CTRL_GET_PEER_TMP_KEY] {
            var key: OpaquePointer?
            guard unsafe SSL_ctrl(ssl, query, 0, &key) == 1, let key = unsafe key else { continue }
            _ = unsafe EVP_PKEY_set_type(key, EVP_PKEY_ED25519)
            unsafe EVP_PKEY_free(key)
        }
        OpenSSLErrorQueue.clear()
    }

    private func fail(_ error: TLSError) -> TLSError {
        hasFailed = true
        return error
    }

    private func handshakeFailure() -> TLSError {
        let entry = OpenSSLErrorQueue.drain()
        if let refusal = state.refusal { return fail(.peerRefused(refusal)) }
        let verdict = unsafe SSL_get_verify_result(ssl)
        if verdict != Int(X509_V_OK) {
            return fail(.peerRefused(PeerRefusal(verifyResult: Int32(truncatingIfNeeded: verdict))))
        }
        guard let entry else { return fail(.handshakeFailed("no reason given")) }
        switch entry.reason {
        case SSL_R_EXCESSIVE_MESSAGE_SIZE where isReadingCertificate:
            return fail(.peerRefused(.chainTooLong))
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return fail(.peerRefused(.missing))
        case SSL_R_NO_APPLICATION_PROTOCOL, SSL_R_CLIENTHELLO_TLSEXT, SSL_R_CALLBACK_FAILED:
            return fail(.noCommonProtocol)
        case _ where entry.isPeerAlert: return fail(.alertReceived(entry.text))
        default: return fail(.handshakeFailed(entry.text))
        }
    }

    /// The handshake stands, or has failed, at the peer's chain.
    private var isReadingCertificate: Bool {
        let step = unsafe SSL_get_state(ssl)
        return step == TLS_ST_SR_CERT || step == TLS_ST_CR_CERT
    }

    // MARK: Plaintext

    /// Decrypts what has come, at most one record a call.
    ///
    /// - Parameter buffer: Filled from its start.
    /// - Returns: What came; call again until it is not `.bytes`.
    /// - Throws: ``TLSError``: the session is dead.
    ///
    /// Source: SSL_read_ex(3).
    package func read(into buffer: inout MutableSpan<UInt8>) throws(TLSError) -> ReadStep {
        OpenSSLErrorQueue.clear()
        var count = 0
        let result = unsafe buffer.withUnsafeMutableBufferPointer {
            unsafe SSL_read_ex(ssl, $0.baseAddress, $0.count, &count)
        }
        guard state.keyUpdates <= Limits.keyUpdatesMax else { throw fail(.tooManyKeyUpdates) }
        if result == 1 { return .bytes(count) }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_ZERO_RETURN: return .closed
        default: throw recordFailure()
        }
    }

    /// Decrypts what has come, at most one record a call; the array keeps its size.
    ///
    /// - Parameter buffer: Filled from its start.
    /// - Returns: What came; call again until it is not `.bytes`.
    /// - Throws: ``TLSError``: the session is dead.
    package func read(into buffer: inout [UInt8]) throws(TLSError) -> ReadStep {
        var span = buffer.mutableSpan
        return try read(into: &span)
    }

    /// Encrypts all of `plaintext` into the output.
    ///
    /// - Throws: ``TLSError``: the session is dead.
    ///
    /// Source: SSL_write_ex(3).
    package func write(_ plaintext: Span<UInt8>) throws(TLSError) {
        guard plaintext.count > 0 else { return }
        OpenSSLErrorQueue.clear()
        var written = 0
        let result = unsafe plaintext.withUnsafeBufferPointer {
            unsafe SSL_write_ex(ssl, $0.baseAddress, $0.count, &written)
        }
        // Our BIO takes everything, so that a write is whole or has failed.
        guard result == 1, written == plaintext.count else { throw recordFailure() }
    }

    private func recordFailure() -> TLSError {
        guard let entry = OpenSSLErrorQueue.drain() else {
            return fail(.protocolViolation("no reason given"))
        }
        return fail(entry.isPeerAlert ? .alertReceived(entry.text) : .protocolViolation(entry.text))
    }

    /// Changes the keys that we send with; the message that says so joins the output.
    ///
    /// - Throws: ``TLSError``: `.protocolViolation` before the handshake is complete.
    ///
    /// Source: RFC 8446 §4.6.3; SSL_key_update(3).
    package func updateKeys() throws(TLSError) {
        OpenSSLErrorQueue.clear()
        guard unsafe SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1,
            unsafe SSL_do_handshake(ssl) == 1
        else { throw recordFailure() }
    }

    /// Puts close_notify into the output; the session stays resumable.
    ///
    /// Source: SSL_shutdown(3).
    package func close() {
        guard isComplete, !hasFailed else { return }
        OpenSSLErrorQueue.clear()
        // 0 and -1 mean that the peer's own close_notify is still to come, which nobody waits for.
        _ = unsafe SSL_shutdown(ssl)
        OpenSSLErrorQueue.clear()
    }

    // MARK: State

    /// The peer's leaf with a reference of its own; nil without one.
    func peerCertificate() -> OpaquePointer? { unsafe SSL_get1_peer_certificate(ssl) }

    /// What the peer sent between its leaf and the root; borrowed.
    var peerChain: OpaquePointer? { unsafe SSL_get_peer_cert_chain(ssl) }

    /// True when both sides agreed on `h2`.
    package var negotiatedH2: Bool {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &count)
        guard let name = unsafe name, count == 2 else { return false }
        return unsafe name[0] == UInt8(ascii: "h") && name[1] == UInt8(ascii: "2")
    }

    /// IANA's name of the cipher suite; empty before there is one.
    ///
    /// Source: SSL_CIPHER_standard_name(3).
    package var cipherSuite: String {
        guard let cipher = unsafe SSL_get_current_cipher(ssl),
            let name = unsafe SSL_CIPHER_standard_name(cipher)
        else { return "" }
        return unsafe String(cString: name)
    }

    /// True when a server has not kept the session, the peer's certificates being too many bytes:
    /// it cannot be resumed.
    package var isTooLargeToResume: Bool { state.isTooLargeToResume }

    /// KeyUpdate messages received so far.
    package var keyUpdates: Int { state.keyUpdates }

    /// True when the handshake resumed an earlier session.
    package var resumed: Bool { unsafe SSL_session_reused(ssl) == 1 }
}

extension PeerRefusal {
    /// Translates OpenSSL's verdict on a chain (`X509_V_ERR_…`).
    init(verifyResult code: Int32) {
        switch code {
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .expired
        case X509_V_ERR_CERT_NOT_YET_VALID: self = .notYetValid
        case X509_V_ERR_CERT_REVOKED: self = .revoked
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID,
            X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
            X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
            self = .revocationUnknown
        case X509_V_ERR_CERT_CHAIN_TOO_LONG: self = .chainTooLong
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: self = .wrongName
        case X509_V_ERR_INVALID_PURPOSE: self = .wrongUsage
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_SIGNATURE_FAILURE,
            X509_V_ERR_CERT_UNTRUSTED, X509_V_ERR_INVALID_CA:
            self = .untrusted
        default: self = .other(code)
        }
    }
}
