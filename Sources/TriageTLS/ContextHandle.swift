// One SSL_CTX while it is being configured: owned here until the context takes it, freed if loading
// fails.

internal import COpenSSL
internal import CTriageShims
internal import TriageBase

/// An `SSL_CTX` under construction.
@safe struct ContextHandle: ~Copyable {
    private let pointer: OpaquePointer

    init(_ role: TLSConfiguration.Role) throws(TLSError) {
        OpenSSLErrorQueue.clear()
        let method =
            switch role {
            case .server: unsafe TLS_server_method()
            case .client: unsafe TLS_client_method()
            }
        guard let made = unsafe SSL_CTX_new(method) else {
            throw .unavailable(OpenSSLErrorQueue.drainText())
        }
        unsafe pointer = made
    }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// Hands the pointer to an owner that will free it.
    consuming func take() -> OpaquePointer {
        let taken = unsafe pointer
        discard self
        return unsafe taken
    }

    private static let groups = "X25519:P-256"
    /// Seconds for which a session may be resumed; less when a certificate expires earlier.
    static let sessionSecondsMax = 3_600

    /// TLS 1.3 and nothing that an attacker could use without need.
    func limit() throws(TLSError) {
        OpenSSLErrorQueue.clear()
        let isSet =
            unsafe CTriageShims_SSL_CTX_set_min_proto_version(pointer, TLS1_3_VERSION) == 1
            && CTriageShims_SSL_CTX_set_max_proto_version(pointer, TLS1_3_VERSION) == 1
            && CTriageShims_SSL_CTX_set1_groups_list(pointer, Self.groups) == 1
            && SSL_CTX_set_max_early_data(pointer, 0) == 1
            && SSL_CTX_set_recv_max_early_data(pointer, 0) == 1
            && SSL_CTX_set_num_tickets(pointer, 1) == 1
        guard isSet else { throw .unavailable(OpenSSLErrorQueue.drainText()) }
        // Sessions are kept in the server: resuming from a ticket decodes the certificate again (2x
        // the CPU).
        _ = unsafe SSL_CTX_set_options(
            pointer, CTriageShims_SSL_OP_NO_TICKET() | CTriageShims_SSL_OP_NO_RENEGOTIATION())
        // We send the chain that the file has. Without this OpenSSL verifies our own certificate in
        // each handshake, to send its root along, which the peer then decodes for nothing: 25 % of
        // a handshake's instructions on its side, 15 % on ours.
        _ = unsafe CTriageShims_SSL_CTX_set_mode(
            pointer, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN))
        _ = unsafe CTriageShims_SSL_CTX_set_max_cert_list(pointer, Limits.certificateChainBytesMax)
        _ = unsafe CTriageShims_SSL_CTX_sess_set_cache_size(pointer, Limits.sessionsKeptMax)
        _ = unsafe SSL_CTX_set_timeout(pointer, Self.sessionSecondsMax)
        unsafe SSL_CTX_set_verify_depth(pointer, Limits.certificateIntermediatesMax)
    }

    // MARK: Files

    /// Loads our certificate and key.
    ///
    /// - Returns: From when to when the certificate is good.
    func loadIdentity(
        chain: String, key: String, now: WallTime
    ) throws(TLSError) -> TLSValidity {
        _ = try Self.mode(of: chain)
        let keyMode = try Self.mode(of: key)
        guard keyMode & 0o007 == 0 else { throw .privateKeyExposed(path: key, mode: keyMode) }

        OpenSSLErrorQueue.clear()
        guard unsafe SSL_CTX_use_certificate_chain_file(pointer, chain) == 1,
            let leaf = unsafe SSL_CTX_get0_certificate(pointer)
        else { throw .fileInvalid(path: chain, reason: OpenSSLErrorQueue.drainText()) }
        let notAfter = unsafe WallTime(asn1: unsafe X509_get0_notAfter(leaf))
        let notBefore = unsafe WallTime(asn1: unsafe X509_get0_notBefore(leaf))
        guard now < notAfter else { throw .certificateExpired(path: chain, notAfter: notAfter) }
        guard notBefore <= now else {
            throw .certificateNotYetValid(path: chain, notBefore: notBefore)
        }

        // An encrypted key must fail, not ask for its password on a terminal.
        unsafe SSL_CTX_set_default_passwd_cb(pointer) { _, _, _, _ in 0 }
        OpenSSLErrorQueue.clear()
        guard unsafe SSL_CTX_use_PrivateKey_file(pointer, key, SSL_FILETYPE_PEM) == 1 else {
            let entry = OpenSSLErrorQueue.drain()
            if entry?.reason == X509_R_KEY_VALUES_MISMATCH {
                throw .keyMismatch(certificate: chain, privateKey: key)
            }
            throw .fileInvalid(path: key, reason: entry?.text ?? "no private key in it")
        }
        // Also catches a key of another type, which the call above takes without a word.
        guard unsafe SSL_CTX_check_private_key(pointer) == 1 else {
            OpenSSLErrorQueue.clear()
            throw .keyMismatch(certificate: chain, privateKey: key)
        }
        return TLSValidity(from: notBefore, until: notAfter)
    }

    /// Loads the authorities of peers.
    func loadTrust(_ path: String, role: TLSConfiguration.Role) throws(TLSError) {
        _ = try Self.mode(of: path)
        OpenSSLErrorQueue.clear()
        guard unsafe SSL_CTX_load_verify_file(pointer, path) == 1 else {
            throw .fileInvalid(path: path, reason: OpenSSLErrorQueue.drainText())
        }
        guard case .server = role else { return }
        // Named in the certificate request, so that a client with several certificates picks the
        // right one.
        guard let names = unsafe SSL_load_client_CA_file(path) else {
            throw .fileInvalid(path: path, reason: OpenSSLErrorQueue.drainText())
        }
        unsafe SSL_CTX_set_client_CA_list(pointer, names)
    }

    /// Loads revocation lists and makes them mandatory: a peer whose issuer has none is refused.
    ///
    /// - Parameters:
    ///   - path: PEM; one list or more.
    ///   - now: The time to judge them by.
    ///   - checked: Gets the lists.
    /// - Returns: The span of the one that is due for an update first.
    /// - Throws: ``TLSError``: the cases of a file; `.unavailable` when OpenSSL refuses.
    func loadRevocationList(
        _ path: String, now: WallTime, _ checked: CheckedLists
    ) throws(TLSError) -> TLSValidity {
        _ = try Self.mode(of: path)
        OpenSSLErrorQueue.clear()
        guard let file = unsafe BIO_new_file(path, "r") else {
            throw .fileUnreadable(path: path, reason: OpenSSLErrorQueue.drainText())
        }
        defer { unsafe BIO_free_all(file) }
        guard let store = unsafe SSL_CTX_get_cert_store(pointer),
            let parameters = unsafe SSL_CTX_get0_param(pointer)
        else { throw .unavailable("no certificate store") }
        var due: TLSValidity?
        while let list = unsafe PEM_read_bio_X509_CRL(file, nil, nil, nil) {
            defer { unsafe X509_CRL_free(list) }
            guard let next = unsafe X509_CRL_get0_nextUpdate(list) else {
                throw .fileInvalid(path: path, reason: "a revocation list in it has no next update")
            }
            let nextUpdate = unsafe WallTime(asn1: unsafe next)
            guard now < nextUpdate else {
                throw .revocationListExpired(path: path, nextUpdate: nextUpdate)
            }
            let thisUpdate = unsafe WallTime(asn1: unsafe X509_CRL_get0_lastUpdate(list))
            guard thisUpdate <= now else {
                throw .revocationListNotYetValid(path: path, thisUpdate: thisUpdate)
            }
            guard unsafe X509_STORE_add_crl(store, list) == 1 else {
                throw .fileInvalid(path: path, reason: OpenSSLErrorQueue.drainText())
            }
            let validity = TLSValidity(from: thisUpdate, until: nextUpdate)
            unsafe checked.add(list, validity)
            if nextUpdate < due?.until ?? .distantFuture { due = validity }
        }
        guard unsafe checked.install(in: store) else {
            throw .unavailable(OpenSSLErrorQueue.drainText())
        }
        // The end of the file is reported as "no start line"; anything else is damage.
        let end = OpenSSLErrorQueue.drain()
        guard let due, end?.reason == PEM_R_NO_START_LINE else {
            throw .fileInvalid(path: path, reason: end?.text ?? "no revocation list in it")
        }
        guard unsafe Self.hasListOfARoot(store) else {
            throw .fileInvalid(
                path: path,
                reason: "no list in it is signed by an authority of the trust bundle: "
                    + "every client would be refused")
        }
        let flags = UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)
        guard unsafe X509_VERIFY_PARAM_set_flags(parameters, flags) == 1 else {
            throw .unavailable(OpenSSLErrorQueue.drainText())
        }
        return due
    }

    /// Whether a root of the store has signed a list in it: each chain ends in one, and needs its
    /// list.
    ///
    /// Lists of others are no fault: intermediates may be known to their peers alone.
    private static func hasListOfARoot(_ store: OpaquePointer) -> Bool {
        defer { OpenSSLErrorQueue.clear() }
        let objects = unsafe X509_STORE_get0_objects(store)
        var roots = unsafe [OpaquePointer]()
        var lists = unsafe [OpaquePointer]()
        for position in 0..<max(0, unsafe OPENSSL_sk_num(objects)) {
            guard let item = unsafe OPENSSL_sk_value(objects, position) else { continue }
            let object = OpaquePointer(item)
            if let list = unsafe X509_OBJECT_get0_X509_CRL(object) { unsafe lists.append(list) }
            if let certificate = unsafe X509_OBJECT_get0_X509(object),
                unsafe X509_get_extension_flags(certificate) & UInt32(EXFLAG_SS) != 0
            {
                unsafe roots.append(certificate)
            }
        }
        return unsafe roots.contains { root in
            let name = unsafe X509_get_subject_name(root)
            let key = unsafe X509_get0_pubkey(root)
            return unsafe lists.contains { list in
                unsafe X509_NAME_cmp(X509_CRL_get_issuer(list), name) == 0
                    && X509_CRL_verify(list, key) == 1
            }
        }
    }

    /// The permission bits of a file that exists.
    private static func mode(of path: String) throws(TLSError) -> UInt16 {
        let mode = unsafe CTriageShims_file_mode(path)
        if mode >= 0 { return UInt16(truncatingIfNeeded: mode) }
        let reason = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            unsafe CTriageShims_strerror(-mode, buffer.baseAddress, buffer.count)
            return unsafe buffer.baseAddress.map { unsafe String(cString: $0) } ?? "unknown error"
        }
        throw .fileUnreadable(path: path, reason: reason)
    }

    // MARK: Rules

    /// Has ``KeptSessions`` told of the sessions that go; it must not be gone before the context.
    ///
    /// - Returns: False when memory ran out.
    func setUser(_ sessions: KeptSessions) -> Bool {
        unsafe SSL_CTX_set_ex_data(
            pointer, KeptSessions.index, Unmanaged.passUnretained(sessions).toOpaque()) == 1
    }

    /// Installs verification, protocol selection, resumption and message counting.
    func setRules(_ configuration: TLSConfiguration) {
        unsafe SSL_CTX_set_msg_callback(pointer, onMessage)
        unsafe SSL_CTX_sess_set_new_cb(pointer, onNewSession)
        switch configuration.role {
        case .server(let clientCertificate):
            let mode =
                switch clientCertificate {
                case .required: SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                case .optional: SSL_VERIFY_PEER
                }
            unsafe SSL_CTX_set_verify(pointer, Int32(mode), onVerify)
            unsafe SSL_CTX_set_alpn_select_cb(pointer, onSelectProtocol, nil)
            unsafe SSL_CTX_set_client_hello_cb(pointer, onClientHello, nil)
            // Without it a resumption that involves client certificates is an error.
            let name = Array("triaged".utf8)
            _ = unsafe SSL_CTX_set_session_id_context(pointer, name, UInt32(name.count))
            _ = unsafe CTriageShims_SSL_CTX_set_session_cache_mode(
                pointer, Int(SSL_SESS_CACHE_SERVER))
            unsafe SSL_CTX_sess_set_remove_cb(pointer, onSessionGone)
        case .client:
            unsafe SSL_CTX_set_verify(pointer, Int32(SSL_VERIFY_PEER), onVerify)
            let offer = configuration.offeredProtocols.flatMap { [UInt8($0.utf8.count)] + $0.utf8 }
            // Fails only for want of memory; the handshake then ends with `.noCommonProtocol`.
            _ = unsafe SSL_CTX_set_alpn_protos(pointer, offer, UInt32(offer.count))
            _ = unsafe CTriageShims_SSL_CTX_set_session_cache_mode(
                pointer, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
        }
    }
}
