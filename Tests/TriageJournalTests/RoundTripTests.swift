// What goes in comes out: records over segments and restarts, snapshots over blocks and sections.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct RoundTripTests {
    @Test func recordsSurviveRestartsOnTheRealDisk() throws {
        let directory = try TempDirectory()
        var options = StorageOptions()
        options.segmentBytes = 64 << 10
        var expected: [[UInt8]] = []
        for round in 0..<3 {
            let data = try DataDirectory(opening: directory.path, options: options)
            var state = Recorded()
            let report = try data.recover(into: &state)
            #expect(report.isFirstStart == (round == 0))
            #expect(state.records.map(\.payload) == expected)
            #expect(state.records.map(\.sequence) == expected.indices.map { UInt64($0 + 1) })
            let journal = try data.makeJournal(after: report, time: WallTime(milliseconds: 7))
            for index in 0..<300 {
                let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: index * 2)
                let sequence = try journal.append(
                    payload.span, time: WallTime(milliseconds: Int64(index)))
                expected.append(payload)
                #expect(sequence == UInt64(expected.count))
                if index % 7 == 0 { try journal.commit() }
            }
            try journal.commit()
            #expect(journal.durableHead.sequence == UInt64(expected.count))
            journal.close()
            #expect(journal.markFailures == 0)
        }
    }

    @Test func payloadsWrittenInPlaceAreTheSameAsCopiedOnes() throws {
        var copied = try Workbench.with([[10, 300], [77]])
        var heads: [JournalHead] = []
        let bench = Workbench()
        let (data, journal) = try bench.start()
        for (index, batch) in [[10, 300], [77]].enumerated() {
            for count in batch {
                let sequence = journal.nextSequence
                let payload = Workbench.payload(sequence, count: count)
                _ = try journal.append(
                    time: WallTime(milliseconds: Int64(sequence) * 10), reserving: 1000
                ) { output in
                    for byte in payload { output.append(byte) }
                }
            }
            try journal.commit()
            heads.append(journal.durableHead)
            #expect(journal.durableHead.sequence == [2, 3][index])
        }
        _ = data
        var state = Recorded()
        var restarted = bench
        restarted.disk = bench.disk.copy()
        let (_, report) = try restarted.open(into: &state)
        #expect(state.records == copied.durable)
        #expect(report.head == heads.last)
        copied.disk = copied.disk.copy()
    }

    @Test func aCommitIsOneWriteAndOneSync() throws {
        var bench = Workbench(segmentBytes: 1 << 20)
        let (_, journal) = try bench.start()
        let (writes, syncs) = (bench.disk.writes, bench.disk.syncs)
        try bench.write([[100, 200, 300, 400]], to: journal)
        #expect(bench.disk.writes - writes == 1)
        #expect(bench.disk.syncs - syncs == 1)
        let calls = bench.disk.calls
        try journal.commit()
        #expect(bench.disk.calls == calls, "an empty commit touches the disk")
    }

    @Test func aBatchThatDoesNotFitGoesOnInTheNextSegment() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[1000, 1000], [1500, 1500, 10], [3000], [2000, 1900]], to: journal)
        #expect(journal.segmentsBegun >= 2)
        #expect(journal.durableHead.sequence == 8)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        let (_, report) = try bench.open(into: &state)
        #expect(state.records == bench.durable)
        #expect(report.head == journal.durableHead)
    }

    @Test func theHeadDoesNotDependOnBatchesOrSegments() throws {
        let sizes = [10, 20, 900, 1500, 40, 7, 0, 1200]
        var heads: Set<Digest> = []
        for segmentBytes in [8192, 1 << 16] {
            for stride in [1, 3, 8] {
                var bench = Workbench(segmentBytes: segmentBytes)
                let (data, journal) = try bench.start()
                // The cluster id is random; the same one comes from the same directory's start.
                _ = data
                var rest = sizes[...]
                while !rest.isEmpty {
                    try bench.write([Array(rest.prefix(stride))], to: journal)
                    rest = rest.dropFirst(stride)
                }
                var chain = genesis(data.cluster)
                for record in bench.durable { chain = chainHash(chain, record) }
                #expect(journal.durableHead.chain == chain)
                heads.insert(journal.durableHead.chain)
            }
        }
        #expect(heads.count == 6, "every directory has its own origin")
    }

    @Test func snapshotsOfManySectionsAndSizesComeBack() throws {
        var bench = try Workbench.with([[10], [20]])
        bench.disk = bench.disk.copy()
        let (data, journal) = try bench.start()
        let snapshot = try data.makeSnapshot(
            at: journal.durableHead, time: WallTime(milliseconds: 99))
        var expected: [[UInt8]] = []
        for (index, count) in [0, 1, 4000, 4060, 4061, 9000, 100_000, 17, 2 << 20].enumerated() {
            let record = Workbench.payload(UInt64(index), count: count)
            try snapshot.append(section: UInt16(index / 3), record.span)
            expected.append(record)
        }
        #expect(throws: JournalError.recordTooLarge(bytes: (2 << 20) + 1)) {
            try snapshot.append(
                section: 1, [UInt8](repeating: 1, count: (2 << 20) + 1).span)
        }
        let info = try snapshot.finish()
        #expect(info.records == UInt64(expected.count))
        try bench.write([[30]], to: journal)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        let (_, report) = try bench.open(into: &state)
        #expect(report.snapshot == info)
        #expect(state.loaded == info)
        #expect(state.snapshot == expected)
        #expect(state.sections == [0, 0, 0, 1, 1, 1, 2, 2, 2])
        #expect(state.records == [bench.durable[2]])
        #expect(report.recordsReplayed == 1)
    }

    @Test func anEmptySnapshotIsASnapshot() throws {
        let bench = try Workbench.with([[10]])
        var restarted = bench
        restarted.disk = bench.disk.copy()
        let (data, journal) = try restarted.start()
        let info = try data.makeSnapshot(at: journal.durableHead, time: .epoch).finish()
        #expect(info.records == 0)
        restarted.disk = restarted.disk.copy()
        var state = Recorded()
        let (_, report) = try restarted.open(into: &state)
        #expect(report.snapshot == info)
        #expect(state.records.isEmpty)
    }
}

/// The chain's origin, by the portable path: FORMAT.md §4.
func genesis(_ cluster: ClusterID) -> Digest {
    var bytes: [UInt8] = [2]
    for word in [cluster.low, cluster.high] { bytes += littleEndian(word) }
    return SHA256.hash(bytes.span)
}

/// The chain hash after `record`, computed from its fields alone.
func chainHash(_ chain: Digest, _ record: Written) -> Digest {
    var leaf: [UInt8] = [0]
    leaf += littleEndian(record.sequence)
    leaf += littleEndian(UInt64(bitPattern: record.milliseconds))
    leaf += record.payload
    var node = SHA256()
    node.update([1].span)
    node.update(chain)
    node.update(SHA256.hash(leaf.span))
    return node.finalize()
}

func littleEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}
