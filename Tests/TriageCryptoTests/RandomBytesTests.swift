// The buffered source: nothing comes twice, portions do not depend on how they are asked for, and a
// seed replays.

import Testing
import TriageBase
import TriageCrypto

@Suite struct RandomBytesTests {
    @Test func noPortionComesTwice_alsoAcrossRefills() {
        var random = RandomBytes()
        var words: Set<UInt64> = []
        for _ in 0..<4_096 { words.insert(random.word()) }
        #expect(words.count == 4_096)
        var nonces: Set<Nonce> = []
        for _ in 0..<4_096 { nonces.insert(random.nonce()) }
        #expect(nonces.count == 4_096)
    }

    @Test func twoSources_shareNothing() {
        var one = RandomBytes()
        var other = RandomBytes()
        let words = Set((0..<600).map { _ in one.word() })
        #expect((0..<600).allSatisfy { _ in !words.contains(other.word()) })
    }

    @Test(arguments: [1, 3, 8, 31, 4_095, 4_096, 4_097, 10_000])
    func aSeed_replaysTheSameBytes_whateverThePortions(portion: Int) {
        var whole = [UInt8](repeating: 0, count: 20_000)
        var random = RandomBytes(replaying: 9)
        var span = whole.mutableSpan
        random.fill(&span)
        var again = RandomBytes(replaying: 9)
        var joined: [UInt8] = []
        while joined.count < whole.count {
            var part = [UInt8](repeating: 0, count: min(portion, whole.count - joined.count))
            var target = part.mutableSpan
            again.fill(&target)
            joined += part
        }
        #expect(joined == whole)
        var third = RandomBytes(replaying: 10)
        #expect(third.word() != RandomBytes.firstWord(of: whole))
    }

    /// A broken buffer would leave zeros or repeat; 64 KiB of fair bytes hold each value 256 times,
    /// give or take 16: below 128 or above 384 is eight deviations away.
    @Test func bytesAreSpreadEvenly() {
        var random = RandomBytes()
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var span = bytes.mutableSpan
        random.fill(&span)
        var counts = [Int](repeating: 0, count: 256)
        for byte in bytes { counts[Int(byte)] += 1 }
        #expect(counts.allSatisfy { (128...384).contains($0) })
    }
}

extension RandomBytes {
    static func firstWord(of bytes: [UInt8]) -> UInt64 {
        bytes[..<8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
