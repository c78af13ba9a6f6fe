import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct PriorityIndexTests {
    /// One shape of random run.
    struct Shape: Sendable, CustomTestStringConvertible {
        var sizeMax: Int
        var steps: Int
        var checkEvery: Int
        var laneCount: Int
        /// Small, so that many keys differ in their last parts only.
        var deadlineRange: Int64
        var testDescription: String { "up to \(sizeMax) cases, \(laneCount) lanes" }
    }

    static let shapes = [
        Shape(sizeMax: 8, steps: 600, checkEvery: 1, laneCount: 3, deadlineRange: 3),
        Shape(sizeMax: 200, steps: 1_500, checkEvery: 1, laneCount: 2, deadlineRange: 50),
        Shape(sizeMax: 3_000, steps: 15_000, checkEvery: 500, laneCount: 40, deadlineRange: 1),
        Shape(
            sizeMax: 20_000, steps: 90_000, checkEvery: 10_000, laneCount: 600,
            deadlineRange: 1 << 40),
    ]

    @Test(arguments: shapes, Seeds.all)
    func agreesWithASortedArray(_ shape: Shape, seed: UInt64) throws {
        var run = Run(shape, seed: seed)
        for step in 1...shape.steps {
            run.change()
            if step % max(1, shape.checkEvery / 20) == 0 {
                run.compareReads("seed \(seed) step \(step)")
            }
            if step % shape.checkEvery == 0 {
                try run.index.checkInvariants()
                #expect(run.everything() == run.naive.keys, "seed \(seed) step \(step)")
            }
        }
        while let key = run.naive.keys.randomElement(using: &run.source.random) {
            run.remove(key)
            if run.naive.keys.count % shape.checkEvery == 0 { try run.index.checkInvariants() }
        }
        #expect(run.index.pool.inUse == 0, "an empty index keeps no node")
    }

    /// An index and its oracle, changed in step.
    struct Run: ~Copyable {
        var index = PriorityIndex()
        var naive = NaiveIndex()
        var source: CaseSource
        let shape: Shape
        var growing = true

        init(_ shape: Shape, seed: UInt64) {
            self.shape = shape
            source = CaseSource(
                seed: seed, laneCount: shape.laneCount, deadlineRange: shape.deadlineRange)
        }

        /// One change; the size swings between nothing and its maximum.
        mutating func change() {
            if naive.keys.count >= shape.sizeMax { growing = false }
            if naive.keys.count <= shape.sizeMax / 8 { growing = true }
            guard !naive.keys.isEmpty, !source.chance(growing ? 50 : 10) else {
                let (key, standing) = (source.key(), source.standing())
                index.insert(key, in: standing)
                naive.insert(key, standing)
                return
            }
            // Often among the first, as claims are.
            let reach = source.chance(30) ? min(5, naive.keys.count) : naive.keys.count
            let key = naive.keys[source.below(reach)]
            if source.chance(growing ? 15 : 60) { remove(key) } else { alter(key) }
        }

        mutating func remove(_ key: PriorityKey) {
            guard let standing = naive.standings[key] else { return }
            index.remove(key, from: standing)
            naive.remove(key)
        }

        private mutating func alter(_ key: PriorityKey) {
            guard let old = naive.standings[key] else { return }
            let lane = source.lane()
            switch (old, source.below(3)) {
            case (.claimable(let lane), 0):
                index.hold(key, in: lane)
                naive.standings[key] = .held
            case (.held, 0):
                index.release(key, to: lane)
                naive.standings[key] = .claimable(lane)
            default:
                let newKey = source.chance(70) ? source.key(number: key.number.value) : key
                let new = source.chance(70) ? old : source.standing()
                index.move(key, from: old, to: newKey, in: new)
                naive.remove(key)
                naive.insert(newKey, new)
            }
        }

        /// Everything, page by page.
        func everything() -> [PriorityKey] {
            var keys: [PriorityKey] = []
            var full = true
            while full {
                let before = keys.count
                index.page(after: keys.last, limit: 97, into: &keys)
                full = keys.count == before + 97
            }
            return keys
        }

        mutating func compareReads(_ place: String) {
            let caller = source.eligibility()
            let any = source.key(number: 1)
            let cursor = source.chance(50) ? any : naive.keys.randomElement(using: &source.random)
            #expect(
                index.firstEligible(caller)
                    == naive.firstEligible(caller, after: nil, where: { _ in true }), "\(place)")
            #expect(
                index.firstEligible(caller, after: cursor)
                    == naive.firstEligible(caller, after: cursor, where: { _ in true }), "\(place)")
            // With a limit that never bites, and cases of odd numbers refused.
            #expect(
                index.firstEligible(caller, limit: .max, unless: { $0.low % 2 == 1 })
                    == naive.firstEligible(caller, after: nil, where: { $0.low % 2 == 0 }),
                "\(place)")
            let limit = source.below(130)
            var page: [PriorityKey] = []
            index.page(after: cursor, limit: limit, into: &page)
            #expect(page == naive.page(after: cursor, limit: limit), "\(place)")
            if let cursor {
                #expect(index.contains(cursor) == (naive.standings[cursor] != nil), "\(place)")
            }
            compareCounts(place)
        }

        private func compareCounts(_ place: String) {
            var lanes: [Lane: Int] = [:]
            for case .claimable(let lane) in naive.standings.values { lanes[lane, default: 0] += 1 }
            let claimable = lanes.values.reduce(0, +)
            #expect(index.count == naive.keys.count, "\(place)")
            #expect(index.claimableCount == claimable, "\(place)")
            #expect(index.heldCount == naive.keys.count - claimable, "\(place)")
            #expect(index.laneCount == lanes.count, "\(place)")
            var listed: [Lane: Int] = [:]
            index.forEachLane { lane, count, _ in listed[lane] = count }
            #expect(listed == lanes, "\(place)")
            for band in 0..<3 {
                #expect(index.count(band: band) == naive.keys.count { $0.band == band }, "\(place)")
            }
        }
    }

    // MARK: Loading

    @Test(arguments: [0, 1, 15, 16, 48, 49, 63, 64, 97, 1_728, 1_729, 5_000, 70_000], [1, 2])
    func loadedIndexEqualsOneThatWasFilled(_ count: Int, seed: UInt64) throws {
        var source = CaseSource(seed: seed, laneCount: 30, deadlineRange: 1 << 30)
        let entries = (0..<count).map { _ in (key: source.key(), standing: source.standing()) }
        var index = PriorityIndex()
        // Parts of which one is in order, one is empty, and one is as it came.
        let ordered = entries.prefix(count / 3).sorted { $0.key < $1.key }
        index.load([ordered, [], Array(entries.dropFirst(count / 3))])
        try index.checkInvariants()
        var keys: [PriorityKey] = []
        index.page(after: nil, limit: count + 1, into: &keys)
        #expect(keys == entries.map(\.key).sorted())
        for entry in entries.shuffled(using: &source.random) {
            index.remove(entry.key, from: entry.standing)
        }
        try index.checkInvariants()
        #expect(index.count == 0)
    }

    // MARK: Paging

    @Test func pagingSeesEveryCaseThatStaysOpenOnceAndInOrder() throws {
        var run = Run(Self.shapes[2], seed: 77)
        for _ in 0..<6_000 { run.change() }
        let atStart = Set(run.naive.keys)
        var everMoved: Set<UInt64> = []
        var seen: [PriorityKey] = []
        var full = true
        while full {
            let before = seen.count
            run.index.page(after: seen.last, limit: 10, into: &seen)
            full = seen.count == before + 10
            for _ in 0..<20 {
                let old = Set(run.naive.keys)
                run.change()
                for key in old.symmetricDifference(run.naive.keys) { everMoved.insert(key.low) }
            }
        }
        #expect(zip(seen, seen.dropFirst()).allSatisfy { $0 < $1 })
        let steady = atStart.filter { !everMoved.contains($0.low) }
        #expect(steady.count > 50)
        #expect(steady.isSubset(of: Set(seen)))
    }

    // MARK: Memory

    @Test func ascendingKeysFillTheirLeaves() throws {
        var index = PriorityIndex()
        for number in 1...20_000 {
            index.insert(
                PriorityKey(
                    band: 2, effectiveDeadline: WallTime(milliseconds: Int64(number)),
                    modifierCount: 0, number: CaseNumber(UInt64(number))), in: .held)
        }
        try index.checkInvariants()
        // 47 of 63 keys a leaf; in the middle it would be 32.
        #expect(index.pool.inUse < 20_000 / 44)
    }

    @Test(arguments: Seeds.all)
    func memoryFollowsTheNumberOfCases(seed: UInt64) throws {
        var source = CaseSource(seed: seed, laneCount: 1, deadlineRange: 1 << 40)
        var index = PriorityIndex()
        var keys = (0..<20_000).map { _ in source.key() }
        let lane = source.lane()
        for key in keys { index.insert(key, in: .claimable(lane)) }
        let peak = index.pool.allocated
        keys.shuffle(using: &source.random)
        while keys.count > 1_000 { index.remove(keys.removeLast(), from: .claimable(lane)) }
        try index.checkInvariants()
        // Two trees, at least a quarter full (16 keys a leaf), and a few inner nodes.
        #expect(index.pool.inUse <= 2 * (1_000 / 16 + 8), "seed \(seed)")
        while keys.count < 20_000 {
            keys.append(source.key())
            index.insert(keys[keys.count - 1], in: .claimable(lane))
        }
        #expect(index.pool.allocated <= peak + peak / 10, "nodes are used again, seed \(seed)")
    }

    // MARK: Broken promises

    static let sample = PriorityKey(
        band: 1, effectiveDeadline: WallTime(milliseconds: 1), modifierCount: 0,
        number: CaseNumber(1))
    static let lane = Lane(family: 1, language: 0, clearance: 0, region: 0)

    @Test func sameKeyTwice_traps() async {
        await #expect(processExitsWith: .failure) {
            var index = PriorityIndex()
            index.insert(Self.sample, in: .held)
            index.insert(Self.sample, in: .held)
        }
    }

    @Test func removingWhatIsNotThere_traps() async {
        await #expect(processExitsWith: .failure) {
            var index = PriorityIndex()
            index.insert(Self.sample.successor, in: .held)
            index.remove(Self.sample, from: .held)
        }
    }

    @Test func claimingFromAnotherLane_traps() async {
        await #expect(processExitsWith: .failure) {
            var index = PriorityIndex()
            index.insert(Self.sample, in: .claimable(Self.lane))
            index.hold(Self.sample, in: Lane(family: 2, language: 0, clearance: 0, region: 0))
        }
    }

    @Test func checkerFindsEachKindOfDamage() throws {
        let damages: [(String, (inout PriorityIndex) -> Void)] = [
            ("out of order", { $0.pool[$0.board.firstLeaf][1] = $0.pool[$0.board.firstLeaf][0] }),
            ("past its count", { $0.pool[$0.board.firstLeaf].count = 16 }),
            ("too thin", { $0.pool[$0.board.firstLeaf].count = 3 }),
            ("chain", { $0.pool[$0.board.firstLeaf].next = noNode }),
            ("out of bounds", { $0.pool[$0.board.root][0] = $0.pool[$0.board.root][0].successor }),
            ("is free", { $0.pool.free($0.board.firstLeaf) }),
            ("in use that no tree has", { _ = $0.pool.allocate(leaf: true) }),
            ("two places", { $0.pool[$0.board.root].setChild(1, to: $0.board.firstLeaf) }),
            (
                "not on the board",
                {
                    $0.lanes.insert(
                        Self.sample,
                        at: $0.lanes.placeForInsertion(of: Self.sample, Self.lane, &$0.pool))
                }
            ),
        ]
        for (text, damage) in damages {
            var source = CaseSource(seed: 5, laneCount: 5, deadlineRange: 1 << 40)
            var index = PriorityIndex()
            for _ in 0..<500 { index.insert(source.key(), in: source.standing()) }
            try index.checkInvariants()
            damage(&index)
            do {
                try index.checkInvariants()
                Issue.record("damage was not found: \(text)")
            } catch {
                #expect(error.description.contains(text), "\(error)")
            }
        }
    }
}
