// Streams: SubmitReports, board and assignment watches, health, reflection, and operations.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC
import TriageJournal

@testable import TriageEngine
@testable import TriageServices

@Suite struct ReportStreamTests {
    private func send(
        _ bench: ServiceBench, _ call: CallID, _ fields: KeyValuePairs<String, DynamicValue>
    ) throws {
        let bytes = try bench.schema(.submitReports).request.encode(message(fields))
        bench.handler.streamMessageReceived(call, bytes.span)
    }

    @Test func eachReport_hasItsResult_inOrder_andOneBadOneSpoilsNothing() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        let ids = (0..<3).map { _ in bench.uuid() }
        try send(bench, call, ["request_id": ids[0], "report": bench.report(about: "a")])
        try send(bench, call, ["request_id": ids[1]])
        try send(bench, call, ["request_id": ids[2], "report": bench.report(about: "a")])
        bench.handler.streamInputEnded(call)
        #expect(!bench.answer(call).isOver)
        bench.settle()
        let reply = try #require(try bench.messages(.submitReports, call).first)
        #expect(reply.int("accepted_count") == 2 && reply.int("refused_count") == 1)
        let results = reply.messages("results")
        #expect(results.map { $0.int("code") } == [0, 3, 0])
        #expect(
            results[1].text("reason") == "INVALID_FIELD" && results[1].text("field") == "report")
        #expect(results.map { $0.message("response")?.bool("opened") } == [true, nil, false])
        #expect(bench.engine.journal.commitCount == 1)
    }

    @Test func inFlight_isBounded_andGoesOnWithTheDisk() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        for subject in 0..<ReportStream.inFlightMax {
            try send(
                bench, call,
                ["request_id": bench.uuid(), "report": bench.report(about: "p\(subject)")])
        }
        #expect(bench.answer(call).requestedMore == ReportStream.inFlightMax - 1)
        bench.settle()
        #expect(bench.answer(call).requestedMore == ReportStream.inFlightMax)
        bench.handler.streamInputEnded(call)
        #expect(bench.answer(call).isOver)
    }

    /// The results wait for the end of the stream, and cost their sender.
    @Test func whatIsKeptOfAStream_isBooked_andEndsWithIt() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        try send(bench, call, ["request_id": bench.uuid()])
        let one = bench.responder.heldBytes
        #expect(one > 2 * MemoryLayout<StreamedReportResult>.stride)
        for _ in 0..<3 {
            try send(bench, call, ["request_id": bench.uuid(), "report": bench.report()])
        }
        bench.settle()
        #expect(bench.responder.heldBytes > 3 * one)
        bench.responder.heldBytesMax = bench.responder.heldBytes
        try send(bench, call, ["request_id": bench.uuid()])
        // Nothing is answered: the responder has ended it.
        bench.handler.streamInputEnded(call)
        bench.settle()
        #expect(!bench.answer(call).isOver)
        #expect(bench.engine.journal.records.count == 3, "what was with the engine is done")
    }

    @Test func aStreamThatIsTooLong_isToldSo() {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        for _ in 0..<Limits.reportsPerStreamMax {
            bench.handler.streamMessageReceived(call, [UInt8]().span)
        }
        #expect(!bench.answer(call).isOver)
        bench.handler.streamMessageReceived(call, [UInt8]().span)
        #expect(bench.answer(call).error?.reason == "TOO_MANY_REPORTS")
        #expect(bench.answer(call).error?.metadata["limit"] == "stream_reports")
    }

    @Test func anEmptyStream_isAnsweredEmpty() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "partner")
        bench.handler.streamInputEnded(call)
        let reply = try #require(try bench.messages(.submitReports, call).first)
        #expect(reply.messages("results").isEmpty)
    }

    @Test func bytesThatAreNoMessage_endTheStream() {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        bench.handler.streamMessageReceived(call, [UInt8]([0xFF]).span)
        #expect(bench.answer(call).error?.reason == "MALFORMED_MESSAGE")
    }

    @Test func aCancelledStream_getsNothingMore() throws {
        let bench = ServiceBench()
        let call = bench.open(.submitReports, by: "intake")
        try send(bench, call, ["request_id": bench.uuid(), "report": bench.report()])
        bench.handler.turnEnded()
        try send(bench, call, ["request_id": bench.uuid(), "report": bench.report()])
        bench.handler.callCancelled(call, .byClient)
        bench.settle()
        #expect(!bench.answer(call).isOver)
        #expect(bench.engine.journal.durableCount == 1, "what was with the engine, no more")
    }

    @Test func aFailedJournal_isToldForEachReport() throws {
        let bench = ServiceBench()
        bench.engine.journal.commitError = .bufferFull
        let call = bench.open(.submitReports, by: "intake")
        try send(bench, call, ["request_id": bench.uuid(), "report": bench.report()])
        bench.handler.streamInputEnded(call)
        bench.settle()
        let reply = try #require(try bench.messages(.submitReports, call).first)
        #expect(reply.messages("results").map { $0.text("reason") } == ["JOURNAL_FAILED"])
        #expect(reply.int("accepted_count") == 0)
    }
}

@Suite struct WatchCallTests {
    private func watch(
        _ bench: ServiceBench, _ fields: KeyValuePairs<String, DynamicValue> = [:]
    ) throws -> CallID {
        let call = bench.begin(
            .watchBoard, by: "lead", try bench.schema(.watchBoard).request.encode(message(fields)))
        bench.settle()
        return call
    }

    /// Each message as text: its revision and what it says.
    private func script(_ bench: ServiceBench, _ call: CallID) throws -> [String] {
        try bench.messages(.watchBoard, call).map { part in
            let revision = part.int("revision")
            if let matter = part.message("case") { return "\(revision) \(matter.text("name"))" }
            if let bookmark = part.message("bookmark") {
                return "\(revision) bookmark \(bookmark.int("open_count"))"
            }
            return "\(revision) removed \(part.text("removed_case"))"
        }
    }

    @Test func theBoard_thenABookmark_thenChanges_thenRemoval() throws {
        let bench = ServiceBench()
        try bench.submit(about: "a")
        let call = try watch(
            bench,
            [
                "filter": .message(
                    message(["states": .list([.enumeration("CASE_STATE_QUEUED")])]))
            ])
        try bench.submit(about: "b")
        _ = try bench.claim()
        #expect(
            try script(bench, call)
                == ["0 cases/1", "1 bookmark 1", "2 cases/2", "3 removed cases/1"])
        #expect(bench.answer(call).isLongLived && !bench.answer(call).isOver)
    }

    @Test func resuming_sendsOnlyWhatIsNew() throws {
        let bench = ServiceBench()
        try bench.submit(about: "a")
        try bench.submit(about: "b")
        let call = try watch(bench, ["resume_revision": .int(1)])
        #expect(try script(bench, call) == ["2 cases/2", "2 bookmark 2"])
        let bad = try watch(bench, ["resume_revision": .int(99)])
        #expect(bench.answer(bad).error?.code == .outOfRange)
        #expect(bench.answer(bad).error?.reason == "REVISION_COMPACTED")
    }

    @Test func aFullBuffer_stopsCredit_untilItIsWritable() throws {
        let bench = ServiceBench()
        let call = try watch(bench)
        bench.responder.sendOutcome = .full
        for subject in 0..<20 { try bench.submit(about: "p\(subject)") }
        let held = bench.answer(call).messages.count
        #expect(held == 2, "the bookmark and the part that filled it")
        bench.responder.sendOutcome = .queued
        bench.handler.streamWritable(call)
        bench.settle()
        #expect(try script(bench, call).last == "20 cases/20")
        #expect(Set(try script(bench, call).map { $0.split(separator: " ")[1] }).count == 21)
    }

    @Test func aQuickConsumer_neverRunsOutOfCredit() throws {
        let bench = ServiceBench()
        let call = try watch(bench)
        for subject in 0..<50 { try bench.submit(about: "p\(subject)") }
        #expect(bench.answer(call).messages.count == 51)
    }

    @Test func aWatchWhoseCallIsGone_isForgottenByTheEngine() throws {
        let bench = ServiceBench()
        _ = try watch(bench)
        bench.responder.sendOutcome = .gone
        try bench.submit()
        #expect(bench.engine.core.watches.count == 0)
        bench.responder.sendOutcome = .queued
        let second = try watch(bench)
        bench.handler.callCancelled(second, .deadlineExceeded)
        bench.settle()
        #expect(bench.engine.core.watches.count == 0)
    }

    @Test func assignments_withBookmark_thenChanges() throws {
        let bench = ServiceBench()
        let call = bench.begin(.watchAssignments, by: "specialist", [])
        bench.settle()
        try bench.submit()
        _ = try bench.claim()
        let parts = try bench.messages(.watchAssignments, call)
        #expect(
            parts.map { $0.message("assignment")?.text("state") }
                == [nil, "ASSIGNMENT_STATE_OFFERED"])
        #expect(parts.map { $0.int("revision") } == [0, 2])
    }
}

@Suite struct HealthTests {
    @Test func check_knowsEveryService_andNoOther() throws {
        let bench = ServiceBench()
        for name in ["", "triaged.v1.TriageService", "grpc.health.v1.Health"] {
            let reply = try bench.reply(.healthCheck, by: "", ["service": .string(name)])
            #expect(reply.text("status") == "SERVING")
        }
        let error = try bench.refusal(.healthCheck, by: "", ["service": .string("other")])
        #expect(error.code == .notFound && error.reason == "SERVICE_UNKNOWN")
        bench.health.set(serving: false)
        #expect(try bench.reply(.healthCheck, by: "").text("status") == "NOT_SERVING")
    }

    @Test func list_namesEveryService() throws {
        let bench = ServiceBench()
        let listed = try bench.reply(.healthList, by: "auditor").messages("statuses")
        let names = listed.compactMap { $0.text("key") }
        #expect(names.contains("triaged.v1.TriageService") && names == names.sorted())
        #expect(Set(names).count == names.count && names.count == listed.count)
        #expect(listed.allSatisfy { $0.message("value")?.text("status") == "SERVING" })
    }

    @Test func watch_tellsEveryChange_andNothingElse() throws {
        let bench = ServiceBench()
        let known = bench.begin(.healthWatch, by: "", [])
        let unknown = bench.begin(
            .healthWatch, by: "",
            try bench.schema(.healthWatch).request.encode(message(["service": .string("x")])))
        for isServing in [false, false, true] { bench.health.set(serving: isServing) }
        bench.settle()
        #expect(
            try bench.messages(.healthWatch, known).map { $0.text("status") }
                == ["SERVING", "NOT_SERVING", "SERVING"])
        #expect(
            try bench.messages(.healthWatch, unknown).map { $0.text("status") }
                == ["SERVICE_UNKNOWN"])
        bench.handler.callCancelled(known, .byClient)
        bench.health.set(serving: false)
        bench.settle()
        #expect(bench.answer(known).messages.count == 3)
    }
}

@Suite struct ReflectionTests {
    @Test(arguments: [Route.reflection, .reflectionAlpha])
    func questions_areAnsweredInTurn(route: Route) throws {
        let bench = ServiceBench()
        let call = bench.open(route, by: "auditor")
        // list_services = "" (field 7), then file_containing_symbol (field 4).
        bench.handler.streamMessageReceived(call, [UInt8]([0x3A, 0x00]).span)
        let symbol = Array("triaged.v1.TriageService".utf8)
        bench.handler.streamMessageReceived(
            call, ([0x22, UInt8(symbol.count)] + symbol).span)
        bench.handler.streamInputEnded(call)
        let answer = bench.answer(call)
        #expect(answer.messages.count == 2 && answer.requestedMore == 2)
        #expect(answer.isOver && answer.error == nil)
        let text = String(decoding: answer.messages[0], as: UTF8.self)
        for service in ["triaged.v1.TriageService", "grpc.reflection.v1.ServerReflection"] {
            #expect(text.contains(service))
        }
        #expect(
            String(decoding: answer.messages[1], as: UTF8.self).contains("triage_service.proto"))
    }

    @Test func aFullBuffer_holdsTheNextQuestionBack() {
        let bench = ServiceBench()
        let call = bench.open(.reflection, by: "auditor")
        bench.responder.sendOutcome = .full
        bench.handler.streamMessageReceived(call, [UInt8]([0x3A, 0x00]).span)
        #expect(bench.answer(call).requestedMore == 0)
        bench.handler.streamWritable(call)
        #expect(bench.answer(call).requestedMore == 1)
    }
}

@Suite struct OperationsTests {
    @Test func status_countsWithoutNaming() throws {
        let bench = ServiceBench()
        try bench.submit(about: "a")
        try bench.submit(about: "b")
        _ = try bench.claim()
        let status = try bench.reply(.getStatus, by: "operator")
        #expect(status.text("version") == "1.2.3")
        #expect(status.text("state") == "SERVING_STATE_SERVING")
        #expect(status.int("durable_sequence") == 3 && status.int("open_case_count") == 2)
        #expect(status.int("assignment_count") == 1)
        let level = try #require(status.messages("levels").first)
        #expect(level.int("queued_count") == 1 && level.int("held_count") == 1)
        bench.health.set(serving: false)
        #expect(
            try bench.reply(.getStatus, by: "operator").text("state") == "SERVING_STATE_DRAINING")
    }

    @Test func status_afterTheJournalFailed() throws {
        let bench = ServiceBench()
        bench.engine.journal.commitError = .bufferFull
        let error = try bench.refusal(
            .submitReport, by: "intake", ["request_id": bench.uuid(), "report": bench.report()])
        #expect(error.code == .unavailable && error.reason == "JOURNAL_FAILED")
        #expect(
            try bench.reply(.getStatus, by: "operator").text("state")
                == "SERVING_STATE_JOURNAL_FAILED")
    }

    @Test func aSnapshot_isAnsweredWhenDurable() throws {
        let bench = ServiceBench()
        try bench.submit()
        let reply = try bench.reply(.createSnapshot, by: "operator", ["request_id": bench.uuid()])
        #expect(reply.int("sequence") == 1 && reply.int("size_bytes") == 8_192)
        #expect(try bench.reply(.getStatus, by: "lead").int("snapshot_sequence") == 1)
    }
}
