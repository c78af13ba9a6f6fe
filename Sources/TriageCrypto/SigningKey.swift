// Ed25519: who holds a private key signs, everybody checks. Knows nothing of what is signed.

internal import COpenSSL

/// 64 bytes that only the holder of a private key can have made for a message.
package struct Signature: Sendable {
    private var bytes: InlineArray<64, UInt8>

    package static let byteCount = 64

    /// Takes what was stored.
    ///
    /// - Precondition: `stored` has ``byteCount`` bytes.
    package init(copying stored: Span<UInt8>) {
        precondition(stored.count == Self.byteCount)
        bytes = InlineArray { stored[$0] }
    }

    fileprivate init() { bytes = InlineArray(repeating: 0) }

    /// The bytes as they are stored.
    package var span: Span<UInt8> {
        @_lifetime(borrow self) get { bytes.span }
    }

    fileprivate var mutableSpan: MutableSpan<UInt8> {
        @_lifetime(&self) mutating get { bytes.mutableSpan }
    }
}

extension Signature: Equatable {
    package static func == (a: Signature, b: Signature) -> Bool {
        a.span.indices.allSatisfy { a.span[$0] == b.span[$0] }
    }
}

/// The public half of a ``SigningKey``.
package struct VerifyingKey: Sendable {
    private var bytes: InlineArray<32, UInt8>

    package static let byteCount = 32

    /// Takes what was stored.
    ///
    /// Bytes that are no key verify nothing.
    ///
    /// - Precondition: `stored` has ``byteCount`` bytes.
    package init(copying stored: Span<UInt8>) {
        precondition(stored.count == Self.byteCount)
        bytes = InlineArray { stored[$0] }
    }

    /// The bytes as they are stored and published.
    package var span: Span<UInt8> {
        @_lifetime(borrow self) get { bytes.span }
    }

    /// Whether the holder of the private key signed exactly `message`.
    ///
    /// Source: RFC 8032 §5.1.7; EVP_DigestVerify(3)
    package func verifies(_ signature: Signature, of message: Span<UInt8>) -> Bool {
        // A failed check leaves an entry that must not be blamed on the next call.
        defer { ERR_clear_error() }
        guard
            let key = unsafe span.withUnsafeBufferPointer({ raw in
                unsafe EVP_PKEY_new_raw_public_key(
                    EVP_PKEY_ED25519, nil, raw.baseAddress, raw.count)
            })
        else { return false }
        defer { unsafe EVP_PKEY_free(key) }
        guard let context = unsafe EVP_MD_CTX_new() else { return false }
        defer { unsafe EVP_MD_CTX_free(context) }
        guard unsafe EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1 else { return false }
        return unsafe signature.span.withUnsafeBufferPointer { signature in
            unsafe message.withUnsafeBufferPointer { message in
                unsafe EVP_DigestVerify(
                    context, signature.baseAddress, signature.count, message.baseAddress,
                    message.count) == 1
            }
        }
    }
}

extension VerifyingKey: Equatable {
    package static func == (a: VerifyingKey, b: VerifyingKey) -> Bool {
        a.span.indices.allSatisfy { a.span[$0] == b.span[$0] }
    }
}

/// An Ed25519 private key, ready to sign.
///
/// `@safe`, `@unchecked Sendable`: the pointer never leaves the object, which frees it (wiping the
/// key); OpenSSL keys are not changed by signing and may be shared by threads.
@safe package final class SigningKey: @unchecked Sendable {
    private let key: OpaquePointer
    /// What others check signatures with.
    package let verifyingKey: VerifyingKey

    /// Expands a private key.
    ///
    /// - Parameter seed: RFC 8032's private key; it stays its owner's.
    /// - Throws: ``CryptoError``: `.unavailable`.
    ///
    /// Source: RFC 8032 §5.1.5; EVP_PKEY_new_raw_private_key(3)
    package init(seed: SecretKey) throws(CryptoError) {
        ERR_clear_error()
        let made = unsafe seed.span.withUnsafeBufferPointer { raw in
            unsafe EVP_PKEY_new_raw_private_key(
                EVP_PKEY_ED25519, nil, raw.baseAddress, raw.count)
        }
        guard let made = unsafe made else { throw .fromQueue() }
        var count = VerifyingKey.byteCount
        var bytes = InlineArray<32, UInt8>(repeating: 0)
        var span = bytes.mutableSpan
        let isRead = unsafe span.withUnsafeMutableBufferPointer { raw in
            unsafe EVP_PKEY_get_raw_public_key(made, raw.baseAddress, &count)
        }
        guard isRead == 1, count == VerifyingKey.byteCount else {
            unsafe EVP_PKEY_free(made)
            throw .fromQueue()
        }
        unsafe key = made
        verifyingKey = VerifyingKey(copying: bytes.span)
    }

    deinit { unsafe EVP_PKEY_free(key) }

    /// Signs `message`; the same message gives the same signature.
    ///
    /// - Throws: ``CryptoError``: `.unavailable`.
    ///
    /// Source: RFC 8032 §5.1.6; EVP_DigestSign(3)
    package func sign(_ message: Span<UInt8>) throws(CryptoError) -> Signature {
        ERR_clear_error()
        guard let context = unsafe EVP_MD_CTX_new() else { throw .fromQueue() }
        defer { unsafe EVP_MD_CTX_free(context) }
        var signature = Signature()
        var count = Signature.byteCount
        var span = signature.mutableSpan
        let isSigned = unsafe span.withUnsafeMutableBufferPointer { output in
            unsafe message.withUnsafeBufferPointer { message in
                unsafe EVP_DigestSignInit(context, nil, nil, nil, key) == 1
                    && EVP_DigestSign(
                        context, output.baseAddress, &count, message.baseAddress,
                        message.count) == 1
            }
        }
        guard isSigned, count == Signature.byteCount else { throw .fromQueue() }
        return signature
    }
}

extension SigningKey: CustomStringConvertible, CustomReflectable {
    package var description: String { "signing key" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
