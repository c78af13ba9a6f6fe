// Checksums against published vectors, and the processor's code against the portable one.

import Testing
import TriageBase
import TriageIO

/// Serialised, because forcing the portable SHA-256 is for the whole process.
@Suite(.serialized) struct ChecksumTests {
    /// Bytes without a pattern.
    private static let noise: [UInt8] = {
        var random = SeededRandom(seed: 11)
        return (0..<800).map { _ in UInt8(truncatingIfNeeded: random.next()) }
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
            #expect(crc32c(Self.noise.span.extracting(droppingFirst: cut), after: front) == whole)
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

    /// The digest of both parts, by the portable code and in pieces.
    private func slowly(_ head: Span<UInt8>, _ bytes: Span<UInt8>) -> Digest {
        SHA256.forcePortable(true)
        defer { SHA256.forcePortable(false) }
        var pieces = SHA256()
        pieces.update(head)
        for index in stride(from: 0, to: bytes.count, by: 50) {
            pieces.update(bytes.extracting(index..<min(index + 50, bytes.count)))
        }
        return pieces.finalize()
    }

    @Test func shaInPiecesJoinedAndInPairsIsTheSame() {
        let noise = Self.noise.span
        for head in [0, 1, 25, 57, 63, 64, 65, 89, 128, 537] {
            for count in 0..<200 {
                let (first, bytes) = (
                    noise.extracting(0..<head), noise.extracting(600..<600 + count)
                )
                let expected = slowly(first, bytes)
                #expect(SHA256.hash(head: first, bytes) == expected)
                for other in [0, 1, 54, 55, 56, 63, 64, 119, 128, 200] {
                    let second = noise.extracting(300..<300 + other)
                    let pair = SHA256.hashPair(head: first, bytes, otherHead: first, second)
                    #expect(pair.0 == expected)
                    #expect(pair.1 == SHA256.hash(head: first, second))
                }
            }
        }
        #expect(
            SHA256.hash(prefix: noise[0], noise.extracting(1..<9))
                == SHA256.hash(noise.extracting(0..<9)))
    }

    @Test func nodesOfALevelAreTheSameInPlaceAndOneByOne() {
        let level = (0..<41).map {
            SHA256.hash(prefix: UInt8($0), Self.noise.span.extracting(0..<9))
        }
        for source in 0...2 {
            for count in 0..<19 {
                for target in source...source + 1 {
                    var digests = level
                    SHA256.hashNodes(&digests, from: source, count: count, to: target)
                    for index in 0..<count {
                        let (left, right) = (
                            level[source + 2 * index], level[source + 2 * index + 1]
                        )
                        #expect(digests[target + index] == SHA256.hash(prefix: 1, left, right))
                    }
                    #expect(digests[..<target] == level[..<target])
                }
            }
        }
    }

    @Test func randomWordsDiffer() throws {
        let first = try systemRandomWords()
        let second = try systemRandomWords()
        #expect(first != second)
    }
}
