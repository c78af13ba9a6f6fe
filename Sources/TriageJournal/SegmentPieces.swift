// Reads a journal in pieces of a few batches ahead of whoever replays or checks it: reading,
// decrypting, hashing and decoding are what that costs, and batches do not depend on each other. A
// piece is small enough that every thread has one from the first moment to the last, and that what
// it is decoded to is taken while the processor's cache still has it.
//
// Knows of good batches and of zeros. Wherever anything else stands it says so and no more: what it
// is, a whole segment has to be looked at for (SegmentReader).

internal import TriageBase
internal import TriageIO

/// Whole batches of one segment that follow each other, or a part of the zeros behind the last one.
///
/// `@unchecked Sendable`: owned by the thread that reads, then by the one that takes.
final class SegmentPiece<Decoder: RecordDecoder>: @unchecked Sendable {
    /// Of which segment.
    fileprivate(set) var part: JournalPart
    /// Whether something else than a good batch or zeros stands behind its batches.
    fileprivate(set) var isIrregular = false
    /// Why some of its records could not be decoded.
    fileprivate(set) var rejection: JournalError?
    private var records: Decoder.Records?
    private var content: SegmentContent?
    private var error: JournalError?
    /// Memory for the next one.
    private var memory: PageBuffer?
    /// The sequence that its first record should have.
    private var sequence: UInt64 = 0
    /// Where its last batch ends in its memory, as their headers tell.
    private var batchesEnd = 0

    fileprivate init(_ part: JournalPart) { self.part = part }

    // MARK: Taking

    /// What was read, hashed.
    ///
    /// - Throws: Why it could not be read.
    func takeContent() throws(JournalError) -> SegmentContent {
        if let content = content.take() { return content }
        throw error ?? .gap(file: part.file, missing: part.first)
    }

    /// Hands over what its records were decoded to, as far as they could be; nil when that was
    /// done before.
    func takeRecords() -> Decoder.Records? { records.take() }

    // MARK: Reading

    /// Reads what the next piece is of.
    ///
    /// - Returns: False when the segment cannot be read.
    fileprivate func load(_ segment: PiecewiseSegment, _ headers: BatchHeaders) -> Bool {
        part = segment.part
        isIrregular = false
        rejection = nil
        error = nil
        content = nil
        sequence = segment.sequence
        var memory = self.memory.take() ?? PageBuffer(capacity: Format.blockBytes)
        let base = segment.offset
        let goesOn = base > Format.blockBytes
        do throws(JournalError) {
            let count = try segment.read(&memory, headers, batchesEnd: &batchesEnd)
            content = .some(
                SegmentContent(
                    file: part.file, header: segment.header, image: memory, base: base,
                    size: count, goesOn: goesOn, end: 0))
            return true
        } catch {
            self.error = error
            return false
        }
    }

    fileprivate func fail(_ failure: JournalError) { error = failure }

    /// Verifies, decrypts, hashes and decodes what was read.
    fileprivate func open(_ reader: SegmentReader, _ after: UInt64, _ decoder: inout Decoder) {
        guard var content = self.content.take() else { return }
        do throws(JournalError) {
            try open(&content, reader)
            content.hashRecords()
            do throws(JournalError) {
                for batch in content.batches { try content.visit(batch, after: after, &decoder) }
            } catch { rejection = error }
            records = decoder.take()
            self.content = .some(content)
        } catch { self.error = error }
    }

    private func open(
        _ content: inout SegmentContent, _ reader: SegmentReader
    ) throws(JournalError) {
        let cipher = try FileCipher(content.header, content.file, reader.keys)
        var batches = BatchReader(key: Format.key(reader.cluster), cipher: cipher)
        var next = sequence
        while content.end < batchesEnd {
            do throws(BatchFault) {
                let place = try batches.open(
                    &content.image, size: content.size, at: content.end, expecting: next)
                content.batches.append(place)
                content.end = place.end
                next += place.count
            } catch {
                isIrregular = true
                return
            }
        }
        isIrregular = !content.isZero(from: content.end)
    }

    fileprivate func giveBack(_ memory: consuming PageBuffer) { self.memory = .some(memory) }
}

/// A segment that is read piece by piece.
///
/// `@unchecked Sendable`: pieces are begun one after the other, by whichever thread.
private final class PiecewiseSegment: @unchecked Sendable {
    let part: JournalPart
    let header: HeaderBlock
    private let file: any DiskFile
    private let pieceBytes: Int
    /// Where the next piece begins.
    private(set) var offset = Format.blockBytes
    /// The sequence of the next record.
    private(set) var sequence: UInt64
    /// Whether the last batch was read.
    private var isBehindBatches = false

    /// Opens a segment and reads its header.
    init(_ part: JournalPart, _ reader: SegmentReader, pieceBytes: Int) throws(JournalError) {
        self.part = part
        self.pieceBytes = pieceBytes
        let path = (part.directory ?? "") + "/" + part.file
        let disk = reader.disk
        file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        header = try reader.header(of: file, part.file, part.first)
        sequence = header.sequence
    }

    private var size: Int { Int(header.size) }

    var isAtEnd: Bool { offset == size }

    /// Reads the next piece.
    ///
    /// - Parameters:
    ///   - memory: Where it goes.
    ///   - headers: Finds batches.
    ///   - batchesEnd: Where the last whole batch ends in it, as the headers tell.
    /// - Returns: Its bytes.
    /// - Throws: `.io`; `.dataLoss` when the file ends before its end.
    func read(
        _ memory: inout PageBuffer, _ headers: BatchHeaders, batchesEnd: inout Int
    ) throws(JournalError) -> Int {
        var count = min(pieceBytes, size - offset)
        memory.grow(to: count, keeping: 0)
        try fill(&memory, 0..<count)
        batchesEnd = 0
        while !isBehindBatches, batchesEnd < count {
            // The rest of a header may be in what follows.
            if count - batchesEnd < Format.batchHeaderBytes, offset + count < size { break }
            let next = headers.batch(
                memory.span(0..<count), at: batchesEnd, limit: size - offset)
            guard let next else {
                isBehindBatches = true
                break
            }
            if next.end > count {
                if batchesEnd > 0 { break }
                // One batch that is larger than a piece.
                memory.grow(to: next.end, keeping: count)
                try fill(&memory, count..<next.end)
                count = next.end
            }
            batchesEnd = next.end
            sequence &+= next.records
        }
        // What follows the last whole batch is read again, with the rest of it.
        if !isBehindBatches { count = batchesEnd }
        offset += count
        return count
    }

    private func fill(_ memory: inout PageBuffer, _ range: Range<Int>) throws(JournalError) {
        let place = offset + range.lowerBound
        let count: Int
        do { count = try file.read(into: &memory, range, at: place) } catch { throw .io(error) }
        guard count == range.count else {
            throw .dataLoss(
                file: part.file, offset: place + count,
                what: "the file ends here while it is read")
        }
    }
}

/// The pieces of some segments, read ahead.
///
/// - Isolation: ``take()`` from one thread.
final class SegmentPieces<Decoder: RecordDecoder>: Sendable {
    /// Where the next piece begins.
    ///
    /// `@unchecked Sendable`: pieces are begun one after the other, by whichever thread.
    private final class Cursor: @unchecked Sendable {
        /// In reverse order, without the one that is being read.
        var parts: [JournalPart]
        var segment: PiecewiseSegment?
        let headers: BatchHeaders
        let reader: SegmentReader
        let pieceBytes: Int

        init(_ parts: [JournalPart], _ reader: SegmentReader, _ pieceBytes: Int) {
            self.parts = parts.reversed()
            self.reader = reader
            self.pieceBytes = pieceBytes
            headers = BatchHeaders(key: Format.key(reader.cluster))
        }

        /// Begins a piece; nil behind the last one.
        func next(_ spare: SegmentPiece<Decoder>?) -> SegmentPiece<Decoder>? {
            if segment?.isAtEnd ?? true {
                segment = nil
                guard let part = parts.popLast() else { return nil }
                do throws(JournalError) {
                    segment = try PiecewiseSegment(part, reader, pieceBytes: pieceBytes)
                } catch {
                    let piece = SegmentPiece<Decoder>(part)
                    piece.fail(error)
                    return piece
                }
            }
            guard let segment else { return nil }
            let piece = spare ?? SegmentPiece(segment.part)
            if !piece.load(segment, headers) { self.segment = nil }
            return piece
        }
    }

    private let work: WorkAhead<SegmentPiece<Decoder>>

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - parts: Those whose segments are there, in the order in which they will be taken.
    ///   - reader: Reads segments.
    ///   - threads: Threads that read; four times as many pieces are held in memory.
    ///   - pieceBytes: Bytes of a piece; one with a larger batch is as large as that.
    ///   - after: Records up to this sequence are not decoded.
    ///   - makeDecoder: Makes what decodes, for one thread.
    /// - Throws: `.io` when there is no thread left.
    init(
        _ parts: [JournalPart], _ reader: SegmentReader, threads: HelperThreads, pieceBytes: Int,
        after: UInt64, makeDecoder: @escaping @Sendable () -> Decoder
    ) throws(JournalError) {
        let cursor = Cursor(parts, reader, pieceBytes)
        do {
            work = try WorkAhead(
                threads: threads, ahead: 4 * threads.count, name: "journal ahead",
                next: { _, spare in cursor.next(spare) },
                makeWork: {
                    var decoder = makeDecoder()
                    return { $0.open(reader, after, &decoder) }
                })
        } catch { throw .io(error) }
    }

    /// The next piece; waits for it.
    ///
    /// Behind one that cannot be read comes the next segment.
    ///
    /// - Returns: nil behind the last one.
    func take() -> SegmentPiece<Decoder>? { work.take() }

    /// Gives a piece back for those that follow.
    func giveBack(_ piece: SegmentPiece<Decoder>) { work.giveBack(piece) }

    /// Gives a piece and its memory back for those that follow.
    func giveBack(_ piece: SegmentPiece<Decoder>, _ memory: consuming PageBuffer) {
        piece.giveBack(memory)
        work.giveBack(piece)
    }
}
