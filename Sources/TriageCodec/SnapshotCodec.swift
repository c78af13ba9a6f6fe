// A World's state to the records of a snapshot, and back to what each of them says. In which file
// the records are, and how they are guarded, is the journal's business.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
package import TriageDomain

private typealias StoredRecord = Triaged__Storage__V1__SnapshotRecord

/// The sections of a snapshot, in the order in which they are written.
package enum SnapshotSections: UInt16, CaseIterable, Sendable {
    case counters = 1
    case principals = 2
    /// Cases, each followed by its further reports, rounds, decisions and reopenings.
    case cases = 3
    case assignments = 4
    case disclosures = 5
    case ledger = 6
    case evidence = 7
    case holds = 8
}

/// Encodes a World's state.
package enum SnapshotCodec {
    /// Gives every record of a state to `append`, with its section.
    ///
    /// A case is one record with its first report, and one more for each further report, round,
    /// decision and reopening, so that no record grows with the case.
    ///
    /// - Throws: What `append` throws; nothing else.
    /// - Complexity: O(state); memory for one record at a time.
    package static func encode<Failure: Error>(
        _ state: WorldState,
        _ append: (_ section: UInt16, _ record: Span<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        try encode(state, direct: true, append)
    }

    // Not `direct`: everything goes protobuf-c's way, as a test wants to see it.
    static func encode<Failure: Error>(
        _ state: WorldState, direct: Bool,
        _ append: (_ section: UInt16, _ record: Span<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        let writer = StorageWriter(arena: Arena())
        func put(
            _ section: SnapshotSections, _ build: (UnsafeMutablePointer<StoredRecord>) -> Void
        ) throws(Failure) {
            writer.arena.reset()
            let record = unsafe writer.arena.new(triaged__storage__v1__snapshot_record__init)
            unsafe build(record)
            let packed = unsafe writer.arena.packed(record)
            let bytes = unsafe UnsafeBufferPointer(start: packed.data, count: packed.len)
            try append(section.rawValue, unsafe bytes.span)
        }
        // The case of the oneof is the number of the field that is set.
        unsafe try put(.counters) {
            unsafe $0.pointee.kind_case = .init(1)
            unsafe $0.pointee.counters = writer.write(state.counters)
        }
        for index in state.principals.indices {
            unsafe try put(.principals) {
                unsafe $0.pointee.kind_case = .init(2)
                unsafe $0.pointee.principal = writer.write(index, state.principals[index])
            }
        }
        try state.cases.lendEach { (value) throws(Failure) in
            writer.arena.reset()
            if direct, let packed = unsafe writer.packed(value) {
                try append(SnapshotSections.cases.rawValue, unsafe packed.span)
            } else {
                unsafe try put(.cases) {
                    unsafe $0.pointee.kind_case = .init(3)
                    unsafe $0.pointee.case_record = writer.write(value)
                }
            }
            unsafe try putParts(of: value, writer, put)
        }
        for assignment in state.assignments {
            unsafe try put(.assignments) {
                unsafe $0.pointee.kind_case = .init(7)
                unsafe $0.pointee.assignment = writer.write(assignment)
            }
        }
        for request in state.disclosures {
            unsafe try put(.disclosures) {
                unsafe $0.pointee.kind_case = .init(8)
                unsafe $0.pointee.disclosure = writer.write(request)
            }
        }
        for entry in state.ledger {
            writer.arena.reset()
            if direct, let packed = unsafe writer.packed(entry) {
                try append(SnapshotSections.ledger.rawValue, unsafe packed.span)
                continue
            }
            unsafe try put(.ledger) {
                unsafe $0.pointee.kind_case = .init(9)
                unsafe $0.pointee.ledger = writer.write(entry)
            }
        }
        unsafe try putEvidence(of: state, writer, put)
    }

    /// Gives the evidence, and the holds on it.
    private static func putEvidence<Failure: Error>(
        of state: WorldState, _ writer: StorageWriter,
        _ put: (SnapshotSections, (UnsafeMutablePointer<StoredRecord>) -> Void) throws(Failure) ->
            Void
    ) throws(Failure) {
        for evidence in state.evidence {
            unsafe try put(.evidence) {
                unsafe $0.pointee.kind_case = .init(11)
                unsafe $0.pointee.evidence = writer.write(evidence)
            }
        }
        for hold in state.holds {
            unsafe try put(.holds) {
                unsafe $0.pointee.kind_case = .init(12)
                unsafe $0.pointee.hold = writer.write(hold)
            }
        }
    }

    /// Gives what follows a case's own record.
    private static func putParts<Failure: Error>(
        of value: Case, _ writer: StorageWriter,
        _ put: (SnapshotSections, (UnsafeMutablePointer<StoredRecord>) -> Void) throws(Failure) ->
            Void
    ) throws(Failure) {
        for report in value.more {
            unsafe try put(.cases) {
                unsafe $0.pointee.kind_case = .init(4)
                unsafe $0.pointee.report = writer.write(report)
            }
        }
        for round in value.rounds {
            unsafe try put(.cases) {
                unsafe $0.pointee.kind_case = .init(5)
                unsafe $0.pointee.round = writer.write(round)
            }
        }
        for decision in value.decisions {
            unsafe try put(.cases) {
                unsafe $0.pointee.kind_case = .init(6)
                unsafe $0.pointee.decision = writer.write(decision)
            }
        }
        for reopening in value.reopenings {
            unsafe try put(.cases) {
                unsafe $0.pointee.kind_case = .init(10)
                unsafe $0.pointee.reopening = writer.write(reopening)
            }
        }
    }
}

/// Decodes single records of a snapshot, in any order.
///
/// - Isolation: one thread at a time.
package final class SnapshotDecoder {
    private let arena = Arena()

    /// Makes a decoder.
    package init() {}

    /// Decodes one record.
    ///
    /// - Throws: ``CodecError``: the record is damaged, of a later version, or in another section
    ///   than its own. The snapshot cannot be used.
    package func decode(
        section: UInt16, _ record: Span<UInt8>, into items: inout SnapshotItems
    ) throws(CodecError) {
        switch SnapshotSections(rawValue: section) {
        case .cases:
            if let read = CanonicalReader.read(record, { $0.caseRecord() }) {
                return items.add(read.value, read.parts)
            }
        case .ledger:
            if let entry = CanonicalReader.read(record, { $0.ledgerRecord() }) {
                return items.add(entry)
            }
        default: break
        }
        items.add(try decodeAny(section: section, record))
    }

    /// Decodes any record.
    func decodeAny(
        section: UInt16, _ record: Span<UInt8>
    ) throws(CodecError) -> SnapshotItem {
        arena.reset()
        let stored: UnsafeMutablePointer<StoredRecord>
        do {
            unsafe stored = try arena.unpack(
                record, .storage, triaged__storage__v1__snapshot_record__init)
        } catch { throw .wire(error) }
        let kind = unsafe stored.pointee.kind_case.rawValue
        guard Self.section(ofKind: kind)?.rawValue == section else {
            throw .outOfOrder("record \(kind) in section \(section)")
        }
        return unsafe try Self.read(stored.pointee, kind)
    }

    private static func read(
        _ stored: StoredRecord, _ kind: UInt32
    ) throws(CodecError) -> SnapshotItem {
        switch kind {
        case 1:
            unsafe .counters(
                try StorageReader.read(try StorageReader.part(stored.counters, "counters")))
        case 2:
            unsafe .principal(
                try StorageReader.read(try StorageReader.part(stored.principal, "principal")))
        case 3: unsafe try readCase(try StorageReader.part(stored.case_record, "case"))
        case 4:
            unsafe .report(
                try StorageReader.read(try StorageReader.part(stored.report, "report")))
        case 5:
            unsafe .round(try StorageReader.read(try StorageReader.part(stored.round, "round")))
        case 6:
            unsafe .decision(
                try StorageReader.read(try StorageReader.part(stored.decision, "decision")))
        case 7:
            unsafe .assignment(
                try StorageReader.read(try StorageReader.part(stored.assignment, "assignment")))
        case 8:
            unsafe .disclosure(
                try StorageReader.read(try StorageReader.part(stored.disclosure, "disclosure")))
        case 10:
            unsafe .reopening(
                try StorageReader.read(try StorageReader.part(stored.reopening, "reopening")))
        case 11:
            unsafe .evidence(
                try StorageReader.read(try StorageReader.part(stored.evidence, "evidence")))
        case 12:
            unsafe .hold(try StorageReader.read(try StorageReader.part(stored.hold, "hold")))
        default:
            unsafe .ledger(
                try StorageReader.read(try StorageReader.part(stored.ledger, "ledger")))
        }
    }

    private static func readCase(
        _ record: Triaged__Storage__V1__CaseRecord
    ) throws(CodecError) -> SnapshotItem {
        let parts = unsafe SnapshotParts(
            reports: Int(record.more_report_count), rounds: Int(record.round_count),
            decisions: Int(record.decision_count), reopenings: Int(record.reopening_count))
        guard parts.reports >= 0, parts.rounds >= 0, parts.decisions >= 0, parts.reopenings >= 0
        else { throw .outOfRange("CaseRecord.counts") }
        return .openedCase(unsafe try StorageReader.read(record), parts)
    }

    private static func section(ofKind kind: UInt32) -> SnapshotSections? {
        switch kind {
        case 1: .counters
        case 2: .principals
        case 3...6, 10: .cases
        case 7: .assignments
        case 8: .disclosures
        case 9: .ledger
        case 11: .evidence
        case 12: .holds
        default: nil
        }
    }
}
