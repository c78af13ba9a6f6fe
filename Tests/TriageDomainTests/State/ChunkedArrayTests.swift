import Testing
import TriageBase
import TriageDomain

@Suite struct ChunkedArrayTests {
    /// A struct with counted references, as cases are.
    struct Row: Equatable, Sendable {
        var number: Int
        var tags: [Int]

        init(_ number: Int) {
            self.number = number
            tags = [number, -number]
        }
    }

    static func filled(_ count: Int, from start: Int = 0) -> ChunkedArray<Row> {
        var rows = ChunkedArray<Row>(startIndex: start)
        for number in start..<start + count { rows.append(Row(number)) }
        return rows
    }

    @Test(arguments: [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 140_000])
    func holdsWhatWasAppended(count: Int) {
        let rows = Self.filled(count)
        #expect(rows.count == count)
        #expect(rows.elementsEqual((0..<count).lazy.map { Row($0) }))
        var next = 0
        rows.forEach {
            if $0.number == next { next += 1 }
        }
        #expect(next == count)
    }

    @Test(arguments: Seeds.all, [0, 1, 300])
    func runsAreAsOneByOne(seed: UInt64, start: Int) {
        var random = SeededRandom(seed: seed)
        var rows = ChunkedArray<Row>(startIndex: start)
        let sizes = [0, 1, 100, 255, 256, 257, 700]
        while rows.count < 70_000 {
            let first = rows.endIndex
            // To the end of a chunk, so that what follows begins one; or anything.
            let left = 256 - rows.count % 256
            let size = random.next() % 2 == 0 ? left : sizes[Int(random.next() % 7)]
            let run = ContiguousArray((first..<first + size).map { Row($0) })
            rows.append(run: run)
            if random.next() % 5 == 0 { rows.append(Row(rows.endIndex)) }
        }
        #expect(rows.startIndex == start)
        #expect(rows.elementsEqual((start..<rows.endIndex).lazy.map { Row($0) }))
        let copy = rows
        rows[start + 300].tags = []
        #expect(copy[start + 300] == Row(start + 300))
    }

    @Test(arguments: Seeds.all)
    func copiesNeverChange(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var rows = Self.filled(1_000)
        var plain = Array(rows)
        var copies: [(taken: ChunkedArray<Row>, expected: [Row])] = []
        for step in 0..<5_000 {
            if step % 500 == 0 { copies.append((rows, plain)) }
            switch random.next() % 4 {
            case 0:
                rows.append(Row(step))
                plain.append(Row(step))
            default:
                let place = Int.random(in: plain.indices, using: &random)
                rows[place].tags.append(step)
                plain[place].tags.append(step)
            }
        }
        #expect(Array(rows) == plain, "seed \(seed)")
        for (taken, expected) in copies { #expect(Array(taken) == expected, "seed \(seed)") }
    }

    /// Knows whether any copy of it exists.
    struct Probe {
        final class Token {}
        var token = Token()
        mutating func isAlone() -> Bool { isKnownUniquelyReferenced(&token) }
    }

    @Test func writesInPlaceCopyNothing() {
        var probes = ChunkedArray<Probe>()
        for _ in 0..<600 { probes.append(Probe()) }
        let before = probes[7].isAlone()
        var copy: ChunkedArray<Probe>? = probes
        #expect(copy?.count == 600)
        // The write copies the chunk, so both have the token then.
        let beside = probes[7].isAlone()
        copy = nil
        let after = probes[7].isAlone()
        #expect(before && !beside && after)
    }

    @concurrent
    static func sumFiveTimes(_ rows: ChunkedArray<Row>) async -> Int {
        var sum = 0
        for _ in 0..<5 { rows.forEach { sum += $0.tags[0] + $0.tags.count } }
        return sum
    }

    @Test func aCopyCanBeReadElsewhereDuringWrites() async {
        var rows = Self.filled(70_000)
        let copy = rows
        async let sum = Self.sumFiveTimes(copy)
        for place in rows.indices { rows[place].tags = [0, 0, 0] }
        let expected = 5 * (0..<70_000).reduce(0) { $0 + $1 + 2 }
        #expect(await sum == expected)
        #expect(rows[69_999].tags.count == 3)
    }

    @Test(arguments: [0, 100, 256, 65_536 * 3 + 17], Seeds.all)
    func removingThePrefixKeepsIndices(start: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var rows = ChunkedArray<Row>(startIndex: start)
        var first = start
        for _ in 0..<60 {
            for _ in 0..<Int.random(in: 0..<6_000, using: &random) {
                rows.append(Row(rows.endIndex))
            }
            let kept = rows
            let step = Int.random(in: 0...rows.count, using: &random)
            rows.removePrefix(upTo: first + step)
            #expect(kept.startIndex == first && kept.count == rows.count + step)
            #expect(kept.first?.number == (kept.isEmpty ? nil : first))
            first += step
            #expect(rows.startIndex == first)
            for place in [
                rows.startIndex, (rows.startIndex + rows.endIndex) / 2, rows.endIndex - 1,
            ]
            where rows.indices.contains(place) {
                #expect(rows[place] == Row(place), "seed \(seed)")
            }
            rows.forEach {
                if $0.number < first { Issue.record("a forgotten element is there, seed \(seed)") }
            }
        }
    }

    @Test func forgottenElementsAreFreed() {
        final class Token {}
        var tokens = ChunkedArray<Token>()
        weak var early: Token?
        do {
            let token = Token()
            early = token
            tokens.append(token)
        }
        for _ in 0..<600 { tokens.append(Token()) }
        #expect(early != nil)
        tokens.removePrefix(upTo: 255)
        #expect(early != nil, "its chunk still has an element")
        tokens.removePrefix(upTo: 256)
        #expect(early == nil)
    }

    @Test func readingAForgottenElement_traps() async {
        await #expect(processExitsWith: .failure) {
            var rows = ChunkedArrayTests.filled(10)
            rows.removePrefix(upTo: 5)
            _ = rows[4]
        }
    }
}
