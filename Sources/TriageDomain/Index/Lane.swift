// Who may take what: the eligibility class of a case (Lane) and what a caller covers (Eligibility).
// Knows nothing of order, of specialists' names, or of how policy arrived at these bits.

/// The eligibility class of a case: all cases of one lane may be taken by the same callers.
///
/// Skill, language, clearance and routing region in one 26-bit value.
package struct Lane: Hashable, Sendable, BitwiseCopyable {
    /// Region 2 bits, clearance 3, family 5, language 16; most significant first.
    package let packed: UInt32

    /// Families of harm, each of which asks for one skill.
    package static let familyCount = 32
    /// Clearance classes.
    package static let clearanceCount = 8
    /// Routing regions.
    package static let regionCount = 4
    /// The language code of a case whose language nobody knows; every caller may take it.
    package static let undeterminedLanguage: UInt16 = 0

    /// Names a lane.
    ///
    /// - Parameters:
    ///   - family: Harm family, 0 ..< ``familyCount``; the number of the skill bit.
    ///   - language: Language code, or ``undeterminedLanguage``.
    ///   - clearance: Clearance class, 0 ..< ``clearanceCount``; the number of the clearance bit.
    ///   - region: Routing region, 0 ..< ``regionCount``; the number of the region bit.
    /// - Precondition: All in range.
    package init(family: Int, language: UInt16, clearance: Int, region: Int) {
        precondition(0 <= family && family < Self.familyCount, "family out of range")
        precondition(0 <= clearance && clearance < Self.clearanceCount, "clearance out of range")
        precondition(0 <= region && region < Self.regionCount, "region out of range")
        packed =
            UInt32(region) << 24 | UInt32(clearance) << 21 | UInt32(family) << 16
            | UInt32(language)
    }

    /// Harm family, 0 ..< ``familyCount``.
    package var family: Int { Int(packed >> 16 & 0x1F) }
    /// Language code.
    package var language: UInt16 { UInt16(truncatingIfNeeded: packed) }
    /// Clearance class, 0 ..< ``clearanceCount``.
    package var clearance: Int { Int(packed >> 21 & 0x7) }
    /// Routing region, 0 ..< ``regionCount``.
    package var region: Int { Int(packed >> 24 & 0x3) }

    /// One bit in each of four fields, so that one AND against ``Eligibility/forbidden`` decides.
    ///
    /// Skill in bits 0-31, clearance 32-39, region 40-43, language bucket 44-63. Languages share
    /// buckets, so a language that passes is compared exactly afterwards.
    var oneHot: UInt64 {
        1 << UInt64(family) | 1 << UInt64(32 + clearance) | 1 << UInt64(40 + region)
            | Self.languageBit(language)
    }

    /// The bucket of a language: bit 44 for the undetermined one, else one of bits 45 to 63.
    static func languageBit(_ language: UInt16) -> UInt64 {
        language == undeterminedLanguage
            ? 1 << 44 : 1 << (45 + (UInt64(language) &* 40_503 >> 4) % 19)
    }
}

/// What a caller may take: a set of lanes, written as masks.
///
/// Made when the policy or the specialist's profile changes, not on each claim.
package struct Eligibility: Hashable, Sendable {
    /// Skills held, bit n for family n.
    package let skills: UInt32
    /// Clearances held, bit n for class n.
    package let clearances: UInt8
    /// Regions served, bits 0 to 3.
    package let regions: UInt8
    /// Language codes, ascending, without duplicates and without the undetermined one.
    package let languages: [UInt16]
    /// True when language does not restrict the caller.
    package let allLanguages: Bool

    /// The complement of all that is allowed, in the layout of ``Lane/oneHot``.
    let forbidden: UInt64

    /// Describes a caller.
    ///
    /// - Parameters:
    ///   - skills: Bit n for harm family n.
    ///   - clearances: Bit n for clearance class n.
    ///   - regions: Bit n for routing region n, 0 ... 3.
    ///   - languages: Codes in any order; the undetermined language is open to everyone.
    ///   - allLanguages: True to accept every language, whatever `languages` says.
    package init(
        skills: UInt32, clearances: UInt8, regions: UInt8, languages: [UInt16],
        allLanguages: Bool = false
    ) {
        self.skills = skills
        self.clearances = clearances
        self.regions = regions & 0xF
        self.allLanguages = allLanguages
        var sorted: [UInt16] = []
        for code in languages.sorted() where code != Lane.undeterminedLanguage {
            if sorted.last != code { sorted.append(code) }
        }
        self.languages = sorted
        var allowed = UInt64(skills) | UInt64(clearances) << 32 | UInt64(regions & 0xF) << 40
        if allLanguages {
            allowed |= ~0 << 44
        } else {
            allowed |= Lane.languageBit(Lane.undeterminedLanguage)
            for code in sorted { allowed |= Lane.languageBit(code) }
        }
        forbidden = ~allowed
    }

    /// True when the caller may take the cases of `lane`.
    package func covers(_ lane: Lane) -> Bool {
        lane.oneHot & forbidden == 0 && speaks(lane.language)
    }

    /// True when the caller understands `language`, or it is undetermined.
    @inline(__always)
    func speaks(_ language: UInt16) -> Bool {
        if allLanguages || language == Lane.undeterminedLanguage { return true }
        for code in languages where code >= language { return code == language }
        return false
    }
}
