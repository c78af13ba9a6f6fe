// What a session keeps for each open stream: the owner's number, received bytes not yet consumed,
// and what waits to be sent. In memory of its own, because an array of these would cost a test of
// uniqueness an access, fourteen a call. Knows nothing of frames.

internal import CNghttp2

/// The five bytes that may precede a chunk of body: a flag and a big-endian length.
package struct DataPrefix: Equatable, Sendable {
    /// The first byte.
    package var flag: UInt8
    /// The other four, most significant first on the wire.
    package var length: UInt32

    /// Groups a flag and a length.
    package init(flag: UInt8, length: UInt32) {
        self.flag = flag
        self.length = length
    }

    /// How many bytes it is.
    package static let count = 5

    func byte(at index: Int) -> UInt8 {
        index == 0 ? flag : UInt8(truncatingIfNeeded: length >> UInt32((4 - index) * 8))
    }
}

/// One queued piece of a body.
struct OutputChunk {
    var prefix: DataPrefix?
    var bytes: [UInt8]
    /// Bytes sent so far, the prefix counted.
    var sent = 0

    var count: Int { (prefix == nil ? 0 : DataPrefix.count) + bytes.count - sent }

    /// Copies up to `capacity` bytes to `target`; returns how many.
    mutating func copy(to target: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
        var copied = 0
        var bodyStart = sent
        if let prefix {
            while sent < DataPrefix.count, copied < capacity {
                unsafe target[copied] = prefix.byte(at: sent)
                sent += 1
                copied += 1
            }
            if sent < DataPrefix.count { return copied }
            bodyStart = sent - DataPrefix.count
        }
        let take = min(capacity - copied, bytes.count - bodyStart)
        if take > 0 {
            unsafe bytes.withUnsafeBufferPointer { source in
                guard let base = source.baseAddress else { return }
                unsafe (target + copied).update(from: base + bodyStart, count: take)
            }
            sent += take
            copied += take
        }
        return copied
    }
}

/// Pieces of a body in their order; a stream that sends one small reply has none.
final class OutputQueue {
    private var chunks: [OutputChunk] = []
    /// Chunks that were sent.
    private var taken = 0

    func append(_ chunk: OutputChunk) { chunks.append(chunk) }

    /// Moves up to `capacity` bytes to `target`; returns how many.
    func take(to target: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
        var copied = 0
        while copied < capacity, taken < chunks.count {
            copied += unsafe chunks[taken].copy(to: target + copied, capacity: capacity - copied)
            if chunks[taken].count == 0 { advance() }
        }
        return copied
    }

    private func advance() {
        chunks[taken].bytes = []
        taken += 1
        if taken == chunks.count {
            chunks.removeAll()
            taken = 0
        } else if taken > 64, taken * 2 > chunks.count {
            chunks.removeFirst(taken)
            taken = 0
        }
    }
}

/// How a stream's output will end.
enum OutputEnd: UInt8 {
    /// More may be queued.
    case open
    /// END_STREAM on the last DATA frame.
    case endStream
    /// Trailers after the last DATA frame.
    case trailers
    /// The end was handed to nghttp2.
    case submitted
}

/// What nghttp2 has of a stream's body, see ``SessionState/offer(_:_:)``.
///
/// ```
///   idle ──offer──▶ attached ──the queue drains──▶ draining ──the frame is sent──▶ idle
///                    │    ▲
///    nothing queued  ▼    │ offer
///                   deferred
/// ```
enum OutputSource: UInt8 {
    /// Nothing: a stream that has nothing to say costs nothing.
    case idle
    /// It asks for bytes until there are none, or will once the headers are sent.
    case attached
    /// It asked before there were any, and waits to be told.
    case deferred
    /// It has had the last byte and is about to let go.
    case draining
}

/// The state of one stream.
@safe struct StreamSlot {
    var id: Int32 = 0
    var userData = 0
    /// Received body bytes that the owner has not consumed.
    var unconsumed = 0
    /// Those of them that count against the stream's window only.
    var held = 0
    /// Queued body bytes, prefixes counted.
    var buffered = 0
    /// Queued body bytes that were framed so far.
    var taken = 0
    /// The first queued bytes, if they are few: a block of the session's pool.
    var small: UnsafeMutableRawPointer?
    var smallCount: Int32 = 0
    var smallSent: Int32 = 0
    /// Everything behind them.
    var queue: OutputQueue?
    /// What ``end`` says, when it is `.trailers`; nil: those of ``HeaderFields/forever(_:)``.
    var trailersOwner: HeaderFields?
    var trailers: UnsafeMutablePointer<nghttp2_nv>?
    var trailersCount = 0
    var end = OutputEnd.open
    var source = OutputSource.idle
    /// The queue went above the high-water mark and the owner waits.
    var isAboveHighWater = false
    /// Marked to share the connection fairly.
    var isIncremental = false
    /// The final response headers came (client), or the request's (server).
    var headersReceived = false
    /// The request's headers were framed (client): the server may have seen them.
    var headersSent = false
    /// The peer ended its side.
    var remoteEnded = false
    /// We reset it, or had to.
    var resetByUs = false
    /// The peer reset it.
    var resetByPeer = false
    /// The next free or closed slot; -1: none.
    fileprivate var next: Int32 = -1

    /// How it ended, once it has.
    var fate: StreamFate {
        if resetByPeer { return .resetByPeer }
        return remoteEnded && !resetByUs ? .ended : .resetByUs
    }

    /// Queues bytes behind everything else.
    mutating func append(_ chunk: OutputChunk) {
        buffered += chunk.count
        let queue = queue ?? OutputQueue()
        self.queue = queue
        queue.append(chunk)
    }

    /// Queues few bytes, copied into a block of the pool; false: they are too many, or something is
    /// queued already.
    ///
    /// An array for them, made and freed, costs 400 instructions.
    @inline(__always)
    mutating func appendSmall(
        _ bytes: Span<UInt8>, _ prefix: DataPrefix, _ pool: UnsafeMutablePointer<HTTP2Pool>
    ) -> Bool {
        let count = DataPrefix.count + bytes.count
        guard let block = unsafe makeSmall(count, pool) else { return false }
        unsafe block.storeBytes(of: prefix.flag, as: UInt8.self)
        unsafe block.storeBytes(of: prefix.length.bigEndian, toByteOffset: 1, as: UInt32.self)
        unsafe Self.copy(bytes, to: block + DataPrefix.count)
        return true
    }

    /// The same with the prefix among the bytes.
    @inline(__always)
    mutating func appendSmall(
        framed bytes: Span<UInt8>, _ pool: UnsafeMutablePointer<HTTP2Pool>
    ) -> Bool {
        guard let block = unsafe makeSmall(bytes.count, pool) else { return false }
        unsafe Self.copy(bytes, to: block)
        return true
    }

    @inline(__always)
    private mutating func makeSmall(
        _ count: Int, _ pool: UnsafeMutablePointer<HTTP2Pool>
    ) -> UnsafeMutableRawPointer? {
        guard count <= HTTP2Pool.blockBytesMax, buffered == 0, unsafe small == nil,
            let block = unsafe pool.pointee.allocate(count)
        else { return nil }
        unsafe small = unsafe block
        smallCount = Int32(count)
        smallSent = 0
        buffered = count
        return unsafe block
    }

    @inline(__always)
    private static func copy(_ bytes: Span<UInt8>, to block: UnsafeMutableRawPointer) {
        unsafe bytes.withUnsafeBytes { source in
            if let base = source.baseAddress {
                unsafe block.copyMemory(from: base, byteCount: source.count)
            }
        }
    }

    /// Moves up to `capacity` queued bytes to `target`; returns how many.
    @inline(__always)
    mutating func take(
        to target: UnsafeMutablePointer<UInt8>, capacity: Int,
        _ pool: UnsafeMutablePointer<HTTP2Pool>
    ) -> Int {
        var copied = 0
        if let block = unsafe small {
            copied = min(capacity, Int(smallCount - smallSent))
            unsafe UnsafeMutableRawPointer(target).copyMemory(
                from: block + Int(smallSent), byteCount: copied)
            smallSent += Int32(copied)
            if smallSent == smallCount {
                unsafe pool.pointee.free(block)
                unsafe small = nil
            }
        }
        if copied < capacity, let queue {
            copied += unsafe queue.take(to: target + copied, capacity: capacity - copied)
        }
        buffered -= copied
        taken &+= copied
        return copied
    }

    /// Gives back everything that the slot owns but its number.
    fileprivate mutating func clear(_ pool: UnsafeMutablePointer<HTTP2Pool>) {
        if let block = unsafe small {
            unsafe pool.pointee.free(block)
            unsafe small = nil
        }
        if queue != nil { queue = nil }
        if trailersOwner != nil { trailersOwner = nil }
        id = 0
        unconsumed = 0
        held = 0
        buffered = 0
        taken = 0
        end = .open
        source = .idle
        isAboveHighWater = false
        isIncremental = false
        headersReceived = false
        headersSent = false
        remoteEnded = false
        resetByUs = false
        resetByPeer = false
    }
}

/// The streams of one session: slots from a free list.
///
/// A slot is reused only after `releaseClosed()`, so that events of one turn never meet two
/// occupants of one slot.
@safe struct StreamTable: ~Copyable {
    private var slots: UnsafeMutablePointer<StreamSlot>
    private var capacity = 4
    /// Slots that were ever used.
    private var count: Int32 = 0
    private var firstFree: Int32 = -1
    private var firstClosed: Int32 = -1
    private(set) var openCount = 0
    private let pool: UnsafeMutablePointer<HTTP2Pool>

    init(_ pool: UnsafeMutablePointer<HTTP2Pool>) {
        unsafe self.pool = unsafe pool
        unsafe slots = .allocate(capacity: capacity)
    }

    deinit {
        for slot in 0..<Int(count) { unsafe slots[slot].clear(pool) }
        unsafe slots.deinitialize(count: Int(count))
        unsafe slots.deallocate()
    }

    mutating func open(id: Int32) -> HTTP2Stream {
        openCount += 1
        var slot = firstFree
        if slot >= 0 {
            firstFree = self[slot].next
        } else {
            slot = grow()
        }
        self[slot].id = id
        return HTTP2Stream(id: id, slot: slot)
    }

    private mutating func grow() -> Int32 {
        if Int(count) == capacity {
            let larger = UnsafeMutablePointer<StreamSlot>.allocate(capacity: capacity * 2)
            unsafe larger.moveInitialize(from: slots, count: capacity)
            unsafe slots.deallocate()
            unsafe slots = unsafe larger
            capacity *= 2
        }
        unsafe (slots + Int(count)).initialize(to: StreamSlot())
        count += 1
        return count - 1
    }

    /// Names a client's stream once nghttp2 has numbered it.
    mutating func rename(_ slot: Int32, id: Int32) -> HTTP2Stream {
        self[slot].id = id
        return HTTP2Stream(id: id, slot: slot)
    }

    @inline(__always)
    func isCurrent(_ stream: HTTP2Stream) -> Bool {
        UInt32(bitPattern: stream.slot) < UInt32(bitPattern: count)
            && self[stream.slot].id == stream.id
    }

    /// The handles of all open streams.
    var all: [HTTP2Stream] {
        (0..<count).compactMap { slot in
            self[slot].id > 0 ? HTTP2Stream(id: self[slot].id, slot: slot) : nil
        }
    }

    func find(id: Int32) -> HTTP2Stream? { all.first { $0.id == id } }

    subscript(_ slot: Int32) -> StreamSlot {
        @inline(__always) unsafeAddress {
            precondition(UInt32(bitPattern: slot) < UInt32(bitPattern: count), "no such slot")
            return unsafe UnsafePointer(slots + Int(slot))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(UInt32(bitPattern: slot) < UInt32(bitPattern: count), "no such slot")
            return unsafe slots + Int(slot)
        }
    }

    /// Ends a stream; its owner's number stays readable until `releaseClosed()`.
    mutating func close(_ slot: Int32) {
        unsafe self[slot].clear(pool)
        self[slot].next = firstClosed
        firstClosed = slot
        openCount -= 1
    }

    mutating func releaseClosed() {
        while firstClosed >= 0 {
            let slot = firstClosed
            firstClosed = self[slot].next
            self[slot].userData = 0
            self[slot].next = firstFree
            firstFree = slot
        }
    }
}
