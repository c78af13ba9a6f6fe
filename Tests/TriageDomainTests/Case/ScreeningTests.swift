import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct ScreeningTests {
    func forEach(_ body: (ReportFacts) -> Void) {
        for family in HarmFamily.allCases {
            for reporter in ReporterKind.allCases {
                for imminence in Imminence.allCases {
                    for modifiers in [RiskModifiers(), [.minor], [.minor, .namedVictim]] {
                        for signal in [UInt16(0), 899, 900, 1_000] {
                            for live in [false, true] {
                                body(
                                    .example(
                                        family: family, reporter: reporter, imminence: imminence,
                                        modifiers: modifiers, signal: signal, live: live))
                            }
                        }
                    }
                }
            }
        }
    }

    @Test func rowsStandInTheOrderOfTheFamilies() {
        #expect(Screening.rows.map(\.family) == HarmFamily.allCases)
    }

    @Test func aMachineAloneNeverGivesP0() {
        forEach { facts in
            if facts.reporter == .classifier { #expect(Screening.level(of: facts) >= .p1) }
        }
    }

    @Test func onlyWhoAnswersForItGivesP0AndOnlyForNow() {
        forEach { facts in
            let answers = [.partner, .staff, .authority].contains(facts.reporter)
            #expect(
                (Screening.level(of: facts) == .p0) == (answers && facts.imminence == .now),
                "\(facts)")
        }
    }

    @Test func aUserWhoSaysNowGivesP1() {
        for family in HarmFamily.allCases {
            #expect(Screening.level(of: .example(family: family, imminence: .now)) == .p1)
        }
    }

    @Test func nothingThatIsAddedLowers() {
        forEach { facts in
            let before = Screening.level(of: facts)
            var more = facts
            more.modifiers = RiskModifiers(rawValue: 0x7F)
            #expect(Screening.level(of: more) <= before)
            more = facts
            more.signalPermille = 1_000
            #expect(Screening.level(of: more) <= before)
            more = facts
            more.live = true
            #expect(Screening.level(of: more) <= before)
        }
    }

    @Test func soonerNeverLowersAndNotSayingIsNoBetterThanAWeek() {
        let order: [Imminence] = [.notImminent, .within7Days, .unspecified, .within24Hours, .now]
        forEach { facts in
            var previous = Level.p4
            for imminence in order {
                var facts = facts
                facts.imminence = imminence
                let level = Screening.level(of: facts)
                #expect(level <= previous)
                previous = level
            }
        }
    }

    @Test func anUnknownFamilyStandsOneAboveAnotherImminentHarm() {
        for imminence in Imminence.allCases where imminence != .now {
            let unknown = Screening.level(
                of: .example(family: .unrecognised, imminence: imminence))
            let other = Screening.level(
                of: .example(family: .otherImminentHarm, imminence: imminence))
            #expect(unknown == other.raised)
        }
    }

    @Test func everyCountryHasOneRegion() {
        var seen: Set<String> = []
        for (_, countries) in RoutingRegion.countriesOfRegion {
            for country in countries.split(separator: " ") {
                #expect(seen.insert(String(country)).inserted, "\(country) twice")
            }
        }
        // 249 assigned by ISO, and EU, UK, XK.
        #expect(seen.count == 252)
        func region(_ text: String) -> RoutingRegion? {
            RegionCode(text: Array(text.utf8).span).map(RoutingRegion.serving)
        }
        #expect(region("US") == .americas)
        #expect(region("de") == .emea)
        #expect(region("JP") == .asiaPacific)
        #expect(region("ZZ") == .unspecified)
        #expect(RoutingRegion.serving(.unknown) == .unspecified)
    }

    @Test func sexualMatterWithAMinorIsBehindTheWall() {
        #expect(Clearance.required(for: .childSexualExploitation, modifiers: []) == .childSafety)
        #expect(Clearance.required(for: .intimateImageAbuse, modifiers: [.minor]) == .childSafety)
        #expect(Clearance.required(for: .intimateImageAbuse, modifiers: []) == .general)
        #expect(Clearance.required(for: .unrecognised, modifiers: []) == .graphic)
    }
}
