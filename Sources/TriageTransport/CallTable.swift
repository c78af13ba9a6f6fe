// The calls of one reactor: objects that are reused, so that a call costs no allocation and a late
// completion for one that is gone is recognised. Knows nothing of what a call carries.

import TriageBase
import TriageGRPC
import TriageHTTP2

/// One call, or a free place for one.
///
/// An object of plain fields, because single loads and stores of such fields need no run-time
/// exclusivity check; the same fields in an array of structs cost a check and a uniqueness test
/// each.
final class Call {
    /// Place in the table.
    let slot: Int
    var generation: UInt32 = 0
    var machine = CallStateMachine(clientStreaming: false, serverStreaming: false)
    /// The connection; nil: the place is free.
    var connection: Connection?
    var stream: HTTP2Stream
    var counters: MethodCounters
    /// Index in the method table.
    var method = 0
    var startedAt = MonotonicTime(nanoseconds: 0)
    /// When the call is ended: the client's deadline, or our cap.
    var deadline = MonotonicTime.never
    /// The client's own deadline.
    var clientDeadline = MonotonicTime.never
    /// The timer is set.
    var hasTimer = false
    var deframer: MessageDeframer
    /// The request of a method that takes one message, once it is complete.
    var request: Range<Int>?
    /// Bytes of the call that count as held.
    var heldBytes = 0
    /// The deframer was used.
    var hasHeldBytes = false
    /// Client streaming: a message waits for the handler to ask for more.
    var isHolding = false
    /// Client streaming: the client has ended its input behind a message that waits.
    var isEndHeld = false
    /// Client streaming: the handler can take a message.
    var hasCredit = false
    var isLongLived = false
    var traceparent: [UInt8] = []
    /// What this call has and others have not.
    var extras: CallExtras?
    /// Bytes framed when the stream was last seen to move; -1: not looked at yet.
    var framedBytes = -1
    var movedAt = MonotonicTime(nanoseconds: 0)
    /// The next free place.
    fileprivate var nextFree: Call?
    /// The next call that began in this batch.
    fileprivate var nextFresh: Call?
    fileprivate var isFresh = false

    fileprivate init(
        slot: Int, _ stream: HTTP2Stream, _ counters: MethodCounters, messageBytesMax: Int
    ) {
        self.slot = slot
        self.stream = stream
        self.counters = counters
        deframer = MessageDeframer(limit: messageBytesMax)
    }
}

/// The calls of one reactor; an object of plain fields for the same reason.
final class CallTable {
    /// Every place, used or free.
    private(set) var all: [Call] = []
    private var firstFree: Call?
    private var firstFresh: Call?
    private(set) var count = 0
    private let messageBytesMax: Int

    init(messageBytesMax: Int) { self.messageBytesMax = messageBytesMax }

    subscript(slot: Int) -> Call {
        @inline(__always) get { all[slot] }
    }

    /// Takes a free place; all of it is fresh but the generation and the deframer's buffer.
    @inline(__always)
    func open(
        _ connection: Connection, _ stream: HTTP2Stream, _ counters: MethodCounters
    ) -> Call {
        count += 1
        let call: Call
        if let free = firstFree {
            call = free
            firstFree = free.nextFree
            free.nextFree = nil
            call.stream = stream
            call.counters = counters
        } else {
            call = grow(stream, counters)
        }
        call.connection = connection
        if !call.isFresh {
            // A place that is freed and taken again within a batch is listed already.
            call.isFresh = true
            call.nextFresh = firstFresh
            firstFresh = call
        }
        return call
    }

    private func grow(_ stream: HTTP2Stream, _ counters: MethodCounters) -> Call {
        let call = Call(
            slot: all.count, stream, counters, messageBytesMax: messageBytesMax)
        all.append(call)
        return call
    }

    /// Takes the calls that began since the last time, newest first; some may be over already.
    @inline(__always)
    func forEachFresh(_ body: (Call) -> Void) {
        while let call = firstFresh {
            firstFresh = call.nextFresh
            call.nextFresh = nil
            call.isFresh = false
            body(call)
        }
    }

    /// Returns a place; every id that named its call is stale from now on.
    @inline(__always)
    func close(_ call: Call) {
        count -= 1
        call.generation &+= 1
        call.connection = nil
        call.request = nil
        call.isHolding = false
        call.isEndHeld = false
        call.hasCredit = false
        call.isLongLived = false
        call.framedBytes = -1
        if !call.traceparent.isEmpty { call.traceparent = [] }
        if call.extras != nil {
            call.extras = nil
            call.deframer.acceptsCompressed = false
        }
        if call.hasHeldBytes {
            call.hasHeldBytes = false
            call.deframer.reset()
        }
        call.heldBytes = 0
        call.nextFree = firstFree
        firstFree = call
    }

    /// The call of an id that is not stale.
    @inline(__always)
    func find(_ id: CallID) -> Call? {
        guard id.slot < all.count else { return nil }
        let call = all[id.slot]
        return call.connection != nil && call.generation == id.generation ? call : nil
    }
}
