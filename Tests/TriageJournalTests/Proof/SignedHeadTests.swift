// The heads that a journal signs: when, where, with which key; a file of them that was cut at every
// length, damaged, forged; a power cut at every call between a record and its head.

import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

/// What became of a signing.
final class Signed: Sendable {
    private let results = Monitor<[Result<SignedHeadReceipt, JournalError>]>([])

    var report: @Sendable (Result<SignedHeadReceipt, JournalError>) -> Void {
        { [results] result in results.change { $0.append(result) } }
    }

    var all: [Result<SignedHeadReceipt, JournalError>] { results.change { $0 } }

    func last() throws -> SignedHeadReceipt { try #require(all.last).get() }
}

@Suite struct SignedHeadTests {
    static let heads = Workbench.file("heads")

    /// An encrypted directory with a signed head after each record; not closed.
    static func bench(
        _ sizes: [Int] = [100, 900, 3000, 3000, 50, 60]
    ) throws -> (bench: Workbench, journal: JournalWriter, signed: Signed) {
        var bench = Workbench(encrypted: true)
        let (_, journal) = try bench.start()
        let signed = Signed()
        for size in sizes {
            try bench.write([[size]], to: journal)
            journal.signHead(time: WallTime(milliseconds: 7_000), report: signed.report)
        }
        return (bench, journal, signed)
    }

    @Test func aHeadIsWhatTheJournalHolds_andVerifies() throws {
        let (bench, journal, signed) = try Self.bench()
        let receipt = try signed.last()
        #expect(receipt.signed.head == journal.durableHead)
        #expect(receipt.key.verdict(on: receipt.note) == .good(seconds: nil))
        let inspection = try bench.inspection()
        let known = try inspection.signedHeads()
        #expect(known.last?.note == receipt.note)
        #expect(Set(known.map(\.signed.head.sequence)) == Set(1...6))
        let result = try inspection.verify()
        #expect(result.problems == [] && result.signedHeads == known.count)
        #expect(inspection.signingKeys().map(\.key) == [receipt.key])
    }

    @Test func aJournalThatDidNotGrowKeepsItsHead() throws {
        let (bench, journal, signed) = try Self.bench([10])
        let before = bench.disk.bytes(of: Self.heads)
        let first = try signed.last()
        journal.signHead(time: WallTime(milliseconds: 99_000), report: signed.report)
        #expect(try signed.last() == first)
        #expect(bench.disk.bytes(of: Self.heads) == before)
        #expect(journal.signing?().signed == 1)
    }

    @Test func eachNewSegmentAndACleanEndAreSigned() throws {
        var bench = Workbench(encrypted: true)
        let (_, journal) = try bench.start()
        try bench.write([[3000], [3000], [10]], to: journal)
        #expect(try bench.inspection().signedHeads().map(\.signed.head.sequence) == [2])
        journal.close(time: WallTime(milliseconds: 20))
        let heads = try bench.inspection().signedHeads()
        #expect(heads.map(\.signed.head.sequence) == [2, 3])
        // Those of the records that were appended last by then, of which one is later than the end.
        #expect(heads.map(\.signed.time.milliseconds) == [20, 30])
    }

    /// A start after a kill, and an end without a record in between: the head is of now.
    @Test func anEndWithoutARecordIsDatedToo() throws {
        var bench = Workbench(encrypted: true)
        let (_, journal) = try bench.start()
        try bench.write([[10]], to: journal)
        bench.disk = bench.disk.afterKill()
        let (_, next) = try bench.start()
        let now = WallTime(milliseconds: 1_900_000_000_000)
        next.close(time: now)
        let heads = try bench.inspection().signedHeads()
        #expect(heads.map(\.signed.time) == [now] && heads.map(\.signed.head.sequence) == [1])
    }

    @Test func withoutEncryptionNothingIsSigned() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[10]], to: journal)
        let signed = Signed()
        journal.signHead(time: .epoch, report: signed.report)
        #expect(signed.all.isEmpty && journal.signing == nil)
        journal.close(time: .epoch)
        #expect(bench.disk.bytes(of: Self.heads) == nil)
    }

    @Test func aHeadThatCannotBeWrittenIsReported_andTheNextOneTakesItsPlace() throws {
        var (bench, journal, signed) = try Self.bench([10])
        try bench.write([[20]], to: journal)
        bench.disk.failNext(.sync, on: "heads", .inputOutput)
        journal.signHead(time: .epoch, report: signed.report)
        #expect(throws: JournalError.self) { try signed.last() }
        #expect(journal.signing?().failures == 1 && journal.signing?().trouble != nil)
        try bench.write([[30]], to: journal)
        journal.signHead(time: .epoch, report: signed.report)
        #expect(try signed.last().signed.head == journal.durableHead)
        #expect(journal.signing?().trouble == nil)
        #expect(try bench.inspection().signedHeads().map(\.signed.head.sequence) == [1, 3])
        #expect(try bench.inspection().verify().problems == [])
    }

    /// A failed sync leaves a head in a cache; it must be on disk before the next one is.
    @Test(arguments: 0..<12 as Range<UInt64>)
    func aHeadThatOnlyACacheHolds_isWrittenAgainAtTheNextStart(seed: UInt64) throws {
        var (bench, journal, signed) = try Self.bench([10])
        try bench.write([[20]], to: journal)
        bench.disk.failNext(.sync, on: "heads", .inputOutput)
        journal.signHead(time: .epoch, report: signed.report)
        #expect(throws: JournalError.self) { try signed.last() }
        bench.disk = bench.disk.afterKill()
        let (_, next) = try bench.start()
        try bench.write([[30]], to: next)
        next.signHead(time: .epoch, report: signed.report)
        _ = try signed.last()
        bench.disk = bench.disk.afterPowerCut(seed: seed)
        #expect(try bench.inspection().verify().problems == [])
        #expect(try bench.inspection().signedHeads().map(\.signed.head.sequence) == [1, 2, 3])
    }

    @Test func everyTruncationOfTheFileIsAShorterOne_orNamed() throws {
        let (bench, _, _) = try Self.bench()
        let whole = try #require(bench.disk.bytes(of: Self.heads))
        let count = (whole.count - 4096) / 512
        for length in stride(from: 0, through: whole.count, by: 61) {
            var copy = bench
            copy.disk = bench.disk.copy()
            copy.disk.replace(Self.heads, with: Array(whole[..<length]))
            guard length >= 4096 else {
                let problems = try copy.inspection().verify().problems
                #expect("\(problems)".contains("heads"), "\(length) bytes")
                continue
            }
            let kept = (length - 4096) / 512
            #expect(try copy.inspection().signedHeads().count == kept)
            // The server goes on behind the last whole one.
            let (_, journal) = try copy.start()
            try copy.write([[10]], to: journal)
            let signed = Signed()
            journal.signHead(time: .epoch, report: signed.report)
            _ = try signed.last()
            let heads = try copy.inspection().signedHeads()
            #expect(heads.count == kept + 1 && kept <= count)
            #expect(try copy.inspection().verify().problems == [])
        }
    }

    @Test func everyChangedByteOfAHeadIsNamed() throws {
        let (bench, _, _) = try Self.bench([10, 20])
        let whole = try #require(bench.disk.bytes(of: Self.heads))
        // The first of two: nobody was interrupted there.
        for offset in 4096..<4608 {
            var copy = bench
            copy.disk = bench.disk.copy()
            var bytes = whole
            bytes[offset] ^= 1
            copy.disk.replace(Self.heads, with: bytes)
            let problems = try copy.inspection().verify().problems
            #expect(problems.count == 1 && "\(problems)".contains("heads"), "byte \(offset)")
            #expect(throws: JournalError.self) { try copy.start() }
        }
    }

    /// Writes a slot's checksum anew, as whoever forges a head would (FORMAT.md §10).
    private func sealSlot(_ bytes: inout [UInt8], _ slot: Int, _ cluster: ClusterID) {
        let start = 4096 + 512 * slot
        let id = (0..<16).map { Int($0) }.map { bytes[16 + $0] }
        let covered = id + bytes[start + 4..<start + 512]
        let crc = crc32c(covered.span)
        for index in 0..<4 {
            bytes[start + index] = UInt8(truncatingIfNeeded: crc >> (8 * UInt32(index)))
        }
    }

    @Test func aForgedHeadIsNamed() throws {
        let (bench, _, _) = try Self.bench([10, 20, 30])
        let cluster = try bench.inspection().cluster
        let whole = try #require(bench.disk.bytes(of: Self.heads))
        // Key, size, time, root, signature.
        for (offset, word) in [(4, "key"), (16, "signed"), (24, "signed"), (56, "signed")] {
            var copy = bench
            copy.disk = bench.disk.copy()
            var bytes = whole
            bytes[4096 + 512 + offset] ^= 1
            sealSlot(&bytes, 1, cluster)
            copy.disk.replace(Self.heads, with: bytes)
            let problems = try copy.inspection().verify().problems
            #expect(problems.count == 1)
            #expect(
                "\(problems)".contains("the head of 2 records") && "\(problems)".contains(word),
                "\(problems)")
            #expect(throws: JournalError.self) { try copy.start() }
        }
    }

    @Test func anotherSigningKeyGoesOn_andTheOldOneStillVerifies() throws {
        var (bench, journal, signed) = try Self.bench([10])
        journal.close(time: .epoch)
        var random = RandomBytes()
        let first = try signed.last().key
        do {
            var state = Recorded()
            let (data, _) = try bench.open(into: &state)
            _ = try #require(data.keys).renew(.signing, time: .epoch, random: &random)
        }
        let (_, again) = try bench.start()
        // The same head, under the new key: both lead to the same journal.
        again.signHead(time: WallTime(milliseconds: 8_000), report: signed.report)
        #expect(try signed.last().key != first)
        try bench.write([[20]], to: again)
        again.signHead(time: WallTime(milliseconds: 9_000), report: signed.report)
        let inspection = try bench.inspection()
        let heads = try inspection.signedHeads()
        #expect(heads.map(\.signed.head.sequence) == [1, 1, 2])
        #expect(heads.map { $0.key == first } == [true, false, false])
        #expect(try inspection.verify().problems == [])
        // A proof from a head of the old key to one of the new needs both.
        var prover = try Prover(inspection)
        let proof = try prover.prove(from: heads[0], to: heads[2])
        _ = try proof.verify(inspection.signingKeys().map(\.key))
        #expect(throws: ProofError.self) { try proof.verify([first]) }
    }

    @Test func thePowerGoesAtEveryCallBetweenARecordAndItsHead() throws {
        var number = 1
        while true {
            var bench = Workbench(seed: UInt64(number), encrypted: true)
            let (_, journal) = try bench.start()
            try bench.write([[100]], to: journal)
            let acknowledged = bench.durable
            let signed = Signed()
            bench.disk.cutPower(at: bench.disk.calls + number)
            var isDone = false
            do {
                try bench.write([[200]], to: journal)
                journal.signHead(time: .epoch, report: signed.report)
                isDone = (try? signed.last()) != nil
            } catch let error as JournalError {
                guard case .poisoned = error else { throw error }
            }
            bench.disk = bench.disk.afterPowerCut()
            var state = Recorded()
            let (_, report) = try bench.open(into: &state)
            #expect(state.records.starts(with: acknowledged))
            #expect(try bench.inspection().verify().problems == [])
            let heads = try bench.inspection().signedHeads()
            #expect(heads.allSatisfy { $0.signed.head.sequence <= report.head.sequence })
            if isDone {
                #expect(heads.map(\.signed) == [try signed.last().signed])
                #expect(number > 5, "the power was cut at none of the calls")
                return
            }
            number += 1
        }
    }

    @Test(arguments: [1, 3]) func readingAheadFindsTheSame(threads: Int) throws {
        let (bench, journal, _) = try Self.bench()
        journal.close(time: .epoch)
        for name in [nil] + bench.disk.fileNames.filter({ $0.hasSuffix(".journal") }) {
            let copy = bench.disk.copy()
            if let name {
                var bytes = try #require(copy.bytes(of: name))
                bytes[4200] ^= 1
                copy.replace(name, with: bytes)
            }
            let verifications = try [0, threads].map { threads in
                try Inspection(
                    path: Workbench.path, disk: copy, keys: bench.keys, threads: threads
                ).verify()
            }
            #expect(verifications[0].problems == verifications[1].problems)
            #expect(verifications[0].statistics == verifications[1].statistics)
            #expect(verifications[0].problems.isEmpty == (name == nil))
        }
    }

    @Test func headsWithoutKeysAreNamed() throws {
        let (bench, _, _) = try Self.bench([10])
        bench.disk.erase(Workbench.file("keys"))
        var copy = bench
        copy.keys = nil
        #expect(throws: JournalError.self) { try copy.start() }
        #expect("\(try copy.inspection().verify().problems)".contains("heads were signed"))
    }
}
