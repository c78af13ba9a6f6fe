// The file backend of the journal: gathers records, commits them with one write and one sync, goes
// on in the next segment. Knows nothing of snapshots, nor of what is in a payload.

package import TriageBase
internal import TriageIO

/// A journal in segment files.
///
/// ```
///   append ... append --commit--> seal, write, sync --> durable
///                \ no room: seal, gather for the next segment
///                      commit: as above, then header, sync, rename, directory sync, and again
///   any failure in commit --> poisoned (final)
/// ```
///
/// The first record that does not fit the current segment waits for the next one's preparation,
/// which is done long before unless the disk is slower than the intake.
///
/// - Isolation: one thread at a time; the engine's.
package final class JournalWriter: Journal {
    private let disk: any Disk
    private let directory: String
    private let cluster: ClusterID
    private let options: StorageOptions
    private let preparer: SegmentPreparer
    private let helper: (any Worker)?
    private let mark: MarkFile

    private var file: any DiskFile
    private var segmentBytes: Int
    private var image: SegmentImage
    /// What goes into the next segment, once this one is full.
    private var nextImage: SegmentImage
    private var nextFirst: UInt64?
    private var failure: IOError?
    private var lastTime = WallTime.epoch

    package private(set) var nextSequence: UInt64
    package private(set) var durableHead: JournalHead
    package private(set) var pendingBytes = 0
    /// Chain hash after the last sealed batch.
    private var sealedChain: Digest
    /// Segments begun since the start, for metrics.
    package private(set) var segmentsBegun = 0

    /// What the opened directory gives a writer.
    struct Start {
        let disk: any Disk
        let directory: String
        let cluster: ClusterID
        let options: StorageOptions
        let file: any DiskFile
        let segmentBytes: Int
        let offset: Int
        let head: JournalHead
        let mark: MarkFile
    }

    init(_ start: consuming Start) throws(JournalError) {
        let options = start.options
        disk = start.disk
        directory = start.directory
        cluster = start.cluster
        self.options = options
        file = start.file
        segmentBytes = start.segmentBytes
        nextSequence = start.head.sequence + 1
        durableHead = start.head
        sealedChain = start.head.chain
        mark = start.mark
        let capacity = min(1 << 20, options.bufferBytesMax)
        let key = Format.key(start.cluster)
        image = SegmentImage(key: key, offset: start.offset, capacity: capacity)
        nextImage = SegmentImage(key: key, offset: Format.blockBytes, capacity: capacity)
        helper = try TriageJournal.disk { () throws(IOError) in
            try options.workers?.makeWorker(name: "segments", urgency: .normal)
        }
        preparer = SegmentPreparer(
            start.disk, directory: start.directory, options: options, helper: helper)
        do { try image.fillCarry(from: start.file) } catch { throw .io(error) }
        preparer.request()
    }

    package func append(
        _ payload: Span<UInt8>, time: WallTime
    ) throws(JournalError) -> UInt64 {
        let sequence = nextSequence
        if try takesCurrent(payload.count) {
            pendingBytes += image.append(payload, sequence, time)
        } else {
            pendingBytes += nextImage.append(payload, sequence, time)
        }
        return appended(sequence, time)
    }

    package func append(
        time: WallTime, reserving bytesMax: Int, _ body: (inout OutputSpan<UInt8>) -> Void
    ) throws(JournalError) -> UInt64 {
        let sequence = nextSequence
        if try takesCurrent(bytesMax) {
            pendingBytes += image.append(bytesMax, sequence, time, body)
        } else {
            pendingBytes += nextImage.append(bytesMax, sequence, time, body)
        }
        return appended(sequence, time)
    }

    @inline(__always)
    private func appended(_ sequence: UInt64, _ time: WallTime) -> UInt64 {
        nextSequence = sequence + 1
        lastTime = time
        return sequence
    }

    /// Whether the record goes into the current segment, or (false) into the next one.
    @inline(__always)
    private func takesCurrent(_ count: Int) throws(JournalError) -> Bool {
        if let failure { throw .poisoned(failure) }
        guard count <= Limits.recordBytesMax else { throw .recordTooLarge(bytes: count) }
        guard pendingBytes + Format.recordBytes(count) <= options.bufferBytesMax else {
            throw .bufferFull
        }
        if nextFirst == nil, image.base + image.used + image.bytesNeeded(count) <= segmentBytes {
            return true
        }
        try openNext(count)
        return false
    }

    /// Turns to the next segment, whose spare must be ready, so that nothing is accepted that the
    /// disk has no room for.
    private func openNext(_ count: Int) throws(JournalError) {
        guard nextFirst == nil else {
            let end = nextImage.base + nextImage.used + nextImage.bytesNeeded(count)
            guard end <= options.segmentBytes else { throw .bufferFull }
            return
        }
        guard Format.blockBytes + nextImage.bytesNeeded(count) <= options.segmentBytes else {
            throw .recordTooLarge(bytes: count)
        }
        try preparer.waitUntilReady()
        nextFirst = nextSequence
    }

    package func commit() throws(JournalError) {
        if let failure { throw .poisoned(failure) }
        do {
            if image.hasBatch {
                sealedChain = image.seal(after: sealedChain)
                try image.write(to: file)
                try file.sync()
                image.advance()
                durableHead = JournalHead(
                    sequence: (nextFirst ?? nextSequence) - 1, chain: sealedChain)
            }
            if let first = nextFirst, nextImage.hasBatch { try rotate(first) }
            pendingBytes = 0
        } catch {
            failure = error
            throw .poisoned(error)
        }
    }

    /// Begins the next segment and makes what gathered for it durable.
    private func rotate(_ first: UInt64) throws(IOError) {
        let spare = directory + "/" + FileName.spare
        let path = directory + "/" + FileName.segment(first)
        let next = try disk.open(spare, .updateDirect)
        var block = PageBuffer(capacity: Format.blockBytes)
        HeaderBlock(
            kind: .segment, cluster: cluster, sequence: first, time: lastTime,
            size: UInt64(options.segmentBytes), chain: sealedChain
        ).store(in: &block)
        try next.write(block.span(0..<Format.blockBytes), at: 0)
        try next.sync()
        try disk.rename(spare, to: path)
        try disk.syncDirectory(directory)
        preparer.taken()
        file = next
        segmentBytes = options.segmentBytes
        swap(&image, &nextImage)
        nextImage.restart()
        nextFirst = nil
        segmentsBegun += 1
        sealedChain = image.seal(after: sealedChain)
        try image.write(to: file)
        try file.sync()
        image.advance()
        durableHead = JournalHead(sequence: nextSequence - 1, chain: sealedChain)
        preparer.request()
        writeMark(time: lastTime)
    }

    /// Writes the durable head into the mark file, beside the journal (FORMAT.md §7).
    ///
    /// Called by the owner every few seconds. A failure is counted and otherwise harmless: the old
    /// mark stays true.
    ///
    /// - Durability: on disk soon after, from the helper if there is one
    package func writeMark(time: WallTime) {
        guard failure == nil, durableHead.sequence > 0 else { return }
        let head = durableHead
        let mark = mark
        if let helper { helper.submit { mark.write(head, time) } } else { mark.write(head, time) }
    }

    /// Marks that could not be written, for metrics.
    package var markFailures: Int { mark.failures }

    /// Writes the last mark and ends the helper.
    ///
    /// What was not committed is not written.
    package func close() {
        writeMark(time: lastTime)
        helper?.stop()
    }
}
