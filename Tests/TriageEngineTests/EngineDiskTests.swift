// The engine with its thread, on a real data directory: recovery gives the same state, whatever way
// the server ended.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

@Suite struct EngineDiskTests {
    private func options() -> StorageOptions {
        var options = StorageOptions()
        options.segmentBytes = 4 << 20
        options.preparationBytesPerSecond = nil
        options.snapshotBytesPerSecond = nil
        return options
    }

    private func open(
        _ directory: TempDirectory, storage: StorageOptions? = nil,
        _ configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> (Engine, RecordingSink) {
        var configuration = EngineConfiguration()
        configuration.snapshotAtStop = false
        configure(&configuration)
        let engine = try Engine.open(
            directory.path, storage: storage ?? options(), configuration: configuration)
        let sink = RecordingSink()
        engine.connect(reactor: 0, sink: sink)
        engine.start()
        return (engine, sink)
    }

    private let bench = EngineBench()

    /// A seeded mix of everything that leaves a trace.
    private func work(_ engine: Engine, _ sink: RecordingSink, seed: UInt64, count: Int) {
        var random = SeededRandom(seed: seed)
        var expected = sink.all.count
        for _ in 0..<count {
            var requests: [EngineRequest] = []
            for _ in 0..<(1 + random.next() % 8) {
                switch random.next() % 8 {
                case 0: requests.append(claim("ana"))
                case 1: requests.append(claim("ben"))
                case 2:
                    requests.append(
                        bench.request(
                            .write(.submitDisclosureRequest(emergencyFiling()), bench.freshKey()),
                            by: "police"))
                default:
                    let family = HarmFamily.allCases[Int(random.next() % 11)]
                    requests.append(
                        bench.request(
                            .write(
                                bench.report(about: random.next() % 500, family), bench.freshKey()))
                    )
                }
            }
            expected += requests.count
            #expect(
                engine.submit(
                    requests, reactor: 0,
                    journalBytes: requests.reduce(0) { $0 + $1.operation.journalBytes }))
            _ = sink.wait(count: expected)
            for case .outcome(.offer(let view, _, _)) in sink.all.suffix(requests.count).map(
                \.reply)
            where random.next() % 2 == 0 {
                let number = view.value.number
                let accept = bench.request(
                    .write(.acceptCase(assignment: number, token: number), bench.freshKey()),
                    by: String(view.specialist.text.suffix(3)))
                expected += 1
                #expect(engine.submit([accept], reactor: 0, journalBytes: 1))
                _ = sink.wait(count: expected)
            }
        }
    }

    private func claim(_ name: String) -> EngineRequest {
        bench.request(.claim(anything, bench.freshKey(), waitMilliseconds: 0), by: name)
    }

    /// Everything that can be seen of a state, as text.
    private func picture(_ engine: Engine, _ sink: RecordingSink) throws -> String {
        let before = sink.all.count
        let requests = [
            bench.request(.listCases(after: nil, limit: 1_000, filter: BoardFilter())),
            bench.request(.listDisclosures(after: nil, limit: 1_000, states: [], requester: nil)),
            bench.request(.status),
        ]
        #expect(engine.submit(requests, reactor: 0, journalBytes: 0))
        let replies = sink.wait(count: before + 3).suffix(3).map(\.reply)
        guard case .board(let page, let openCount, let revision) = replies[0],
            case .disclosures(let disclosures) = replies[1], case .status(let status) = replies[2]
        else { throw Unexpected() }
        return "\(page)\n\(openCount) \(revision)\n\(disclosures)\n\(status.counts)"
    }

    @Test(arguments: [false, true])
    func afterARestart_theStateIsTheSame(withSnapshots: Bool) throws {
        let directory = try TempDirectory()
        var pictures: [String] = []
        for round in 0..<3 as Range<UInt64> {
            let (engine, sink) = try open(directory) {
                $0.snapshotAtStop = withSnapshots
                $0.snapshotRecords = withSnapshots ? 50 : 0
            }
            let recovered = try picture(engine, sink)
            if let last = pictures.last { #expect(recovered == last) }
            work(engine, sink, seed: round, count: 60)
            pictures.append(try picture(engine, sink))
            engine.stop()
            #expect((engine.status.snapshot != nil) == withSnapshots)
        }
        let (engine, sink) = try open(directory)
        #expect(try picture(engine, sink) == pictures.last)
        if withSnapshots { #expect(engine.status.recovery.recordsReplayed == 0) }
        engine.stop()
    }

    @Test func withASegmentRemovedAfterEachSnapshot_theStateIsTheSame() throws {
        let directory = try TempDirectory()
        var storage = options()
        storage.segmentBytes = 32 << 10
        storage.journalRetention = .remove
        var last: String?
        for round in 0..<4 as Range<UInt64> {
            let (engine, sink) = try open(directory, storage: storage) {
                $0.snapshotAtStop = true
                $0.snapshotRecords = 100
            }
            let recovered = try picture(engine, sink)
            #expect(last == nil || recovered == last)
            work(engine, sink, seed: round, count: 60)
            last = try picture(engine, sink)
            engine.stop()
            let status = engine.status
            #expect(status.holdings.snapshots == 2)
            #expect(status.counters.tidyFailures == 0)
            #expect(status.counters.segmentsRetired > 0 || round == 0)
            #expect(status.holdings.firstSequence > 1 || round == 0)
        }
        let verified = try Inspection(path: directory.path).verify()
        #expect(verified.problems.isEmpty)
        #expect((verified.statistics.segments.first?.first ?? 0) > 1)
    }

    @Test func aRepeatedSnapshotCall_isAnsweredAlike_afterARestart() throws {
        let directory = try TempDirectory()
        let key = bench.freshKey()
        var answers: [String] = []
        for withSnapshot in [false, true, false] {
            let (engine, sink) = try open(directory) { $0.snapshotAtStop = withSnapshot }
            work(engine, sink, seed: 3, count: 5)
            let before = sink.all.count
            #expect(
                engine.submit([bench.request(.snapshot(key))], reactor: 0, journalBytes: 512))
            guard case .snapshot(let answer) = sink.wait(count: before + 1).last?.reply else {
                throw Unexpected()
            }
            answers.append("\(answer)")
            engine.stop()
        }
        #expect(Set(answers).count == 1)
    }

    private func run(_ disk: SimDisk, _ body: (Engine, RecordingSink) throws -> Void) throws {
        let engine = try Engine.open("data", disk: disk, storage: options())
        let sink = RecordingSink()
        engine.connect(reactor: 0, sink: sink)
        engine.start()
        defer { engine.stop() }
        try body(engine, sink)
    }

    /// Of a process that has ended with a snapshot.
    private func ended() throws -> SimDisk {
        let disk = SimDisk(seed: 3)
        try run(disk) { work($0, $1, seed: 3, count: 5) }
        return disk.copy()
    }

    @Test func aSnapshotThatOnlyACacheHolds_isMadeDurable() throws {
        let disk = try ended()
        let name = try #require(disk.fileNames.first { $0.hasSuffix(".snapshot") })
        let bytes = try #require(disk.bytes(of: name))
        disk.erase(name)
        try disk.open(name, .create).write(bytes.span, at: 0)
        try run(disk) { engine, sink in
            let request = bench.request(.snapshot(bench.freshKey()))
            #expect(engine.submit([request], reactor: 0, journalBytes: 512))
            #expect(sink.wait(count: 1).last?.reply.kind == "snapshot")
            for seed in 0..<16 as Range<UInt64> {
                #expect(disk.afterPowerCut(seed: seed).bytes(of: name) == bytes)
            }
        }
    }

    @Test func whereASnapshotHasNoRoomToBeWrittenOnceMore_nothingIsLeft() throws {
        let disk = try ended()
        let names = disk.fileNames.filter { $0.contains(".snapshot") }
        try run(disk) { engine, sink in
            disk.failNext(.sync, on: ".snapshot.tmp", .noSpace)
            for expected in ["failed(snapshotFailed)", "snapshot"] {
                let before = sink.all.count
                let request = bench.request(.snapshot(bench.freshKey()))
                #expect(engine.submit([request], reactor: 0, journalBytes: 512))
                #expect(sink.wait(count: before + 1).last?.reply.kind == expected)
                #expect(disk.fileNames.filter { $0.contains(".snapshot") } == names)
            }
        }
    }

    @Test(arguments: [false, true])
    func aSnapshotThatIsThereAlready_isNotWrittenOver_unlessItIsBad(isBad: Bool) throws {
        let disk = try ended()
        let name = try #require(disk.fileNames.first { $0.hasSuffix(".snapshot") })
        var bytes = try #require(disk.bytes(of: name))
        if isBad { bytes[5_000] ^= 1 }
        disk.replace(name, with: bytes)
        try run(disk) { engine, sink in
            let request = bench.request(.snapshot(bench.freshKey()))
            #expect(engine.submit([request], reactor: 0, journalBytes: 512))
            guard case .snapshot(let answer) = sink.wait(count: 1).last?.reply else {
                Issue.record("no snapshot")
                return
            }
            #expect(name.hasSuffix("\(answer.sequence).snapshot"))
            #expect((disk.bytes(of: name) == bytes) == !isBad)
        }
    }

    @Test func aJournalThatCannotBeTidied_takesSnapshotsAllTheSame() throws {
        let directory = try TempDirectory()
        var storage = options()
        storage.segmentBytes = 32 << 10
        // A file where the archive's folder should be.
        storage.journalRetention = .archive(directory.path + "/identity")
        let (engine, sink) = try open(directory, storage: storage)
        for round in 0..<3 as Range<UInt64> {
            work(engine, sink, seed: round, count: 60)
            let asked = bench.request(.snapshot(bench.freshKey()))
            let before = sink.all.count
            #expect(engine.submit([asked], reactor: 0, journalBytes: 0))
            #expect(sink.wait(count: before + 1).last?.reply.kind == "snapshot")
        }
        engine.stop()
        #expect(engine.status.counters.tidyFailures > 0)
        #expect(engine.status.counters.snapshotFailures == 0)
        #expect(try Inspection(path: directory.path).verify().problems.isEmpty)
    }

    @Test func whatWasAcknowledged_isThere_thoughTheServerNeverStopped() throws {
        let directory = try TempDirectory()
        let copy = try TempDirectory()
        let (engine, sink) = try open(directory)
        work(engine, sink, seed: 11, count: 40)
        let before = try picture(engine, sink)
        // What a kill -9 leaves: the files as they are, while the server still has them open.
        try copyFiles(directory.path, copy.path)
        let (second, secondSink) = try open(copy)
        #expect(try picture(second, secondSink) == before)
        second.stop()
        engine.stop()
    }

    private func copyFiles(_ from: String, _ to: String) throws {
        let disk = RealDisk()
        try disk.makeDirectory(to)
        for entry in try disk.list(from) where entry.name != "lock" {
            let source = try disk.open(from + "/" + entry.name, .read)
            let target = try disk.open(to + "/" + entry.name, .create)
            var bytes = [UInt8](repeating: 0, count: try source.size())
            var span = bytes.mutableSpan
            _ = try source.read(into: &span, at: 0)
            try target.write(bytes.span, at: 0)
        }
    }

    @Test(arguments: [0, 2])
    func afterAFailedSync_readsGoOn_andTheDurableStateIsReadBack(failingReads: Int) throws {
        let disk = SimDisk(seed: 3)
        var storage = options()
        storage.segmentBytes = 64 << 10
        let failed = Monitor(false)
        let failedReads = Monitor(0)
        let failNextRead: @Sendable (Int) -> Void = { number in
            if number < failingReads { disk.failNext(.read, on: ".journal", .inputOutput) }
        }
        let engine = try Engine.open(
            "data", disk: disk, storage: storage,
            journalFailed: { _ in failed.change { $0 = true } },
            reloadFailed: { _ in
                failNextRead(
                    failedReads.change { count in
                        count += 1
                        return count
                    })
            })
        let sink = RecordingSink()
        engine.connect(reactor: 0, sink: sink)
        engine.start()
        work(engine, sink, seed: 5, count: 20)
        let durable = try picture(engine, sink)
        func ask(_ operation: EngineOperation) throws -> EngineReply {
            let before = sink.all.count
            let request = bench.request(operation)
            #expect(
                engine.submit(
                    [request], reactor: 0, journalBytes: request.operation.journalBytes))
            guard let reply = sink.wait(count: before + 1).last?.reply else { throw Unexpected() }
            return reply
        }
        failNextRead(0)
        disk.failNext(.sync, on: ".journal", .inputOutput)
        let refused = try ask(.write(bench.report(about: 9_999), bench.freshKey()))
        #expect(refused.kind == "failed(journalFailed)")
        _ = failed.wait { $0 ? true : nil }
        // Whether or not it has been read back by now, what is shown is durable.
        guard
            case .board(let page, _, let revision) = try ask(
                .listCases(after: nil, limit: 1_000, filter: BoardFilter()))
        else { throw Unexpected() }
        #expect(page.cases.allSatisfy { $0.value.revision <= revision })
        #expect(revision == engine.status.durableSequence)
        // A watch is refused until then; what it shows is the picture of before.
        var isBack = false
        for _ in 0..<100_000 where !isBack {
            let reply = try ask(.watchBoard(resume: revision, filter: BoardFilter()))
            isBack = reply.kind == "boardChanges"
        }
        #expect(isBack && failedReads.change { $0 } == failingReads)
        let after = try picture(engine, sink)
        #expect(after == durable)
        let still = try ask(.write(bench.report(about: 1), bench.freshKey()))
        #expect(still.kind == "failed(journalFailed)")
        engine.stop()
        #expect(engine.status.state == .journalFailed)
    }

    @Test func aSecondServer_onTheSameDirectory_isRefused() throws {
        let directory = try TempDirectory()
        let (engine, _) = try open(directory)
        #expect(throws: EngineError.self) {
            _ = try Engine.open(directory.path, storage: self.options())
        }
        engine.stop()
    }

    @Test func stop_answersWhatWasSubmitted_andTakesNothingAfter() throws {
        let directory = try TempDirectory()
        let (engine, sink) = try open(directory)
        let waiting = bench.request(.claim(suicideOnly, bench.freshKey(), waitMilliseconds: 50_000))
        let watch = bench.request(.watchBoard(resume: 0, filter: BoardFilter()))
        let report = bench.request(.write(bench.report(about: 1), bench.freshKey()))
        #expect(engine.submit([waiting, watch, report], reactor: 0, journalBytes: 100))
        engine.stop()
        let answers = Dictionary(grouping: sink.all, by: \.call)
        #expect(answers[report.call]?.map(\.reply.kind) == ["receipt"])
        #expect(answers[waiting.call]?.map(\.reply.kind) == ["failed(stopping)"])
        #expect(answers[watch.call]?.last?.reply.kind == "failed(stopping)")
        #expect(!engine.submit([report], reactor: 0, journalBytes: 0))
        #expect(engine.status.durableSequence == 1)
    }

    @Test func stop_waitsForTheKeyThatIsBeingMade_andRecordsIt() throws {
        let directory = try TempDirectory()
        var secret = [UInt8](repeating: 7, count: 32)
        let key = try #require(KeyEncryptionKey(wiping: &secret))
        let engine = try Engine.open(
            directory.path, storage: options(), keys: KeySource(current: key))
        let sink = RecordingSink()
        engine.connect(reactor: 0, sink: sink)
        engine.start()
        let renewal = bench.request(.renewKey(.data, bench.freshKey()))
        #expect(engine.submit([renewal], reactor: 0, journalBytes: 100))
        engine.stop()
        guard case .outcome(.key(let answer))? = sink.all.last?.reply else { throw Unexpected() }
        // The ring begins with a data key and a signing key.
        #expect(answer.number == 3)
        #expect(engine.status.durableSequence == 1)
    }

    @Test func moreThanMayWait_isNotTaken_butReadsAre() throws {
        let directory = try TempDirectory()
        var configuration = EngineConfiguration()
        configuration.inboxBytesMax = 2_560
        // Not started: nothing leaves the inbox.
        let engine = try Engine.open(
            directory.path, storage: options(), configuration: configuration)
        let report = bench.request(.write(bench.report(about: 1), bench.freshKey()))
        #expect(engine.submit([report], reactor: 0, journalBytes: 2_400))
        #expect(!engine.submit([report], reactor: 0, journalBytes: 161))
        #expect(engine.submit([bench.request(.status)], reactor: 0, journalBytes: 0))
        engine.start()
        engine.stop()
        #expect(engine.status.counts.reports == 1)
    }

    @Test func whoeverReportsMost_leavesRoomForOthers() throws {
        let directory = try TempDirectory()
        var configuration = EngineConfiguration()
        // 40 reports; of the last 20 an identity may have five.
        configuration.inboxBytesMax = 40 * 256
        let engine = try Engine.open(
            directory.path, storage: options(), configuration: configuration)
        var subject: UInt64 = 0
        func submit(_ names: String...) -> Bool {
            let reports = names.map { name in
                subject += 1
                return bench.request(
                    .write(bench.report(about: subject), bench.freshKey()), by: name)
            }
            let bytes = reports.reduce(0) { $0 + $1.operation.journalBytes }
            return engine.submit(reports, reactor: 0, journalBytes: bytes)
        }
        #expect((0..<25).allSatisfy { _ in submit("classifier") })
        #expect(!submit("classifier"))
        #expect(engine.submit([bench.request(.status)], reactor: 0, journalBytes: 0))
        #expect((0..<5).allSatisfy { _ in submit("hotline") })
        #expect(!submit("hotline"))
        // Nothing of a turn is booked that is not taken.
        #expect((0..<20).allSatisfy { _ in !submit("form", "classifier") })
        #expect(submit("form", "form", "form", "form", "form"))
        #expect(!submit("form"))
        #expect((0..<5).allSatisfy { _ in submit("streams") })
        #expect(!submit("police"), "all of it is full")
        engine.start()
        engine.stop()
        #expect(engine.status.counts.reports == 40)
    }
}
