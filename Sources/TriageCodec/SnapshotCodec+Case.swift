// The record of a case and of its receipt, which are nearly all of a snapshot: written straight
// into the arena, byte for byte what protobuf-c packs; a test says so. What is rare goes
// protobuf-c's way.

internal import TriageBase
internal import TriageDomain

/// Fields of the records that are written and read without generated structures, by their numbers.
enum SnapshotField {
    enum Record { static let caseRecord: UInt8 = 3, ledger: UInt8 = 9 }
    enum Case {
        static let number: UInt8 = 1, state: UInt8 = 2, level: UInt8 = 3, code: UInt8 = 4
        static let clearance: UInt8 = 5, language: UInt8 = 6, region: UInt8 = 7
        static let routing: UInt8 = 8, modifierBits: UInt8 = 9, governedBy: UInt8 = 10
        static let live: UInt8 = 11, receivedAt: UInt8 = 12, updatedAt: UInt8 = 13
        static let effectiveDeadline: UInt8 = 14, legalDeadline: UInt8 = 15, revision: UInt8 = 16
        static let assignment: UInt8 = 17, subjectHigh: UInt8 = 18, subjectLow: UInt8 = 19
        static let first: UInt8 = 20, reportCount: UInt8 = 23, roundCount: UInt8 = 24
        static let decisionCount: UInt8 = 25, reopeningCount: UInt8 = 26
    }
    enum Report {
        static let number: UInt8 = 1, receivedAt: UInt8 = 2, submitter: UInt8 = 3
        static let content: UInt8 = 4
    }
    enum Ledger {
        static let keyHigh: UInt8 = 1, keyLow: UInt8 = 2, fingerprintHigh: UInt8 = 3
        static let fingerprintLow: UInt8 = 4, time: UInt8 = 5, receipt: UInt8 = 6
        static let caseNumber: UInt8 = 7, offeredAssignment: UInt8 = 8
        static let assignmentNumber: UInt8 = 9
    }
    enum Receipt {
        static let caseNumber: UInt8 = 1, reportNumber: UInt8 = 2, opened: UInt8 = 3
        static let level: UInt8 = 4, revision: UInt8 = 5, receivedAt: UInt8 = 6
    }
}

extension StorageWriter {
    /// Two bytes of tag and ten of number for each field, and the heads of two messages.
    private static let fixedBytesMax = 26 * 12 + 2 * 12
    /// A tag and a length, before the message whose length it is.
    private static let headBytesMax = 1 + FieldWriter.varintBytesMax

    /// Writes a message of a record, and its head before it.
    @inline(__always)
    private func packed(
        _ field: UInt8, bytesMax: Int, _ write: (inout FieldWriter) -> Void
    ) -> UnsafeBufferPointer<UInt8> {
        let memory = unsafe arena.take(Self.headBytesMax + bytesMax, of: UInt8.self)
        let start = unsafe memory + Self.headBytesMax
        var body = unsafe FieldWriter(start, capacity: bytesMax)
        write(&body)
        let headBytes = 1 + FieldWriter.varintBytes(UInt64(body.count))
        var head = unsafe FieldWriter(start - headBytes, capacity: headBytes)
        head.head(field, body.count)
        return unsafe UnsafeBufferPointer(start: start - headBytes, count: headBytes + body.count)
    }

    /// A case's own record; nil when it has what is rare.
    func packed(_ value: borrowing Case) -> UnsafeBufferPointer<UInt8>? {
        guard value.pendingLowering.isEmpty, value.declinedBy.isEmpty else { return nil }
        return unsafe packed(
            SnapshotField.Record.caseRecord,
            bytesMax: Self.fixedBytesMax + value.first.content.count
        ) { write(value, to: &$0) }
    }

    @inline(__always)
    private func write(_ value: borrowing Case, to out: inout FieldWriter) {
        typealias Field = SnapshotField.Case
        out.number(Field.number, value.number.value)
        out.number(Field.state, UInt64(value.state.rawValue))
        out.number(Field.level, UInt64(value.level.rawValue))
        let code = value.code
        out.small(Field.code) { out in
            out.number(RecordField.Code.harmFamily, UInt64(code.family.rawValue))
            out.number(RecordField.Code.decisionPoint, UInt64(code.point.rawValue))
            out.number(RecordField.Code.modifierBits, UInt64(code.modifiers.rawValue))
        }
        out.number(Field.clearance, UInt64(value.clearance.rawValue))
        out.number(Field.language, UInt64(value.language.rawValue))
        out.number(Field.region, UInt64(value.region.rawValue))
        out.number(Field.routing, UInt64(value.routing.rawValue))
        out.number(Field.modifierBits, UInt64(value.modifiers.rawValue))
        out.number(Field.governedBy, UInt64(value.governedBy.rawValue))
        out.number(Field.live, value.live ? 1 : 0)
        out.signed(Field.receivedAt, value.receivedAt.milliseconds)
        out.signed(Field.updatedAt, value.updatedAt.milliseconds)
        out.signed(Field.effectiveDeadline, value.effectiveDeadline.milliseconds)
        out.signed(Field.legalDeadline, value.legalDeadline.milliseconds)
        out.number(Field.revision, value.revision)
        out.number(Field.assignment, value.assignment.value)
        out.fixed(Field.subjectHigh, value.subject.high)
        out.fixed(Field.subjectLow, value.subject.low)
        writeFirst(value, to: &out)
        out.number(Field.reportCount, UInt64(value.more.count))
        out.number(Field.roundCount, UInt64(value.rounds.count))
        out.number(Field.decisionCount, UInt64(value.decisions.count))
        out.number(Field.reopeningCount, UInt64(value.reopenings.count))
    }

    @inline(__always)
    private func writeFirst(_ value: borrowing Case, to out: inout FieldWriter) {
        typealias Field = SnapshotField.Report
        let number = value.first.number.value
        let receivedAt = UInt64(bitPattern: value.first.receivedAt.milliseconds)
        let submitter = UInt64(value.first.submitter.value)
        let count = value.first.content.count
        let contentBytes =
            count == 0 ? 0 : 1 + FieldWriter.varintBytes(UInt64(count)) + count
        out.head(
            SnapshotField.Case.first,
            FieldWriter.numberBytes(number) + FieldWriter.numberBytes(receivedAt)
                + FieldWriter.numberBytes(submitter) + contentBytes)
        out.number(Field.number, number)
        out.number(Field.receivedAt, receivedAt)
        out.number(Field.submitter, submitter)
        unsafe value.first.content.withUnsafeBytes { unsafe out.text(Field.content, $0) }
    }

    /// An entry of the ledger that is a receipt; nil for another answer.
    func packed(_ entry: LedgerEntry) -> UnsafeBufferPointer<UInt8>? {
        guard case .receipt(let receipt) = entry.answer else { return nil }
        return unsafe packed(SnapshotField.Record.ledger, bytesMax: Self.fixedBytesMax) { out in
            typealias Field = SnapshotField.Ledger
            out.fixed(Field.keyHigh, entry.key.high)
            out.fixed(Field.keyLow, entry.key.low)
            out.fixed(Field.fingerprintHigh, entry.fingerprint.high)
            out.fixed(Field.fingerprintLow, entry.fingerprint.low)
            out.signed(Field.time, entry.time.milliseconds)
            out.small(Field.receipt) { out in
                typealias Field = SnapshotField.Receipt
                out.number(Field.caseNumber, receipt.caseNumber.value)
                out.number(Field.reportNumber, receipt.report.value)
                out.number(Field.opened, receipt.opened ? 1 : 0)
                out.number(Field.level, UInt64(receipt.level.rawValue))
                out.number(Field.revision, receipt.revision)
                out.signed(Field.receivedAt, receipt.receivedAt.milliseconds)
            }
        }
    }
}
