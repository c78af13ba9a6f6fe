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
            #expect(state.records.map(\.body) == expected)
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
            journal.close(time: .epoch)
            #expect(data.housekeepingStatus.markFailures == 0)
        }
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

    @Test func theTreeIsTheDocumentedOneHoweverRecordsAreBatched() throws {
        let sizes = [10, 20, 900, 1500, 40, 7, 0, 1200]
        for segmentBytes in [8192, 1 << 16] {
            for stride in [1, 3, 8] {
                var bench = Workbench(segmentBytes: segmentBytes)
                let (_, journal) = try bench.start()
                var rest = sizes[...]
                while !rest.isEmpty {
                    try bench.write([Array(rest.prefix(stride))], to: journal)
                    rest = rest.dropFirst(stride)
                }
                var tree = MerkleTree()
                for leaf in try documentedLeaves(bench) { tree.append(leaf) }
                #expect(journal.durableTree == tree)
                #expect(journal.durableHead == JournalHead(tree))
            }
        }
    }

    @Test func snapshotsOfManySectionsAndSizesComeBack() throws {
        var bench = try Workbench.with([[10], [20]])
        bench.disk = bench.disk.copy()
        let (data, journal) = try bench.start()
        let snapshot = try data.makeSnapshot(
            at: journal.durableTree, time: WallTime(milliseconds: 99))
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
        let info = try data.makeSnapshot(at: journal.durableTree, time: .epoch).finish()
        #expect(info.records == 0)
        restarted.disk = restarted.disk.copy()
        var state = Recorded()
        let (_, report) = try restarted.open(into: &state)
        #expect(report.snapshot == info)
        #expect(state.records.isEmpty)
    }
}

/// The leaves of all segments, by FORMAT.md §6 and §7 alone and one byte array at a time.
func documentedLeaves(_ bench: Workbench) throws -> [Digest] {
    var leaves: [Digest] = []
    for name in bench.disk.fileNames where name.hasSuffix(".journal") {
        let bytes = try #require(bench.disk.bytes(of: name))
        var offset = 4096
        while offset < bytes.count, bytes.span.loadUInt32(at: offset + 4) > 0 {
            var position = offset + 32
            let end = position + Int(bytes.span.loadUInt32(at: offset + 4))
            while position < end {
                leaves.append(documentedLeaf(bytes, &position, UInt64(leaves.count + 1)))
            }
            offset = end + 56
        }
    }
    return leaves
}

private func documentedLeaf(
    _ bytes: [UInt8], _ position: inout Int, _ sequence: UInt64
) -> Digest {
    let body = position + 16
    let sealed = body + Int(bytes.span.loadUInt32(at: position))
    let end = sealed + Int(bytes.span.loadUInt32(at: position + 4))
    var commitments: [[UInt8]] = []
    var field = sealed
    while field < end {
        let next = field + 20 + Int(bytes.span.loadUInt32(at: field))
        let salted: [UInt8] = [2] + bytes[field + 4..<next]
        let digest = SHA256.hash(salted.span)
        commitments.append(digest.withBytes { [UInt8](copying: $0) })
        field = next
    }
    var entry: [UInt8] = [0] + littleEndian(sequence) + bytes[position + 8..<position + 16]
    entry += littleEndian(UInt64(commitments.count)) + commitments.joined() + bytes[body..<sealed]
    position = (end + 7) / 8 * 8
    return SHA256.hash(entry.span)
}

func littleEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}
