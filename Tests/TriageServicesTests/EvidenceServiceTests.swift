// Evidence through the services: what is put before it is said, read after it is said, erased after
// it is said, and what becomes of a call that goes wrong at each step.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageGRPC
import TriageIO
import TriageJournal

@testable import TriageEngine
@testable import TriageServices

@Suite struct EvidenceServiceTests {
    private let vault = FakeVault()
    private let bench: ServiceBench
    private static let bytes = Array("what was seen on the bridge".utf8)

    init() { bench = ServiceBench(vault: vault) }

    // MARK: Calls

    private func start(
        _ size: Int = bytes.count, case name: String = "cases/1", id: DynamicValue? = nil,
        sha256: String? = nil
    ) -> DynamicValue {
        var fields = message([
            "request_id": id ?? bench.uuid(), "case": .string(name),
            "media_type": .string("video/mp4"), "caption": .string("words that must not leak"),
            "size_bytes": .long(Int64(size)),
        ])
        if let sha256 { fields["sha256"] = .string(sha256) }
        return .message(message(["start": .message(fields)]))
    }

    private func send(_ call: CallID, _ value: DynamicValue) throws {
        guard case .message(let part) = value else { throw Unexpected() }
        let bytes = try bench.schema(.attachEvidence).request.encode(part)
        bench.handler.streamMessageReceived(call, bytes.span)
        bench.settle()
    }

    private func chunk(_ bytes: some Sequence<UInt8>) -> DynamicValue {
        .message(message(["chunk": .bytes(Array(bytes))]))
    }

    /// A whole upload.
    private func attach(
        by name: String = "specialist", _ start: DynamicValue? = nil,
        _ chunks: [[UInt8]] = [bytes]
    ) throws -> CallID {
        let call = bench.open(.attachEvidence, by: name)
        try send(call, start ?? self.start())
        for bytes in chunks { try send(call, chunk(bytes)) }
        bench.handler.streamInputEnded(call)
        bench.settle()
        return call
    }

    private func attached(_ call: CallID) throws -> DynamicMessage {
        try #require(try bench.messages(.attachEvidence, call).first)
    }

    private var erasure: DynamicValue {
        .message(
            message([
                "ground": .enumeration("ERASURE_GROUND_ORDER"),
                "legal_basis": .string("District Court, 12 Gs 3/26"),
                "reason": .string("words that must not leak"),
            ]))
    }

    private func erase(_ name: String, by person: String = "legal") throws -> DynamicMessage {
        try bench.reply(
            .eraseEvidence, by: person,
            ["request_id": bench.uuid(), "name": .string(name), "erasure": erasure])
    }

    // MARK: Attaching

    @Test func attached_isInTheVault_andOnRecord() throws {
        try bench.submit()
        let call = try attach(nil, [Array(Self.bytes[..<10]), Array(Self.bytes[10...])])
        let evidence = try attached(call)
        #expect(evidence.text("name") == "cases/1/evidence/1")
        #expect(evidence.text("state") == "EVIDENCE_STATE_STORED")
        #expect(evidence.int("size_bytes") == Int64(Self.bytes.count))
        #expect(evidence.text("sha256") == SHA256.hash(Self.bytes.span).description)
        #expect(evidence.text("principal") == ServiceBench.principal("specialist").text)
        #expect(vault.objects.count == 1 && vault.objects.values.first == Self.bytes)
        #expect(vault.objects.keys.first?.description == evidence.text("object"))
        #expect(bench.answer(call).isLongLived)
        // One message is taken after the other: a start and two chunks ask for one more each.
        #expect(bench.answer(call).requestedMore == 3)
    }

    @Test func nothingIsOnRecord_beforeTheObjectIsDurable() throws {
        try bench.submit()
        let records = bench.engine.journal.records.count
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start())
        try send(call, chunk(Self.bytes))
        vault.isHeld = true
        bench.handler.streamInputEnded(call)
        bench.settle()
        #expect(bench.engine.journal.records.count == records && !bench.answer(call).isOver)
        vault.isHeld = false
        bench.settle()
        #expect(bench.engine.journal.records.count == records + 1)
        #expect(bench.answer(call).isOver && bench.answer(call).error == nil)
    }

    /// It is past its commit point: what it is told is what stands.
    @Test func aPolicyThatChangesWhileItIsRecorded_refusesNothingThatStands() throws {
        try bench.submit()
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start())
        try send(call, chunk(Self.bytes))
        vault.isHeld = true
        bench.handler.streamInputEnded(call)
        bench.settle()
        vault.isHeld = false
        vault.run()
        bench.mailbox.run(bench.handler)
        var policy = ServiceBench.policy()
        policy.entries[ServiceBench.principal("specialist")] = nil
        bench.policy.replace(policy)
        bench.settle()
        #expect(try attached(call).text("name") == "cases/1/evidence/1")
        #expect(vault.objects.count == 1)
    }

    @Test func nothing_isEvidenceToo() throws {
        try bench.submit()
        let evidence = try attached(try attach(start(0), []))
        #expect(evidence.int("size_bytes") == 0 && vault.objects.values.first == [])
    }

    @Test func aRepeat_isAnsweredWithoutItsBytes() throws {
        try bench.submit()
        let id = bench.uuid()
        let first = try attached(try attach(start(id: id)))
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start(id: id))
        #expect(bench.answer(call).isOver)
        #expect(try attached(call).text("object") == first.text("object"))
        #expect(vault.objects.count == 1)
        // Another start under the same id is another request.
        let other = bench.open(.attachEvidence, by: "specialist")
        try send(other, start(5, id: id))
        #expect(bench.answer(other).error?.reason == "REQUEST_ID_REUSED")
    }

    @Test func wrongStreams_keepNothing() throws {
        try bench.submit()
        let wrong: [(String, [DynamicValue], Bool)] = [
            ("INVALID_STREAM", [chunk([1])], false),
            ("INVALID_STREAM", [], true),
            ("INVALID_STREAM", [start(), start()], false),
            ("SIZE_MISMATCH", [start(3), chunk([1, 2, 3, 4])], false),
            ("SIZE_MISMATCH", [start(3), chunk([1, 2])], true),
            ("SIZE_MISMATCH", [start(3)], true),
            ("INVALID_FIELD", [start(3), chunk([])], false),
            ("INVALID_FIELD", [start(-1)], false),
            ("INVALID_FIELD", [start(Limits.objectBytesMax + 1)], false),
            ("INVALID_FIELD", [start(3, sha256: "abc")], false),
            ("NOT_FOUND", [start(3, case: "cases/2")], false),
            (
                "DIGEST_MISMATCH",
                [start(1, sha256: String(repeating: "0", count: 64)), chunk([1])], true
            ),
        ]
        let records = bench.engine.journal.records.count
        for (reason, parts, ends) in wrong {
            let call = bench.open(.attachEvidence, by: "specialist")
            for part in parts { try send(call, part) }
            if ends { bench.handler.streamInputEnded(call) }
            bench.settle()
            #expect(bench.answer(call).error?.reason == reason, "\(parts.count) parts")
        }
        #expect(vault.objects.isEmpty && bench.engine.journal.records.count == records)
    }

    @Test(arguments: ["Video/mp4", "video", "video/", "/mp4", "video/mp4; x=1", "a/b/c", ".a/b"])
    func otherMediaTypes_areRefused(type: String) throws {
        try bench.submit()
        let call = bench.open(.attachEvidence, by: "specialist")
        let fields = message([
            "request_id": bench.uuid(), "case": .string("cases/1"), "media_type": .string(type),
        ])
        try send(call, .message(message(["start": .message(fields)])))
        #expect(bench.answer(call).error?.fieldViolations.first?.field == "start.media_type")
    }

    @Test(arguments: [
        (VaultFailure.busy, "TOO_MUCH_EVIDENCE_AT_ONCE", StatusCode.resourceExhausted),
        (.shareUsed, "TOO_MUCH_EVIDENCE_AT_ONCE", .resourceExhausted),
        (.noSpace, "STORAGE_FULL", .resourceExhausted), (.failed, "VAULT_FAILED", .unavailable),
        (.erased, "EVIDENCE_ERASED", .failedPrecondition),
    ])
    func whatTheVaultCannotDo_isTold(
        failure: VaultFailure, reason: String, code: StatusCode
    ) throws {
        try bench.submit()
        for step in 0..<3 {
            let call = bench.open(.attachEvidence, by: "specialist")
            if step == 0 { vault.failure = failure }
            try send(call, start())
            if step == 1 { vault.failure = failure }
            if step > 0 { try send(call, chunk(Self.bytes)) }
            if step == 2 { vault.failure = failure }
            bench.handler.streamInputEnded(call)
            bench.settle()
            let error = try #require(bench.answer(call).error, "step \(step)")
            #expect(error.reason == reason && error.code == code)
            // The transport counts it by that.
            let limit = [.busy: 16, VaultFailure.shareUsed: 4][failure]
            #expect((error.metadata["limit"] == "evidence_streams") == (limit != nil))
            #expect(error.metadata["limit_max"] == limit.map { String($0) })
        }
        #expect(vault.objects.isEmpty)
    }

    // MARK: Calls that end early

    /// A client that leaves at any moment leaves no object behind that nothing refers to.
    @Test func aClientThatLeaves_leavesNothing() throws {
        try bench.submit()
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start())
        bench.handler.callCancelled(call, .byClient)
        bench.settle()
        // While the vault makes the object durable.
        let late = bench.open(.attachEvidence, by: "specialist")
        try send(late, start())
        try send(late, chunk(Self.bytes))
        vault.isHeld = true
        bench.handler.streamInputEnded(late)
        bench.settle()
        vault.isHeld = false
        bench.handler.callCancelled(late, .byClient)
        bench.settle()
        #expect(vault.objects.isEmpty)
        let page = try bench.reply(.listEvidence, by: "legal", ["case": .string("cases/1")])
        #expect(page.messages("evidence").isEmpty)
    }

    /// The turn's end is the commit point: in the turn before, the object goes again; after it the
    /// evidence is recorded, whoever still waits.
    @Test(arguments: [false, true])
    func aClientThatLeavesAtTheEnd(isAsked: Bool) throws {
        try bench.submit()
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start())
        try send(call, chunk(Self.bytes))
        bench.handler.streamInputEnded(call)
        bench.handler.turnEnded()
        vault.run()
        bench.mailbox.run(bench.handler)
        if isAsked { bench.handler.turnEnded() }
        bench.handler.callCancelled(call, .byClient)
        bench.settle()
        #expect(vault.objects.count == (isAsked ? 1 : 0))
        let page = try bench.reply(.listEvidence, by: "legal", ["case": .string("cases/1")])
        #expect(
            page.messages("evidence").map { $0.text("caption") } == (isAsked ? [""] : []),
            "lists show no caption")
    }

    /// Two uploads of one request id race; the second's object goes again.
    @Test func theSlowerOfTwo_leavesNoObject() throws {
        try bench.submit()
        let id = bench.uuid()
        let calls = (0..<2).map { _ in bench.open(.attachEvidence, by: "specialist") }
        for call in calls { try send(call, start(id: id)) }
        for call in calls { try send(call, chunk(Self.bytes)) }
        for call in calls { bench.handler.streamInputEnded(call) }
        bench.settle()
        let objects = try calls.map { try attached($0).text("object") }
        #expect(objects[0] == objects[1] && vault.objects.count == 1)
        #expect(vault.objects.keys.first?.description == objects[0])
    }

    /// Whether a failed journal has the event nobody knows: the object stays for the next start.
    @Test func aFailedJournal_keepsTheObject() throws {
        try bench.submit()
        let call = bench.open(.attachEvidence, by: "specialist")
        try send(call, start())
        try send(call, chunk(Self.bytes))
        bench.engine.journal.commitError = .io(
            IOError(.sync, path: "journal", .inputOutput))
        bench.handler.streamInputEnded(call)
        bench.settle()
        #expect(bench.answer(call).error?.reason == "JOURNAL_FAILED")
        #expect(vault.objects.count == 1)
    }

    // MARK: Reading

    private func read(_ name: String, by person: String = "specialist") throws -> CallID {
        let bytes = try bench.schema(.readEvidence).request.encode(
            message(["name": .string(name), "purpose": .string("assessing the threat")]))
        return bench.begin(.readEvidence, by: person, bytes)
    }

    @Test func read_isOnRecordFirst_thenWhatItIs_thenItsBytes() throws {
        try bench.submit()
        _ = try attach()
        let commits = bench.engine.journal.commitCount
        let call = try read("cases/1/evidence/1")
        bench.settle()
        #expect(bench.engine.journal.commitCount == commits + 1)
        let messages = try bench.messages(.readEvidence, call)
        #expect(messages[0].message("evidence")?.text("caption") == "words that must not leak")
        #expect(messages.dropFirst().flatMap { $0.bytes("chunk") } == Self.bytes)
        #expect(bench.answer(call).isOver && bench.answer(call).error == nil)
        #expect(bench.answer(call).isLongLived)
    }

    @Test func withoutTheRecord_noByteLeaves() throws {
        try bench.submit()
        _ = try attach()
        bench.engine.journal.commitError = .io(
            IOError(.sync, path: "journal", .inputOutput))
        let call = try read("cases/1/evidence/1")
        bench.settle()
        #expect(bench.answer(call).messages.isEmpty)
        #expect(bench.answer(call).error?.reason == "JOURNAL_FAILED")
    }

    @Test func aSlowReader_isWaitedFor() throws {
        try bench.submit()
        _ = try attach()
        let call = try read("cases/1/evidence/1")
        bench.responder.sendOutcome = .full
        bench.settle()
        for sent in 1...3 {
            #expect(bench.answer(call).messages.count == sent)
            bench.handler.streamWritable(call)
            bench.settle()
        }
        bench.responder.sendOutcome = .queued
        bench.handler.streamWritable(call)
        bench.settle()
        #expect(
            try bench.messages(.readEvidence, call).flatMap { $0.bytes("chunk") } == Self.bytes)
        #expect(bench.answer(call).isOver)
    }

    @Test func damagedOrErased_isTold() throws {
        try bench.submit()
        _ = try attach()
        _ = try attach()
        vault.objects = [:]
        let damaged = try read("cases/1/evidence/1")
        bench.settle()
        #expect(bench.answer(damaged).error?.code == .dataLoss)
        #expect(bench.answer(damaged).messages.isEmpty)
        _ = try erase("cases/1/evidence/2")
        let erased = try read("cases/1/evidence/2")
        bench.settle()
        #expect(bench.answer(erased).error?.reason == "EVIDENCE_ERASED")
    }

    @Test func withoutAPurpose_orOfNothing_isRefused() throws {
        try bench.submit()
        let silent = try bench.refusal(
            .readEvidence, by: "legal", ["name": .string("cases/1/evidence/1")])
        #expect(silent.fieldViolations.first?.field == "purpose")
        let missing = try read("cases/1/evidence/1")
        bench.settle()
        #expect(bench.answer(missing).error?.reason == "NOT_FOUND")
    }

    /// Attaching and reading take the clearance; an auditor reads all.
    @Test func behindTheWall_clearanceIsNeeded() throws {
        try bench.submit(about: "a", "HARM_FAMILY_CHILD_SEXUAL_EXPLOITATION")
        let refused = bench.open(.attachEvidence, by: "narrow")
        try send(refused, start())
        #expect(bench.answer(refused).error?.reason == "CLEARANCE_REQUIRED")
        _ = try attach(by: "lead")
        for (person, mayRead) in [
            ("narrow", false), ("legal", false), ("specialist", true), ("auditor", true),
        ] {
            let call = try read("cases/1/evidence/1", by: person)
            bench.settle()
            #expect((bench.answer(call).error == nil) == mayRead, "\(person)")
        }
    }

    // MARK: Erasing and holds

    @Test func erased_isAnswered_onceTheBytesAreGone() throws {
        try bench.submit()
        let object = try attached(try attach()).text("object")
        vault.isHeld = true
        let bytes = try bench.schema(.eraseEvidence).request.encode(
            message([
                "request_id": bench.uuid(), "name": .string("cases/1/evidence/1"),
                "erasure": erasure,
            ]))
        let call = bench.begin(.eraseEvidence, by: "legal", bytes)
        bench.settle()
        #expect(!bench.answer(call).isOver)
        #expect(vault.erased.map(\.description) == [object], "the engine has handed it over itself")
        vault.isHeld = false
        bench.settle()
        let reply = try #require(try bench.messages(.eraseEvidence, call).first)
        #expect(reply.text("state") == "EVIDENCE_STATE_ERASED" && vault.objects.isEmpty)
        #expect(reply.message("erasure")?.text("legal_basis") == "District Court, 12 Gs 3/26")
        let again = try erase("cases/1/evidence/1", by: "lead")
        #expect(
            again.message("erasure")?.text("principal") == ServiceBench.principal("legal").text)
    }

    @Test func held_isRefused_namingTheHold_untilItIsReleased() throws {
        try bench.submit()
        _ = try attach()
        let placed = try bench.reply(
            .placeHold, by: "lead",
            [
                "request_id": bench.uuid(), "case": .string("cases/1"),
                "hold": .message(
                    message([
                        "rule": .string("US_2703F_PRESERVATION"), "authority": .string("FBI"),
                        "reason": .string("words that must not leak"),
                    ])),
            ])
        #expect(placed.text("name") == "cases/1/holds/1")
        #expect(placed.text("verification_mark") == "V")
        let refusal = try bench.refusal(
            .eraseEvidence, by: "legal",
            [
                "request_id": bench.uuid(), "name": .string("cases/1/evidence/1"),
                "erasure": erasure,
            ])
        #expect(refusal.reason == "HELD" && refusal.code == .failedPrecondition)
        #expect(refusal.metadata["holder"] == "cases/1/holds/1")
        #expect(!refusal.message.contains("must not leak"))
        let texts = try bench.refusal(
            .eraseReportTexts, by: "legal",
            ["request_id": bench.uuid(), "case": .string("cases/1"), "erasure": erasure])
        #expect(texts.reason == "HELD")
        _ = try bench.reply(
            .releaseHold, by: "legal",
            [
                "request_id": bench.uuid(), "name": .string("cases/1/holds/1"),
                "release": .message(
                    message(["authority": .string("FBI"), "reason": .string("withdrawn")])),
            ])
        let list = try bench.reply(.listHolds, by: "auditor", ["case": .string("cases/1")])
        #expect(list.messages("holds")[0].text("state") == "HOLD_STATE_RELEASED")
        #expect(list.messages("holds")[0].text("reason").isEmpty)
        _ = try erase("cases/1/evidence/1")
        let erased = try bench.reply(
            .eraseReportTexts, by: "legal",
            ["request_id": bench.uuid(), "case": .string("cases/1"), "erasure": erasure])
        #expect(erased.int("report_count") == 1)
        let full = try bench.reply(
            .getCase, by: "auditor",
            [
                "name": .string("cases/1"), "view": .enumeration("CASE_VIEW_FULL"),
                "purpose": .string("audit"),
            ])
        #expect(!"\(full)".contains("words that must not leak"))
    }

    @Test func rulesAreListed() throws {
        let reply = try bench.reply(.listHoldRules, by: "auditor")
        #expect(reply.messages("rules").count == HoldRules.all.count)
        #expect(reply.text("version") == HoldRules.version)
    }

    // MARK: Keys

    @Test func aNewKey_isOnRecord_andRepeatable() throws {
        let id = bench.uuid()
        let first = try bench.reply(
            .rotateKeys, by: "operator", ["request_id": id, "kind": .enumeration("KEY_KIND_DATA")])
        #expect(first.int("key_number") == 3)
        vault.answer = KeyAnswer(number: 4, objects: 9)
        let again = try bench.reply(
            .rotateKeys, by: "operator", ["request_id": id, "kind": .enumeration("KEY_KIND_DATA")])
        #expect(again.int("key_number") == 3)
        vault.answer = nil
        let failed = try bench.refusal(
            .rotateKeys, by: "operator",
            ["request_id": bench.uuid(), "kind": .enumeration("KEY_KIND_SIGNING")])
        #expect(failed.reason == "ROTATION_FAILED")
    }

    /// The key is in use, and each repeat would make another one.
    @Test func aKeyThatTheJournalHadNoRoomFor_isRecordedByTheNextCall() throws {
        let id = bench.uuid()
        let fields: KeyValuePairs<String, DynamicValue> = [
            "request_id": id, "kind": .enumeration("KEY_KIND_DATA"),
        ]
        bench.engine.journal.appendError = .noSpace(IOError(.allocate, path: "x", .noSpace))
        #expect(try bench.refusal(.rotateKeys, by: "operator", fields).reason == "STORAGE_FULL")
        bench.engine.journal.appendError = nil
        vault.answer = KeyAnswer(number: 4, objects: 9)
        let signing = try bench.reply(
            .rotateKeys, by: "operator",
            ["request_id": bench.uuid(), "kind": .enumeration("KEY_KIND_SIGNING")])
        #expect(signing.int("key_number") == 4, "of another kind")
        #expect(try bench.reply(.rotateKeys, by: "operator", fields).int("key_number") == 3)
        let next = try bench.reply(
            .rotateKeys, by: "operator",
            ["request_id": bench.uuid(), "kind": .enumeration("KEY_KIND_DATA")])
        #expect(next.int("key_number") == 4)
    }

    // MARK: Without encryption

    @Test func withoutEncryption_thereIsNoEvidence_butHolds() throws {
        let plain = ServiceBench()
        try plain.submit()
        let call = plain.open(.attachEvidence, by: "specialist")
        #expect(plain.answer(call).error?.reason == "ENCRYPTION_REQUIRED")
        let read = try plain.refusal(
            .readEvidence, by: "legal",
            ["name": .string("cases/1/evidence/1"), "purpose": .string("p")])
        #expect(read.reason == "ENCRYPTION_REQUIRED")
        let keys = try plain.refusal(
            .rotateKeys, by: "operator",
            ["request_id": plain.uuid(), "kind": .enumeration("KEY_KIND_DATA")])
        #expect(keys.reason == "ENCRYPTION_REQUIRED")
        let page = try plain.reply(.listEvidence, by: "legal", ["case": .string("cases/1")])
        #expect(page.messages("evidence").isEmpty)
    }
}
