// The real disk behind the `Disk` protocol: system calls and nothing else.

internal import Glibc
package import TriageBase

/// The machine's file system.
package final class RealDisk: Disk {
    /// A disk; holds no state.
    package init() {}

    private final class File: DiskFile {
        let handle: FileHandle

        init(_ path: String, _ access: FileAccess) throws(IOError) {
            handle = try FileHandle(path: path, access: access)
        }

        func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOError) -> Int {
            try handle.read(into: &buffer, at: offset)
        }

        func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError) {
            try handle.write(bytes, at: offset)
        }

        func sync() throws(IOError) { try handle.sync() }
        func allocate(_ count: Int) throws(IOError) { try handle.allocate(count) }
        func size() throws(IOError) -> Int { try handle.size() }
    }

    private final class Lock: DiskLock {
        let handle: FileHandle

        init(_ handle: consuming FileHandle) {
            self.handle = handle
        }
    }

    package func open(_ path: String, _ access: FileAccess) throws(IOError) -> any DiskFile {
        try File(path, access)
    }

    package func list(_ path: String) throws(IOError) -> [DirectoryEntry] {
        try Directory.list(path)
    }

    package func makeDirectory(_ path: String) throws(IOError) { try Directory.make(path) }
    package func syncDirectory(_ path: String) throws(IOError) { try Directory.sync(path) }

    package func openDirectory(_ path: String) throws(IOError) -> any DiskDirectory {
        try DirectoryHandle(path)
    }

    package func remove(_ path: String) throws(IOError) { try Directory.remove(path) }

    package func rename(_ path: String, to newPath: String) throws(IOError) {
        try Directory.rename(path, to: newPath)
    }

    package func lock(_ path: String) throws(IOError) -> LockOutcome {
        let handle = try FileHandle(path: path, access: .ensure)
        guard try handle.lock() else {
            var text = [UInt8](repeating: 0, count: 16)
            var span = text.mutableSpan
            let count = try handle.read(into: &span, at: 0)
            let digits = text.prefix(count).prefix { $0 >= 0x30 && $0 <= 0x39 }
            return .held(processID: Int32(String(decoding: digits, as: UTF8.self)))
        }
        try handle.truncate()
        try handle.write(Array("\(getpid())\n".utf8).span, at: 0)
        return .acquired(Lock(handle))
    }

    package func monotonicTime() -> MonotonicTime {
        SystemClock().monotonicTime()
    }

    package func pause(nanoseconds: UInt64) {
        var left = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        while true {
            var rest = timespec()
            if unsafe nanosleep(&left, &rest) == 0 || errno != EINTR { return }
            left = rest
        }
    }
}
