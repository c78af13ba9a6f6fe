import Testing
import TriageBase

@testable import TriageDomain

@Suite struct DecisionTreeTests {
    /// Every combination of answers, circumstances by number only.
    static func forEach(_ body: (ProtocolAnswers) -> Void) {
        for happening in Answer.allCases {
            for credible in Answer.allCases {
                for rung in SuicideRung.allCases {
                    for actions in ActionCount.allCases {
                        for present in 0...3 {
                            for unknown in 0...(3 - present) {
                                body(
                                    answers(happening, credible, rung, actions, present, unknown))
                            }
                        }
                    }
                }
            }
        }
    }

    static func answers(
        _ happening: Answer, _ credible: Answer, _ rung: SuicideRung, _ actions: ActionCount,
        _ present: Int, _ unknown: Int
    ) -> ProtocolAnswers {
        let presentBits = UInt8(1 << present) - 1
        let unknownBits = (UInt8(1 << unknown) - 1) << UInt8(present)
        return ProtocolAnswers(
            protocolVersion: "t", happeningNow: happening, credibleThreat: credible,
            suicideRung: rung, actionCount: actions,
            modifiersPresent: RiskModifiers(rawValue: presentBits),
            modifiersUnknown: RiskModifiers(rawValue: unknownBits),
            modifiersAbsent: RiskModifiers(rawValue: 0x7F & ~(presentBits | unknownBits)))
    }

    static func level(_ answers: ProtocolAnswers) -> Level {
        DecisionTree.walk(answers, reported: [], family: .violentThreat).level
    }

    /// The answers that are one step graver than these.
    static func raised(_ answers: ProtocolAnswers) -> [ProtocolAnswers] {
        var out: [ProtocolAnswers] = []
        func add(_ change: (inout ProtocolAnswers) -> Void) {
            var copy = answers
            change(&copy)
            out.append(copy)
        }
        if answers.happeningNow == .no {
            add { $0.happeningNow = .yes }
            add { $0.happeningNow = .unknown }
        }
        if answers.credibleThreat == .no {
            add { $0.credibleThreat = .yes }
            add { $0.credibleThreat = .unknown }
        }
        for rung in SuicideRung.allCases where rung.rawValue > answers.suicideRung.rawValue {
            add { $0.suicideRung = rung }
        }
        switch answers.actionCount {
        case .none:
            for count in [ActionCount.one, .twoOrMore, .unknown] { add { $0.actionCount = count } }
        case .one:
            for count in [ActionCount.twoOrMore, .unknown] { add { $0.actionCount = count } }
        case .twoOrMore, .unknown: break
        }
        if let bit = (0..<7).first(where: { answers.modifiersAbsent.rawValue >> UInt8($0) & 1 == 1 }
        ) {
            let modifier = RiskModifiers(rawValue: 1 << UInt8(bit))
            add {
                $0.modifiersAbsent.subtract(modifier)
                $0.modifiersPresent.insert(modifier)
            }
            add {
                $0.modifiersAbsent.subtract(modifier)
                $0.modifiersUnknown.insert(modifier)
            }
        }
        return out
    }

    @Test func aGraverAnswerNeverLowersTheLevel() {
        var pairs = 0
        Self.forEach { answers in
            let before = Self.level(answers)
            for raised in Self.raised(answers) {
                pairs += 1
                if Self.level(raised) > before { Issue.record("\(answers) to \(raised)") }
            }
        }
        #expect(pairs > 10_000)
    }

    @Test func unknownCountsAsMuchAsTheGravestAnswer() {
        Self.forEach { answers in
            var unknown = answers
            var yes = answers
            unknown.happeningNow = .unknown
            yes.happeningNow = .yes
            #expect(Self.level(unknown) <= Self.level(yes))
            (unknown, yes) = (answers, answers)
            unknown.credibleThreat = .unknown
            yes.credibleThreat = .yes
            #expect(Self.level(unknown) <= Self.level(yes))
            (unknown, yes) = (answers, answers)
            unknown.actionCount = .unknown
            yes.actionCount = .twoOrMore
            #expect(Self.level(unknown) <= Self.level(yes))
            (unknown, yes) = (answers, answers)
            unknown.suicideRung = .unknown
            yes.suicideRung = .recentBehaviour
            #expect(Self.level(unknown) <= Self.level(yes))
            (unknown, yes) = (answers, answers)
            unknown.modifiersUnknown.formUnion(unknown.modifiersPresent)
            unknown.modifiersPresent = []
            #expect(Self.level(unknown) == Self.level(yes))
        }
    }

    @Test func followsTheTableOfTheReference() {
        func level(
            _ a: Answer, _ b: Answer, _ rung: SuicideRung = .notAsked, _ c: ActionCount = .none,
            modifiers: Int = 0
        ) -> (Level, DecisionPoint) {
            let walked = DecisionTree.walk(
                Self.answers(a, b, rung, c, modifiers, 0), reported: [], family: .disaster)
            return (walked.level, walked.code.point)
        }
        #expect(level(.yes, .no) == (.p0, .a))
        #expect(level(.unknown, .no) == (.p0, .a))
        #expect(level(.no, .yes) == (.p1, .b))
        #expect(level(.no, .no, .method) == (.p4, .c))
        #expect(level(.no, .no, .intent) == (.p1, .b))
        #expect(level(.no, .no, .plan) == (.p1, .b))
        #expect(level(.no, .no, .recentBehaviour) == (.p1, .b))
        #expect(level(.no, .no, .none, .twoOrMore) == (.p2, .c))
        #expect(level(.no, .no, .none, .one) == (.p3, .c))
        #expect(level(.no, .no, .none, .none) == (.p4, .c))
        #expect(level(.no, .no, .none, .one, modifiers: 1) == (.p3, .c))
        #expect(level(.no, .no, .none, .one, modifiers: 2) == (.p2, .c))
        #expect(level(.no, .no, .none, .twoOrMore, modifiers: 2) == (.p1, .c))
        // Circumstances do not say that harm is happening now.
        #expect(level(.no, .yes, modifiers: 3) == (.p1, .b))
    }

    @Test func whatReportsAssertCountsUnlessAnsweredNo() {
        var answers = Self.answers(.no, .no, .notAsked, .one, 0, 0)
        answers.modifiersAbsent = [.minor]
        let walked = DecisionTree.walk(
            answers, reported: [.minor, .weaponOrMeans, .locationKnown], family: .violentThreat)
        #expect(walked.code.modifiers == [.weaponOrMeans, .locationKnown])
        #expect(walked.level == .p2)
    }

    @Test func codesAreWrittenAsDocumented() {
        #expect(
            LevelCode(family: .suicideSelfHarm, point: .b, modifiers: [.minor, .locationKnown]).text
                == "SUI-B-ML")
        #expect(LevelCode(family: .terrorism, point: .c, modifiers: []).text == "TER-C")
        #expect(RiskModifiers(rawValue: 0x7F).letters == "MNLWHSC")
        #expect(Set(HarmFamily.allCases.map(\.letters)).count == HarmFamily.allCases.count)
        #expect(GoverningDeadline.target.text(level: .p1) == "target:P1")
    }
}
