// Reads one segment into memory: header, then batch after batch, checksums and encryption. Says
// where its batches end and whether the tail was torn. Does not look into records, and changes
// nothing.

internal import TriageBase
internal import TriageIO

/// What was cut, or would be, because its write was interrupted and never acknowledged.
package struct TornTail: Equatable, Sendable {
    /// The segment.
    package let file: String
    /// Where the torn batch begins.
    package let offset: Int
    /// Bytes from there to the last one that is not zero.
    package let bytes: Int
}

/// A segment, or a piece of one, in memory: everything in it that is good as bytes.
struct SegmentContent: ~Copyable, Sendable {
    let file: String
    let header: HeaderBlock
    /// The whole file, or a piece of it; the records of `batches` are decrypted.
    var image: PageBuffer
    /// Where in the file the image begins; all other places are in the image.
    var base = 0
    /// Bytes of the image.
    var size: Int
    /// Whether batches of this segment come before those that are here.
    var goesOn = false
    var batches: [BatchPlace] = []
    /// The offset behind the last good batch.
    var end = Format.blockBytes
    /// What stands behind it, if its write was interrupted.
    var torn: TornTail?
    /// What stands behind it, if it is anything else.
    var problem: JournalError?
    /// The leaves of the records of `batches`, once they were hashed.
    var leaves: [Digest] = []

    /// The whole image.
    var bytes: Span<UInt8> {
        @_lifetime(borrow self) get { image.span(0..<size) }
    }

    /// Whether nothing was written from `offset` on.
    func isZero(from offset: Int) -> Bool {
        if offset == size { return true }
        let rest = image.span(offset..<size)
        // Most questions are about a batch, whose first bytes answer.
        return (rest.count < 8 || rest.loadUInt64(at: 0) == 0) && rest.isZero
    }

    /// Checks the layout of the records and makes their leaves; what is malformed, and all behind
    /// it, leaves `batches` and is the `problem`.
    mutating func hashRecords() {
        var hasher = RecordHasher()
        var made: [Digest] = []
        for (index, batch) in batches.enumerated() {
            do throws(JournalError) { try check(batch) } catch {
                batches.removeSubrange(index...)
                problem = error
                break
            }
            hasher.hash(bytes.extracting(batch.records), from: batch.first, into: &made)
        }
        leaves = made
    }

    /// Checks the layout of a batch's records.
    private func check(_ batch: BatchPlace) throws(JournalError) {
        let records = bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        for index in 0..<batch.count {
            guard let record = RecordLayout(records, at: offset), record.view(records) != nil else {
                throw .dataLoss(
                    file: file, offset: base + offset,
                    what: "record \(batch.first + index) is malformed")
            }
            offset = record.end
        }
        guard offset == batch.records.upperBound else {
            throw .dataLoss(
                file: file, offset: base + batch.start + 16,
                what: "the count of the batch of record \(batch.first) is wrong")
        }
    }

    /// Leaves out the batches before a record, which were gone through already.
    ///
    /// - Throws: `.dataLoss` when they are not all there any more.
    mutating func goOn(with sequence: UInt64) throws(JournalError) {
        guard header.sequence + UInt64(leaves.count) >= sequence else {
            throw problem
                ?? .dataLoss(
                    file: file, offset: end, what: "what was read before is not there any more")
        }
        batches.removeAll { $0.first < sequence }
        leaves.removeFirst(Int(sequence - header.sequence))
        goesOn = true
    }

    /// Gives the memory for the next segment.
    consuming func takeMemory() -> PageBuffer { image }
}

/// Reads segments of one directory, and of its archive.
struct SegmentReader: Sendable {
    let disk: any Disk
    let cluster: ClusterID
    let keys: KeyRing?

    /// Reads a segment.
    ///
    /// - Parameters:
    ///   - first: Its first sequence, from its name.
    ///   - directory: Where it is.
    ///   - suffix: What stands behind its name.
    ///   - isLast: Whether its last batch may be torn.
    ///   - memory: A buffer from an earlier segment, to be used again.
    ///   - hashes: Whether the leaves are made.
    /// - Returns: What it holds, decrypted.
    /// - Throws: `.dataLoss` about the header, `.foreignCluster`, `.newerVersion`, `.olderVersion`,
    ///   `.io`. What is wrong behind the header is the content's `problem`, because records before
    ///   it are good.
    func read(
        _ first: UInt64, in directory: String, suffix: String = "", isLast: Bool,
        memory: consuming PageBuffer, hashes: Bool = true
    ) throws(JournalError) -> SegmentContent {
        let file = FileName.segment(first) + suffix
        let path = directory + "/" + file
        let handle = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try header(of: handle, file, first)
        let cipher = try FileCipher(header, file, keys)
        let count = Int(header.size)
        memory.grow(to: count, keeping: 0)
        var target = memory.mutableSpan(0..<count)
        let read = try TriageJournal.disk { () throws(IOError) in
            try handle.read(into: &target, at: 0)
        }
        guard read == count else {
            throw .dataLoss(file: file, offset: read, what: "the file ends here while it is read")
        }
        var content = SegmentContent(file: file, header: header, image: memory, size: count)
        var reader = BatchReader(key: Format.key(cluster), cipher: cipher)
        Self.openBatches(&content, &reader, isLast)
        if hashes { content.hashRecords() }
        return content
    }

    private static func openBatches(
        _ content: inout SegmentContent, _ reader: inout BatchReader, _ isLast: Bool
    ) {
        var next = content.header.sequence
        while !content.isZero(from: content.end) {
            do throws(BatchFault) {
                let place = try reader.open(
                    &content.image, size: content.size, at: content.end, expecting: next)
                content.batches.append(place)
                content.end = place.end
                next += place.count
            } catch {
                if isLast, reader.isTorn(content.bytes, at: content.end, error) {
                    content.torn = TornTail(
                        content.bytes, file: content.file, offset: content.end)
                } else {
                    content.problem = .dataLoss(
                        file: content.file, offset: error.offset,
                        what: "\(error.what): record \(next) is not readable, nor is what "
                            + "follows it in this segment")
                }
                return
            }
        }
    }

    /// Reads and checks a segment's header, and its length against the file's.
    func header(
        of handle: any DiskFile, _ file: String, _ first: UInt64
    ) throws(JournalError) -> HeaderBlock {
        let header = try readHeader(of: handle, .segment, file, cluster)
        guard header.sequence == first else {
            throw .dataLoss(file: file, offset: 32, what: "its name and its header differ")
        }
        let size = try TriageJournal.disk { () throws(IOError) in try handle.size() }
        guard header.size == UInt64(size), size % Format.blockBytes == 0,
            size >= 2 * Format.blockBytes, size <= Format.segmentBytesCap
        else {
            throw .dataLoss(
                file: file, offset: min(size, Int(clamping: header.size)),
                what: "the file has \(size) bytes, its header says \(header.size)")
        }
        return header
    }
}

/// Reads a file's header block and checks whose it is.
func readHeader(
    of handle: any DiskFile, _ kind: FileKind, _ file: String, _ cluster: ClusterID?,
    at offset: Int = 0
) throws(JournalError) -> HeaderBlock {
    var block = PageBuffer(capacity: Format.blockBytes)
    var target = block.mutableSpan(0..<Format.blockBytes)
    let count = try disk { () throws(IOError) in try handle.read(into: &target, at: offset) }
    let header = try HeaderBlock(block.span(0..<count), kind, file: file, offset: offset)
    if let cluster, header.cluster != cluster {
        throw .foreignCluster(file: file, expected: cluster, found: header.cluster)
    }
    return header
}
