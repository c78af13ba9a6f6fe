// What a session keeps for each open stream: the owner's number, received bytes not yet consumed,
// and what waits to be sent. Knows nothing of frames.

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

    static let count = 5

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

/// How a stream's output will end.
enum OutputEnd {
    /// More may be queued.
    case open
    /// END_STREAM on the last DATA frame.
    case endStream
    /// Trailers after the last DATA frame.
    case trailers(HeaderFields)
    /// The end was handed to nghttp2.
    case submitted
}

/// The state of one stream.
struct StreamSlot {
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
    /// The first queued chunk, inline: a unary reply needs no array.
    var first: OutputChunk?
    /// Chunks after the first, and how many of them were taken.
    var rest: [OutputChunk] = []
    var restTaken = 0
    var end = OutputEnd.open
    /// nghttp2 was told that there is nothing to send now.
    var isDeferred = false
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

    /// How it ended, once it has.
    var fate: StreamFate {
        if resetByPeer { return .resetByPeer }
        return remoteEnded && !resetByUs ? .ended : .resetByUs
    }

    mutating func append(_ chunk: OutputChunk) {
        buffered += chunk.count
        if first == nil {
            first = chunk
        } else {
            rest.append(chunk)
        }
    }

    /// Moves up to `capacity` queued bytes to `target`; returns how many.
    mutating func take(to target: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
        var copied = 0
        while copied < capacity, first != nil {
            copied += unsafe first?.copy(to: target + copied, capacity: capacity - copied) ?? 0
            if let chunk = first, chunk.count == 0 { advance() }
        }
        buffered -= copied
        taken &+= copied
        return copied
    }

    private mutating func advance() {
        guard restTaken < rest.count else {
            first = nil
            rest.removeAll()
            restTaken = 0
            return
        }
        first = rest[restTaken]
        rest[restTaken].bytes = []
        restTaken += 1
        if restTaken > 64, restTaken * 2 > rest.count {
            rest.removeFirst(restTaken)
            restTaken = 0
        }
    }
}

/// The streams of one session: slots from a free list.
///
/// A slot is reused only after `releaseClosed()`, so that events of one turn never meet two
/// occupants of one slot.
struct StreamTable {
    private(set) var slots: [StreamSlot] = []
    private var free: [Int32] = []
    private var closed: [Int32] = []
    private(set) var openCount = 0

    mutating func open(id: Int32) -> HTTP2Stream {
        openCount += 1
        if let slot = free.popLast() {
            slots[Int(slot)].id = id
            return HTTP2Stream(id: id, slot: slot)
        }
        var slot = StreamSlot()
        slot.id = id
        slots.append(slot)
        return HTTP2Stream(id: id, slot: Int32(slots.count - 1))
    }

    /// Names a client's stream once nghttp2 has numbered it.
    mutating func rename(_ slot: Int32, id: Int32) -> HTTP2Stream {
        slots[Int(slot)].id = id
        return HTTP2Stream(id: id, slot: slot)
    }

    func isCurrent(_ stream: HTTP2Stream) -> Bool {
        stream.slot < slots.count && slots[Int(stream.slot)].id == stream.id
    }

    /// The handles of all open streams.
    var all: [HTTP2Stream] {
        slots.indices.filter { slots[$0].id > 0 }.map {
            HTTP2Stream(id: slots[$0].id, slot: Int32($0))
        }
    }

    func find(id: Int32) -> HTTP2Stream? { all.first { $0.id == id } }

    subscript(_ slot: Int32) -> StreamSlot {
        get { slots[Int(slot)] }
        _modify { yield &slots[Int(slot)] }
    }

    /// Ends a stream; its owner's number stays readable until `releaseClosed()`.
    mutating func close(_ slot: Int32) {
        let userData = slots[Int(slot)].userData
        slots[Int(slot)] = StreamSlot()
        slots[Int(slot)].userData = userData
        closed.append(slot)
        openCount -= 1
    }

    mutating func releaseClosed() {
        for slot in closed {
            slots[Int(slot)].userData = 0
            free.append(slot)
        }
        closed.removeAll(keepingCapacity: true)
    }
}
