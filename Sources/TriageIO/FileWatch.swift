// Notices that files were replaced or written, by looking. Knows nothing of their contents.
//
// Looking every second or two instead of inotify(7): it also sees a symbolic link on the way being
// turned, as Kubernetes does with mounted secrets, and files on network filesystems.

import CTriageShims

/// Which version of a file is at a path.
package struct FileStamp: Equatable, Sendable {
    private var numbers: [Int64]

    /// The version at `path`; links are followed.
    ///
    /// Source: stat(2): device, inode, size, time of the last write and of the last change.
    package init?(path: String) {
        var numbers = [Int64](repeating: 0, count: 5)
        let result = unsafe numbers.withUnsafeMutableBufferPointer {
            unsafe CTriageShims_file_stamp(path, $0.baseAddress)
        }
        guard result == 0 else { return nil }
        self.numbers = numbers
    }
}

/// A set of files, and how they were when they were last used.
package struct FileWatch: Sendable {
    private let paths: [String]
    private var used: [FileStamp?]
    private var last: [FileStamp?]

    /// Takes note of how the files are now.
    package init(_ paths: [String]) {
        self.paths = paths
        used = paths.map(FileStamp.init)
        last = used
    }

    /// Looks at the files; to be called once a second or so.
    ///
    /// - Returns: True once when files have come, gone, or are not as they were, and nothing has
    ///   happened to them since the last look: one that is still being written waits.
    package mutating func settled() -> Bool {
        let now = paths.map(FileStamp.init)
        defer { last = now }
        guard now == last, now != used else { return false }
        used = now
        return true
    }
}
