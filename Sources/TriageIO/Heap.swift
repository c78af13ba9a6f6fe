// What the C library's allocator is told once, for a process whose buffers grow and shrink all day.
// Knows nothing of who allocates.

internal import CTriageShims

/// The heap of the process.
package enum Heap {
    /// Keeps freed memory for the next batch instead of giving it back to the kernel each time.
    ///
    /// By default a block of more than 128 KiB is mapped and unmapped by itself, which costs a page
    /// fault and 4 KiB of zeroing for every page at each use. The main arena grows in steps of 128
    /// KiB, and that of any other thread by a page at a time, with a call of the kernel for each,
    /// unless a whole heap of 64 MiB is made writable when it is begun. Pages count when they are
    /// touched, as before.
    ///
    /// Call it before the first thread starts.
    ///
    /// Source: mallopt(3).
    package static func keepFreedMemory() {
        CTriageShims_keep_freed_memory(32 << 20, 256 << 20, 64 << 20)
    }
}
