// What calls cost their callers, in which order a turn is handed over, and that a refused watch
// leaves nothing behind.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageGRPC

@testable import TriageEngine
@testable import TriageServices

@Suite struct FairShareTests {
    @Test func reportsCostNothing_bulkReadsCostTheirWork() {
        let free = Route.allCases.filter { $0.cost == 0 }
        #expect(free == [.submitReport, .submitReports])
        let bulk = Route.allCases.filter { $0.cost == Limits.bulkReadCost }
        #expect(
            bulk == [
                .listCases, .watchBoard, .listDisclosureRequests, .attachEvidence, .readEvidence,
                .createSnapshot, .rotateKeys, .listBackup, .signHead, .proveRecord, .proveHistory,
            ])
        let methods = ServiceBench().factory.methods
        for (index, method) in methods.methods.enumerated() {
            #expect(methods.costs[index] == Route(path: method.path)?.cost)
        }
    }

    @Test func aTurn_handsReportsOverBeforeBulkReads() throws {
        let bench = ServiceBench()
        for _ in 0..<3 { _ = bench.begin(.listCases, by: "lead", []) }
        let fields = message(["request_id": bench.uuid(), "report": bench.report()])
        _ = bench.begin(
            .submitReport, by: "intake", try bench.schema(.submitReport).request.encode(fields))
        _ = bench.begin(.listDisclosureRequests, by: "legal", [])
        bench.handler.turnEnded()
        let order = try #require(bench.engine.batches.first).requests.map(\.operation.isWrite)
        #expect(order == [true, false, false, false, false])
        bench.settle()
    }

    @Test func bulkReads_areWithTheEngineAFewAtATime_andAllAnswered() throws {
        let bench = ServiceBench()
        var calls: [CallID] = []
        for _ in 0..<700 { calls.append(bench.begin(.listCases, by: "lead", [])) }
        let gone = calls.removeLast()
        bench.handler.callCancelled(gone, .byClient)
        var largest = 0
        bench.handler.turnEnded()
        while !bench.engine.batches.isEmpty {
            largest = max(largest, bench.engine.batches.reduce(0) { $0 + $1.requests.count })
            bench.engine.run()
            bench.mailbox.run(bench.handler)
            bench.handler.turnEnded()
        }
        #expect(largest == Limits.bulkReadsInFlightMax)
        #expect(calls.allSatisfy { bench.answer($0).messages.count == 1 })
        #expect(!bench.answer(gone).isOver, "nobody asked the engine for it")
    }

    @Test func bulkReads_thatTheEngineRefuses_makeRoomForTheNext() throws {
        let bench = ServiceBench()
        bench.engine.isStopped = true
        for _ in 0..<20 {
            let call = bench.begin(.listCases, by: "lead", [])
            bench.settle()
            #expect(bench.answer(call).error?.code == .unavailable)
        }
    }

    @Test func whoseWritesHaveNoRoom_isRefusedAlone_andTheTurnGoesOn() throws {
        let bench = ServiceBench()
        bench.engine.withoutRoom = [ServiceBench.principal("intake")]
        func report(_ subject: String, by name: String) throws -> CallID {
            let fields = message([
                "request_id": bench.uuid(), "report": bench.report(about: subject),
            ])
            return bench.begin(
                .submitReport, by: name, try bench.schema(.submitReport).request.encode(fields))
        }
        let refused = [try report("a", by: "intake"), try report("b", by: "intake")]
        let taken = [try report("c", by: "partner"), try report("d", by: "partner")]
        let read = bench.begin(.listCases, by: "lead", [])
        bench.settle()
        for call in refused {
            let error = bench.answer(call).error
            #expect(error?.code == .resourceExhausted && error?.reason == "OVERLOADED")
            #expect(error?.metadata["limit"] == "journal_bytes")
        }
        for call in taken { #expect(bench.answer(call).messages.count == 1) }
        #expect(bench.answer(read).messages.count == 1)
        #expect(bench.engine.journal.records.count == 2)
    }

    @Test(arguments: [Route.healthWatch, .watchBoard, .watchAssignments])
    func aRefusedWatch_leavesNothing(route: Route) throws {
        let bench = ServiceBench()
        bench.responder.refusesLongLived = true
        for _ in 0..<5 { _ = bench.begin(route, by: "lead", []) }
        bench.settle()
        #expect(try #require(bench.handler as? ServiceHandler).longCalls.isEmpty)
        #expect(bench.engine.core.watches.count == 0)
    }

    @Test func aHealthWatchWhoseCallIsGone_leavesNothing() throws {
        let bench = ServiceBench()
        bench.responder.sendOutcome = .gone
        _ = bench.begin(.healthWatch, by: "", [])
        #expect(try #require(bench.handler as? ServiceHandler).longCalls.isEmpty)
    }
}
