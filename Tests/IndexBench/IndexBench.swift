// The priority index at full size: how long each operation takes with a given number of open cases.

import TriageBase
import TriageDomain

/// One index of `cases` cases in 600 lanes, a few of them large, and what it costs to use it.
struct IndexBench {
    let cases: Int
    private static let laneCount = 600
    private static let rounds = 200_000
    private static let sevenDays: Int64 = 7 * 86_400_000

    func run() {
        measureLoad()
        var fill = Fill(cases: cases, lanes: Self.manyLanes())
        report(
            "memory_per_case", Double(fill.index.memoryBytes) / Double(cases), "B", reach: 64)
        measureChanges(&fill, "")
        measurePage(fill)
        measureEligible(fill)
        var single = Fill(
            cases: cases, lanes: [Lane(family: 0, language: 0, clearance: 0, region: 0)])
        measureChanges(&single, "_one_lane")
        measureClaims()
    }

    /// 600 lanes over 30 families, 10 languages and 2 clearances.
    private static func manyLanes() -> [Lane] {
        (0..<laneCount).map {
            Lane(family: $0 % 30, language: UInt16($0 / 30 % 10), clearance: $0 / 300, region: 0)
        }
    }

    private struct Fill: ~Copyable {
        var index = PriorityIndex()
        var entries: [(key: PriorityKey, lane: Lane)] = []
        var random = SeededRandom(seed: 1)
        let lanes: [Lane]

        init(cases: Int, lanes: [Lane]) {
            self.lanes = lanes
            for _ in 0..<cases { insert() }
        }

        mutating func newKey(_ number: Int) -> PriorityKey {
            PriorityKey(
                band: random.next() % 50 == 0 ? 0 : 2,
                effectiveDeadline: WallTime(
                    milliseconds: 1_763_800_000_000 + Int64(random.next() % UInt64(sevenDays))),
                modifierCount: 0, number: CaseNumber(UInt64(number)))
        }

        mutating func newEntry() -> (key: PriorityKey, lane: Lane) {
            // Squared, so that the first lanes are large.
            let lane = lanes[Int(random.unit() * random.unit() * Double(lanes.count))]
            return (newKey(entries.count + 1), lane)
        }

        mutating func insert() {
            let entry = newEntry()
            entries.append(entry)
            index.insert(entry.key, in: .claimable(entry.lane))
        }
    }

    private func measureChanges(_ fill: inout Fill, _ suffix: String) {
        let fresh = (0..<Self.rounds).map { number in
            var entry = fill.newEntry()
            entry.key = fill.newKey(fill.entries.count + number + 1)
            return entry
        }
        let insert = medianNanoseconds(fresh) {
            fill.index.insert($0.key, in: .claimable($0.lane))
        }
        let remove = medianNanoseconds(fresh) {
            fill.index.remove($0.key, from: .claimable($0.lane))
        }
        var moves: [(old: PriorityKey, new: PriorityKey, lane: Lane)] = []
        for _ in 0..<Self.rounds {
            let place = Int(fill.random.next() % UInt64(fill.entries.count))
            let old = fill.entries[place]
            fill.entries[place].key = fill.newKey(Int(old.key.low))
            moves.append((old.key, fill.entries[place].key, old.lane))
        }
        let move = medianNanoseconds(moves) {
            fill.index.move($0.old, from: .claimable($0.lane), to: $0.new, in: .claimable($0.lane))
        }
        report("insert\(suffix)", insert / 1_000, "us", reach: 0.6)
        report("remove\(suffix)", remove / 1_000, "us", reach: 0.8)
        report("rekey\(suffix)", move / 1_000, "us", reach: 1.3)
    }

    private func measurePage(_ fill: borrowing Fill) {
        var random = SeededRandom(seed: 9)
        let cursors = (0..<Self.rounds).map { _ in
            fill.entries[Int(random.next() % UInt64(fill.entries.count))].key
        }
        var page: [PriorityKey] = []
        page.reserveCapacity(50)
        var sum: UInt64 = 0
        let time = medianNanoseconds(cursors) {
            page.removeAll(keepingCapacity: true)
            fill.index.page(after: $0, limit: 50, into: &page)
            sum &+= page.last?.low ?? 0
        }
        keep(sum)
        report("page_of_50", time / 1_000, "us", reach: 10)
    }

    private func measureEligible(_ fill: borrowing Fill) {
        let callers: [(String, Eligibility)] = [
            (
                "everything",
                Eligibility(
                    skills: .max, clearances: .max, regions: .max, languages: [], allLanguages: true
                )
            ),
            (
                "half",
                Eligibility(
                    skills: 0x5555_5555, clearances: .max, regions: .max, languages: [],
                    allLanguages: true)
            ),
            (
                "two_languages",
                Eligibility(
                    skills: .max, clearances: .max, regions: .max, languages: [3, 7])
            ),
            (
                "one_lane_in_100",
                Eligibility(
                    skills: 0x70, clearances: 2, regions: 1, languages: [5])
            ),
            ("nothing", Eligibility(skills: 0, clearances: 0, regions: 0, languages: [])),
        ]
        for (name, caller) in callers {
            var sum: UInt64 = 0
            let time = nanoseconds {
                for _ in 0..<Self.rounds { sum &+= fill.index.firstEligible(caller)?.low ?? 0 }
            }
            keep(sum)
            report("first_eligible_\(name)", time / Double(Self.rounds) / 1_000, "us", reach: 0.3)
        }
    }

    /// Claims by a caller who may take one case in a hundred, until those are gone.
    private func measureClaims() {
        var fill = Fill(cases: 0, lanes: Self.manyLanes())
        let mine = Lane(family: 31, language: 0, clearance: 0, region: 0)
        let me = Eligibility(skills: 1 << 31, clearances: 1, regions: 1, languages: [])
        for number in 1...cases {
            let lane = number % 100 == 0 ? mine : fill.newEntry().lane
            fill.index.insert(fill.newKey(number), in: .claimable(lane))
        }
        var claimed = 0
        let time = nanoseconds {
            while let key = fill.index.firstEligible(me) {
                fill.index.hold(key, in: mine)
                claimed += 1
            }
        }
        report("claim_99_percent_not_eligible", time / Double(claimed) / 1_000, "us", reach: 2)
    }

    private func measureLoad() {
        var fill = Fill(cases: 0, lanes: Self.manyLanes())
        var entries: [(key: PriorityKey, standing: Standing)] = []
        entries.reserveCapacity(cases)
        for number in 0..<cases {
            let entry = fill.newEntry()
            entries.append(
                (fill.newKey(number + 1), number % 20 == 0 ? .held : .claimable(entry.lane)))
        }
        var unsorted = PriorityIndex()
        let time = nanoseconds { unsorted.load([entries]) }
        keep(unsorted.count)
        entries.sort { $0.key < $1.key }
        var sorted = PriorityIndex()
        let sortedTime = nanoseconds { sorted.load([entries]) }
        keep(sorted.count)
        report("load_unsorted", time / 1e9, "s", reach: 0.4)
        report("load_sorted", sortedTime / 1e9, "s", reach: 0.4)
    }
}
