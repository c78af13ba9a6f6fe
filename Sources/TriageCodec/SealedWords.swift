// Where in a journal record the words are that can be erased, for whoever is to take them out of
// it. Reads bodies only, and no sealed field.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

/// Finds the sealed fields that hold the content of reports and the captions of evidence.
///
/// - Isolation: one thread at a time.
package final class SealedWords {
    private let arena = Arena()

    package init() {}

    /// Gives each report and each captioned evidence that a record brings, and the number of the
    /// sealed field with its words.
    ///
    /// - Parameters:
    ///   - record: A record as ``EventCodec`` encodes it.
    ///   - body: Called for each; of nearly every record once, or not at all.
    /// - Throws: ``CodecError`` when the record is damaged or of a later version.
    package func forEach(
        in record: RecordView, _ body: (WordsOwner, Int) -> Void
    ) throws(CodecError) {
        let read = CanonicalReader.read(record.body) { reader in
            unsafe reader.reportRecord { _ in .system }
        }
        if let read {
            return body(
                .report(read.report),
                try Self.checked(read.contentSealed, record, "ReportReceived.content_sealed"))
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
                let (owner, field) = unsafe try Self.words(event.pointee, record)
            else { continue }
            body(owner, field)
        }
    }

    /// What words an event brings, and in which field; nil when none that can be erased.
    private static func words(
        _ event: Triaged__Storage__V1__Event, _ record: RecordView
    ) throws(CodecError) -> (WordsOwner, Int)? {
        // The case of a oneof is the number of the field that is set.
        switch unsafe event.kind_case.rawValue {
        case 1:
            let received = unsafe try StorageReader.part(
                event.report_received, "Event.report_received")
            return (
                .report(unsafe try StorageReader.reportNumber(received.report_number)),
                try checked(
                    unsafe received.content_sealed, record, "ReportReceived.content_sealed")
            )
        case 20:
            let attached = unsafe try StorageReader.part(
                event.evidence_attached, "Event.evidence_attached")
            // Evidence without a caption.
            if unsafe attached.caption_sealed == 0 { return nil }
            let number = unsafe try StorageReader.smallNumber(
                attached.evidence_number, "EvidenceAttached.evidence_number")
            return (
                .evidence(EvidenceNumber(number)),
                try checked(
                    unsafe attached.caption_sealed, record, "EvidenceAttached.caption_sealed")
            )
        default: return nil
        }
    }

    private static func checked(
        _ number: Int32, _ record: RecordView, _ field: StaticString
    ) throws(CodecError) -> Int {
        guard number > 0, number <= record.fieldCount else { throw .outOfRange("\(field)") }
        return Int(number)
    }
}
