// The `keys` file: made, opened, damaged, rotated, and what is left of it after a power cut or an
// error at every call of the disk.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct KeyRingTests {
    static let directory = "data"
    static let path = "data/keys"
    static let cluster = ClusterID(low: 0x1122_3344_5566_7788, high: 0x99AA_BBCC_DDEE_FF00)
    static let time = WallTime(milliseconds: 1_700_000_000_000)

    static func kek(_ byte: UInt8) -> KeyEncryptionKey {
        let bytes = [UInt8](repeating: byte, count: 32)
        return KeyEncryptionKey(SecretKey(copying: bytes.span))
    }

    static func make(_ disk: SimDisk, _ seed: UInt64 = 1) throws -> KeyRing {
        var random = RandomBytes(replaying: seed)
        let ring = try KeyRing.make(
            disk, directory, cluster: cluster, kek: kek(1), random: &random)
        try ring.settle(time: time, random: &random)
        return ring
    }

    static func open(
        _ disk: SimDisk, _ current: UInt8 = 1, previous: UInt8? = nil
    ) throws(JournalError) -> KeyRing {
        try KeyRing.open(
            disk, directory,
            KeySource(current: kek(current), previous: previous.map { kek($0) }))
    }

    static func error(_ body: () throws(JournalError) -> Void) -> JournalError? {
        do throws(JournalError) {
            try body()
            return nil
        } catch { return error }
    }

    /// Whether both give the same keys under the same numbers.
    static func haveEqualKeys(_ a: KeyRing, _ b: KeyRing) -> Bool {
        guard a.keys.map(\.number) == b.keys.map(\.number), a.dataKeyInUse == b.dataKeyInUse,
            a.signingKeyInUse == b.signingKeyInUse
        else { return false }
        let message: [UInt8] = [1, 2, 3]
        return a.keys.allSatisfy { info in
            switch info.kind {
            case .data:
                guard let one = a.dataKey(info.number), let other = b.dataKey(info.number) else {
                    return false
                }
                return one.isEqual(to: other)
            case .signing:
                guard let one = a.signingKey(info.number), let other = b.signingKey(info.number),
                    let signature = try? one.sign(message.span)
                else { return false }
                return other.verifyingKey.verifies(signature, of: message.span)
            }
        }
    }

    // MARK: Making and opening

    @Test func madeKeys_openAgain() throws {
        let disk = SimDisk()
        let made = try Self.make(disk)
        let opened = try Self.open(disk.afterPowerCut())
        #expect(Self.haveEqualKeys(made, opened))
        #expect(opened.cluster == Self.cluster)
        #expect(opened.keys.map(\.kind) == [.data, .signing])
        #expect(opened.keys.allSatisfy { $0.state == .inUse && $0.made == Self.time })
        #expect(opened.kek == Self.kek(1).id)
        #expect(opened.repairs.isEmpty)
        #expect(opened.dataKey(2) == nil && opened.signingKey(1) == nil)
        #expect(opened.dataKey(3) == nil)
    }

    @Test func keysOfTwoDirectories_differ() throws {
        let one = try Self.make(SimDisk(), 1)
        let other = try Self.make(SimDisk(), 2)
        let isSame = try #require(one.dataKey(1)).isEqual(to: try #require(other.dataKey(1)))
        #expect(!isSame)
    }

    @Test func withoutAKey_isRefused_namingIt() throws {
        let disk = SimDisk()
        _ = try Self.make(disk)
        let changes = disk.changes
        let error = Self.error { () throws(JournalError) in
            _ = try KeyRing.open(disk, Self.directory, nil)
        }
        #expect(error == .keyMissing(expected: Self.kek(1).id))
        #expect(disk.changes == changes)
    }

    @Test func anotherKey_isRefused_namingBoth_andNothingIsTouched() throws {
        let disk = SimDisk()
        _ = try Self.make(disk)
        let before = disk.bytes(of: Self.path)
        let changes = disk.changes
        let error = Self.error { () throws(JournalError) in _ = try Self.open(disk, 2) }
        #expect(error == .wrongKey(expected: Self.kek(1).id, found: Self.kek(2).id))
        #expect(error?.isDamage == false)
        let both = Self.error { () throws(JournalError) in _ = try Self.open(disk, 2, previous: 3) }
        #expect(both == error)
        #expect(disk.bytes(of: Self.path) == before && disk.changes == changes)
    }

    /// The first start may stop before the file is there: nothing uses the keys before.
    @Test func newKeys_areOnDiskAfterSettling_notBefore() throws {
        let disk = SimDisk()
        var random = RandomBytes(replaying: 1)
        let ring = try KeyRing.make(
            disk, Self.directory, cluster: Self.cluster, kek: Self.kek(1), random: &random)
        #expect(disk.fileNames.isEmpty)
        try ring.settle(time: Self.time, random: &random)
        #expect(Self.haveEqualKeys(ring, try Self.open(disk.afterPowerCut())))
        #expect(ring.keys.allSatisfy { $0.made == Self.time })
    }

    // MARK: Damage

    /// Every byte of the first copy, then of the second: the other one serves, is reported, and
    /// both are written anew; of both: data loss, and nothing is changed.
    @Test func everyFlippedByte_isSurvivedOnce() throws {
        let disk = SimDisk()
        let made = try Self.make(disk)
        let good = try #require(disk.bytes(of: Self.path))
        let half = good.count / 2
        for index in good.indices {
            var bytes = good
            bytes[index] ^= 0x10
            disk.replace(Self.path, with: bytes)
            let ring = try Self.open(disk)
            #expect(Self.haveEqualKeys(made, ring))
            if index % 97 == 0 {
                var random = RandomBytes(replaying: 3)
                #expect(ring.repairs.count == 1)
                try ring.settle(time: Self.time, random: &random)
                let mended = try Self.open(disk)
                #expect(mended.repairs.isEmpty && Self.haveEqualKeys(made, mended))
            }
            bytes[(index + half) % good.count] ^= 0x01
            disk.replace(Self.path, with: bytes)
            let changes = disk.changes
            let error = Self.error { () throws(JournalError) in _ = try Self.open(disk) }
            #expect(error?.isDamage == true, "byte \(index): \(String(describing: error))")
            #expect(disk.changes == changes)
        }
    }

    @Test func everyOtherLength_isDataLoss() throws {
        let disk = SimDisk()
        _ = try Self.make(disk)
        let good = try #require(disk.bytes(of: Self.path))
        for count in stride(from: 0, to: good.count + 9_000, by: 511) where count != good.count {
            let bytes = Array((good + [UInt8](repeating: 0, count: 9_000)).prefix(count))
            disk.replace(Self.path, with: bytes)
            let error = Self.error { () throws(JournalError) in _ = try Self.open(disk) }
            #expect(error?.isDamage == true, "\(count) bytes")
        }
    }

    /// Who can compute a CRC still cannot put another key into the file.
    @Test func forgedEntry_isDataLoss() throws {
        let disk = SimDisk()
        _ = try Self.make(disk)
        let other = SimDisk()
        var random = RandomBytes(replaying: 9)
        _ = try KeyRing.make(
            other, Self.directory, cluster: ClusterID(low: 1, high: 2), kek: Self.kek(1),
            random: &random
        ).settle(time: Self.time, random: &random)
        // A file of another deployment, renamed into this one: well formed, but not ours.
        var bytes = try #require(other.bytes(of: Self.path))
        let ours = try #require(disk.bytes(of: Self.path))
        for start in [0, bytes.count / 2] {
            bytes.replaceSubrange(start..<start + 4096, with: ours[start..<start + 4096])
        }
        disk.replace(Self.path, with: bytes)
        let error = Self.error { () throws(JournalError) in _ = try Self.open(disk) }
        #expect(error?.isDamage == true)
    }

    // MARK: Rotation

    @Test func rotation_keepsTheKeys_underTheNewKEK() throws {
        let disk = SimDisk()
        let ring = try Self.make(disk)
        var random = RandomBytes(replaying: 4)
        #expect(try ring.rotate(to: Self.kek(2), time: Self.time, random: &random))
        #expect(try !ring.rotate(to: Self.kek(2), time: Self.time, random: &random))
        let after = disk.afterPowerCut()
        #expect(Self.haveEqualKeys(ring, try Self.open(after, 2)))
        let error = Self.error { () throws(JournalError) in _ = try Self.open(after, 1) }
        #expect(error == .wrongKey(expected: Self.kek(2).id, found: Self.kek(1).id))
        #expect(ring.kek == Self.kek(2).id)
    }

    @Test func previousKey_opens_andTheFileIsRewrapped() throws {
        let disk = SimDisk()
        let made = try Self.make(disk)
        let ring = try Self.open(disk, 2, previous: 1)
        #expect(Self.haveEqualKeys(made, ring))
        var random = RandomBytes(replaying: 5)
        let repairs = ring.repairs
        try ring.settle(time: Self.time, random: &random)
        #expect(repairs.count == 1 && repairs[0].contains(Self.kek(1).id.description))
        #expect(Self.haveEqualKeys(made, try Self.open(disk, 2)))
        #expect(ring.keys.allSatisfy { $0.kek == Self.kek(2).id })
    }

    @Test func renewal_addsAKey_andKeepsTheOld() throws {
        let disk = SimDisk()
        let ring = try Self.make(disk)
        let old = try #require(ring.dataKey(1))
        var random = RandomBytes(replaying: 6)
        let later = Self.time.advanced(byMilliseconds: 1_000)
        #expect(try ring.renew(.data, time: later, random: &random) == 3)
        #expect(try ring.renew(.signing, time: later, random: &random) == 4)
        #expect(ring.dataKeyInUse == 3 && ring.signingKeyInUse == 4)
        let opened = try Self.open(disk.afterPowerCut())
        #expect(Self.haveEqualKeys(ring, opened))
        #expect(try #require(opened.dataKey(1)).isEqual(to: old))
        #expect(opened.keys.map(\.state) == [.kept, .kept, .inUse, .inUse])
        #expect(opened.keys.map(\.made) == [Self.time, Self.time, later, later])
        try ring.drop([1], time: later, random: &random)
        #expect(ring.dataKey(1) == nil)
        let dropped = try Self.open(disk)
        #expect(dropped.keys.map(\.number) == [2, 3, 4])
        // A number does not come back.
        #expect(try dropped.renew(.data, time: later, random: &random) == 5)
    }

    @Test func fullFile_isRefused_sayingWhatToDo() throws {
        let disk = SimDisk()
        let ring = try Self.make(disk)
        var random = RandomBytes(replaying: 7)
        for _ in ring.keys.count..<KeyFile.entriesMax {
            _ = try ring.renew(.data, time: Self.time, random: &random)
        }
        let error = Self.error { () throws(JournalError) in
            _ = try ring.renew(.data, time: Self.time, random: &random)
        }
        #expect(error == .tooManyKeys(limit: KeyFile.entriesMax))
        #expect(error?.description.contains("triaged keys drop") == true)
        #expect(Self.haveEqualKeys(ring, try Self.open(disk)))
    }

    // MARK: Crashes and errors

    /// What is done to a ring, by name.
    enum Change: CaseIterable {
        case rotate, renew, drop, settle

        func run(_ disk: SimDisk) throws(JournalError) -> KeyRing {
            var random = RandomBytes(replaying: 8)
            switch self {
            case .rotate:
                let ring = try KeyRingTests.open(disk)
                _ = try ring.rotate(to: kek(2), time: time, random: &random)
                return ring
            case .renew:
                let ring = try KeyRingTests.open(disk)
                _ = try ring.renew(.data, time: time, random: &random)
                return ring
            case .drop:
                let ring = try KeyRingTests.open(disk)
                try ring.drop([1], time: time, random: &random)
                return ring
            case .settle:
                let ring = try KeyRingTests.open(disk, 2, previous: 1)
                try ring.settle(time: time, random: &random)
                return ring
            }
        }
    }

    /// A ring with a kept data key, so that one can be dropped.
    private static func prepared() throws -> SimDisk {
        let disk = SimDisk()
        var random = RandomBytes(replaying: 11)
        _ = try make(disk).renew(.data, time: time, random: &random)
        return disk
    }

    @Test(arguments: Change.allCases)
    func powerCutAtEveryCall_leavesTheOldOrTheNewKeys(change: Change) throws {
        let start = try Self.prepared()
        let old = try Self.open(start)
        let whole = start.copy()
        let new = try change.run(whole)
        let calls = whole.calls - start.calls
        #expect(calls > 5)
        var outcomes: Set<Bool> = []
        for call in 1...calls + 1 {
            for seed in 0..<4 as Range<UInt64> {
                let disk = start.copy()
                disk.cutPower(at: start.calls + call)
                _ = try? change.run(disk)
                let after = disk.afterPowerCut(seed: seed)
                let ring = try KeyRing.open(
                    after, Self.directory,
                    KeySource(current: Self.kek(2), previous: Self.kek(1)))
                let isNew = Self.haveEqualKeys(ring, new) && ring.keys == new.keys
                #expect(isNew || Self.haveEqualKeys(ring, old) && ring.keys == old.keys)
                if call == calls + 1 { #expect(isNew, "acknowledged is on disk") }
                outcomes.insert(isNew)
            }
        }
        #expect(outcomes == [true, false])
    }

    @Test(arguments: Change.allCases)
    func errorAtEveryCall_leavesTheRingAsItWas_andItCanBeRepeated(change: Change) throws {
        let start = try Self.prepared()
        let whole = start.copy()
        _ = try change.run(whole)
        for call in 1...whole.calls - start.calls {
            let disk = start.copy()
            disk.failCall(start.calls + call, .noSpace)
            let error = Self.error { () throws(JournalError) in _ = try change.run(disk) }
            guard case .io = error else {
                Issue.record("call \(call): \(String(describing: error))")
                continue
            }
            disk.failCall(nil, .noSpace)
            // What failed may have reached the disk: then it is done.
            switch change {
            case .drop where (try? Self.open(disk))?.dataKey(1) == nil,
                .rotate where (try? Self.open(disk, 2)) != nil:
                continue
            default: break
            }
            let ring = try change.run(disk)
            #expect(ring.keys.filter { $0.state == .inUse }.count == 2)
        }
    }

    @Test func failedReplacement_leavesTheRunningRingAsItWas() throws {
        let disk = SimDisk()
        let ring = try Self.make(disk)
        let before = ring.keys
        var random = RandomBytes(replaying: 12)
        disk.failNext(.sync, on: "keys.tmp", .inputOutput)
        let error = Self.error { () throws(JournalError) in
            _ = try ring.rotate(to: Self.kek(2), time: Self.time, random: &random)
        }
        #expect(error == .io(IOError(.sync, path: "data/keys.tmp", .inputOutput)))
        #expect(ring.keys == before && ring.kek == Self.kek(1).id)
        #expect(try ring.rotate(to: Self.kek(2), time: Self.time, random: &random))
    }
}
