// Whether a peer that was let in would still be let in: its certificate is judged once more, under
// the trust and the revocation lists of another context. For open connections after a reload.

internal import COpenSSL
internal import TriageBase

extension TLSSession {
    /// Judges the peer's certificate as a handshake under `context` would, now.
    ///
    /// - Parameter context: The trust, revocation lists and time to judge by.
    /// - Returns: nil when the peer is still welcome, or presented no certificate.
    ///
    /// Source: X509_verify_cert(3); about 0.2 ms.
    package func refusal(under context: TLSContext) -> PeerRefusal? {
        guard let certificate = unsafe peerCertificate() else { return nil }
        defer { unsafe X509_free(certificate) }
        OpenSSLErrorQueue.clear()
        defer { OpenSSLErrorQueue.clear() }
        guard let verification = unsafe X509_STORE_CTX_new() else { return .other(-1) }
        defer { unsafe X509_STORE_CTX_free(verification) }
        guard unsafe begin(verification, certificate, context) else { return .other(-1) }
        guard unsafe X509_verify_cert(verification) == 1 else {
            return PeerRefusal(verifyResult: unsafe X509_STORE_CTX_get_error(verification))
        }
        if case .refused(let refusal) = unsafe PeerIdentity.of(certificate) { return refusal }
        return nil
    }

    /// Prepares the verification that `context` prescribes for clients.
    private func begin(
        _ verification: OpaquePointer, _ certificate: OpaquePointer, _ context: TLSContext
    ) -> Bool {
        guard let store = unsafe SSL_CTX_get_cert_store(context.pointer),
            unsafe X509_STORE_CTX_init(verification, store, certificate, peerChain) == 1,
            unsafe X509_STORE_CTX_set_default(verification, "ssl_client") == 1,
            let parameters = unsafe X509_STORE_CTX_get0_param(verification),
            unsafe X509_VERIFY_PARAM_set1(parameters, SSL_CTX_get0_param(context.pointer)) == 1
        else { return false }
        if let clock = context.shared.clock {
            unsafe X509_VERIFY_PARAM_set_time(parameters, Int(clock().milliseconds / 1_000))
        }
        return true
    }
}
