// Reads the blocks of a snapshot ahead of whoever goes through them in order, on several threads:
// checksum, digest, decryption, decoding. Knows nothing of what the blocks together must be.

internal import TriageBase
internal import TriageIO

/// What a block's header says.
struct BlockHead {
    var body = 0
    var records: UInt32 = 0
    var section: UInt16 = 0
    var kind: UInt8 = 0
}

/// What the last block says of the others.
struct SnapshotTrailer {
    /// Where its body stands in the file.
    let offset: Int
    let body: [UInt8]
}

/// One block.
///
/// `@unchecked Sendable`: owned by the thread that reads, then by the one that takes.
final class SnapshotBlock<Decoder: RecordDecoder>: @unchecked Sendable {
    fileprivate let name: String
    fileprivate(set) var index: UInt32 = 0
    /// Where it stands in the file.
    fileprivate(set) var offset = 0
    /// Its bytes, with its padding.
    fileprivate(set) var stored = 0
    fileprivate(set) var head = BlockHead()
    /// Of its bytes as they are stored.
    fileprivate(set) var digest = Digest.zero
    /// What its records were decoded to, as far as they could be.
    private var records: Decoder.Records?
    private var error: JournalError?
    private var headerBytes = 0
    /// nil only while a call changes it.
    private var memory: PageBuffer?

    fileprivate init(_ name: String, capacity: Int) {
        self.name = name
        memory = .some(PageBuffer(capacity: capacity))
    }

    // MARK: Taking

    /// Whether it verifies.
    ///
    /// - Returns: What it says if it is the trailer; nil of a block of records.
    /// - Throws: What is wrong with it.
    func check() throws(JournalError) -> SnapshotTrailer? {
        if let error { throw error }
        guard head.kind == 2 else { return nil }
        return SnapshotTrailer(
            offset: offset + headerBytes, body: withBody { [UInt8](copying: $0) })
    }

    /// Hands over what the records were decoded to; nil when that was done before.
    func takeRecords() -> Decoder.Records? { records.take() }

    /// Hands out the records.
    ///
    /// - Throws: `.dataLoss`, `.rejected`.
    func visit<Visitor: SnapshotVisitor & ~Copyable>(
        _ visitor: inout Visitor
    ) throws(JournalError) {
        let memory = borrowMemory()
        var failure: JournalError?
        do throws(JournalError) { try visit(memory, &visitor) } catch { failure = error }
        self.memory = .some(memory)
        if let failure { throw failure }
    }

    /// Where a record begins in the file.
    func place(ofRecord index: Int) -> Int {
        let start = offset + headerBytes
        return withBody { body in
            var position = 0
            for _ in 0..<index { position += 4 + Int(body.loadUInt32(at: position)) }
            return start + position
        }
    }

    private func withBody<R>(_ use: (Span<UInt8>) -> R) -> R {
        let memory = borrowMemory()
        let result = withBody(of: memory, use)
        self.memory = .some(memory)
        return result
    }

    private func withBody<R>(of memory: borrowing PageBuffer, _ use: (Span<UInt8>) -> R) -> R {
        use(memory.span(headerBytes..<headerBytes + head.body))
    }

    /// The memory, to be put back: no span of it is lent from within the object.
    private func borrowMemory() -> PageBuffer {
        guard let memory = memory.take() else { preconditionFailure("memory is put back") }
        return memory
    }

    // MARK: Reading

    /// Reads a block from the file.
    ///
    /// - Returns: The offset behind it; nil when it is the last one, or cannot be read.
    fileprivate func load(
        _ index: UInt32, at offset: Int, _ file: any DiskFile, fileBytes: Int, _ limits: BlockLimits
    ) -> Int? {
        self.index = index
        self.offset = offset
        stored = 0
        error = nil
        var memory = borrowMemory()
        var isLast = true
        do throws(JournalError) {
            isLast = try load(&memory, file, fileBytes, limits)
        } catch { self.error = error }
        self.memory = .some(memory)
        return isLast ? nil : offset + stored
    }

    /// Reads the block into memory.
    ///
    /// - Returns: Whether it says that it is the trailer; not yet known to be true, but if it is
    ///   not, the block does not verify.
    private func load(
        _ memory: inout PageBuffer, _ file: any DiskFile, _ fileBytes: Int, _ limits: BlockLimits
    ) throws(JournalError) -> Bool {
        let ahead = min(limits.ordinary, fileBytes - offset)
        guard ahead >= Format.blockBytes else {
            throw .dataLoss(
                file: name, offset: fileBytes, what: "the file ends without a trailer")
        }
        try fill(&memory, 0..<ahead, file)
        let length = Int(memory.span(0..<Format.blockBytes).loadUInt32(at: 4))
        guard length >= Format.blockBytes, length % Format.blockBytes == 0,
            length <= limits.largest, length <= fileBytes - offset
        else { throw .dataLoss(file: name, offset: offset + 4, what: "a block's length is wrong") }
        if length > ahead {
            memory.grow(to: length, keeping: ahead)
            try fill(&memory, ahead..<length, file)
        }
        stored = length
        return memory.span(0..<Format.blockBytes)[19] == 2
    }

    private func fill(
        _ memory: inout PageBuffer, _ range: Range<Int>, _ file: any DiskFile
    ) throws(JournalError) {
        let place = offset + range.lowerBound
        let count: Int
        do { count = try file.read(into: &memory, range, at: place) } catch { throw .io(error) }
        guard count == range.count else {
            throw .dataLoss(
                file: name, offset: place + count, what: "the file ends here while it is read")
        }
    }

    /// Verifies, decrypts and decodes what was read.
    fileprivate func open(_ layout: inout SnapshotLayout, _ key: UInt32, _ decoder: inout Decoder) {
        headerBytes = layout.headerBytes
        if error != nil { return }
        var memory = borrowMemory()
        do throws(JournalError) { try open(&memory, &layout, key, &decoder) } catch {
            self.error = error
        }
        self.memory = .some(memory)
        records = decoder.take()
    }

    private func open(
        _ memory: inout PageBuffer, _ layout: inout SnapshotLayout, _ key: UInt32,
        _ decoder: inout Decoder
    ) throws(JournalError) {
        head = try verify(memory.span(0..<stored), layout.unused, key)
        if head.kind == 1 { digest = memory.sha256(0..<stored) }
        try decrypt(&memory, &layout)
        if head.kind == 1 { try visit(memory, &decoder) }
    }

    fileprivate func fail(_ failure: JournalError) { if error == nil { error = failure } }

    private func verify(
        _ bytes: Span<UInt8>, _ unused: Range<Int>, _ key: UInt32
    ) throws(JournalError) -> BlockHead {
        guard bytes.loadUInt32(at: 0) == crc32c(bytes.extracting(4..<stored), after: key) else {
            throw .dataLoss(file: name, offset: offset, what: "a block's checksum is wrong")
        }
        let body = Int(bytes.loadUInt32(at: 8))
        guard body <= stored - headerBytes, bytes.loadUInt32(at: 20) == index,
            bytes[18] == 0, bytes[19] == 1 || bytes[19] == 2,
            bytes.extracting(headerBytes + body..<stored).isZero,
            bytes.extracting(unused).isZero
        else { throw .dataLoss(file: name, offset: offset, what: "a block's header is wrong") }
        return BlockHead(
            body: body, records: bytes.loadUInt32(at: 12),
            section: UInt16(truncatingIfNeeded: bytes.loadUInt32(at: 16)), kind: bytes[19])
    }

    private func decrypt(
        _ memory: inout PageBuffer, _ layout: inout SnapshotLayout
    ) throws(JournalError) {
        let isPlain = layout.cipher == nil
        if isPlain { return }
        let nonce = memory.span(0..<headerBytes).loadNonce(at: 24)
        let tag = memory.span(0..<headerBytes).loadTag(at: 36)
        let isOpen = layout.cipher?.open(
            &memory, headerBytes..<headerBytes + head.body, header: Format.snapshotAdditional,
            nonce: nonce, tag: tag)
        guard isOpen == true else {
            throw .dataLoss(
                file: name, offset: offset,
                what: "a block was not encrypted so by this directory's key")
        }
    }

    private func visit<Visitor: SnapshotVisitor & ~Copyable>(
        _ memory: borrowing PageBuffer, _ visitor: inout Visitor
    ) throws(JournalError) {
        let body = memory.span(headerBytes..<headerBytes + head.body)
        let start = offset + headerBytes
        let end = body.count
        var position = 0
        for _ in 0..<head.records {
            guard position <= end - 4, case let length = Int(body.loadUInt32(at: position)),
                length <= Limits.recordBytesMax, length <= end - position - 4
            else {
                throw .dataLoss(
                    file: name, offset: start + position, what: "a record's length is wrong")
            }
            do {
                try visitor.snapshotRecord(
                    section: head.section, body.extracting(position + 4..<position + 4 + length))
            } catch {
                throw .rejected(file: name, offset: start + position, what: error.what)
            }
            position += 4 + length
        }
        guard position == end, head.records > 0 else {
            throw .dataLoss(file: name, offset: start, what: "a block's count is wrong")
        }
    }
}

/// How long blocks may be.
struct BlockLimits: Sendable {
    let ordinary: Int
    let largest: Int
}

/// The blocks of a snapshot, read ahead.
///
/// - Isolation: ``take()`` from one thread.
final class SnapshotBlocks<Decoder: RecordDecoder>: Sendable {
    /// What one thread works with.
    private final class Opener {
        var layout: SnapshotLayout
        var decoder: Decoder
        let key: UInt32

        init(_ layout: consuming SnapshotLayout, _ decoder: Decoder, _ key: UInt32) {
            self.layout = layout
            self.decoder = decoder
            self.key = key
        }

        func open(_ block: SnapshotBlock<Decoder>) { block.open(&layout, key, &decoder) }
    }

    /// Where the next block begins; nil behind the last one.
    ///
    /// `@unchecked Sendable`: blocks are begun one after the other, by whichever thread.
    private final class Cursor: @unchecked Sendable {
        var offset: Int? = Format.blockBytes
    }

    private let work: WorkAhead<SnapshotBlock<Decoder>>

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - file: The snapshot.
    ///   - name: Its name, for errors.
    ///   - head: What its header says.
    ///   - fileBytes: Its length.
    ///   - threads: Threads that read; four times as many blocks are held in memory.
    ///   - makeLayout: Makes what a thread reads with.
    ///   - makeDecoder: Makes what a thread decodes with.
    /// - Throws: `.io` when there is no thread left.
    init(
        _ file: any DiskFile, _ name: String, _ head: SnapshotHead, fileBytes: Int,
        threads: HelperThreads,
        makeLayout: @escaping @Sendable () throws(JournalError) -> SnapshotLayout,
        makeDecoder: @escaping @Sendable () -> Decoder
    ) throws(JournalError) {
        let key = Format.key(head.cluster)
        let ordinary = Int(head.blockBytes)
        let header = try makeLayout().headerBytes
        let limits = BlockLimits(
            ordinary: ordinary,
            largest: max(
                ordinary, roundUp(header + 4 + Limits.recordBytesMax, to: Format.blockBytes)))
        let cursor = Cursor()
        do {
            work = try WorkAhead(
                threads: threads, ahead: 4 * threads.count, name: "blocks ahead",
                next: { index, spare in
                    guard let offset = cursor.offset else { return nil }
                    let block = spare ?? SnapshotBlock(name, capacity: ordinary)
                    cursor.offset = block.load(
                        UInt32(index), at: offset, file, fileBytes: fileBytes, limits)
                    return block
                },
                makeWork: {
                    do throws(JournalError) {
                        let opener = Opener(try makeLayout(), makeDecoder(), key)
                        return { opener.open($0) }
                    } catch {
                        let failure = error
                        return { $0.fail(failure) }
                    }
                })
        } catch { throw .io(error) }
    }

    /// The next block; waits for it.
    ///
    /// - Returns: nil behind the trailer, and behind a block that cannot be read.
    func take() -> SnapshotBlock<Decoder>? { work.take() }

    /// Gives a block back for those that follow.
    func giveBack(_ block: SnapshotBlock<Decoder>) { work.giveBack(block) }
}
