// A lock with a condition, and a thread that runs what it is given, one piece after the other. For
// work beside the engine that is never on a request's path; knows nothing of what the work is.

internal import Glibc
package import TriageBase

/// State that several threads share, with a way to wait for it to change.
///
/// `pthread` rather than `Synchronization.Mutex`, because waiting is the point and ThreadSanitizer
/// understands it.
///
/// `@unchecked Sendable`: `state` is touched only with `mutex` held.
@safe package final class Monitor<State: Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    /// Starts with `state`.
    package init(_ state: State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        _ = unsafe pthread_mutex_init(mutex, nil)
        // Deadlines are on the monotonic clock: setting the time of day must not wake or hang
        // anyone.
        var attributes = pthread_condattr_t()
        _ = unsafe pthread_condattr_init(&attributes)
        _ = unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        _ = unsafe pthread_cond_init(condition, &attributes)
        _ = unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        _ = unsafe pthread_cond_destroy(condition)
        _ = unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Changes the state, and wakes whoever waits for that.
    package func change<R>(_ body: (inout State) -> R) -> R {
        _ = unsafe pthread_mutex_lock(mutex)
        // Awake after the lock is free: who wakes would only sleep again on it.
        defer {
            _ = unsafe pthread_mutex_unlock(mutex)
            _ = unsafe pthread_cond_broadcast(condition)
        }
        return body(&state)
    }

    /// Waits until `body`, tried at once and after every change, gives a value.
    package func wait<R>(until body: (inout State) -> R?) -> R {
        _ = unsafe pthread_mutex_lock(mutex)
        defer { _ = unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            _ = unsafe pthread_cond_wait(condition, mutex)
        }
    }

    /// Waits as ``wait(until:)``, but not beyond `deadline`, a time of the system's monotonic
    /// clock.
    ///
    /// - Returns: nil when the deadline passed first.
    ///
    /// Source: pthread_cond_timedwait(3)
    package func wait<R>(
        before deadline: MonotonicTime, until body: (inout State) -> R?
    ) -> R? {
        var time = timespec()
        // What does not fit is further away than any process lives, `never` too.
        time.tv_sec = Int(min(deadline.nanoseconds / 1_000_000_000, 1 << 40))
        time.tv_nsec = Int(deadline.nanoseconds % 1_000_000_000)
        _ = unsafe pthread_mutex_lock(mutex)
        defer { _ = unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            let code = unsafe pthread_cond_timedwait(condition, mutex, &time)
            if code == ETIMEDOUT { return body(&state) }
        }
    }
}

/// A thread that runs pieces of work in the order in which they were given.
package final class TaskThread: Worker {
    private struct State: Sendable {
        var work: [@Sendable () -> Void] = []
        var stopping = false
    }

    private let monitor: Monitor<State>
    private let thread: Thread

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - name: For process listings; at most 15 bytes.
    ///   - urgency: How it shares a CPU.
    /// - Throws: ``IOError``: `.thread` when the system has no thread left.
    package init(name: String, urgency: Thread.Urgency = .normal) throws(IOError) {
        let monitor = Monitor(State())
        self.monitor = monitor
        do {
            thread = try Thread(name: name, urgency: urgency) { Self.run(monitor) }
        } catch {
            throw IOError(.thread, path: name, Errno(rawValue: error.errno))
        }
    }

    package func submit(_ work: @escaping @Sendable () -> Void) {
        monitor.change { state in
            if !state.stopping { state.work.append(work) }
        }
    }

    package func stop() {
        monitor.change { $0.stopping = true }
        thread.join()
    }

    deinit { monitor.change { $0.stopping = true } }

    private static func run(_ monitor: Monitor<State>) {
        while true {
            let work: [@Sendable () -> Void]? = monitor.wait { state in
                guard state.work.isEmpty else {
                    defer { state.work = [] }
                    return .some(state.work)
                }
                return state.stopping ? .some(nil) : nil
            }
            guard let work else { return }
            for piece in work { piece() }
        }
    }
}
