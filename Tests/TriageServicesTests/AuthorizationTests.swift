// Who may call what: every role against every method, against a table written out a second time.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC

@testable import TriageEngine
@testable import TriageServices

@Suite struct AuthorizationTests {
    /// Methods by the roles that may call them, as the policy's documentation has it.
    private static let matrix: [(roles: [Role], routes: [Route])] = [
        ([.intake, .partner, .specialist, .lead], [.submitReport, .submitReports]),
        ([.specialist, .lead, .auditor, .operator], [.getCase, .listCases, .watchBoard]),
        (
            [.specialist, .lead],
            [
                .answerProtocol, .decideCase, .closeCase, .reopenCase, .claimNext, .acceptCase,
                .renewLease, .releaseLease, .handOffCase, .completeCase, .watchAssignments,
            ]
        ),
        ([.externalPartner, .legal], [.submitDisclosureRequest]),
        (
            [.legal, .auditor, .lead, .externalPartner],
            [.getDisclosureRequest, .listDisclosureRequests, .watchDisclosureRequest]
        ),
        (
            [.legal, .lead],
            [.addVerification, .setScope, .approveDisclosure, .rejectDisclosure]
        ),
        ([.operator, .lead, .auditor], [.getStatus]),
        ([.operator, .lead], [.createSnapshot]),
        ([.operator], [.rotateKeys, .listBackup, .readBackup]),
        ([.operator, .auditor], [.signHead]),
        ([.auditor], [.proveRecord, .proveHistory]),
        ([.specialist, .lead, .legal], [.attachEvidence]),
        (
            [.specialist, .lead, .legal, .auditor],
            [.listEvidence, .readEvidence, .listHolds, .listHoldRules]
        ),
        ([.lead, .legal], [.eraseEvidence, .eraseReportTexts, .placeHold]),
        ([.legal], [.releaseHold]),
        (Role.allCases, [.healthList, .reflection, .reflectionAlpha]),
        (
            [.operator],
            [
                .channelzTopChannels, .channelzServers, .channelzServer, .channelzServerSockets,
                .channelzChannel, .channelzSubchannel, .channelzSocket,
            ]
        ),
    ]

    @Test func theTable_namesEveryMethodThatNeedsAnIdentity_once() {
        let named = Self.matrix.flatMap(\.routes)
        #expect(Set(named).count == named.count)
        let open = Set(Route.allCases).subtracting(named)
        #expect(open == [.healthCheck, .healthWatch])
    }

    private func outcome(_ bench: ServiceBench, _ route: Route, by name: String) -> RPCError? {
        switch route {
        case .submitReports, .attachEvidence, .reflection, .reflectionAlpha:
            let call = bench.open(route, by: name)
            return bench.answer(call).error
        default:
            return bench.call(route, by: name, bytes: []).error
        }
    }

    @Test(arguments: Role.allCases) func everyMethod(role: Role) {
        let bench = ServiceBench()
        for (roles, routes) in Self.matrix {
            for route in routes {
                let error = outcome(bench, route, by: role.name)
                if roles.contains(role) {
                    #expect(error?.code != .permissionDenied, "\(route)")
                    #expect(error?.code != .unauthenticated, "\(route)")
                } else {
                    #expect(error?.code == .permissionDenied, "\(route)")
                    #expect(error?.reason == "ROLE_REQUIRED", "\(route)")
                    let named = Set(
                        (error?.metadata["roles"] ?? "").split(separator: ", ").map(String.init))
                    #expect(named == Set(roles.map(\.name)), "\(route)")
                }
            }
        }
        #expect(bench.engine.journal.records.isEmpty)
    }

    @Test func aStranger_isToldSo_byEveryMethod() {
        let bench = ServiceBench()
        for route in Self.matrix.flatMap(\.routes) {
            let error = outcome(bench, route, by: "stranger")
            #expect(error?.code == .permissionDenied && error?.reason == "PRINCIPAL_UNKNOWN")
        }
    }

    @Test func withoutACertificate_onlyHealthAnswers() throws {
        let bench = ServiceBench()
        for route in Self.matrix.flatMap(\.routes) {
            #expect(outcome(bench, route, by: "")?.code == .unauthenticated)
        }
        #expect(try bench.reply(.healthCheck, by: "").text("status") == "SERVING")
        #expect(
            Set(bench.factory.methods.methods.filter(\.allowedWithoutIdentity).map(\.path))
                == [Route.healthCheck.path, Route.healthWatch.path])
    }

    @Test func refusalComesBeforeDecoding_andBeforeExistence() {
        let bench = ServiceBench()
        let garbage = bench.call(.getCase, by: "intake", bytes: [0xFF, 0xFF])
        #expect(garbage.error?.reason == "ROLE_REQUIRED")
    }

    @Test func aNewPolicy_countsFromTheNextCall_onOpenConnectionsToo() throws {
        let bench = ServiceBench()
        _ = try bench.reply(.listCases, by: "operator")
        bench.policy.replace(Policy(entries: [:]))
        #expect(try bench.refusal(.listCases, by: "operator").reason == "PRINCIPAL_UNKNOWN")
        bench.policy.replace(ServiceBench.policy())
        _ = try bench.reply(.listCases, by: "operator")
    }

    @Test func whoLosesARole_losesWhatThatRoleHadOpen_othersDoNot() throws {
        let bench = ServiceBench()
        let lead = bench.begin(.watchBoard, by: "lead", [])
        let auditor = bench.begin(.watchBoard, by: "auditor", [])
        let claim = bench.begin(
            .claimNext, by: "ben",
            try bench.schema(.claimNext).request.encode(
                message([
                    "request_id": bench.uuid(), "wait_duration": .duration(milliseconds: 50_000),
                ])))
        bench.settle()
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("lead")]?.roles = RoleSet(.intake)
        policy.entries[ServiceBench.principal("ben")] = nil
        bench.policy.replace(policy)
        bench.settle()
        #expect(bench.answer(lead).error?.reason == "ROLE_REQUIRED")
        #expect(bench.answer(claim).error?.reason == "PRINCIPAL_UNKNOWN")
        #expect(!bench.answer(auditor).isOver)
        #expect(bench.engine.core.watches.count == 1 && bench.engine.core.claims.count == 0)
    }

    @Test func whoseRightsChange_losesWhatRestedOnTheOldOnes() throws {
        let bench = ServiceBench()
        let file = try bench.file()
        let claim = bench.begin(
            .claimNext, by: "ben",
            try bench.schema(.claimNext).request.encode(
                message([
                    "request_id": bench.uuid(), "wait_duration": .duration(milliseconds: 50_000),
                ])))
        let watch = bench.begin(
            .watchDisclosureRequest, by: "legal",
            try bench.schema(.watchDisclosureRequest).request.encode(
                message(["name": .string(file.text("name"))])))
        let board = bench.begin(.watchBoard, by: "lead", [])
        let reports = bench.open(.submitReports, by: "intake")
        bench.settle()
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("ben")]?.eligibility = ServiceBench.nothing
        policy.entries[ServiceBench.principal("legal")]?.roles = RoleSet(.externalPartner)
        policy.entries[ServiceBench.principal("lead")]?.roles.insert(.auditor)
        policy.entries[ServiceBench.principal("intake")]?.roles = RoleSet(.operator)
        bench.policy.replace(policy)
        bench.settle()
        #expect(bench.answer(claim).error?.reason == "POLICY_CHANGED")
        #expect(bench.answer(watch).error?.reason == "POLICY_CHANGED")
        #expect(bench.answer(reports).error?.reason == "ROLE_REQUIRED")
        #expect(!bench.answer(board).isOver)
        #expect(bench.engine.core.watches.count == 1 && bench.engine.core.claims.count == 0)
    }

    /// What was accepted stands, and is told of; what follows is refused one by one.
    @Test func reportsOfAStream_thatStand_areToldOf_whenThePolicyChanges() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        func send() throws {
            let bytes = try bench.schema(.submitReports).request.encode(
                message(["request_id": bench.uuid(), "report": bench.report()]))
            bench.handler.streamMessageReceived(call, bytes.span)
            bench.settle()
        }
        func set(_ roles: RoleSet) {
            var policy = ServiceBench.policy()
            policy.entries[ServiceBench.principal("intake")]?.roles = roles
            bench.policy.replace(policy)
            bench.settle()
        }
        try send()
        set(RoleSet(.operator))
        try send()
        set(RoleSet(.intake))
        try send()
        bench.handler.streamInputEnded(call)
        bench.settle()
        let reply = try #require(try bench.messages(.submitReports, call).first)
        #expect(reply.messages("results").map { $0.int("code") } == [0, 7, 0])
        #expect(reply.messages("results")[1].text("reason") == "ROLE_REQUIRED")
        #expect(bench.engine.journal.records.count == 2)
    }

    @Test func whoIsNotKnownAnyMore_asksReflectionNothingMore() throws {
        let bench = ServiceBench()
        let calls = ["auditor", "lead"].map { bench.open(.reflection, by: $0) }
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("auditor")] = nil
        bench.policy.replace(policy)
        bench.settle()
        for call in calls { bench.handler.streamMessageReceived(call, [UInt8]([0x3A, 0x00]).span) }
        #expect(bench.answer(calls[0]).error?.code == .permissionDenied)
        #expect(bench.answer(calls[0]).messages.isEmpty)
        #expect(bench.answer(calls[1]).messages.count == 1)
    }

    @Test func aDoorsRole_isAllThatCountsThere_alsoWhenThePolicyChanges() throws {
        let bench = ServiceBench()
        bench.enter("partner", through: .partner)
        let reports = bench.open(.submitReports, by: "partner")
        bench.settle()
        #expect(!bench.answer(reports).isOver)
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("partner")]?.roles = RoleSet(.partner, .lead)
        bench.policy.replace(policy)
        bench.settle()
        #expect(!bench.answer(reports).isOver)
        #expect(try bench.refusal(.listCases, by: "partner").reason == "ROLE_REQUIRED")
        policy.entries[ServiceBench.principal("partner")]?.roles = RoleSet(.intake)
        bench.policy.replace(policy)
        bench.settle()
        #expect(bench.answer(reports).error?.reason == "ROLE_REQUIRED")
    }

    @Test func anOperator_seesNoFullView() throws {
        let bench = ServiceBench()
        let name = try bench.submit()
        _ = try bench.reply(.getCase, by: "operator", ["name": .string(name)])
        let error = try bench.refusal(
            .getCase, by: "operator",
            [
                "name": .string(name), "view": .enumeration("CASE_VIEW_FULL"),
                "purpose": .string("curious"),
            ])
        #expect(error.reason == "ROLE_REQUIRED")
        #expect(error.metadata["roles"] == "specialist, lead, auditor")
    }

    @Test(arguments: [("specialist", true), ("auditor", true), ("narrow", false)])
    func theChildSafetyWall(name: String, passes: Bool) throws {
        let bench = ServiceBench()
        let matter = try bench.submit(about: "p", "HARM_FAMILY_CHILD_SEXUAL_EXPLOITATION")
        let answer = try bench.call(
            .getCase, by: name,
            [
                "name": .string(matter), "view": .enumeration("CASE_VIEW_FULL"),
                "purpose": .string("triage"),
            ])
        #expect(answer.error?.reason == (passes ? nil : "CLEARANCE_REQUIRED"))
    }
}
