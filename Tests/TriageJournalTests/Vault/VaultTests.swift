// The vault: what is put comes out again, what is erased never does, every row of VAULT.md's
// recovery table, and every byte of an object and of the table flipped.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct VaultTests {
    static let data = "data"
    static let table = "data/vault/keys"
    static let time = WallTime(milliseconds: 1_700_000_000_000)

    // MARK: Workbench

    static func directory(_ seed: UInt64 = 0) throws -> SimDisk {
        let disk = SimDisk(seed: seed)
        _ = try KeyRingTests.make(disk)
        return disk
    }

    static func open(_ disk: SimDisk, seed: UInt64 = 5) throws(JournalError) -> Vault {
        try Vault(
            opening: data, disk: disk, keys: try KeyRingTests.open(disk),
            random: RandomBytes(replaying: seed))
    }

    static func started(
        _ disk: SimDisk, stored: Set<ObjectName> = [], erased: Set<ObjectName> = [],
        seed: UInt64 = 5
    ) throws(JournalError) -> Vault {
        let vault = try open(disk, seed: seed)
        _ = try vault.reconcile(stored: stored, erased: erased, time: time, stateTime: time)
        return vault
    }

    /// A vault of a new directory, and the keys that it uses.
    private static func withKeys() throws -> (disk: SimDisk, keys: KeyRing, vault: Vault) {
        let disk = try directory()
        let ring = try KeyRingTests.open(disk)
        let vault = try Vault(
            opening: data, disk: disk, keys: ring, random: RandomBytes(replaying: 6))
        _ = try vault.reconcile(stored: [], time: time, stateTime: time)
        return (disk, ring, vault)
    }

    static func put(
        _ bytes: [UInt8], into vault: Vault, portion: Int = 10_000
    ) throws(JournalError) -> StoredObject {
        var writer = try vault.beginPut(size: bytes.count, time: time)
        var at = 0
        while at < bytes.count {
            let end = min(at + portion, bytes.count)
            try writer.append(bytes.span.extracting(at..<end))
            at = end
        }
        return try vault.finish(writer)
    }

    static func read(_ name: ObjectName, from vault: Vault) throws(JournalError) -> [UInt8] {
        var reader = try vault.read(name)
        var bytes: [UInt8] = []
        while try reader.next({ bytes.append(copying: $0) }) {}
        #expect(bytes.count == reader.size)
        return bytes
    }

    static func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    static func path(_ name: ObjectName) -> String { "data/vault/\(name).object" }

    static func error(_ body: () throws(JournalError) -> Void) -> JournalError? {
        KeyRingTests.error(body)
    }

    // MARK: Round trips

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])
    func whatIsPut_comesOutAgain_afterARestart(count: Int) throws {
        let disk = try Self.directory()
        let bytes = Self.noise(count)
        let object = try Self.put(bytes, into: Self.started(disk), portion: 7_777)
        #expect(object.size == count && object.sha256 == SHA256.hash(bytes.span))
        let after = disk.afterPowerCut()
        let vault = try Self.started(after, stored: [object.name])
        #expect(try Self.read(object.name, from: vault) == bytes)
        // The name is the digest of the file; its length follows from the object's.
        let stored = try #require(after.bytes(of: Self.path(object.name)))
        #expect(ObjectName(SHA256.hash(stored.span)) == object.name)
        #expect(stored.count == 4_096 + count + max(1, (count + 65_535) / 65_536) * 16)
    }

    @Test func portions_doNotMatter_andEqualBytesGetDifferentNames() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let bytes = Self.noise(70_000)
        let one = try Self.put(bytes, into: vault, portion: 1)
        let other = try Self.put(bytes, into: vault, portion: 70_000)
        #expect(one.sha256 == other.sha256 && one.name != other.name)
        #expect(try Self.read(one.name, from: vault) == Self.read(other.name, from: vault))
    }

    /// Neither the text nor a key lies in the directory in the clear.
    @Test func nothingIsReadableOnDisk() throws {
        let disk = try Self.directory()
        let text = Array("she wrote where she would be at nine".utf8)
        _ = try Self.put(text, into: Self.started(disk))
        for name in disk.fileNames {
            let bytes = try #require(disk.bytes(of: name))
            #expect(!contains(bytes, text), "\(name)")
        }
    }

    private func contains(_ bytes: [UInt8], _ text: [UInt8]) -> Bool {
        guard bytes.count >= text.count else { return false }
        return (0...bytes.count - text.count).contains { start in
            bytes[start] == text[0] && Array(bytes[start..<start + text.count]) == text
        }
    }

    @Test func tableGrows_andSlotsAreUsedAgain() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        var objects: [StoredObject] = []
        for index in 0..<70 { objects.append(try Self.put(Self.noise(index), into: vault)) }
        #expect(disk.bytes(of: Self.table)?.count == 4_096 + 128 * 512)
        for object in objects[..<40] { try vault.erase(object.name) }
        for index in 0..<40 { objects.append(try Self.put(Self.noise(index), into: vault)) }
        #expect(disk.bytes(of: Self.table)?.count == 4_096 + 128 * 512)
        let kept = Set(objects[40...].map(\.name))
        let again = try Self.open(disk.afterPowerCut())
        #expect(
            try again.reconcile(stored: kept, time: Self.time, stateTime: Self.time)
                == VaultReport())
        for object in objects[40...] {
            #expect(try Self.read(object.name, from: again).count == object.size)
        }
    }

    // MARK: Erasing

    @Test func erased_isGone_keyAndBytes() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let bytes = Self.noise(100_000)
        let object = try Self.put(bytes, into: vault)
        let kept = try Self.put(bytes, into: vault)
        let file = try #require(disk.bytes(of: Self.path(object.name)))
        try vault.erase(object.name)
        try vault.erase(object.name)
        let after = disk.afterPowerCut()
        #expect(after.bytes(of: Self.path(object.name)) == nil)
        // Somebody who kept the file cannot read it with what is left.
        after.replace(Self.path(object.name), with: file)
        let again = try Self.started(after, stored: [object.name, kept.name])
        let error = Self.error { () throws(JournalError) in _ = try again.read(object.name) }
        #expect(error?.isDamage == true)
        #expect(try Self.read(kept.name, from: again) == bytes)
    }

    // MARK: Recovery table

    @Test func stored_keyOrFileMissing_isReported_othersGoOn() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let good = try Self.put([1, 2, 3], into: vault)
        let noFile = try Self.put([4], into: vault)
        let noSlot = try Self.put([5], into: vault)
        disk.erase(Self.path(noFile.name))
        var slots = try #require(disk.bytes(of: Self.table))
        let start = try #require(Self.slot(of: noSlot.name, in: slots))
        for index in start..<start + 512 { slots[index] = 0 }
        disk.replace(Self.table, with: slots)
        let never = ObjectName(SHA256.hash([9].span))

        let again = try Self.open(disk)
        let stored: Set = [good.name, noFile.name, noSlot.name, never]
        let report = try again.reconcile(stored: stored, time: Self.time, stateTime: Self.time)
        #expect(Set(report.missing) == [noFile.name, noSlot.name, never])
        #expect(report.removed.isEmpty && report.lines.count == 3)
        #expect(try Self.read(good.name, from: again) == [1, 2, 3])
        for name in report.missing {
            let error = Self.error { () throws(JournalError) in _ = try again.read(name) }
            #expect(error?.isDamage == true)
        }
        // What is left of them waits for a restored other half.
        #expect(disk.bytes(of: Self.path(noSlot.name)) != nil)
    }

    static func slot(of name: ObjectName, in table: [UInt8]) -> Int? {
        stride(from: 4_096, to: table.count, by: 512).first { start in
            name.digest == table.span.extracting(start + 8..<start + 40).digest
        }
    }

    /// Put by a process that stopped before its event, or named by a newer journal than this one.
    @Test func neitherStoredNorErased_isSetAside_andDestroyedAfterAMonth() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let kept = try Self.put([1], into: vault)
        let orphan = try Self.put([2], into: vault)
        var report = VaultReport()
        report.setAside = [orphan.name]
        #expect(try Self.reconciled(disk, [kept.name], after: 0) == report)
        report = VaultReport()
        report.aside = 1
        for days in [-3, 0, 29] as [Int64] {
            #expect(try Self.reconciled(disk, [kept.name], after: days) == report)
        }
        let next = disk.afterPowerCut()
        #expect(try Self.open(next).names == [kept.name])
        report = VaultReport()
        report.removed = [orphan.name]
        #expect(try Self.reconciled(next, [kept.name], after: 30) == report)
        #expect(try Self.reconciled(next.afterPowerCut(), [kept.name], after: 30) == VaultReport())
        let names = next.fileNames.filter { $0.hasPrefix("data/vault/") }
        #expect(names == [Self.path(kept.name), Self.table].sorted())
        #expect(Self.slot(of: orphan.name, in: try #require(next.bytes(of: Self.table))) == nil)
    }

    /// As a start so many days later; `recorded`: when the state's last record was made, if not
    /// then.
    private static func reconciled(
        _ disk: SimDisk, _ stored: Set<ObjectName>, erased: Set<ObjectName> = [], after days: Int64,
        recorded: Int64? = nil
    ) throws -> VaultReport {
        func at(_ days: Int64) -> WallTime { Self.time.advanced(byMilliseconds: days * 86_400_000) }
        return try open(disk).reconcile(
            stored: stored, erased: erased, time: at(days), stateTime: at(recorded ?? days))
    }

    /// A clock without a battery says 1970 at one start, or one is set far ahead: what the next
    /// starts do is right all the same.
    @Test(arguments: [-10_000, 10_000] as [Int64])
    func aClockThatIsWrongAtOneStart_destroysNothing(wrong: Int64) throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let orphan = try Self.put([1], into: vault)
        // Wrong at the start that sets it aside, and right at the next ones.
        let first = disk.copy()
        #expect(try Self.reconciled(first, [], after: wrong, recorded: 0).setAside.count == 1)
        for days in [0, 1, 29] as [Int64] {
            #expect(try Self.reconciled(first, [], after: days).aside == 1)
        }
        #expect(try Self.reconciled(first, [orphan.name], after: 29).takenBack == [orphan.name])
        // Right then, and wrong later on, until something is recorded.
        let second = disk.copy()
        #expect(try Self.reconciled(second, [], after: 0).setAside.count == 1)
        for recorded in [0, 5, 29] as [Int64] {
            #expect(try Self.reconciled(second, [], after: wrong, recorded: recorded).aside == 1)
        }
        #expect(try Self.reconciled(second, [], after: 30, recorded: 29).aside == 1)
        #expect(try Self.reconciled(second, [], after: 30).removed == [orphan.name])
    }

    // MARK: Checking

    private static func check(
        _ disk: SimDisk, _ demand: VaultDemand = .everything
    ) throws -> (count: VaultCount, problems: [JournalError]) {
        let changes = disk.changes
        defer { #expect(disk.changes == changes) }
        return try open(disk).check(demand) { _ in }
    }

    @Test func evidenceThatIsGone_isNamed() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let kept = try Self.put([1], into: vault)
        let lost = try Self.put([2], into: vault)
        var count = VaultCount()
        #expect(try Self.check(disk).problems.isEmpty && Self.check(disk).count == count)
        disk.erase(Self.path(lost.name))
        count.withoutObject = 1
        let found = try Self.check(disk)
        #expect(found.count == count && found.problems.count == 1)
        #expect(found.problems.first?.place?.file == "vault/\(lost.name).object")
        // A copy may have keys of a later moment; of a backup the manifest names its objects.
        #expect(try Self.check(disk, .nothing).problems.isEmpty)
        #expect(try Self.check(disk, .listed([kept.name])).problems.isEmpty)
        let listed = try Self.check(disk, .listed([kept.name, lost.name])).problems
        #expect(listed.map(\.place?.file) == ["vault/\(lost.name).object"])
    }

    @Test func whatIsAsideIsReadToo() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let orphan = try Self.put(Self.noise(70_000), into: vault)
        _ = try Self.reconciled(disk, [], after: 0)
        var count = VaultCount()
        count.aside = 1
        #expect(try Self.check(disk).problems.isEmpty && Self.check(disk).count == count)
        let file = try #require(disk.fileNames.first { $0.hasSuffix(".aside") })
        var bytes = try #require(disk.bytes(of: file))
        bytes[70_000] ^= 1
        disk.replace(file, with: bytes)
        let problems = try Self.check(disk).problems
        #expect(problems.map(\.place?.file) == [String(file.dropFirst("data/".count))])
        // Without its key, which a kill may have left it without, nobody can tell.
        try Self.open(disk).erase(orphan.name)
        #expect(try Self.check(disk).problems.isEmpty && Self.check(disk).count == count)
    }

    @Test func anObjectWithoutKeyIsCounted() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let object = try Self.put([1], into: vault)
        let file = try #require(disk.bytes(of: Self.path(object.name)))
        try vault.erase(object.name)
        disk.replace(Self.path(object.name), with: file)
        var count = VaultCount()
        count.withoutKey = 1
        #expect(try Self.check(disk).problems.isEmpty && Self.check(disk).count == count)
    }

    /// Verifying runs beside a server.
    @Test func whatIsErasedMeanwhile_isNoProblem() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let first = try Self.put([1], into: vault)
        let second = try Self.put([2], into: vault)
        let outside = try Self.open(disk)
        try vault.erase(first.name)
        _ = try Self.put([3], into: vault)
        var bytes = 0
        let found = outside.check(.everything) { bytes += $0 }
        #expect(found.problems.isEmpty && found.count == VaultCount())
        #expect(bytes == disk.bytes(of: Self.path(second.name))?.count)
    }

    /// An older journal beside a newer vault, and then the newer journal again.
    @Test func whatWasSetAside_isTakenBackOnceTheStateNamesIt() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let first = try Self.put([1], into: vault)
        let second = try Self.put(Self.noise(70_000), into: vault)
        let third = try Self.put([3], into: vault)
        let all: Set = [first.name, second.name, third.name]
        #expect(try Self.reconciled(disk, [first.name], after: 0).setAside.count == 2)
        // Meanwhile the data key was renewed.
        let ring = try KeyRingTests.open(disk)
        var random = RandomBytes(replaying: 8)
        let number = try ring.renew(.data, time: Self.time, random: &random)
        #expect(try Self.open(disk).rewrap().count == 3)
        let next = disk.afterPowerCut()
        let again = try Self.open(next)
        var report = VaultReport()
        report.takenBack = [second.name, third.name].sorted { "\($0)" < "\($1)" }
        #expect(try again.reconcile(stored: all, time: Self.time, stateTime: Self.time) == report)
        #expect(try Self.read(second.name, from: again) == Self.noise(70_000))
        #expect(again.keyNumbers == [number: 3] && Set(again.names) == all)
        // What the newer journal has erased goes at once.
        #expect(try Self.reconciled(next, [first.name], after: 0).setAside.count == 2)
        let last = try Self.reconciled(
            next, [first.name], erased: [second.name, third.name], after: 0)
        #expect(last.removed == report.takenBack && last.aside == 0)
    }

    @Test func tornSlot_isZeroed_damagedOneStays() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let torn = try Self.put([1], into: vault)
        let damaged = try Self.put([2], into: vault)
        var slots = try #require(disk.bytes(of: Self.table))
        let first = try #require(Self.slot(of: torn.name, in: slots))
        for index in first..<first + 40 { slots[index] = 0 }
        let second = try #require(Self.slot(of: damaged.name, in: slots))
        slots[second + 60] ^= 1
        disk.replace(Self.table, with: slots)
        let again = try Self.open(disk)
        let report = try again.reconcile(
            stored: [torn.name, damaged.name], time: Self.time, stateTime: Self.time)
        #expect(report.tornSlots == 1 && report.damagedSlots == 1)
        #expect(report.missing.count == 2)
        let after = try #require(disk.bytes(of: Self.table))
        #expect(after[first..<first + 512].allSatisfy { $0 == 0 })
        #expect(after[second..<second + 512] == slots[second..<second + 512])
        // Erased, its damaged slot goes as well.
        try again.erase(damaged.name)
        let erased = try #require(disk.bytes(of: Self.table))
        #expect(erased[second..<second + 512].allSatisfy { $0 == 0 })
    }

    @Test func foreignFile_isRefused_namingIt() throws {
        let digest = String(repeating: "a", count: 64)
        for name in [
            "notes.txt", "abc.object", "keys.old", String(repeating: "A", count: 64),
            digest + ".aside", digest + "-.aside", digest + "-07.aside", digest + "-1.object",
        ] {
            let disk = try Self.directory()
            _ = try Self.started(disk)
            disk.replace("data/vault/" + name, with: [1])
            let changes = disk.changes
            let error = Self.error { () throws(JournalError) in _ = try Self.open(disk) }
            #expect(error == .foreignFile(file: "vault/" + name))
            #expect(disk.changes == changes)
        }
    }

    @Test func missingTable_withObjects_isDataLoss_andNothingIsChanged() throws {
        let disk = try Self.directory()
        _ = try Self.put([1], into: Self.started(disk))
        disk.erase(Self.table)
        let changes = disk.changes
        let error = Self.error { () throws(JournalError) in _ = try Self.open(disk) }
        #expect(error?.isDamage == true && error?.description.contains("vault/keys") == true)
        #expect(disk.changes == changes)
    }

    // MARK: Damage

    @Test func everyFlippedByteOfAnObject_isFound() throws {
        let disk = try Self.directory()
        let object = try Self.put(Self.noise(700), into: Self.started(disk))
        let path = Self.path(object.name)
        let good = try #require(disk.bytes(of: path))
        let vault = try Self.started(disk, stored: [object.name])
        for index in good.indices {
            var bytes = good
            bytes[index] ^= 0x20
            disk.replace(path, with: bytes)
            let error = Self.error { () throws(JournalError) in
                _ = try Self.read(object.name, from: vault)
            }
            #expect(error != nil, "byte \(index)")
            #expect(error?.description.contains("\(object.name).object") == true)
        }
        for count in 0..<good.count {
            disk.replace(path, with: Array(good.prefix(count)))
            let error = Self.error { () throws(JournalError) in
                _ = try Self.read(object.name, from: vault)
            }
            #expect(error?.isDamage == true, "\(count) bytes")
        }
        disk.replace(path, with: good)
        #expect(try Self.read(object.name, from: vault).count == 700)
    }

    /// Chunks cannot change places, be left out at the end, or come from another object.
    @Test func movedChunks_areFound() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let object = try Self.put(Self.noise(4 * 65_536), into: vault)
        let other = try Self.put(Self.noise(4 * 65_536), into: vault)
        let good = try #require(disk.bytes(of: Self.path(object.name)))
        let foreign = try #require(disk.bytes(of: Self.path(other.name)))
        let chunk = 65_552
        var swapped = Array(good[..<4_096])
        for index in [1, 0, 2, 3] {
            swapped += good[4_096 + index * chunk..<4_096 + (index + 1) * chunk]
        }
        var mixed = good
        mixed.replaceSubrange(4_096..<4_096 + chunk, with: foreign[4_096..<4_096 + chunk])
        for bytes in [swapped, mixed, foreign] {
            disk.replace(Self.path(object.name), with: bytes)
            let error = Self.error { () throws(JournalError) in
                _ = try Self.read(object.name, from: vault)
            }
            #expect(error?.isDamage == true)
        }
    }

    /// Every byte of the table: the object whose slot it is counts as having none, or the table as
    /// a whole is refused; the other object is read as before.
    @Test func everyFlippedByteOfTheTable_isFound_andHarmsOneObjectAtMost() throws {
        let disk = try Self.directory()
        let vault = try Self.started(disk)
        let objects = [try Self.put([1], into: vault), try Self.put([2], into: vault)]
        let stored = Set(objects.map(\.name))
        let good = try #require(disk.bytes(of: Self.table))
        for index in good.indices where index < 4_096 + 3 * 512 || index % 509 == 0 {
            var bytes = good
            bytes[index] ^= 0x04
            disk.replace(Self.table, with: bytes)
            let again: Vault
            do throws(JournalError) { again = try Self.open(disk) } catch {
                #expect(error.isDamage && index < 4_096, "byte \(index): \(error)")
                continue
            }
            #expect(index >= 4_096, "a byte of the header")
            let report = try again.reconcile(stored: stored, time: Self.time, stateTime: Self.time)
            #expect(report.damagedSlots + report.tornSlots == 1, "byte \(index)")
            #expect(report.missing.count == (index < 4_096 + 2 * 512 ? 1 : 0), "byte \(index)")
            for object in objects where !report.missing.contains(object.name) {
                #expect(try Self.read(object.name, from: again).count == 1)
            }
        }
    }

    // MARK: Rotation

    @Test func aKeyThatRotsKeepsNoOtherFromBeingWrappedAnew() throws {
        let (disk, ring, vault) = try Self.withKeys()
        let objects = try (0..<3).map { try Self.put([UInt8($0)], into: vault) }
        var table = try #require(disk.bytes(of: "data/vault/keys"))
        let slot = try #require(Self.slot(of: objects[1].name, in: table))
        table[slot + 60] ^= 1
        disk.replace("data/vault/keys", with: table)
        var random = RandomBytes(replaying: 7)
        let number = try ring.renew(.data, time: Self.time, random: &random)
        let (count, unreadable) = try vault.rewrap()
        #expect(count == 2 && unreadable.map(\.place?.offset) == [slot])
        #expect(vault.keyNumbers == [1: 1, number: 2])
        let after = try Self.open(disk.afterPowerCut())
        #expect(try Self.read(objects[2].name, from: after) == [2])
        // It is in use all the same, and says so.
        let unread = Self.error { () throws(JournalError) in _ = try after.read(objects[1].name) }
        #expect(unread != nil)
    }

    @Test func afterRewrapping_theOldDataKeyIsNotNeeded() throws {
        let (disk, ring, vault) = try Self.withKeys()
        let objects = [
            try Self.put(Self.noise(10), into: vault), try Self.put(Self.noise(20), into: vault),
        ]
        #expect(vault.keyNumbers == [1: 2])
        var random = RandomBytes(replaying: 7)
        #expect(try ring.renew(.data, time: Self.time, random: &random) == 3)
        let later = try Self.put(Self.noise(30), into: vault)
        #expect(vault.keyNumbers == [1: 2, 3: 1])
        #expect(try vault.rewrap().count == 2)
        #expect(try vault.rewrap().count == 0)
        #expect(vault.keyNumbers == [3: 3])
        try ring.drop([1], time: Self.time, random: &random)
        let again = try Self.started(
            disk.afterPowerCut(), stored: Set((objects + [later]).map(\.name)))
        for object in objects + [later] {
            #expect(try Self.read(object.name, from: again) == Self.noise(object.size))
        }
    }
}

extension Span<UInt8> {
    fileprivate var digest: Digest {
        Digest(
            loadUInt64(at: 0), loadUInt64(at: 8), loadUInt64(at: 16), loadUInt64(at: 24))
    }
}
