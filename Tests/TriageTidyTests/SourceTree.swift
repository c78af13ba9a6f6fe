// Reads this repository's own files for the tidy tests: where it is, which files git would commit,
// and each file's lines with and without comments. It knows no rule.

import Foundation
import Testing

/// One text file of the repository.
struct SourceFile {
    /// Relative to the repository, with `/`.
    let path: String
    /// Lines as written.
    let lines: [Substring]
    /// The same lines with comments and string contents blanked (Swift only; else as written).
    let code: [Substring]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code =
            path.hasSuffix(".swift")
            ? SwiftText.code(of: text).split(separator: "\n", omittingEmptySubsequences: false)
            : lines
    }

    /// `Sources/TriageIO/Socket.swift` is of target `TriageIO`; a file elsewhere has none.
    var target: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && (parts[0] == "Sources" || parts[0] == "Tests")
            ? String(parts[1]) : nil
    }

    /// Written by `Protos/generate` or protoc-c: rules about writing do not apply.
    var isGenerated: Bool { path.hasPrefix("Sources/CTriageProtos/") || path.contains(".pb-c.") }

    /// A finding at a line, counted from 1, that says what to do instead.
    func finding(_ line: Int, _ message: String) -> String { "\(path):\(line): \(message)" }
}

/// The repository that holds this test.
enum SourceTree {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Paths of all files that are or could be committed: tracked, or new and not ignored.
    ///
    /// - Throws: ``SourceTreeError`` when git cannot say.
    static func paths() throws -> [String] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "git", "-C", root.path, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw SourceTreeError(text: "git ls-files failed: run the tests in a git checkout")
        }
        // A file deleted but not yet committed is still listed; it is not there to be read.
        return Set(data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) })
            .filter { FileManager.default.fileExists(atPath: root.appendingPathComponent($0).path) }
            .sorted()
    }

    static func read(_ path: String) throws -> SourceFile {
        let data = try Data(contentsOf: root.appendingPathComponent(path))
        return SourceFile(path: path, text: String(decoding: data, as: UTF8.self))
    }

    /// All Swift files under the given top-level folders.
    static func swiftFiles(in folders: String...) throws -> [SourceFile] {
        try paths()
            .filter { path in
                path.hasSuffix(".swift") && folders.contains { path.hasPrefix($0 + "/") }
            }
            .map(read)
    }
}

/// Why the tree could not be read.
struct SourceTreeError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}

/// One message a line, for `#expect(findings.isEmpty, report(findings))`.
func report(_ findings: [String]) -> Comment {
    "\(findings.count) findings:\n\(findings.joined(separator: "\n"))"
}
