// Reads segments ahead of whoever goes through them in order: reading, decrypting and hashing are
// what a journal costs to check, and segments do not depend on each other in that.

internal import TriageBase
internal import TriageIO

/// What one segment came to.
///
/// `@unchecked Sendable`: owned by the thread that reads, then by the one that takes.
final class SegmentAhead: @unchecked Sendable {
    fileprivate var part: JournalPart?
    fileprivate var content: SegmentContent?
    fileprivate var error: JournalError?
    /// Memory for the next one.
    fileprivate var memory: PageBuffer?

    /// What was read, hashed.
    ///
    /// - Throws: As reading it.
    func takeContent() throws(JournalError) -> SegmentContent {
        if let content = content.take() { return content }
        throw error ?? .gap(file: FileName.segment(1), missing: 1)
    }
}

/// Segments that are read ahead.
///
/// - Isolation: ``take()`` from one thread.
final class SegmentsAhead: Sendable {
    private let work: WorkAhead<SegmentAhead>

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - parts: Those whose segments are there, in the order in which they will be taken.
    ///   - reader: Reads segments.
    ///   - threads: Threads that read; that many and one more are held in memory.
    /// - Throws: `.io` when there is no thread left.
    init(
        _ parts: [JournalPart], _ reader: SegmentReader, threads: HelperThreads
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
                makeWork: { { Self.read($0, reader) } })
        } catch { throw .io(error) }
    }

    private static func read(_ segment: SegmentAhead, _ reader: SegmentReader) {
        guard let part = segment.part, let directory = part.directory else { return }
        let memory = segment.memory.take() ?? PageBuffer(capacity: Format.blockBytes)
        segment.error = nil
        do throws(JournalError) {
            segment.content = .some(
                try reader.read(part.first, in: directory, isLast: part.isLast, memory: memory))
        } catch { segment.error = error }
    }

    /// The next segment; waits for it.
    func take() -> SegmentAhead? { work.take() }

    /// Gives a segment's memory back for those that follow.
    func giveBack(_ segment: SegmentAhead, _ memory: consuming PageBuffer) {
        segment.memory = .some(memory)
        work.giveBack(segment)
    }
}
