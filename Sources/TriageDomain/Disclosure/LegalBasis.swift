// The rules of each legal instrument as versioned data: where they come from, how well that was
// checked, since when they hold, which clocks they start, what they reach. Nothing here is legal
// advice.

package import TriageBase

/// How well a rule was checked.
package enum VerificationMark: String, Sendable {
    /// Read in a statute, an official form or a platform's own published guideline.
    case verified = "V"
    /// Read only in a secondary source.
    case secondary = "S"
    /// Not verified, or our own proposal.
    case unverified = "U"
}

/// A period that starts when a request is received.
package struct InstrumentClock: Sendable {
    /// What it limits, such as `answer` or `service_target`.
    package let kind: String
    package let milliseconds: Int64
    /// True when law sets it; false for a target of ours.
    package let isStatutory: Bool
    /// How long before its end work on it has to begin, so that it can be kept.
    package let allowanceMilliseconds: Int64
}

/// A hold on deletion.
package struct PreservationRule: Sendable {
    package let periodMilliseconds: Int64
    package let extensionMilliseconds: Int64
    package let extensionsMax: Int
}

/// What a legal basis reaches.
package struct BasisReach: Sendable {
    package let basis: LegalBasis
    package let categories: [DataCategory]
    /// True when somebody has to write down why they believe, in good faith, that it applies.
    package let needsGoodFaithFinding: Bool
}

/// The rules of one instrument, from a day on.
package struct InstrumentRule: Sendable {
    /// Names the rule for ever; two versions of a rule share it.
    package let key: String
    package let title: String
    /// Statute, order or published practice.
    package let source: String
    package let mark: VerificationMark
    /// From when it applies; a request received before goes by the version before.
    package let effectiveFrom: WallTime
    package let clocks: [InstrumentClock]
    /// The key of the rule that gives the hold placed on receipt; nil when none is placed.
    package let preservedUnder: String?
    /// The period, when this rule gives one.
    package let preservation: PreservationRule?
    package let reaches: [BasisReach]
}

/// All instrument rules.
///
/// Source: domain reference §6.1, §6.2, with its marks.
package enum InstrumentRules {
    /// Changes with any row.
    package static let version = "2026-11"

    /// The newest version of a rule, whether or not it applies yet.
    ///
    /// - Returns: nil for a key that no rule has.
    package static func rule(_ key: String) -> InstrumentRule? {
        all.last { $0.key == key }
    }

    /// The version of a rule that applied at a time.
    package static func rule(_ key: String, at time: WallTime) -> InstrumentRule? {
        all.last { $0.key == key && $0.effectiveFrom <= time }
    }

    private static let minute: Int64 = 60_000
    private static let hour: Int64 = 60 * minute
    private static let day: Int64 = 24 * hour

    private static let always = WallTime.epoch
    /// 2026-08-18T00:00Z, when Regulation (EU) 2023/1543 began to apply.
    private static let eEvidence = WallTime(milliseconds: 1_787_011_200_000)

    private static let everything = DataCategory.allCases
    private static let withoutContent: [DataCategory] = [
        .subscriber, .login, .interaction, .transaction,
    ]

    /// Ours, not law: an emergency is answered within the hour.
    private static let emergencyTarget = InstrumentClock(
        kind: "service_target", milliseconds: hour, isStatutory: false,
        allowanceMilliseconds: 45 * minute)
    /// Ours, not law: other requests are answered within ten days.
    private static let processTarget = InstrumentClock(
        kind: "service_target", milliseconds: 10 * day, isStatutory: false,
        allowanceMilliseconds: 2 * day)

    private static func row(
        _ key: String, _ title: String, source: String, mark: VerificationMark,
        from: WallTime = always, clocks: [InstrumentClock] = [], preservedUnder: String? = nil,
        preservation: PreservationRule? = nil, reaches: [BasisReach] = []
    ) -> InstrumentRule {
        InstrumentRule(
            key: key, title: title, source: source, mark: mark, effectiveFrom: from, clocks: clocks,
            preservedUnder: preservedUnder, preservation: preservation, reaches: reaches)
    }

    private static func emergencyReach(_ basis: LegalBasis) -> [BasisReach] {
        [BasisReach(basis: basis, categories: everything, needsGoodFaithFinding: true)]
    }

    private static func processReach(
        _ basis: LegalBasis, _ categories: [DataCategory]
    ) -> [BasisReach] {
        [
            BasisReach(
                basis: basis, categories: categories, needsGoodFaithFinding: basis == .other)
        ]
    }

    /// Oldest version first within a key.
    package static let all: [InstrumentRule] = unitedStates + europeanUnion + elsewhere

    private static let unitedStates: [InstrumentRule] = [
        // No statutory clock: disclosure is voluntary, in good faith, without delay. It can reach
        // content, but only what relates to the emergency.
        row(
            "US_2702_EMERGENCY", "United States: emergency disclosure",
            source: "18 U.S.C. 2702(b)(8), (c)(4)", mark: .verified, clocks: [emergencyTarget],
            preservedUnder: "US_2703F_PRESERVATION", reaches: emergencyReach(.us2702Emergency)),
        row(
            "US_2703_SUBPOENA", "United States: subpoena", source: "18 U.S.C. 2703(c)(2)",
            mark: .verified, clocks: [processTarget],
            reaches: processReach(.us2703Process, [.subscriber])),
        row(
            "US_2703_COURT_ORDER", "United States: court order", source: "18 U.S.C. 2703(d)",
            mark: .verified, clocks: [processTarget],
            reaches: processReach(.us2703Process, withoutContent)),
        row(
            "US_2703_WARRANT", "United States: search warrant", source: "18 U.S.C. 2703(a), (b)",
            mark: .verified, clocks: [processTarget],
            reaches: processReach(.us2703Process, everything)),
        // Existing records only; a hold, never a disclosure.
        row(
            "US_2703F_PRESERVATION", "United States: preservation", source: "18 U.S.C. 2703(f)",
            mark: .verified, preservedUnder: "US_2703F_PRESERVATION",
            preservation: PreservationRule(
                periodMilliseconds: 90 * day, extensionMilliseconds: 90 * day, extensionsMax: 1)),
    ]

    private static let europeanUnion: [InstrumentRule] = [
        // The 8 hours were read in secondary sources only. From receipt by the addressee.
        row(
            "EU_2023_1543_EMERGENCY", "European Production Order, emergency",
            source: "Regulation (EU) 2023/1543, Article 10(4)", mark: .secondary, from: eEvidence,
            clocks: [
                InstrumentClock(
                    kind: "answer", milliseconds: 8 * hour, isStatutory: true,
                    allowanceMilliseconds: 4 * hour), emergencyTarget,
            ], preservedUnder: "EU_2023_1543_PRESERVATION",
            reaches: processReach(.eu20231543Production, everything)),
        row(
            "EU_2023_1543_PRODUCTION", "European Production Order",
            source: "Regulation (EU) 2023/1543, Article 10(1) to (3)", mark: .verified,
            from: eEvidence,
            clocks: [
                InstrumentClock(
                    kind: "answer", milliseconds: 10 * day, isStatutory: true,
                    allowanceMilliseconds: 3 * day)
            ], preservedUnder: "EU_2023_1543_PRESERVATION",
            reaches: processReach(.eu20231543Production, everything)),
        row(
            "EU_2023_1543_PRESERVATION", "European Preservation Order",
            source: "Regulation (EU) 2023/1543, Article 11", mark: .verified, from: eEvidence,
            preservedUnder: "EU_2023_1543_PRESERVATION",
            preservation: PreservationRule(
                periodMilliseconds: 60 * day, extensionMilliseconds: 30 * day, extensionsMax: 1)),
        row(
            "EU_GDPR_VITAL_INTERESTS", "EEA and Switzerland: voluntary, vital interests",
            source: "Regulation (EU) 2016/679, Article 6(1)(d)", mark: .unverified,
            clocks: [emergencyTarget], preservedUnder: "PLATFORM_PRESERVATION",
            reaches: emergencyReach(.euGDPRVitalInterests)),
    ]

    private static let elsewhere: [InstrumentRule] = [
        row(
            "UK_GDPR_VITAL_INTERESTS", "United Kingdom: voluntary, vital interests",
            source: "UK GDPR, Article 6(1)(d)", mark: .unverified, clocks: [emergencyTarget],
            preservedUnder: "PLATFORM_PRESERVATION",
            reaches: emergencyReach(.ukGDPRVitalInterests)),
        row(
            "VOLUNTARY_EMERGENCY", "Rest of the world: voluntary, danger to life",
            source: "Platform guidelines for law enforcement (TikTok, 16 Apr 2025)",
            mark: .verified, clocks: [emergencyTarget], preservedUnder: "PLATFORM_PRESERVATION",
            reaches: emergencyReach(.other)),
        // A treaty request ends in domestic process; which categories that reaches, legal finds.
        row(
            "MLAT", "Mutual legal assistance", source: "The treaty cited in the request",
            mark: .unverified, clocks: [processTarget], reaches: processReach(.other, everything)),
        // Process of a country for which no rule was read: what it reaches, legal finds.
        row(
            "DOMESTIC_PROCESS", "Domestic legal process",
            source: "The statute cited in the request",
            mark: .unverified, clocks: [processTarget], reaches: processReach(.other, everything)),
        row(
            "PLATFORM_PRESERVATION", "Platform practice: preservation",
            source: "Platform guidelines for law enforcement (TikTok, X, Meta)", mark: .verified,
            preservedUnder: "PLATFORM_PRESERVATION",
            preservation: PreservationRule(
                periodMilliseconds: 90 * day, extensionMilliseconds: 90 * day, extensionsMax: 1)),
    ]

    /// Finds the instrument of a request from its kind, the entity addressed, the process cited and
    /// the day of receipt.
    package static func classify(_ filing: DisclosureFiling, at now: WallTime) -> InstrumentRule {
        let process = filing.legalProcess?.kind
        let eEvidenceApplies = now >= eEvidence
        let key: String
        switch filing.kind {
        case .emergency:
            if process == .euProductionOrder && eEvidenceApplies {
                key = "EU_2023_1543_EMERGENCY"
            } else {
                switch filing.addressee {
                case .unitedStates: key = "US_2702_EMERGENCY"
                case .unitedKingdom: key = "UK_GDPR_VITAL_INTERESTS"
                case .eeaSwitzerland: key = "EU_GDPR_VITAL_INTERESTS"
                case .restOfWorld: key = "VOLUNTARY_EMERGENCY"
                }
            }
        case .legalProcess: key = processKey(process, filing.addressee, eEvidenceApplies)
        case .preservation:
            if process == .euPreservationOrder && eEvidenceApplies {
                key = "EU_2023_1543_PRESERVATION"
            } else {
                key =
                    filing.addressee == .unitedStates
                    ? "US_2703F_PRESERVATION" : "PLATFORM_PRESERVATION"
            }
        }
        guard let rule = rule(key, at: now) else {
            preconditionFailure("no instrument rule \(key)")
        }
        return rule
    }

    private static func processKey(
        _ process: LegalProcessKind?, _ addressee: Addressee, _ eEvidenceApplies: Bool
    ) -> String {
        switch process {
        case .mlat: return "MLAT"
        case .euProductionOrder:
            return eEvidenceApplies ? "EU_2023_1543_PRODUCTION" : "DOMESTIC_PROCESS"
        case .euPreservationOrder:
            return eEvidenceApplies ? "EU_2023_1543_PRESERVATION" : "PLATFORM_PRESERVATION"
        case .subpoena where addressee == .unitedStates: return "US_2703_SUBPOENA"
        case .courtOrder where addressee == .unitedStates: return "US_2703_COURT_ORDER"
        case .searchWarrant where addressee == .unitedStates: return "US_2703_WARRANT"
        case .subpoena, .courtOrder, .searchWarrant, nil: return "DOMESTIC_PROCESS"
        }
    }
}
