// HKDF: many keys out of one, each for a purpose of its own. Knows no purpose.

internal import COpenSSL

/// Fills `output` with key material.
///
/// - Parameters:
///   - input: The secret that it is made from.
///   - salt: Random, need not be secret; may be empty.
///   - info: What the output is for; may be empty.
///   - output: 1 to 8,160 bytes (255 hashes).
/// - Throws: ``CryptoError``: `.unavailable`.
///
/// Source: RFC 5869 §2; EVP_PKEY_CTX_set_hkdf_md(3)
func deriveBytes(
    from input: Span<UInt8>, salt: Span<UInt8>, info: Span<UInt8>,
    into output: inout MutableSpan<UInt8>
) throws(CryptoError) {
    ERR_clear_error()
    // Frees what it was given wiped.
    guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil) else { throw .fromQueue() }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var count = output.count
    let isDone = unsafe input.withUnsafeBufferPointer { input in
        unsafe salt.withUnsafeBufferPointer { salt in
            unsafe info.withUnsafeBufferPointer { info in
                unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe EVP_PKEY_derive_init(context) == 1
                        && EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1
                        && EVP_PKEY_CTX_set1_hkdf_key(
                            context, input.baseAddress, Int32(input.count)) == 1
                        && (salt.isEmpty
                            || EVP_PKEY_CTX_set1_hkdf_salt(
                                context, salt.baseAddress, Int32(salt.count)) == 1)
                        && (info.isEmpty
                            || EVP_PKEY_CTX_add1_hkdf_info(
                                context, info.baseAddress, Int32(info.count)) == 1)
                        && EVP_PKEY_derive(context, output.baseAddress, &count) == 1
                }
            }
        }
    }
    guard isDone, count == output.count else { throw .fromQueue() }
}
