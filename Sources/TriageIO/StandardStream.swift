// The process's standard output and error, unbuffered, safe from any thread.

import Glibc
import Synchronization
import TriageBase

/// One of the process's standard streams.
package struct StandardStream: Sendable {
    private let descriptor: Int32

    /// Standard output.
    package static let output = StandardStream(descriptor: 1)
    /// Standard error.
    package static let error = StandardStream(descriptor: 2)

    /// True when a person reads it: the stream is a terminal.
    ///
    /// Source: isatty(3).
    package var isTerminal: Bool { isatty(descriptor) == 1 }

    /// What a write to standard output failed with first, unless its reader had gone.
    package static var outputFailure: IOError? {
        let code = lost.load(ordering: .relaxed)
        return code == 0
            ? nil : IOError(.write, path: "standard output", Errno(rawValue: Int32(code)))
    }

    private static let lost = Atomic<Int>(0)

    /// Writes all of `text`; gives up when it cannot, see ``outputFailure``.
    ///
    /// When the other side is gone nobody is left to tell.
    ///
    /// Source: write(2); EINTR is retried.
    package func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                if descriptor == 1, errno != EPIPE {
                    _ = Self.lost.compareExchange(
                        expected: 0, desired: Int(errno), ordering: .relaxed)
                }
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
