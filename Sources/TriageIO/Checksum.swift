// CRC32C and SHA-256 over borrowed bytes, by the processor's own instructions where it has them.
// Knows nothing of what is checked, nor why.

internal import CTriageShims
internal import Glibc
package import TriageBase

/// The CRC32C of `bytes`.
///
/// - Parameters:
///   - bytes: What is summed.
///   - previous: The CRC of the bytes before them; 0 at the start.
/// - Returns: The CRC of both together.
/// - Complexity: O(count): about 35 ns for 300 bytes with SSE 4.2.
///
/// Source: RFC 3720 §B.4
@inline(__always)
package func crc32c(_ bytes: Span<UInt8>, after previous: UInt32 = 0) -> UInt32 {
    unsafe bytes.withUnsafeBytes { raw in
        unsafe CTriageShims_crc32c(
            previous, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
    }
}

/// The CRC32C of `bytes` by table, whatever the processor has: the oracle of ``crc32c(_:after:)``.
package func crc32cPortable(_ bytes: Span<UInt8>, after previous: UInt32 = 0) -> UInt32 {
    unsafe bytes.withUnsafeBytes { raw in
        unsafe CTriageShims_crc32c_portable(
            previous, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
    }
}

/// SHA-256 over bytes that come in pieces.
///
/// Source: FIPS 180-4 §6.2
package struct SHA256: Sendable {
    private var context = CTriageShims_sha256()

    /// Starts with nothing hashed.
    package init() {
        unsafe CTriageShims_sha256_init(&context)
    }

    /// Adds `bytes`.
    package mutating func update(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBytes { raw in
            unsafe CTriageShims_sha256_update(
                &context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
        }
    }

    /// Adds the bytes of a digest.
    package mutating func update(_ digest: Digest) {
        digest.withBytes { bytes in update(bytes) }
    }

    /// The digest of everything added.
    package func finalize() -> Digest {
        var context = context
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe CTriageShims_sha256_final(
                &context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
        return Digest(littleEndian: words)
    }

    /// The digest of `bytes`.
    package static func hash(_ bytes: Span<UInt8>) -> Digest {
        var hash = SHA256()
        hash.update(bytes)
        return hash.finalize()
    }

    /// The digest of one byte followed by `bytes`: RFC 9162 leaves and nodes.
    @inline(__always)
    package static func hash(prefix: UInt8, _ bytes: Span<UInt8>) -> Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe bytes.withUnsafeBytes { source in
                unsafe CTriageShims_sha256_prefixed(
                    prefix, source.baseAddress?.assumingMemoryBound(to: UInt8.self), source.count,
                    raw.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
        }
        return Digest(littleEndian: words)
    }

    /// Chains the leaves of records that stand one after the other on `chain`.
    ///
    /// A record is a header whose second word is the payload's length, then the payload, padded to
    /// eight bytes; its leaf leaves out the header's first eight bytes. Leaves are hashed two at a
    /// time, which takes a third less where the processor hashes by itself.
    ///
    /// - Parameters:
    ///   - chain: The chain hash before the first record.
    ///   - records: Whole records whose lengths were checked.
    ///   - headerBytes: Bytes of a record's header.
    ///   - each: Gets the chain hash after each record.
    /// - Returns: The chain hash after the last record.
    ///
    /// Source: the journal's FORMAT.md §4 "Chain"
    @inline(__always)
    package static func chain(
        _ chain: Digest, records: Span<UInt8>, headerBytes: Int, _ each: (Digest) -> Void = { _ in }
    ) -> Digest {
        var chain = chain
        var offset = 0
        while offset < records.count {
            let end = offset + headerBytes + Int(records.loadUInt32(at: offset + 4))
            let next = (end + 7) & ~7
            guard next < records.count else {
                chain = hash(
                    prefix: 1, chain, hash(prefix: 0, records.extracting(offset + 8..<end)))
                each(chain)
                break
            }
            let nextEnd = next + headerBytes + Int(records.loadUInt32(at: next + 4))
            let pair = hashPair(
                prefix: 0, records.extracting(offset + 8..<end),
                records.extracting(next + 8..<nextEnd))
            chain = hash(prefix: 1, chain, pair.0)
            each(chain)
            chain = hash(prefix: 1, chain, pair.1)
            each(chain)
            offset = (nextEnd + 7) & ~7
        }
        return chain
    }

    /// The digests of one byte followed by `first`, and of the same byte followed by `second`.
    @inline(__always)
    package static func hashPair(
        prefix: UInt8, _ first: Span<UInt8>, _ second: Span<UInt8>
    ) -> (Digest, Digest) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var others = words
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe withUnsafeMutableBytes(of: &others) { rawOther in
                unsafe first.withUnsafeBytes { a in
                    unsafe second.withUnsafeBytes { b in
                        unsafe CTriageShims_sha256_prefixed_pair(
                            prefix, a.baseAddress?.assumingMemoryBound(to: UInt8.self), a.count,
                            b.baseAddress?.assumingMemoryBound(to: UInt8.self), b.count,
                            raw.baseAddress?.assumingMemoryBound(to: UInt8.self),
                            rawOther.baseAddress?.assumingMemoryBound(to: UInt8.self))
                    }
                }
            }
        }
        return (Digest(littleEndian: words), Digest(littleEndian: others))
    }

    /// Makes every hash use the portable code, or the processor's own again: for tests only.
    package static func forcePortable(_ portable: Bool) {
        CTriageShims_sha256_force_portable(portable ? 1 : 0)
    }

    /// The digest of one byte followed by two digests.
    @inline(__always)
    package static func hash(prefix: UInt8, _ left: Digest, _ right: Digest) -> Digest {
        var pair = (left.littleEndianWords, right.littleEndianWords)
        return unsafe withUnsafeBytes(of: &pair) { raw in
            unsafe hash(prefix: prefix, Span<UInt8>(_unsafeBytes: raw))
        }
    }
}

extension Digest {
    fileprivate init(littleEndian words: (UInt64, UInt64, UInt64, UInt64)) {
        self.init(
            UInt64(littleEndian: words.0), UInt64(littleEndian: words.1),
            UInt64(littleEndian: words.2), UInt64(littleEndian: words.3))
    }

    fileprivate var littleEndianWords: (UInt64, UInt64, UInt64, UInt64) {
        (
            words.0.littleEndian, words.1.littleEndian, words.2.littleEndian, words.3.littleEndian
        )
    }

    /// Lends the 32 bytes.
    package func withBytes<R>(_ body: (Span<UInt8>) -> R) -> R {
        var words = littleEndianWords
        return unsafe withUnsafeBytes(of: &words) { raw in
            unsafe body(Span<UInt8>(_unsafeBytes: raw))
        }
    }
}

/// Sixteen bytes that nobody can foretell, as two words.
///
/// - Throws: ``IOError``: `.random`.
///
/// Source: getrandom(2)
package func systemRandomWords() throws(IOError) -> (UInt64, UInt64) {
    var words: (UInt64, UInt64) = (0, 0)
    let result = unsafe withUnsafeMutableBytes(of: &words) { raw in
        unsafe CTriageShims_getrandom(
            raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
    }
    guard result == 0 else { throw IOError(.random, path: "", .current) }
    return words
}

extension PageBuffer {
    /// The SHA-256 of the bytes in `range`.
    package borrowing func sha256(_ range: Range<Int>) -> Digest {
        SHA256.hash(span(range))
    }
}
