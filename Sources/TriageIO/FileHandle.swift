// One open file: positioned reads and writes of whole ranges, sync, preallocation. Owns the
// descriptor. Knows nothing of formats; never seeks, so that no position is shared.

internal import CTriageShims
internal import Glibc

/// How a file is opened.
///
/// Files are made with mode 0600.
package enum FileAccess: Sendable {
    /// An existing file, for reading.
    case read
    /// An existing file, for reading and writing.
    case update
    /// As ``update``, past the page cache where the file system can: see ``createDirect``.
    case updateDirect
    /// A file for reading and writing, made empty if absent, kept if present.
    case ensure
    /// A new file, or an existing one cut to nothing, for writing and reading.
    case create
    /// A file that was not there, for writing and reading; no link is followed.
    case exclusive
    /// As ``create``, past the page cache where the file system can: addresses, offsets and counts
    /// are then multiples of 4096.
    case createDirect
}

/// An open regular file.
///
/// Calls interrupted by a signal are repeated. Dropping the handle closes the descriptor; nothing
/// that matters is lost by that, because only ``sync()`` makes anything durable.
package struct FileHandle: ~Copyable, Sendable {
    private let descriptor: Int32
    /// The path it was opened under, for error texts.
    package let path: String

    /// Opens a file.
    ///
    /// - Throws: ``IOError``: `.open`.
    ///
    /// Source: open(2)
    package init(path: String, access: FileAccess) throws(IOError) {
        let flags: Int32
        switch access {
        case .read: flags = O_RDONLY
        case .update, .updateDirect: flags = O_RDWR
        case .ensure: flags = O_RDWR | O_CREAT
        case .exclusive: flags = O_RDWR | O_CREAT | O_EXCL
        case .create, .createDirect: flags = O_RDWR | O_CREAT | O_TRUNC
        }
        var descriptor = Int32(-1)
        switch access {
        case .createDirect, .updateDirect:
            descriptor = Self.open(path, flags | CTriageShims_O_DIRECT())
        case .read, .update, .ensure, .create, .exclusive: break
        }
        if descriptor < 0 { descriptor = Self.open(path, flags) }
        guard descriptor >= 0 else { throw IOError(.open, path: path, .current) }
        self.descriptor = descriptor
        self.path = path
    }

    /// Makes a file of mode 0600 without a name: it is gone when the handle is, however that ends.
    ///
    /// - Parameter directory: Where ``give(name:)`` may give it one.
    /// - Throws: ``IOError``: `.open`; with `.notSupported` or `.isDirectory` where the file system
    ///   has no such files.
    ///
    /// Source: open(2) O_TMPFILE
    package init(unnamedIn directory: String) throws(IOError) {
        descriptor = unsafe CTriageShims_open_unnamed(directory)
        path = directory
        guard descriptor >= 0 else { throw IOError(.open, path: directory, .current) }
    }

    /// Gives a file its name, which nobody may have.
    ///
    /// - Throws: ``IOError``: `.rename`; `.exists` when there is one of that name.
    ///
    /// Source: linkat(2)
    package borrowing func give(name path: String) throws(IOError) {
        guard unsafe CTriageShims_give_name(descriptor, path) == 0 else {
            throw IOError(.rename, path: path, .current)
        }
    }

    private static func open(_ path: String, _ flags: Int32) -> Int32 {
        while true {
            let descriptor = unsafe CTriageShims_open(path, flags | O_CLOEXEC, 0o600)
            if descriptor >= 0 || errno != EINTR { return descriptor }
        }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Reads until `buffer` is full or the file ends.
    ///
    /// - Returns: How many bytes were read; fewer than `buffer.count` only at the end of the file.
    /// - Throws: ``IOError``: `.read`.
    ///
    /// Source: pread(2)
    package func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOError) -> Int
    {
        var done = 0
        let count = buffer.count
        while done < count {
            let start = done
            let result = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe pread(
                    descriptor, bytes.baseAddress?.advanced(by: start), count - start,
                    off_t(offset + start))
            }
            if result < 0 {
                if errno == EINTR { continue }
                throw IOError(.read, path: path, .current)
            }
            if result == 0 { break }
            done += result
        }
        return done
    }

    /// Writes all of `bytes`.
    ///
    /// - Throws: ``IOError``: `.write`; how much was written is then unknown.
    ///
    /// Source: pwrite(2)
    package func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError) {
        var done = 0
        let count = bytes.count
        while done < count {
            let start = done
            let result = unsafe bytes.withUnsafeBytes { raw in
                unsafe pwrite(
                    descriptor, raw.baseAddress?.advanced(by: start), count - start,
                    off_t(offset + start))
            }
            if result < 0 {
                if errno == EINTR { continue }
                throw IOError(.write, path: path, .current)
            }
            // A device that takes nothing and gives no reason has failed.
            guard result > 0 else { throw IOError(.write, path: path, .inputOutput) }
            done += result
        }
    }

    /// Makes everything written durable.
    ///
    /// After a failure nothing is known of what is on disk.
    ///
    /// - Throws: ``IOError``: `.sync`.
    ///
    /// Source: fdatasync(2)
    package func sync() throws(IOError) {
        while fdatasync(descriptor) != 0 {
            if errno == EINTR { continue }
            throw IOError(.sync, path: path, .current)
        }
    }

    /// Reserves space for the first `count` bytes and makes the file at least that long.
    ///
    /// A file system that cannot reserve is left to find out while writing.
    ///
    /// - Throws: ``IOError``: `.allocate`, `.noSpace` above all.
    ///
    /// Source: fallocate(2)
    package func allocate(_ count: Int) throws(IOError) {
        while CTriageShims_fallocate(descriptor, 0, Int64(count)) != 0 {
            if errno == EINTR { continue }
            if errno == EOPNOTSUPP || errno == ENOSYS { return }
            throw IOError(.allocate, path: path, .current)
        }
    }

    /// Bytes in the file.
    ///
    /// - Throws: ``IOError``: `.stat`.
    ///
    /// Source: fstat(2)
    package func size() throws(IOError) -> Int {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw IOError(.stat, path: path, .current)
        }
        return Int(status.st_size)
    }

    /// Locks the whole file against every other opener, until the handle is dropped.
    ///
    /// - Returns: False when another holds it.
    /// - Throws: ``IOError``: `.lock`.
    ///
    /// Source: fcntl(2) F_OFD_SETLK
    package func lock() throws(IOError) -> Bool {
        if CTriageShims_ofd_lock(descriptor) == 0 { return true }
        if errno == EAGAIN || errno == EACCES { return false }
        throw IOError(.lock, path: path, .current)
    }

    /// Cuts the file to nothing.
    ///
    /// - Throws: ``IOError``: `.write`.
    ///
    /// Source: ftruncate(2)
    package func truncate() throws(IOError) {
        guard ftruncate(descriptor, 0) == 0 else { throw IOError(.write, path: path, .current) }
    }
}
