// What is packed comes out again; what is damaged, cut off or too large does not, and leaves the
// state fit for the next message.

import Testing
import TriageBase
import TriageGzip

@Suite struct GzipTests {
    private static let roomy = InflateLimits(
        bytesMax: 4 << 20, ratioMax: 100, ratioFreeBytes: 4 << 20)

    private static func pack(_ bytes: [UInt8]) throws -> [UInt8] {
        let deflater = try #require(Deflater())
        let packed = deflater.deflate(bytes.span)
        return try #require(packed)
    }

    private static func unpack(
        _ bytes: [UInt8], _ limits: InflateLimits = roomy, _ inflater: Inflater? = nil
    ) throws -> [UInt8] {
        let inflater = try #require(inflater ?? Inflater())
        return try inflater.inflate(bytes.span, limits)
    }

    private static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    @Test(arguments: [0, 1, 5, 100, 16_383, 16_384, 16_385, 100_000, 1 << 20])
    func packed_comesOutAgain(count: Int) throws {
        let deflater = try #require(Deflater())
        let inflater = try #require(Inflater())
        for message in [Self.noise(count, seed: 7), [UInt8](repeating: 0, count: count)] {
            let packed = deflater.deflate(message.span) ?? []
            let unpacked = try inflater.inflate(packed.span, Self.roomy)
            #expect(unpacked == message)
        }
    }

    @Test func packed_isGzip() throws {
        let packed = try Self.pack([1, 2, 3])
        #expect(packed.prefix(3) == [0x1F, 0x8B, 8])
    }

    @Test func aMessageAtItsBound_isTaken_oneByteMoreIsNot() throws {
        let limits = InflateLimits(bytesMax: 20_000, ratioMax: 100, ratioFreeBytes: 20_000)
        let good = try Self.pack(Self.noise(20_000, seed: 1))
        let unpacked = try Self.unpack(good, limits)
        #expect(unpacked.count == 20_000)
        let long = try Self.pack(Self.noise(20_001, seed: 1))
        #expect(throws: InflateError.tooLarge(limit: 20_000)) { try Self.unpack(long, limits) }
    }

    @Test func aBomb_isGivenUpByItsRatio() throws {
        let limits = InflateLimits(bytesMax: 1 << 20, ratioMax: 100, ratioFreeBytes: 4_096)
        let bomb = try Self.pack([UInt8](repeating: 0, count: 1 << 20))
        #expect(bomb.count * 100 < 1 << 20, "the test needs a message that packs well")
        #expect(throws: InflateError.ratio(limit: 100)) { try Self.unpack(bomb, limits) }
        // The same ratio is harmless in a small message.
        let small = try Self.pack([UInt8](repeating: 0, count: 4_096))
        let unpacked = try Self.unpack(small, limits)
        #expect(unpacked.count == 4_096)
    }

    @Test func everyCut_isCorrupt() throws {
        let inflater = try #require(Inflater())
        let packed = try Self.pack(Array("a case is a matter under review".utf8))
        for count in 0..<packed.count {
            #expect(throws: InflateError.corrupt) {
                try Self.unpack(Array(packed.prefix(count)), Self.roomy, inflater)
            }
        }
        let whole = try Self.unpack(packed, Self.roomy, inflater)
        #expect(whole.count == 31)
    }

    @Test func damageInTheChecksum_isCorrupt() throws {
        var packed = try Self.pack(Self.noise(500, seed: 3))
        packed[packed.count - 6] ^= 1
        #expect(throws: InflateError.corrupt) { try Self.unpack(packed) }
    }

    @Test func somethingBehindTheMessage_isCorrupt() throws {
        let packed = try Self.pack([9, 9, 9])
        #expect(throws: InflateError.corrupt) { try Self.unpack(packed + [0]) }
        #expect(throws: InflateError.corrupt) { try Self.unpack(packed + packed) }
    }

    @Test func noGzip_isCorrupt() throws {
        #expect(throws: InflateError.corrupt) { try Self.unpack(Self.noise(300, seed: 9)) }
        // Raw zlib, which gRPC calls deflate, is another encoding.
        #expect(throws: InflateError.corrupt) { try Self.unpack([0x78, 0x9C, 3, 0, 0, 0, 0, 1]) }
    }

    @Test func anyBytes_neitherTrapNorPassTheirBound() throws {
        var random = SeededRandom(seed: 0x677A)
        let inflater = try #require(Inflater())
        let limits = InflateLimits(bytesMax: 8_192, ratioMax: 100, ratioFreeBytes: 8_192)
        let packed = try Self.pack(
            Self.noise(2_000, seed: 11) + [UInt8](repeating: 5, count: 6_000))
        for _ in 0..<2_000 {
            var damaged = packed
            for _ in 0...(random.next() % 4) {
                damaged[Int(random.next() % UInt64(damaged.count))] = UInt8(
                    truncatingIfNeeded: random.next())
            }
            if let out = try? inflater.inflate(damaged.span, limits) { #expect(out.count <= 8_192) }
        }
        let whole = try inflater.inflate(packed.span, limits)
        #expect(whole.count == 8_000)
    }
}
