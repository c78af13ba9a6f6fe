// The vault and the journal's word together: after a power cut or an error at every call of the
// disk, what was acknowledged is there, what was erased is not, and nothing is left behind.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct VaultCrashTests {
    private typealias Bench = VaultTests

    /// A vault with two objects, one of which is to be erased.
    private static func prepared() throws -> (SimDisk, kept: StoredObject, doomed: StoredObject) {
        let disk = try Bench.directory()
        let vault = try Bench.started(disk)
        let kept = try Bench.put(Bench.noise(70_000), into: vault)
        return (disk, kept, try Bench.put(Bench.noise(300), into: vault))
    }

    /// What is done to the vault.
    enum Change: CaseIterable { case put, erase, rewrap, start }

    /// What the journal would say after the change.
    private struct Outcome {
        var stored: Set<ObjectName>
        var erased: Set<ObjectName> = []
        var contents: [ObjectName: [UInt8]]
    }

    private static func run(
        _ change: Change, _ disk: SimDisk, _ kept: StoredObject, _ doomed: StoredObject
    ) throws(JournalError) -> Outcome {
        var outcome = Outcome(
            stored: [kept.name, doomed.name],
            contents: [kept.name: Bench.noise(70_000), doomed.name: Bench.noise(300)])
        switch change {
        case .put:
            let vault = try Bench.started(disk, stored: outcome.stored, seed: 21)
            let object = try Bench.put(Bench.noise(66_000, seed: 2), into: vault)
            outcome.stored.insert(object.name)
            outcome.contents[object.name] = Bench.noise(66_000, seed: 2)
        case .erase:
            let vault = try Bench.started(disk, stored: outcome.stored, seed: 22)
            try vault.erase(doomed.name)
            outcome.stored.remove(doomed.name)
            outcome.erased.insert(doomed.name)
        case .rewrap:
            let ring = try KeyRingTests.open(disk)
            var random = RandomBytes(replaying: 23)
            _ = try ring.renew(.data, time: Bench.time, random: &random)
            let vault = try Vault(
                opening: Bench.data, disk: disk, keys: ring, random: RandomBytes(replaying: 24))
            _ = try vault.reconcile(stored: outcome.stored, time: Bench.time, stateTime: Bench.time)
            _ = try vault.rewrap()
        case .start:
            // As if the server had stopped between the event of an erasure and the erasure.
            outcome.stored.remove(doomed.name)
            outcome.erased.insert(doomed.name)
            _ = try Bench.started(
                disk, stored: outcome.stored, erased: outcome.erased, seed: 25)
        }
        return outcome
    }

    /// Opens what a crash left, brings it in line with `outcome`, and checks it.
    private static func check(_ disk: SimDisk, _ outcome: Outcome) throws {
        let vault = try Bench.open(disk, seed: 31)
        let report = try vault.reconcile(
            stored: outcome.stored, erased: outcome.erased, time: Bench.time, stateTime: Bench.time)
        #expect(report.missing.isEmpty && report.damagedSlots == 0 && report.tornSlots == 0)
        #expect(Set(vault.names) == outcome.stored)
        for name in outcome.stored {
            #expect(try Bench.read(name, from: vault) == outcome.contents[name])
        }
        #expect(!disk.fileNames.contains { $0.hasSuffix(".tmp") && $0.contains("vault/") })
        // What was erased has neither file nor slot, on any disk of the future.
        let again = try Bench.open(disk.afterPowerCut())
        #expect(Set(again.names) == outcome.stored)
        for name in outcome.erased {
            let table = try #require(disk.bytes(of: Bench.table))
            let isLeft = stride(from: 4_096, to: table.count, by: 512).contains { start in
                table.span.extracting(start + 8..<start + 16).loadUInt64(at: 0)
                    == name.digest.words.0
            }
            #expect(!isLeft)
        }
    }

    @Test(arguments: Change.allCases)
    func powerCutAtEveryCall(change: Change) throws {
        let (start, kept, doomed) = try Self.prepared()
        let whole = start.copy()
        let done = try Self.run(change, whole, kept, doomed)
        let before = Outcome(
            stored: [kept.name, doomed.name],
            contents: [kept.name: Bench.noise(70_000), doomed.name: Bench.noise(300)])
        let calls = whole.calls - start.calls
        #expect(calls > 5)
        for call in 1...calls + 1 {
            for seed in 0..<3 as Range<UInt64> {
                let disk = start.copy()
                disk.cutPower(at: start.calls + call)
                let outcome = try? Self.run(change, disk, kept, doomed)
                #expect((outcome == nil) == (call <= calls))
                let after = disk.afterPowerCut(seed: seed)
                switch change {
                // Not acknowledged: the journal does not refer to it.
                case .put, .rewrap: try Self.check(after, outcome == nil ? before : done)
                // The event was durable before: the journal says erased in any case.
                case .erase, .start: try Self.check(after, done)
                }
            }
        }
    }

    @Test(arguments: Change.allCases, [Errno.inputOutput, .noSpace])
    func errorAtEveryCall(change: Change, errno: Errno) throws {
        let (start, kept, doomed) = try Self.prepared()
        let whole = start.copy()
        let done = try Self.run(change, whole, kept, doomed)
        let before = Outcome(
            stored: [kept.name, doomed.name],
            contents: [kept.name: Bench.noise(70_000), doomed.name: Bench.noise(300)])
        for call in 1...whole.calls - start.calls {
            let disk = start.copy()
            disk.failCall(start.calls + call, errno)
            let outcome = try? Self.run(change, disk, kept, doomed)
            disk.failCall(nil, errno)
            switch change {
            case .put, .rewrap: try Self.check(disk, outcome == nil ? before : done)
            case .erase, .start: try Self.check(disk, done)
            }
        }
    }

    @Test func fullDisk_refusesTheObject_andWorksAgainWithRoom() throws {
        let (disk, kept, _) = try Self.prepared()
        let vault = try Bench.started(disk, stored: [kept.name])
        let used = disk.fileNames.reduce(0) { $0 + (disk.bytes(of: $1)?.count ?? 0) }
        disk.limit(bytes: used + 100_000)
        let error = Bench.error { () throws(JournalError) in
            _ = try Bench.put(Bench.noise(200_000), into: vault)
        }
        guard case .noSpace = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(!disk.fileNames.contains { $0.hasSuffix(".tmp") })
        let small = try Bench.put([1], into: vault)
        disk.limit(bytes: nil)
        let large = try Bench.put(Bench.noise(200_000), into: vault)
        #expect(try Bench.read(small.name, from: vault) == [1])
        #expect(try Bench.read(large.name, from: vault).count == 200_000)
    }

    /// Nobody knows what of the table is on disk: nothing is put or erased any more, reads go on.
    @Test func failedSyncOfTheTable_isFinal() throws {
        let (disk, kept, doomed) = try Self.prepared()
        let vault = try Bench.started(disk, stored: [kept.name, doomed.name])
        disk.failNext(.sync, on: "vault/keys", .inputOutput)
        let expected = JournalError.poisoned(
            IOError(.sync, path: "data/vault/keys", .inputOutput))
        for _ in 0..<2 {
            let put = Bench.error { () throws(JournalError) in
                _ = try Bench.put([1], into: vault)
            }
            #expect(put == expected)
            let erase = Bench.error { () throws(JournalError) in try vault.erase(doomed.name) }
            #expect(erase == expected)
        }
        #expect(try Bench.read(kept.name, from: vault).count == 70_000)
    }

    /// Otherwise a data key could be dropped that a slot on disk still needs.
    @Test(arguments: 0..<12 as Range<UInt64>, [true, false])
    func keysThatOnlyACacheHolds_areWrittenAgainAtTheNextStart_andBeforeAKeyIsDropped(
        seed: UInt64, starts: Bool
    ) throws {
        let (disk, object, doomed) = try Self.prepared()
        var random = RandomBytes(replaying: 23)
        let number = try KeyRingTests.open(disk).renew(.data, time: Bench.time, random: &random)
        let whole = disk.copy()
        #expect(try Bench.open(whole).rewrap().count == 2)
        // The last call is the sync.
        disk.failCall(whole.calls, .inputOutput)
        #expect(throws: JournalError.self) { _ = try Bench.open(disk).rewrap() }
        let next = disk.afterKill()
        let vault = try Bench.open(next)
        if starts {
            _ = try vault.reconcile(
                stored: [object.name, doomed.name], time: Bench.time, stateTime: Bench.time)
        } else {
            try vault.settle(time: Bench.time)
        }
        let seen = vault.keyNumbers
        let kept = try Bench.open(next.afterPowerCut(seed: seed)).keyNumbers
        #expect(seen == [number: 2] && kept == seen)
    }

    @Test func discardedObject_leavesNothing() throws {
        let (disk, kept, _) = try Self.prepared()
        let vault = try Bench.started(disk, stored: [kept.name])
        let names = disk.fileNames
        var writer = try vault.beginPut(size: 100_000, time: Bench.time)
        let part = Bench.noise(70_000)
        try writer.append(part.span)
        vault.discard(writer)
        #expect(disk.fileNames == names)
    }
}
