// A first-in first-out buffer of bytes that gives its memory back when it is empty: an idle
// connection holds none. One that is never quite empty keeps a few times what waits in it.

/// Bytes waiting to be taken from the front.
struct ByteQueue {
    private(set) var bytes: [UInt8] = []
    private var head = 0
    /// Capacity kept when empty.
    private static let capacityKept = 1 << 10

    var count: Int { bytes.count - head }

    mutating func append(_ new: UnsafeBufferPointer<UInt8>) {
        // Who reads slowly and steadily leaves it never empty: what was taken must go before. Moves
        // no more bytes than were taken since the last time.
        if head > 0, head >= count {
            bytes.removeFirst(head)
            head = 0
        }
        unsafe bytes.append(contentsOf: new)
    }

    /// Moves up to `capacity` bytes to `target`; returns how many.
    mutating func take(to target: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
        let taken = min(capacity, count)
        guard taken > 0 else { return 0 }
        unsafe bytes.withUnsafeBufferPointer { source in
            guard let base = source.baseAddress else { return }
            unsafe target.update(from: base + head, count: taken)
        }
        drop(taken)
        return taken
    }

    /// Shows the bytes; `body` returns how many it used up.
    mutating func consume(_ body: (Span<UInt8>) -> Int) {
        let used = body(bytes.span.extracting(head..<bytes.count))
        drop(min(max(0, used), count))
    }

    private mutating func drop(_ dropped: Int) {
        head += dropped
        guard head == bytes.count else { return }
        head = 0
        bytes.removeAll(keepingCapacity: bytes.capacity <= Self.capacityKept)
    }
}
