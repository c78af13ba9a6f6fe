// Takes sealed fields out of old records for good (FORMAT.md §13): a complete segment is written
// anew as a whole, with commitments where the fields were, so that every root and every proof
// stays. Which fields go is the caller's to say.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A segment as whoever looks for a record of a known time sees it.
package struct DatedSegment: Equatable, Sendable {
    /// First sequence.
    package let first: UInt64
    /// None of its records is of an earlier time, if times never step back.
    package let earliest: WallTime
    /// None is of a later one.
    package let latest: WallTime
    /// Whether it may be written anew: it is complete, its leaves are there, and the oldest
    /// snapshot that is kept stands for all of it.
    package let isCovered: Bool
    /// Whether it is in the archive as well: there nothing can be taken out of it.
    package let isArchived: Bool
    /// Whether a segment follows it.
    package let isComplete: Bool
}

extension DataDirectory {
    /// Begins to take sealed fields out of old segments.
    ///
    /// May run beside a ``JournalWriter`` of the same directory, in the thread that tidies.
    ///
    /// - Returns: The segments, and what can be done with them.
    /// - Throws: `.io`, `.foreignFile`; `.dataLoss` and the like about a segment's header.
    package func makeRedaction() throws(JournalError) -> Redaction {
        let inventory = try Inventory(disk, path)
        let covered = oldestKept(inventory)
        var times: [WallTime] = []
        for first in inventory.segments { times.append(try time(ofSegment: first)) }
        let leaves = Set(inventory.leaves)
        let archived = try archived()
        let segments = inventory.segments.indices.map { index in
            let first = inventory.segments[index]
            let next = index + 1 < times.count ? inventory.segments[index + 1] : nil
            return DatedSegment(
                first: first,
                // A segment has the time of the last record of the commit that began it. But the
                // first one has that of its making: the clock may have been set back since, or
                // the records are an older version's.
                earliest: index > 0 && inventory.segments[index - 1] > 1
                    ? times[index - 1] : WallTime(milliseconds: .min),
                latest: index + 1 < times.count ? times[index + 1] : .distantFuture,
                isCovered: next.map { $0 <= (covered ?? 0) + 1 } ?? false
                    && leaves.contains(first) && !archived.contains(first),
                isArchived: archived.contains(first), isComplete: next != nil)
        }
        return Redaction(self, segments, covered: covered ?? 0)
    }

    private func time(ofSegment first: UInt64) throws(JournalError) -> WallTime {
        let name = FileName.segment(first)
        let path = path + "/" + name
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        return try SegmentReader(disk: disk, cluster: cluster, keys: keys)
            .header(of: file, name, first).time
    }

    /// The segments that were copied to the archive, and not removed before the power went: the
    /// next tidying compares both.
    private func archived() throws(JournalError) -> Set<UInt64> {
        guard case .archive(let archive) = options.journalRetention else { return [] }
        return Set(try Inventory.archived(disk, archive))
    }
}

/// One run over old segments.
///
/// - Isolation: one thread at a time.
package struct Redaction: ~Copyable {
    /// Says which sealed fields of a record go, by their numbers from 1.
    package typealias Selection = (RecordView) throws(RecordRejection) -> [Int]

    /// The journal's segments, oldest first.
    package let segments: [DatedSegment]
    /// Whether segments are written anew; under ``JournalRetention/remove`` they go as they are, as
    /// soon as they are covered.
    package var rewrites: Bool { directory.options.journalRetention != .remove }

    /// Whether they go to an archive after that.
    package var moves: Bool {
        if case .archive = directory.options.journalRetention { true } else { false }
    }

    private let directory: DataDirectory
    private let covered: UInt64
    /// Whether the snapshot that stands for the segments was read.
    private var isReadBack = false
    private var pacer: Pacer
    private var random: RandomBytes

    private static let chunkBytes = 1 << 20

    private var disk: any Disk { directory.disk }

    fileprivate init(_ directory: DataDirectory, _ segments: [DatedSegment], covered: UInt64) {
        self.directory = directory
        self.segments = segments
        self.covered = covered
        pacer = Pacer(directory.disk, bytesPerSecond: directory.options.snapshotBytesPerSecond)
        random = directory.options.makeRandom()
    }

    /// Takes fields out of the records of a segment, at the pace of a snapshot.
    ///
    /// Before the segment is replaced the snapshot that stands for it is read back once, and the
    /// new file from the disk: it must have the same records and roots. Whoever has the old file
    /// open goes on reading that one, whole. Its bytes are not overwritten.
    ///
    /// - Parameters:
    ///   - first: Of a segment of ``segments`` that is covered.
    ///   - selection: Asked for every record, and once more for what was written; of what it names
    ///     and was taken out before nothing is left to do.
    /// - Returns: Records out of which something was taken; 0: the segment is as it was.
    /// - Throws: `.dataLoss` and the like when the segment, its leaves, the snapshot or what was
    ///   written does not verify; `.rejected` by `selection`; `.io`, `.crypto`. The segment is as
    ///   it was; or, when only the sync of the directory failed, either one.
    /// - Durability: on disk when this returns
    package mutating func redact(
        _ first: UInt64, _ selection: Selection
    ) throws(JournalError) -> Int {
        precondition(rewrites && segments.contains { $0.first == first && $0.isCovered })
        let name = FileName.segment(first)
        let old = try read(first, PageBuffer(capacity: Format.blockBytes))
        let leaves = try LeavesFile(disk, directory.path, first, directory.cluster).leaves
        guard leaves == old.leaves else {
            throw .dataLoss(
                file: FileName.leaves(first), offset: 0,
                what: "these are not the leaves of \(name): run `triaged inspect verify`")
        }
        let fields = try Self.select(old, selection)
        guard !fields.isEmpty else { return 0 }
        if !isReadBack {
            try directory.readBack(covered)
            isReadBack = true
        }
        let path = directory.path + "/" + name
        do throws(JournalError) {
            try write(old, without: fields, to: path + ".tmp")
            let batches = old.batches.map { [$0.first, $0.count] }
            let new = try read(first, suffix: ".tmp", old.takeMemory())
            let left = try Self.select(new, selection)
            guard new.leaves == leaves, new.batches.map({ [$0.first, $0.count] }) == batches,
                left.isEmpty
            else {
                throw .dataLoss(
                    file: name + ".tmp", offset: 0,
                    what: "what was written is not what the segment holds")
            }
        } catch {
            // Left behind, it is removed at the next start.
            try? disk.remove(path + ".tmp")
            throw error
        }
        try TriageJournal.disk { () throws(IOError) in
            try disk.rename(path + ".tmp", to: path)
            try disk.syncDirectory(directory.path)
        }
        return fields.count
    }

    /// Looks through the records of a segment, at the pace of a snapshot.
    ///
    /// - Parameters:
    ///   - first: Of a segment of ``segments`` that is complete.
    ///   - selection: Asked for every record.
    /// - Throws: As ``redact(_:_:)``.
    package mutating func look(in first: UInt64, _ selection: Selection) throws(JournalError) {
        precondition(segments.contains { $0.first == first && $0.isComplete })
        _ = try Self.select(try read(first, PageBuffer(capacity: Format.blockBytes)), selection)
    }

    /// Reads a segment whole, and checks all of it.
    private mutating func read(
        _ first: UInt64, suffix: String = "", _ memory: consuming PageBuffer
    ) throws(JournalError) -> SegmentContent {
        let reader = SegmentReader(
            disk: disk, cluster: directory.cluster, keys: directory.keys)
        let content = try reader.read(
            first, in: directory.path, suffix: suffix, isLast: false, memory: memory)
        var scanner = SegmentScanner()
        var none = NoTarget()
        try scanner.scan(content, into: &none)
        pacer.wrote(content.size)
        return content
    }

    /// The fields that are to go and are still there, by the sequences of their records.
    private static func select(
        _ segment: borrowing SegmentContent, _ selection: Selection
    ) throws(JournalError) -> [UInt64: [Int]] {
        var found: [UInt64: [Int]] = [:]
        for batch in segment.batches {
            let bytes = segment.bytes.extracting(0..<batch.records.upperBound)
            var offset = batch.records.lowerBound
            for sequence in batch.first..<batch.first + batch.count {
                guard let record = RecordLayout(bytes, at: offset), let view = record.view(bytes)
                else { preconditionFailure("the layout of every record was checked") }
                do throws(RecordRejection) {
                    for number in try selection(view) where !view.isErased(number) {
                        found[sequence, default: []].append(number)
                    }
                } catch {
                    throw .rejected(file: segment.file, offset: offset, what: error.what)
                }
                offset = record.end
            }
        }
        return found
    }

    /// Writes a segment anew, batch by batch.
    private mutating func write(
        _ old: borrowing SegmentContent, without fields: [UInt64: [Int]], to path: String
    ) throws(JournalError) {
        var header = old.header
        header.cipher = .none
        header.keyNumber = 0
        header.salt = .zero
        var cipher = try FileCipher(making: &header, directory.keys, &random)
        let file = try TriageJournal.disk { () throws(IOError) in
            try disk.open(path, .createDirect)
        }
        var image = SegmentImage(
            key: Format.key(directory.cluster), offset: Format.blockBytes,
            capacity: 2 * Self.chunkBytes)
        var records = RedactedRecords()
        var hasher = RecordHasher()
        var leaves: [Digest] = []
        var scratch: [Digest] = []
        var tree = header.tree ?? MerkleTree()
        for batch in old.batches {
            records.lay(batch, of: old.bytes, without: fields)
            image.append(records: records.bytes, from: batch.first, count: batch.count)
            let known = leaves.count
            image.hash(with: &hasher, into: &leaves)
            tree.append(leaves, from: known, scratch: &scratch)
            guard tree.root == old.bytes.loadDigest(at: batch.root) else {
                throw .dataLoss(
                    file: old.file, offset: batch.root,
                    what: "the root after record \(tree.size) changed as fields were taken out")
            }
            image.seal(root: tree.root, cipher: &cipher, random: &random)
            if image.used >= Self.chunkBytes { try flush(&image, to: file) }
        }
        let end = roundUp(image.base + image.used, to: Format.blockBytes)
        header.size = UInt64(Self.size(after: old.size, atLeast: end))
        try flush(&image, to: file)
        try finish(file, header, from: end)
    }

    /// How long a segment becomes: as long as it needs to be, and as its name never was before.
    ///
    /// By its name and length a backup tells that it has a file already, so none may come again. A
    /// segment is made with an even number of blocks, and written anew with an odd one, which only
    /// grows from then on.
    private static func size(after old: Int, atLeast end: Int) -> Int {
        let two = 2 * Format.blockBytes
        let least = old % two == 0 ? end : max(end, old + two)
        return roundUp(least - Format.blockBytes, to: two) + Format.blockBytes
    }

    private mutating func flush(
        _ image: inout SegmentImage, to file: any DiskFile
    ) throws(JournalError) {
        let count = image.used
        do throws(IOError) { try image.write(to: file) } catch { throw .io(error) }
        image.advance()
        pacer.wrote(count)
    }

    /// Writes zeros up to the segment's length, and its header.
    private func finish(
        _ file: any DiskFile, _ header: HeaderBlock, from end: Int
    ) throws(JournalError) {
        let size = Int(header.size)
        var chunk = PageBuffer(capacity: min(Self.chunkBytes, max(size - end, Format.blockBytes)))
        do throws(IOError) {
            var offset = end
            while offset < size {
                let count = min(chunk.capacity, size - offset)
                try file.write(chunk, 0..<count, at: offset)
                offset += count
            }
            header.store(in: &chunk)
            try file.write(chunk, 0..<Format.blockBytes, at: 0)
            try file.sync()
        } catch { throw .io(error) }
    }
}

/// The records of one batch, laid out without some of their fields.
private struct RedactedRecords: ~Copyable {
    private var buffer = PageBuffer(capacity: 1 << 20)
    private var used = 0

    var bytes: Span<UInt8> {
        @_lifetime(borrow self) get { buffer.span(0..<used) }
    }

    /// Lays out a batch's records.
    ///
    /// - Parameters:
    ///   - batch: Where they are.
    ///   - bytes: The segment's.
    ///   - fields: The numbers of the fields that go, by the sequences of their records.
    mutating func lay(
        _ batch: BatchPlace, of bytes: Span<UInt8>, without fields: [UInt64: [Int]]
    ) {
        // Of a batch the records grow at most by what stands for their fields.
        let most = batch.records.count + fields.count * Limits.sealedFieldsMax * Format.erasedBytes
        buffer.grow(to: most, keeping: 0)
        used = 0
        let records = bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        for sequence in batch.first..<batch.first + batch.count {
            guard let record = RecordLayout(records, at: offset) else {
                preconditionFailure("the layout of every record was checked")
            }
            if let numbers = fields[sequence] {
                append(records, record, without: numbers)
            } else {
                buffer.copy(records.extracting(offset..<record.end), to: used)
                used += record.end - offset
            }
            offset = record.end
        }
    }

    private mutating func append(
        _ bytes: Span<UInt8>, _ record: RecordLayout, without numbers: [Int]
    ) {
        let start = used
        let head = record.bodyStart - Format.recordHeaderBytes
        buffer.copy(bytes.extracting(head..<record.bodyEnd), to: start)
        let sealed = start + record.bodyEnd - head
        var end = sealed
        var position = record.bodyEnd
        var number = 1
        while position < record.sealedEnd,
            let field = SealedLayout(bytes, at: position, limit: record.sealedEnd)
        {
            if numbers.contains(number) {
                buffer.store(Format.erasedBit, at: end)
                buffer.store(
                    SHA256.hash(prefix: 2, bytes.extracting(field.saltStart..<field.end)),
                    at: end + 4)
                end += Format.erasedBytes
            } else {
                buffer.copy(bytes.extracting(position..<field.end), to: end)
                end += field.end - position
            }
            position = field.end
            number += 1
        }
        buffer.store(UInt32(truncatingIfNeeded: end - sealed), at: start + 4)
        used = start + Format.recordBytes(end - start - Format.recordHeaderBytes)
        buffer.zero(end..<used)
    }
}
