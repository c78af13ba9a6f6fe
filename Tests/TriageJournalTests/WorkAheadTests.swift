// Work ahead of its turn: order, bounds, ends. And recovery with threads, which must come to what
// recovery without them comes to, on good and on damaged directories.

import Synchronization
import TestSupport
import Testing
import TriageBase
import TriageIO

@testable import TriageJournal

@Suite struct WorkAheadTests {
    /// `@unchecked Sendable`: owned by the thread that works, then by the test.
    private final class Piece: @unchecked Sendable {
        var index = 0
        var square = 0
    }

    /// What the beginning of pieces saw.
    private struct Seen {
        var begun = 0
        var taken = 0
        var isBeginning = false
        var farthest = 0
    }

    @Test(arguments: [0, 1, 2, 5])
    func takesEveryPieceInOrderAndNoneBeforeThereIsRoom(threads: Int) throws {
        let count = 2_000
        let ahead = 7
        let seen = Monitor(Seen())
        let work = try WorkAhead<Piece>(
            threads: HelperThreads(count: threads), ahead: ahead, name: "test",
            next: { index, spare in
                let isAlone = seen.change { state in
                    defer { state.isBeginning = true }
                    return !state.isBeginning
                }
                precondition(isAlone, "two pieces are begun at once")
                defer { seen.change { $0.isBeginning = false } }
                guard index < count else { return nil }
                seen.change { state in
                    precondition(state.begun == index)
                    state.begun += 1
                    state.farthest = max(state.farthest, state.begun - state.taken)
                }
                let piece = spare ?? Piece()
                piece.index = index
                return piece
            }, makeWork: { { $0.square = $0.index * $0.index } })
        for index in 0..<count {
            // Counted first, so that the bound is never below what is allowed.
            seen.change { $0.taken += 1 }
            let piece = try #require(work.take())
            #expect(piece.index == index && piece.square == index * index)
            work.giveBack(piece)
        }
        #expect(work.take() == nil)
        #expect(seen.change { $0.farthest } <= ahead + 1)
    }

    @Test(arguments: [0, 1, 3])
    func everyPieceWasRunOnceWhenAllAreSaidToBe(threads: Int) {
        let runs = Monitor([Int](repeating: 0, count: 100))
        HelperThreads(count: threads).run(
            (0..<100).map { piece in { runs.change { $0[piece] += 1 } } })
        #expect(runs.change { $0 } == [Int](repeating: 1, count: 100))
        HelperThreads(count: threads).run([])
    }

    @Test func endsWhenItIsDroppedWithWorkLeft() throws {
        let begun = Atomic<Int>(0)
        do {
            let work = try WorkAhead<Piece>(
                threads: HelperThreads(count: 2), ahead: 4, name: "test",
                next: { _, _ in
                    begun.add(1, ordering: .relaxed)
                    return Piece()
                }, makeWork: { { _ in } })
            _ = work.take()
        }
        // The threads have ended: this returned, and without end they would have begun more.
        #expect(begun.load(ordering: .relaxed) <= 5)
    }
}

@Suite struct RecoveryAheadTests {
    /// Three segments at least; two snapshots, of many blocks each.
    private func bench(encrypted: Bool) throws -> Workbench {
        var bench = Workbench(encrypted: encrypted)
        let (data, journal) = try bench.start()
        for round in 0..<3 {
            try bench.write(Array(repeating: [400, 700], count: 3), to: journal)
            guard round < 2 else { break }
            let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
            for number in 0..<40 as Range<UInt64> {
                try snapshot.append(
                    section: number < 20 ? 1 : 2, Workbench.payload(number, count: 900).span)
            }
            _ = try snapshot.finish()
        }
        journal.close(time: .epoch)
        return bench
    }

    /// What recovery comes to, as text.
    private func outcome(_ bench: Workbench, threads: Int, pieceBytes: Int = 1 << 20) -> String {
        var bench = bench
        bench.options.recoveryPieceBytes = pieceBytes
        bench.options.recoveryThreads = threads
        bench.disk = bench.disk.copy()
        var state = Recorded()
        do throws(JournalError) {
            let report = try bench.open(into: &state).1
            return "\(report.head) \(report.rejectedSnapshots) \(report.recordsReplayed) "
                + "\(String(describing: report.tornTail)) \(String(describing: state.loaded)) "
                + "\(state.restarts) \(state.sections) \(state.snapshot) \(state.records)"
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: [false, true])
    func threadsComeToTheSame(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        let alone = outcome(bench, threads: 0)
        for threads in [1, 2, 4] { #expect(outcome(bench, threads: threads) == alone) }
        // Without the snapshots everything is replayed.
        for name in bench.disk.fileNames where name.hasSuffix(".snapshot") {
            try bench.disk.remove(name)
        }
        let replayed = outcome(bench, threads: 0)
        #expect(replayed != alone)
        for threads in [0, 1, 2, 4] {
            // Pieces that are whole segments, of some batches, and smaller than any batch.
            for bytes in [1 << 20, 4_096, 600] {
                #expect(outcome(bench, threads: threads, pieceBytes: bytes) == replayed)
            }
        }
    }

    /// What checking everything comes to, as text.
    private func verified(_ bench: Workbench, threads: Int, pieceBytes: Int) throws -> String {
        let result = try Inspection(
            path: Workbench.path, disk: bench.disk, keys: bench.keys, threads: threads,
            pieceBytes: pieceBytes
        ).verify()
        return "\(result.problems) \(result.statistics) \(result.snapshots)"
    }

    /// Behind what is damaged, too.
    @Test(arguments: [false, true])
    func threadsNameTheSameProblems(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        let good = try verified(bench, threads: 0, pieceBytes: 1 << 20)
        let segments = bench.disk.fileNames.filter { $0.hasSuffix(".journal") }
        let last = try #require(segments.last)
        var differing = 0
        for name in segments {
            let bytes = try #require(bench.disk.bytes(of: name))
            for place in stride(from: 7, to: bytes.count, by: 97) {
                var damaged = bench
                damaged.disk = bench.disk.copy()
                var changed = bytes
                changed[place] ^= 0x41
                damaged.disk.replace(name, with: changed)
                // A second fault, in the segment behind it.
                if name != last, place % 2 == 0 { damaged.disk.replace(last, with: [1]) }
                let alone = try verified(damaged, threads: 0, pieceBytes: 1 << 20)
                if alone != good { differing += 1 }
                for bytes in [600, 1_500] {
                    #expect(
                        try verified(damaged, threads: 3, pieceBytes: bytes) == alone,
                        "\(name) \(place)")
                }
            }
        }
        #expect(differing > 100)
    }

    @Test(arguments: [false, true])
    func threadsFindTheSameDamage(encrypted: Bool) throws {
        let bench = try bench(encrypted: encrypted)
        let good = outcome(bench, threads: 0)
        var differing = 0
        for name in bench.disk.fileNames
        where name.hasSuffix(".snapshot") || name.hasSuffix(".journal") {
            let bytes = try #require(bench.disk.bytes(of: name))
            for place in stride(from: 7, to: bytes.count, by: 211) {
                var damaged = bench
                damaged.disk = bench.disk.copy()
                var changed = bytes
                changed[place] ^= 0x41
                damaged.disk.replace(name, with: changed)
                let alone = outcome(damaged, threads: 0)
                if alone != good { differing += 1 }
                // Whole segments and pieces of a few batches in turn.
                let other = outcome(
                    damaged, threads: 3, pieceBytes: place % 2 == 0 ? 1 << 20 : 1_500)
                #expect(other == alone, "\(name) \(place)")
            }
        }
        #expect(differing > 100)
    }

    @Test func aRejectedRecordIsNamedByItsPlace() throws {
        let bench = try bench(encrypted: false)
        for name in bench.disk.fileNames where name.hasSuffix(".snapshot") {
            try bench.disk.remove(name)
        }
        for threads in [0, 2] {
            var bench = bench
            bench.options.recoveryThreads = threads
            bench.disk = bench.disk.copy()
            // As a decoder rejects it, and as the state does.
            for early in [true, false] {
                var state = Recorded(rejects: 9, rejectsEarly: early)
                #expect(throws: JournalError.self) { try bench.open(into: &state) }
                do throws(JournalError) {
                    _ = try bench.open(into: &state)
                } catch {
                    guard case .rejected(let file, let offset, _) = error else {
                        Issue.record("\(error)")
                        continue
                    }
                    let bytes = try #require(bench.disk.bytes(of: Workbench.file(file)))
                    let parts = Workbench.parts(9, count: 400)
                    #expect(
                        Array(bytes[offset + 16..<offset + 16 + parts.body.count]) == parts.body)
                }
            }
        }
    }
}
