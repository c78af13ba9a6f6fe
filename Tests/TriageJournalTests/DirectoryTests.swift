// Directories that are not what they should be: locked, foreign, newer, with a gap, cut,
// unreadable.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct DirectoryTests {
    @Test func aSecondServerIsRefusedWithTheProcessOfTheFirst() throws {
        let directory = try TempDirectory()
        var first: DataDirectory? = try DataDirectory(opening: directory.path)
        #expect(first != nil)
        #expect(
            throws: JournalError.locked(file: directory.path + "/lock", processID: thisProcess())
        ) { _ = try DataDirectory(opening: directory.path) }
        first = nil
        _ = try DataDirectory(opening: directory.path)
    }

    @Test func aForeignFileIsNamed() throws {
        let bench = try Workbench.with([[10]])
        for name in ["notes.txt", "1.journal", "0000000000000000000x.journal", "a.torn"] {
            let disk = bench.disk.copy()
            disk.replace(Workbench.file(name), with: [1])
            #expect(throws: JournalError.foreignFile(file: name)) {
                _ = try DataDirectory(opening: Workbench.path, disk: disk, options: bench.options)
            }
        }
    }

    @Test func keysBesideAVaultAreNoUnfinishedFirstStart() throws {
        var bench = Workbench(encrypted: true)
        let (_, journal) = try bench.start()
        journal.close(time: .epoch)
        for name in bench.disk.fileNames where !name.hasSuffix("/keys") { bench.disk.erase(name) }
        let object = Workbench.file("vault/\(String(repeating: "0", count: 64)).object")
        try bench.disk.makeDirectory(Workbench.file("vault"))
        bench.disk.replace(object, with: [1])
        let names = bench.disk.fileNames
        for keys in [nil, bench.keys] {
            bench.keys = keys
            bench.disk = bench.disk.copy()
            #expect(throws: JournalError.self) { try bench.start() }
            #expect(bench.disk.fileNames.filter { !$0.hasSuffix("/lock") } == names)
        }
        bench.disk.erase(object)
        bench.disk = bench.disk.copy()
        _ = try bench.start()
    }

    @Test func aFileOfAnotherClusterIsRefused() throws {
        let other = try Workbench.with([[10], [3000], [3000]])
        let stranger = try #require(other.disk.fileNames.first { $0.hasSuffix("3.journal") })
        for name in [segment1, "00000000000000000003.journal"] {
            let bench = try Workbench.with([[10], [3000], [3000]])
            let disk = bench.disk.copy()
            let source = name == segment1 ? Workbench.file(segment1) : stranger
            disk.replace(Workbench.file(name), with: try #require(other.disk.bytes(of: source)))
            let data = try DataDirectory(
                opening: Workbench.path, disk: disk, options: bench.options)
            var state = Recorded()
            #expect {
                _ = try data.recover(into: &state)
            } throws: { error in
                guard case .foreignCluster(name, let expected, let found) = error as? JournalError
                else { return false }
                return expected == data.cluster && found != expected
            }
        }
    }

    /// Also one that is not loaded: it would be pruned as if it were one of ours.
    @Test(arguments: [2, 9])
    func aSnapshotOfAnotherClusterIsRefused(sequence: Int) throws {
        let bench = try Self.withEverything()
        var other = Workbench(seed: 2)
        let (foreign, journal) = try other.start()
        for _ in 0..<sequence { try other.write([[10]], to: journal) }
        _ = try foreign.makeSnapshot(at: journal.durableTree, time: .epoch).finish()
        let name = Workbench.file("0000000000000000000\(sequence).snapshot")
        let disk = bench.disk.copy()
        disk.replace(name, with: try #require(other.disk.bytes(of: name)))
        let data = try DataDirectory(opening: Workbench.path, disk: disk, options: bench.options)
        var state = Recorded()
        #expect {
            _ = try data.recover(into: &state)
        } throws: { error in
            guard case .foreignCluster(let file, data.cluster, _) = error as? JournalError
            else { return false }
            return name.hasSuffix(file)
        }
        #expect(disk.bytes(of: name) == other.disk.bytes(of: name))
    }

    /// A directory with every kind of file that has a header.
    static func withEverything(encrypted: Bool = false) throws -> Workbench {
        var bench = Workbench(encrypted: encrypted)
        let (data, journal) = try bench.start()
        try bench.write([[2500], [700, 20], [3000]], to: journal)
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
        _ = try snapshot.finish()
        try bench.write([[40], [50, 60]], to: journal)
        journal.writeMark(time: .epoch)
        return bench
    }

    @Test(arguments: [1, 3, 77])
    func anotherVersionIsCalledThatAndNotCorrupt(version: UInt8) throws {
        let bench = try Self.withEverything()
        let names = [
            "identity", segment1, "00000000000000000004.journal", "00000000000000000001.leaves",
            "00000000000000000004.snapshot", "mark",
        ]
        for name in names {
            let outcome = try bench.recovering(name) { bytes in
                for start in stride(from: 0, to: name == "mark" ? bytes.count : 4096, by: 4096) {
                    bytes[start + 8] = version
                    sealHeader(&bytes, at: start)
                }
            }
            let found = UInt32(version)
            let expected: JournalError =
                version > 2
                ? .newerVersion(file: name, found: found, supported: 2)
                : .olderVersion(file: name, found: found, supported: 2)
            #expect(throws: expected) { _ = try outcome.get() }
        }
    }

    /// No release ever wrote it.
    @Test(arguments: ["identity", segment1, "00000000000000000001.leaves"])
    func versionZeroIsDamage(name: String) throws {
        let bench = try Self.withEverything()
        let outcome = try bench.recovering(name) { bytes in
            bytes[8] = 0
            sealHeader(&bytes, at: 0)
        }
        #expect(throws: JournalError.dataLoss(file: name, offset: 8, what: "no version is 0")) {
            _ = try outcome.get()
        }
    }

    @Test func aMissingSegmentIsAGap() throws {
        let bench = try Workbench.with([[3000], [3000], [3000]])
        for (name, expected) in [
            (segment1, JournalError.gap(file: "00000000000000000002.journal", missing: 1)),
            (
                "00000000000000000002.journal",
                .gap(file: "00000000000000000003.journal", missing: 2)
            ),
        ] {
            var copy = bench
            copy.disk = bench.disk.copy()
            copy.disk.erase(Workbench.file(name))
            var state = Recorded()
            #expect(throws: expected) { _ = try copy.open(into: &state) }
        }
    }

    @Test func aMissingIdentityOrJournalIsDataLoss() throws {
        let bench = try Workbench.with([[10]])
        var copy = bench
        copy.disk = bench.disk.copy()
        copy.disk.erase(Workbench.file("identity"))
        var state = Recorded()
        #expect(throws: JournalError.self) { _ = try copy.open(into: &state) }
        copy.disk = bench.disk.copy()
        copy.disk.erase(Workbench.file(segment1))
        #expect {
            _ = try copy.open(into: &state)
        } throws: { ($0 as? JournalError)?.place?.file == segment1 }
    }

    @Test func aJournalCutAtABatchIsFoundByTheMark() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[10], [20], [30]], to: journal)
        journal.writeMark(time: .epoch)
        let ends = Workbench.ends([[10], [20]])
        let outcome = try bench.recovering(segment1) { bytes in
            for index in ends[1]..<8192 { bytes[index] = 0 }
        }
        guard case .failure(let error) = outcome else {
            Issue.record("a shortened journal passed for a whole one")
            return
        }
        #expect(error.place == Place(file: segment1, offset: ends[1]))
    }

    @Test func aRewrittenRecordIsFoundByTheMark() throws {
        // Whoever rewrites a record and everything behind it, checksums and chain included, cannot
        // rewrite a head that was remembered elsewhere.
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[10], [20]], to: journal)
        journal.writeMark(time: .epoch)
        var other = Workbench()
        other.disk = bench.disk.copy()
        let (rewritten, _) = try other.start()
        #expect(rewritten.cluster == data.cluster)
        for byte in 0..<2 {
            let outcome = try bench.recovering("mark") { bytes in
                // The root of both slots and the frontier of one digest that it follows from, with
                // the checksum made right again.
                for start in [0, 4096] {
                    bytes[start + 64 + byte] ^= 1
                    bytes[start + 136 + byte] ^= 1
                    sealHeader(&bytes, at: start)
                }
            }
            guard case .failure(let error) = outcome else {
                Issue.record("two histories passed for one")
                return
            }
            #expect(error.place == Place(file: "mark", offset: 64))
        }
    }

    @Test func anUnreadableDirectoryIsAnErrorWithItsPath() throws {
        let directory = try TempDirectory()
        let path = directory.path + "/missing/below"
        #expect(
            throws: JournalError.io(IOError(.makeDirectory, path: path, .notFound))
        ) { _ = try DataDirectory(opening: path) }
    }

    @Test func temporaryFilesGoWhenEverythingElseIsGood() throws {
        let bench = try Workbench.with([[10]])
        var copy = bench
        copy.disk = bench.disk.copy()
        copy.disk.replace(Workbench.file("00000000000000000001.snapshot.tmp"), with: [1, 2])
        var state = Recorded()
        let (data, report) = try copy.open(into: &state)
        #expect(copy.disk.fileNames.contains { $0.hasSuffix(".tmp") })
        _ = try data.makeJournal(after: report, time: .epoch)
        #expect(!copy.disk.fileNames.contains { $0.hasSuffix(".tmp") })
        #expect(state.records == bench.durable)
    }
}
