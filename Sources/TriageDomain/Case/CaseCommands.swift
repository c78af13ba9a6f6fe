// What can be asked of a case, and the parts of it that commands and events share.

package import TriageBase

/// The facts of a report that rules look at, taken from the validated message by the codec.
package struct ReportFacts: Sendable {
    package var family: HarmFamily
    package var reporter: ReporterKind
    package var imminence: Imminence
    package var modifiers: RiskModifiers
    /// Highest confidence of any machine signal, 0 ...
    ///
    /// 1000; 0 when there is none.
    package var signalPermille: UInt16
    /// The subject is a live stream that is on air, or not known to have ended.
    package var live: Bool
    package var language: LanguageCode
    package var region: RegionCode
    package var routing: RoutingRegion
    package var clearance: Clearance
    /// Fingerprint of the subject's kind and id.
    package var subject: Hash128

    package init(
        family: HarmFamily, reporter: ReporterKind, imminence: Imminence, modifiers: RiskModifiers,
        signalPermille: UInt16, live: Bool, language: LanguageCode, region: RegionCode,
        routing: RoutingRegion, clearance: Clearance, subject: Hash128
    ) {
        self.family = family
        self.reporter = reporter
        self.imminence = imminence
        self.modifiers = modifiers
        self.signalPermille = signalPermille
        self.live = live
        self.language = language
        self.region = region
        self.routing = routing
        self.clearance = clearance
        self.subject = subject
    }
}

/// An answer to a protocol question.
///
/// Unknown counts as yes.
package enum Answer: UInt8, CaseIterable, Sendable {
    case yes = 1
    case no = 2
    case unknown = 3
}

/// The highest rung of suicide risk found.
///
/// `notAsked` outside that family.
package enum SuicideRung: UInt8, CaseIterable, Sendable {
    case notAsked = 0
    case none = 1
    case wish = 2
    case thoughts = 3
    case method = 4
    case intent = 5
    case plan = 6
    case recentBehaviour = 7
    case unknown = 8
}

/// How many distinct actions are needed.
package enum ActionCount: UInt8, CaseIterable, Sendable {
    case none = 1
    case one = 2
    case twoOrMore = 3
    case unknown = 4
}

/// Answers to the triage protocol.
package struct ProtocolAnswers: Sendable {
    /// 1 ...
    ///
    /// 32 bytes, such as `2026-11`.
    package var protocolVersion: String
    package var happeningNow: Answer
    package var credibleThreat: Answer
    package var suicideRung: SuicideRung
    package var actionCount: ActionCount
    /// Circumstances answered yes.
    package var modifiersPresent: RiskModifiers
    /// Circumstances answered unknown: they count as present.
    package var modifiersUnknown: RiskModifiers
    /// Circumstances answered no.
    package var modifiersAbsent: RiskModifiers

    package init(
        protocolVersion: String, happeningNow: Answer, credibleThreat: Answer,
        suicideRung: SuicideRung, actionCount: ActionCount, modifiersPresent: RiskModifiers,
        modifiersUnknown: RiskModifiers, modifiersAbsent: RiskModifiers
    ) {
        self.protocolVersion = protocolVersion
        self.happeningNow = happeningNow
        self.credibleThreat = credibleThreat
        self.suicideRung = suicideRung
        self.actionCount = actionCount
        self.modifiersPresent = modifiersPresent
        self.modifiersUnknown = modifiersUnknown
        self.modifiersAbsent = modifiersAbsent
    }
}

/// One recorded round of answers.
package struct ProtocolRound: Sendable {
    package var answers: ProtocolAnswers
    package var level: Level
    package var code: LevelCode
    package var principal: PrincipalIndex
    package var answeredAt: WallTime
    /// Why the level was lowered; empty when it was not.
    ///
    /// Sensitive.
    package var lowerReason: String

    package init(
        answers: ProtocolAnswers, level: Level, code: LevelCode, principal: PrincipalIndex,
        answeredAt: WallTime, lowerReason: String
    ) {
        self.answers = answers
        self.level = level
        self.code = code
        self.principal = principal
        self.answeredAt = answeredAt
        self.lowerReason = lowerReason
    }
}

/// The outcome of a decision.
///
/// Raw values equal the API's.
package enum DecisionOutcome: UInt8, CaseIterable, Sendable {
    case harmActioned = 1
    case harmReferred = 2
    case welfareResourceSent = 3
    case falseAlarmGoodFaith = 4
    case falseAlarmBadFaith = 5
    case insufficientInformation = 6
    case outsideRemit = 7
    case duplicate = 8
}

/// Whether a duty to act was met.
package enum DutyAnswer: UInt8, CaseIterable, Sendable {
    case unanswered = 0
    case done = 1
    case notApplicable = 2
}

/// Answers on each duty to act.
package struct DutyAnswers: Sendable {
    package var referral: DutyAnswer
    package var statutoryReport: DutyAnswer
    package var preservation: DutyAnswer
    package var welfareResource: DutyAnswer

    package init(
        referral: DutyAnswer, statutoryReport: DutyAnswer, preservation: DutyAnswer,
        welfareResource: DutyAnswer
    ) {
        self.referral = referral
        self.statutoryReport = statutoryReport
        self.preservation = preservation
        self.welfareResource = welfareResource
    }
}

/// What was decided.
///
/// In a command, `principal` and `decidedAt` are not yet set.
package struct CaseDecision: Sendable {
    package var outcome: DecisionOutcome
    package var policyVersion: String
    package var policyKeys: [String]
    /// Sensitive.
    package var rationale: String
    package var duties: DutyAnswers
    package var principal: PrincipalIndex
    package var decidedAt: WallTime

    package init(
        outcome: DecisionOutcome, policyVersion: String, policyKeys: [String], rationale: String,
        duties: DutyAnswers, principal: PrincipalIndex = .none, decidedAt: WallTime = .epoch
    ) {
        self.outcome = outcome
        self.policyVersion = policyVersion
        self.policyKeys = policyKeys
        self.rationale = rationale
        self.duties = duties
        self.principal = principal
        self.decidedAt = decidedAt
    }
}
