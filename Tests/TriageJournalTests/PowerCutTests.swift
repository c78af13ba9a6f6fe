// Power cuts before every call of a run, and runs of random work under a seed: what was
// acknowledged is there, what is there was written, and nothing in between.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct PowerCutTests {
    static let archive = "archive"

    /// A run of commits, snapshots, prunings and rotations under a seed, until the power goes.
    private struct Run {
        var bench: Workbench
        var appended: [Written] = []
        var acknowledged = 0
        var random: SeededRandom

        init(seed: UInt64, retention: JournalRetention? = nil) {
            bench = Workbench(seed: seed, encrypted: seed % 2 == 1)
            bench.options.journalRetention =
                retention ?? [.remove, .archive(PowerCutTests.archive), .keep][Int(seed % 3)]
            random = SeededRandom(seed: seed &+ 77)
        }

        /// Recovers, checks, and works until a call fails or `steps` are done.
        mutating func live(steps: Int) throws {
            do {
                var state = Recorded()
                let (data, report) = try bench.open(into: &state)
                try check(state, report)
                let journal = try data.makeJournal(after: report, time: .epoch)
                try checkHistory()
                for _ in 0..<steps { try step(data, journal) }
            } catch let error as JournalError {
                switch error {
                case .io, .poisoned: break
                default: throw error
                }
            }
        }

        mutating func check(_ state: Recorded, _ report: RecoveryReport) throws {
            let covered = Int(report.snapshot?.head.sequence ?? 0)
            let last = Int(report.head.sequence)
            try #require(last >= acknowledged, "acknowledged records are gone")
            try #require(last <= appended.count)
            try #require(state.records == Array(appended[covered..<last]))
            try #require(
                report.snapshot == nil
                    || state.snapshot == appended.prefix(covered).map(\.body))
            appended.removeLast(appended.count - last)
            acknowledged = last
        }

        /// Unless segments are removed, every record ever acknowledged can still be read.
        func checkHistory() throws {
            if bench.options.journalRetention == .remove { return }
            var state = Recorded()
            let hasArchive = bench.disk.fileNames.contains {
                $0.hasPrefix(PowerCutTests.archive + "/")
            }
            _ = try bench.inspection(archive: hasArchive ? PowerCutTests.archive : nil)
                .readJournal(into: &state)
            try #require(state.records == appended)
        }

        mutating func step(_ data: DataDirectory, _ journal: JournalWriter) throws {
            switch random.next() % 12 {
            case 0:
                let snapshot = try data.makeSnapshot(at: journal.durableTree, time: .epoch)
                for record in appended.prefix(acknowledged) {
                    try snapshot.append(section: 1, record.body.span)
                }
                _ = try snapshot.finish()
                _ = try data.tidy(time: .epoch)
            case 1: journal.writeMark(time: .epoch)
            case 2: journal.signHead(time: .epoch)
            default:
                for _ in 0...random.next() % 3 {
                    let sequence = journal.nextSequence
                    let parts = Workbench.parts(sequence, count: Int(random.next() % 900))
                    let record = Written(sequence: sequence, milliseconds: 5, parts)
                    appended.append(record)
                    do {
                        _ = try journal.append(parts, time: WallTime(milliseconds: 5))
                    } catch {
                        appended.removeLast()
                        throw error
                    }
                }
                try journal.commit()
                acknowledged = appended.count
            }
        }
    }

    @Test(arguments: [JournalRetention.remove, .archive(archive)], [false, true])
    func aPowerCutBeforeAnyCallLosesNothingAcknowledged(
        retention: JournalRetention, encrypted: Bool
    ) throws {
        // The same run again and again, cut one call later each time, with its own torn sectors.
        var call = 1
        var cuts = 0
        while true {
            var run = Run(seed: encrypted ? 5 : 4, retention: retention)
            run.bench.disk.cutPower(at: call)
            try run.live(steps: 30)
            let reached = run.bench.disk.calls >= call
            for chance in 0..<3 {
                var after = run
                after.bench.disk = after.bench.disk.afterPowerCut(seed: UInt64(chance))
                try after.live(steps: 3)
                cuts += 1
            }
            guard reached else { break }
            call += 1
        }
        #expect(cuts > 300)
    }

    @Test(arguments: 0..<40)
    func livesWithManyPowerCutsLoseNothingAcknowledged(seed: UInt64) throws {
        var run = Run(seed: seed)
        for _ in 0..<25 {
            let calls = run.bench.disk.calls
            run.bench.disk.cutPower(at: calls + 1 + Int(run.random.next() % 150))
            try run.live(steps: 12)
            run.bench.disk = run.bench.disk.afterPowerCut()
        }
        #expect(run.acknowledged > 0)
        run.bench.disk.cutPower(at: nil)
        try run.live(steps: 0)
    }

    @Test(arguments: 0..<40)
    func livesWithFailingCallsLoseNothingAcknowledged(seed: UInt64) throws {
        var run = Run(seed: 1000 + seed)
        let faults: [SimCall] = [.open, .write, .sync, .rename, .syncDirectory, .remove, .read]
        for _ in 0..<25 {
            let fault = faults[Int(run.random.next() % UInt64(faults.count))]
            let suffix = ["", ".journal", ".tmp", "mark"][Int(run.random.next() % 4)]
            run.bench.disk.failNext(fault, on: suffix, .inputOutput)
            try run.live(steps: 12)
            run.bench.disk = run.bench.disk.afterPowerCut()
        }
        #expect(run.acknowledged > 0)
        try run.live(steps: 0)
    }

    @Test func aPowerCutWhileATornTailIsCutLosesNothing() throws {
        // A large torn batch, then a small one at its place: if the zeros over the first were not
        // durable before the second, what is left of the first would stand behind the second.
        let torn = try Workbench.with([[40], [900, 900, 900]])
        let end = Workbench.ends([[40]])[0]
        var bytes = try #require(torn.disk.bytes(of: Workbench.file(segment1)))
        for index in 5120..<5632 { bytes[index] = 0 }
        torn.disk.replace(Workbench.file(segment1), with: bytes)
        var call = 1
        var reached = true
        while reached {
            var bench = torn
            bench.disk = torn.disk.copy()
            let start = bench.disk.calls
            bench.disk.cutPower(at: start + call)
            do {
                let (_, journal) = try bench.start()
                _ = try journal.append([1, 2, 3].span, time: .epoch)
                try journal.commit()
            } catch {}
            reached = bench.disk.calls >= start + call
            for chance in 0..<30 {
                var after = bench
                after.disk = bench.disk.afterPowerCut(seed: UInt64(chance))
                var state = Recorded()
                let (_, report) = try after.open(into: &state)
                #expect(state.records.first == torn.durable[0])
                #expect(report.head.sequence <= 2)
                #expect(report.tornTail == nil || report.tornTail?.offset == end)
            }
            call += 1
        }
        #expect(call > 20)
    }
}
