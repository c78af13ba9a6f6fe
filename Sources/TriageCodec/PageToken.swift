// Page tokens: a place in a list, sealed so that it is good only for the list, filter and caller
// that it was made for. Knows nothing of the lists.

internal import TriageBase
internal import TriageDomain

/// The secret with which page tokens are sealed; fresh at each start is enough.
///
/// A token that was sealed with another key is refused, and its list must be started again.
package struct PageTokenKey: Sendable {
    let first: UInt64
    let second: UInt64

    /// Draws a key from the system's generator.
    package static func random() -> PageTokenKey {
        var system = SystemRandomNumberGenerator()
        return PageTokenKey(first: system.next(), second: system.next())
    }

    /// Takes 128 unpredictable bits.
    package init(first: UInt64, second: UInt64) {
        self.first = first
        self.second = second
    }
}

/// What a page token is bound to: caller and filter.
package struct PageBinding: Hashable, Sendable {
    let hash: Hash128

    /// Binds to a caller and the fingerprint of its filter.
    init(principal: Principal, filter: Hash128) {
        let name = Array(principal.text.utf8)
        hash = Hash128(of: name.span, seed: 1).combined(with: filter)
    }
}

/// Sealed places in lists.
///
/// A token is 48 lower-case hexadecimal digits: the place (16 bytes) and the seal (8 bytes). The
/// seal is SipHash-2-4 over list, place and binding, so that a token can be neither made up nor
/// moved to another caller, list or filter. Every page is authorised all the same.
enum PageToken {
    /// Which list a token belongs to.
    enum List: UInt64 {
        case cases = 1
        case disclosures = 2
        case evidence = 3
        case holds = 4
    }

    static func seal(
        _ list: List, high: UInt64, low: UInt64, _ binding: PageBinding, _ key: PageTokenKey
    ) -> String {
        hexText(high) + hexText(low) + hexText(tag(list, high, low, binding, key))
    }

    /// Opens a token; nil for one that was not sealed for this list and binding with this key.
    static func open(
        _ text: Span<UInt8>, _ list: List, _ binding: PageBinding, _ key: PageTokenKey
    ) -> (high: UInt64, low: UInt64)? {
        guard
            text.count == 48,
            let high = ResourceName.parseEtag(text.extracting(0..<16)),
            let low = ResourceName.parseEtag(text.extracting(16..<32)),
            let seal = ResourceName.parseEtag(text.extracting(32..<48)),
            seal == tag(list, high, low, binding, key)
        else { return nil }
        return (high, low)
    }

    private static func tag(
        _ list: List, _ high: UInt64, _ low: UInt64, _ binding: PageBinding, _ key: PageTokenKey
    ) -> UInt64 {
        var hash = SipHash(key.first, key.second)
        for word in [list.rawValue, high, low, binding.hash.high, binding.hash.low] {
            hash.absorb(word)
        }
        return hash.finish(byteCount: 40)
    }
}

/// SipHash-2-4 over whole 64-bit words: a keyed hash that cannot be forged without the key.
///
/// Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012.
struct SipHash {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(_ first: UInt64, _ second: UInt64) {
        v0 = first ^ 0x736F_6D65_7073_6575
        v1 = second ^ 0x646F_7261_6E64_6F6D
        v2 = first ^ 0x6C79_6765_6E65_7261
        v3 = second ^ 0x7465_6462_7974_6573
    }

    mutating func absorb(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    /// The hash of `byteCount` bytes absorbed, a multiple of eight.
    mutating func finish(byteCount: Int) -> UInt64 {
        absorb(UInt64(byteCount & 0xFF) << 56)
        v2 ^= 0xFF
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    private mutating func round() {
        v0 = v0 &+ v1
        v1 = (v1 << 13 | v1 >> 51) ^ v0
        v0 = v0 << 32 | v0 >> 32
        v2 = v2 &+ v3
        v3 = (v3 << 16 | v3 >> 48) ^ v2
        v0 = v0 &+ v3
        v3 = (v3 << 21 | v3 >> 43) ^ v0
        v2 = v2 &+ v1
        v1 = (v1 << 17 | v1 >> 47) ^ v2
        v2 = v2 << 32 | v2 >> 32
    }
}
