// Where a case belongs and who may see it, as data: countries to routing regions, kinds of harm to
// clearances. Knows nothing of specialists.

internal import TriageBase

extension RoutingRegion {
    /// The region whose specialists take the cases of a country.
    ///
    /// - Returns: `unspecified` for an unknown country and for a code that ISO has not assigned;
    ///   any region's specialists may be given those by policy.
    package static func serving(_ country: RegionCode) -> RoutingRegion {
        table[Int(country.rawValue & 0x3FF)]
    }

    /// By packed country code: 10 bits, so 1,024 entries.
    private static let table: [RoutingRegion] = {
        var table = [RoutingRegion](repeating: .unspecified, count: 1_024)
        for (region, countries) in countriesOfRegion {
            for country in countries.utf8.split(separator: UInt8(ascii: " ")) {
                guard let code = RegionCode(text: Array(country).span) else {
                    preconditionFailure("bad country in the routing table")
                }
                table[Int(code.rawValue)] = region
            }
        }
        return table
    }()

    /// ISO 3166-1 alpha-2, by the United Nations' geoscheme.
    ///
    /// The Americas; Europe, Africa and Western Asia with Central Asia; the rest of Asia and
    /// Oceania. `EU`, `UK` and `XK` are reserved or user-assigned codes that partners send.
    static let countriesOfRegion: [(RoutingRegion, String)] = [
        (
            .americas,
            """
            AG AI AR AW BB BL BM BO BQ BR BS BV BZ CA CL CO CR CU CW DM DO EC FK GD GF GL GP \
            GS GT GY HN HT JM KN KY LC MF MQ MS MX NI PA PE PM PR PY SR SV SX TC TT US UY VC \
            VE VG VI
            """
        ),
        (
            .emea,
            """
            AD AE AL AM AO AT AX AZ BA BE BF BG BH BI BJ BW BY CD CF CG CH CI CM CV CY CZ DE \
            DJ DK DZ EE EG EH ER ES ET EU FI FO FR GA GB GE GG GH GI GM GN GQ GR GW HR HU IE \
            IL IM IQ IS IT JE JO KE KG KM KW KZ LB LI LR LS LT LU LV LY MA MC MD ME MG MK ML \
            MR MT MU MW MZ NA NE NG NL NO OM PL PS PT QA RE RO RS RU RW SA SC SD SE SH SI SJ \
            SK SL SM SN SO SS ST SY SZ TD TF TG TJ TM TN TR TZ UA UG UK UZ VA XK YE YT ZA ZM \
            ZW
            """
        ),
        (
            .asiaPacific,
            """
            AF AQ AS AU BD BN BT CC CK CN CX FJ FM GU HK HM ID IN IO IR JP KH KI KP KR LA LK \
            MH MM MN MO MP MV MY NC NF NP NR NU NZ PF PG PH PK PN PW SB SG TH TK TL TO TV TW \
            UM VN VU WF WS
            """
        ),
    ]
}

extension Clearance {
    /// What a specialist must be cleared for to take a case of this kind.
    ///
    /// Doubt goes up: an unknown kind may be graphic. Sexual matter with a minor in danger is
    /// behind the child-safety wall, whatever it was reported as.
    package static func required(for family: HarmFamily, modifiers: RiskModifiers) -> Clearance {
        switch family {
        case .childSexualExploitation: .childSafety
        case .intimateImageAbuse, .humanTrafficking:
            modifiers.contains(.minor) ? .childSafety : .general
        case .suicideSelfHarm, .terrorism, .unrecognised: .graphic
        case .violentThreat, .missingPerson, .domesticViolence, .disaster, .otherImminentHarm:
            .general
        }
    }

    /// The stricter of two.
    package func widened(with other: Clearance) -> Clearance {
        rawValue >= other.rawValue ? self : other
    }
}
