// The messages of one call that are sent, kept for another attempt as long as there may be one.
// Pure. Knows nothing of connections.

/// The request messages of one call.
struct RequestQueue {
    /// Kept messages, oldest first; the first `sent` of them have left with this attempt.
    private var messages: [[UInt8]] = []
    private var sent = 0
    private var isCommitted = false
    /// Bytes of the kept messages.
    private(set) var keptBytes = 0
    /// Bytes of those that have not left.
    private(set) var unsentBytes = 0
    /// No further message will come.
    private(set) var isEnded = false

    /// Everything has left, and nothing follows.
    var isDone: Bool { isEnded && sent == messages.count }

    /// The first message; nil once it is gone.
    var first: [UInt8]? { isCommitted ? nil : messages.first }

    mutating func append(_ message: [UInt8]) {
        messages.append(message)
        keptBytes += message.count
        unsentBytes += message.count
    }

    mutating func end() { isEnded = true }

    /// The next message to send; nil when all have left.
    mutating func next() -> [UInt8]? {
        guard sent < messages.count else { return nil }
        let message = messages[sent]
        unsentBytes -= message.count
        sent += 1
        if isCommitted { dropSent() }
        return message
    }

    /// Begins with the first message again, for another attempt.
    ///
    /// - Precondition: It was not committed.
    mutating func rewind() {
        precondition(!isCommitted, "what has been dropped cannot be sent again")
        sent = 0
        unsentBytes = keptBytes
    }

    /// There will be no other attempt: what has left is dropped.
    mutating func commit() {
        guard !isCommitted else { return }
        isCommitted = true
        dropSent()
    }

    private mutating func dropSent() {
        for message in messages[..<sent] { keptBytes -= message.count }
        messages.removeFirst(sent)
        sent = 0
    }
}
