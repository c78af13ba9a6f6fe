// The one place that decides whether something of a case may be erased, and the rules that holds
// are placed under: versioned data with source, effective date and mark. Nothing here is legal
// advice.

package import TriageBase

/// A rule that holds are placed under, from a day on.
package struct HoldRule: Sendable {
    /// Names the rule for ever; two versions of a rule share it.
    package let key: String
    package let title: String
    /// Statute, order or published practice.
    package let source: String
    package let mark: VerificationMark
    /// From when it applies.
    package let effectiveFrom: WallTime
    /// The period that it gives, at least; nil when whoever places the hold gives its end.
    package let periodMilliseconds: Int64?
    /// Kinds of harm for which a decision that says a statutory report was made places it.
    package let followsReportOf: [HarmFamily]
}

/// All hold rules, and what they forbid.
package enum HoldRules {
    /// Changes with any row.
    package static let version = "2026-11"

    private static let day: Int64 = 24 * 3_600_000

    private static func row(
        _ key: String, _ title: String, source: String, mark: VerificationMark,
        from: WallTime = .epoch, days: Int64? = nil, followsReportOf: [HarmFamily] = []
    ) -> HoldRule {
        HoldRule(
            key: key, title: title, source: source, mark: mark, effectiveFrom: from,
            periodMilliseconds: days.map { $0 * day }, followsReportOf: followsReportOf)
    }

    /// Oldest version first within a key.
    ///
    /// Source: domain reference §6.2, with its marks.
    package static let all: [HoldRule] = [
        // A completed report is a request to preserve its contents. 90 days before Pub. L. 118-59.
        row(
            "US_2258A_REPORT", "United States: contents of a CyberTipline report",
            source: "18 U.S.C. 2258A(h)", mark: .verified, days: 90,
            followsReportOf: [.childSexualExploitation]),
        row(
            "US_2258A_REPORT", "United States: contents of a CyberTipline report",
            source: "18 U.S.C. 2258A(h), Pub. L. 118-59 s. 3", mark: .verified,
            // 2024-05-07T00:00Z.
            from: WallTime(milliseconds: 1_715_040_000_000), days: 365,
            followsReportOf: [.childSexualExploitation]),
        row(
            "US_2703F_PRESERVATION", "United States: preservation request",
            source: "18 U.S.C. 2703(f)", mark: .verified, days: 90),
        // Six months: the longest run of six calendar months has 184 days.
        row(
            "EU_2021_784_TERRORIST_CONTENT", "European Union: removed terrorist content",
            source: "Regulation (EU) 2021/784, Article 6", mark: .verified,
            // 2022-06-07T00:00Z, when it began to apply.
            from: WallTime(milliseconds: 1_654_560_000_000), days: 184),
        row(
            "EU_2023_1543_PRESERVATION", "European Preservation Order",
            source: "Regulation (EU) 2023/1543, Article 11", mark: .verified,
            // 2026-08-18T00:00Z.
            from: WallTime(milliseconds: 1_787_011_200_000), days: 60),
        row(
            "COURT_ORDER", "Order of a court or an authority", source: "The order cited",
            mark: .unverified),
        row(
            "LITIGATION", "Pending or expected proceedings", source: "Duty to preserve evidence",
            mark: .unverified),
        row(
            "INTERNAL_REVIEW", "Own review: quality, appeal, safety of a person",
            source: "Ours, not law", mark: .unverified),
    ]

    /// The version of a rule that applies at a time; nil for an unknown key, or one that does not
    /// apply yet.
    package static func rule(_ key: String, at time: WallTime) -> HoldRule? {
        all.last { $0.key == key && $0.effectiveFrom <= time }
    }

    // MARK: Placing

    /// Completes an order with the end that its rule gives.
    ///
    /// - Throws: ``DomainError/invalidField(field:description:)`` for an unknown rule, or an end
    ///   that is missing, in the past, before the rule's, or too far away.
    static func complete(_ order: HoldOrder, at now: WallTime) throws(DomainError) -> HoldOrder {
        guard let rule = rule(order.rule, at: now) else {
            throw .invalidField(
                field: "hold.rule", description: "is no rule that applies: see ListHoldRules")
        }
        var order = order
        let least = rule.periodMilliseconds.map { now.advanced(byMilliseconds: $0) }
        if order.expiresAt == .epoch {
            guard let least else {
                throw .invalidField(
                    field: "hold.expire_time", description: "is required: the rule gives no period")
            }
            order.expiresAt = least
        }
        guard order.expiresAt > now, order.expiresAt >= least ?? now else {
            throw .invalidField(
                field: "hold.expire_time",
                description: "is before the end that the rule gives: give a later one, or none")
        }
        guard order.expiresAt <= now.advanced(byMilliseconds: Limits.holdMillisecondsMax) else {
            throw .invalidField(
                field: "hold.expire_time",
                description: "is more than ten years away: place it anew when it is due")
        }
        return order
    }

    /// The hold that a decision places by itself; nil for most.
    static func following(
        _ decision: CaseDecision, of family: HarmFamily, at now: WallTime
    ) -> HoldOrder? {
        guard decision.duties.statutoryReport == .done else { return nil }
        let rule = all.last { $0.followsReportOf.contains(family) && $0.effectiveFrom <= now }
        guard let rule, let period = rule.periodMilliseconds else { return nil }
        return HoldOrder(
            rule: rule.key, authority: rule.source, reason: "a statutory report was made",
            expiresAt: now.advanced(byMilliseconds: period))
    }

    // MARK: Forbidding

    /// What an identifier of a person, an account or content is compared by: its text in lower
    /// case, without blanks around it, a scheme, a leading `@` and a slash at the end.
    ///
    /// Kinds are not compared: a platform's account number may have been asked for as a user name.
    /// A doubt keeps.
    package static func identity(of text: String) -> Hash128 {
        var rest = text.lowercased()[...]
        while let first = rest.first, first.isWhitespace || first == "@" { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace || last == "/" { rest.removeLast() }
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) {
            rest.removeFirst(scheme.count)
        }
        if rest.hasPrefix("www.") { rest.removeFirst(4) }
        return Hash128(of: Array(rest.utf8).span, seed: 0x6964_656E_7469_7479)
    }

    /// Whether a disclosure request is about a case.
    ///
    /// The identities are those of the case's subjects; some may be missing, of erased words.
    static func names(
        _ request: DisclosureRequest, _ value: Case, _ identities: Set<Hash128>
    ) -> Bool {
        if request.filing.caseNumber == value.number { return true }
        return request.filing.identifiers.contains { identifier in
            if identities.contains(identity(of: identifier.value)) { return true }
            // What is known of the main subject without its words: the hash of its kind and id.
            let text = Array(identifier.value.utf8)
            return subjectKinds.contains { kind in
                Hash128(of: text.span, seed: kind) == value.subject
            }
        }
    }

    /// Seeds of the fingerprints of subjects: the API's subject kinds.
    private static let subjectKinds: ClosedRange<UInt64> = 0...31
}
