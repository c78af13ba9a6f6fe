// The record of a report, which is nearly every record: written straight into the body's bytes,
// with its content sealed. 5,000 instructions less than packing generated structures, and the same
// bytes: a test says so.

internal import TriageBase
internal import TriageDomain

/// Fields of a report's record, by their numbers.
enum RecordField {
    enum Record {
        static let principal: UInt8 = 1, requestIDHigh: UInt8 = 2, requestIDLow: UInt8 = 3
        static let fingerprintHigh: UInt8 = 4, fingerprintLow: UInt8 = 5, events: UInt8 = 6
    }
    enum Event { static let reportReceived: UInt8 = 1 }
    enum Report {
        static let caseNumber: UInt8 = 1, reportNumber: UInt8 = 2, opened: UInt8 = 3
        static let facts: UInt8 = 4, assessment: UInt8 = 5, contentSealed: UInt8 = 7
    }
    enum Facts {
        static let harmFamily: UInt8 = 1, reporterKind: UInt8 = 2, imminence: UInt8 = 3
        static let modifierBits: UInt8 = 4, signalPermille: UInt8 = 5, live: UInt8 = 6
        static let language: UInt8 = 7, region: UInt8 = 8, routing: UInt8 = 9
        static let clearance: UInt8 = 10, subjectHigh: UInt8 = 11, subjectLow: UInt8 = 12
    }
    enum Code {
        static let harmFamily: UInt8 = 1, decisionPoint: UInt8 = 2, modifierBits: UInt8 = 3
    }
    enum Assessed {
        static let level: UInt8 = 1, code: UInt8 = 2, deadline: UInt8 = 3, governedBy: UInt8 = 4
    }
}

/// One report's record: what of it has a fixed size.
struct ReportRecord {
    let number: CaseNumber
    let report: ReportNumber
    let opened: Bool
    let facts: ReportFacts
    let assessment: Assessment

    /// Writes a record of one event.
    ///
    /// - Returns: False, and `record` is as it was, when the event is no report.
    @inline(__always)
    static func write(
        _ header: EventHeader, _ event: Event, into record: inout RecordParts
    ) -> Bool {
        guard
            case .reportReceived(
                let number, let report, let opened, let facts, let assessment, let content) = event
        else { return false }
        ReportRecord(
            number: number, report: report, opened: opened, facts: facts, assessment: assessment
        ).write(header, content, into: &record)
        return true
    }

    /// Numbers, facts and assessment: 3 numbers and a truth value, 10 small numbers and 2 large
    /// ones, 6 small numbers and a time, with the heads of three messages.
    private static let fixedBytesMax = 160
    /// Heads of the record, the event and the report, and 4 large numbers.
    private static let headBytesMax = 80

    /// Writes the record, which is empty.
    private func write(
        _ header: EventHeader, _ content: [UInt8], into record: inout RecordParts
    ) {
        let sealed = record.seal(content)
        let bytesMax =
            header.principal.text.utf8.count + Self.fixedBytesMax + Self.headBytesMax
        record.body.append(addingCapacity: bytesMax) { output in
            unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                guard let start = buffer.baseAddress else { return }
                var writer = unsafe FieldWriter(start + count, capacity: buffer.count - count)
                write(header, to: &writer, sealed)
                count += writer.count
            }
        }
    }

    private func write(_ header: EventHeader, to record: inout FieldWriter, _ sealed: Int) {
        let principal = header.principal.text.utf8.span
        unsafe principal.withUnsafeBytes {
            unsafe record.text(RecordField.Record.principal, $0)
        }
        record.fixed(RecordField.Record.requestIDHigh, header.requestID.high)
        record.fixed(RecordField.Record.requestIDLow, header.requestID.low)
        record.fixed(RecordField.Record.fingerprintHigh, header.fingerprint.high)
        record.fixed(RecordField.Record.fingerprintLow, header.fingerprint.low)
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.fixedBytesMax) {
            guard let start = $0.baseAddress else { return }
            // The report first: its size is in the heads before it.
            var fixed = unsafe FieldWriter(start, capacity: Self.fixedBytesMax)
            writeFixed(to: &fixed)
            fixed.number(RecordField.Report.contentSealed, UInt64(sealed))
            let report = fixed.count
            record.head(
                RecordField.Record.events, 1 + FieldWriter.varintBytes(UInt64(report)) + report)
            record.head(RecordField.Event.reportReceived, report)
            unsafe record.raw(fixed.bytes)
        }
    }

    private func writeFixed(to out: inout FieldWriter) {
        out.number(RecordField.Report.caseNumber, number.value)
        out.number(RecordField.Report.reportNumber, report.value)
        out.number(RecordField.Report.opened, opened ? 1 : 0)
        out.small(RecordField.Report.facts) { out in
            typealias Field = RecordField.Facts
            out.number(Field.harmFamily, UInt64(facts.family.rawValue))
            out.number(Field.reporterKind, UInt64(facts.reporter.rawValue))
            out.number(Field.imminence, UInt64(facts.imminence.rawValue))
            out.number(Field.modifierBits, UInt64(facts.modifiers.rawValue))
            out.number(Field.signalPermille, UInt64(facts.signalPermille))
            out.number(Field.live, facts.live ? 1 : 0)
            out.number(Field.language, UInt64(facts.language.rawValue))
            out.number(Field.region, UInt64(facts.region.rawValue))
            out.number(Field.routing, UInt64(facts.routing.rawValue))
            out.number(Field.clearance, UInt64(facts.clearance.rawValue))
            out.fixed(Field.subjectHigh, facts.subject.high)
            out.fixed(Field.subjectLow, facts.subject.low)
        }
        out.small(RecordField.Report.assessment) { out in
            typealias Field = RecordField.Assessed
            out.number(Field.level, UInt64(assessment.level.rawValue))
            out.small(Field.code) { out in
                let code = assessment.code
                out.number(RecordField.Code.harmFamily, UInt64(code.family.rawValue))
                out.number(RecordField.Code.decisionPoint, UInt64(code.point.rawValue))
                out.number(RecordField.Code.modifierBits, UInt64(code.modifiers.rawValue))
            }
            out.signed(Field.deadline, assessment.effectiveDeadline.milliseconds)
            out.number(Field.governedBy, UInt64(assessment.governedBy.rawValue))
        }
    }
}
