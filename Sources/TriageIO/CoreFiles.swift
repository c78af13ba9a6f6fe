// What a crash may leave behind: nothing. Knows nothing of what is in memory.

internal import CTriageShims

/// The core files of the process.
package enum CoreFiles {
    /// Lets neither a crash nor another process of the same user write our memory down: it holds
    /// reports and keys.
    ///
    /// The limit alone does not bind a kernel that pipes core files to a program. A successor
    /// begins anew, and calls it again. A sandbox that forbids it has limits of its own.
    ///
    /// Source: setrlimit(2), RLIMIT_CORE; prctl(2), PR_SET_DUMPABLE; core(5).
    package static func forbid() {
        _ = CTriageShims_forbid_core_files()
    }
}
