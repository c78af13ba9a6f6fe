// The closed vocabularies of the domain, as small integers. Raw values are journaled and equal the
// API's numbers; they never change meaning. Knows nothing of protobuf.

/// The kind of harm.
///
/// `unrecognised` keeps a report whose kind this version does not know.
package enum HarmFamily: UInt8, CaseIterable, Sendable {
    case unrecognised = 0
    case suicideSelfHarm = 1
    case violentThreat = 2
    case terrorism = 3
    case childSexualExploitation = 4
    case missingPerson = 5
    case humanTrafficking = 6
    case intimateImageAbuse = 7
    case domesticViolence = 8
    case disaster = 9
    case otherImminentHarm = 10
}

/// How urgent a case is; the smaller, the more urgent.
package enum Level: UInt8, CaseIterable, Comparable, Sendable {
    case p0 = 0
    case p1 = 1
    case p2 = 2
    case p3 = 3
    case p4 = 4

    /// True when `a` is more urgent than `b`.
    package static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }

    /// One level more urgent; P0 stays.
    package var raised: Level { Level(rawValue: rawValue == 0 ? 0 : rawValue - 1) ?? .p0 }
}

/// How soon harm is expected, as reported.
package enum Imminence: UInt8, CaseIterable, Sendable {
    case unspecified = 0
    case now = 1
    case within24Hours = 2
    case within7Days = 3
    case notImminent = 4
}

/// Circumstances of decision point D, as a set.
///
/// Bit `n` is the API's `RiskModifier` `n + 1`.
package struct RiskModifiers: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let minor = RiskModifiers(rawValue: 1 << 0)
    package static let namedVictim = RiskModifiers(rawValue: 1 << 1)
    package static let locationKnown = RiskModifiers(rawValue: 1 << 2)
    package static let weaponOrMeans = RiskModifiers(rawValue: 1 << 3)
    package static let priorHistory = RiskModifiers(rawValue: 1 << 4)
    package static let liveOrSpreading = RiskModifiers(rawValue: 1 << 5)
    package static let clockWithin24Hours = RiskModifiers(rawValue: 1 << 6)
    /// How many are present.
    package var count: Int { rawValue.nonzeroBitCount }
}

/// Which kind of reporter.
package enum ReporterKind: UInt8, CaseIterable, Sendable {
    /// A number that this version does not know: treated like a user.
    case unrecognised = 0
    case classifier = 1
    case user = 2
    case partner = 3
    case staff = 4
    case authority = 5
}

/// What a specialist must be cleared for.
///
/// The raw value is also the lane's clearance index.
package enum Clearance: UInt8, CaseIterable, Sendable {
    case general = 1
    case graphic = 2
    case childSafety = 3
}

/// The region whose specialists take a case.
///
/// The raw value is also the lane's region index.
package enum RoutingRegion: UInt8, CaseIterable, Sendable {
    case unspecified = 0
    case americas = 1
    case emea = 2
    case asiaPacific = 3
}

/// A primary language subtag of two or three letters (ISO 639), packed; 0 is undetermined.
package struct LanguageCode: Hashable, Comparable, Sendable {
    /// Five bits a letter, first letter highest; 0 when undetermined.
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    /// Undetermined: anyone may take it.
    package static let undetermined = LanguageCode(rawValue: 0)
    package static func < (a: LanguageCode, b: LanguageCode) -> Bool { a.rawValue < b.rawValue }

    /// Takes the primary subtag of a BCP 47 tag, either case.
    ///
    /// - Returns: nil when the tag does not start with two or three letters followed by its end or
    ///   `-`; undetermined for an empty tag and for `und`.
    package init?(tag: Span<UInt8>) {
        var packed: UInt16 = 0
        var letters = 0
        while letters < tag.count, tag[letters] != UInt8(ascii: "-") {
            let lower = tag[letters] | 0x20
            guard letters < 3, lower >= UInt8(ascii: "a"), lower <= UInt8(ascii: "z") else {
                return nil
            }
            packed = packed << 5 | UInt16(lower - UInt8(ascii: "a") + 1)
            letters += 1
        }
        guard letters != 1, letters > 0 || tag.isEmpty else { return nil }
        let und: UInt16 = 21 << 10 | 14 << 5 | 4
        rawValue = packed == und ? 0 : packed
    }

    /// The subtag in lower case; empty when undetermined.
    package var text: String {
        var out: [UInt8] = []
        for shift in [10, 5, 0] {
            let letter = UInt8(rawValue >> UInt16(shift) & 31)
            if letter > 0 { out.append(letter + UInt8(ascii: "a") - 1) }
        }
        return String(decoding: out, as: UTF8.self)
    }
}

/// An ISO 3166-1 alpha-2 code, packed; 0 is unknown.
package struct RegionCode: Hashable, Sendable {
    /// Five bits a letter, first letter highest; 0 when unknown.
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    /// Not given.
    package static let unknown = RegionCode(rawValue: 0)

    /// Takes two letters, either case.
    ///
    /// - Returns: nil unless empty (unknown) or exactly two ASCII letters.
    package init?(text: Span<UInt8>) {
        if text.isEmpty { self = .unknown; return }
        guard text.count == 2 else { return nil }
        var packed: UInt16 = 0
        for index in 0..<2 {
            let upper = text[index] & ~0x20
            guard upper >= UInt8(ascii: "A"), upper <= UInt8(ascii: "Z") else { return nil }
            packed = packed << 5 | UInt16(upper - UInt8(ascii: "A") + 1)
        }
        rawValue = packed
    }

    /// Two capitals; empty when unknown.
    package var text: String {
        guard rawValue != 0 else { return "" }
        let letters = [UInt8(rawValue >> 5 & 31), UInt8(rawValue & 31)]
        return String(decoding: letters.map { $0 + UInt8(ascii: "A") - 1 }, as: UTF8.self)
    }
}
