// Backups through the services, on a data directory that is real but for its disk: who may, what is
// listed and read, what of it is gone, and what a call that ends early leaves behind.

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

@Suite struct BackupServiceTests {
    private let disk = SimDisk(seed: 1)
    private let workers = HandWorkers()
    private let data: DataDirectory
    private let journal: JournalWriter
    private let failures = Monitor<[JournalError]>([])
    private let bench: ServiceBench

    init() throws {
        var options = StorageOptions()
        options.segmentBytes = 8_192
        options.workers = nil
        options.snapshotBlockBytes = 4_096
        options.preparationBytesPerSecond = nil
        options.snapshotBytesPerSecond = nil
        data = try DataDirectory(opening: "data", disk: disk, options: options)
        var target = RecoveredWorld()
        let report = try data.recover(into: &target)
        journal = try data.makeJournal(after: report, time: .epoch)
        let failures = failures
        let backup = try BackupWorker(
            data, workers, failed: { error in failures.change { $0.append(error) } })
        bench = ServiceBench(backup: backup, helpers: workers)
    }

    /// Writes records of which two fill a segment.
    private func write(_ count: Int) throws {
        for _ in 0..<count {
            let bytes = [UInt8](repeating: 7, count: 1_900)
            _ = try journal.append(bytes.span, time: .epoch)
            try journal.commit()
        }
    }

    /// A snapshot of several chunks; returns its name.
    private func snapshot() throws -> String {
        let writer = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for _ in 0..<50 { try writer.append(section: 1, [UInt8](repeating: 9, count: 4_000).span) }
        _ = try writer.finish()
        let name = disk.fileNames.last { $0.hasSuffix(".snapshot") }
        return String(try #require(name).dropFirst("data/".count))
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        try #require(disk.bytes(of: "data/" + name))
    }

    private func list() throws -> (call: CallID, messages: [DynamicMessage]) {
        let call = bench.begin(.listBackup, by: "operator", [])
        bench.settle()
        return (call, try bench.messages(.listBackup, call))
    }

    /// Begins to read a file.
    private func read(_ name: String, _ count: Int, by person: String = "operator") throws -> CallID
    {
        let request = message(["name": .string(name), "read_bytes": .long(Int64(count))])
        let bytes = try bench.schema(.readBackup).request.encode(request)
        let call = bench.begin(.readBackup, by: person, bytes)
        bench.settle()
        return call
    }

    private func content(_ call: CallID) throws -> (bytes: [UInt8], sha256: String) {
        let messages = try bench.messages(.readBackup, call)
        return (messages.flatMap { $0.bytes("chunk") }, messages.last?.text("sha256") ?? "")
    }

    private func reason(_ call: CallID) -> String? { bench.answer(call).error?.reason }

    // MARK: What is given

    @Test func listed_thenRead_isWhatIsOnDisk() throws {
        try write(5)
        let taken = try snapshot()
        try write(2)
        let (call, messages) = try list()
        #expect(bench.answer(call).isOver && bench.answer(call).error == nil)
        #expect(bench.answer(call).isLongLived && messages.count == 1)
        #expect(messages[0].int("sequence") == 7)
        #expect(messages[0].text("root") == journal.durableHead.root.description)
        let files = messages[0].messages("files")
        #expect(files.map { $0.text("name") }.contains(taken))
        #expect(files.last?.text("name") == "identity")
        for file in files {
            let name = file.text("name")
            let count = Int(file.int("read_bytes"))
            let whole = try bytes(name)
            #expect(file.int("size_bytes") == Int64(whole.count))
            let call = try read(name, count)
            let given = try content(call)
            #expect(bench.answer(call).isOver && bench.answer(call).error == nil, "\(name)")
            #expect(given.bytes == Array(whole.prefix(count)), "\(name)")
            #expect(given.sha256 == SHA256.hash(given.bytes.span).description)
            #expect(whole.dropFirst(count).allSatisfy { $0 == 0 }, "\(name)")
        }
        #expect(try bytes(taken).count > 3 * 65_536, "more than one chunk")
    }

    /// A listing is bounded as every message is.
    @Test func aLongList_comesInParts() throws {
        try write(600)
        let (call, messages) = try list()
        #expect(bench.answer(call).error == nil)
        let files = messages.flatMap { $0.messages("files") }
        #expect(messages.map { $0.messages("files").count }.dropLast().allSatisfy { $0 == 500 })
        #expect(messages.count == (files.count + 499) / 500 && messages.count > 1)
        #expect(Set(messages.map { $0.int("sequence") }) == [600])
        let listed = Set(files.map { "data/" + $0.text("name") })
        let others = ["data/lock", "data/mark", "data/spare.tmp"]
        #expect(listed.union(others) == Set(disk.fileNames).union(others))
    }

    @Test func beyondTheEnd_thereIsNothing_andNothingIsNoRead() throws {
        try write(1)
        let whole = try bytes("identity")
        let call = try read("identity", 1 << 40)
        #expect(try content(call).bytes == whole)
        for count in [0, -1, Int(Int64.min)] {
            let call = try read("identity", count)
            #expect(bench.answer(call).error?.fieldViolations.first?.field == "read_bytes")
        }
        #expect(!workers.hasWork)
    }

    // MARK: Who, and what not

    @Test(arguments: Role.allCases)
    func othersThanOperators_learnNothing(role: Role) throws {
        try write(1)
        guard role != .operator else { return }
        let listing = bench.begin(.listBackup, by: role.name, [])
        bench.handler.turnEnded()
        let reading = try read("identity", 4_096, by: role.name)
        // Neither that nor whether there is such a file.
        let missing = try read("none", 4_096, by: role.name)
        for call in [listing, reading, missing] {
            #expect(reason(call) == "ROLE_REQUIRED" && bench.answer(call).messages.isEmpty)
        }
        #expect(!workers.hasWork)
    }

    @Test func whatIsNoFileOfABackup_isGone() throws {
        try write(3)
        for name in [
            "lock", "mark", "spare.tmp", "backup", "../data/identity", "/etc/passwd", "vault/keys",
            "vault/../identity", "00000000000000000099.journal", "keys", "heads",
        ] {
            let call = try read(name, 4_096)
            #expect(bench.answer(call).error?.code == .notFound, "\(name)")
            #expect(reason(call) == "BACKUP_FILE_GONE")
        }
        #expect(failures.change { $0.isEmpty }, "none of them is a fault of the disk")
    }

    @Test func withoutADirectory_thereIsNothingToBackUp() throws {
        let bench = ServiceBench()
        let calls: [(Route, KeyValuePairs<String, DynamicValue>)] = [
            (.listBackup, [:]),
            (.readBackup, ["name": .string("identity"), "read_bytes": .long(1)]),
        ]
        for (route, fields) in calls {
            let refusal = try bench.refusal(route, by: "operator", fields)
            #expect(refusal.reason == "NOTHING_ON_DISK" && refusal.code == .failedPrecondition)
        }
    }

    // MARK: What changes meanwhile

    @Test func aSnapshotThatIsPruned_isReadToItsEnd_orGone() throws {
        try write(2)
        let name = try snapshot()
        let whole = try bytes(name)
        bench.responder.sendOutcome = .full
        let call = try read(name, whole.count)
        #expect(bench.answer(call).messages.count == 1 && !bench.answer(call).isOver)
        try disk.remove("data/" + name)
        bench.responder.sendOutcome = .queued
        bench.handler.streamWritable(call)
        bench.settle()
        #expect(try content(call).bytes == whole && bench.answer(call).error == nil)
        // Listed before, and opened after that.
        #expect(reason(try read(name, whole.count)) == "BACKUP_FILE_GONE")
    }

    @Test func damage_isNamed_andTold() throws {
        try write(5)
        let name = try snapshot()
        var bad = try bytes(name)
        bad[5_000] ^= 1
        disk.replace("data/" + name, with: bad)
        let error = try #require(bench.answer(try read(name, bad.count)).error)
        #expect(error.code == .dataLoss && error.reason == "STORAGE_DAMAGED")
        #expect(error.metadata["file"] == name)
        disk.failNext(.read, on: "identity", .inputOutput)
        #expect(reason(try read("identity", 4_096)) == "STORAGE_FAILED")
        #expect(failures.change { $0.count } == 2)
        #expect(reason(try read("identity", 4_096)) == nil, "the next one is read again")
    }

    // MARK: Calls that wait or end early

    @Test func aSlowReader_holdsOnePart() throws {
        try write(2)
        let name = try snapshot()
        bench.responder.sendOutcome = .full
        let call = try read(name, try bytes(name).count)
        for count in 1...3 {
            #expect(bench.answer(call).messages.count == count)
            bench.settle()
            #expect(bench.answer(call).messages.count == count, "nothing is read ahead")
            bench.handler.streamWritable(call)
            bench.settle()
        }
    }

    /// How a call ends that is not read to its end.
    enum End: CaseIterable { case cancelled, gone }

    @Test(arguments: End.allCases, [Route.readBackup, .listBackup])
    func aCallThatEndsEarly_freesWhatItHolds(end: End, route: Route) throws {
        try write(2)
        let name = try snapshot()
        let count = try bytes(name).count
        bench.responder.sendOutcome = .full
        let share = Limits.backupStreamsPerIdentityMax
        var calls = (1..<share).map { _ in try? read(name, count) }
        calls.append(try route == .listBackup ? list().call : read(name, count))
        #expect(calls.allSatisfy { $0.map { bench.answer($0).isOver } == false })
        let refused = try #require(bench.answer(try read(name, count)).error)
        #expect(refused.reason == "TOO_MANY_BACKUPS" && refused.code == .resourceExhausted)
        #expect(refused.metadata["limit"] == "backup_streams", "the transport counts it by that")
        #expect(refused.metadata["limit_max"] == String(share))
        #expect(refused.retryAfterMilliseconds == 1_000)
        let last = try #require(calls[calls.count - 1])
        switch end {
        case .cancelled: bench.handler.callCancelled(last, .byClient)
        case .gone:
            bench.responder.sendOutcome = .gone
            bench.handler.streamWritable(last)
        }
        bench.settle()
        bench.responder.sendOutcome = .full
        let next = try read(name, count)
        #expect(reason(next) == nil && bench.answer(next).messages.count == 1)
        #expect(reason(try read(name, count)) == "TOO_MANY_BACKUPS", "one place was free")
    }

    @Test func whoeverReadsAllThatItMay_leavesRoomForOthers() throws {
        try write(2)
        let name = try snapshot()
        let count = try bytes(name).count
        bench.responder.sendOutcome = .full
        let share = Limits.backupStreamsPerIdentityMax
        for person in ["operator", "oscar"] {
            for _ in 0..<share { #expect(reason(try read(name, count, by: person)) == nil) }
        }
        let refused = bench.answer(try read(name, count, by: "oscar")).error
        #expect(refused?.metadata["limit_max"] == String(Limits.backupStreamsMax))
    }

    /// It is cancelled while its answer is on its way.
    @Test func anAnswerThatComesTooLate_isForgotten() throws {
        try write(2)
        let name = try snapshot()
        let count = try bytes(name).count
        let calls = try (0..<3 * Limits.backupStreamsMax).map { _ in
            let request = message(["name": .string(name), "read_bytes": .long(Int64(count))])
            let bytes = try bench.schema(.readBackup).request.encode(request)
            let call = bench.begin(.readBackup, by: "operator", bytes)
            workers.run()
            bench.handler.callCancelled(call, .byClient)
            bench.settle()
            return call
        }
        #expect(calls.allSatisfy { bench.answer($0).messages.isEmpty })
        #expect(try content(try read(name, count)).bytes.count == count, "all places are free")
    }
}
