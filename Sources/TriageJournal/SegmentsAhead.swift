// Reads segments ahead of whoever goes through them in order: reading, decrypting, hashing and
// decoding are what a journal costs to check or to replay, and segments do not depend on each other
// in that.

internal import TriageBase
internal import TriageIO

/// What one segment came to.
///
/// `@unchecked Sendable`: owned by the thread that reads, then by the one that takes.
final class SegmentAhead<Decoder: RecordDecoder>: @unchecked Sendable {
    fileprivate var part: JournalPart?
    fileprivate var content: SegmentContent?
    fileprivate var error: JournalError?
    /// Memory for the next one.
    fileprivate var memory: PageBuffer?
    /// What its records were decoded to, as far as they could be.
    fileprivate(set) var records: Decoder.Records?
    /// Why the others could not.
    fileprivate(set) var rejection: JournalError?

    /// What was read, hashed.
    ///
    /// - Throws: As reading it.
    func takeContent() throws(JournalError) -> SegmentContent {
        if let content = content.take() { return content }
        throw error ?? .gap(file: FileName.segment(1), missing: 1)
    }

    /// Hands over what its records were decoded to; nil when that was done before.
    func takeRecords() -> Decoder.Records? { records.take() }
}

/// Segments that are read ahead.
///
/// - Isolation: ``take()`` from one thread.
final class SegmentsAhead<Decoder: RecordDecoder>: Sendable {
    private let work: WorkAhead<SegmentAhead<Decoder>>

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - parts: Those whose segments are there, in the order in which they will be taken.
    ///   - reader: Reads segments.
    ///   - threads: Threads that read; that many and one more are held in memory.
    ///   - after: Records up to this sequence are not decoded.
    ///   - makeDecoder: Makes what decodes, for one thread.
    /// - Throws: `.io` when there is no thread left.
    init(
        _ parts: [JournalPart], _ reader: SegmentReader, threads: HelperThreads, after: UInt64,
        makeDecoder: @escaping @Sendable () -> Decoder
    ) throws(JournalError) {
        do {
            work = try WorkAhead(
                threads: threads, ahead: threads.count + 1, name: "segments ahead",
                next: { index, spare in
                    guard index < parts.count else { return nil }
                    let segment = spare ?? SegmentAhead()
                    segment.part = parts[index]
                    return segment
                },
                makeWork: {
                    var decoder = makeDecoder()
                    return { Self.read($0, reader, after, &decoder) }
                })
        } catch { throw .io(error) }
    }

    private static func read(
        _ segment: SegmentAhead<Decoder>, _ reader: SegmentReader, _ after: UInt64,
        _ decoder: inout Decoder
    ) {
        guard let part = segment.part, let directory = part.directory else { return }
        let memory = segment.memory.take() ?? PageBuffer(capacity: Format.blockBytes)
        segment.error = nil
        segment.rejection = nil
        do throws(JournalError) {
            let content = try reader.read(
                part.first, in: directory, isLast: part.isLast, memory: memory)
            do throws(JournalError) {
                for batch in content.batches { try content.visit(batch, after: after, &decoder) }
            } catch { segment.rejection = error }
            segment.records = decoder.take()
            segment.content = .some(content)
        } catch { segment.error = error }
    }

    /// The next segment; waits for it.
    func take() -> SegmentAhead<Decoder>? { work.take() }

    /// Gives a segment's memory back for those that follow.
    func giveBack(_ segment: SegmentAhead<Decoder>, _ memory: consuming PageBuffer) {
        segment.memory = .some(memory)
        work.giveBack(segment)
    }
}
