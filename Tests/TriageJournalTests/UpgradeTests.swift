// From version 1 to the current one: every record, at its sequence and time; the old directory as
// it was; and nothing done when anything is not as it should be.

import Foundation
import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

/// What a test makes of an old payload: the first byte stays, the others are sealed.
private struct Halves: RecordLifting {
    var refuses: UInt8?

    func lift(_ payload: Span<UInt8>, into record: inout RecordParts) throws(RecordRejection) {
        record.removeAll()
        if payload.isEmpty { return }
        if payload[0] == refuses { throw RecordRejection("an event of an unknown kind") }
        record.body = [payload[0]]
        if payload.count > 1 {
            _ = record.seal([UInt8](copying: payload.extracting(1..<payload.count)))
        }
    }
}

@Suite struct UpgradeTests {
    private static let now = WallTime(milliseconds: 1_900_000_000_000)
    private static let fixture = GoldenTests.here.appendingPathComponent("Fixtures/v1").path

    /// The golden directory of version 1.
    static func oldFiles() throws -> [(name: String, bytes: [UInt8])] {
        try FileManager.default.contentsOfDirectory(atPath: fixture).map { name in
            let data = try Data(contentsOf: URL(fileURLWithPath: fixture + "/" + name))
            return (name, [UInt8](data))
        }
    }

    /// The golden directory of version 1 on a simulated disk, with a lock file already.
    private func oldDisk() throws -> SimDisk {
        let disk = SimDisk()
        for (name, bytes) in try Self.oldFiles() { disk.replace("old/" + name, with: bytes) }
        disk.replace("old/lock", with: [])
        return disk
    }

    private func options() -> StorageOptions { Workbench(segmentBytes: 16384).options }

    private func files(_ disk: SimDisk, under prefix: String) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in disk.fileNames where name.hasPrefix(prefix) {
            files[name] = disk.bytes(of: name)
        }
        return files
    }

    @Test(arguments: [nil, TestKeys.source()])
    func everyRecordArrives_andTheOldDirectoryStays(keys: KeySource?) throws {
        let disk = try oldDisk()
        let before = files(disk, under: "old/")
        var old = Recorded()
        let oldHead = try Inspection(path: "old", disk: disk).readJournal(into: &old).head
        let upgrade = try Upgrade(
            from: "old", to: "new", disk: disk, options: options(), keys: keys)
        var steps: [UpgradeProgress] = []
        let report = try upgrade.run(Halves(), time: Self.now) { steps.append($0) }
        #expect(files(disk, under: "old/") == before)
        #expect(report.records == oldHead?.sequence && report.tornTail == nil)
        #expect(steps.last == UpgradeProgress(step: .comparing, done: 4, total: 4))
        let after = disk.afterPowerCut()
        var new = Recorded()
        let inspection = try Inspection(path: "new", disk: after, keys: keys)
        let statistics = try inspection.readJournal(into: &new)
        #expect(statistics.cluster == (try Inspection(path: "old", disk: disk).cluster))
        #expect(statistics.head == report.head && statistics.version == 2)
        if keys != nil {
            #expect(try inspection.signedHeads().allSatisfy { $0.signed.time == Self.now })
            #expect(try inspection.signedHeads().last?.signed.head == report.head)
        }
        #expect(new.records.map(\.sequence) == old.records.map(\.sequence))
        #expect(new.records.map(\.milliseconds) == old.records.map(\.milliseconds))
        #expect(
            new.records.map { $0.body + $0.sealed.compactMap { $0 }.joined() }
                == old.records.map(\.body))
        #expect(try inspection.verify().problems.isEmpty)
        // A server goes on in it.
        let data = try DataDirectory(opening: "new", disk: after, options: options(), keys: keys)
        var state = Recorded()
        let journal = try data.makeJournal(after: try data.recover(into: &state), time: .epoch)
        #expect(try journal.append([1].span, time: .epoch) == report.records + 1)
        try journal.commit()
    }

    @Test func whatIsTornIsLeftOut() throws {
        let disk = try oldDisk()
        let last = "old/00000000000000000010.journal"
        var bytes = try #require(disk.bytes(of: last))
        // The last batch without its end.
        let end = try #require(bytes.lastIndex { $0 != 0 })
        for index in end - 600...end { bytes[index] = 0 }
        disk.replace(last, with: bytes)
        // The mark and the snapshot remember no record of it.
        disk.erase("old/mark")
        let report = try Upgrade(from: "old", to: "new", disk: disk, options: options())
            .run(Halves(), time: .epoch) { _ in }
        #expect(report.records == 10)
        #expect(report.tornTail?.file == "00000000000000000010.journal")
    }

    @Test func damageAnywhereStopsItBeforeAnythingIsMade() throws {
        for (name, offset) in [
            ("00000000000000000001.journal", 5000), ("00000000000000000010.journal", 64),
            ("00000000000000000010.snapshot", 9000), ("mark", 70),
        ] {
            let disk = try oldDisk()
            var bytes = try #require(disk.bytes(of: "old/" + name))
            bytes[offset] ^= 1
            if name == "mark" { bytes[offset + 4096] ^= 1 }
            disk.replace("old/" + name, with: bytes)
            let upgrade = try Upgrade(from: "old", to: "new", disk: disk, options: options())
            #expect {
                _ = try upgrade.run(Halves(), time: .epoch) { _ in }
            } throws: { ($0 as? JournalError)?.place?.file == name }
            #expect(files(disk, under: "new/").isEmpty)
        }
    }

    @Test func aJournalWithoutItsBeginningAsksForTheArchive() throws {
        let disk = try oldDisk()
        let first = try #require(disk.bytes(of: "old/00000000000000000001.journal"))
        disk.erase("old/00000000000000000001.journal")
        let upgrade = try Upgrade(from: "old", to: "new", disk: disk, options: options())
        #expect(throws: JournalError.gap(file: "00000000000000000010.journal", missing: 1)) {
            _ = try upgrade.run(Halves(), time: .epoch) { _ in }
        }
        disk.replace("archive/00000000000000000001.journal", with: first)
        // Once the first attempt has given its lock back.
        let again = try Upgrade(
            from: "old", archive: "archive", to: "new", disk: disk.copy(), options: options())
        #expect(try again.run(Halves(), time: .epoch) { _ in }.records == 11)
    }

    @Test func anOwnedOldAndAFullNewDirectoryAreRefused_andOneThatIsNotOld() throws {
        let disk = try oldDisk()
        let held = try disk.lock("old/lock")
        #expect(throws: JournalError.locked(file: "old/lock", processID: 1)) {
            _ = try Upgrade(from: "old", to: "new", disk: disk)
        }
        withExtendedLifetime(held) {}
        let bench = try Workbench.with([[10]])
        for name in bench.disk.fileNames {
            disk.replace(name, with: try #require(bench.disk.bytes(of: name)))
        }
        let copy = disk.copy()
        let upgrade = try Upgrade(
            from: "old", to: Workbench.path, disk: copy, options: options())
        #expect(throws: JournalError.notEmpty(directory: Workbench.path)) {
            _ = try upgrade.run(Halves(), time: .epoch) { _ in }
        }
        #expect(throws: JournalError.notOlder(directory: Workbench.path)) {
            _ = try Upgrade(from: Workbench.path, to: "new", disk: copy)
        }
        // Also when it is encrypted, whether the key is given or not.
        let sealed = Workbench(encrypted: true)
        _ = try sealed.start()
        for keys in [nil, sealed.keys] {
            #expect(throws: JournalError.notOlder(directory: Workbench.path)) {
                _ = try Upgrade(from: Workbench.path, to: "new", disk: sealed.disk, keys: keys)
            }
        }
    }

    @Test func aPayloadThatNobodyUnderstandsIsNamed() throws {
        let disk = try oldDisk()
        let upgrade = try Upgrade(from: "old", to: "new", disk: disk, options: options())
        #expect {
            _ = try upgrade.run(Halves(refuses: 0x3F), time: .epoch) { _ in }
        } throws: { error in
            guard
                case .rejected("00000000000000000001.journal", _, let what) = error as? JournalError
            else { return false }
            return what == "an event of an unknown kind"
        }
    }

    /// The old directory is not to blame, and there is nothing to be restored.
    @Test func aFullDisk_isNoDamage() throws {
        let start = try oldDisk()
        var isDone = false
        var refusals = 0
        for kilobytes in stride(from: 0, to: 1024, by: 8) where !isDone {
            let disk = start.copy()
            disk.limit(bytes: disk.bytesUsed + kilobytes << 10)
            do throws(JournalError) {
                _ = try Upgrade(from: "old", to: "new", disk: disk, options: options())
                    .run(Halves(), time: Self.now) { _ in }
                isDone = true
            } catch {
                #expect(!error.isDamage, "\(kilobytes) KiB: \(error)")
                #expect("\(error)".contains("no space"), "\(kilobytes) KiB: \(error)")
                refusals += 1
            }
        }
        #expect(isDone && refusals > 5)
    }

    /// Going back and upgrading again is another line of history, which a backup must tell from the
    /// first one (FORMAT.md §16).
    @Test func twoUpgradesOfOneDirectory_haveTwoIdentities() throws {
        let start = try oldDisk()
        let identities = try ([0, 1] as [Int64]).map { later in
            let disk = start.copy()
            _ = try Upgrade(from: "old", to: "new", disk: disk, options: options())
                .run(Halves(), time: Self.now.advanced(byMilliseconds: later)) { _ in }
            return try #require(disk.bytes(of: "new/identity"))
        }
        #expect(identities[0] != identities[1])
    }

    @Test func whatAnAttemptThatStoppedLeft_isNotWrittenInto() throws {
        let disk = try oldDisk()
        disk.replace("new/lock", with: [])
        disk.replace("new/mark", with: [])
        #expect(throws: JournalError.notEmpty(directory: "new")) {
            _ = try Upgrade(from: "old", to: "new", disk: disk, options: options())
                .run(Halves(), time: Self.now) { _ in }
        }
    }

    /// Wherever it fails, the old directory is as it was, and no server starts on what there is of
    /// the new one unless it is whole.
    @Test(arguments: [nil, TestKeys.source()])
    func aFailureAtAnyCallLeavesTheOldDirectoryAsItWas_andNothingThatStarts(
        keys: KeySource?
    ) throws {
        let start = try oldDisk()
        let before = files(start, under: "old/")
        var call = 1
        var failures = 0
        while true {
            let disk = start.copy()
            disk.failCall(disk.calls + call, .inputOutput)
            let first = disk.calls
            do {
                let upgrade = try Upgrade(
                    from: "old", to: "new", disk: disk, options: options(), keys: keys)
                _ = try upgrade.run(Halves(), time: Self.now) { _ in }
                if disk.calls < first + call { break }
            } catch { failures += 1 }
            #expect(files(disk, under: "old/") == before, "call \(call)")
            for left in [disk.afterPowerCut(), disk.afterKill()] {
                var state = Recorded()
                do {
                    let data = try DataDirectory(
                        opening: "new", disk: left, options: options(), keys: keys)
                    let report = try data.recover(into: &state)
                    #expect(report.isFirstStart || report.head.sequence == 11, "call \(call)")
                } catch {}
            }
            call += 1
        }
        #expect(failures > 30)
    }
}
