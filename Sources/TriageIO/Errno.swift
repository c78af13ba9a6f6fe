// System error numbers with names, and the one error type of this module: which call failed, on
// what, and why. Knows nothing of what a failure means to the caller.

internal import Glibc

/// A Linux error number.
package struct Errno: Hashable, Sendable, CustomStringConvertible {
    /// The number, as `errno` had it.
    package let rawValue: Int32

    /// Wraps a number.
    package init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// The calling thread's `errno`: to be read directly after the call that failed.
    package static var current: Errno { Errno(rawValue: errno) }

    /// Input or output error.
    package static let inputOutput = Errno(rawValue: EIO)
    /// No space left on the device.
    package static let noSpace = Errno(rawValue: ENOSPC)
    /// The file is too large.
    package static let fileTooLarge = Errno(rawValue: EFBIG)
    /// The process has as many files open as it may.
    package static let tooManyFiles = Errno(rawValue: EMFILE)
    /// The system has as many files open as it may.
    package static let tooManyFilesInSystem = Errno(rawValue: ENFILE)
    /// The kernel has no memory for it.
    package static let noMemory = Errno(rawValue: ENOMEM)
    /// Disk quota exceeded.
    package static let quotaExceeded = Errno(rawValue: EDQUOT)
    /// No such file or directory.
    package static let notFound = Errno(rawValue: ENOENT)
    /// The file exists.
    package static let exists = Errno(rawValue: EEXIST)
    /// Is a directory.
    package static let isDirectory = Errno(rawValue: EISDIR)
    /// Not a directory.
    package static let notDirectory = Errno(rawValue: ENOTDIR)
    /// Permission denied.
    package static let accessDenied = Errno(rawValue: EACCES)
    /// Read-only file system.
    package static let readOnly = Errno(rawValue: EROFS)
    /// Interrupted by a signal.
    package static let interrupted = Errno(rawValue: EINTR)
    /// Would block: also "locked by another".
    package static let wouldBlock = Errno(rawValue: EAGAIN)
    /// Invalid argument: also "no O_DIRECT here".
    package static let invalidArgument = Errno(rawValue: EINVAL)
    /// Operation not supported.
    package static let notSupported = Errno(rawValue: EOPNOTSUPP)

    /// The system's words for it, in lower case, with the number.
    package var description: String {
        guard let text = unsafe strerror(rawValue) else { return "error \(rawValue)" }
        return unsafe "\(String(cString: text).lowercased()) (errno \(rawValue))"
    }
}

/// A system call that failed.
package struct IOError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, by its own name.
    package enum Operation: String, Sendable {
        case open, read, write, sync, allocate, rename, remove, list, stat, lock
        case makeDirectory = "make directory"
        case syncDirectory = "sync directory"
        case random, thread
    }

    /// Which call failed.
    package let operation: Operation
    /// On which path; empty when there is none.
    package let path: String
    /// Why.
    package let errno: Errno

    /// Describes a failed call.
    package init(_ operation: Operation, path: String, _ errno: Errno) {
        self.operation = operation
        self.path = path
        self.errno = errno
    }

    /// One line for an operator: call, path, reason.
    package var description: String { "\(operation.rawValue) \(path): \(errno)" }
}
