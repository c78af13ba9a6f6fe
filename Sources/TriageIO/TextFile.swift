// Small text files that people write: configuration and policy. Not for the journal.

import Glibc

/// Why a text file could not be read.
package enum TextFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The system refused; the words of strerror(3).
    case system(String)
    /// It is larger than its reader wants.
    case tooLarge(limitBytes: Int)
    /// It is not UTF-8.
    case notUTF8
    /// It is a pipe, a directory or a device.
    case notRegular

    package var description: String {
        switch self {
        case .system(let words): words
        case .tooLarge(let limit): "is larger than \(limit) bytes"
        case .notUTF8: "is not UTF-8 text"
        case .notRegular: "is no file that can be read again: write it to one first"
        }
    }
}

/// Reads text files whole.
package enum TextFile {
    /// Whether there is a regular file, which can be read more than once; links are followed.
    ///
    /// Source: stat(2).
    package static func isRegular(path: String) -> Bool {
        var info = stat()
        return unsafe stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
    }

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - path: Its path.
    ///   - bytesMax: Above this size it is refused.
    /// - Returns: Its text.
    /// - Throws: ``TextFileError``.
    ///
    /// Source: open(2), read(2).
    package static func read(path: String, bytesMax: Int) throws(TextFileError) -> String {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(words(errno)) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(words(errno))
            }
            bytes += chunk.prefix(count)
            guard bytes.count <= bytesMax else { throw .tooLarge(limitBytes: bytesMax) }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        return text
    }

    fileprivate static func words(_ code: Int32) -> String {
        guard let words = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: words)
    }
}

extension TextFile {
    /// Writes a file whole, replacing what was there.
    ///
    /// For output that can be made again.
    ///
    /// - Parameters:
    ///   - text: Its content.
    ///   - path: Its path.
    /// - Throws: ``TextFileError``.
    /// - Durability: none
    ///
    /// Source: open(2), write(2).
    package static func write(_ text: String, path: String) throws(TextFileError) {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .system(words(errno)) }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(words(errno))
            }
            rest = rest.dropFirst(count)
        }
    }
}

/// Reads a text file line by line, however long it is.
package struct LineReader: ~Copyable {
    private let descriptor: Int32
    private var chunk = [UInt8](repeating: 0, count: 1 << 20)
    /// The bytes of the chunk that were not handed out.
    private var rest = 0..<0
    private let lineBytesMax: Int

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - path: Its path.
    ///   - lineBytesMax: A longer line is refused.
    /// - Throws: ``TextFileError``.
    ///
    /// Source: open(2).
    package init(path: String, lineBytesMax: Int) throws(TextFileError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        self.lineBytesMax = lineBytesMax
        guard descriptor >= 0 else { throw .system(TextFile.words(errno)) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The next line, without its line feed; nil behind the last one.
    ///
    /// - Throws: ``TextFileError``.
    ///
    /// Source: read(2).
    package mutating func next() throws(TextFileError) -> String? {
        var line: [UInt8] = []
        while true {
            if rest.isEmpty, try !refill() {
                if line.isEmpty { return nil }
                break
            }
            let end = chunk[rest].firstIndex(of: UInt8(ascii: "\n"))
            line += chunk[rest.lowerBound..<(end ?? rest.upperBound)]
            rest = (end.map { $0 + 1 } ?? rest.upperBound)..<rest.upperBound
            guard line.count <= lineBytesMax else { throw .tooLarge(limitBytes: lineBytesMax) }
            if end != nil { break }
        }
        guard let text = String(validating: line, as: UTF8.self) else { throw .notUTF8 }
        return text
    }

    /// Reads on; false at the end of the file.
    private mutating func refill() throws(TextFileError) -> Bool {
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(TextFile.words(errno))
            }
            rest = 0..<count
            return count > 0
        }
    }
}
