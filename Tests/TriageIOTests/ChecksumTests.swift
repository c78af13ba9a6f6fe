// Checksums against published vectors, and the processor's code against the portable one.

import Testing
import TriageBase
import TriageIO

/// Serialised, because forcing the portable SHA-256 is for the whole process.
@Suite(.serialized) struct ChecksumTests {
    /// Bytes without a pattern.
    private static let noise: [UInt8] = {
        var random = SeededRandom(seed: 11)
        return (0..<700).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }()

    @Test func crcOfTheCheckStringIsThePublishedOne() {
        let bytes = Array("123456789".utf8)
        #expect(crc32c(bytes.span) == 0xE306_9283)
        #expect(crc32cPortable(bytes.span) == 0xE306_9283)
    }

    /// Source: RFC 3720 §B.4.
    @Test func crcMatchesTheVectorsOfISCSI() {
        #expect(crc32c([UInt8](repeating: 0, count: 32).span) == 0x8A91_36AA)
        #expect(crc32c([UInt8](repeating: 0xFF, count: 32).span) == 0x62A8_AB43)
        #expect(crc32c([UInt8](0..<32).span) == 0x46DD_794E)
        #expect(crc32c([UInt8]((0..<32).reversed()).span) == 0x113F_DB5C)
    }

    @Test func crcOfEveryLengthAndAlignmentIsThePortableOne() {
        for start in 0..<9 {
            for count in 0..<200 {
                let bytes = Self.noise.span.extracting(start..<start + count)
                #expect(crc32c(bytes, after: 7) == crc32cPortable(bytes, after: 7))
            }
        }
    }

    @Test func crcGoesOnWhereItEnded() {
        let whole = crc32c(Self.noise.span)
        for cut in stride(from: 0, through: 700, by: 13) {
            let front = crc32c(Self.noise.span.extracting(0..<cut))
            #expect(crc32c(Self.noise.span.extracting(cut..<700), after: front) == whole)
        }
    }

    /// Source: FIPS 180-4 examples, NIST CAVP.
    @Test(arguments: [false, true])
    func shaMatchesThePublishedVectors(portable: Bool) {
        SHA256.forcePortable(portable)
        defer { SHA256.forcePortable(false) }
        func hash(_ text: String) -> String { SHA256.hash(Array(text.utf8).span).description }
        #expect(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        var million = SHA256()
        let thousand = [UInt8](repeating: UInt8(ascii: "a"), count: 1000)
        for _ in 0..<1000 { million.update(thousand.span) }
        #expect(
            million.finalize().description
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test func shaInPiecesPrefixedAndInPairsIsTheSame() {
        for count in 0..<260 {
            let bytes = Self.noise.span.extracting(0..<count)
            SHA256.forcePortable(true)
            var pieces = SHA256()
            pieces.update([9].span)
            for index in stride(from: 0, to: count, by: 50) {
                pieces.update(bytes.extracting(index..<min(index + 50, count)))
            }
            let expected = pieces.finalize()
            SHA256.forcePortable(false)
            #expect(SHA256.hash(prefix: 9, bytes) == expected)
            for other in [0, 1, 54, 55, 56, 63, 64, 119, 128, 200] {
                let second = Self.noise.span.extracting(300..<300 + other)
                let pair = SHA256.hashPair(prefix: 9, bytes, second)
                #expect(pair.0 == expected)
                #expect(pair.1 == SHA256.hash(prefix: 9, second))
            }
        }
    }

    @Test func randomWordsDiffer() throws {
        let first = try systemRandomWords()
        let second = try systemRandomWords()
        #expect(first != second)
    }
}
