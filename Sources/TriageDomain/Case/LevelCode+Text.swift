// How a level code and a governing deadline are written. Knows letters, no rules.

internal import TriageBase

extension HarmFamily {
    /// Three letters that name the family in a level code.
    package var letters: String {
        switch self {
        case .unrecognised: "UNK"
        case .suicideSelfHarm: "SUI"
        case .violentThreat: "VIO"
        case .terrorism: "TER"
        case .childSexualExploitation: "CSE"
        case .missingPerson: "MIS"
        case .humanTrafficking: "TRA"
        case .intimateImageAbuse: "IIA"
        case .domesticViolence: "DOM"
        case .disaster: "DIS"
        case .otherImminentHarm: "OTH"
        }
    }
}

extension RiskModifiers {
    /// One letter for each modifier, in the order of the bits.
    ///
    /// | letter | modifier |
    /// | --- | --- |
    /// | M | a minor is in danger |
    /// | N | a victim is named |
    /// | L | the location is known |
    /// | W | a weapon or other means is at hand |
    /// | H | there is a history of such harm |
    /// | S | it is streamed live, or spreading fast |
    /// | C | a clock ends within 24 hours |
    package var letters: String {
        var out: [UInt8] = []
        for (bit, letter) in "MNLWHSC".utf8.enumerated() where rawValue >> UInt8(bit) & 1 == 1 {
            out.append(letter)
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension LevelCode {
    /// Such as `SUI-B-ML`: family, decision point (`S` for screening, before a human answered) and
    /// the letters of the modifiers; `SUI-C` when there is none.
    ///
    /// Source: domain reference §8.1, after the determinant codes of MPDS.
    package var text: String {
        let letters: String
        switch point {
        case .screening: letters = "S"
        case .a: letters = "A"
        case .b: letters = "B"
        case .c: letters = "C"
        }
        let stem = family.letters + "-" + letters
        return modifiers.isEmpty ? stem : stem + "-" + modifiers.letters
    }
}

extension Level {
    /// From `P0` to `P4`.
    package var text: String {
        switch self {
        case .p0: "P0"
        case .p1: "P1"
        case .p2: "P2"
        case .p3: "P3"
        case .p4: "P4"
        }
    }
}

extension GoverningDeadline {
    /// Such as `target:P1` or `legal`.
    package func text(level: Level) -> String {
        switch self {
        case .target: "target:" + level.text
        case .legal: "legal"
        }
    }
}
