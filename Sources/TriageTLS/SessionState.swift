// What OpenSSL's callbacks write to, and the BIO that joins OpenSSL to our buffers instead of a
// socket. Thunks only translate; none throws, locks or calls OpenSSL's read or write.

internal import COpenSSL
internal import CTriageShims
internal import TriageBase

/// The context of one session's callbacks, retained once by the session and released after
/// `SSL_free`.
@safe final class SessionState {
    /// Ciphertext from the peer.
    var input = ByteQueue()
    /// Ciphertext for the peer.
    var output = ByteQueue()
    /// KeyUpdate messages received.
    var keyUpdates = 0
    /// The peer's certificates are too many bytes for its session to be kept.
    var isTooLargeToResume = false
    /// Whose certificate was looked at in this handshake; it counts once that is complete.
    var verifiedPrincipal: Principal?
    /// What our own rules found wrong with the peer's certificate.
    var refusal: PeerRefusal?
    /// The peer is a server: its name is checked, and it needs no principal.
    let peerIsServer: Bool
    let shared: SharedState

    init(peerIsServer: Bool, shared: SharedState) {
        self.peerIsServer = peerIsServer
        self.shared = shared
    }

    /// The state behind a session's user pointer, without touching its reference count.
    @inline(__always)
    static func with<R>(_ user: UnsafeMutableRawPointer, _ body: (SessionState) -> R) -> R {
        unsafe Unmanaged<SessionState>.fromOpaque(user)._withUnsafeGuaranteedRef(body)
    }
}

/// The BIO method table that all sessions share.
// @unchecked Sendable: written once, before any thread can read it; OpenSSL only reads it.
@safe struct BIOTable: @unchecked Sendable {
    static let shared = BIOTable()

    let pointer: OpaquePointer?

    private init() {
        let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        guard let made = unsafe BIO_meth_new(type, "triaged buffers") else {
            unsafe pointer = nil
            return
        }
        let isSet =
            unsafe BIO_meth_set_read(made, bioRead) == 1 && BIO_meth_set_write(made, bioWrite) == 1
            && BIO_meth_set_ctrl(made, bioControl) == 1 && BIO_meth_set_create(made, bioCreate) == 1
        unsafe pointer = isSet ? made : nil
    }
}

private func bioCreate(_ bio: OpaquePointer?) -> Int32 {
    unsafe BIO_set_init(bio, 1)
    return 1
}

private func bioRead(
    _ bio: OpaquePointer?, _ target: UnsafeMutablePointer<CChar>?, _ capacity: Int32
) -> Int32 {
    guard let user = unsafe BIO_get_data(bio), let target = unsafe target, capacity > 0 else {
        return -1
    }
    unsafe BIO_clear_flags(bio, retryFlags)
    let bytes = unsafe UnsafeMutableRawPointer(target).assumingMemoryBound(to: UInt8.self)
    let taken = unsafe SessionState.with(user) { state in
        // OpenSSL would handle all that is there before anybody could count: the rest stays unread.
        guard state.keyUpdates <= Limits.keyUpdatesMax else { return 0 }
        return unsafe state.input.take(to: bytes, capacity: Int(capacity))
    }
    if taken > 0 { return Int32(taken) }
    unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
    return -1
}

private func bioWrite(_ bio: OpaquePointer?, _ source: UnsafePointer<CChar>?, _ count: Int32)
    -> Int32
{
    guard let user = unsafe BIO_get_data(bio), let source = unsafe source, count > 0 else {
        return 0
    }
    unsafe BIO_clear_flags(bio, retryFlags)
    let bytes = unsafe UnsafeBufferPointer(
        start: UnsafeRawPointer(source).assumingMemoryBound(to: UInt8.self), count: Int(count))
    unsafe SessionState.with(user) { unsafe $0.output.append(bytes) }
    return count
}

private let retryFlags =
    BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY

private func bioControl(
    _ bio: OpaquePointer?, _ command: Int32, _ number: Int, _ pointer: UnsafeMutableRawPointer?
) -> Int {
    command == BIO_CTRL_FLUSH ? 1 : 0
}

/// Counts KeyUpdate messages as they arrive.
func onMessage(
    _ isSent: Int32, _ version: Int32, _ contentType: Int32, _ bytes: UnsafeRawPointer?,
    _ count: Int,
    _ ssl: OpaquePointer?, _ argument: UnsafeMutableRawPointer?
) {
    guard isSent == 0, contentType == SSL3_RT_HANDSHAKE, count > 0, let bytes = unsafe bytes,
        unsafe bytes.load(as: UInt8.self) == UInt8(SSL3_MT_KEY_UPDATE),
        let user = unsafe SSL_get_ex_data(ssl, 0)
    else { return }
    unsafe SessionState.with(user) { $0.keyUpdates += 1 }
}

/// Adds our rules for leaf certificates to OpenSSL's verification.
func onVerify(_ isValid: Int32, _ store: OpaquePointer?) -> Int32 {
    guard isValid == 1, unsafe X509_STORE_CTX_get_error_depth(store) == 0,
        let certificate = unsafe X509_STORE_CTX_get_current_cert(store),
        let ssl = unsafe X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
        let user = unsafe SSL_get_ex_data(OpaquePointer(ssl), 0)
    else { return isValid }
    let refusal = unsafe SessionState.with(user) { state -> PeerRefusal? in
        guard !state.peerIsServer else { return nil }
        switch unsafe PeerIdentity.of(certificate) {
        case .principal(let principal): state.verifiedPrincipal = principal
        case .refused(let refusal): state.refusal = refusal
        }
        return state.refusal
    }
    guard refusal != nil else { return 1 }
    unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
    return 0
}

/// Selects `h2`, or ends the handshake with alert 120.
func onSelectProtocol(
    _ ssl: OpaquePointer?, _ selected: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ selectedCount: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?,
    _ offeredCount: UInt32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    guard let offered = unsafe offered else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    var at = 0
    while at < Int(offeredCount) {
        let count = unsafe Int(offered[at])
        if count == 2, at + 2 < Int(offeredCount), unsafe offered[at + 1] == UInt8(ascii: "h"),
            unsafe offered[at + 2] == UInt8(ascii: "2")
        {
            unsafe selected?.pointee = unsafe offered + at + 1
            unsafe selectedCount?.pointee = 2
            return SSL_TLSEXT_ERR_OK
        }
        at += count + 1
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}

/// Ends the handshake of a client that offers no protocol at all: ``onSelectProtocol`` is not asked
/// then.
func onClientHello(
    _ ssl: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?,
    _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    var extensionBytes: UnsafePointer<UInt8>?
    var count = 0
    let type = UInt32(TLSEXT_TYPE_application_layer_protocol_negotiation)
    if unsafe SSL_client_hello_get0_ext(ssl, type, &extensionBytes, &count) == 1 {
        return SSL_CLIENT_HELLO_SUCCESS
    }
    unsafe alert?.pointee = SSL_AD_NO_APPLICATION_PROTOCOL
    return SSL_CLIENT_HELLO_ERROR
}
