// Where in a journal record the words of reports are, for whoever is to take them out of it. Reads
// bodies only, and no sealed field.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
internal import TriageDomain

/// Finds the sealed fields that hold the content of reports.
///
/// - Isolation: one thread at a time.
package final class ReportContents {
    private let arena = Arena()

    package init() {}

    /// Gives each report that a record brings, and the number of the sealed field of its content.
    ///
    /// - Parameters:
    ///   - record: A record as ``EventCodec`` encodes it.
    ///   - body: Called for each; of nearly every record once, or not at all.
    /// - Throws: ``CodecError`` when the record is damaged or of a later version.
    package func forEach(
        in record: RecordView, _ body: (ReportNumber, Int) -> Void
    ) throws(CodecError) {
        let read = CanonicalReader.read(record.body) { reader in
            unsafe reader.reportRecord { _ in .system }
        }
        if let read {
            return body(read.report, try Self.checked(read.contentSealed, record))
        }
        arena.reset()
        let stored: UnsafeMutablePointer<Triaged__Storage__V1__JournalRecord>
        do {
            unsafe stored = try arena.unpack(
                record.body, .storage, triaged__storage__v1__journal_record__init)
        } catch { throw .wire(error) }
        for index in unsafe 0..<stored.pointee.n_events {
            guard
                let event = unsafe elements(stored.pointee.events, stored.pointee.n_events)[index],
                // The case of a oneof is the number of the field that is set.
                unsafe event.pointee.kind_case.rawValue == 1
            else { continue }
            let received = unsafe try StorageReader.part(
                event.pointee.report_received, "Event.report_received")
            body(
                unsafe try StorageReader.reportNumber(received.report_number),
                try Self.checked(unsafe received.content_sealed, record))
        }
    }

    private static func checked(
        _ number: Int32, _ record: RecordView
    ) throws(CodecError) -> Int {
        guard number > 0, number <= record.fieldCount else {
            throw .outOfRange("ReportReceived.content_sealed")
        }
        return Int(number)
    }
}
