// Where a report is routed: the clearance that its kind of harm asks for, and the region whose
// specialists take it. Tables only; who holds which clearance is policy and not known here.

extension Clearance {
    /// The clearance that a specialist needs for reports of a kind.
    ///
    /// An intimate image of a minor is child abuse material whatever it was reported as. A kind that
    /// this version does not know is taken for graphic: doubt shields the specialist.
    package static func needed(for family: HarmFamily, modifiers: RiskModifiers) -> Clearance {
        switch family {
        case .childSexualExploitation: .childSafety
        case .intimateImageAbuse: modifiers.contains(.minor) ? .childSafety : .general
        case .suicideSelfHarm, .terrorism, .domesticViolence, .unrecognised: .graphic
        case .violentThreat, .missingPerson, .humanTrafficking, .disaster, .otherImminentHarm:
            .general
        }
    }
}

extension RoutingRegion {
    /// The region that takes reports of a jurisdiction; `unspecified` for one that is not listed.
    ///
    /// Source: ISO 3166-1 alpha-2, as officially assigned, and the user-assigned `XK`.
    package init(_ region: RegionCode) {
        self = Self.table[Int(region.rawValue & 0x3FF)]
    }

    /// By packed region code: ten bits.
    private static let table: [RoutingRegion] = {
        var table = [RoutingRegion](repeating: .unspecified, count: 1 << 10)
        for (region, codes) in [
            (RoutingRegion.americas, americasCodes), (.emea, emeaCodes), (.asiaPacific, apacCodes),
        ] {
            for code in codes.split(separator: " ") {
                let text = Array(code.utf8)
                guard let packed = RegionCode(text: text.span) else { continue }
                table[Int(packed.rawValue)] = region
            }
        }
        return table
    }()

    private static let americasCodes = """
        AG AI AR AW BB BL BM BO BQ BR BS BV BZ CA CL CO CR CU CW DM DO EC FK GD GF GL GP GS GT GY HN \
        HT JM KN KY LC MF MQ MS MX NI PA PE PM PR PY SR SV SX TC TT US UM UY VC VE VG VI
        """

    private static let emeaCodes = """
        AD AE AL AM AO AT AX AZ BA BE BF BG BH BI BJ BW BY CD CF CG CH CI CM CV CY CZ DE DJ DK DZ EE \
        EG EH ER ES ET FI FO FR GA GB GE GG GH GI GM GN GQ GR GW HR HU IE IL IM IQ IR IS IT JE JO KE \
        KM KW LB LI LR LS LT LU LV LY MA MC MD ME MG MK ML MR MT MU MW MZ NA NE NG NL NO OM PL PS PT \
        QA RE RO RS RU RW SA SC SD SE SH SI SJ SK SL SM SN SO SS ST SY SZ TD TF TG TN TR TZ UA UG VA \
        XK YE YT ZA ZM ZW
        """

    private static let apacCodes = """
        AF AQ AS AU BD BN BT CC CK CN CX FJ FM GU HK HM ID IN IO JP KG KH KI KP KR KZ LA LK MH MM MN \
        MO MP MV MY NC NF NP NR NU NZ PF PG PH PK PN PW SB SG TH TJ TK TL TM TO TV TW UZ VN VU WF WS
        """
}
