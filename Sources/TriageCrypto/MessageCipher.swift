// AES-256-GCM, one message after another under one key, in the caller's memory. Knows nothing of
// files; that no nonce comes twice under a key is the caller's promise.

internal import COpenSSL
internal import TriageBase

/// 96 bits that differ between all messages under one key; need not be secret.
package struct Nonce: Hashable, Sendable {
    /// The first eight bytes, the first one lowest.
    package var low: UInt64
    /// The last four bytes, the first one lowest.
    package var high: UInt32

    /// Wraps 96 bits.
    package init(_ low: UInt64, _ high: UInt32) {
        self.low = low
        self.high = high
    }
}

/// 128 bits that only the key's owner can have computed for a message.
package struct Tag: Hashable, Sendable {
    /// The first eight bytes, the first one lowest.
    package var low: UInt64
    /// The last eight bytes, the first one lowest.
    package var high: UInt64

    /// Wraps 128 bits.
    package init(_ low: UInt64, _ high: UInt64) {
        self.low = low
        self.high = high
    }
}

/// AES-256-GCM under one key.
///
/// One OpenSSL context serves every message: sealing and opening allocate nothing.
///
/// `@safe`, `@unchecked Sendable`: the pointer never leaves the value, which frees it (wiping the
/// key schedule); OpenSSL contexts may change threads, and mutating methods of a value that cannot
/// be copied exclude each other.
///
/// Source: NIST SP 800-38D; EVP_EncryptInit(3) "AEAD interface"
@safe package struct MessageCipher: ~Copyable, @unchecked Sendable {
    private let context: OpaquePointer

    /// Bytes of a message at most: GCM itself allows 64 GiB, OpenSSL's calls 2 GiB.
    package static let messageBytesMax = 1 << 30
    private static let tagBytes: Int32 = 16

    /// Expands `key`.
    ///
    /// - Throws: ``CryptoError``: `.unavailable`.
    package init(_ key: SecretKey) throws(CryptoError) {
        ERR_clear_error()
        guard let context = unsafe EVP_CIPHER_CTX_new() else { throw .fromQueue() }
        let isSet = unsafe key.span.withUnsafeBufferPointer { key in
            unsafe EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key.baseAddress, nil)
        }
        guard isSet == 1 else {
            unsafe EVP_CIPHER_CTX_free(context)
            throw .fromQueue()
        }
        unsafe self.context = context
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    /// Encrypts `bytes` where they stand.
    ///
    /// - Parameters:
    ///   - bytes: The message; ``messageBytesMax`` at most; may be empty.
    ///   - nonce: Never used before under this key.
    ///   - additional: Bytes that are not encrypted and must be the same when the message is
    ///     opened.
    /// - Returns: The tag, to be stored beside the message.
    package mutating func seal(
        _ bytes: inout MutableSpan<UInt8>, nonce: Nonce, additional: Span<UInt8>
    ) -> Tag {
        start(nonce, encrypts: 1, additional)
        update(&bytes)
        var tag: (UInt64, UInt64) = (0, 0)
        let isDone = unsafe withUnsafeMutableBytes(of: &tag) { raw in
            unsafe finish() == 1
                && EVP_CIPHER_CTX_ctrl(
                    context, EVP_CTRL_AEAD_GET_TAG, Self.tagBytes, raw.baseAddress) == 1
        }
        invariant(isDone, "AES-GCM gave no tag")
        return Tag(UInt64(littleEndian: tag.0), UInt64(littleEndian: tag.1))
    }

    /// Decrypts `bytes` where they stand.
    ///
    /// - Parameters:
    ///   - bytes: What ``seal(_:nonce:additional:)`` made; afterwards the message, or zeros when
    ///     this throws: what was not authenticated cannot be used by mistake.
    ///   - nonce: The sealing's.
    ///   - tag: The sealing's.
    ///   - additional: The sealing's.
    /// - Throws: ``CryptoError``: `.authenticationFailed`. The next message is not affected.
    package mutating func open(
        _ bytes: inout MutableSpan<UInt8>, nonce: Nonce, tag: Tag,
        additional: Span<UInt8>
    ) throws(CryptoError) {
        start(nonce, encrypts: 0, additional)
        update(&bytes)
        var words = (tag.low.littleEndian, tag.high.littleEndian)
        let isAuthentic = unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Self.tagBytes, raw.baseAddress) == 1
                && finish() == 1
        }
        guard isAuthentic else {
            wipe(&bytes)
            throw .authenticationFailed
        }
    }

    private func start(_ nonce: Nonce, encrypts: Int32, _ additional: Span<UInt8>) {
        var words = (nonce.low.littleEndian, nonce.high.littleEndian)
        var count: Int32 = 0
        let isStarted = unsafe withUnsafeBytes(of: &words) { nonce in
            unsafe additional.withUnsafeBufferPointer { additional in
                unsafe EVP_CipherInit_ex(
                    context, nil, nil, nil,
                    nonce.baseAddress?.assumingMemoryBound(to: UInt8.self), encrypts) == 1
                    && (additional.isEmpty
                        || EVP_CipherUpdate(
                            context, nil, &count, additional.baseAddress,
                            Int32(additional.count)) == 1)
            }
        }
        invariant(isStarted, "AES-GCM does not start")
    }

    private func update(_ bytes: inout MutableSpan<UInt8>) {
        precondition(bytes.count <= Self.messageBytesMax)
        guard !bytes.isEmpty else { return }
        var count: Int32 = 0
        let isDone = unsafe bytes.withUnsafeMutableBufferPointer { bytes in
            unsafe EVP_CipherUpdate(
                context, bytes.baseAddress, &count, bytes.baseAddress, Int32(bytes.count))
        }
        invariant(isDone == 1 && Int(count) == bytes.count, "AES-GCM stopped half-way")
    }

    /// OpenSSL wants room for a last block, which this mode never has.
    private func finish() -> Int32 {
        var count: Int32 = 0
        var last: (UInt64, UInt64) = (0, 0)
        return unsafe withUnsafeMutableBytes(of: &last) { raw in
            unsafe EVP_CipherFinal_ex(
                context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), &count)
        }
    }
}
