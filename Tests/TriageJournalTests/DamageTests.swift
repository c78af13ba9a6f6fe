// Every byte of a small journal and of a snapshot changed, every length, every torn tail: the
// outcome is in FORMAT.md's recovery table, and never wrong records.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct DamageTests {
    static let batches = [[40], [10, 700, 33], [5], [600, 800]]

    @Test(arguments: [false, true])
    func everyChangedByteOfTheLastSegmentIsRefusedOrHarmless(encrypted: Bool) throws {
        let bench = try Workbench.with(Self.batches, encrypted: encrypted)
        let end = try #require(Workbench.ends(Self.batches).last)
        for offset in 0..<8192 {
            let outcome = try bench.recovering(segment1) { $0[offset] ^= 1 << UInt8(offset % 8) }
            switch outcome {
            case .failure(let error):
                guard offset < end else {
                    Issue.record("byte \(offset) behind the end: \(error)")
                    continue
                }
                guard let named = error.place else {
                    // A changed cluster id has a wrong checksum first, so nothing else may come.
                    Issue.record("byte \(offset): \(error) names no place")
                    continue
                }
                #expect(named.file == segment1)
                #expect(named.offset <= offset, "byte \(offset): \(error)")
            case .success(let (state, report)):
                #expect(offset >= end, "byte \(offset) changed, unseen")
                #expect(state.records == bench.durable)
                #expect(report.tornTail?.offset == end)
            }
        }
    }

    @Test(arguments: [false, true])
    func everyChangedByteOfAnEarlierSegmentIsRefused(encrypted: Bool) throws {
        let bench = try Workbench.with([[2000], [1500], [1000], [3000]], encrypted: encrypted)
        #expect(bench.disk.fileNames.filter { $0.hasSuffix(".journal") }.count > 1)
        for offset in 0..<8192 {
            let outcome = try bench.recovering(segment1) { $0[offset] ^= 1 << UInt8(offset % 8) }
            guard case .failure(let error) = outcome else {
                Issue.record("byte \(offset) changed, unseen")
                continue
            }
            #expect(error.place?.file == segment1, "byte \(offset): \(error)")
        }
    }

    @Test func everyChangedByteOfTheIdentityIsRefused_andEveryOtherLength() throws {
        let bench = try Workbench.with([[40]])
        for offset in 0..<4096 {
            let outcome = try bench.recovering("identity") { $0[offset] ^= 1 << UInt8(offset % 8) }
            guard case .failure(let error) = outcome else {
                Issue.record("byte \(offset) changed, unseen")
                continue
            }
            #expect(error.place?.file == "identity")
        }
        for count in Array(stride(from: 0, to: 4096, by: 13)) + [4097, 8192] {
            let outcome = try bench.recovering("identity") { bytes in
                bytes = Array((bytes + [UInt8](repeating: 0, count: 4096)).prefix(count))
            }
            guard case .failure(let error) = outcome else {
                Issue.record("\(count) bytes, unseen")
                continue
            }
            #expect(error.place?.file == "identity")
        }
    }

    @Test func aDamagedSlotOfTheMarkLeavesTheOther_andTwoAreRefused() throws {
        var bench = Workbench()
        let (_, journal) = try bench.start()
        for size in [40, 50, 60] {
            try bench.write([[size]], to: journal)
            journal.writeMark(time: .epoch)
        }
        for offset in 0..<8192 {
            let outcome = try bench.recovering("mark") { $0[offset] ^= 1 << UInt8(offset % 8) }
            let (state, _) = try outcome.get()
            #expect(state.records == bench.durable, "byte \(offset)")
            let both = try bench.recovering("mark") { bytes in
                bytes[offset] ^= 1
                bytes[(offset + 4096) % 8192] ^= 1
            }
            guard case .failure(let error) = both else {
                Issue.record("both slots damaged, unseen")
                continue
            }
            #expect(error.place?.file == "mark")
        }
        for count in stride(from: 0, to: 8192, by: 13) {
            let outcome = try bench.recovering("mark") { $0.removeLast($0.count - count) }
            switch outcome {
            case .success(let (state, _)):
                #expect(count >= 4096)
                #expect(state.records == bench.durable)
            case .failure(let error):
                #expect(count < 4096)
                #expect(error.place?.file == "mark")
            }
        }
    }

    @Test(arguments: [false, true])
    func everyShorterOrLongerSegmentIsRefused(encrypted: Bool) throws {
        let bench = try Workbench.with(Self.batches, encrypted: encrypted)
        for count in 0..<8192 {
            let outcome = try bench.recovering(segment1) { $0.removeLast($0.count - count) }
            guard case .failure(let error) = outcome else {
                Issue.record("cut to \(count) bytes, unseen")
                continue
            }
            #expect(error.place == Place(file: segment1, offset: count), "\(error)")
        }
        let longer = try bench.recovering(segment1) { $0 += [0] }
        guard case .failure(let error) = longer else { throw JournalError.bufferFull }
        #expect(error.place?.file == segment1)
    }

    @Test(arguments: [false, true])
    func aTailTornAtEveryByteIsCutAndReported(encrypted: Bool) throws {
        let bench = try Workbench.with(Self.batches, encrypted: encrypted)
        let ends = Workbench.ends(Self.batches)
        let counts = [0, 1, 4, 5, 7]
        let bytes = try #require(bench.disk.bytes(of: Workbench.file(segment1)))
        for cut in 4096...8192 {
            let outcome = try bench.recovering(segment1) { bytes in
                for index in cut..<8192 { bytes[index] = 0 }
            }
            let whole = ends.prefix { $0 <= cut }.count
            let (state, report) = try outcome.get()
            #expect(state.records == Array(bench.durable.prefix(counts[whole])), "cut at \(cut)")
            let start = whole == 0 ? 4096 : ends[whole - 1]
            // A batch begins with its checksum, whose first bytes may be zero.
            let torn = whole < ends.count && bytes[start..<cut].contains { $0 != 0 }
            #expect(report.tornTail?.offset == (torn ? start : nil), "cut at \(cut)")
        }
    }

    @Test(arguments: [false, true])
    func anySectorsMissingFromTheLastBatchAreATornTail(encrypted: Bool) throws {
        let batches = [[300], [900, 900, 400]]
        let bench = try Workbench.with(batches, encrypted: encrypted)
        let ends = Workbench.ends(batches)
        let sectors = Array(ends[0] / 512...(ends[1] - 1) / 512)
        #expect(sectors.count == 6)
        for missing in 1..<(1 << sectors.count) {
            let outcome = try bench.recovering(segment1) { bytes in
                for (bit, sector) in sectors.enumerated() where missing & 1 << bit != 0 {
                    for index in max(sector * 512, ends[0])..<sector * 512 + 512 {
                        bytes[index] = 0
                    }
                }
            }
            let (state, report) = try outcome.get()
            #expect(state.records == [bench.durable[0]], "sectors \(missing)")
            if missing == (1 << sectors.count) - 1 {
                #expect(report.tornTail == nil)
            } else {
                #expect(report.tornTail?.offset == ends[0], "sectors \(missing)")
            }
        }
    }

    @Test func sectorsMissingFromAnEarlierBatchAreDataLoss() throws {
        let batches = [[300], [900, 900], [20]]
        let bench = try Workbench.with(batches)
        let ends = Workbench.ends(batches)
        for sector in ends[0] / 512...(ends[1] - 1) / 512 {
            let outcome = try bench.recovering(segment1) { bytes in
                for index in max(sector * 512, ends[0])..<min(sector * 512 + 512, ends[1]) {
                    bytes[index] = 0
                }
            }
            guard case .failure(let error) = outcome else {
                Issue.record("sector \(sector) of a durable batch lost, unseen")
                continue
            }
            #expect(error.place?.file == segment1)
        }
    }

    @Test func aTornTailIsKeptAsideAndTheJournalGoesOn() throws {
        var bench = try Workbench.with(Self.batches)
        let ends = Workbench.ends(Self.batches)
        var bytes = try #require(bench.disk.bytes(of: Workbench.file(segment1)))
        for index in 6000..<8192 { bytes[index] = 0 }
        bench.disk = bench.disk.copy()
        bench.disk.replace(Workbench.file(segment1), with: bytes)
        bench.durable.removeLast(2)
        let (_, journal) = try bench.start()
        let aside = bench.disk.bytes(of: Workbench.file("00000000000000000001-0000\(ends[2]).torn"))
        #expect(try #require(aside) == Array(bytes[ends[2]..<6000]))
        try bench.write([[50, 60], [3000]], to: journal)
        bench.disk = bench.disk.copy()
        var state = Recorded()
        let (_, report) = try bench.open(into: &state)
        #expect(state.records == bench.durable)
        #expect(report.tornTail == nil)
    }

    /// The copy of the first time is not written over.
    @Test func whatIsTornAtOnePlaceTwice_isKeptTwice() throws {
        var bench = try Workbench.with([[40], [900]])
        let end = Workbench.ends([[40]])[0]
        var kept: [[UInt8]] = []
        for (count, suffix) in [(900, ""), (1200, "-2"), (700, "-3")] {
            var bytes = try #require(bench.disk.bytes(of: Workbench.file(segment1)))
            for index in end + 600..<8192 { bytes[index] = 0 }
            bench.disk = bench.disk.copy()
            bench.disk.replace(Workbench.file(segment1), with: bytes)
            bench.durable.removeLast()
            let (_, journal) = try bench.start()
            kept.append(Array(bytes[end..<end + 600]))
            let name = Workbench.file("00000000000000000001-0000\(end)\(suffix).torn")
            #expect(bench.disk.bytes(of: name) == kept.last, "\(count)")
            try bench.write([[count]], to: journal)
        }
        let first = Workbench.file("00000000000000000001-0000\(end).torn")
        #expect(bench.disk.bytes(of: first) == kept[0])
        bench.disk = bench.disk.copy()
        var state = Recorded()
        _ = try bench.open(into: &state)
        #expect(state.records == bench.durable)
    }

    @Test func aPayloadThatLooksLikeABatchDoesNotStopTheStart() throws {
        // A good batch of another directory, as somebody could send it in a report, where the torn
        // batch's payload would be: its checksum is keyed with another cluster id.
        let bench = try Workbench.with([[40], [900]])
        var other = try Workbench.with([[40], [900]])
        other.disk = other.disk.copy()
        let foreign = try #require(other.disk.bytes(of: Workbench.file(segment1)))
        let ends = Workbench.ends([[40], [900]])
        let outcome = try bench.recovering(segment1) { bytes in
            for index in ends[0]..<8192 { bytes[index] = 0 }
            bytes.replaceSubrange(ends[0] + 512..<ends[0] + 512 + 164, with: foreign[4096..<4260])
        }
        let (state, report) = try outcome.get()
        #expect(state.records == [bench.durable[0]])
        #expect(report.tornTail?.offset == ends[0])
    }
}

/// Where an error says that something is wrong.
struct Place: Equatable {
    var file: String
    var offset: Int
}

extension JournalError {
    var place: Place? {
        if case .dataLoss(let file, let offset, _) = self {
            return Place(file: file, offset: offset)
        }
        return nil
    }
}
