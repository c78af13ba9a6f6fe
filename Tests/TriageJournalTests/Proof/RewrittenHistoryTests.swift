// Somebody who has the directory, its keys and our code writes history anew: a record is changed,
// dropped, moved, added, or the last ones are cut off. Everything in the directory then agrees, but
// for the heads that were signed before; they name the record.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct RewrittenHistoryTests {
    enum Change: String, CaseIterable, Sendable {
        case changed, sealedChanged, dropped, reordered, added, truncated
    }

    private static let count = 9
    /// Where it was done.
    private static let place = 4

    private static func parts(_ sequence: Int) -> RecordParts {
        Workbench.parts(UInt64(sequence), count: 400 * sequence)
    }

    /// Records as the true history has them, and as the other one says.
    private static func history(_ change: Change?) -> [RecordParts] {
        var all = (1...count).map(parts)
        let index = place - 1
        switch change {
        case .changed: all[index].body[0] ^= 2
        case .sealedChanged:
            var other = RecordParts()
            other.body = all[index].body
            for field in all[index].sealed { _ = other.seal(Array(field.dropLast() + [3])) }
            all[index] = other
        case .dropped: all.remove(at: index)
        case .reordered: all.swapAt(index, index + 1)
        case .added: all.insert(parts(1), at: index)
        case .truncated: all.removeLast(count - place + 1)
        case nil: break
        }
        return all
    }

    /// Goes on from `disk` with the records behind those that it has; a head after each if asked.
    private static func write(
        _ history: [RecordParts], on disk: SimDisk, signs: Bool, segmentBytes: Int
    ) throws -> Workbench {
        var bench = Workbench(segmentBytes: segmentBytes, encrypted: true)
        bench.disk = disk
        let (_, journal) = try bench.start()
        for record in history[(Int(journal.nextSequence) - 1)...] {
            _ = try journal.append(record, time: WallTime(milliseconds: 1))
            try journal.commit()
            if signs { journal.signHead(time: WallTime(milliseconds: 2)) }
        }
        // Leaves and mark are those of what was written, whichever history it is.
        journal.writeMark(time: WallTime(milliseconds: 3))
        return bench
    }

    @Test(arguments: Change.allCases, [8192, 1 << 16])
    func aSignedHeadNamesTheRecord(change: Change, segmentBytes: Int) throws {
        let begun = try Self.write(
            Array(Self.history(nil)[..<(Self.place - 1)]), on: SimDisk(seed: 3), signs: true,
            segmentBytes: segmentBytes)
        let common = begun.disk.copy()
        let real = try Self.write(
            Self.history(nil), on: begun.disk, signs: true, segmentBytes: segmentBytes)
        #expect(try real.inspection().verify().problems == [])
        let heads = try #require(real.disk.bytes(of: SignedHeadTests.heads))

        let forged = try Self.write(
            Self.history(change), on: common, signs: false, segmentBytes: segmentBytes)
        forged.disk.erase(SignedHeadTests.heads)
        #expect(try forged.inspection().verify().problems == [], "without heads nothing is wrong")
        forged.disk.replace(SignedHeadTests.heads, with: heads)
        let problems = try forged.inspection().verify().problems.map { "\($0)" }
        let last = Self.place - 1
        let expected =
            change == .truncated
            ? "ends with record \(last), but heads says that it had record \(Self.place)"
            : "record \(Self.place) is not the one that was committed"
        #expect(problems.contains { $0.contains(expected) }, "\(problems)")
        // The server does not go on with it either.
        #expect(throws: JournalError.self) { try forged.start() }
        // And no proof can be made from it that anybody would believe.
        #expect(throws: ProverError.self) {
            var prover = try Prover(forged.inspection())
            let head = try prover.head(of: UInt64(Self.count))
            _ = try prover.prove(2, in: head)
        }
    }

    @Test func withFewHeadsTheRecordsBetweenThemAreNamed() throws {
        let disk = SimDisk(seed: 4)
        let begun = try Self.write(
            Array(Self.history(nil)[..<2]), on: disk, signs: true, segmentBytes: 1 << 16)
        let common = begun.disk.copy()
        let real = try Self.write(
            Self.history(nil), on: begun.disk, signs: false, segmentBytes: 1 << 16)
        let (_, journal) = try real.start()
        journal.signHead(time: .epoch)
        let heads = try #require(real.disk.bytes(of: SignedHeadTests.heads))
        let forged = try Self.write(
            Self.history(.changed), on: common, signs: false, segmentBytes: 1 << 16)
        forged.disk.replace(SignedHeadTests.heads, with: heads)
        let problems = try forged.inspection().verify().problems.map { "\($0)" }
        #expect(problems.count == 1)
        #expect(problems[0].contains("one of records 3 to 9 is not the one"), "\(problems)")
    }
}
