// Board watches that begin while the board changes faster than the ring remembers: they go on, lose
// nothing, and end up with the board as it is.

import TestSupport
import Testing
import TriageBase
import TriageDomain

@testable import TriageEngine

/// What a client makes of a board watch.
private struct Board: Equatable {
    var revisions: [UInt64: UInt64] = [:]
    /// Up to where it could resume.
    var revision: UInt64 = 0

    mutating func take(_ part: BoardChanges) {
        for (change, known) in zip(part.changes, part.revisions) {
            switch change {
            case .changed(let view): revisions[view.value.number.value] = view.value.revision
            case .removed(let number): revisions[number.value] = nil
            }
            #expect(known >= revision, "what the caller knows never shrinks")
            revision = known
        }
        #expect(part.revision >= revision)
        revision = part.revision
    }
}

@Suite struct WatchCatchUpTests {
    private struct Run {
        let bench: EngineBench
        var random: SeededRandom
        var filter = BoardFilter()
        var board = Board()
        var parts: [BoardChanges] = []
        var failures: [String] = []

        init(seed: UInt64, ring: Int) {
            bench = EngineBench {
                $0.ringCount = ring
                $0.watchPartMax = 3
                $0.watchCredits = 1
            }
            random = SeededRandom(seed: seed)
        }

        /// New cases, further reports that raise some, and claims that move cases out of a filter.
        mutating func churn(_ count: Int) throws {
            for _ in 0..<count {
                let subject = random.next() % 40
                switch random.next() % 6 {
                case 0:
                    see(
                        bench.turn(
                            bench.request(.claim(anything, bench.freshKey(), waitMilliseconds: 0))))
                case 1:
                    let raise = bench.report(about: subject, .terrorism, imminence: .now)
                    see(bench.turn(bench.request(.write(raise, bench.freshKey()))))
                case 2:
                    bench.clock.advance(milliseconds: 40_000)
                    see(bench.turn())
                default:
                    let report = bench.report(about: subject)
                    see(bench.turn(bench.request(.write(report, bench.freshKey()))))
                }
            }
        }

        mutating func see(_ completions: [Completion]) {
            for completion in completions {
                switch completion.reply {
                case .boardChanges(let part):
                    parts.append(part)
                    board.take(part)
                case .failed(let failure): failures.append("\(failure)")
                default: break
                }
            }
        }

        mutating func credit(_ watch: EngineRequest) {
            var credit = bench.request(.credit(1))
            credit.call = watch.call
            see(bench.turn(credit))
            while bench.core.hasWork { see(bench.turn()) }
        }

        /// What the board is, for the filter.
        var truth: [UInt64: UInt64] {
            let page = bench.core.world.board(after: nil, limit: 10_000, filter: filter)
            return Dictionary(
                uniqueKeysWithValues: page.cases.map {
                    ($0.value.number.value, $0.value.revision)
                })
        }
    }

    @Test(arguments: 0..<24 as Range<UInt64>, [false, true])
    func overrunAgainAndAgainBeforeItsBookmark_itGoesOn_andLosesNothing(
        seed: UInt64, filtered: Bool
    ) throws {
        var run = Run(seed: seed, ring: 4)
        if filtered { run.filter.states = 1 << CaseState.queued.rawValue }
        try run.churn(60)
        let watch = run.bench.request(.watchBoard(resume: 0, filter: run.filter))
        run.see(run.bench.turn(watch))
        // Between any two parts more happens than the ring keeps.
        for _ in 0..<12 {
            try run.churn(9)
            run.credit(watch)
        }
        #expect(run.parts.allSatisfy { $0.bookmark == nil }, "it has not caught up yet")
        #expect(run.bench.core.currentStatus().counters.watchSweeps > 0)
        for _ in 0..<60 where run.parts.last?.bookmark == nil { run.credit(watch) }
        #expect(run.failures.isEmpty && run.bench.core.watches.count == 1)
        #expect(run.parts.last?.bookmark != nil)
        #expect(run.board.revisions == run.truth)
        #expect(run.board.revision == run.bench.core.revision)
        // Nothing more is sent of what was, and what comes is sent as ever.
        let before = run.parts.count
        run.credit(watch)
        #expect(run.parts.count == before)
        run.see(
            run.bench.turn(
                run.bench.request(.write(run.bench.report(about: 900), run.bench.freshKey()))))
        run.credit(watch)
        #expect(run.board.revisions == run.truth && run.failures.isEmpty)
    }

    @Test(arguments: 0..<24 as Range<UInt64>)
    func whateverRevisionItNames_resumingFromItGivesTheBoard(seed: UInt64) throws {
        var run = Run(seed: seed, ring: 256)
        try run.churn(40)
        let watch = run.bench.request(.watchBoard(resume: 0, filter: run.filter))
        run.see(run.bench.turn(watch))
        var seen: [Board] = []
        for _ in 0..<40 {
            try run.churn(2)
            run.credit(watch)
            if run.board.revision > 0 { seen.append(run.board) }
        }
        #expect(seen.count > 10)
        for known in seen {
            var other = Run(seed: seed, ring: 256)
            other.board = known
            let resumed = run.bench.request(
                .watchBoard(resume: known.revision, filter: run.filter))
            var completions = run.bench.turn(resumed)
            for _ in 0..<60 {
                var credit = run.bench.request(.credit(1))
                credit.call = resumed.call
                completions += run.bench.turn(credit)
            }
            for completion in completions where completion.call == resumed.call {
                other.see([completion])
            }
            #expect(other.board.revisions == run.truth)
            var cancel = run.bench.request(.cancel)
            cancel.call = resumed.call
            run.bench.turn(cancel)
        }
    }

    @Test func aResumedWatch_overrunBeforeItsBookmark_goesOn_too() throws {
        var run = Run(seed: 5, ring: 8)
        try run.churn(30)
        let watch = run.bench.request(.watchBoard(resume: 0, filter: run.filter))
        run.see(run.bench.turn(watch))
        for _ in 0..<60 where run.parts.last?.bookmark == nil { run.credit(watch) }
        var cancel = run.bench.request(.cancel)
        cancel.call = watch.call
        run.see(run.bench.turn(cancel))
        // More than one part, and less than the ring keeps.
        for subject in 900..<906 as Range<UInt64> { _ = try run.bench.submit(about: subject) }
        let again = run.bench.request(
            .watchBoard(resume: run.board.revision, filter: run.filter))
        run.parts = []
        run.see(run.bench.turn(again))
        try run.churn(40)
        for _ in 0..<60 where run.parts.last?.bookmark == nil { run.credit(again) }
        #expect(run.failures.isEmpty && run.parts.last?.bookmark != nil)
        #expect(run.board.revisions == run.truth)
    }

    @Test func onceItHasCaughtUp_aWatchThatLags_isEnded_andCounted() throws {
        var run = Run(seed: 6, ring: 8)
        let watch = run.bench.request(.watchBoard(resume: 0, filter: run.filter))
        run.see(run.bench.turn(watch))
        #expect(run.parts.last?.bookmark == 0)
        try run.churn(60)
        #expect(run.failures.count == 1 && run.failures[0].hasPrefix("watchTooSlow"))
        #expect(run.bench.core.currentStatus().counters.watchesTooSlow == 1)
    }
}
