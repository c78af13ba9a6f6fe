// A directory for one test, gone when the test lets go of it.

internal import Foundation

/// A new empty directory, removed with everything in it when the last reference goes.
package final class TempDirectory: Sendable {
    /// Its absolute path, without a slash at the end.
    package let path: String

    /// Makes the directory.
    package init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("triaged-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        path = url.path
    }

    deinit {
        // Nothing to tell anyone: the system's temporary directory is cleaned anyway.
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of `name` inside it.
    package func file(_ name: String) -> String { path + "/" + name }

    /// Writes a file inside it.
    ///
    /// - Parameters:
    ///   - name: The file's name.
    ///   - contents: All its bytes, as text.
    ///   - mode: The permission bits.
    /// - Returns: The file's path.
    /// - Throws: The system's error.
    package func write(_ name: String, _ contents: String, mode: Int = 0o600) throws -> String {
        let path = file(name)
        try Data(contents.utf8).write(to: URL(fileURLWithPath: path))
        try setMode(path, mode)
        return path
    }

    /// Sets a file's permission bits.
    package func setMode(_ path: String, _ mode: Int) throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    /// Appends the contents of several files into a new one.
    ///
    /// - Returns: The new file's path.
    package func concatenate(_ name: String, _ paths: [String]) throws -> String {
        let all = try paths.map { try String(contentsOfFile: $0, encoding: .utf8) }.joined()
        return try write(name, all)
    }
}
