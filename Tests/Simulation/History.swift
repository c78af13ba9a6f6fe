// The model: every record that was read back from the disk so far, and the World that they give.
// What the engine recovers and shows is compared with it.

import DomainFixtures
import TestSupport
import TriageBase
import TriageCodec
import TriageDomain
import TriageEngine
import TriageJournal

/// One journal record, decoded.
struct HistoryRecord {
    let header: EventHeader
    let events: [Event]
    /// Of its body.
    let body: Hash128
    /// Of its sealed fields; nil: it was taken out.
    let fields: [Hash128?]

    /// Whether it is the same record, but for fields that were taken out of one.
    func isSame(as other: HistoryRecord) -> Bool {
        body == other.body && fields.count == other.fields.count
            && zip(fields, other.fields).allSatisfy { $0 == nil || $1 == nil || $0 == $1 }
    }
}

/// Takes a journal's records.
struct HistoryReader: RecordVisitor {
    private let codec = EventCodec()
    private(set) var first: UInt64 = 0
    private(set) var records: [HistoryRecord] = []

    mutating func journalRecord(
        sequence: UInt64, time: WallTime, _ record: RecordView
    ) throws(RecordRejection) {
        if first == 0 { first = sequence }
        do {
            let (header, events) = try codec.decode(record, sequence: sequence, time: time)
            var fields: [Hash128?] = []
            for number in 0..<record.fieldCount {
                fields.append(
                    record.isErased(number + 1)
                        ? nil : Hash128(of: record.field(number + 1), seed: 1))
            }
            records.append(
                HistoryRecord(
                    header: header, events: events, body: Hash128(of: record.body, seed: 0),
                    fields: fields))
        } catch {
            throw RecordRejection("\(error)")
        }
    }
}

/// Every record, and the World after the last one.
final class History {
    private(set) var records: [HistoryRecord] = []
    private(set) var world = World()

    var count: UInt64 { UInt64(records.count) }

    /// Takes what a journal holds: the records that are known must be the same, those behind the
    /// last one that was shown may be gone, others may be new.
    ///
    /// - Parameters:
    ///   - read: What was read.
    ///   - head: The journal's last record.
    ///   - shown: The last record that somebody was shown the effect of.
    /// - Returns: The records that are new.
    /// - Throws: ``Violation`` when they are not what they must be.
    func take(
        _ read: HistoryReader, head: UInt64, shown: UInt64
    ) throws(Violation) -> ArraySlice<HistoryRecord> {
        try require(head >= shown, "record \(shown) was acknowledged; the journal ends at \(head)")
        if head < count { truncate(to: head) }
        let known = count
        for record in read.records {
            let sequence = record.header.sequence
            if sequence <= known {
                try require(
                    records[Int(sequence) - 1].isSame(as: record),
                    "record \(sequence) is another one than before")
            } else {
                try require(sequence == count + 1, "record \(count + 1) is missing")
                if let last = records.last {
                    try require(
                        last.header.time <= record.header.time,
                        "record \(sequence) is of an earlier time than the one before")
                }
                records.append(record)
                world.apply(record.events, record.header)
            }
        }
        try require(count == head, "the journal says it ends at \(head), and ends at \(count)")
        try requireErased(read)
        return records[Int(known)...]
    }

    /// Records that erase words: the last one for the reports of a case, the one for evidence.
    private struct Erasures {
        var cases: [CaseNumber: UInt64] = [:]
        var evidence: [EvidenceNumber: UInt64] = [:]

        init(_ records: some Sequence<HistoryRecord>) {
            for record in records {
                for event in record.events {
                    switch event {
                    case .reportTextsErased(let matter, _): cases[matter] = record.header.sequence
                    case .evidenceErased(let number, _): evidence[number] = record.header.sequence
                    default: break
                    }
                }
            }
        }

        /// Whether a later record erases the words that a record brings, which are all that is
        /// sealed in it.
        func erase(_ record: HistoryRecord) -> Bool {
            guard record.fields.count == 1, record.events.count == 1 else { return false }
            let erasure: UInt64? =
                switch record.events[0] {
                case .reportReceived(let matter, _, _, _, _, _): cases[matter]
                case .evidenceAttached(_, let number, _): evidence[number]
                default: nil
                }
            return erasure ?? 0 > record.header.sequence
        }
    }

    /// What was taken out of records is words that a later record erases.
    private func requireErased(_ read: HistoryReader) throws(Violation) {
        let lacking = read.records.filter { $0.fields.contains(nil) }
        guard !lacking.isEmpty else { return }
        let erasures = Erasures(records)
        for record in lacking {
            try require(
                erasures.erase(record),
                "something of record \(record.header.sequence) was forgotten")
        }
    }

    /// Of what was read, the records that still have words which a later record erases.
    ///
    /// Only what stands up to the record `last` counts as an erasure.
    func unforgotten(_ read: HistoryReader, erasedUpTo last: UInt64 = .max) -> [UInt64] {
        let erasures = Erasures(records.prefix(Int(min(last, count))))
        return read.records.filter { !$0.fields.contains(nil) && erasures.erase($0) }
            .map(\.header.sequence)
    }

    /// Erases in a World what records behind it erase: these words may be forgotten already, and
    /// come back from an older snapshot or not.
    func forget(in world: inout World) {
        let last = world.snapshotState.counters.sequence
        for record in records.dropFirst(Int(last)) {
            for event in record.events {
                let isThere =
                    switch event {
                    case .reportTextsErased(let matter, _):
                        matter.value < world.snapshotState.cases.endIndex
                    case .evidenceErased(let number, _):
                        number.value < world.snapshotState.evidence.endIndex
                    default: false
                    }
                if isThere { world.apply([event], record.header) }
            }
        }
    }

    private func truncate(to head: UInt64) {
        records.removeLast(records.count - Int(head))
        world = world(at: head)
    }

    /// The World after a record.
    func world(at sequence: UInt64) -> World {
        var world = World()
        for record in records.prefix(Int(sequence)) { world.apply(record.events, record.header) }
        return world
    }
}

/// Compares two states, in every bit that a snapshot holds, and now and then in every field.
func requireEqual(
    _ found: borrowing World, _ expected: borrowing World, inFull: Bool, _ what: String
) throws(Violation) {
    let (a, b) = (found.snapshotState, expected.snapshotState)
    try require(encoded(a) == encoded(b), "\(what): the state is another one")
    guard inFull else { return }
    try require(described(a) == described(b), "\(what): the state is another one, in a field")
    do { try found.checkInvariants() } catch { throw Violation("\(what): \(error)") }
}

private func encoded(_ state: WorldState) -> UInt64 {
    var hash: UInt64 = 0
    SnapshotCodec.encode(state) { (section, record) throws(Never) in
        hash = mix64(hash &* 31 &+ UInt64(section) &+ Hash128(of: record, seed: 1).low)
    }
    return hash
}
