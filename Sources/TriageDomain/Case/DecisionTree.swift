// The triage protocol: recorded answers to four questions give a level. A pure function of the
// answers; knows no case, no person and no time.

internal import TriageBase

/// Decision points A to D.
///
/// ```
/// A  is serious harm happening now?             yes, unknown                 -> P0
/// B  a credible, specific threat?               yes, unknown                 -> P1
///    for suicide: intent, plan, recent behaviour, unknown                    -> P1
/// C  how many actions are needed?               two or more, unknown         -> P2
///                                               one                          -> P3
///                                               none                         -> P4
/// D  circumstances, known or unknown            two or more                  -> C's, raised
/// ```
///
/// D raises what C gave, and not what B gave: P0 means "happening now", which no circumstance says.
/// (So does its model, where the danger-zone check follows the count of resources.) Within a band,
/// more circumstances still come first.
///
/// Source: domain reference §8.1, after ESI and C-SSRS.
package enum DecisionTree {
    /// From this number on, circumstances raise.
    static let modifierCountRaising = 2

    /// Walks the tree.
    ///
    /// - Parameters:
    ///   - answers: Each answered or `unknown`, which counts as the graver answer.
    ///   - reported: Circumstances that reports assert; those not answered `no` count.
    ///   - family: Goes into the code.
    /// - Returns: The level and the code that explains it.
    package static func walk(
        _ answers: ProtocolAnswers, reported: RiskModifiers, family: HarmFamily
    ) -> (level: Level, code: LevelCode) {
        let modifiers = answers.modifiersPresent.union(answers.modifiersUnknown)
            .union(reported.subtracting(answers.modifiersAbsent))
        func result(_ level: Level, _ point: DecisionPoint) -> (Level, LevelCode) {
            (level, LevelCode(family: family, point: point, modifiers: modifiers))
        }
        if answers.happeningNow != .no { return result(.p0, .a) }
        if answers.credibleThreat != .no || answers.suicideRung.isHigh { return result(.p1, .b) }
        let level: Level
        switch answers.actionCount {
        case .twoOrMore, .unknown: level = .p2
        case .one: level = .p3
        case .none: level = .p4
        }
        return result(modifiers.count >= modifierCountRaising ? level.raised : level, .c)
    }
}

extension SuicideRung {
    /// True when the rung alone makes a threat credible.
    var isHigh: Bool {
        switch self {
        case .intent, .plan, .recentBehaviour, .unknown: true
        case .notAsked, .none, .wish, .thoughts, .method: false
        }
    }
}
