// An encrypted directory: what lies in it tells nothing, nothing in it can be moved or exchanged,
// and what was written so is never taken for torn.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct EncryptionTests {
    private static let word = Array("a text that nobody outside may read".utf8)

    /// Records with a word in body and sealed field, a snapshot with it, several segments.
    private func bench() throws -> Workbench {
        var bench = Workbench(encrypted: true)
        let (data, journal) = try bench.start()
        for index in 0..<6 {
            var parts = RecordParts()
            parts.body = Self.word + [UInt8](repeating: UInt8(index), count: 1500)
            _ = parts.seal(Self.word)
            let sequence = try journal.append(parts, time: .epoch)
            bench.durable.append(Written(sequence: sequence, milliseconds: 0, parts))
            try journal.commit()
        }
        let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
        for _ in 0..<20 { try snapshot.append(section: 1, (Self.word + Self.word).span) }
        _ = try snapshot.finish()
        journal.writeMark(time: .epoch)
        return bench
    }

    @Test func nothingOfARecordStandsInAnyFile() throws {
        let bench = try bench()
        for name in bench.disk.fileNames {
            let bytes = try #require(bench.disk.bytes(of: name))
            for start in bytes.indices.dropLast(12) where bytes[start] == Self.word[0] {
                #expect(!bytes[start...].starts(with: Self.word.prefix(12)), "\(name) at \(start)")
            }
        }
        var state = Recorded()
        _ = try bench.inspection().readJournal(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test func theSameRecordsGiveTheSameTreeAsInTheClear() throws {
        // The tree is over what was said, not over how it lies on the disk: with the same salts,
        // the same root. Encrypted, random bytes go into nonces too, so only records without sealed
        // fields have no salts to differ in.
        var roots: [Digest] = []
        for encrypted in [false, true] {
            let (_, journal) = try Workbench(encrypted: encrypted).start()
            for index in 0..<5 {
                _ = try journal.append([UInt8](repeating: 7, count: index).span, time: .epoch)
                try journal.commit()
            }
            roots.append(journal.durableHead.root)
        }
        #expect(roots[0] == roots[1])
    }

    @Test func noNonceAndNoSaltComesTwice() throws {
        let bench = try bench()
        var nonces = Set<[UInt8]>()
        var salts = Set<[UInt8]>()
        var count = 0
        for name in bench.disk.fileNames where name.hasSuffix(".journal") || name.hasSuffix("shot")
        {
            let bytes = try #require(bench.disk.bytes(of: name))
            #expect(bytes[56] == 1 && bytes[60] == 1)
            salts.insert(Array(bytes[96..<128]))
            var offset = 4096
            while offset < bytes.count, bytes.span.loadUInt32(at: offset + 4) > 0 {
                let isSegment = name.hasSuffix(".journal")
                let length = Int(bytes.span.loadUInt32(at: offset + 4))
                let place = offset + (isSegment ? 20 : 24)
                nonces.insert(Array(bytes[place..<place + 12]))
                count += 1
                offset += isSegment ? 88 + length : length
            }
        }
        #expect(count >= 8 && nonces.count == count)
        #expect(salts.count == bench.disk.fileNames.count { $0.hasSuffix(".journal") } + 1)
    }

    @Test func batchesThatChangePlacesAreRefused() throws {
        let bench = try Workbench.with([[300], [300], [300]], encrypted: true)
        let cluster = try bench.inspection().cluster
        let ends = [4096] + Workbench.ends([[300], [300], [300]])
        #expect(ends[2] - ends[1] != ends[1] - ends[0], "one field, then two")
        // The first batch once more in place of the fourth: sequence and checksums made right.
        let outcome = try bench.recovering(segment1) { bytes in
            let length = ends[1] - ends[0]
            bytes.replaceSubrange(ends[3]..<ends[3] + length, with: bytes[ends[0]..<ends[1]])
            bytes[ends[3] + 8] = 4
            sealBatch(&bytes, at: ends[3], cluster: cluster)
        }
        guard case .failure(let error) = outcome else {
            Issue.record("a repeated batch passed")
            return
        }
        #expect(error.place == Place(file: segment1, offset: ends[3]))
    }

    /// What somebody wrote who can compute a checksum, but has not the key.
    @Test(arguments: [20, 32, 40, -56]) func aForgedLastBatchIsNeverTorn(place: Int) throws {
        let bench = try Workbench.with([[300], [300]], encrypted: true)
        let cluster = try bench.inspection().cluster
        let ends = Workbench.ends([[300], [300]])
        let outcome = try bench.recovering(segment1) { bytes in
            let offset = place < 0 ? ends[1] + place : ends[0] + place
            bytes[offset] ^= 1
            sealBatch(&bytes, at: ends[0], cluster: cluster)
        }
        guard case .failure(let error) = outcome else {
            Issue.record("a forged batch was taken for an unfinished one")
            return
        }
        #expect(error.place == Place(file: segment1, offset: ends[0]))
    }

    /// The same without encryption: the root tells.
    @Test(arguments: [8, 16, 32, 36, 40, 48, 60, -40, -56])
    func aForgedLastBatchInTheClearIsNeverTorn(place: Int) throws {
        let bench = try Workbench.with([[300], [300]])
        let cluster = try bench.inspection().cluster
        let ends = Workbench.ends([[300], [300]])
        let outcome = try bench.recovering(segment1) { bytes in
            let offset = place < 0 ? ends[1] + place : ends[0] + place
            bytes[offset] ^= 1
            sealBatch(&bytes, at: ends[0], cluster: cluster)
        }
        guard case .failure(let error) = outcome else {
            Issue.record("a forged batch was taken for an unfinished one")
            return
        }
        #expect(error.place?.file == segment1)
        #expect(try #require(error.place?.offset) >= ends[0])
    }

    @Test func aFileOfAnotherFormIsRefused() throws {
        let encrypted = try Workbench.with([[300]], encrypted: true)
        // A key that is not there, and none at all.
        for (offset, value, place) in [(60, UInt8(9), 60), (56, 0, 56), (56, 7, 56)] {
            let outcome = try encrypted.recovering(segment1) { bytes in
                bytes[offset] = value
                if value == 0 { for index in [60] + Array(96..<128) { bytes[index] = 0 } }
                sealHeader(&bytes, at: 0)
            }
            guard case .failure(let error) = outcome else {
                Issue.record("cipher \(value) passed")
                continue
            }
            #expect(error.place == Place(file: segment1, offset: place))
        }
        // Keys were removed: what is encrypted is not read as anything else.
        var bare = encrypted
        bare.disk = encrypted.disk.copy()
        bare.disk.erase(Workbench.file("keys"))
        bare.keys = nil
        var state = Recorded()
        #expect {
            _ = try bare.open(into: &state)
        } throws: { ($0 as? JournalError)?.place == Place(file: segment1, offset: 60) }
        // With the key at hand it is not called a directory that never had one.
        bare.keys = encrypted.keys
        #expect {
            _ = try bare.open(into: &state)
        } throws: { ($0 as? JournalError)?.place == Place(file: "keys", offset: 0) }
    }

    @Test func aKeyForADirectoryWithoutEncryptionIsRefused_andTheOtherWayRound() throws {
        var clear = try Workbench.with([[300]])
        clear.disk = clear.disk.copy()
        clear.keys = TestKeys.source()
        var state = Recorded()
        #expect(throws: JournalError.keyUnexpected) { _ = try clear.open(into: &state) }
        var encrypted = try Workbench.with([[300]], encrypted: true)
        encrypted.disk = encrypted.disk.copy()
        let id = TestKeys.source().current.id
        encrypted.keys = nil
        #expect(throws: JournalError.keyMissing(expected: id)) {
            _ = try encrypted.open(into: &state)
        }
        encrypted.keys = TestKeys.source(byte: 1)
        let other = TestKeys.source(byte: 1).current.id
        #expect(throws: JournalError.wrongKey(expected: id, found: other)) {
            _ = try encrypted.open(into: &state)
        }
        encrypted.keys = TestKeys.source(byte: 1)
        encrypted.keys?.previous = TestKeys.source().current
        _ = try encrypted.start()
        encrypted.disk = encrypted.disk.afterPowerCut()
        encrypted.keys?.previous = nil
        let (_, report) = try encrypted.open(into: &state)
        #expect(report.head.sequence == 1)
    }

    @Test func aNewDataKeyIsUsedFromTheNextFileOn_andTheOldOneStillReads() throws {
        var bench = Workbench(encrypted: true)
        let (data, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        var random = RandomBytes(replaying: 3)
        let ring = try #require(data.keys)
        let number = try ring.renew(.data, time: .epoch, random: &random)
        try bench.write([[3000], [3000]], to: journal)
        var numbers: [UInt32] = []
        for name in bench.disk.fileNames where name.hasSuffix(".journal") {
            let bytes = try #require(bench.disk.bytes(of: name))
            numbers.append(bytes.span.loadUInt32(at: 60))
        }
        #expect(numbers == [1, number, number])
        bench.disk = bench.disk.afterPowerCut()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test func keysThatAServerMakesWhileItsDirectoryIsRead_areNoDamage() throws {
        var bench = Workbench(encrypted: true)
        let (data, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        let inspection = try bench.inspection()
        var random = RandomBytes(replaying: 3)
        let ring = try #require(data.keys)
        _ = try ring.renew(.data, time: .epoch, random: &random)
        _ = try ring.renew(.signing, time: .epoch, random: &random)
        try bench.write([[3000], [3000]], to: journal)
        journal.close(time: .epoch)
        let statistics = try inspection.verify()
        #expect(statistics.problems.isEmpty)
        #expect(statistics.statistics.segments.count == 3)
        // Nobody made this one.
        #expect(ring.dataKey(9) == nil && ring.signingKey(9) == nil)
    }
}
