// The calls of one reactor: places that are reused, so that a call costs no allocation and a late
// completion for one that is gone is recognised. Knows nothing of what a call carries.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

/// One call, or a free place for one.
///
/// A struct in a place that does not move: objects for calls were counted thirty times a call, with
/// an atomic operation each. Not copyable, so that nobody changes a copy by mistake.
struct Call: ~Copyable {
    var generation: UInt32 = 0
    var machine = CallStateMachine(clientStreaming: false, serverStreaming: false)
    /// Index of the connection; -1: the place is free.
    var connection: Int32 = -1
    /// Index in the method table.
    var method: Int32 = 0
    var stream: HTTP2Stream
    var startedAt = MonotonicTime(nanoseconds: 0)
    /// When the call is ended: the client's deadline, or our cap.
    var deadline = MonotonicTime.never
    /// The client's own deadline.
    var clientDeadline = MonotonicTime.never
    /// Bytes of the call that count as held.
    var heldBytes = 0
    /// The timer is set.
    var hasTimer = false
    /// Client streaming: a message waits for the handler to ask for more.
    var isHolding = false
    /// Client streaming: the client has ended its input behind a message that waits.
    var isEndHeld = false
    /// Client streaming: the handler can take a message.
    var hasCredit = false
    var isLongLived = false
    fileprivate var isFresh = false
    /// Bytes that came and are no whole message, or more than one; nil: there were never any.
    var input: CallInput?
    /// What this call has and others have not.
    var extras: CallExtras?
    /// Bytes framed when the stream was last seen to move; -1: not looked at yet.
    var framedBytes = -1
    var movedAt = MonotonicTime(nanoseconds: 0)
    /// The next free place; -1: none.
    fileprivate var nextFree: Int32 = -1
    /// The next call that began in this batch; -1: none.
    fileprivate var nextFresh: Int32 = -1

    fileprivate init(_ stream: HTTP2Stream) { self.stream = stream }
}

/// What is assembled for a call whose request did not come in one frame.
final class CallInput {
    var deframer: MessageDeframer
    /// The request of a method that takes one message, once it is complete.
    var request: Range<Int>?

    fileprivate init(messageBytesMax: Int) { deframer = MessageDeframer(limit: messageBytesMax) }

    fileprivate func reset() {
        request = nil
        deframer.reset()
    }
}

/// The calls of one reactor.
///
/// - Isolation: confined to the reactor's thread.
final class CallTable {
    private var slab = Slab<Call>()
    private var firstFree: Int32 = -1
    private var firstFresh: Int32 = -1
    private(set) var count = 0
    private let messageBytesMax: Int
    /// Of calls that are over, for the next ones.
    private var spareInputs: [CallInput] = []
    private static let spareInputsMax = 64

    init(messageBytesMax: Int) { self.messageBytesMax = messageBytesMax }

    /// Every place, used or free.
    var slots: Range<Int> { 0..<slab.count }

    subscript(slot: Int) -> Call {
        @inline(__always) _read { yield slab[slot] }
        @inline(__always) _modify { yield &slab[slot] }
    }

    /// Takes a free place; all of it is fresh but the generation.
    @inline(__always)
    func open(_ connection: Int, _ stream: HTTP2Stream) -> Int {
        count += 1
        var slot = Int(firstFree)
        if slot < 0 { slot = grow(stream) }
        firstFree = slab[slot].nextFree
        slab[slot].stream = stream
        slab[slot].connection = Int32(connection)
        if !slab[slot].isFresh {
            // A place that is freed and taken again within a batch is listed already.
            slab[slot].isFresh = true
            slab[slot].nextFresh = firstFresh
            firstFresh = Int32(slot)
        }
        return slot
    }

    private func grow(_ stream: HTTP2Stream) -> Int {
        slab.append(Call(stream))
        return slab.count - 1
    }

    /// Takes the calls that began since the last time, newest first; some may be over already.
    @inline(__always)
    func forEachFresh(_ body: (Int) -> Void) {
        while firstFresh >= 0 {
            let slot = Int(firstFresh)
            firstFresh = slab[slot].nextFresh
            slab[slot].isFresh = false
            body(slot)
        }
    }

    /// Where the bytes of a call are assembled.
    func input(_ slot: Int) -> CallInput {
        if let input = slab[slot].input { return input }
        let input = spareInputs.popLast() ?? CallInput(messageBytesMax: messageBytesMax)
        input.deframer.acceptsCompressed = slab[slot].extras?.isRequestGzip ?? false
        slab[slot].input = input
        return input
    }

    /// Returns a place; every id that named its call is stale from now on.
    @inline(__always)
    func close(_ slot: Int) {
        count -= 1
        slab[slot].generation &+= 1
        slab[slot].connection = -1
        slab[slot].isHolding = false
        slab[slot].isEndHeld = false
        slab[slot].hasCredit = false
        slab[slot].isLongLived = false
        slab[slot].framedBytes = -1
        slab[slot].heldBytes = 0
        if slab[slot].extras != nil { slab[slot].extras = nil }
        if slab[slot].input != nil { closeInput(slot) }
        slab[slot].nextFree = firstFree
        firstFree = Int32(slot)
    }

    private func closeInput(_ slot: Int) {
        guard let input = slab[slot].input else { return }
        slab[slot].input = nil
        guard spareInputs.count < Self.spareInputsMax else { return }
        input.reset()
        spareInputs.append(input)
    }

    /// The place of the call of an id that is not stale.
    @inline(__always)
    func find(_ id: CallID) -> Int? {
        let slot = id.slot
        guard slot < slab.count, slab[slot].generation == id.generation,
            slab[slot].connection >= 0
        else { return nil }
        return slot
    }
}
