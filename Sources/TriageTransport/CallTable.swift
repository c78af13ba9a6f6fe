// The calls of one reactor in slots that are reused, so that a call costs no allocation and a late
// completion for one that is gone is recognised. Knows nothing of what a call carries.

import TriageBase
import TriageGRPC
import TriageHTTP2

/// One call, or a free place for one.
struct CallSlot {
    var generation: UInt32 = 0
    var isUsed = false
    var machine = CallStateMachine(clientStreaming: false, serverStreaming: false)
    /// Index in the method table.
    var method: Int32 = 0
    /// Index of the connection in the reactor.
    var connection: Int32 = 0
    /// Where the connection's list of calls names this one.
    var position: Int32 = 0
    var stream: HTTP2Stream?
    var startedAt = MonotonicTime(nanoseconds: 0)
    /// When the call is ended: the client's deadline, or our cap.
    var deadline = MonotonicTime.never
    /// The client's own deadline.
    var clientDeadline = MonotonicTime.never
    var deframer: MessageDeframer
    /// The request of a method that takes one message, once it is complete.
    var request: Range<Int>?
    /// Client streaming: a message waits for the handler to ask for more.
    var isHolding = false
    /// Client streaming: the client has ended its input behind a message that waits.
    var isEndHeld = false
    /// Client streaming: the handler can take a message.
    var hasCredit = false
    var isLongLived = false
    /// Bytes of the call that count as held.
    var heldBytes = 0
    var traceparent: [UInt8] = []
    /// Unsent bytes when the stream was last seen to move.
    var stalledBytes = 0
    var movedAt = MonotonicTime(nanoseconds: 0)
}

/// The slots of one reactor.
struct CallTable {
    private(set) var slots: [CallSlot] = []
    private var free: [Int32] = []
    private let messageBytesMax: Int

    init(messageBytesMax: Int) { self.messageBytesMax = messageBytesMax }

    /// Calls that are in the table.
    var count: Int { slots.count - free.count }

    subscript(slot: Int) -> CallSlot {
        @inline(__always) _read { yield slots[slot] }
        @inline(__always) _modify { yield &slots[slot] }
    }

    /// Takes a free slot; all of it is fresh but the generation and the deframer's buffer.
    @inline(__always)
    mutating func open() -> Int {
        if let slot = free.popLast() {
            slots[Int(slot)].isUsed = true
            return Int(slot)
        }
        slots.append(CallSlot(deframer: MessageDeframer(limit: messageBytesMax)))
        slots[slots.count - 1].isUsed = true
        return slots.count - 1
    }

    /// Returns a slot; every id that named its call is stale from now on.
    @inline(__always)
    mutating func close(_ slot: Int) {
        slots[slot].isUsed = false
        slots[slot].generation &+= 1
        slots[slot].stream = nil
        slots[slot].request = nil
        slots[slot].isHolding = false
        slots[slot].hasCredit = false
        slots[slot].isLongLived = false
        slots[slot].isEndHeld = false
        slots[slot].stalledBytes = 0
        slots[slot].heldBytes = 0
        if !slots[slot].traceparent.isEmpty { slots[slot].traceparent = [] }
        slots[slot].deframer.reset()
        free.append(Int32(slot))
    }

    /// The slot of a call that is still in the table.
    @inline(__always)
    func find(_ call: CallID) -> Int? {
        let slot = call.slot
        guard slot < slots.count, slots[slot].isUsed, slots[slot].generation == call.generation
        else { return nil }
        return slot
    }
}
