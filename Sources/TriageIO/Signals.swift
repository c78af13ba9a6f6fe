// Signals as something to be read, instead of interruptions. Knows nothing of what they should
// cause.

import CTriageShims
import Glibc

/// Receives signals that are blocked everywhere else.
///
/// Make it on the main thread before any other thread starts: threads inherit what is blocked.
package struct SignalSource: ~Copyable, Sendable {
    /// Readable when a signal waits.
    package let descriptor: Int32

    /// SIGTERM: drain and stop.
    package static let terminate = SIGTERM
    /// SIGINT: the same, from a terminal.
    package static let interrupt = SIGINT
    /// SIGHUP: reload what can be reloaded.
    package static let hangUp = SIGHUP
    /// SIGUSR2: hand over to a new run of the program, see ``Handover``.
    package static let handOver = SIGUSR2

    /// Blocks the signals in this thread and opens a descriptor for them.
    ///
    /// - Throws: ``SocketError`` when the kernel has no descriptors left.
    ///
    /// Source: signalfd(2), pthread_sigmask(3).
    package init(_ signals: [Int32]) throws(SocketError) {
        descriptor = unsafe signals.withUnsafeBufferPointer {
            unsafe CTriageShims_signalfd($0.baseAddress, $0.count)
        }
        guard descriptor >= 0 else { throw SocketError.last("signalfd") }
    }

    deinit { if descriptor >= 0 { _ = close(descriptor) } }

    /// Takes a signal.
    ///
    /// - Parameter waitMilliseconds: At most so long; negative: for ever.
    /// - Returns: Its number, or nil when none came in time.
    ///
    /// Source: signalfd(2), poll(2).
    package borrowing func next(waitMilliseconds: Int32) -> Int32? {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&watched, 1, waitMilliseconds) > 0 else { return nil }
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        guard unsafe read(descriptor, &info, size) == size else { return nil }
        return Int32(info.ssi_signo)
    }

    /// Makes a write to a closed pipe an error instead of the end of the process; once, at start.
    package static func ignoreBrokenPipes() {
        _ = signal(SIGPIPE, SIG_IGN)
    }
}
