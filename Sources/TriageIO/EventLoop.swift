// epoll(7): which descriptors are ready, and the wake-up from other threads. Knows nothing of what
// the descriptors carry; the owner names each by a token of its own.

import CTriageShims
import Glibc
import Synchronization

/// How a descriptor is watched.
package enum EventTrigger: Sendable {
    /// Reported once when it becomes readable or writable (edge-triggered): read and write until it
    /// blocks.
    case onChange
    /// Reported as long as it is readable (level-triggered): for listeners, which are drained bit
    /// by bit.
    case whileReadable
}

/// What is ready on one descriptor.
package struct ReadyEvent: Equatable, Sendable {
    /// The token that it was added with.
    package let token: UInt64
    /// Bytes, a connection, or the end of the stream can be read.
    package let isReadable: Bool
    /// The peer sends nothing more: reading must go on until it says so.
    package let isEnded: Bool
    /// Bytes can be written, or a connect has ended.
    package let isWritable: Bool
    /// The connection is broken or closed both ways.
    package let isBroken: Bool
}

/// A set of watched descriptors, confined to one thread.
///
/// A class, because a noncopyable struct with a private noncopyable member does not link in release
/// builds of Swift 6.3.1.
// @safe: epoll_event is unsafe only for its union, of which this file uses the integer and nothing
// else.
@safe package final class EventLoop {
    /// Token of ``wakeUp``; it is handled here and never reported.
    private static let wakeToken = UInt64.max
    private let epoll: Int32
    private var buffer: [epoll_event]
    /// The door for other threads.
    package let wakeUp: WakeUp

    /// Makes an empty set.
    ///
    /// - Parameters:
    ///   - wakeUp: The door, made before, so that other threads can have it.
    ///   - eventsMax: Most events that one wait reports.
    /// - Throws: ``SocketError`` when the kernel has no descriptors left.
    ///
    /// Source: epoll_create1(2), epoll_ctl(2).
    package init(_ wakeUp: WakeUp, eventsMax: Int = 256) throws(SocketError) {
        self.wakeUp = wakeUp
        unsafe buffer = [epoll_event](repeating: epoll_event(), count: eventsMax)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SocketError.last("epoll_create1") }
        try Self.watch(epoll, wakeUp.descriptor, Self.wakeToken, EPOLLIN.rawValue)
    }

    deinit { if epoll >= 0 { _ = close(epoll) } }

    /// Watches a descriptor.
    ///
    /// - Parameters:
    ///   - descriptor: Open until it is removed or closed.
    ///   - token: Comes back in the events; not `UInt64.max`.
    ///   - trigger: How.
    /// - Throws: ``SocketError`` when the kernel has no memory for it.
    ///
    /// Source: epoll_ctl(2).
    package func add(
        _ descriptor: Int32, token: UInt64, _ trigger: EventTrigger
    ) throws(SocketError) {
        switch trigger {
        case .onChange:
            let events =
                EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
            try Self.watch(epoll, descriptor, token, events)
        case .whileReadable:
            try Self.watch(epoll, descriptor, token, EPOLLIN.rawValue)
        }
    }

    /// Stops watching a descriptor that stays open; closing one removes it as well.
    package func remove(_ descriptor: Int32) {
        var event = unsafe epoll_event()
        _ = unsafe epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
    }

    /// Waits for events.
    ///
    /// - Parameters:
    ///   - nanoseconds: At most so long; nil: for ever; 0: do not wait.
    ///   - isIdle: Asked after other threads can see that this one is about to sleep; false keeps
    ///     it awake.
    /// - Returns: How many events there are, for ``event(_:)``.
    ///
    /// Source: epoll_pwait2(2); EINTR reports no events.
    package func wait(nanoseconds: UInt64?, isIdle: () -> Bool) -> Int {
        var timeout = nanoseconds.map { Int64(clamping: $0) } ?? -1
        let mayWait = timeout != 0
        if mayWait {
            wakeUp.willSleep()
            if !isIdle() { timeout = 0 }
        }
        let capacity = Int32(unsafe buffer.count)
        let count = unsafe buffer.withUnsafeMutableBufferPointer { events in
            unsafe CTriageShims_epoll_wait(epoll, events.baseAddress, capacity, timeout)
        }
        if mayWait { wakeUp.didWake() }
        guard count > 0 else { return 0 }
        // The wake-up is no event of the caller's: it goes to the end and is cut off.
        var kept = Int(count)
        for index in 0..<kept where unsafe buffer[index].data.u64 == Self.wakeToken {
            wakeUp.drain()
            kept -= 1
            unsafe buffer.swapAt(index, kept)
            break
        }
        return kept
    }

    /// One of the events of the last ``wait(nanoseconds:isIdle:)``.
    package func event(_ index: Int) -> ReadyEvent {
        let event = unsafe buffer[index]
        let bits = unsafe event.events
        return ReadyEvent(
            token: unsafe event.data.u64,
            isReadable: bits & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0,
            isEnded: bits & EPOLLRDHUP.rawValue != 0,
            isWritable: bits & EPOLLOUT.rawValue != 0,
            isBroken: bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0)
    }

    private static func watch(
        _ epoll: Int32, _ descriptor: Int32, _ token: UInt64, _ events: UInt32
    ) throws(SocketError) {
        var event = unsafe epoll_event()
        unsafe event.events = events
        unsafe event.data.u64 = token
        guard unsafe epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            throw SocketError.last("epoll_ctl")
        }
    }
}

/// Wakes a loop from another thread, with a system call only when the loop sleeps.
///
/// The sleeper publishes that it sleeps and then looks at its mailbox; the poster fills the mailbox
/// and then looks whether somebody sleeps. Both orders are sequentially consistent, so one of them
/// sees the other.
package final class WakeUp: Sendable {
    let descriptor: Int32
    private let isSleeping = Atomic<Bool>(false)

    /// Makes the door of one loop.
    ///
    /// - Throws: ``SocketError`` when the kernel has no descriptors left.
    ///
    /// Source: eventfd(2).
    package init() throws(SocketError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw SocketError.last("eventfd") }
    }

    deinit { if descriptor >= 0 { _ = close(descriptor) } }

    /// Wakes the loop if it sleeps; call it after the work was made visible.
    package func wake() {
        guard isSleeping.load(ordering: .sequentiallyConsistent),
            isSleeping.exchange(false, ordering: .sequentiallyConsistent)
        else { return }
        var one: UInt64 = 1
        _ = unsafe write(descriptor, &one, 8)
    }

    func willSleep() { isSleeping.store(true, ordering: .sequentiallyConsistent) }

    func didWake() { isSleeping.store(false, ordering: .sequentiallyConsistent) }

    func drain() {
        var count: UInt64 = 0
        _ = unsafe read(descriptor, &count, 8)
    }
}
