// The segment in which a restored journal ends: its batches up to a record, byte by byte, and the
// beginning of the batch that holds that record, sealed anew. Says nothing about which record.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A segment that is to end with a given record.
struct SegmentCut: ~Copyable {
    /// The tree after the last record that stays.
    let tree: MerkleTree
    /// Bytes of the file, in both directories.
    var bytes: Int { content.size }

    private let content: SegmentContent
    /// Up to here the file is copied as it is.
    let end: Int
    /// The batch behind that, of which only the beginning stays.
    private let partial: (first: UInt64, count: UInt64, records: Range<Int>)?

    /// Finds the place.
    ///
    /// - Parameters:
    ///   - content: What was read of the segment.
    ///   - sequence: The last record that stays, or the one before the first; nil: the last one
    ///     there is.
    /// - Throws: `.dataLoss` when what is before that place does not verify; `.noSuchPoint` when
    ///   the segment ends before.
    init(_ content: consuming SegmentContent, upTo sequence: UInt64?) throws(JournalError) {
        let first = content.header.sequence
        let last = first - 1 + UInt64(content.leaves.count)
        if sequence ?? .max > last, let problem = content.problem { throw problem }
        let sequence = sequence ?? last
        guard sequence <= last else {
            throw .noSuchPoint(
                what: "record \(sequence) is not in the journal, which ends with record \(last)")
        }
        // What is behind is not looked at: perhaps that is why it is to end here.
        content.problem = nil
        content.batches.removeAll { $0.first > sequence }
        var scanner = SegmentScanner()
        var none = NoTarget()
        try scanner.scan(content, into: &none)
        var tree = content.header.tree ?? MerkleTree()
        for index in 0..<Int(sequence - (first - 1)) { tree.append(content.leaves[index]) }
        self.tree = tree
        if let batch = content.batches.last, batch.first + batch.count - 1 > sequence {
            let count = sequence - batch.first + 1
            partial = (batch.first, count, Self.records(content.bytes, batch, count))
            end = batch.start
        } else {
            partial = nil
            end = content.batches.last?.end ?? Format.blockBytes
        }
        self.content = content
    }

    /// Where the first `count` records of a batch stand.
    private static func records(
        _ bytes: Span<UInt8>, _ batch: BatchPlace, _ count: UInt64
    ) -> Range<Int> {
        let records = bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        for _ in 0..<count {
            guard let record = RecordLayout(records, at: offset) else {
                preconditionFailure("the layout of every record was checked")
            }
            offset = record.end
        }
        return batch.records.lowerBound..<offset
    }

    /// Writes the segment.
    ///
    /// - Parameters:
    ///   - disk: The file system.
    ///   - source: Where the segment is that it was read from.
    ///   - target: Where it is written to.
    ///   - keys: The directory's; nil without encryption.
    ///   - random: Gives the nonce of the batch that is sealed anew.
    ///   - each: Called with the bytes of each piece that was written.
    /// - Throws: `.io`, `.crypto`, `.dataLoss`; `.noSuchPoint` when the segment was written anew
    ///   since it was read.
    /// - Durability: the content; the name after a sync of the directory
    func write(
        _ disk: any Disk, from source: String, to target: String, _ keys: KeyRing?,
        _ random: inout RandomBytes, each: (Int) -> Void
    ) throws(JournalError) {
        var cipher = try FileCipher(content.header, content.file, keys)
        let (end, size) = (end, content.size)
        let from = try TriageJournal.disk { () throws(IOError) in try disk.open(source, .read) }
        guard try TriageJournal.disk({ () throws(IOError) in try from.size() }) == size else {
            throw .noSuchPoint(
                what: "a server took erased words out of \(content.file) while it was read: run "
                    + "this again with a new directory")
        }
        do throws(IOError) {
            let file = try disk.open(target + ".tmp", .create)
            var copying = FileCopy(disk)
            try copying.copy(
                from, source, to: file, count: end, each: each)
            let zeros = PageBuffer(capacity: 1 << 20)
            var offset = end
            while offset < size {
                let count = min(zeros.capacity, size - offset)
                try file.write(zeros, 0..<count, at: offset)
                offset += count
                each(count)
            }
            if let partial {
                var image = SegmentImage(
                    key: Format.key(content.header.cluster), offset: end,
                    capacity: partial.records.count + 2 * Format.blockBytes)
                try image.fillCarry(from: file)
                image.append(
                    records: content.bytes.extracting(partial.records), from: partial.first,
                    count: partial.count)
                image.seal(root: tree.root, cipher: &cipher, random: &random)
                try image.write(to: file)
            }
            try file.sync()
            try disk.rename(target + ".tmp", to: target)
        } catch { throw .io(error) }
    }
}
