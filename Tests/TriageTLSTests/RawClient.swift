// A TLS client that says after the handshake what no library would: records made by hand under the
// connection's own keys. For what RFC 8446 forbids a client and a server must refuse.

import COpenSSL
import TestSupport
import TriageTLS

/// An OpenSSL client in memory whose traffic secret is known.
@safe final class RawClient {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private var secret: [UInt8] = []
    private var sequence: UInt64 = 0

    /// Shakes hands with a server, which must then be open.
    init(_ identity: CertificateFixture.Identity, trust: String, server: TLSSession) throws {
        guard let context = unsafe SSL_CTX_new(TLS_client_method()),
            unsafe SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1,
            unsafe SSL_CTX_use_certificate_chain_file(context, identity.certificate) == 1,
            unsafe SSL_CTX_use_PrivateKey_file(context, identity.privateKey, SSL_FILETYPE_PEM) == 1,
            unsafe SSL_CTX_load_verify_file(context, trust) == 1,
            unsafe SSL_CTX_set_alpn_protos(context, [2, UInt8(ascii: "h"), UInt8(ascii: "2")], 3)
                == 0,
            let ssl = unsafe SSL_new(context), let input = unsafe BIO_new(BIO_s_mem()),
            let output = unsafe BIO_new(BIO_s_mem())
        else { throw RawClientError.notMade }
        unsafe self.context = context
        unsafe self.ssl = ssl
        unsafe self.input = input
        unsafe self.output = output
        unsafe SSL_set_bio(ssl, input, output)
        unsafe SSL_set_connect_state(ssl)
        unsafe SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
        unsafe SSL_CTX_set_keylog_callback(context) { ssl, line in
            guard let line = unsafe line, let user = unsafe SSL_get_ex_data(ssl, 0) else { return }
            let words = unsafe String(cString: line).split(separator: " ")
            guard words.count == 3, words[0] == "CLIENT_TRAFFIC_SECRET_0" else { return }
            unsafe Unmanaged<RawClient>.fromOpaque(user).takeUnretainedValue().secret =
                RawClient.bytes(hex: words[2])
        }
        for _ in 0..<6 {
            _ = unsafe SSL_do_handshake(ssl)
            flush(to: server)
            _ = try server.handshake()
            take(from: server)
        }
        guard secret.count == 32, try server.handshake() == .complete else {
            throw RawClientError.notMade
        }
    }

    deinit {
        unsafe SSL_free(ssl)
        unsafe SSL_CTX_free(context)
    }

    /// Certificates that the server sent.
    var peerCertificateCount: Int32 {
        unsafe SSL_get_peer_cert_chain(ssl).map { unsafe OPENSSL_sk_num($0) } ?? 0
    }

    // MARK: Bytes

    private func flush(to server: TLSSession) {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = unsafe BIO_read(output, &buffer, Int32(buffer.count))
            guard count > 0 else { return }
            server.receive(buffer.span.extracting(first: Int(count)))
        }
    }

    private func take(from server: TLSSession) {
        server.withOutput { bytes in
            _ = unsafe bytes.withUnsafeBufferPointer {
                unsafe BIO_write(input, $0.baseAddress, Int32($0.count))
            }
            return bytes.count
        }
    }

    /// The alert that the server has sent: its description, or nil.
    func alert(of server: TLSSession) -> Int32? {
        take(from: server)
        ERR_clear_error()
        var buffer = [UInt8](repeating: 0, count: 64)
        guard unsafe SSL_read(ssl, &buffer, Int32(buffer.count)) <= 0 else { return nil }
        let reason = ERR_GET_REASON(ERR_get_error())
        ERR_clear_error()
        return reason >= SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : nil
    }

    // MARK: Records

    /// A record in the clear, as only a handshake has them.
    static func plain(type: UInt8, _ content: [UInt8]) -> [UInt8] {
        [type, 3, 3, UInt8(content.count >> 8), UInt8(content.count & 255)] + content
    }

    /// A record under the client's traffic keys.
    ///
    /// Source: RFC 8446 §5.2, §5.3, §7.3.
    func sealed(type: UInt8, _ content: [UInt8]) -> [UInt8] {
        let key = expand("key", count: 16)
        var nonce = expand("iv", count: 12)
        for index in 0..<8 {
            nonce[11 - index] ^= UInt8(truncatingIfNeeded: sequence >> UInt64(8 * index))
        }
        sequence += 1
        let plain = content + [type]
        let size = plain.count + 16
        let header: [UInt8] = [23, 3, 3, UInt8(size >> 8), UInt8(size & 255)]
        var cipher = [UInt8](repeating: 0, count: plain.count)
        var tag = [UInt8](repeating: 0, count: 16)
        var count: Int32 = 0
        let made = unsafe EVP_CIPHER_CTX_new()
        defer { unsafe EVP_CIPHER_CTX_free(made) }
        let isSealed =
            unsafe EVP_EncryptInit_ex(made, EVP_aes_128_gcm(), nil, key, nonce) == 1
            && EVP_EncryptUpdate(made, nil, &count, header, 5) == 1
            && EVP_EncryptUpdate(made, &cipher, &count, plain, Int32(plain.count)) == 1
            && EVP_EncryptFinal_ex(made, nil, &count) == 1
            && EVP_CIPHER_CTX_ctrl(made, EVP_CTRL_AEAD_GET_TAG, 16, &tag) == 1
        precondition(isSealed, "AES-GCM is there")
        return header + cipher + tag
    }

    /// HKDF-Expand-Label for up to 32 bytes: one block.
    private func expand(_ label: String, count: Int) -> [UInt8] {
        let label = Array("tls13 \(label)".utf8)
        let info = [0, UInt8(count), UInt8(label.count)] + label + [0, 1]
        var out = [UInt8](repeating: 0, count: 32)
        var size = 0
        _ = unsafe EVP_Q_mac(
            nil, "HMAC", nil, "SHA256", nil, secret, secret.count, info, info.count, &out,
            out.count, &size)
        return Array(out.prefix(count))
    }

    private static func bytes(hex text: Substring) -> [UInt8] {
        let digits = text.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(digits[$0] << 4 | digits[$0 + 1])
        }
    }
}

enum RawClientError: Error {
    case notMade
}
