// The replies of one call that wait for who reads them, and whether the server is to be held back.
// Pure.

internal import TriageBase

/// The unread replies of one call.
struct ReplyQueue {
    private var messages = Fifo<[UInt8]>()
    private var bytes = 0
    /// The server is held back.
    private(set) var isHeldBack = false

    mutating func append(_ message: [UInt8]) {
        messages.append(message)
        bytes += message.count
    }

    mutating func next() -> [UInt8]? {
        guard let message = messages.popFirst() else { return nil }
        bytes -= message.count
        return message
    }

    /// True once when there have come to be too many.
    mutating func holdsBack() -> Bool {
        guard !isHeldBack,
            messages.count >= Limits.unreadRepliesMax || bytes >= Limits.unreadBytesMax
        else { return false }
        isHeldBack = true
        return true
    }

    /// True once when there is room again.
    mutating func letsGo() -> Bool {
        guard isHeldBack, messages.count <= Limits.unreadRepliesMax / 2,
            bytes <= Limits.unreadBytesMax / 2
        else { return false }
        isHeldBack = false
        return true
    }
}
