// A World's state to the records of a snapshot, and back into a builder. In which file the records
// are, and how they are guarded, is the journal's business.

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
        // Not by index: from this module that goes through an access that is not specialised.
        for value in state.cases {
            unsafe try put(.cases) {
                unsafe $0.pointee.kind_case = .init(3)
                unsafe $0.pointee.case_record = writer.write(value)
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
            unsafe try put(.ledger) {
                unsafe $0.pointee.kind_case = .init(9)
                unsafe $0.pointee.ledger = writer.write(entry)
            }
        }
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

/// Decodes the records of one snapshot, in the order in which they were written.
///
/// - Isolation: one thread at a time.
package final class SnapshotDecoder {
    /// A case whose further records are still to come.
    private struct Pending {
        var value: Case
        var reports: Int
        var rounds: Int
        var decisions: Int
        var reopenings: Int

        var isComplete: Bool {
            reports == 0 && rounds == 0 && decisions == 0 && reopenings == 0
        }
    }

    private let arena = Arena()
    private var pending: Pending?

    /// Makes a decoder for one snapshot.
    package init() {}

    /// Decodes one record into a builder.
    ///
    /// - Throws: ``CodecError``: the record is damaged, of a later version, out of its place, or
    ///   contradicts what came before. The snapshot cannot be used.
    package func decode(
        section: UInt16, _ record: Span<UInt8>, into builder: inout WorldBuilder
    ) throws(CodecError) {
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
        unsafe try add(stored.pointee, kind, &builder)
        guard let complete = pending, complete.isComplete else { return }
        pending = nil
        try admit { () throws(WorldImportError) in try builder.add(complete.value) }
    }

    /// Adds a record that stands by itself, or a part to the case that is not complete.
    private func add(
        _ stored: StoredRecord, _ kind: UInt32, _ builder: inout WorldBuilder
    ) throws(CodecError) {
        if (4...6).contains(kind) || kind == 10 {
            unsafe try addPart(stored, kind)
            return
        }
        guard pending == nil else { throw .outOfOrder("a case is not complete") }
        switch kind {
        case 1:
            builder.set(
                unsafe try StorageReader.read(try StorageReader.part(stored.counters, "counters")))
        case 2:
            let principal = unsafe try StorageReader.read(
                try StorageReader.part(stored.principal, "principal"))
            try admit { () throws(WorldImportError) in try builder.add(principal) }
        case 3:
            let record = unsafe try StorageReader.part(stored.case_record, "case")
            let counts = unsafe (
                record.more_report_count, record.round_count, record.decision_count,
                record.reopening_count
            )
            guard counts.0 >= 0, counts.1 >= 0, counts.2 >= 0, counts.3 >= 0 else {
                throw .outOfRange("CaseRecord.counts")
            }
            pending = unsafe Pending(
                value: try StorageReader.read(record), reports: Int(counts.0),
                rounds: Int(counts.1), decisions: Int(counts.2), reopenings: Int(counts.3))
        case 7:
            let assignment = unsafe try StorageReader.read(
                try StorageReader.part(stored.assignment, "assignment"))
            try admit { () throws(WorldImportError) in try builder.add(assignment) }
        case 8:
            let request = unsafe try StorageReader.read(
                try StorageReader.part(stored.disclosure, "disclosure"))
            try admit { () throws(WorldImportError) in try builder.add(request) }
        case 11:
            let evidence = unsafe try StorageReader.read(
                try StorageReader.part(stored.evidence, "evidence"))
            try admit { () throws(WorldImportError) in try builder.add(evidence) }
        case 12:
            let hold = unsafe try StorageReader.read(
                try StorageReader.part(stored.hold, "hold"))
            try admit { () throws(WorldImportError) in try builder.add(hold) }
        default:
            let entry = unsafe try StorageReader.read(
                try StorageReader.part(stored.ledger, "ledger"))
            try admit { () throws(WorldImportError) in try builder.add(entry) }
        }
    }

    private func addPart(_ stored: StoredRecord, _ kind: UInt32) throws(CodecError) {
        guard var case_ = pending else { throw .outOfOrder("a part without a case") }
        switch kind {
        case 4 where case_.reports > 0:
            case_.reports -= 1
            case_.value.more.append(
                unsafe try StorageReader.read(try StorageReader.part(stored.report, "report")))
        case 5 where case_.reports == 0 && case_.rounds > 0:
            case_.rounds -= 1
            case_.value.rounds.append(
                unsafe try StorageReader.read(try StorageReader.part(stored.round, "round")))
        case 6 where case_.reports == 0 && case_.rounds == 0 && case_.decisions > 0:
            case_.decisions -= 1
            case_.value.decisions.append(
                unsafe try StorageReader.read(try StorageReader.part(stored.decision, "decision")))
        case 10
        where case_.reports == 0 && case_.rounds == 0 && case_.decisions == 0
            && case_.reopenings > 0:
            case_.reopenings -= 1
            case_.value.reopenings.append(
                unsafe try StorageReader.read(
                    try StorageReader.part(stored.reopening, "reopening")))
        default: throw .outOfOrder("a part that its case did not announce")
        }
        pending = case_
    }

    private func admit(_ body: () throws(WorldImportError) -> Void) throws(CodecError) {
        do { try body() } catch { throw .refused(error.description) }
    }

    /// Checks that the last case was complete; call it after the last record.
    package func finish() throws(CodecError) {
        guard pending == nil else { throw .outOfOrder("a case is not complete") }
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
