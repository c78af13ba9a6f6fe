// Claims that wait.

import TestSupport
import Testing
import TriageBase
import TriageDomain

@testable import TriageEngine

@Suite struct ClaimQueueTests {
    private func wait(
        _ bench: EngineBench, _ eligibility: Eligibility, by name: String, _ milliseconds: Int64
    ) -> EngineRequest {
        bench.request(
            .claim(eligibility, bench.freshKey(), waitMilliseconds: milliseconds), by: name)
    }

    @Test func aClaim_withoutWaiting_isAnsweredAtOnce() {
        let bench = EngineBench()
        let replies = bench.turn(wait(bench, anything, by: "ana", 0))
        #expect(replies.map(\.reply.kind) == ["nothingToClaim"])
    }

    @Test func waitingClaims_areServedInOrder_withTheReportThatWokeThem() {
        let bench = EngineBench()
        let first = wait(bench, anything, by: "ana", 1_000)
        let second = wait(bench, anything, by: "ben", 1_000)
        #expect(bench.turn(first, second).isEmpty)
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey()), by: "intake"))
        #expect(replies.map(\.reply.kind) == ["receipt", "offer"])
        #expect(replies[1].call == first.call)
        // Both in one commit: the specialist hears of the case when the reporter does.
        #expect(bench.journal.commitCount == 1)
        let later = bench.turn(
            bench.request(.write(bench.report(about: 2), bench.freshKey()), by: "intake"))
        #expect(later.last?.call == second.call)
    }

    @Test func aNewcomer_takesNothingFromWhoWaits() {
        let bench = EngineBench()
        let first = wait(bench, anything, by: "ana", 1_000)
        #expect(bench.turn(first).isEmpty)
        let newcomer = wait(bench, anything, by: "ben", 0)
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey()), by: "intake"),
            newcomer)
        #expect(replies.first { $0.reply.kind == "offer" }?.call == first.call)
        #expect(replies.first { $0.call == newcomer.call }?.reply.kind == "nothingToClaim")
    }

    @Test func aWaitingClaim_isNotWokenByWhatItMayNotTake() {
        let bench = EngineBench()
        let picky = wait(bench, suicideOnly, by: "ana", 1_000)
        #expect(bench.turn(picky).isEmpty)
        #expect(
            bench.turn(bench.request(.write(bench.report(about: 1), bench.freshKey())))
                .map(\.reply.kind) == ["receipt"])
        let replies = bench.turn(
            bench.request(.write(bench.report(about: 2, .suicideSelfHarm), bench.freshKey())))
        #expect(replies.map(\.reply.kind) == ["receipt", "offer"])
    }

    @Test func aWaitingClaim_endsAtItsDeadline_empty() throws {
        let bench = EngineBench()
        #expect(bench.turn(wait(bench, anything, by: "ana", 250)).isEmpty)
        let due = try #require(bench.core.nextDeadline)
        #expect(due.nanoseconds(since: bench.clock.monotonicTime()) == 250_000_000)
        bench.clock.advance(milliseconds: 249)
        #expect(bench.turn().isEmpty)
        bench.clock.advance(milliseconds: 1)
        #expect(bench.turn().map(\.reply.kind) == ["nothingToClaim"])
        #expect(bench.core.claims.count == 0)
    }

    @Test func aReleasedCase_wakesWhoWaits() throws {
        let bench = EngineBench()
        _ = try bench.submit(about: 1)
        let offer = try bench.claim(by: "ana")
        #expect(bench.turn(wait(bench, anything, by: "ben", 1_000)).isEmpty)
        let replies = bench.turn(
            bench.request(
                .write(
                    .releaseLease(
                        assignment: offer.value.number, token: offer.value.number, reason: .other),
                    bench.freshKey()), by: "ana"))
        #expect(replies.map(\.reply.kind) == ["outcome", "offer"])
    }

    @Test func aCancelledClaim_takesNothing() throws {
        let bench = EngineBench()
        let waiting = wait(bench, anything, by: "ana", 1_000)
        bench.turn(waiting)
        var cancel = bench.request(.cancel)
        cancel.call = waiting.call
        #expect(bench.turn(cancel).isEmpty)
        _ = try bench.submit(about: 1)
        #expect(bench.core.currentStatus().counts.heldAssignments == 0)
        #expect(bench.core.nextDeadline == nil)
    }

    @Test func whoHasTooMany_isRefused_ratherThanMadeToWait() throws {
        let bench = EngineBench()
        for subject in 0..<UInt64(AssignmentRules.assignmentsPerSpecialistMax) {
            _ = try bench.submit(about: subject)
            _ = try bench.claim()
        }
        let replies = bench.turn(wait(bench, anything, by: "ana", 1_000))
        #expect(replies.count == 1 && replies[0].reply.kind.hasPrefix("refused(tooMany"))
    }

    @Test func claimsThatAreOver_areNeverServed_andTheOthersAreInOrder() {
        let bench = EngineBench()
        let claims = (0..<100).map { _ in wait(bench, anything, by: "ana", 1_000) }
        bench.core.turn([RequestBatch(reactor: 0, requests: claims)])
        // Fewer than half, more than half, and nobody's.
        var left = claims
        for number in [0, 3, 98, 40, 41, 99] + Array(50..<90) + [7, 0] {
            var cancel = bench.request(.cancel)
            cancel.call = claims[number].call
            left.removeAll { $0.call == cancel.call }
            #expect(bench.turn(cancel).isEmpty)
            #expect(bench.core.claims.count == left.count)
        }
        for subject in 0..<3 as Range<UInt64> {
            let replies = bench.turn(
                bench.request(.write(bench.report(about: subject), bench.freshKey()), by: "intake"))
            #expect(replies.last?.call == left.removeFirst().call)
        }
        #expect(bench.core.nextDeadline != nil)
        bench.clock.advance(milliseconds: 1_001)
        #expect(bench.turn().map(\.call) == left.map(\.call))
        #expect(bench.core.claims.count == 0 && bench.core.claims.nextDeadline == nil)
    }

    @Test func whenAllAreOver_nothingIsPlanned() {
        let bench = EngineBench()
        let claims = [wait(bench, anything, by: "ana", 1_000), wait(bench, anything, by: "b", 900)]
        bench.turn(claims[0], claims[1])
        for claim in claims {
            var cancel = bench.request(.cancel)
            cancel.call = claim.call
            bench.turn(cancel)
        }
        #expect(bench.core.nextDeadline == nil)
    }
}
