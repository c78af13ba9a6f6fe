// The disk as the journal sees it, so that a simulated one can stand in for the real one. One
// dynamic call a batch or block, never one a record. Refuses to know any format.

package import TriageBase

/// An open file of a ``Disk``.
package protocol DiskFile: AnyObject, Sendable {
    /// Reads until `buffer` is full or the file ends, and returns the count.
    func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOError) -> Int
    /// Writes all of `bytes`; not durable before ``sync()``.
    func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError)
    /// Makes what was written durable. A failure is final for the file.
    func sync() throws(IOError)
    /// Reserves space for the first `count` bytes.
    func allocate(_ count: Int) throws(IOError)
    /// Bytes in the file.
    func size() throws(IOError) -> Int
}

/// An open directory of a ``Disk``: making its names durable needs no descriptor any more.
package protocol DiskDirectory: AnyObject, Sendable {
    /// Makes creations, renames and removals in it durable.
    func sync() throws(IOError)
}

/// Holds a lock until it is dropped.
package protocol DiskLock: AnyObject, Sendable {}

/// What came of an attempt to lock.
package enum LockOutcome {
    /// Ours, until the value is dropped.
    case acquired(any DiskLock)
    /// Another holds it; its process id when the file tells.
    case held(processID: Int32?)
}

/// Files and directories, by path, and the time that pacing needs.
package protocol Disk: AnyObject, Sendable {
    /// Opens a file.
    func open(_ path: String, _ access: FileAccess) throws(IOError) -> any DiskFile
    /// Names in a directory, in byte order.
    func list(_ path: String) throws(IOError) -> [DirectoryEntry]
    /// Makes a directory, unless it exists.
    func makeDirectory(_ path: String) throws(IOError)
    /// Opens a directory, for whoever makes its names durable again and again.
    func openDirectory(_ path: String) throws(IOError) -> any DiskDirectory
    /// Makes creations, renames and removals in a directory durable.
    func syncDirectory(_ path: String) throws(IOError)
    /// Renames a file.
    func rename(_ path: String, to newPath: String) throws(IOError)
    /// Removes a file.
    func remove(_ path: String) throws(IOError)
    /// Locks a file, made if absent, and writes the process id into it.
    func lock(_ path: String) throws(IOError) -> LockOutcome
    /// Monotonic time now.
    func monotonicTime() -> MonotonicTime
    /// Holds the calling thread for that long.
    func pause(nanoseconds: UInt64)
}

extension DiskFile {
    /// Reads into a range of a buffer until it is full or the file ends, and returns the count.
    package func read(
        into buffer: inout PageBuffer, _ range: Range<Int>, at offset: Int
    ) throws(IOError) -> Int {
        var target = buffer.mutableSpan(range)
        return try read(into: &target, at: offset)
    }

    /// Writes a range of a buffer.
    package func write(
        _ buffer: borrowing PageBuffer, _ range: Range<Int>, at offset: Int
    ) throws(IOError) {
        try write(buffer.span(range), at: offset)
    }
}
