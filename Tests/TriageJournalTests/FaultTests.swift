// Calls that fail: a failed commit is final, a lack of room is not, and a full buffer is refused.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct FaultTests {
    @Test(arguments: [SimCall.write, .sync], [Errno.inputOutput, .noSpace])
    func aFailedCommitIsFinal(call: SimCall, errno: Errno) throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[10], [20, 30]], to: journal)
        let head = journal.durableHead
        _ = try journal.append([1, 2, 3].span, time: .epoch)
        bench.disk.failNext(call, on: segment1, errno)
        let cause = IOError(
            call == .write ? .write : .sync, path: Workbench.file(segment1), errno)
        #expect(throws: JournalError.poisoned(cause)) { try journal.commit() }
        let calls = bench.disk.calls
        #expect(throws: JournalError.poisoned(cause)) { try journal.commit() }
        #expect(throws: JournalError.poisoned(cause)) {
            _ = try journal.append([1].span, time: .epoch)
        }
        journal.writeMark(time: .epoch)
        #expect(bench.disk.calls == calls, "a poisoned journal touches the disk")
        #expect(journal.durableHead == head)

        bench.disk = bench.disk.afterPowerCut()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(Array(state.records.prefix(3)) == bench.durable)
    }

    @Test(arguments: [SimCall.write, .sync, .rename, .syncDirectory])
    func aFailureWhileASegmentBeginsIsFinal(call: SimCall) throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        // The spare is ready once the record that needs it was taken.
        _ = try journal.append(Workbench.payload(2, count: 3000).span, time: .epoch)
        bench.disk.failNext(call, .inputOutput)
        #expect(throws: JournalError.self) { try journal.commit() }
        #expect(throws: JournalError.self) { try journal.append([1].span, time: .epoch) }
        #expect(journal.durableHead.sequence == 1)
        for seed in UInt64(0)..<20 {
            var copy = bench
            copy.disk = copy.disk.afterPowerCut(seed: seed)
            var state = Recorded()
            let (_, report) = try copy.open(into: &state)
            #expect(state.records.first == bench.durable[0])
            #expect(report.head.sequence <= 2)
        }
    }

    @Test func noRoomForTheNextSegmentRefusesAppendsUntilThereIsRoom() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        bench.disk.limit(bytes: 0)
        let payload = Workbench.payload(2, count: 3000)
        for _ in 0..<3 {
            #expect {
                _ = try journal.append(payload.span, time: .epoch)
            } throws: { error in
                if case .noSpace = error as? JournalError { true } else { false }
            }
        }
        // What fits the current segment is still taken, and what was taken stays.
        try bench.write([[100]], to: journal)
        #expect(journal.durableHead.sequence == 2)
        bench.disk.limit(bytes: nil)
        bench.disk.pause(nanoseconds: 1_000_000_000)
        try bench.write([[3000], [3000]], to: journal)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test(arguments: [Errno.tooManyFiles, .tooManyFilesInSystem, .noMemory])
    func noDescriptorForTheNextSegmentRefusesAppendsUntilThereIsOne(errno: Errno) throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        try bench.write([[3000]], to: journal)
        let parts = Workbench.parts(2, count: 3000)
        bench.disk.failNext(.open, on: "spare.tmp", errno)
        #expect {
            _ = try journal.append(parts, time: .epoch)
        } throws: { error in
            if case .noSpace(let cause) = error as? JournalError {
                cause.errno == errno
            } else {
                false
            }
        }
        bench.disk.pause(nanoseconds: 1_000_000_000)
        let time = WallTime(milliseconds: 20)
        #expect(try journal.append(parts, time: time) == 2)
        bench.durable.append(Written(sequence: 2, milliseconds: time.milliseconds, parts))
        // What is prepared is open.
        bench.disk.failNext(.open, errno)
        try journal.commit()
        bench.disk = bench.disk.copy()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test func theBufferIsBounded() throws {
        var bench = Workbench(segmentBytes: 1 << 20)
        bench.options.bufferBytesMax = 10_000
        let (_, journal) = try bench.start()
        let payload = Workbench.payload(1, count: 1000)
        var taken = 0
        while true {
            do {
                _ = try journal.append(payload.span, time: .epoch)
                taken += 1
            } catch {
                #expect(error == .bufferFull)
                break
            }
        }
        #expect(taken == 10_000 / 1016)
        #expect(journal.nextSequence == UInt64(taken) + 1)
        #expect(journal.pendingBytes == taken * 1016)
        try journal.commit()
        #expect(journal.durableHead.sequence == UInt64(taken))
        #expect(try journal.append(payload.span, time: .epoch) == UInt64(taken) + 1)
    }

    @Test func tooLargeARecordIsRefusedAndNothingElse() throws {
        var bench = Workbench(segmentBytes: 16 << 20)
        let (_, journal) = try bench.start()
        let large = [UInt8](repeating: 7, count: Limits.recordBytesMax + 1)
        #expect(throws: JournalError.recordTooLarge(bytes: large.count)) {
            _ = try journal.append(large.span, time: .epoch)
        }
        #expect(journal.nextSequence == 1)
        try bench.write([[Limits.recordBytesMax - 20], [1]], to: journal)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test func aFailedMarkIsCountedAndTheOldOneStaysTrue() throws {
        var bench = Workbench()
        let (data, journal) = try bench.start()
        try bench.write([[10]], to: journal)
        journal.writeMark(time: .epoch)
        try bench.write([[10]], to: journal)
        bench.disk.failNext(.sync, on: "mark", .inputOutput)
        journal.writeMark(time: .epoch)
        #expect(data.housekeepingStatus.markFailures == 1)
        bench.disk = bench.disk.afterPowerCut()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    /// The other slot, which is on disk, is overwritten next.
    @Test(arguments: [false, true])
    func aMarkThatOnlyACacheHolds_isWrittenAgainAtTheNextStart(isKilled: Bool) throws {
        // A tree of so many records has a mark of more than a sector, which can be torn.
        var base = Workbench(segmentBytes: 4 << 20)
        do {
            let (_, journal) = try base.start()
            try base.write([[Int](repeating: 10, count: 8_187)], to: journal)
            journal.writeMark(time: .epoch)
        }
        for seed in 1...16 as ClosedRange<UInt64> {
            for call in 1...2 {
                var bench = base
                bench.disk = base.disk.afterPowerCut(seed: seed)
                let (_, journal) = try bench.start()
                try bench.write([[10, 10]], to: journal)
                // Ends before, in or after its sync.
                if isKilled {
                    bench.disk.cutPower(at: bench.disk.calls + 2)
                } else {
                    bench.disk.failNext(.sync, on: "mark", .inputOutput)
                }
                journal.writeMark(time: .epoch)
                bench.disk = bench.disk.afterKill()
                let (_, again) = try bench.start()
                try bench.write([[10]], to: again)
                bench.disk.cutPower(at: bench.disk.calls + call)
                again.writeMark(time: .epoch)
                #expect(bench.disk.isOff)
                bench.disk = bench.disk.afterPowerCut(seed: seed)
                var state = Recorded()
                #expect(throws: Never.self, "seed \(seed), call \(call)") {
                    _ = try bench.open(into: &state)
                }
                #expect(state.records == bench.durable)
            }
        }
    }

    /// Nobody knows what a failed write left on disk: the next one is into the same slot.
    @Test func markAfterMarkFails_andTheSureSlotIsNotTouched() throws {
        let failures = Monitor<[JournalError]>([])
        var bench = Workbench()
        let data = try DataDirectory(
            opening: Workbench.path, disk: bench.disk, options: bench.options,
            housekeepingFailed: { error in failures.change { $0.append(error) } })
        var state = Recorded()
        let journal = try data.makeJournal(after: try data.recover(into: &state), time: .epoch)
        try bench.write([[10]], to: journal)
        journal.writeMark(time: .epoch)
        let before = try #require(bench.disk.bytes(of: Workbench.file("mark")))
        for _ in 0..<3 {
            try bench.write([[10]], to: journal)
            bench.disk.failNext(.sync, on: "mark", .inputOutput)
            journal.writeMark(time: .epoch)
        }
        let after = try #require(bench.disk.bytes(of: Workbench.file("mark")))
        #expect(before[..<4096] == after[..<4096] || before[4096...] == after[4096...])
        #expect(data.housekeepingStatus.markFailures == 3)
        // The log is told once, until one is written again.
        #expect(failures.change { $0.count } == 1)
        journal.writeMark(time: .epoch)
        bench.disk.failNext(.sync, on: "mark", .inputOutput)
        journal.writeMark(time: .epoch)
        #expect(failures.change { $0.count } == 2)
    }
}
