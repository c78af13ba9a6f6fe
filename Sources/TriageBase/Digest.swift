// A SHA-256 value as four machine words: comparable, hashable, without an allocation.
// Knows nothing of what was hashed or how.

/// 32 bytes that stand for other bytes.
package struct Digest: Hashable, Sendable, CustomStringConvertible {
    /// The bytes, eight to a word, the first byte lowest.
    package var words: (UInt64, UInt64, UInt64, UInt64)

    /// Wraps four words, each with its first byte lowest.
    package init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) {
        words = (a, b, c, d)
    }

    /// All zero: "no digest".
    package static let zero = Digest(0, 0, 0, 0)

    /// Takes 32 bytes.
    ///
    /// - Returns: nil for another count.
    package init?(bytes: Span<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self = .zero
        for index in 0..<32 { put(bytes[index], at: index) }
    }

    /// The 32 bytes.
    package var bytes: [UInt8] {
        [words.0, words.1, words.2, words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
        }
    }

    private mutating func put(_ byte: UInt8, at index: Int) {
        let part = UInt64(byte) << UInt64(index % 8 * 8)
        switch index / 8 {
        case 0: words.0 |= part
        case 1: words.1 |= part
        case 2: words.2 |= part
        default: words.3 |= part
        }
    }

    /// Parses 64 hexadecimal digits, either case.
    ///
    /// - Returns: nil for anything else.
    package init?(hexadecimal text: Span<UInt8>) {
        guard text.count == 64 else { return nil }
        self = .zero
        for index in 0..<32 {
            guard let high = hexDigitValue(text[2 * index]),
                let low = hexDigitValue(text[2 * index + 1])
            else { return nil }
            put(high << 4 | low, at: index)
        }
    }

    package static func == (a: Digest, b: Digest) -> Bool {
        a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2
            && a.words.3 == b.words.3
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
    }

    /// 64 lower-case hexadecimal digits, in byte order.
    package var description: String {
        hexText(words.0.byteSwapped) + hexText(words.1.byteSwapped) + hexText(words.2.byteSwapped)
            + hexText(words.3.byteSwapped)
    }
}

/// Names an object of the vault: the SHA-256 of it as it is stored, encrypted.
package struct ObjectName: Hashable, Sendable, CustomStringConvertible {
    /// The digest.
    package var digest: Digest

    /// Wraps a digest.
    package init(_ digest: Digest) { self.digest = digest }

    /// 64 lower-case hexadecimal digits.
    package var description: String { digest.description }
}

/// Which deployment a data directory belongs to: 16 random bytes made at the first start.
package struct ClusterID: Hashable, Sendable, CustomStringConvertible {
    /// The first eight bytes, the first byte lowest.
    package var low: UInt64
    /// The last eight bytes, the first byte lowest.
    package var high: UInt64

    /// Wraps 128 bits.
    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// Parses 32 lower-case hexadecimal digits.
    ///
    /// - Returns: nil for anything else.
    package init?(_ text: some StringProtocol) {
        let digits = Array(text.utf8)
        guard digits.count == 32, digits.allSatisfy({ hexDigitValue($0) != nil }),
            let low = UInt64(text.prefix(16), radix: 16),
            let high = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(low: low.byteSwapped, high: high.byteSwapped)
        // One text for each value.
        guard description == text else { return nil }
    }

    /// 32 lower-case hexadecimal digits, in byte order.
    package var description: String { hexText(low.byteSwapped) + hexText(high.byteSwapped) }
}
