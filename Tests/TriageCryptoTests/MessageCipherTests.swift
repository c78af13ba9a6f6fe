// AES-256-GCM against the published vectors, and against every misuse that a damaged or forged file
// amounts to.

import Testing
import TriageBase
import TriageCrypto

@Suite struct MessageCipherTests {
    /// A vector of NIST's, as McGrew and Viega published it with the mode.
    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        let key: String
        let nonce: String
        let additional: String
        let plain: String
        let sealed: String
        let tag: String
        var testDescription: String { name }
    }

    private static let key16 =
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
    private static let plain16 =
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
    private static let sealed16 =
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"

    /// Test cases 13 to 16: the mode's own cases of a 256-bit key and a 96-bit nonce.
    ///
    /// Source: McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B.
    static let vectors = [
        Vector(
            name: "13: nothing", key: String(repeating: "0", count: 64),
            nonce: String(repeating: "0", count: 24), additional: "", plain: "", sealed: "",
            tag: "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector(
            name: "14: one block of zeros", key: String(repeating: "0", count: 64),
            nonce: String(repeating: "0", count: 24), additional: "",
            plain: String(repeating: "0", count: 32), sealed: "cea7403d4d606b6e074ec5d3baf39d18",
            tag: "d0d1c8a799996bf0265b98b5d48ab919"),
        Vector(
            name: "15: four blocks", key: key16, nonce: "cafebabefacedbaddecaf888",
            additional: "", plain: plain16, sealed: sealed16,
            tag: "b094dac5d93471bdec1a502270e3cc6c"),
        Vector(
            name: "16: a part of a block, additional data", key: key16,
            nonce: "cafebabefacedbaddecaf888",
            additional: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            plain: String(plain16.dropLast(8)), sealed: String(sealed16.dropLast(8)),
            tag: "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]

    @Test(arguments: vectors)
    func publishedVector_holdsBothWays(vector: Vector) throws {
        let key = bytes(hex: vector.key)
        var cipher = try MessageCipher(SecretKey(copying: key.span))
        var message = bytes(hex: vector.plain)
        let additional = bytes(hex: vector.additional)
        let nonce = Nonce(bytes(hex: vector.nonce))
        let tag = seal(&message, &cipher, nonce, additional)
        #expect(hex(message) == vector.sealed)
        #expect(tag == TriageCrypto.Tag(bytes(hex: vector.tag)))
        try open(&message, &cipher, nonce, tag, additional)
        #expect(hex(message) == vector.plain)
    }

    @Test func everyFlippedBit_isRefused_andLeavesZeros() throws {
        var random = RandomBytes(replaying: 1)
        let key = SecretKey(random: &random)
        var cipher = try MessageCipher(key)
        let plain = Array("a report that nobody may change".utf8)
        let additional: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
        let nonce = random.nonce()
        var sealed = plain
        let tag = seal(&sealed, &cipher, nonce, additional)
        for bit in 0..<sealed.count * 8 {
            var changed = sealed
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            expectRefused(&changed, &cipher, nonce, tag, additional)
        }
        for bit in 0..<additional.count * 8 {
            var changed = additional
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            var message = sealed
            expectRefused(&message, &cipher, nonce, tag, changed)
        }
        for bit in 0..<64 {
            var message = sealed
            let low = TriageCrypto.Tag(tag.low ^ 1 << UInt64(bit), tag.high)
            expectRefused(&message, &cipher, nonce, low, additional)
            message = sealed
            let high = TriageCrypto.Tag(tag.low, tag.high ^ 1 << UInt64(bit))
            expectRefused(&message, &cipher, nonce, high, additional)
            message = sealed
            let other = Nonce(nonce.low ^ 1 << UInt64(bit), nonce.high)
            expectRefused(&message, &cipher, other, tag, additional)
        }
        for bit in 0..<32 {
            var message = sealed
            let other = Nonce(nonce.low, nonce.high ^ 1 << UInt32(bit))
            expectRefused(&message, &cipher, other, tag, additional)
        }
        // None of the refusals has spoilt the context.
        try open(&sealed, &cipher, nonce, tag, additional)
        #expect(sealed == plain)
    }

    @Test func everyCut_isRefused() throws {
        var random = RandomBytes(replaying: 2)
        var cipher = try MessageCipher(SecretKey(random: &random))
        var sealed = [UInt8](repeating: 7, count: 50)
        let tag = seal(&sealed, &cipher, Nonce(1, 1), [9])
        for count in 0..<sealed.count {
            var cut = Array(sealed.prefix(count))
            expectRefused(&cut, &cipher, Nonce(1, 1), tag, [9])
        }
        var longer = sealed + [0]
        expectRefused(&longer, &cipher, Nonce(1, 1), tag, [9])
        expectRefused(&sealed, &cipher, Nonce(1, 1), tag, [])
    }

    @Test func anotherKey_isRefused() throws {
        var random = RandomBytes()
        var mine = try MessageCipher(SecretKey(random: &random))
        var theirs = try MessageCipher(SecretKey(random: &random))
        var message: [UInt8] = [1, 2, 3]
        let tag = seal(&message, &mine, Nonce(0, 0), [])
        expectRefused(&message, &theirs, Nonce(0, 0), tag, [])
    }

    /// One context serves messages of all lengths in both directions, in any order, and gives what
    /// a fresh one gives.
    @Test func oneContext_givesWhatFreshOnesGive() throws {
        var random = SeededRandom(seed: 3)
        var source = RandomBytes(replaying: 3)
        let key = SecretKey(random: &source)
        var reused = try MessageCipher(key)
        for _ in 0..<300 {
            let plain = [UInt8](
                repeating: UInt8(truncatingIfNeeded: random.next()),
                count: Int(random.next() % 5_000))
            let additional = [UInt8](repeating: 5, count: Int(random.next() % 40))
            let nonce = source.nonce()
            var once = plain
            var again = plain
            var fresh = try MessageCipher(key)
            let tag = seal(&once, &reused, nonce, additional)
            #expect(tag == seal(&again, &fresh, nonce, additional))
            #expect(once == again)
            try open(&once, &reused, nonce, tag, additional)
            #expect(once == plain)
        }
    }
}

func seal(
    _ message: inout [UInt8], _ cipher: inout MessageCipher, _ nonce: Nonce, _ additional: [UInt8]
) -> TriageCrypto.Tag {
    var span = message.mutableSpan
    return cipher.seal(&span, nonce: nonce, additional: additional.span)
}

func open(
    _ message: inout [UInt8], _ cipher: inout MessageCipher, _ nonce: Nonce,
    _ tag: TriageCrypto.Tag,
    _ additional: [UInt8]
) throws(CryptoError) {
    var span = message.mutableSpan
    try cipher.open(&span, nonce: nonce, tag: tag, additional: additional.span)
}

func expectRefused(
    _ message: inout [UInt8], _ cipher: inout MessageCipher, _ nonce: Nonce,
    _ tag: TriageCrypto.Tag,
    _ additional: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
) {
    do throws(CryptoError) {
        try open(&message, &cipher, nonce, tag, additional)
        Issue.record("opened what was not sealed so", sourceLocation: sourceLocation)
    } catch {
        #expect(error == .authenticationFailed, sourceLocation: sourceLocation)
        #expect(message.allSatisfy { $0 == 0 }, sourceLocation: sourceLocation)
    }
}

func bytes(hex: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var digits = hex.utf8.makeIterator()
    while let high = digits.next(), let low = digits.next() {
        bytes.append(nibble(high) << 4 | nibble(low))
    }
    return bytes
}

private func nibble(_ digit: UInt8) -> UInt8 {
    digit <= UInt8(ascii: "9") ? digit - UInt8(ascii: "0") : digit - UInt8(ascii: "a") + 10
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let text = String(byte, radix: 16)
        return text.count == 1 ? "0" + text : text
    }.joined()
}

private func word(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
    bytes[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

extension Nonce {
    init(_ bytes: [UInt8]) { self.init(word(bytes, 0..<8), UInt32(word(bytes, 8..<12))) }
}

extension TriageCrypto.Tag {
    init(_ bytes: [UInt8]) { self.init(word(bytes, 0..<8), word(bytes, 8..<16)) }
}
