import Testing
import TriageBase
import TriageDomain

@Suite struct HashIndexTests {
    /// Few hashes, so that many values share one and probes run into each other and around the end.
    @Test(arguments: [0, 3, 8], Seeds.all)
    func agreesWithADictionaryOfSets(segmentBits: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var table = HashIndex(segmentBits: segmentBits)
        var plain: [UInt64: Set<UInt64>] = [:]
        var stored = 0
        for step in 0..<30_000 {
            let hash = Self.hash(&random)
            let value = random.next() % 12
            let isThere = plain[hash]?.contains(value) == true
            // Grows for two thirds of the run, then shrinks.
            switch (random.next() % 10, step < 20_000) {
            case (0..<6, true), (0..<2, false):
                guard !isThere else { continue }
                table.insert(hash, value: value)
                plain[hash, default: []].insert(value)
                stored += 1
            case (6, _):
                let new = value + 100 + UInt64(step)
                #expect(table.replace(hash, value: value, by: new) == isThere)
                guard isThere else { continue }
                plain[hash]?.remove(value)
                plain[hash]?.insert(new)
            default:
                let victim = plain[hash]?.randomElement(using: &random) ?? value
                let expected = plain[hash]?.remove(victim) != nil
                #expect(table.remove(hash, value: victim) == expected, "seed \(seed) step \(step)")
                if expected { stored -= 1 }
            }
            #expect(table.count == stored)
            Self.compare(table, plain, hash, "seed \(seed) step \(step)")
        }
        for hash in plain.keys { Self.compare(table, plain, hash, "seed \(seed) at the end") }
    }

    /// One of 2,000 hashes; half of them end in the same low bits.
    static func hash(_ random: inout SeededRandom) -> UInt64 {
        let number = random.next() % 2_000
        return number % 2 == 0 ? mix64(number) : mix64(number) | 0xFFFF
    }

    static func compare(
        _ table: HashIndex, _ plain: [UInt64: Set<UInt64>], _ hash: UInt64, _ place: String
    ) {
        var walked: Set<UInt64> = []
        var twice = false
        let none = table.first(hash) {
            if !walked.insert($0).inserted { twice = true }
            return false
        }
        #expect(none == nil && !twice && walked == plain[hash] ?? [], "\(place)")
    }

    @Test(arguments: [0, 3, 8], Seeds.all)
    func manyAtOnceAreAsOneByOne(segmentBits: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var plain: [UInt64: Set<UInt64>] = [:]
        var pairs: ContiguousArray<HashIndex.Slot> = []
        let changed = Self.hash(&random)
        for value in 0..<20_000 as Range<UInt64> {
            let hash = value == 77 ? changed : Self.hash(&random)
            plain[hash, default: []].insert(value)
            pairs.append(HashIndex.Slot(hash: hash, value: value))
        }
        var table = HashIndex(segmentBits: segmentBits)
        // In parts, one of which has nothing.
        table.load([
            ContiguousArray(pairs.prefix(9_000)), [], ContiguousArray(pairs.dropFirst(9_000)),
        ])
        #expect(table.count == pairs.count)
        for hash in plain.keys { Self.compare(table, plain, hash, "seed \(seed)") }
        // It goes on as any other.
        table.insert(changed, value: 99_999)
        plain[changed]?.insert(99_999)
        let isRemoved = table.remove(changed, value: 77)
        #expect(isRemoved)
        plain[changed]?.remove(77)
        Self.compare(table, plain, changed, "seed \(seed) after a change")
    }

    @Test func aMatchingValueEndsTheSearch() {
        var table = HashIndex()
        for value in 1...5 as ClosedRange<UInt64> { table.insert(42, value: value) }
        var asked = 0
        let found = table.first(42) {
            asked += 1
            return $0 == 2
        }
        #expect(found == 2)
        #expect(asked == 2)
        #expect(table.value(43) == nil)
    }

    @Test func reservedRoomIsEnough() {
        var table = HashIndex()
        table.reserveCapacity(100_000)
        for number in 0..<100_000 as Range<UInt64> { table.insert(mix64(number), value: number) }
        for number in 0..<100_000 as Range<UInt64> {
            if table.value(mix64(number)) != number { Issue.record("lost \(number)") }
        }
        #expect(table.count == 100_000)
    }

    @Test func theReservedValue_traps() async {
        await #expect(processExitsWith: .failure) {
            var table = HashIndex()
            table.insert(1, value: .max)
        }
    }
}
