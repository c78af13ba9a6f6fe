// Where words that can be erased are in a record: for every kind of event, alone and among others.

import Testing
import TriageBase

@testable import TriageCodec
@testable import TriageDomain

@Suite("Sealed words") struct SealedWordsTests {
    let codec = EventCodec()
    let words = SealedWords()

    /// Whose words are found, each with the bytes of the field that is named.
    private func found(_ record: RecordParts) throws -> [(WordsOwner, [UInt8])] {
        let result: Result<[(WordsOwner, [UInt8])], CodecError> = record.withView { view in
            var found: [(WordsOwner, [UInt8])] = []
            do throws(CodecError) {
                try words.forEach(in: view) { owner, field in
                    found.append((owner, [UInt8](copying: view.field(field))))
                }
            } catch { return .failure(error) }
            return .success(found)
        }
        return try result.get()
    }

    private func expected(_ events: [Event]) -> [(WordsOwner, [UInt8])] {
        events.compactMap { event in
            switch event {
            case .reportReceived(_, let report, _, _, _, let content): (.report(report), content)
            case .evidenceAttached(_, let evidence, let attachment):
                attachment.caption.isEmpty
                    ? nil : (.evidence(evidence), Array(attachment.caption.utf8))
            default: nil
            }
        }
    }

    @Test("every record's words are found, and nothing else", arguments: 0..<40)
    func findsWords(seed: Int) throws {
        var arbitrary = Arbitrary(seed: UInt64(seed) + 1)
        var reports = 0
        for round in 0..<60 {
            var header = arbitrary.header()
            // Without a name no record is read by the short way.
            if round % 3 == 0 { header.principal = Principal(journaled: "") }
            let events = (0..<round % 4).map { _ in
                arbitrary.event(
                    arbitrary.below(3) == 0
                        ? 0 : Int(arbitrary.below(UInt64(Arbitrary.eventKinds))))
            }
            let record = codec.encode(header, events)
            let (read, wanted) = (try found(record), expected(events))
            reports += wanted.count
            #expect(read.map(\.0) == wanted.map(\.0) && read.map(\.1) == wanted.map(\.1))
        }
        #expect(reports > 10)
    }

    @Test("a field that the record has not, and bytes that are no record, are refused")
    func refusesDamage() throws {
        var arbitrary = Arbitrary(seed: 3)
        let event = arbitrary.event(0)
        for principal in [CaseSamples.bob, Principal(journaled: "")] {
            var header = arbitrary.header()
            header.principal = principal
            var record = RecordParts()
            record.body = codec.encode(header, [event]).body
            let given = record
            #expect(throws: CodecError.outOfRange("ReportReceived.content_sealed")) {
                try found(given)
            }
        }
        var record = RecordParts()
        record.body = [0x0A, 4, 1]
        let given = record
        #expect(throws: CodecError.wire(MessageFault(kind: .truncated, offset: 0))) {
            try found(given)
        }
    }
}
