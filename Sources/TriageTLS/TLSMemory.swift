// Where OpenSSL's memory comes from. Knows nothing of what the blocks hold.

internal import CTriageShims

/// The memory of OpenSSL in this process.
package enum TLSMemory {
    /// Lets each thread keep what OpenSSL frees in it for what OpenSSL allocates there next.
    ///
    /// A handshake then takes a tenth less of the processor. A thread keeps what the handshakes it
    /// had under way at once took, up to 128 KiB of each of 188 sizes, and gives it back when it
    /// ends. Secrets are overwritten by OpenSSL before it frees them, as always.
    ///
    /// Call it before anything else of OpenSSL: once that has allocated it keeps its allocator.
    ///
    /// - Returns: Whether OpenSSL takes its memory from here.
    ///
    /// Source: CRYPTO_set_mem_functions(3).
    @discardableResult
    package static func keepFreed() -> Bool { CTriageShims_keep_tls_memory() == 1 }
}
