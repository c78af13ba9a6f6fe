// The short ways of reports, cases and receipts beside protobuf-c's way of every record: what one
// writes the other writes, and what the short way reads at all it reads alike.

import Testing
import TriageBase

@testable import TriageCodec
@testable import TriageDomain

@Suite("Canonical records") struct CanonicalRecordTests {
    let codec = EventCodec()

    /// What each way reads, described; nil when the short way leaves it to the other.
    private func read(_ record: RecordParts) -> (short: String?, any: String) {
        record.withView { view in
            var events: [Event] = []
            var short: String?
            do {
                let header = try codec.decodeReport(view, 7, .epoch, &events)
                if let header { short = "\(header) \(events)" }
            } catch { short = "\(error)" }
            var others: [Event] = []
            do {
                let header = try codec.decodeAny(view, 7, .epoch, &others)
                return (short, "\(header) \(others)")
            } catch { return (short, "\(error)") }
        }
    }

    @Test("a report's record is read alike, and by the short way", arguments: 1...200)
    func reportsAreReadAlike(seed: Int) {
        var arbitrary = Arbitrary(seed: UInt64(seed))
        var header = arbitrary.header()
        // Without a name it is protobuf-c's, and no record of a server's.
        if header.principal.text.isEmpty { header.principal = CaseSamples.bob }
        let record = codec.encode(header, [arbitrary.event(0)])
        let (short, any) = read(record)
        #expect(short == any)
    }

    @Test("a damaged report's record is read alike, or not by the short way")
    func damagedReportsAreReadAlike() {
        var arbitrary = Arbitrary(seed: 71)
        var (read, left) = (0, 0)
        for round in 0..<20_000 {
            let original = codec.encode(arbitrary.header(), [arbitrary.event(0)])
            var damaged = RecordParts()
            damaged.body = original.body
            if round % 4 != 0 { mutate(&damaged.body, &arbitrary) }
            for field in original.sealed {
                var field = field
                if round % 4 == 0 { mutate(&field, &arbitrary) }
                _ = damaged.seal(field)
            }
            let (short, any) = self.read(damaged)
            if let short {
                read += 1
                #expect(short == any)
            } else {
                left += 1
            }
        }
        #expect(read > 1_000 && left > 1_000)
    }

    @Test("any other record is left to protobuf-c", arguments: 1..<Arbitrary.eventKinds)
    func othersAreLeft(_ kind: Int) {
        var arbitrary = Arbitrary(seed: UInt64(kind))
        let header = arbitrary.header()
        #expect(read(codec.encode(header, [arbitrary.event(kind)])).short == nil)
        let both = [arbitrary.event(0), arbitrary.event(kind)]
        #expect(read(codec.encode(header, both)).short == nil)
        #expect(read(codec.encode(header, [])).short == nil)
    }

    // MARK: Snapshots

    /// Cases and entries as they usually are, beside those with everything.
    private func state(_ seed: UInt64) throws -> WorldState {
        var arbitrary = Arbitrary(seed: seed)
        var state = try SnapshotCodecTests.state(seed)
        for index in state.cases.indices where arbitrary.flag() {
            state.cases[index].pendingLowering = []
            state.cases[index].declinedBy = []
        }
        return state
    }

    @Test("cases and receipts are written as protobuf-c writes them", arguments: 1...40)
    func writesTheSameBytes(seed: Int) throws {
        let state = try state(UInt64(seed))
        var structured: [[UInt8]] = []
        SnapshotCodec.encode(state, direct: false) { section, record in
            structured.append([UInt8(section)] + [UInt8](copying: record))
        }
        let direct = SnapshotCodecTests.records(state).map { [UInt8($0.section)] + $0.bytes }
        #expect(direct == structured)
    }

    /// What each way reads, described; nil when the short way leaves it to the other.
    private func read(
        _ section: UInt16, _ bytes: [UInt8], _ decoder: SnapshotDecoder
    ) -> (short: String?, any: String) {
        var short: String?
        if section == SnapshotSections.cases.rawValue {
            if let read = CanonicalReader.read(bytes.span, { $0.caseRecord() }) {
                short = "\(SnapshotItem.openedCase(read.value, read.parts))"
            }
        } else if let entry = CanonicalReader.read(bytes.span, { $0.ledgerRecord() }) {
            short = "\(SnapshotItem.ledger(entry))"
        }
        do {
            return (short, "\(try decoder.decodeAny(section: section, bytes.span))")
        } catch { return (short, "\(error)") }
    }

    @Test("cases and entries are read alike, damaged ones too")
    func snapshotsAreReadAlike() throws {
        var arbitrary = Arbitrary(seed: 73)
        let decoder = SnapshotDecoder()
        let records = try (1...40).flatMap { SnapshotCodecTests.records(try state($0)) }
        var (cases, entries) = (0, 0)
        for (section, bytes) in records
        where section == SnapshotSections.cases.rawValue
            || section == SnapshotSections.ledger.rawValue
        {
            let (short, any) = read(section, bytes, decoder)
            if let short {
                if section == SnapshotSections.cases.rawValue { cases += 1 } else { entries += 1 }
                #expect(short == any)
            }
            for _ in 0..<30 {
                var damaged = bytes
                mutate(&damaged, &arbitrary)
                let (short, any) = read(section, damaged, decoder)
                if let short { #expect(short == any) }
            }
        }
        #expect(cases > 50 && entries > 50)
    }

    @Test("runs end where numbers do not follow, times fall, or a chunk of the state begins")
    func runsEnd() throws {
        var arbitrary = Arbitrary(seed: 3)
        var items = SnapshotItems()
        for number in [254, 255, 256, 257, 258, 300] as [UInt64] {
            items.add(arbitrary.closedCase(number), .none)
        }
        for time in [5, 5, 6, 4] as [Int64] {
            items.add(arbitrary.ledgerEntry(WallTime(milliseconds: time)))
        }
        items.add(.principal(PrincipalRecord(index: PrincipalIndex(1), principal: CaseSamples.bob)))
        items.add(arbitrary.closedCase(301), .none)
        items.close()
        let shape = items.items.map { item, record in
            switch item {
            case .cases(let cases): "\(record) cases \(cases.map(\.number.value))"
            case .ledgerEntries(let entries): "\(record) entries \(entries.count)"
            default: "\(record) other"
            }
        }
        #expect(
            shape == [
                "0 cases [254, 255, 256]", "3 cases [257, 258]", "5 cases [300]",
                "6 entries 3", "9 entries 1", "10 other", "11 cases [301]",
            ])
    }
}
