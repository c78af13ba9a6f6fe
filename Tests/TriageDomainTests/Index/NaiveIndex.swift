import TriageBase
import TriageDomain

/// What a priority index must do, done by a sorted array and by looking at everything.
struct NaiveIndex {
    var keys: [PriorityKey] = []
    var standings: [PriorityKey: Standing] = [:]

    /// The position of the first key that is not less than `key`.
    func position(_ key: PriorityKey) -> Int {
        var (low, high) = (0, keys.count)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func insert(_ key: PriorityKey, _ standing: Standing) {
        keys.insert(key, at: position(key))
        standings[key] = standing
    }

    mutating func remove(_ key: PriorityKey) {
        keys.remove(at: position(key))
        standings[key] = nil
    }

    func page(after key: PriorityKey?, limit: Int) -> [PriorityKey] {
        guard let key else { return Array(keys.prefix(limit)) }
        var start = position(key)
        if start < keys.count && keys[start] == key { start += 1 }
        return Array(keys[start...].prefix(limit))
    }

    /// The rule of eligibility, written out part by part.
    static func covers(_ eligibility: Eligibility, _ lane: Lane) -> Bool {
        eligibility.skills >> UInt32(lane.family) & 1 == 1
            && eligibility.clearances >> UInt8(lane.clearance) & 1 == 1
            && eligibility.regions >> UInt8(lane.region) & 1 == 1
            && (lane.language == 0 || eligibility.allLanguages
                || eligibility.languages.contains(lane.language))
    }

    func firstEligible(
        _ eligibility: Eligibility, after key: PriorityKey?, where accepts: (PriorityKey) -> Bool
    ) -> PriorityKey? {
        keys.first {
            guard case .claimable(let lane) = standings[$0] else { return false }
            return Self.covers(eligibility, lane) && (key.map { $0 } ?? $0) <= $0 && $0 != key
                && accepts($0)
        }
    }
}

/// Draws the cases, lanes and callers of one random run.
struct CaseSource {
    var random: SeededRandom
    let laneCount: Int
    let deadlineRange: Int64
    var lastNumber: UInt64 = 0
    private var lanes: [Lane] = []

    init(seed: UInt64, laneCount: Int, deadlineRange: Int64) {
        random = SeededRandom(seed: seed)
        self.laneCount = laneCount
        self.deadlineRange = deadlineRange
        for _ in 0..<laneCount {
            lanes.append(
                Lane(
                    family: .random(in: 0..<32, using: &random),
                    language: .random(in: 0..<40, using: &random),
                    clearance: .random(in: 0..<8, using: &random),
                    region: .random(in: 0..<4, using: &random)))
        }
    }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }
    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    /// A key for a new case, or a new key for the case `number`.
    mutating func key(number: UInt64? = nil) -> PriorityKey {
        if number == nil { lastNumber += 1 }
        return PriorityKey(
            band: below(3),
            effectiveDeadline: WallTime(milliseconds: Int64(below(Int(deadlineRange)))),
            modifierCount: below(4), number: CaseNumber(number ?? lastNumber))
    }

    mutating func lane() -> Lane { lanes[below(laneCount)] }

    mutating func standing() -> Standing { chance(15) ? .held : .claimable(lane()) }

    /// A caller; the first families are common skills, so that many find something.
    mutating func eligibility() -> Eligibility {
        let all = chance(20)
        return Eligibility(
            skills: chance(30)
                ? .max
                : .random(in: 0 ... .max, using: &random) & .random(in: 0 ... .max, using: &random),
            clearances: chance(30) ? .max : .random(in: 0 ... .max, using: &random),
            regions: .random(in: 0..<16, using: &random),
            languages: (0..<below(4)).map { _ in UInt16(below(40)) }, allLanguages: all)
    }
}
