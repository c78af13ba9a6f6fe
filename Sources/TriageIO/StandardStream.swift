// The process's standard output and error, unbuffered, safe from any thread.

import Glibc

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

    /// Writes all of `text`; gives up silently when the other side is gone, since nobody is left to
    /// tell.
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
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
