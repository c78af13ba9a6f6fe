// A symmetric key or a private seed while it is in memory: one allocation that is wiped when its
// last owner lets go, and that no printing, comparing or hashing of ours can reveal.

internal import COpenSSL
internal import TriageBase

/// 32 secret bytes.
///
/// A class, so that many owners share one copy of the bytes.
///
/// `@safe`, `@unchecked Sendable`: the pointer never leaves the object, which frees it last; the
/// bytes are written by initialisers only and read through spans of the right length afterwards.
@safe package final class SecretKey: @unchecked Sendable {
    /// Bytes of every key of this system: AES-256, Ed25519 seeds, HMAC-SHA-256 keys.
    package static let byteCount = 32

    private let memory: UnsafeMutablePointer<UInt8>

    /// Memory for a key, zero.
    private init() {
        guard let raw = unsafe CRYPTO_zalloc(Self.byteCount, nil, 0) else {
            fatalError("out of memory: \(Self.byteCount) bytes")
        }
        unsafe memory = raw.bindMemory(to: UInt8.self, capacity: Self.byteCount)
    }

    deinit { unsafe CRYPTO_clear_free(memory, Self.byteCount, nil, 0) }

    /// Draws a new key.
    package convenience init(random: inout RandomBytes) {
        self.init()
        unsafe random.fill(memory, Self.byteCount)
    }

    /// Copies a key that was read from somewhere; wiping the source is the caller's.
    ///
    /// - Precondition: `bytes` has ``byteCount`` bytes.
    package convenience init(copying bytes: Span<UInt8>) {
        precondition(bytes.count == Self.byteCount)
        self.init()
        for index in bytes.indices { unsafe memory[index] = bytes[index] }
    }

    /// Opens a key that was sealed by ``seal(into:with:nonce:additional:)``; its bytes go nowhere
    /// but into the new object.
    ///
    /// - Throws: ``CryptoError``: `.authenticationFailed` when it was sealed otherwise.
    /// - Precondition: `sealed` has ``byteCount`` bytes.
    package convenience init(
        opening sealed: Span<UInt8>, with cipher: inout MessageCipher, nonce: Nonce,
        tag: Tag,
        additional: Span<UInt8>
    ) throws(CryptoError) {
        self.init(copying: sealed)
        var bytes = unsafe MutableSpan(_unsafeStart: memory, count: Self.byteCount)
        try cipher.open(&bytes, nonce: nonce, tag: tag, additional: additional)
    }

    /// Derives a key for one purpose from this one.
    ///
    /// - Parameters:
    ///   - salt: Random bytes, stored beside what the key is for; may be empty.
    ///   - info: What the key is for.
    /// - Returns: A key that tells nothing of this one.
    /// - Throws: ``CryptoError``: `.unavailable`.
    ///
    /// Source: RFC 5869 (HKDF) with SHA-256
    package func derive(salt: Span<UInt8>, info: Span<UInt8>) throws(CryptoError) -> SecretKey {
        let derived = SecretKey()
        var bytes = unsafe MutableSpan(_unsafeStart: derived.memory, count: Self.byteCount)
        try deriveBytes(from: span, salt: salt, info: info, into: &bytes)
        return derived
    }

    /// Writes the key, sealed, to `target`.
    ///
    /// - Returns: The tag that belongs to it.
    /// - Precondition: `target` has ``byteCount`` bytes.
    package func seal(
        into target: inout MutableSpan<UInt8>, with cipher: inout MessageCipher, nonce: Nonce,
        additional: Span<UInt8>
    ) -> Tag {
        precondition(target.count == Self.byteCount)
        for index in target.indices { unsafe target[index] = memory[index] }
        return cipher.seal(&target, nonce: nonce, additional: additional)
    }

    /// A name for the key that can be published: the first eight bytes of SHA-256 over `label` and
    /// the key, the first byte lowest.
    ///
    /// A random key of 256 bits cannot be found from it.
    package func identifier(label: StaticString) -> UInt64 {
        guard let context = unsafe EVP_MD_CTX_new() else { fatalError("out of memory") }
        // Frees the hash's state wiped.
        defer { unsafe EVP_MD_CTX_free(context) }
        var digest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let isDone = unsafe withUnsafeMutableBytes(of: &digest) { output in
            unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
                && EVP_DigestUpdate(context, label.utf8Start, label.utf8CodeUnitCount) == 1
                && EVP_DigestUpdate(context, memory, Self.byteCount) == 1
                && EVP_DigestFinal_ex(
                    context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil) == 1
        }
        invariant(isDone, "SHA-256 failed")
        return UInt64(littleEndian: digest.0)
    }

    /// Whether both are the same key, in a time that does not depend on where they differ.
    package func isEqual(to other: SecretKey) -> Bool {
        equalInConstantTime(span, other.span)
    }

    /// Writes the 32 bytes themselves: for a key file that is being made, and nothing else.
    ///
    /// - Precondition: `target` has ``byteCount`` bytes.
    package func reveal(into target: inout MutableSpan<UInt8>) {
        precondition(target.count == Self.byteCount)
        for index in target.indices { unsafe target[index] = memory[index] }
    }

    /// The bytes, for the wrappers of this module.
    var span: Span<UInt8> {
        @_lifetime(borrow self) get {
            let span = unsafe Span(_unsafeStart: memory, count: Self.byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }
}

extension SecretKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "secret key" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Overwrites bytes that were secret, in a way that the optimiser must not leave out.
package func wipe(_ bytes: inout MutableSpan<UInt8>) {
    unsafe bytes.withUnsafeMutableBytes { raw in
        unsafe OPENSSL_cleanse(raw.baseAddress, raw.count)
    }
}

/// Whether both hold the same bytes, in a time that depends on their lengths alone.
///
/// Source: CRYPTO_memcmp(3)
package func equalInConstantTime(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe a.withUnsafeBytes { a in
        unsafe b.withUnsafeBytes { b in
            unsafe a.isEmpty || CRYPTO_memcmp(a.baseAddress, b.baseAddress, a.count) == 0
        }
    }
}
