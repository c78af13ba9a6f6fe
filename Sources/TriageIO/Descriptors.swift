// How many descriptors the process may have at once: each connection and each open file is one.
// Knows nothing of what they are for.

internal import Glibc

/// The descriptors of the process.
package enum Descriptors {
    /// Lets the process have as many as its hard limit allows.
    ///
    /// What is usual for a shell is 1,024, kept low for programs that use select(2), which nothing
    /// here does.
    ///
    /// - Returns: How many it may have.
    ///
    /// Source: getrlimit(2); systemd, "File Descriptor Limits".
    package static func raiseLimit() -> Int {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return minimum }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            // A sandbox may forbid it; then it stays as it is.
            if unsafe setrlimit(resource, &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// What every process has.
    ///
    /// Source: POSIX, _POSIX_OPEN_MAX.
    private static let minimum = 20
}
