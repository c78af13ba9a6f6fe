// A new directory of an older state: at every record, at a time, with and without encryption,
// after retention, beside damage; with the source as it was, and nothing that a server would start
// on unless it is whole.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct RestoreTests {
    static let now = WallTime(milliseconds: 1_000_000)

    /// Eleven records in batches of one to three, and a snapshot after record 4.
    ///
    /// Records 1 to 2, 3 to 7, 8, and 9 to 11 are in a segment each.
    static func source(
        encrypted: Bool, retention: JournalRetention = .keep
    ) throws -> (bench: Workbench, data: DataDirectory) {
        var bench = Workbench(encrypted: encrypted)
        bench.options.snapshotsKept = 1
        bench.options.journalRetention = retention
        let (data, journal) = try bench.start()
        try bench.write([[2000, 10], [2500, 20]], to: journal)
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
        _ = try snapshot.finish()
        try bench.write([[600], [300, 50, 3000], [3000], [40, 60]], to: journal)
        journal.close(time: .epoch)
        var none = Recorded()
        let segments = try bench.inspection().readJournal(into: &none).segments
        #expect(segments.map(\.first) == [1, 3, 8, 9])
        return (bench, data)
    }

    static func restore(
        _ bench: Workbench, _ point: RestorePoint, to target: String = "new",
        archive: String? = nil
    ) throws(JournalError) -> RestoreReport {
        try Restore(
            from: Workbench.path, archive: archive, to: target, disk: bench.disk, keys: bench.keys,
            makeRandom: { RandomBytes(replaying: 9) }
        ).run(point, time: now) { _, _, _ in }
    }

    static func files(_ disk: SimDisk, under prefix: String) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in disk.fileNames where name.hasPrefix(prefix) {
            files[name] = disk.bytes(of: name)
        }
        return files
    }

    /// Checks that a directory has the records up to `last`, verifies, and goes on.
    static func expect(
        _ bench: Workbench, endsWith last: UInt64, at path: String = "new", _ what: Comment
    ) throws {
        let disk = bench.disk.afterPowerCut()
        let inspection = try Inspection(path: path, disk: disk, keys: bench.keys)
        #expect(try inspection.verify().problems == [], what)
        let data = try DataDirectory(
            opening: path, disk: disk, options: bench.options, keys: bench.keys)
        var state = Recorded()
        let report = try data.recover(into: &state)
        #expect(report.head.sequence == last && report.tornTail == nil, what)
        let covered = Int(report.snapshot?.head.sequence ?? 0)
        #expect(state.snapshot == bench.durable.prefix(covered).map(\.body), what)
        #expect(state.records == Array(bench.durable[covered..<Int(last)]), what)
        let journal = try data.makeJournal(after: report, time: now)
        #expect(try journal.append([1, 2].span, time: now) == last + 1, what)
        try journal.commit()
        journal.close(time: .epoch)
        #expect(try inspection.verify().problems == [], what)
    }

    @Test(arguments: [false, true])
    func everyRecordCanBeTheLast(encrypted: Bool) throws {
        let (bench, _) = try Self.source(encrypted: encrypted)
        let before = Self.files(bench.disk, under: Workbench.path + "/")
        for last in 1...UInt64(bench.durable.count) {
            let target = "new-\(last)"
            let report = try Self.restore(bench, .sequence(last), to: target)
            #expect(report.head.sequence == last)
            #expect(report.snapshot == (last >= 4 ? 4 : nil))
            #expect(Self.files(bench.disk, under: Workbench.path + "/") == before)
            try Self.expect(bench, endsWith: last, at: target, "record \(last)")
        }
        let report = try Self.restore(bench, .end)
        #expect(report.head.sequence == UInt64(bench.durable.count))
        try Self.expect(bench, endsWith: report.head.sequence, "all of it")
    }

    /// Record s has the time 10 s.
    @Test func aTimeNamesTheRecordsBeforeIt() throws {
        let (bench, _) = try Self.source(encrypted: false)
        for (milliseconds, last) in [(10, 1), (19, 1), (75, 7), (80, 8), (999, 11)] as [(Int64, _)]
        {
            let report = try Self.restore(
                bench, .time(WallTime(milliseconds: milliseconds)), to: "at-\(milliseconds)")
            #expect(report.head.sequence == last)
        }
        #expect {
            _ = try Self.restore(bench, .time(WallTime(milliseconds: 9)))
        } throws: { error in
            guard case .noSuchPoint(let what) = error as? JournalError else { return false }
            return what.contains("before the first record")
        }
    }

    /// The clock may have stepped back: what was written after the moment stays out.
    @Test func whatFollowsALaterRecordStaysOut() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        for milliseconds in [10, 30, 20] as [Int64] {
            _ = try journal.append([1].span, time: WallTime(milliseconds: milliseconds))
        }
        try journal.commit()
        bench.durable = []
        #expect(
            try Self.restore(bench, .time(WallTime(milliseconds: 25))).head.sequence == 1)
    }

    @Test func whatIsNotThereIsRefused() throws {
        let (bench, _) = try Self.source(encrypted: false)
        for last in [0, 12] as [UInt64] {
            #expect {
                _ = try Self.restore(bench, .sequence(last), to: "new-\(last)")
            } throws: { error in
                guard case .noSuchPoint(let what) = error as? JournalError else { return false }
                return what.contains("record \(last)")
            }
        }
        _ = try Self.restore(bench, .end)
        #expect(throws: JournalError.notEmpty(directory: "new")) {
            _ = try Self.restore(bench, .end)
        }
        #expect(throws: JournalError.notEmpty(directory: Workbench.path)) {
            _ = try Self.restore(bench, .end, to: Workbench.path)
        }
    }

    @Test func whatRetentionTookComesFromTheArchive() throws {
        let (bench, data) = try Self.source(encrypted: true, retention: .archive("archive"))
        #expect(try data.tidy(time: .epoch).segments == [segment1])
        #expect(throws: JournalError.gap(file: "00000000000000000003.journal", missing: 1)) {
            _ = try Self.restore(bench, .sequence(3))
        }
        for last in [4, 9] as [UInt64] {
            _ = try Self.restore(bench, .sequence(last), to: "new-\(last)")
            try Self.expect(bench, endsWith: last, at: "new-\(last)", "from the snapshot")
        }
        for last in [3, 9] as [UInt64] {
            let target = "whole-\(last)"
            _ = try Self.restore(bench, .sequence(last), to: target, archive: "archive")
            try Self.expect(bench, endsWith: last, at: target, "with the archive")
            #expect(bench.disk.bytes(of: target + "/" + segment1) != nil)
        }
    }

    @Test func damageBehindThePointDoesNotMatter_andBeforeItIsNamed() throws {
        let (bench, _) = try Self.source(encrypted: true)
        let last = "00000000000000000009.journal"
        var bytes = try #require(bench.disk.bytes(of: Workbench.file(last)))
        bytes[Workbench.ends([[3000]], from: 9)[0] + 40] ^= 1
        bench.disk.replace(Workbench.file(last), with: bytes)
        _ = try Self.restore(bench, .sequence(9), to: "before")
        try Self.expect(bench, endsWith: 9, at: "before", "before the damage")
        #expect {
            _ = try Self.restore(bench, .sequence(10))
        } throws: {
            ($0 as? JournalError)?.place?.file == last
        }
        #expect(Set(Self.files(bench.disk, under: "new/").keys) == ["new/lock"])
    }

    /// Of a segment that begins behind the point nothing is needed, not even its header.
    @Test(arguments: [false, true])
    func damageOfTheSegmentThatBeginsBehindThePointDoesNotMatter(encrypted: Bool) throws {
        let (bench, _) = try Self.source(encrypted: encrypted)
        let last = "00000000000000000009.journal"
        var bytes = try #require(bench.disk.bytes(of: Workbench.file(last)))
        bytes[40] ^= 1
        bench.disk.replace(Workbench.file(last), with: bytes)
        #expect(try Self.restore(bench, .sequence(8), to: "before").head.sequence == 8)
        try Self.expect(bench, endsWith: 8, at: "before", "before the damage")
        #expect {
            _ = try Self.restore(bench, .sequence(9))
        } throws: {
            ($0 as? JournalError)?.place?.file == last
        }
    }

    @Test func aDamagedSnapshotIsLeftOut_unlessItIsNeeded() throws {
        let (bench, _) = try Self.source(encrypted: false)
        let name = "00000000000000000004.snapshot"
        var bytes = try #require(bench.disk.bytes(of: Workbench.file(name)))
        bytes[4200] ^= 1
        bench.disk.replace(Workbench.file(name), with: bytes)
        let report = try Self.restore(bench, .sequence(6))
        #expect(report.snapshot == nil && report.rejectedSnapshots.map(\.file) == [name])
        try Self.expect(bench, endsWith: 6, "from the first record")
        bench.disk.erase(Workbench.file(segment1))
        #expect {
            _ = try Self.restore(bench, .sequence(6), to: "other")
        } throws: {
            ($0 as? JournalError)?.place?.file == name
        }
    }

    @Test func headsOfWhatIsNotThereAreLeftOut_andAnotherKeySigns() throws {
        let (bench, journal, _) = try SignedHeadTests.bench()
        let before = try #require(try bench.inspection().signingKeys().last).key
        let report = try Self.restore(bench, .sequence(4))
        let all = try bench.inspection().signedHeads().map(\.signed.head.sequence)
        #expect(report.headsKept == all.filter { $0 <= 4 }.count)
        #expect(report.headsLeftOut == all.filter { $0 > 4 }.count && report.headsLeftOut > 1)
        let disk = bench.disk.afterPowerCut()
        let inspection = try Inspection(path: "new", disk: disk, keys: bench.keys)
        #expect(try inspection.signedHeads().map(\.signed.head.sequence).max() == 4)
        // The heads of before verify with the key of before, and that one is not used any more.
        #expect(inspection.signingKeys().map(\.key) == [before, report.signingKey])
        #expect(report.signingKey != before && report.signingKey != nil)
        withExtendedLifetime(journal) {}
        try Self.expect(bench, endsWith: 4, "with another key")
    }

    @Test func evidenceComesAlong() throws {
        let (bench, data) = try Self.source(encrypted: true)
        let vault = try #require(try data.openVault())
        _ = try vault.reconcile(stored: [], time: Self.now, stateTime: Self.now)
        let bytes = VaultTests.noise(100_000)
        let object = try VaultTests.put(bytes, into: vault)
        _ = try Self.restore(bench, .sequence(5))
        let after = bench.disk.afterPowerCut()
        let copy = try Vault(
            opening: "new", disk: after, keys: try KeyRing.open(after, "new", bench.keys),
            random: RandomBytes(replaying: 3))
        #expect(try VaultTests.read(object.name, from: copy) == bytes)
    }

    @Test func aSnapshotThatCannotBeRead_isLeftOut() throws {
        let (bench, _) = try Self.source(encrypted: false)
        bench.disk.spoil(Workbench.file("00000000000000000004.snapshot"), sector: 8)
        let report = try Self.restore(bench, .end)
        #expect(report.snapshot == nil)
        #expect(report.rejectedSnapshots.map(\.file) == ["00000000000000000004.snapshot"])
        try Self.expect(bench, endsWith: report.head.sequence, "without its snapshot")
    }

    @Test func evidenceThatCannotBeRead_isLeftOut() throws {
        let (bench, data) = try Self.source(encrypted: true)
        let vault = try #require(try data.openVault())
        _ = try vault.reconcile(stored: [], time: Self.now, stateTime: Self.now)
        let bad = try VaultTests.put(VaultTests.noise(100_000), into: vault)
        let good = try VaultTests.put(VaultTests.noise(50_000), into: vault)
        bench.disk.spoil(VaultTests.path(bad.name), sector: 9)
        let report = try Self.restore(bench, .end)
        #expect(report.damagedObjects.count == 1 && report.keysWithoutObject == 1)
        #expect("\(report.damagedObjects)".contains("\(bad.name)"))
        #expect(!bench.disk.fileNames.contains { $0.hasSuffix(".tmp") })
        let after = bench.disk.afterPowerCut()
        let copy = try Vault(
            opening: "new", disk: after, keys: try KeyRing.open(after, "new", bench.keys),
            random: RandomBytes(replaying: 3))
        #expect(try VaultTests.read(good.name, from: copy) == VaultTests.noise(50_000))
    }

    /// The directory of a restore that was refused can be named again.
    @Test func aPointThatIsNotThere_leavesTheTargetUsable() throws {
        let (bench, _) = try Self.source(encrypted: false)
        #expect(throws: JournalError.self) { try Self.restore(bench, .sequence(999)) }
        let disk = bench.disk.afterPowerCut()
        var again = bench
        again.disk = disk
        #expect(try Self.restore(again, .sequence(3)).head.sequence == 3)
    }

    @Test(arguments: [false, true]) func damagedEvidenceIsNamed_andAllElseComesAlong(
        slot: Bool
    ) throws {
        let (bench, data) = try Self.source(encrypted: true)
        let vault = try #require(try data.openVault())
        _ = try vault.reconcile(stored: [], time: Self.now, stateTime: Self.now)
        let bad = try VaultTests.put(VaultTests.noise(100_000), into: vault)
        let good = try VaultTests.put(VaultTests.noise(50_000), into: vault)
        let file = slot ? "data/vault/keys" : VaultTests.path(bad.name)
        var bytes = try #require(bench.disk.bytes(of: file))
        let place = slot ? try #require(VaultTests.slot(of: bad.name, in: bytes)) : 5_000
        bytes[place + 60] ^= 1
        bench.disk.replace(file, with: bytes)
        let report = try Self.restore(bench, .sequence(5))
        #expect(report.damagedObjects.map { $0.place?.file } == [file.dropFirst(5).description])
        let after = bench.disk.afterPowerCut()
        let copy = try Vault(
            opening: "new", disk: after, keys: try KeyRing.open(after, "new", bench.keys),
            random: RandomBytes(replaying: 3))
        #expect(try VaultTests.read(good.name, from: copy) == VaultTests.noise(50_000))
        #expect(after.bytes(of: "new" + file.dropFirst(4)) == bytes)
    }

    @Test func anOlderVersionIsToBeUpgradedFirst() throws {
        let bench = Workbench()
        for (name, bytes) in try UpgradeTests.oldFiles() {
            bench.disk.replace(Workbench.file(name), with: bytes)
        }
        #expect(throws: JournalError.olderVersion(file: "identity", found: 1, supported: 2)) {
            _ = try Self.restore(bench, .end)
        }
    }

    /// Wherever it fails, the source is as it was, and no server starts on what there is unless it
    /// is whole.
    @Test func aFailureAtAnyCallLeavesNothingThatStarts() throws {
        let (start, _) = try Self.source(encrypted: true)
        let before = Self.files(start.disk, under: Workbench.path + "/")
        var call = 1
        while true {
            var bench = start
            bench.disk = start.disk.copy()
            let first = bench.disk.calls
            bench.disk.failCall(first + call, .inputOutput)
            let isDone: Bool
            do {
                _ = try Self.restore(bench, .sequence(8))
                isDone = true
            } catch { isDone = false }
            #expect(Self.files(bench.disk, under: Workbench.path + "/") == before, "call \(call)")
            if isDone, bench.disk.calls < first + call { break }
            call += 1
            guard !isDone else { continue }
            var state = Recorded()
            do {
                let data = try DataDirectory(
                    opening: "new", disk: bench.disk.afterPowerCut(), options: bench.options,
                    keys: bench.keys)
                let report = try data.recover(into: &state)
                #expect(report.isFirstStart || report.head.sequence == 8, "call \(call - 1)")
            } catch {}
        }
        #expect(call > 60)
    }
}
