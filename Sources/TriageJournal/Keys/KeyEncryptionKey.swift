// The key that wraps the directory's keys, as an operator hands it over. Knows how it is written in
// a file and what it is called, not where it comes from.

internal import TriageBase
package import TriageCrypto

/// Names a key-encryption key without telling anything of it.
package struct KeyID: Hashable, Sendable, CustomStringConvertible {
    /// The first eight bytes of its fingerprint, the first one lowest.
    package let value: UInt64

    /// Wraps what was stored.
    package init(_ value: UInt64) { self.value = value }

    /// 16 lower-case hexadecimal digits, in byte order.
    package var description: String { hexText(value.byteSwapped) }
}

/// A key-encryption key (KEK): it never lies in the data directory.
package struct KeyEncryptionKey: Sendable {
    /// Its name (FORMAT.md §4).
    package let id: KeyID
    let key: SecretKey

    /// Wraps a key.
    package init(_ key: SecretKey) {
        self.key = key
        id = KeyID(key.identifier(label: "triaged key-encryption key"))
    }

    /// Bytes that a written key has at most: base64 or hexadecimal digits, and a line feed.
    package static let textBytesMax = 65

    /// Reads a key as files and commands give it: 32 bytes, or 64 hexadecimal digits, or base64,
    /// the two latter with or without a line feed behind.
    ///
    /// The result is nil when it is none of these.
    ///
    /// - Parameter text: What was read; wiped when this returns.
    package init?(wiping text: inout [UInt8]) {
        defer {
            var span = text.mutableSpan
            wipe(&span)
        }
        if text.count == SecretKey.byteCount {
            self.init(SecretKey(copying: text.span))
            return
        }
        let end = text.last == UInt8(ascii: "\n") ? text.count - 1 : text.count
        var bytes = Self.hexadecimal(text.span.extracting(0..<end)) ?? []
        if bytes.isEmpty, end == 43 || end == 44 {
            bytes = Base64.decode(text.span.extracting(0..<end)) ?? []
        }
        guard bytes.count == SecretKey.byteCount else { return nil }
        self.init(SecretKey(copying: bytes.span))
        var span = bytes.mutableSpan
        wipe(&span)
    }

    private static func hexadecimal(_ text: Span<UInt8>) -> [UInt8]? {
        guard text.count == 2 * SecretKey.byteCount else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(SecretKey.byteCount)
        for index in stride(from: 0, to: text.count, by: 2) {
            guard let high = hexDigitValue(text[index]), let low = hexDigitValue(text[index + 1])
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// The key as `triaged keys generate` writes it: base64 and a line feed; to be wiped.
    package func text() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: SecretKey.byteCount)
        var span = bytes.mutableSpan
        key.reveal(into: &span)
        var text = Base64.encode(bytes.span)
        text.append(UInt8(ascii: "\n"))
        span = bytes.mutableSpan
        wipe(&span)
        return text
    }
}

/// The keys that a directory may be opened with.
package struct KeySource: Sendable {
    /// Wraps everything from now on.
    package var current: KeyEncryptionKey
    /// What may still wrap what lies there: the directory is then rewritten under ``current``.
    package var previous: KeyEncryptionKey?

    /// Groups the keys.
    package init(current: KeyEncryptionKey, previous: KeyEncryptionKey? = nil) {
        self.current = current
        self.previous = previous
    }

    /// The key of that name, if it is one of the two.
    func key(_ id: KeyID) -> KeyEncryptionKey? {
        if current.id == id { return current }
        return previous?.id == id ? previous : nil
    }
}
