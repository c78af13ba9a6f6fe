// Named threads that run one closure, with the stack and the CPU that they are given. Knows nothing
// of what they do.

import CTriageShims
import Glibc
import Synchronization
import TriageBase

/// One thread of the process; join it once.
package final class Thread: Sendable {
    // The closure crosses to the C entry point in a retained box, which the entry point consumes.
    private final class Box: Sendable {
        let name: String
        let cpu: Int?
        let urgency: Urgency
        let body: @Sendable () -> Void

        init(
            _ name: String, _ cpu: Int?, _ urgency: Urgency, _ body: @escaping @Sendable () -> Void
        ) {
            self.name = name
            self.cpu = cpu
            self.urgency = urgency
            self.body = body
        }
    }

    /// How the system shares a CPU between this thread and others that want it.
    package enum Urgency: Sendable {
        /// As any thread.
        case normal
        /// Somebody waits for what it does: it runs soon after it wakes, in short turns.
        case prompt
        /// Long work that nobody waits for: gives way, but is never starved.
        case background

        /// The time slice in nanoseconds, 0 for the kernel's, and how much nicer than the process.
        ///
        /// Kernels before 6.12 know no slice of a thread's own and use theirs, some 3 ms: what a
        /// call may then lose to a thread that computes.
        ///
        /// Source: sched_setattr(2).
        fileprivate var schedule: (sliceNanoseconds: UInt64, nicer: Int32) {
            switch self {
            case .normal: (0, 0)
            case .prompt: (700_000, 0)
            case .background: (0, 10)
            }
        }
    }

    /// Processors that the process may use; at least 1.
    ///
    /// Source: sysconf(3).
    package static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private let handle: pthread_t
    private let isJoined = Atomic<Bool>(false)

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: Shown by the system's tools; its first 15 bytes count.
    ///   - cpu: The only CPU that it may use; nil: any.
    ///   - urgency: How it shares a CPU; a wish, which a system may not grant.
    ///   - stackBytes: Size of its stack.
    ///   - body: What it runs; the thread ends when this returns.
    /// - Throws: ``SocketError`` (EAGAIN) when the system has no thread to give.
    ///
    /// Source: pthread_create(3).
    package init(
        name: String, cpu: Int? = nil, urgency: Urgency = .normal, stackBytes: Int = 2 << 20,
        _ body: @escaping @Sendable () -> Void
    ) throws(SocketError) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        let box = unsafe Unmanaged.passRetained(Box(name, cpu, urgency, body))
        var handle = pthread_t()
        let code = unsafe pthread_create(
            &handle, &attributes,
            { context in
                guard let context = unsafe context else { return nil }
                let box = unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue()
                _ = unsafe CTriageShims_name_thread(String(box.name.prefix(15)))
                if let cpu = box.cpu { _ = CTriageShims_pin_thread(Int32(cpu)) }
                let (slice, nicer) = box.urgency.schedule
                if slice != 0 || nicer != 0 { _ = CTriageShims_schedule_thread(slice, nicer) }
                box.body()
                return nil
            }, unsafe box.toOpaque())
        guard code == 0 else {
            unsafe box.release()
            throw SocketError(operation: "pthread_create", errno: code)
        }
        self.handle = handle
    }

    deinit { if !isJoined.load(ordering: .relaxed) { pthread_detach(handle) } }

    /// Waits until the thread has ended; a second call returns at once.
    ///
    /// Source: pthread_join(3).
    package func join() {
        guard !isJoined.exchange(true, ordering: .relaxed) else { return }
        let code = pthread_join(handle, nil)
        invariant(code == 0, "a thread is joined by another one")
    }
}

/// Lets one thread wait until others have arrived.
package final class Latch: Sendable {
    private let descriptor: Int32

    /// Makes a latch at which nobody has arrived.
    ///
    /// - Throws: ``SocketError`` when the kernel has no descriptors left.
    ///
    /// Source: eventfd(2) EFD_SEMAPHORE.
    package init() throws(SocketError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE))
        guard descriptor >= 0 else { throw SocketError.last("eventfd") }
    }

    deinit { if descriptor >= 0 { _ = close(descriptor) } }

    /// Arrives.
    package func arrive() {
        var one: UInt64 = 1
        _ = unsafe write(descriptor, &one, 8)
    }

    /// Waits for so many arrivals, each at most so long.
    ///
    /// - Parameters:
    ///   - count: Arrivals, each counted once.
    ///   - milliseconds: Longest wait for the next one; negative: for ever.
    /// - Returns: False when one did not come in time.
    package func wait(for count: Int, milliseconds: Int32) -> Bool {
        var arrived = 0
        while arrived < count {
            var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&watched, 1, milliseconds)
            if ready == 0 { return false }
            var one: UInt64 = 0
            if unsafe read(descriptor, &one, 8) == 8 { arrived += 1 }
        }
        return true
    }
}
