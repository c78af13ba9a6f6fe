// The leaves of complete segments: made when a segment is, made again when they are missing, told
// when they are damaged, and what they tell of a segment that somebody changed.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct LeavesTests {
    static let leaves1 = "00000000000000000001.leaves"

    /// A segment a record, the last one not complete; none after the last one.
    private func bench(_ records: Int = 4, encrypted: Bool = false) throws -> Workbench {
        try Workbench.with([[Int]](repeating: [3000], count: records), encrypted: encrypted)
    }

    private func names(_ bench: Workbench, _ suffix: String) -> [String] {
        bench.disk.fileNames.filter { $0.hasSuffix(suffix) }
    }

    @Test func everyCompleteSegmentHasThem_andTheLastOneHasNot() throws {
        let bench = try bench()
        #expect(names(bench, ".journal").count == 4)
        #expect(names(bench, ".leaves").count == 3)
        let leaves = try documentedLeaves(bench)
        for (index, name) in names(bench, ".leaves").enumerated() {
            let bytes = try #require(bench.disk.bytes(of: name))
            #expect(bytes.count == 8192)
            #expect(bytes.span.loadUInt32(at: 4096 + 4) == 1)
            #expect(bytes.span.loadUInt64(at: 4096 + 8) == UInt64(index + 1))
            let stored = Array(bytes[4096 + 32..<4096 + 64])
            #expect(stored == leaves[index].withBytes { [UInt8](copying: $0) })
        }
    }

    @Test func manyLeavesFillBlocksOfOneHundredAndTwentySeven() throws {
        var bench = Workbench(segmentBytes: 16384)
        let (_, journal) = try bench.start()
        while bench.disk.bytes(of: Workbench.file(Self.leaves1)) == nil {
            try bench.write([[Int](repeating: 1, count: 20)], to: journal)
        }
        let bytes = try #require(bench.disk.bytes(of: Workbench.file(Self.leaves1)))
        let leaves = try documentedLeaves(bench)
        let second = try #require(names(bench, ".journal").last)
        let count = try #require(Int(second.dropFirst(5).prefix(20))) - 1
        #expect(count > 2 * 127 && bytes.count == 4096 * (1 + (count + 126) / 127))
        for index in 0..<count {
            let place = 4096 * (1 + index / 127) + 32 + 32 * (index % 127)
            let stored = Array(bytes[place..<place + 32])
            #expect(stored == leaves[index].withBytes { [UInt8](copying: $0) })
        }
        #expect(try bench.inspection().verify().problems.isEmpty)
    }

    @Test(arguments: [false, true]) func missingOnesAreMadeAgain(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        for missing in [[0], [1], [0, 2], [0, 1, 2]] {
            var copy = bench
            copy.disk = bench.disk.copy()
            let lost = missing.map { names(bench, ".leaves")[$0] }
            for name in lost { copy.disk.erase(name) }
            var state = Recorded()
            let (data, report) = try copy.open(into: &state)
            #expect(report.missingLeaves.map(Workbench.file) == lost)
            let journal = try data.makeJournal(after: report, time: .epoch)
            #expect(journal.durableHead.sequence == 4)
            for name in lost {
                // All but the time of making.
                var made = try #require(copy.disk.bytes(of: name))
                var before = try #require(bench.disk.bytes(of: name))
                for index in [12..<16, 40..<48].joined() {
                    made[index] = 0
                    before[index] = 0
                }
                #expect(made == before)
            }
            #expect(try copy.inspection().verify().problems.isEmpty)
            copy.disk = copy.disk.afterPowerCut()
            let (_, again) = try copy.open(into: &state)
            #expect(again.missingLeaves.isEmpty)
        }
    }

    @Test func missingOnesOfADamagedSegmentStopTheStartAndChangeNothing() throws {
        let bench = try bench()
        var copy = bench
        copy.disk = bench.disk.copy()
        let (data, journal) = try copy.start()
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        _ = try snapshot.finish()
        // Covered by the snapshot, so that only its leaves ask for it.
        copy.disk = copy.disk.copy()
        var bytes = try #require(copy.disk.bytes(of: Workbench.file(segment1)))
        bytes[5000] ^= 1
        copy.disk.replace(Workbench.file(segment1), with: bytes)
        copy.disk.erase(Workbench.file(Self.leaves1))
        let changes = copy.disk.changes
        #expect {
            _ = try copy.start()
        } throws: { ($0 as? JournalError)?.place == Place(file: segment1, offset: 4096) }
        #expect(copy.disk.changes == changes)
    }

    @Test func aFailureToWriteThemIsCounted_andTheSegmentStaysUntilTheyAreMade() throws {
        let failures = Monitor<[JournalError]>([])
        var bench = Workbench()
        let data = try DataDirectory(
            opening: Workbench.path, disk: bench.disk, options: bench.options,
            housekeepingFailed: { error in failures.change { $0.append(error) } })
        var state = Recorded()
        let journal = try data.makeJournal(after: try data.recover(into: &state), time: .epoch)
        try bench.write([[3000]], to: journal)
        bench.disk.failNext(.sync, on: ".leaves.tmp", .inputOutput)
        try bench.write([[3000], [3000], [3000], [3000]], to: journal)
        var status = HousekeepingStatus()
        (status.leavesFailures, status.leavesMissing) = (1, 1)
        #expect(data.housekeepingStatus == status && failures.change { $0.count } == 1)
        #expect(names(bench, ".leaves").count == 3)
        for _ in 0..<2 {
            let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
            _ = try snapshot.finish()
            try bench.write([[3000]], to: journal)
        }
        // Without the leaves of the first one no segment is removed.
        bench.disk.failNext(.sync, on: ".leaves.tmp", .inputOutput)
        #expect(throws: JournalError.self) { try data.tidy(time: .epoch) }
        #expect(try data.holdings().firstSequence == 1)
        // Another process makes them at its start, this one while it tidies.
        var copy = bench
        copy.disk = bench.disk.copy()
        let (again, _) = try copy.start()
        #expect(try again.tidy(time: .epoch).segments.count == 5)
        let tidied = try data.tidy(time: .epoch)
        #expect(tidied.leaves == ["00000000000000000001.leaves"] && tidied.segments.count == 5)
        #expect(data.housekeepingStatus.leavesMissing == 0)
        #expect(try data.tidy(time: .epoch).leaves.isEmpty)
        for bench in [bench, copy] {
            #expect(try bench.inspection().verify().problems.isEmpty)
        }
    }

    /// As when larger segments are configured between a first start and the first record.
    @Test func anEmptySegmentThatIsTooSmallIsReplaced_andHasNone() throws {
        var bench = Workbench(segmentBytes: 8192)
        _ = try bench.start()
        bench.disk = bench.disk.copy()
        bench.options.segmentBytes = 65_536
        let (_, journal) = try bench.start()
        try bench.write([[6000], [50]], to: journal)
        #expect(names(bench, ".leaves").isEmpty)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
        #expect(try bench.inspection().verify().problems.isEmpty)
    }

    @Test func leavesWithoutWhatFollowsMeanThatSegmentsAreGone() throws {
        let bench = try bench()
        var copy = bench
        copy.disk = bench.disk.copy()
        for first in 3...4 {
            copy.disk.erase(Workbench.file("0000000000000000000\(first).journal"))
        }
        copy.disk.erase(Workbench.file("00000000000000000003.leaves"))
        var state = Recorded()
        let place = Place(file: "00000000000000000002.leaves", offset: 0)
        #expect {
            _ = try copy.open(into: &state)
        } throws: { ($0 as? JournalError)?.place == place }
        // No mark tells of the records that are gone: the leaves alone do.
        copy.disk.erase(Workbench.file("mark"))
        let problems = try copy.inspection().verify().problems
        #expect(problems.map(\.place) == [place])
    }

    @Test func everyChangedByteIsNamedByVerify_andTheHeadersStopTheStart() throws {
        let bench = try bench(2)
        let file = Workbench.file(Self.leaves1)
        let bytes = try #require(bench.disk.bytes(of: file))
        for offset in bytes.indices {
            var copy = bench
            copy.disk = bench.disk.copy()
            var changed = bytes
            changed[offset] ^= 1 << UInt8(offset % 8)
            copy.disk.replace(file, with: changed)
            let problems = try copy.inspection().verify().problems
            #expect(problems.first?.place?.file == Self.leaves1, "byte \(offset)")
            #expect(problems.count == 1)
            if offset < 4096, offset % 61 == 0 {
                var state = Recorded()
                #expect(throws: JournalError.self) { _ = try copy.open(into: &state) }
            }
        }
    }

    @Test func everyOtherLengthIsRefused() throws {
        let bench = try bench(2)
        let file = Workbench.file(Self.leaves1)
        let bytes = try #require(bench.disk.bytes(of: file))
        for count in stride(from: 0, to: bytes.count, by: 37) {
            let outcome = try bench.recovering(Self.leaves1) { $0.removeLast($0.count - count) }
            guard case .failure(let error) = outcome else {
                Issue.record("cut to \(count) bytes, unseen")
                continue
            }
            #expect(error.place == Place(file: Self.leaves1, offset: count))
        }
        let longer = try bench.recovering(Self.leaves1) { $0 += [0] }
        guard case .failure(let error) = longer else { throw JournalError.bufferFull }
        #expect(error.place?.file == Self.leaves1)
    }

    @Test func aSegmentChangedByHandIsToldRecordByRecord() throws {
        // Whoever changes a record and makes the batch's checksum right again changes the root; the
        // leaves name the record.
        var bench = Workbench(segmentBytes: 16384)
        let (_, journal) = try bench.start()
        try bench.write([[100, 200, 300, 400], [50]], to: journal)
        while bench.disk.bytes(of: Workbench.file(Self.leaves1)) == nil {
            try bench.write([[3000]], to: journal)
        }
        var bytes = try #require(bench.disk.bytes(of: Workbench.file(segment1)))
        let third = 4096 + 32 + Workbench.recordBytes(1, 100) + Workbench.recordBytes(2, 200)
        bytes[third + 16] ^= 1
        sealBatch(&bytes, at: 4096, cluster: try #require(try? bench.inspection().cluster))
        bench.disk.replace(Workbench.file(segment1), with: bytes)
        let problems = try bench.inspection().verify().problems
        #expect(problems.count == 1)
        guard case .dataLoss(segment1, _, let what)? = problems.first else {
            Issue.record("\(problems)")
            return
        }
        #expect(what.hasSuffix("record 3 is not the one that was committed"))
    }
}

/// Makes the checksums of a batch that is not encrypted right again (FORMAT.md §6).
func sealBatch(_ bytes: inout [UInt8], at start: Int, cluster: ClusterID) {
    let key = crc32c((littleEndian(cluster.low) + littleEndian(cluster.high)).span)
    func store(_ range: Range<Int>, at place: Int) {
        let crc = crc32c(bytes.span.extracting(range), after: key)
        for index in 0..<4 {
            bytes[place + index] = UInt8(truncatingIfNeeded: crc >> (8 * UInt32(index)))
        }
    }
    store(start + 4..<start + 32, at: start)
    let end = start + 32 + Int(bytes.span.loadUInt32(at: start + 4))
    store(start + 32..<end + 48, at: end + 48)
}
