// The level that a case gets at intake, before any human has answered: a table and four raises.
// Knows the facts of a report, and nothing of the case that it belongs to.

internal import TriageBase

/// Screening at intake.
///
/// Whatever is not known counts as worse than what is known to be mild. A machine can bring a case
/// to P1 and never to P0; nothing here lowers anything.
///
/// Source: domain reference §8.1 (proposal; configuration in a later issue).
package enum Screening {
    /// The version that is recorded with the rules; changes with any row or threshold.
    package static let version = "2026-11"

    /// Levels of one kind of harm, by how soon it is expected; "now" has rules of its own.
    struct Row {
        let family: HarmFamily
        let notImminent: Level
        let within7Days: Level
        /// Not said: never less urgent than "within 7 days".
        let unspecified: Level
        let within24Hours: Level

        func level(_ imminence: Imminence) -> Level {
            switch imminence {
            case .notImminent: notImminent
            case .within7Days: within7Days
            case .unspecified: unspecified
            case .within24Hours, .now: within24Hours
            }
        }
    }

    /// In the order of the raw values.
    static let rows: [Row] = [
        // A kind that this version does not know: as another imminent harm, one level up.
        Row(
            family: .unrecognised, notImminent: .p3, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // Short distance from thought to act: a human looks within the hour unless it is over.
        Row(
            family: .suicideSelfHarm, notImminent: .p3, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // Most threats are not carried out; one that names a day is taken as meant.
        Row(
            family: .violentThreat, notImminent: .p3, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // Many lives at once: a week is soon, and not knowing is no comfort.
        Row(
            family: .terrorism, notImminent: .p2, within7Days: .p1, unspecified: .p1,
            within24Hours: .p1),
        // A child may be in an abuser's hands behind any such report, even an old one.
        Row(
            family: .childSexualExploitation, notImminent: .p2, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // The first hours decide; when they began is mostly not said.
        Row(
            family: .missingPerson, notImminent: .p3, within7Days: .p2, unspecified: .p1,
            within24Hours: .p1),
        // Control lasts for weeks; moving the victim is the moment that counts.
        Row(
            family: .humanTrafficking, notImminent: .p3, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // Grave and spreading, rarely a danger to life by itself; its legal clock runs in days.
        Row(
            family: .intimateImageAbuse, notImminent: .p4, within7Days: .p3, unspecified: .p3,
            within24Hours: .p2),
        // Escalates without notice between reports.
        Row(
            family: .domesticViolence, notImminent: .p3, within7Days: .p2, unspecified: .p2,
            within24Hours: .p1),
        // Authorities mostly know already; posts of trapped persons are what matters.
        Row(
            family: .disaster, notImminent: .p4, within7Days: .p3, unspecified: .p2,
            within24Hours: .p1),
        // By its name imminent, without more to go by.
        Row(
            family: .otherImminentHarm, notImminent: .p4, within7Days: .p3, unspecified: .p3,
            within24Hours: .p2),
    ]

    /// From this confidence on, a machine signal raises by one.
    static let signalPermilleRaising: UInt16 = 900
    /// From this number on, modifiers raise by one (decision point D).
    static let modifierCountRaising = 2

    /// What "happening now" gives, by who says so.
    ///
    /// Somebody who answers for what they say is believed at once; from anyone else it is P1, and
    /// the first human touch confirms or not. A machine alone never gives P0.
    static func levelWhenNow(_ reporter: ReporterKind) -> Level {
        switch reporter {
        case .partner, .staff, .authority: .p0
        case .user, .unrecognised, .classifier: .p1
        }
    }

    /// The level of a report.
    package static func level(of facts: ReportFacts) -> Level {
        let base = rows[Int(facts.family.rawValue)].level(facts.imminence)
        var raises: UInt8 = 0
        // A machine is sure.
        if facts.signalPermille >= signalPermilleRaising { raises += 1 }
        // On air, or not known to have ended: every minute has an audience.
        if facts.live { raises += 1 }
        // Two circumstances or more.
        if facts.modifiers.count >= modifierCountRaising { raises += 1 }
        // A public authority vouches for it.
        if facts.reporter == .authority { raises += 1 }
        // Raises end at P1.
        let raised = raises >= base.rawValue ? .p1 : Level(rawValue: base.rawValue - raises) ?? .p1
        let level = min(base, raised)
        return facts.imminence == .now ? min(level, levelWhenNow(facts.reporter)) : level
    }
}
