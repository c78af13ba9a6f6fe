// Remembers how the last streams of a connection ended, because nghttp2 forgets a stream with its
// last frame, and then ignores what RFC 9113 wants refused. Knows no frames.

/// How a client's stream came to its end.
enum StreamFate: UInt32 {
    /// The client had sent everything, and so had we.
    case ended = 1
    /// The client reset it.
    case resetByPeer = 2
    /// We reset it: frames that were on their way then are still to be expected.
    case resetByUs = 3
    /// Never opened: only known while nothing has been forgotten.
    case skipped = 4
}

/// The fates of the streams that closed last.
///
/// Fixed storage inside the session's state: a close costs one store.
struct ClosedStreams {
    private static let capacity = 64
    // A client's ids are odd: without their last bit they leave room for the fate.
    private var entries = InlineArray<64, UInt32>(repeating: 0)
    private var next = 0
    private var hasForgotten = false
    /// The highest id that was ever opened.
    var highestOpened: Int32 = 0

    @inline(__always)
    mutating func closed(_ id: Int32, _ fate: StreamFate) {
        entries[next] = UInt32(bitPattern: id >> 1) << 2 | (fate.rawValue & 3)
        next += 1
        if next == Self.capacity {
            next = 0
            hasForgotten = true
        }
    }

    /// What became of a stream that is not open any more; nil when that is forgotten, or it is yet
    /// to be opened.
    func fate(_ id: Int32) -> StreamFate? {
        guard id > 0, id <= highestOpened else { return nil }
        let wanted = UInt32(bitPattern: id >> 1)
        for index in 0..<Self.capacity where entries[index] >> 2 == wanted && entries[index] != 0 {
            return StreamFate(rawValue: entries[index] & 3)
        }
        return hasForgotten ? nil : .skipped
    }
}
