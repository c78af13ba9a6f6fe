// The file backend of the journal: gathers records, commits them with one write and one sync, goes
// on in the next segment. Knows nothing of snapshots, nor of what is in a record.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A journal in segment files.
///
/// ```
///   append ... append --commit--> hash, seal, write, sync --> durable
///                \ no room: gather for the next segment
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
    private let openDirectory: any DiskDirectory
    private let cluster: ClusterID
    private let options: StorageOptions
    private let keys: KeyRing?
    private let preparer: SegmentPreparer
    private let helper: (any Worker)?
    private let mark: MarkFile
    private let leavesWriter: LeavesWriter
    private let signer: HeadSigner?
    private let durable: DurableSequence

    private var file: any DiskFile
    /// Up to here records go into the current segment; 0: none does any more.
    private var segmentBytes: Int
    /// The segment is to end as soon as the next one is prepared.
    private var isEndWanted = false
    private var image: SegmentImage
    private var cipher: FileCipher
    /// What goes into the next segment, once this one is full.
    private var nextImage: SegmentImage
    /// The next segment's header but for the tree, and its cipher; nil while nothing is for it.
    private var nextHeader: HeaderBlock?
    private var nextCipher: FileCipher?
    private var failure: IOError?
    private var lastTime = WallTime.epoch
    /// No head is older than this, although an upgrade appends records that are.
    private let opened: WallTime
    private var random: RandomBytes

    package private(set) var nextSequence: UInt64
    package private(set) var durableHead: JournalHead
    package private(set) var durableTree: MerkleTree
    package private(set) var pendingBytes = 0
    /// The tree with the last sealed batch.
    private var tree: MerkleTree
    /// The tree before the current segment's first record.
    private var segmentTree: MerkleTree
    /// The leaves of the current segment.
    private var leaves: [Digest]
    private var hasher = RecordHasher()
    private var scratch: [Digest] = []
    /// Segments begun since the start, for metrics.
    package private(set) var segmentsBegun = 0

    /// What the opened directory gives a writer.
    struct Start: ~Copyable {
        let disk: any Disk
        let directory: String
        let cluster: ClusterID
        let options: StorageOptions
        let keys: KeyRing?
        /// The last segment, its header, and where its next batch comes.
        let file: any DiskFile
        let header: HeaderBlock
        let offset: Int
        /// The leaves of its records, and the tree with them.
        let leaves: [Digest]
        let tree: MerkleTree
        let mark: MarkFile
        /// Signs heads; nil without encryption.
        let signer: HeadSigner?
        /// Is told how far the journal is durable.
        let durable: DurableSequence
        /// Wall time now.
        let time: WallTime
        /// Is told what fails beside the commits.
        let housekeeping: Housekeeping
    }

    init(_ start: consuming Start) throws(JournalError) {
        let options = start.options
        disk = start.disk
        directory = start.directory
        openDirectory = try TriageJournal.disk { () throws(IOError) in
            try start.disk.openDirectory(start.directory)
        }
        cluster = start.cluster
        self.options = options
        keys = start.keys
        file = start.file
        // One without a record that follows others has the date of one that was lost, which may be
        // later than what comes; the next one takes its place and its name (FORMAT.md 2).
        let isDated = !start.leaves.isEmpty || start.header.sequence == 1
        segmentBytes = isDated ? Int(start.header.size) : 0
        nextSequence = start.tree.size + 1
        durableTree = start.tree
        durableHead = JournalHead(start.tree)
        tree = start.tree
        segmentTree = start.header.tree ?? MerkleTree()
        leaves = start.leaves
        mark = start.mark
        signer = start.signer
        durable = start.durable
        opened = start.time
        random = options.makeRandom()
        cipher = try FileCipher(
            start.header, FileName.segment(start.header.sequence), start.keys)
        let capacity = min(1 << 20, options.bufferBytesMax)
        let key = Format.key(start.cluster)
        image = SegmentImage(key: key, offset: start.offset, capacity: capacity)
        nextImage = SegmentImage(key: key, offset: Format.blockBytes, capacity: capacity)
        helper = try TriageJournal.disk { () throws(IOError) in
            try options.workers?.makeWorker(name: "segments", urgency: .normal)
        }
        preparer = SegmentPreparer(
            start.disk, directory: start.directory, options: options, helper: helper)
        leavesWriter = LeavesWriter(
            start.disk, directory: start.directory, cluster: start.cluster,
            bytesPerSecond: options.preparationBytesPerSecond, start.housekeeping)
        do { try image.fillCarry(from: start.file) } catch { throw .io(error) }
        durable.reached(start.tree.size)
        preparer.request()
    }

    package func append(_ record: RecordParts, time: WallTime) throws(JournalError) -> UInt64 {
        let sequence = nextSequence
        var count = record.body.count
        for field in record.sealed { count += Format.sealedHeaderBytes + field.count }
        if try takesCurrent(count) {
            pendingBytes += image.append(record, count, sequence, time, random: &random)
        } else {
            pendingBytes += nextImage.append(record, count, sequence, time, random: &random)
        }
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
        if isEndWanted { endSegment() }
        if nextHeader == nil, image.base + image.used + image.bytesNeeded(count) <= segmentBytes {
            return true
        }
        try openNext(count)
        return false
    }

    /// Turns to the next segment, whose spare must be ready, so that nothing is accepted that the
    /// disk has no room for.
    private func openNext(_ count: Int) throws(JournalError) {
        guard nextHeader == nil else {
            let end = nextImage.base + nextImage.used + nextImage.bytesNeeded(count)
            guard end <= options.segmentBytes else { throw .bufferFull }
            return
        }
        guard Format.blockBytes + nextImage.bytesNeeded(count) <= options.segmentBytes else {
            throw .recordTooLarge(bytes: count)
        }
        try preparer.waitUntilReady()
        var header = HeaderBlock(
            kind: .segment, cluster: cluster, sequence: nextSequence, time: lastTime,
            size: UInt64(options.segmentBytes))
        nextCipher = try FileCipher(making: &header, keys, &random)
        nextHeader = header
    }

    /// Lets the next record begin a segment although there is room in this one, which is then
    /// complete and can be written anew (``Redaction``).
    ///
    /// Does nothing while this one has no durable record. While the next one is not prepared,
    /// records go on into this one: none is refused, and none waits, for this.
    package func endSegment() {
        isEndWanted = nextHeader == nil && !leaves.isEmpty
        guard isEndWanted else { return }
        preparer.request()
        guard preparer.isReady else { return }
        isEndWanted = false
        segmentBytes = 0
    }

    package func commit() throws(JournalError) {
        if let failure { throw .poisoned(failure) }
        do {
            if image.hasBatch { try writeBatch() }
            if let header = nextHeader, nextImage.hasBatch { try rotate(header) }
            pendingBytes = 0
        } catch {
            failure = error
            throw .poisoned(error)
        }
    }

    /// Makes the open batch of the current segment durable.
    private func writeBatch() throws(IOError) {
        let known = leaves.count
        image.hash(with: &hasher, into: &leaves)
        tree.append(leaves, from: known, scratch: &scratch)
        let root = tree.root
        image.seal(root: root, cipher: &cipher, random: &random)
        try image.write(to: file)
        try file.sync()
        image.advance()
        durableTree = tree
        durableHead = JournalHead(sequence: tree.size, root: root)
        durable.reached(tree.size)
    }

    /// Begins the next segment and makes what gathered for it durable.
    private func rotate(_ prepared: HeaderBlock) throws(IOError) {
        let spare = directory + "/" + FileName.spare
        let path = directory + "/" + FileName.segment(prepared.sequence)
        var header = prepared
        header.time = lastTime
        header.tree = tree
        let next = preparer.take()
        var block = PageBuffer(capacity: Format.blockBytes)
        header.store(in: &block)
        try next.write(block.span(0..<Format.blockBytes), at: 0)
        try next.sync()
        try disk.rename(spare, to: path)
        try openDirectory.sync()
        file = next
        segmentBytes = options.segmentBytes
        isEndWanted = false
        swap(&image, &nextImage)
        nextImage.restart()
        nextHeader = nil
        if let sealing = nextCipher.take() { cipher = sealing }
        segmentsBegun += 1
        keepLeaves()
        try writeBatch()
        // Before the preparation, which takes its time on the same thread.
        writeMark(time: max(lastTime, opened))
        signHead(time: max(lastTime, opened))
        preparer.request()
    }

    /// Hands over the leaves of the segment that is complete.
    private func keepLeaves() {
        let complete = leaves
        let before = segmentTree
        let time = lastTime
        leaves.removeAll(keepingCapacity: false)
        leaves.reserveCapacity(complete.count + complete.count / 8)
        segmentTree = tree
        // A segment without a record, too small for its first one, was replaced by one of its name.
        if complete.isEmpty { return }
        let writer = leavesWriter
        if let helper {
            helper.submit { writer.write(complete, after: before, time: time) }
        } else {
            writer.write(complete, after: before, time: time)
        }
    }

    /// Writes the durable head into the mark file, beside the journal (FORMAT.md §11).
    ///
    /// Called by the owner every few seconds. A failure is counted and otherwise harmless: the old
    /// mark stays true.
    ///
    /// - Durability: on disk soon after, from the helper if there is one
    package func writeMark(time: WallTime) {
        guard failure == nil, durableTree.size > 0 else { return }
        let tree = durableTree
        let mark = mark
        if let helper { helper.submit { mark.write(tree, time) } } else { mark.write(tree, time) }
    }

    /// Signs the durable head, beside the commits, unless that was done already.
    ///
    /// - Parameters:
    ///   - time: Wall time now.
    ///   - report: Called with what came of it, from the helper thread if there is one; not at all
    ///     without encryption.
    /// - Durability: on disk when `report` is called with a receipt
    package func signHead(
        time: WallTime,
        report: @escaping @Sendable (Result<SignedHeadReceipt, JournalError>) -> Void = { _ in }
    ) {
        guard let signer else { return }
        if let failure { return report(.failure(.poisoned(failure))) }
        let head = durableHead
        let sign: @Sendable () -> Void = { report(signer.sign(head, time: time)) }
        if let helper { helper.submit(sign) } else { sign() }
    }

    /// How far heads are signed, asked from any thread; nil without encryption.
    package var signing: (@Sendable () -> SigningStatus)? {
        guard let signer else { return nil }
        return { signer.status }
    }

    /// Writes the last mark, signs the last head, and ends the helper.
    ///
    /// What was not committed is not written.
    ///
    /// - Parameter time: Wall time now; both are dated with the last record's, or with the start's,
    ///   if that is later.
    package func close(time: WallTime) {
        let time = max(time, lastTime, opened)
        writeMark(time: time)
        if durableTree.size > 0 { signHead(time: time) }
        helper?.stop()
    }
}
