// Named threads that run one closure, with the stack and the CPU that they are given. Knows nothing of
// what they do.

import CTriageShims
import Glibc
import TriageBase

/// One thread of the process, joined before it is dropped.
package struct Thread: ~Copyable {
    // The closure crosses to the C entry point in a retained box, which the entry point consumes.
    private final class Box: Sendable {
        let name: String
        let cpu: Int?
        let body: @Sendable () -> Void

        init(_ name: String, _ cpu: Int?, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.cpu = cpu
            self.body = body
        }
    }

    private let handle: pthread_t

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: Shown by the system's tools; its first 15 bytes count.
    ///   - cpu: The only CPU that it may use; nil: any.
    ///   - stackBytes: Size of its stack.
    ///   - body: What it runs; the thread ends when this returns.
    /// - Throws: ``SocketError`` (EAGAIN) when the system has no thread to give.
    ///
    /// Source: pthread_create(3).
    package init(
        name: String, cpu: Int? = nil, stackBytes: Int = 2 << 20,
        _ body: @escaping @Sendable () -> Void
    ) throws(SocketError) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        let box = unsafe Unmanaged.passRetained(Box(name, cpu, body))
        var handle = pthread_t()
        let code = unsafe pthread_create(
            &handle, &attributes,
            { context in
                guard let context = unsafe context else { return nil }
                let box = unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue()
                _ = unsafe CTriageShims_name_thread(String(box.name.prefix(15)))
                if let cpu = box.cpu { _ = CTriageShims_pin_thread(Int32(cpu)) }
                box.body()
                return nil
            }, unsafe box.toOpaque())
        guard code == 0 else {
            unsafe box.release()
            throw SocketError(operation: "pthread_create", errno: code)
        }
        self.handle = handle
    }

    /// Waits until the thread has ended.
    ///
    /// Source: pthread_join(3).
    package consuming func join() {
        let code = pthread_join(handle, nil)
        invariant(code == 0, "a thread is joined once, by another one")
    }
}
