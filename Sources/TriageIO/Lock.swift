// A lock around a value, for what threads share and nobody waits on. Knows nothing of what it is.

internal import Glibc

/// A value that threads take turns with.
///
/// `pthread` rather than `Synchronization.Mutex`, because ThreadSanitizer understands it; use
/// ``Monitor`` where a thread waits for a change.
///
/// `@unchecked Sendable`: `value` is touched only with `mutex` held.
@safe package final class Lock<Value: Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    /// Starts with `value`.
    package init(_ value: Value) {
        self.value = value
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        _ = unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        _ = unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    /// Runs `body` with the value, alone; it must not take the lock again.
    @inline(__always)
    package func withLock<R>(_ body: (inout Value) -> R) -> R {
        _ = unsafe pthread_mutex_lock(mutex)
        defer { _ = unsafe pthread_mutex_unlock(mutex) }
        return body(&value)
    }
}
