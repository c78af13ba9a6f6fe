// Copies one file as it is, under its final name only once it is durable. Knows no format.

/// Copies files of one disk.
package struct FileCopy: ~Copyable {
    private let disk: any Disk
    private var chunk = PageBuffer(capacity: Self.chunkBytes)

    private static let chunkBytes = 1 << 20

    /// Copies files of `disk`.
    package init(_ disk: any Disk) {
        self.disk = disk
    }

    /// Copies a file, or its beginning.
    ///
    /// - Parameters:
    ///   - source: What is copied.
    ///   - target: Where to; what is there is replaced.
    ///   - count: Bytes from the front; nil: to its end.
    ///   - each: Called with the bytes of each piece that was written.
    /// - Throws: ``IOError``; `.read` when the file has fewer than `count` bytes. `target` is as
    ///   before then, and what was copied is left under a name that ends in `.tmp`.
    /// - Durability: the content; the name after a sync of the directory
    package mutating func copy(
        _ source: String, to target: String, count: Int? = nil, each: (Int) -> Void = { _ in }
    ) throws(IOError) {
        let from = try disk.open(source, .read)
        let file = try disk.open(target + ".tmp", .create)
        try copy(from, source, to: file, count: count, each: each)
        try file.sync()
        try disk.rename(target + ".tmp", to: target)
    }

    /// Copies an open file, or its beginning, into another one that is open.
    ///
    /// - Parameters:
    ///   - source: What is copied.
    ///   - path: Its path, for errors.
    ///   - target: Where to.
    ///   - count: Bytes from the front; nil: to its end.
    ///   - each: Called with the bytes of each piece that was written.
    /// - Throws: ``IOError``; `.read` when the file has fewer than `count` bytes.
    /// - Durability: none
    package mutating func copy(
        _ source: any DiskFile, _ path: String, to target: any DiskFile, count: Int? = nil,
        each: (Int) -> Void = { _ in }
    ) throws(IOError) {
        var offset = 0
        while offset < count ?? .max {
            let wanted = min(Self.chunkBytes, (count ?? .max) - offset)
            let read = try source.read(into: &chunk, 0..<wanted, at: offset)
            if read > 0 { try target.write(chunk, 0..<read, at: offset) }
            offset += read
            each(read)
            guard read < wanted else { continue }
            guard count == nil else { throw IOError(.read, path: path, .inputOutput) }
            return
        }
    }
}
