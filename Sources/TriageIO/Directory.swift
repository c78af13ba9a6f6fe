// Directories: list, make, sync, and the rename and removal of what is in them. Knows nothing of
// what the names mean.

internal import Glibc

/// One name in a directory.
package struct DirectoryEntry: Hashable, Sendable {
    /// The name, without the directory.
    package let name: String
    /// True for a directory.
    package let isDirectory: Bool

    /// Describes an entry.
    package init(name: String, isDirectory: Bool) {
        self.name = name
        self.isDirectory = isDirectory
    }
}

/// Calls on directories, by path.
package enum Directory {
    /// Names in a directory, in byte order, without `.` and `..`.
    ///
    /// - Throws: ``IOError``: `.list`.
    ///
    /// Source: readdir(3)
    package static func list(_ path: String) throws(IOError) -> [DirectoryEntry] {
        guard let stream = unsafe opendir(path) else { throw IOError(.list, path: path, .current) }
        defer { unsafe closedir(stream) }
        var entries: [DirectoryEntry] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                if errno != 0 { throw IOError(.list, path: path, .current) }
                break
            }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                unsafe String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            var status = stat()
            guard unsafe lstat(path + "/" + name, &status) == 0 else {
                // Removed or renamed since it was read: it is no longer in the directory.
                if errno == ENOENT { continue }
                throw IOError(.stat, path: path + "/" + name, .current)
            }
            entries.append(
                DirectoryEntry(name: name, isDirectory: status.st_mode & S_IFMT == S_IFDIR))
        }
        return entries.sorted { Array($0.name.utf8).lexicographicallyPrecedes($1.name.utf8) }
    }

    /// Makes a directory of mode 0700; one that exists is left as it is.
    ///
    /// - Throws: ``IOError``: `.makeDirectory`, `.syncDirectory`.
    /// - Durability: its name is on disk when this returns, also if it was made by a process that
    ///   was killed before it knew. Where the directory that it is in cannot be opened, others made
    ///   it.
    ///
    /// Source: mkdir(2)
    package static func make(_ path: String) throws(IOError) {
        guard unsafe mkdir(path, 0o700) != 0 else { return try sync(parent(of: path)) }
        let error = Errno.current
        var status = stat()
        if error == .exists, unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            do throws(IOError) { return try sync(parent(of: path)) } catch {
                if error.errno == .accessDenied { return }
                throw error
            }
        }
        throw IOError(.makeDirectory, path: path, error == .exists ? .notDirectory : error)
    }

    /// The directory that a path is in.
    package static func parent(of path: String) -> String {
        var end = path.endIndex
        while end > path.startIndex, path[path.index(before: end)] == "/" {
            end = path.index(before: end)
        }
        guard let slash = path[..<end].lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes names that were created, renamed or removed in a directory durable.
    ///
    /// - Throws: ``IOError``: `.syncDirectory`.
    ///
    /// Source: fsync(2)
    package static func sync(_ path: String) throws(IOError) {
        try DirectoryHandle(path).sync()
    }

    /// Renames a file, replacing what has the new name.
    ///
    /// Durable after a sync of the directory.
    ///
    /// - Throws: ``IOError``: `.rename`.
    ///
    /// Source: rename(2)
    package static func rename(_ path: String, to newPath: String) throws(IOError) {
        guard unsafe Glibc.rename(path, newPath) == 0 else {
            throw IOError(.rename, path: path, .current)
        }
    }

    /// Removes a file.
    ///
    /// Durable after a sync of the directory.
    ///
    /// - Throws: ``IOError``: `.remove`.
    ///
    /// Source: unlink(2)
    package static func remove(_ path: String) throws(IOError) {
        guard unsafe unlink(path) == 0 else { throw IOError(.remove, path: path, .current) }
    }
}

/// An open directory, closed when it is dropped.
package final class DirectoryHandle: DiskDirectory {
    private let descriptor: Int32
    private let path: String

    /// Opens it.
    ///
    /// - Throws: ``IOError``: `.syncDirectory`, which is all that it is opened for.
    ///
    /// Source: open(2)
    package init(_ path: String) throws(IOError) {
        descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        self.path = path
        guard descriptor >= 0 else { throw IOError(.syncDirectory, path: path, .current) }
    }

    deinit { if descriptor >= 0 { _ = close(descriptor) } }

    /// Makes names that were created, renamed or removed in it durable.
    ///
    /// - Throws: ``IOError``: `.syncDirectory`.
    ///
    /// Source: fsync(2)
    package func sync() throws(IOError) {
        while fsync(descriptor) != 0 {
            if errno == EINTR { continue }
            throw IOError(.syncDirectory, path: path, .current)
        }
    }
}
