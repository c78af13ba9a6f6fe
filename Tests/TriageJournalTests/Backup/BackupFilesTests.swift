// The files of a backup, copied one after the other while the directory is being written to: what
// comes of it is a directory that verifies, at every moment.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct BackupFilesTests {
    /// Copies what is listed, as whoever makes a backup does.
    private func copy(
        _ data: DataDirectory, to target: String, on disk: SimDisk,
        between: (BackupFile) throws -> Void = { _ in }
    ) throws -> BackupListing {
        let listing = try data.listBackup()
        for file in listing.files {
            try between(file)
            guard
                let reader = try data.openBackupFile(
                    file.name, count: file.count, listed: file.size)
            else {
                #expect(file.name.hasSuffix(".object"), "\(file.name) is gone")
                continue
            }
            var bytes: [UInt8] = []
            while let chunk = try reader.next() { bytes += chunk }
            #expect(reader.digest == SHA256.hash(bytes.span))
            bytes += [UInt8](repeating: 0, count: max(0, file.size - bytes.count))
            if file.name.hasPrefix("vault/") { try disk.makeDirectory(target + "/vault") }
            disk.replace(target + "/" + file.name, with: bytes)
        }
        return listing
    }

    @Test(arguments: [false, true])
    func whatIsWrittenMeanwhileIsNotInIt(encrypted: Bool) throws {
        var bench = Workbench(encrypted: encrypted)
        let (data, journal) = try bench.start()
        try bench.write([[2000, 10], [2500, 20]], to: journal)
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for record in bench.durable { try snapshot.append(section: 1, record.body.span) }
        _ = try snapshot.finish()
        var round = 0
        for sizes in [[100], [300, 3000], [40], [2000]] {
            try bench.write([sizes], to: journal)
            journal.signHead(time: .epoch)
            journal.writeMark(time: .epoch)
            round += 1
            let target = "backup-\(round)"
            let count = bench.durable.count
            // A record, a head and sooner or later a segment between any two files.
            let listing = try copy(data, to: target, on: bench.disk) { _ in
                try bench.write([[700]], to: journal)
                journal.signHead(time: .epoch)
                journal.writeMark(time: .epoch)
            }
            #expect(listing.head.sequence == UInt64(count))
            #expect(listing.files.last?.name == "identity")
            let inspection = try Inspection(path: target, disk: bench.disk, keys: bench.keys)
            let verified = try inspection.verify()
            #expect(verified.problems == [] && verified.statistics.head == listing.head)
            var state = Recorded()
            _ = try inspection.readJournal(into: &state)
            #expect(state.records == Array(bench.durable.prefix(count)))
        }
    }

    @Test(arguments: [false, true])
    func whatIsWrittenAndNotSyncedIsNotInIt_aPowerCutMayTakeIt(encrypted: Bool) throws {
        var bench = Workbench(encrypted: encrypted)
        let (data, journal) = try bench.start()
        try bench.write([[2000, 10], [700]], to: journal)
        let durable = journal.durableHead
        // Written, and its sync does nothing: as a listing finds it between the two.
        _ = try journal.append(Workbench.parts(journal.nextSequence, count: 300), time: .epoch)
        bench.disk.failCall(bench.disk.calls + 2, .inputOutput)
        #expect(throws: JournalError.self) { try journal.commit() }
        let listing = try copy(data, to: "backup", on: bench.disk)
        #expect(listing.head == durable)
        let inspection = try Inspection(path: "backup", disk: bench.disk, keys: bench.keys)
        #expect(try inspection.verify().statistics.head == durable)
        // What comes back with the power is what is in the backup, or goes on from it.
        var heads: Set<UInt64> = []
        for seed in 1...40 as ClosedRange<UInt64> {
            var after = bench
            after.disk = bench.disk.afterPowerCut(seed: seed)
            var state = Recorded()
            let (_, report) = try after.open(into: &state)
            #expect(Array(state.records.prefix(3)) == bench.durable)
            heads.insert(report.head.sequence)
        }
        #expect(heads == [3, 4], "some cuts take the record, and some leave it")
    }

    @Test func aRecordThatIsGoneFromTheOpenSegmentIsMissed() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[2000, 10], [700]], to: journal)
        let file = Workbench.file(segment1)
        var bytes = try #require(bench.disk.bytes(of: file))
        let end = Workbench.ends([[2000, 10]])[0]
        bytes.replaceSubrange(end..., with: [UInt8](repeating: 0, count: bytes.count - end))
        bench.disk.replace(file, with: bytes)
        #expect(
            throws: JournalError.dataLoss(
                file: segment1, offset: end,
                what: "record 3 is not readable, which was made durable")
        ) { _ = try data.listBackup() }
    }

    @Test func anObjectThatIsErasedMeanwhileIsLeftOut() throws {
        let bench = Workbench(encrypted: true)
        let (data, journal) = try bench.start()
        _ = try journal.append([1].span, time: .epoch)
        try journal.commit()
        let vault = try #require(try data.openVault())
        _ = try vault.reconcile(stored: [], time: .epoch, stateTime: .epoch)
        let erased = try VaultTests.put(VaultTests.noise(70_000), into: vault)
        let kept = try VaultTests.put(VaultTests.noise(90_000, seed: 2), into: vault)
        _ = try copy(data, to: "backup", on: bench.disk) { file in
            if file.name.contains("\(erased.name)") { try vault.erase(erased.name) }
        }
        let inspection = try Inspection(path: "backup", disk: bench.disk, keys: bench.keys)
        #expect(try inspection.verify().problems == [])
        let copied = try Vault(
            opening: "backup", disk: bench.disk,
            keys: try KeyRing.open(bench.disk, "backup", bench.keys),
            random: RandomBytes(replaying: 3))
        #expect(copied.names == [kept.name])
    }

    @Test func damageIsFoundWhenItIsRead_andNothingElseIsGiven() throws {
        let (bench, data) = try RestoreTests.source(encrypted: true)
        for name in [
            segment1, "00000000000000000001.leaves", "00000000000000000004.snapshot",
        ] {
            let file = Workbench.file(name)
            let good = try #require(bench.disk.bytes(of: file))
            var bad = good
            bad[4200] ^= 1
            bench.disk.replace(file, with: bad)
            #expect(throws: JournalError.self, "\(name)") {
                _ = try data.openBackupFile(name, count: .max)
            }
            bench.disk.replace(file, with: good)
            #expect(try data.openBackupFile(name, count: .max) != nil)
        }
        for name in ["lock", "mark", "../data/keys", "vault/../keys", "backup", "notes", "x.tmp"] {
            #expect(try data.openBackupFile(name, count: .max) == nil, "\(name)")
        }
    }

    @Test func noServerWritesIntoABackup() throws {
        let (bench, _) = try RestoreTests.source(encrypted: false)
        bench.disk.replace(Workbench.file("backup"), with: [1])
        #expect(throws: JournalError.isBackup(directory: Workbench.path)) {
            _ = try DataDirectory(opening: Workbench.path, disk: bench.disk.copy())
        }
        #expect(try bench.inspection().verify().problems == [])
        #expect(try RestoreTests.restore(bench, .end).head.sequence == 11)
    }
}
