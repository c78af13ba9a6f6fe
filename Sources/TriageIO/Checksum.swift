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

    /// The digest of one byte followed by `bytes`.
    @inline(__always)
    package static func hash(prefix: UInt8, _ bytes: Span<UInt8>) -> Digest {
        var prefix = prefix
        return unsafe withUnsafeBytes(of: &prefix) { raw in
            unsafe hash(head: Span<UInt8>(_unsafeBytes: raw), bytes)
        }
    }

    /// The digest of `head` followed by `bytes`, which need not stand together.
    @inline(__always)
    package static func hash(head: Span<UInt8>, _ bytes: Span<UInt8>) -> Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe head.withUnsafeBufferPointer { head in
                unsafe bytes.withUnsafeBufferPointer { source in
                    unsafe CTriageShims_sha256_joined(
                        head.baseAddress, head.count, source.baseAddress, source.count,
                        raw.baseAddress?.assumingMemoryBound(to: UInt8.self))
                }
            }
        }
        return Digest(littleEndian: words)
    }

    /// The digests of `head` followed by `bytes`, and of `otherHead` followed by `otherBytes`.
    ///
    /// Two messages of about one length take a third less time than one after the other where the
    /// processor hashes by itself.
    @inline(__always)
    package static func hashPair(
        head: Span<UInt8>, _ bytes: Span<UInt8>, otherHead: Span<UInt8>, _ otherBytes: Span<UInt8>
    ) -> (Digest, Digest) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var others = words
        unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe withUnsafeMutableBytes(of: &others) { rawOther in
                unsafe head.withUnsafeBufferPointer { head in
                    unsafe bytes.withUnsafeBufferPointer { a in
                        unsafe otherHead.withUnsafeBufferPointer { otherHead in
                            unsafe otherBytes.withUnsafeBufferPointer { b in
                                unsafe CTriageShims_sha256_joined_pair(
                                    head.baseAddress, head.count, a.baseAddress, a.count,
                                    otherHead.baseAddress, otherHead.count, b.baseAddress, b.count,
                                    raw.baseAddress?.assumingMemoryBound(to: UInt8.self),
                                    rawOther.baseAddress?.assumingMemoryBound(to: UInt8.self))
                            }
                        }
                    }
                }
            }
        }
        return (Digest(littleEndian: words), Digest(littleEndian: others))
    }

    /// Hashes neighbouring digests to the nodes above them in a tree of RFC 9162, two nodes at a
    /// time.
    ///
    /// - Parameters:
    ///   - digests: The digests of one level from `source` on; the nodes go to `target` and behind.
    ///   - source: Where the first pair stands.
    ///   - count: How many pairs.
    ///   - target: `source`, or the place behind it: no pair is overwritten before it was read.
    ///
    /// Source: RFC 9162 §2.1.1
    package static func hashNodes(
        _ digests: inout [Digest], from source: Int, count: Int, to target: Int
    ) {
        precondition(source >= 0 && count >= 0 && source + 2 * count <= digests.count)
        precondition(target >= source && target <= source + 1)
        if count == 0 { return }
        #if _endian(little)
            // A digest in memory is its 32 bytes.
            unsafe digests.withUnsafeMutableBytes { raw in
                guard let base = unsafe raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
                else { return }
                unsafe CTriageShims_sha256_nodes(base + 32 * source, count, base + 32 * target)
            }
        #else
            for index in 0..<count {
                digests[target + index] = hash(
                    prefix: 1, digests[source + 2 * index], digests[source + 2 * index + 1])
            }
        #endif
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
