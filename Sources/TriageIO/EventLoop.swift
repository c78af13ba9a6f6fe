// epoll(7): which descriptors are ready, the wake-up from other threads, and until when to wait for
// either. Knows nothing of what the descriptors carry; the owner names each by a token of its own.

import CTriageShims
import Glibc
import Synchronization
package import TriageBase

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
    /// Token of ``alarm``; likewise.
    private static let alarmToken = UInt64.max - 1
    private let epoll: Int32
    /// Ends a wait in time.
    ///
    /// It stays set from wait to wait: a timeout of each wait's own would be set and cancelled with
    /// every call that is answered, twice a trap into the hypervisor.
    private let alarm: Int32
    /// When ``alarm`` goes off, in the owner's clock.
    private var alarmAt = MonotonicTime.never
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
    /// Source: epoll_create1(2), epoll_ctl(2), timerfd_create(2).
    package init(_ wakeUp: WakeUp, eventsMax: Int = 256) throws(SocketError) {
        self.wakeUp = wakeUp
        unsafe buffer = [epoll_event](repeating: epoll_event(), count: eventsMax)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        alarm = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
        guard epoll >= 0 else { throw SocketError.last("epoll_create1") }
        guard alarm >= 0 else { throw SocketError.last("timerfd_create") }
        try Self.watch(epoll, wakeUp.descriptor, Self.wakeToken, EPOLLIN.rawValue)
        // Each time it goes off is reported once, and so need not be read.
        try Self.watch(epoll, alarm, Self.alarmToken, EPOLLIN.rawValue | EPOLLET.rawValue)
    }

    deinit {
        if epoll >= 0 { _ = close(epoll) }
        if alarm >= 0 { _ = close(alarm) }
    }

    /// Watches a descriptor.
    ///
    /// - Parameters:
    ///   - descriptor: Open until it is removed or closed.
    ///   - token: Comes back in the events; less than `UInt64.max - 1`.
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
    ///   - until: Not longer than until then; ``MonotonicTime/never``: for ever. It may return
    ///     before, without events: an alarm that an earlier wait has set is not taken back.
    ///   - now: The time as the owner knows it, not later than it is; from `until` on nothing is
    ///     waited for.
    ///   - isIdle: Asked after other threads can see that this one is about to sleep; false keeps
    ///     it awake.
    /// - Returns: How many events there are, for ``event(_:)``.
    ///
    /// Source: epoll_wait(2); EINTR reports no events. timerfd_create(2).
    package func wait(until: MonotonicTime, now: MonotonicTime, isIdle: () -> Bool) -> Int {
        let mayWait = until > now
        var timeout: Int32 = mayWait ? -1 : 0
        if mayWait {
            // One that is due is as good as none: it has gone off, or the owner's clock jumps.
            if until < alarmAt || alarmAt <= now { setAlarm(until, now) }
            wakeUp.willSleep()
            if !isIdle() { timeout = 0 }
        }
        let capacity = Int32(unsafe buffer.count)
        let count = unsafe buffer.withUnsafeMutableBufferPointer { events in
            unsafe epoll_wait(epoll, events.baseAddress, capacity, timeout)
        }
        if mayWait { wakeUp.didWake() }
        guard count > 0 else { return 0 }
        return withoutOurs(Int(count))
    }

    private func setAlarm(_ until: MonotonicTime, _ now: MonotonicTime) {
        alarmAt = until
        guard until != .never else { return }
        let left = until.nanoseconds(since: now)
        var time = itimerspec()
        time.it_value.tv_sec = Int(left / 1_000_000_000)
        time.it_value.tv_nsec = Int(left % 1_000_000_000)
        let result = unsafe timerfd_settime(alarm, 0, &time, nil)
        invariant(result == 0, "an alarm can always be set")
    }

    /// Handles the wake-up and the alarm, which are no events of the owner's: they go to the end
    /// and are cut off.
    private func withoutOurs(_ count: Int) -> Int {
        var kept = count
        var index = 0
        while index < kept {
            let token = unsafe buffer[index].data.u64
            guard token >= Self.alarmToken else {
                index += 1
                continue
            }
            if token == Self.wakeToken { wakeUp.drain() } else { alarmAt = .never }
            kept -= 1
            unsafe buffer.swapAt(index, kept)
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
