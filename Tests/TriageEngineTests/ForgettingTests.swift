// Words that were erased are taken out of the journal after snapshots: in which segments they are
// looked for, and that none of them is left in any file.

import TestSupport
import Testing
import TriageBase
import TriageCodec
import TriageDomain
import TriageIO
import TriageJournal

@testable import TriageEngine

@Suite struct ForgettingTests {
    /// An engine on a disk in memory, with segments of few reports.
    private final class Scene {
        private(set) var disk = SimDisk(seed: 4)
        var storage = StorageOptions()
        private let workers = HeldWorkers()
        private let snapshotAtStop: Bool
        let bench = EngineBench()
        private(set) var engine: Engine
        private var sink = RecordingSink()
        let results = Monitor<[SnapshotResult]>([])

        init(
            snapshotAtStop: Bool = false, _ configure: (inout StorageOptions) -> Void = { _ in }
        ) throws {
            self.snapshotAtStop = snapshotAtStop
            storage.workers = workers
            storage.segmentBytes = 16 << 10
            storage.preparationBytesPerSecond = nil
            storage.snapshotBytesPerSecond = nil
            storage.snapshotsKept = 2
            configure(&storage)
            engine = try Self.open(disk, storage, results, sink, snapshotAtStop)
        }

        private static func open(
            _ disk: SimDisk, _ storage: StorageOptions, _ results: Monitor<[SnapshotResult]>,
            _ sink: RecordingSink, _ snapshotAtStop: Bool
        ) throws -> Engine {
            var configuration = EngineConfiguration()
            configuration.snapshotAtStop = snapshotAtStop
            let engine = try Engine.open(
                "data", disk: disk, storage: storage, configuration: configuration,
                snapshotEnded: { result in results.change { $0.append(result) } })
            engine.connect(reactor: 0, sink: sink)
            engine.start()
            return engine
        }

        func restart() throws {
            engine.stop()
            // Where nobody holds the lock any more.
            disk = disk.copy()
            sink = RecordingSink()
            results.change { $0 = [] }
            engine = try Self.open(disk, storage, results, sink, snapshotAtStop)
        }

        func ask(_ operation: EngineOperation) throws -> EngineReply {
            let before = sink.all.count
            submit(operation)
            return try #require(sink.wait(count: before + 1).last?.reply)
        }

        private func submit(_ operation: EngineOperation) {
            let request = bench.request(operation, by: "legal")
            #expect(
                engine.submit(
                    [request], reactor: 0, journalBytes: request.operation.journalBytes))
        }

        /// A report about a subject; returns its case.
        @discardableResult
        func report(_ words: String, about subject: UInt64) throws -> CaseNumber {
            guard case .submitReport(let facts, _) = bench.report(about: subject) else {
                throw Unexpected()
            }
            let reply = try ask(
                .write(
                    .submitReport(facts: facts, content: ForgettingTests.content(words)),
                    bench.freshKey()))
            guard case .receipt(let receipt) = reply else { throw Unexpected() }
            return receipt.caseNumber
        }

        func erase(_ matter: CaseNumber) throws {
            let erasure = Erasure(ground: .dataSubjectRequest, legalBasis: "", reason: "")
            let reply = try ask(
                .write(
                    .eraseReportTexts(case: matter, erasure: erasure, identities: []),
                    bench.freshKey()))
            guard case .outcome(.erasedTexts) = reply else { throw Unexpected() }
        }

        /// Takes a snapshot, and waits for all that follows it.
        @discardableResult
        func snapshot() throws -> ForgottenWords {
            workers.waitForSegments()
            results.change { $0 = [] }
            guard case .snapshot = try ask(.snapshot(bench.freshKey())) else { throw Unexpected() }
            return results.wait { results in
                guard results.contains(where: { $0.endsTidying }) else { return nil }
                for case .forgotten(let forgotten) in results { return forgotten }
                return nil
            }
        }

        /// Takes a snapshot, and does something else between its beginning and its first byte;
        /// waits for all that follows it.
        func snapshot(meanwhile body: () throws -> Void) throws {
            workers.waitForSegments()
            results.change { $0 = [] }
            workers.hold()
            submit(.snapshot(bench.freshKey()))
            workers.waitUntilHeld()
            try body()
            let before = sink.all.count
            workers.release()
            _ = sink.wait(count: before + 1)
            results.wait { $0.contains { $0.endsTidying } ? () : nil }
        }

        /// How the engine is, after all that it has reported.
        func status() throws -> EngineStatus {
            guard case .status(let status) = try ask(.status) else { throw Unexpected() }
            return status
        }

        func fill(_ count: Int) throws {
            for index in 0..<count {
                try report(String(repeating: "x", count: 3_000), about: UInt64(index) + 1_000)
            }
        }

        var segments: [String] { disk.fileNames.filter { $0.hasSuffix(".journal") } }

        /// Dates a segment otherwise than its records, at the epoch or far ahead (FORMAT.md 3).
        func misdate(_ name: String, farAhead: Bool) throws {
            var bytes = try #require(disk.bytes(of: name))
            for place in 40..<48 { bytes[place] = farAhead && place == 46 ? 0x70 : 0 }
            let crc = crc32c(Array(bytes[0..<12] + bytes[16..<4096]).span)
            for place in 0..<4 {
                bytes[12 + place] = UInt8(truncatingIfNeeded: crc >> (8 * UInt32(place)))
            }
            disk.replace(name, with: bytes)
        }

        /// Names of files that have the words.
        func files(with words: String) -> [String] {
            let wanted = Array(words.utf8)
            return disk.fileNames.filter { name in
                guard let bytes = disk.bytes(of: name), bytes.count > wanted.count else {
                    return false
                }
                return (0...bytes.count - wanted.count).contains { place in
                    bytes[place] == wanted[0]
                        && bytes[place..<place + wanted.count].elementsEqual(wanted)
                }
            }
        }
    }

    /// A report's content of a description (`report_content.proto`).
    private static func content(_ words: String) -> [UInt8] {
        let text = Array(words.utf8)
        return [11 << 3 | 2, UInt8(text.count & 127 | 128), UInt8(text.count >> 7)] + text
    }

    private static let words = "what nobody may read any more " + String(repeating: "z", count: 200)
    private static let others = "what stays as it is " + String(repeating: "y", count: 200)

    @Test func erasedWordsAreInNoFile_onceSnapshotsStandForTheirSegments() throws {
        let scene = try Scene()
        let matter = try scene.report(Self.words, about: 1)
        try scene.report(Self.others, about: 2)
        try scene.fill(8)
        let second = try scene.report(Self.words, about: 1)
        #expect(second == matter)
        try scene.fill(8)
        #expect(scene.files(with: Self.words).count == 2)
        try scene.snapshot()
        try scene.erase(matter)
        var seen: [ForgottenWords] = []
        for _ in 0..<3 {
            seen.append(try scene.snapshot())
            try scene.fill(1)
        }
        #expect(seen.map(\.records) == [2, 0, 0] && seen.map(\.waiting) == [0, 0, 0], "\(seen)")
        #expect(scene.files(with: Self.words) == [])
        #expect(scene.files(with: Self.others).contains { $0.hasSuffix(".journal") })
        let status = try scene.status()
        #expect(status.counters.recordsForgotten == 2 && status.counters.segmentsRewritten == 2)
        #expect(status.counters.forgetFailures == 0 && status.wordsToForget == 0)
        scene.engine.stop()
        #expect(try Inspection(path: "data", disk: scene.disk).verify().problems.isEmpty)
    }

    @Test func theSegmentThatIsWrittenEndsForIt_andARestartFindsNothingLeft() throws {
        let scene = try Scene()
        let matter = try scene.report(Self.words, about: 1)
        try scene.snapshot()
        try scene.erase(matter)
        // In the only segment there is; then that one is complete, but not yet covered.
        let first = try scene.snapshot()
        #expect(first.waiting == 1 && first.waitsForSegment && first.records == 0)
        try scene.fill(1)
        let second = try scene.snapshot()
        #expect(second.waiting == 1 && !second.waitsForSegment)
        #expect(scene.segments.count == 2)
        try scene.fill(1)
        let third = try scene.snapshot()
        #expect(third.waiting == 0 && third.records == 1 && scene.segments.count == 2)
        #expect(scene.files(with: Self.words) == [])

        let before = scene.segments.map { scene.disk.bytes(of: $0) }
        try scene.restart()
        try scene.fill(1)
        #expect(try scene.snapshot() == ForgottenWords())
        #expect(scene.disk.bytes(of: scene.segments[0]) == before[0])
        scene.engine.stop()
        // From the journal alone.
        let alone = scene.disk.copy()
        for name in alone.fileNames where name.hasSuffix(".snapshot") { alone.erase(name) }
        let engine = try Engine.open("data", disk: alone, storage: scene.storage)
        #expect(engine.status.counts == scene.engine.status.counts)
        #expect(engine.status.recovery.recordsReplayed == scene.engine.status.durableSequence)
    }

    @Test(arguments: [JournalRetention.remove, .archive("archive")])
    func whatRetentionTakesHasTheWordsNowhere(retention: JournalRetention) throws {
        let scene = try Scene { $0.journalRetention = retention }
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.erase(matter)
        for _ in 0..<3 {
            try scene.fill(1)
            try scene.snapshot()
        }
        #expect(scene.files(with: Self.words) == [])
        let counters = try scene.status().counters
        #expect(counters.segmentsRetired > 0)
        #expect(counters.recordsForgotten == (retention == .remove ? 0 : 1))
        scene.engine.stop()
    }

    // MARK: Nothing goes to the archive with words that are erased

    /// One snapshot stands for segments as soon as it is there, and they go.
    private static func archives(_ storage: inout StorageOptions) {
        storage.journalRetention = .archive("archive")
        storage.snapshotsKept = 1
    }

    private func expectMovedWithoutWords(_ scene: Scene) throws {
        #expect(scene.files(with: Self.words) == [])
        let counters = try scene.status().counters
        #expect(counters.recordsForgotten == 1 && counters.segmentsRetired > 0)
        #expect(scene.disk.fileNames.contains("archive/00000000000000000001.journal"))
        scene.engine.stop()
    }

    /// It does not wait for words to be taken out of segments.
    @Test func aStopMovesNoSegment() throws {
        let scene = try Scene(snapshotAtStop: true, Self.archives)
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.erase(matter)
        try scene.restart()
        #expect(scene.disk.fileNames.contains { $0.hasSuffix(".snapshot") })
        #expect(!scene.disk.fileNames.contains { $0.hasPrefix("archive/") })
        try scene.snapshot()
        try expectMovedWithoutWords(scene)
    }

    @Test func whereWordsCannotBeTakenOut_noSegmentMoves() throws {
        let scene = try Scene(Self.archives)
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.erase(matter)
        scene.disk.failNext(.sync, on: ".journal.tmp", .inputOutput)
        #expect(try scene.snapshot().waiting == 1)
        #expect(!scene.disk.fileNames.contains { $0.hasPrefix("archive/") })
        #expect(try scene.snapshot().waiting == 0)
        try expectMovedWithoutWords(scene)
    }

    /// Its leaves come after words were looked for in what had some.
    @Test func whereLeavesWereMissing_noSegmentMoves() throws {
        let scene = try Scene { storage in
            Self.archives(&storage)
            storage.workers = nil
        }
        let matter = try scene.report(Self.words, about: 1)
        scene.disk.failNext(.sync, on: ".leaves.tmp", .inputOutput)
        try scene.fill(8)
        try scene.erase(matter)
        #expect(try scene.status().housekeeping.leavesMissing == 1)
        #expect(try scene.snapshot().waiting == 1)
        #expect(try scene.status().housekeeping.leavesMissing == 0)
        #expect(!scene.disk.fileNames.contains { $0.hasPrefix("archive/") })
        #expect(try scene.snapshot().waiting == 0)
        try expectMovedWithoutWords(scene)
    }

    /// The snapshot does not know yet that they are erased.
    @Test func whereWordsAreErasedWhileASnapshotIsWritten_noSegmentMoves() throws {
        let scene = try Scene(Self.archives)
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.snapshot { try scene.erase(matter) }
        #expect(!scene.disk.fileNames.contains { $0.hasPrefix("archive/") })
        try scene.snapshot()
        try expectMovedWithoutWords(scene)
    }

    /// By its dates only the segment that is being written can have them.
    @Test func whereDatesAreWrong_noSegmentMovesWithWords() throws {
        let scene = try Scene(Self.archives)
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(12)
        try scene.erase(matter)
        for name in scene.segments.dropFirst() { try scene.misdate(name, farAhead: false) }
        try scene.snapshot()
        try scene.snapshot()
        try expectMovedWithoutWords(scene)
    }

    /// By its date the segment of the words has later ones, and two older ones may have them.
    @Test func whereDatesAreWrong_wordsAreNotTakenForGone() throws {
        let scene = try Scene()
        try scene.fill(12)
        try scene.snapshot()
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        for name in scene.segments.dropFirst(2) { try scene.misdate(name, farAhead: true) }
        try scene.erase(matter)
        #expect(try scene.snapshot().waiting == 1)
        #expect(try scene.snapshot().waiting == 0)
        #expect(scene.files(with: Self.words).isEmpty)
    }

    @Test func whereTheSearchEndsEarly_noSegmentIsFreeOfWords() throws {
        let scene = try Scene { $0.snapshotsKept = 1 }
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.snapshot()
        try scene.erase(matter)
        scene.engine.stop()
        let data = try DataDirectory(
            opening: "data", disk: scene.disk.copy(), options: scene.storage)
        var target = RecoveredWorld(helpers: scene.storage.helpers)
        _ = try data.recover(into: &target)
        let state = try target.takeWorld().snapshotState
        let forgetter = WordForgetter()
        #expect(forgetter.run(state, data, goesOn: { false }).forgotten.waiting == 1)
        #expect(!forgetter.isFree(1))
        #expect(forgetter.run(state, data, goesOn: { true }).forgotten.waiting == 0)
        #expect(forgetter.isFree(1))
    }

    @Test func whereRetentionRemoves_theSegmentThatIsWrittenEndsForIt() throws {
        let scene = try Scene { $0.journalRetention = .remove }
        let matter = try scene.report(Self.words, about: 1)
        try scene.snapshot()
        try scene.erase(matter)
        var seen: [ForgottenWords] = []
        for _ in 0..<5 {
            seen.append(try scene.snapshot())
            try scene.report(Self.others, about: 2)
        }
        #expect(seen[0].waiting == 1 && seen[0].waitsForSegment, "\(seen)")
        #expect(seen[4] == ForgottenWords(), "\(seen)")
        #expect(scene.files(with: Self.words) == [])
        #expect(try scene.status().wordsToForget == 0)
        scene.engine.stop()
    }

    @Test func whatFailsIsReported_andDoneAfterTheNextSnapshot() throws {
        let scene = try Scene()
        let matter = try scene.report(Self.words, about: 1)
        try scene.fill(8)
        try scene.snapshot()
        try scene.erase(matter)
        scene.disk.failNext(.sync, on: ".journal.tmp", .inputOutput)
        let failed = try scene.snapshot()
        #expect(failed.waiting == 1 && failed.records == 0)
        #expect(try scene.status().counters.forgetFailures == 1)
        #expect(!scene.disk.fileNames.contains { $0.hasSuffix(".journal.tmp") })
        let after = try scene.snapshot()
        #expect(after.waiting == 0 && after.records == 1)
        #expect(try scene.status().state == .serving)
        scene.engine.stop()
    }
}

/// The system's threads: the one that writes snapshots can be held, the one that writes leaves be
/// waited for.
private struct HeldWorkers: WorkerSource {
    struct Gate {
        var isShut = false
        /// Work that was not begun or is not done yet, by the worker's name.
        var left: [String: Int] = [:]
    }

    private final class Held: Worker {
        let worker: any Worker
        let name: String
        let gate: Monitor<Gate>

        init(_ worker: any Worker, _ name: String, _ gate: Monitor<Gate>) {
            self.worker = worker
            self.name = name
            self.gate = gate
        }

        func submit(_ work: @escaping @Sendable () -> Void) {
            gate.change { $0.left[name, default: 0] += 1 }
            worker.submit { [gate, name] in
                if name == "snapshot" { gate.wait { $0.isShut ? nil : () } }
                work()
                gate.change { $0.left[name, default: 0] -= 1 }
            }
        }

        func stop() { worker.stop() }
    }

    private let gate = Monitor(Gate())
    private let workers = SystemWorkers()

    func hold() {
        gate.wait { (gate: inout Gate) -> Void? in
            guard gate.left["snapshot", default: 0] == 0 else { return nil }
            gate.isShut = true
            return ()
        }
    }

    /// Waits until something was given to the worker that is held.
    func waitUntilHeld() { gate.wait { $0.left["snapshot", default: 0] > 0 ? () : nil } }

    /// Waits until leaves are written, and the next segment is prepared.
    func waitForSegments() { gate.wait { $0.left["segments", default: 0] == 0 ? () : nil } }

    func release() { gate.change { $0.isShut = false } }

    func makeWorker(name: String, urgency: Thread.Urgency) throws(IOError) -> any Worker {
        Held(try workers.makeWorker(name: name, urgency: urgency), name, gate)
    }

    func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R? {
        workers.wait(on: monitor, before: deadline, until: body)
    }
}

extension SnapshotResult {
    fileprivate var endsTidying: Bool {
        switch self {
        case .tidied, .tidyFailed: true
        case .taken, .failed, .forgotten, .forgetFailed: false
        }
    }
}
