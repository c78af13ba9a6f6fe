// Where frames are gathered on their way out, in memory of its own: appending to an array costs
// three times as much a frame. Knows nothing of what the bytes say.

/// Bytes of whole frames, at most a TLS record and a frame of them unless somebody drains more.
///
/// - Isolation: confined to one thread, like all sessions that drain into it.
@safe package final class FrameBuffer {
    private var bytes: UnsafeMutablePointer<UInt8>
    private var capacity = FrameBuffer.bytesKept
    /// Bytes in the buffer.
    package private(set) var count = 0

    /// Room for a record's worth of frames and the largest one behind it.
    private static let bytesKept = 40 << 10

    /// Makes an empty buffer.
    package init() {
        unsafe bytes = .allocate(capacity: capacity)
    }

    deinit { unsafe bytes.deallocate() }

    package var isEmpty: Bool { count == 0 }

    /// Shows the bytes.
    package func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try body(
            unsafe Span(_unsafeElements: UnsafeBufferPointer(start: bytes, count: count)))
    }

    /// Forgets everything.
    package func removeAll() {
        count = 0
        guard capacity > Self.bytesKept else { return }
        unsafe bytes.deallocate()
        capacity = Self.bytesKept
        unsafe bytes = .allocate(capacity: capacity)
    }

    @inline(__always)
    func append(_ frame: UnsafePointer<UInt8>, _ size: Int) {
        if count + size > capacity { grow(to: count + size) }
        unsafe UnsafeMutableRawPointer(bytes + count).copyMemory(from: frame, byteCount: size)
        count += size
    }

    private func grow(to size: Int) {
        capacity = max(size, capacity * 2)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        unsafe larger.update(from: bytes, count: count)
        unsafe bytes.deallocate()
        unsafe bytes = unsafe larger
    }
}
