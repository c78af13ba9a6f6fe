// Sealed fields that are taken out of old segments: gone from every byte of the directory, and
// everything else as it was, wherever it is interrupted.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct RedactionTests {
    static let archive = "archive"

    /// A directory whose records say which they are, and whose fields are found nowhere else.
    struct Scene {
        var bench: Workbench
        let data: DataDirectory
        let journal: JournalWriter

        init(
            encrypted: Bool = false, _ retention: JournalRetention = .keep,
            begun: WallTime = WallTime(milliseconds: 1),
            _ configure: (inout StorageOptions) -> Void = { _ in }
        ) throws {
            bench = Workbench(segmentBytes: 16 << 10, encrypted: encrypted)
            bench.options.journalRetention = retention
            bench.options.snapshotsKept = 2
            configure(&bench.options)
            (data, journal) = try bench.start(time: begun)
        }

        /// Words that no other field has; fewer bytes than what stands for them, if `count` is so.
        static func words(_ sequence: UInt64, _ field: Int, count: Int) -> [UInt8] {
            var random = SeededRandom(seed: sequence * 16 + UInt64(field))
            return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
        }

        /// Writes batches of records with fields of these lengths.
        mutating func write(_ batches: [[[Int]]]) throws {
            for batch in batches {
                for fields in batch {
                    let sequence = journal.nextSequence
                    var parts = RecordParts()
                    parts.body = (0..<8).map { UInt8(truncatingIfNeeded: sequence >> (8 * $0)) }
                    for (index, count) in fields.enumerated() {
                        _ = parts.seal(Self.words(sequence, index + 1, count: count))
                    }
                    let time = WallTime(milliseconds: Int64(sequence) * 10)
                    try #require(try journal.append(parts, time: time) == sequence)
                    bench.durable.append(
                        Written(sequence: sequence, milliseconds: time.milliseconds, parts))
                }
                try journal.commit()
            }
        }

        func takeSnapshot() throws {
            let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
            for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
            _ = try snapshot.finish()
        }

        /// Records 1 to 8 in two segments that are covered, 9 and up in one that is not complete.
        static func usual(
            encrypted: Bool = false, _ retention: JournalRetention = .keep,
            begun: WallTime = WallTime(milliseconds: 1)
        ) throws -> Scene {
            var scene = try Scene(encrypted: encrypted, retention, begun: begun)
            try scene.write([
                [[3000], [500, 12], []], [[100, 200, 300]], [[4000]],
            ])
            try scene.write([[[6000]], [[700, 800], [0, 5]]])
            try scene.write([[[9000, 1]]])
            try scene.takeSnapshot()
            try scene.write([[[30]]])
            try scene.takeSnapshot()
            return scene
        }

        /// What becomes of the records.
        func without(_ fields: [UInt64: [Int]]) -> [Written] {
            bench.durable.map { record in
                var record = record
                for number in fields[record.sequence] ?? [] { record.sealed[number - 1] = nil }
                return record
            }
        }
    }

    /// There is nothing to redact.
    private struct Nothing: Error {}

    /// The sequence that a record's body says.
    private static func sequence(_ record: RecordView) -> UInt64 { record.body.loadUInt64(at: 0) }

    /// Takes fields out of all covered segments.
    @discardableResult
    private static func redact(
        _ data: DataDirectory, _ fields: [UInt64: [Int]]
    ) throws(JournalError) -> Int {
        var redaction = try data.makeRedaction()
        var count = 0
        for segment in redaction.segments where segment.isCovered {
            count += try redaction.redact(segment.first) { fields[sequence($0)] ?? [] }
        }
        return count
    }

    /// Whether some file of the directory has these bytes.
    private static func isThere(_ words: [UInt8], _ disk: SimDisk) -> Bool {
        disk.fileNames.contains { name in
            guard let bytes = disk.bytes(of: name), bytes.count >= words.count else { return false }
            return (0...bytes.count - words.count).contains { place in
                bytes[place] == words[0] && bytes[place..<place + words.count].elementsEqual(words)
            }
        }
    }

    private static func records(
        _ bench: Workbench, archive: String? = nil
    ) throws -> [Written] {
        var state = Recorded()
        _ = try bench.inspection(archive: archive).readJournal(into: &state)
        return state.records
    }

    /// What a start without any snapshot gives.
    private static func replayed(_ bench: Workbench) throws -> (Recorded, RecoveryReport) {
        var copy = bench
        copy.disk = bench.disk.copy()
        for name in copy.disk.fileNames where name.hasSuffix(".snapshot") { copy.disk.erase(name) }
        var state = Recorded()
        let (_, report) = try copy.open(into: &state)
        return (state, report)
    }

    static let chosen: [UInt64: [Int]] = [1: [1], 2: [2], 4: [1, 3], 7: [1, 2], 8: [2]]

    @Test(arguments: [false, true])
    func theFieldsAreGoneAndAllElseIsAsItWas(encrypted: Bool) throws {
        var scene = try Scene.usual(encrypted: encrypted)
        let bench = scene.bench
        let head = try bench.inspection().verify().statistics.head
        let before = RestoreTests.files(bench.disk, under: Workbench.path)
        let words = Scene.words(7, 2, count: 800)
        #expect(Self.isThere(words, bench.disk) == !encrypted)

        #expect(try Self.redact(scene.data, Self.chosen) == 5)
        let expected = scene.without(Self.chosen)
        #expect(try Self.records(bench) == expected)
        let result = try bench.inspection().verify()
        #expect(result.problems.isEmpty && result.statistics.head == head)
        let (state, report) = try Self.replayed(bench)
        #expect(state.records == expected && report.recordsReplayed == UInt64(expected.count))
        #expect(!Self.isThere(words, bench.disk))
        #expect(!Self.isThere(Scene.words(1, 1, count: 3000), bench.disk))

        // Two segments are other files, each as long as it needs to be; nothing else has changed.
        let after = RestoreTests.files(bench.disk, under: Workbench.path)
        let changed = before.keys.filter { before[$0] != after[$0] }.sorted()
        #expect(Set(before.keys) == Set(after.keys))
        #expect(changed == [1, 6].map { Workbench.file("0000000000000000000\($0).journal") })
        for name in changed {
            #expect(before[name]?.count == 16_384 && after[name]?.count == 12_288)
        }
        // The journal goes on, through the next start too.
        try scene.write([[[40]], [[7000]]])
        var last = scene.bench
        last.disk = last.disk.copy()
        var recovered = Recorded()
        let (_, again) = try last.open(into: &recovered)
        #expect(again.head == scene.journal.durableHead)
        #expect(recovered.records == Array(last.durable.dropFirst(10)))
    }

    // MARK: Nothing to do

    @Test func whatIsGoneIsNotTakenOutAgain_andWhatIsLeftIsLater() throws {
        let scene = try Scene.usual()
        let disk = scene.bench.disk
        #expect(try Self.redact(scene.data, Self.chosen) == 5)
        let changes = disk.changes
        #expect(try Self.redact(scene.data, Self.chosen) == 0)
        #expect(try Self.redact(scene.data, [3: [], 10: [1]]) == 0)
        #expect(disk.changes == changes, "a segment was written for nothing")
        // Other fields of the first segment: no length comes again.
        #expect(try Self.redact(scene.data, [4: [1, 2]]) == 1)
        #expect(disk.bytes(of: Workbench.file(segment1))?.count == 20_480)
        #expect(try Self.redact(scene.data, [5: [1]]) == 1)
        #expect(disk.bytes(of: Workbench.file(segment1))?.count == 28_672)
        var expected = scene.without(Self.chosen)
        expected[3].sealed[1] = nil
        expected[4].sealed[0] = nil
        #expect(try Self.records(scene.bench) == expected)
        #expect(try scene.bench.inspection().verify().problems.isEmpty)
    }

    @Test func onlyWhatSnapshotsStandForIsTouched() throws {
        func covered(_ scene: Scene) throws -> [UInt64] {
            let redaction = try scene.data.makeRedaction()
            return redaction.segments.filter(\.isCovered).map(\.first)
        }
        var scene = try Scene.usual()
        #expect(try covered(scene) == [1, 6])
        // The segment that is being written is never covered; it is once it is complete.
        try scene.takeSnapshot()
        try scene.write([[[12_000]]])
        #expect(try covered(scene) == [1, 6], "the older snapshot of two is of record 9")
        try scene.takeSnapshot()
        #expect(try covered(scene) == [1, 6, 9])
        // Without its leaves nothing is left to compare a segment with.
        scene.bench.disk.erase(Workbench.file("00000000000000000006.leaves"))
        #expect(try covered(scene) == [1, 9])
        for name in scene.bench.disk.fileNames.filter({ $0.hasSuffix(".snapshot") }).dropFirst() {
            scene.bench.disk.erase(name)
        }
        #expect(try covered(scene) == [], "one snapshot of two")
        // Which go as they are, where retention removes.
        let removing = try Scene.usual(.remove)
        let redaction = try removing.data.makeRedaction()
        #expect(!redaction.rewrites && redaction.segments.map(\.isComplete) == [true, true, false])
        #expect(try scene.data.makeRedaction().rewrites)
    }

    @Test func theWriterEndsASegmentWhenItIsAsked_andRefusesNothingForIt() throws {
        var scene = try Scene { $0.workers = WorkersAtOnce() }
        func segments() -> Int {
            scene.bench.disk.fileNames.filter { $0.hasSuffix(".journal") }.count
        }
        // Not one without a record.
        scene.journal.endSegment()
        try scene.write([[[10]]])
        #expect(segments() == 1)
        scene.journal.endSegment()
        try scene.write([[[10]], [[10]]])
        #expect(segments() == 2)
        // No room for the next one: records go where there is some.
        scene.bench.disk.limit(bytes: 0)
        scene.journal.endSegment()
        try scene.write([[[10]]])
        scene.journal.close(time: .epoch)
        #expect(try Self.records(scene.bench) == scene.bench.durable)
    }

    @Test func aSegmentThatIsToEndDoesSoOnceTheNextOneIsPrepared() throws {
        var scene = try Scene { $0.workers = WorkersAtOnce() }
        func segments() -> Int {
            scene.bench.disk.fileNames.filter { $0.hasSuffix(".journal") }.count
        }
        try scene.write([[[10]]])
        // The spare is taken, and there is no room for another one.
        scene.bench.disk.limit(bytes: 0)
        scene.journal.endSegment()
        try scene.write([[[10]]])
        #expect(segments() == 2)
        scene.journal.endSegment()
        try scene.write([[[10]], [[10]]])
        #expect(segments() == 2)
        scene.bench.disk.limit(bytes: nil)
        // So soon after a failure the disk is not asked again.
        try scene.write([[[10]]])
        #expect(segments() == 2)
        scene.bench.disk.pause(nanoseconds: 1_000_000_000)
        try scene.write([[[10]]])
        #expect(segments() == 3)
        // Once is enough.
        try scene.write([[[10]], [[10]]])
        #expect(segments() == 3)
        scene.journal.close(time: .epoch)
        #expect(try Self.records(scene.bench) == scene.bench.durable)
    }

    /// Also when the directory was made at a later time than any record has.
    @Test(arguments: [1, 1_000_000])
    func aSegmentIsDatedByItsNeighbours(milliseconds: Int64) throws {
        let scene = try Scene.usual(begun: WallTime(milliseconds: milliseconds))
        let redaction = try scene.data.makeRedaction()
        let segments = redaction.segments
        #expect(segments.map(\.first) == [1, 6, 9])
        for record in scene.bench.durable {
            let time = WallTime(milliseconds: record.milliseconds)
            let index = segments.lastIndex { $0.first <= record.sequence } ?? 0
            #expect(segments[index].earliest <= time && time <= segments[index].latest)
        }
        // Of the first record no other segment is asked than the first two, of the last two.
        func places(_ sequence: Int64) -> [UInt64] {
            let time = WallTime(milliseconds: sequence * 10)
            return segments.filter { $0.earliest <= time && time <= $0.latest }.map(\.first)
        }
        #expect(places(1) == [1, 6] && places(10) == [9])
    }

    /// One that lost its only batch has the date of a record that is not there.
    @Test func aSegmentWithoutARecordIsDatedAnew() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        let late = WallTime(milliseconds: 1_000_000)
        _ = try journal.append(Workbench.parts(2, count: 3000), time: late)
        // Its header and its name are there, its batch is not.
        bench.disk.failNext(.syncDirectory, .inputOutput)
        #expect(throws: JournalError.self) { try journal.commit() }
        bench.disk = bench.disk.copy()
        let (data, again) = try bench.start()
        try bench.write([[3000], [3000]], to: again)
        let segments = try data.makeRedaction().segments
        #expect(segments.map(\.first) == [1, 2, 3])
        #expect(segments[2].earliest == WallTime(milliseconds: 20))
    }

    // MARK: Archives

    @Test func whatGoesToTheArchiveIsWithoutTheFields() throws {
        let scene = try Scene.usual(.archive(Self.archive))
        #expect(try Self.redact(scene.data, Self.chosen) == 5)
        #expect(try scene.data.tidy(time: .epoch).segments.count == 2)
        #expect(
            try Self.records(scene.bench, archive: Self.archive) == scene.without(Self.chosen))
        #expect(!Self.isThere(Scene.words(7, 2, count: 800), scene.bench.disk))
        let result = try scene.bench.inspection(archive: Self.archive).verify()
        #expect(result.problems.isEmpty)
    }

    @Test func aSegmentThatIsInTheArchiveTooStaysAsItIs() throws {
        let scene = try Scene.usual(.archive(Self.archive))
        let disk = scene.bench.disk
        // Copied, and the power went before it was removed.
        let bytes = try #require(disk.bytes(of: Workbench.file(segment1)))
        try disk.makeDirectory(Self.archive)
        disk.replace(Self.archive + "/" + segment1, with: bytes)
        #expect(try Self.redact(scene.data, Self.chosen) == 2)
        #expect(disk.bytes(of: Workbench.file(segment1)) == bytes)
        #expect(try scene.data.tidy(time: .epoch).segments.count == 2)
    }

    // MARK: Faults

    @Test(arguments: [false, true], [JournalRetention.keep, .archive(archive)])
    func aFailureOrPowerCutAtAnyCallLeavesTheOldOrTheNewOne(
        encrypted: Bool, retention: JournalRetention
    ) throws {
        let scene = try Scene.usual(encrypted: encrypted, retention)
        let expected = scene.without(Self.chosen)
        let old = scene.bench.durable
        // Each segment is either.
        let states = [old, expected, Array(expected[..<5]) + old[5...]]
        var call = 1
        var isOver = false
        var seen: Set<Int> = []
        while !isOver {
            isOver = true
            for fails in [false, true] {
                var bench = scene.bench
                bench.disk = scene.bench.disk.copy()
                let (data, _) = try bench.start()
                let start = bench.disk.calls
                if fails {
                    bench.disk.failCall(start + call, .inputOutput)
                } else {
                    bench.disk.cutPower(at: start + call)
                }
                do throws(JournalError) {
                    _ = try Self.redact(data, Self.chosen)
                } catch {
                    isOver = false
                    guard case .io = error else { throw error }
                }
                bench.disk.failCall(nil, .inputOutput)
                if !fails { bench.disk = bench.disk.afterPowerCut(seed: UInt64(call)) }
                let found = try #require(
                    states.firstIndex(of: try Self.records(bench)), "after call \(call)")
                seen.insert(found)
                #expect(try bench.inspection().verify().problems.isEmpty, "after call \(call)")
                // The next start goes on, and the next run does what is left.
                bench.disk = bench.disk.copy()
                let (again, _) = try bench.start()
                #expect(!bench.disk.fileNames.contains { $0.hasSuffix(".journal.tmp") })
                _ = try Self.redact(again, Self.chosen)
                #expect(try Self.records(bench) == expected, "after call \(call)")
                #expect(try Self.replayed(bench).0.records == expected)
            }
            call += 1
        }
        #expect(seen == [0, 1, 2] && call > 40)
    }

    @Test func aFullDiskLeavesTheOldOne() throws {
        let scene = try Scene.usual()
        let disk = scene.bench.disk
        disk.limit(bytes: disk.bytesUsed + 8192)
        #expect {
            try Self.redact(scene.data, Self.chosen)
        } throws: { error in
            guard case .io(let cause) = error as? JournalError else { return false }
            return cause.errno == .noSpace
        }
        #expect(!disk.fileNames.contains { $0.hasSuffix(".journal.tmp") })
        #expect(try Self.records(scene.bench) == scene.bench.durable)
        disk.limit(bytes: nil)
        #expect(try Self.redact(scene.data, Self.chosen) == 5)
    }

    @Test func whatIsReadBackOtherwiseReplacesNothing() throws {
        let scene = try Scene.usual()
        // A byte of a record, of a root, of the header, of the zeros at the end.
        for place in [4096 + 40, 4096 + 200, 40, -1] {
            let disk = FlippingDisk(
                scene.bench.disk.copy(), suffix: ".journal.tmp", place: place)
            let data = try DataDirectory(
                opening: Workbench.path, disk: disk, options: scene.bench.options)
            #expect(throws: JournalError.self, "\(place)") {
                try Self.redact(data, Self.chosen)
            }
            var after = scene.bench
            after.disk = disk.base
            #expect(try Self.records(after) == scene.bench.durable)
            #expect(!disk.base.fileNames.contains { $0.hasSuffix(".journal.tmp") })
        }
        // What names more the second time was not asked for the first time.
        var redaction = try scene.data.makeRedaction()
        var asked = 0
        #expect(throws: JournalError.self) {
            try redaction.redact(1) { record throws(RecordRejection) in
                asked += 1
                return record.fieldCount > 0 && (asked == 1 || asked > 5) ? [1] : []
            }
        }
        #expect(try Self.records(scene.bench) == scene.bench.durable)
    }

    @Test func whatDoesNotVerifyIsLeftAlone() throws {
        let names = [
            segment1, "00000000000000000001.leaves", "00000000000000000009.snapshot",
        ]
        for name in names {
            let scene = try Scene.usual()
            var bytes = try #require(scene.bench.disk.bytes(of: Workbench.file(name)))
            bytes[4096 + 100] ^= 1
            scene.bench.disk.replace(Workbench.file(name), with: bytes)
            let before = RestoreTests.files(scene.bench.disk, under: Workbench.path)
            #expect(throws: JournalError.self, "\(name)") {
                try Self.redact(scene.data, Self.chosen)
            }
            #expect(RestoreTests.files(scene.bench.disk, under: Workbench.path) == before)
        }
    }

    // MARK: Beside readers

    @Test func whoHasTheOldFileOpenReadsItToItsEnd() throws {
        let scene = try Scene.usual()
        let before = try #require(scene.bench.disk.bytes(of: Workbench.file(segment1)))
        let reader = try #require(try scene.data.openBackupFile(segment1, count: before.count))
        var bytes = try reader.next() ?? []
        try Self.redact(scene.data, Self.chosen)
        while let chunk = try reader.next() { bytes += chunk }
        #expect(bytes == before)
    }

    @Test func aSegmentWrittenAnewBetweenListAndCopyIsGone_alsoOneThatWasOpenThen() throws {
        var scene = try Scene.usual()
        let listing = try scene.data.listBackup()
        let final = try #require(listing.files.first { $0.name == segment1 })
        let open = try #require(listing.files.first { $0.name.hasSuffix("09.journal") })
        #expect(final.isFinal && !open.isFinal && open.count < open.size)
        try scene.write([[[12_000]]])
        for _ in 0..<2 { try scene.takeSnapshot() }
        try scene.write([[[2]]])
        try scene.takeSnapshot()
        _ = try scene.data.tidy(time: .epoch)
        func read(_ file: BackupFile) throws -> BackupReader? {
            try scene.data.openBackupFile(file.name, count: file.count, listed: file.size)
        }
        #expect(try read(final) != nil && read(open) != nil)
        #expect(try Self.redact(scene.data, [1: [1], 9: [1]]) == 2)
        #expect(try read(final) == nil && read(open) == nil)
        for file in try scene.data.listBackup().files { #expect(try read(file) != nil) }
    }

    @Test func proofsShowTheFieldRedacted_andARestoreBringsNothingBack() throws {
        let scene = try Scene.usual(encrypted: true)
        scene.journal.close(time: .epoch)
        try Self.redact(scene.data, Self.chosen)
        var prover = try Prover(scene.bench.inspection())
        let head = try prover.head(of: nil)
        for sequence in UInt64(1)...10 {
            _ = try RecordProof(try prover.prove(sequence, in: head).description)
                .verify([head.key])
        }
        var text = ""
        try prover.export(1...10, in: head, shows: { _, _ in true }) { text += $0 }
        let lines = text.split(separator: "\n")
        #expect(lines.filter { $0.hasPrefix("redacted ") }.count == 7)
        let count = scene.bench.durable.reduce(0) { $0 + $1.sealed.count }
        #expect(lines.filter { $0.hasPrefix("field ") }.count == count - 7)
        // To before the snapshots that stand for it: the records have no words.
        _ = try RestoreTests.restore(scene.bench, .sequence(7))
        let restored = try Inspection(path: "new", disk: scene.bench.disk, keys: scene.bench.keys)
        var state = Recorded()
        _ = try restored.readJournal(into: &state)
        #expect(state.records == Array(scene.without(Self.chosen)[..<7]))
        #expect(try restored.verify().problems.isEmpty)
    }
}

/// Workers whose work is done when it is given.
private struct WorkersAtOnce: WorkerSource {
    private final class AtOnce: Worker {
        func submit(_ work: @escaping @Sendable () -> Void) { work() }
        func stop() {}
    }

    func makeWorker(name: String, urgency: Thread.Urgency) throws(IOError) -> any Worker {
        AtOnce()
    }

    func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R? {
        monitor.change(body)
    }
}

/// A disk that reads one byte of some files otherwise than it was written.
private final class FlippingDisk: Disk {
    let base: SimDisk
    private let suffix: String
    private let place: Int

    /// Reads the byte at `place` otherwise; below 0: from the end.
    init(_ base: SimDisk, suffix: String, place: Int) {
        self.base = base
        self.suffix = suffix
        self.place = place
    }

    private final class File: DiskFile {
        let base: any DiskFile
        let place: Int

        init(_ base: any DiskFile, _ place: Int) {
            self.base = base
            self.place = place
        }

        func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOError) -> Int {
            let count = try base.read(into: &buffer, at: offset)
            let place = place < 0 ? try base.size() + place : place
            if offset <= place, place < offset + count { buffer[place - offset] ^= 1 }
            return count
        }

        func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError) {
            try base.write(bytes, at: offset)
        }

        func sync() throws(IOError) { try base.sync() }
        func allocate(_ count: Int) throws(IOError) { try base.allocate(count) }
        func size() throws(IOError) -> Int { try base.size() }
    }

    func open(_ path: String, _ access: FileAccess) throws(IOError) -> any DiskFile {
        let file = try base.open(path, access)
        return path.hasSuffix(suffix) ? File(file, place) : file
    }

    func list(_ path: String) throws(IOError) -> [DirectoryEntry] { try base.list(path) }
    func makeDirectory(_ path: String) throws(IOError) { try base.makeDirectory(path) }
    func syncDirectory(_ path: String) throws(IOError) { try base.syncDirectory(path) }
    func openDirectory(_ path: String) throws(IOError) -> any DiskDirectory {
        try base.openDirectory(path)
    }
    func rename(_ path: String, to new: String) throws(IOError) { try base.rename(path, to: new) }
    func remove(_ path: String) throws(IOError) { try base.remove(path) }
    func lock(_ path: String) throws(IOError) -> LockOutcome { try base.lock(path) }
    func monotonicTime() -> MonotonicTime { base.monotonicTime() }
    func pause(nanoseconds: UInt64) { base.pause(nanoseconds: nanoseconds) }
}
