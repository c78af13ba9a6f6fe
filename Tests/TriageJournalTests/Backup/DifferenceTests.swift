// Where two directories part: every fork of small journals, found from digests alone.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct DifferenceTests {
    /// A directory of `count` records that are another's up to `fork`.
    private func inspection(
        _ count: UInt64, differsFrom fork: UInt64, encrypted: Bool = false
    ) throws -> Inspection {
        var bench = Workbench(encrypted: encrypted)
        bench.options.makeRandom = { RandomBytes(replaying: 7) }
        let (_, journal) = try bench.start()
        for sequence in 1...max(1, count) where sequence <= count {
            let byte = UInt8(sequence > fork ? 2 : 1)
            let body = [UInt8](repeating: byte, count: 700)
            let time = WallTime(milliseconds: Int64(sequence) * (sequence > fork ? 11 : 10))
            _ = try journal.append(body.span, time: time)
            if sequence % 2 == 0 { try journal.commit() }
        }
        try journal.commit()
        journal.close(time: .epoch)
        return try bench.inspection()
    }

    @Test func everyForkIsFound() throws {
        for count in [1, 2, 5, 8, 13] as [UInt64] {
            let straight = try inspection(13, differsFrom: .max)
            for fork in 0...count {
                let other = try inspection(count, differsFrom: fork)
                let found = try DirectoryDifference(straight, other)
                #expect(found.common.sequence == fork, "\(count) \(fork)")
                #expect(found.b.records == count && found.a.records == 13)
                #expect(
                    found.b.next?.time?.milliseconds == (fork < count ? Int64(fork + 1) * 11 : nil))
                #expect(
                    found.a.next?.time?.milliseconds == (fork < 13 ? Int64(fork + 1) * 10 : nil))
                #expect(found.isNone == (fork == 13))
                // The root is that of the common records, in both.
                let prefix = try inspection(fork, differsFrom: .max)
                #expect(try DirectoryDifference(prefix, other).common == found.common)
            }
        }
    }

    @Test func aRestoredDirectoryIsABeginning() throws {
        let (bench, _) = try RestoreTests.source(encrypted: true)
        _ = try RestoreTests.restore(bench, .sequence(7))
        let restored = try Inspection(path: "new", disk: bench.disk, keys: bench.keys)
        let found = try DirectoryDifference(try bench.inspection(), restored)
        #expect(found.common.sequence == 7 && found.b.next == nil)
        #expect(found.a.next?.time?.milliseconds == 80)
        #expect(found.a.snapshots == [4] && found.b.snapshots == [4])
        #expect(!found.isNone)
        let itself = try DirectoryDifference(restored, restored)
        #expect(itself.isNone && itself.common.sequence == 7)
    }

    /// Leaves stay when segments go: they are enough.
    @Test func recordsWithoutTheirSegmentAreCompared() throws {
        let (bench, _) = try RestoreTests.source(encrypted: false)
        let whole = try bench.inspection()
        var trimmed = bench
        trimmed.disk = bench.disk.copy()
        trimmed.disk.erase(Workbench.file(segment1))
        let found = try DirectoryDifference(whole, try trimmed.inspection())
        #expect(found.isNone && found.common.sequence == 11)
    }

    @Test func anOlderVersionHasNoDigests() throws {
        let bench = Workbench()
        for (name, bytes) in try UpgradeTests.oldFiles() {
            bench.disk.replace(Workbench.file(name), with: bytes)
        }
        let old = try bench.inspection()
        #expect(throws: JournalError.olderVersion(file: "identity", found: 1, supported: 2)) {
            _ = try DirectoryDifference(old, old)
        }
    }
}
