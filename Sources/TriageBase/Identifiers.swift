// Validated names of things: who calls (Principal), which write it is (RequestID), and the numbers
// of cases, reports, assignments and disclosure requests. No name is trusted before it is one of
// these.

/// An authenticated identity, taken from a verified peer certificate and from nowhere else.
///
/// The text is the SPIFFE URI as it stands in the certificate, or `dns:` and the DNS SAN in lower
/// case. Compared byte for byte.
package struct Principal: Hashable, Sendable, CustomStringConvertible {
    /// `spiffe://trust-domain/path` or `dns:name`.
    package var text: String { storage.text }
    /// The text as a number, made once: a request id is looked up under it at each write.
    package var fingerprint: Hash128 { storage.fingerprint }

    /// Made once a connection, handed from step to step of every call.
    private final class Storage: Sendable {
        let text: String
        let fingerprint: Hash128

        init(_ text: String) {
            self.text = text
            fingerprint = Hash128(of: text.utf8.span, seed: 0x7265_7175_6573_7421)
        }
    }

    private let storage: Storage

    /// Wraps a SPIFFE ID.
    ///
    /// - Parameter spiffeID: The URI SAN, already verified against X509-SVID rules.
    package init(spiffeID: String) {
        self.init(journaled: spiffeID)
    }

    /// Wraps a DNS SAN, in lower case.
    package init(dnsName: String) {
        self.init(journaled: "dns:" + dnsName.lowercased())
    }

    /// Restores a principal from the journal, where ``text`` was written.
    package init(journaled text: String) {
        storage = Storage(text)
    }

    /// The service itself, as the actor of timers and automatic rules.
    package static let system = Principal(journaled: "system:triaged")

    package var description: String { text }

    package static func == (a: Principal, b: Principal) -> Bool {
        a.storage === b.storage || a.text == b.text
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(fingerprint) }
}

/// A client's idempotency key: a UUID as 16 bytes.
///
/// All zero means "none given".
///
/// Source: RFC 9562; AIP-155.
package struct RequestID: Hashable, Sendable {
    /// The first eight bytes, big-endian.
    package var high: UInt64
    /// The last eight bytes, big-endian.
    package var low: UInt64

    /// Wraps 128 bits.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The absent request id.
    package static let none = RequestID(high: 0, low: 0)

    /// True when the caller gave no request id.
    package var isNone: Bool { high == 0 && low == 0 }

    /// Parses `8-4-4-4-12` hexadecimal text, either case.
    ///
    /// - Returns: nil unless the text has exactly that form and is not the nil UUID.
    package init?(uuid text: Span<UInt8>) {
        let hyphen = UInt8(ascii: "-")
        guard text.count == 36, text[8] == hyphen, text[13] == hyphen, text[18] == hyphen,
            text[23] == hyphen
        else { return nil }
        guard let first = hexWordValue(characters(text, at: 0), characters(text, at: 4)),
            let second = hexWordValue(characters(text, at: 9), characters(text, at: 14)),
            let third = hexWordValue(characters(text, at: 19), characters(text, at: 24)),
            let fourth = hexWordValue(characters(text, at: 28), characters(text, at: 32))
        else { return nil }
        high = UInt64(first) << 32 | UInt64(second)
        low = UInt64(third) << 32 | UInt64(fourth)
        if isNone { return nil }
    }

    /// The canonical lower-case UUID text.
    package var uuidText: String {
        let hex = Array((hexText(high) + hexText(low)).utf8)
        var out: [UInt8] = []
        out.reserveCapacity(36)
        for (index, byte) in hex.enumerated() {
            if index == 8 || index == 12 || index == 16 || index == 20 {
                out.append(UInt8(ascii: "-"))
            }
            out.append(byte)
        }
        return String(decoding: out, as: UTF8.self)
    }
}

/// The number of a case: 1, 2, 3 ...
///
/// in the order of receipt; also its slot in the World. 0 is none.
package struct CaseNumber: Hashable, Comparable, Sendable {
    /// 1 ...
    ///
    /// 2^48 - 1; 0 stands for "no case".
    package var value: UInt64
    /// Wraps a number.
    package init(_ value: UInt64) { self.value = value }
    /// No case.
    package static let none = CaseNumber(0)
    package static func < (a: CaseNumber, b: CaseNumber) -> Bool { a.value < b.value }
}

/// The number of a report, counted over the whole service from 1.
///
/// 0 is none.
package struct ReportNumber: Hashable, Comparable, Sendable {
    /// 1 ...
    ///
    /// 2^48 - 1; 0 stands for "no report".
    package var value: UInt64
    /// Wraps a number.
    package init(_ value: UInt64) { self.value = value }
    package static func < (a: ReportNumber, b: ReportNumber) -> Bool { a.value < b.value }
}

/// The number of an assignment, which is also its lease's fencing token: it only ever grows.
///
/// 0 is none.
package struct AssignmentNumber: Hashable, Comparable, Sendable {
    /// 1 ...
    ///
    /// 2^48 - 1; 0 stands for "no assignment".
    package var value: UInt64
    /// Wraps a number.
    package init(_ value: UInt64) { self.value = value }
    /// No assignment.
    package static let none = AssignmentNumber(0)
    package static func < (a: AssignmentNumber, b: AssignmentNumber) -> Bool { a.value < b.value }
}

/// The number of an object of evidence, counted over the whole service from 1.
///
/// 0 is none.
package struct EvidenceNumber: Hashable, Comparable, Sendable {
    /// 1 ...
    ///
    /// 2^48 - 1; 0 stands for "no evidence".
    package var value: UInt64
    /// Wraps a number.
    package init(_ value: UInt64) { self.value = value }
    package static func < (a: EvidenceNumber, b: EvidenceNumber) -> Bool { a.value < b.value }
}

/// The number of a hold, counted over the whole service from 1.
///
/// 0 is none.
package struct HoldNumber: Hashable, Comparable, Sendable {
    /// 1 ...
    ///
    /// 2^48 - 1; 0 stands for "no hold".
    package var value: UInt64
    /// Wraps a number.
    package init(_ value: UInt64) { self.value = value }
    package static func < (a: HoldNumber, b: HoldNumber) -> Bool { a.value < b.value }
}

/// The identifier of a disclosure request: 64 random bits, so that an outside agency learns nothing
/// from its own about how many others there are.
///
/// 0 is none.
package struct DisclosureID: Hashable, Sendable {
    /// The random bits.
    package var value: UInt64
    /// Wraps the random bits.
    package init(_ value: UInt64) { self.value = value }
    /// No request.
    package static let none = DisclosureID(0)
}

/// Four characters as a word, the first in its low byte.
@inline(__always)
private func characters(_ text: Span<UInt8>, at start: Int) -> UInt32 {
    // On a part of known length, so that the optimiser makes one load of the four.
    let four = text.extracting(start..<start + 4)
    return UInt32(four[0]) | UInt32(four[1]) << 8 | UInt32(four[2]) << 16 | UInt32(four[3]) << 24
}

/// The value of eight hexadecimal digits of either case, worked out for all of them at once: a
/// request id is read with every write.
///
/// - Parameters:
///   - first: The first four characters, the first of them in the low byte.
///   - last: The last four.
/// - Returns: nil unless each is such a digit.
@inline(__always)
private func hexWordValue(_ first: UInt32, _ last: UInt32) -> UInt32? {
    let text = UInt64(first) | UInt64(last) << 32
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs = 0x80 * ones
    let lower = text | (0x20 * ones)
    // The high bit of a byte of a sum tells whether the character reaches the bound that is taken
    // from 0x80. No byte carries into the next, unless one had its high bit before.
    let isDigit = (text &+ (0x80 - 0x30) * ones) & ~(text &+ (0x80 - 0x3A) * ones)
    let isLetter = (lower &+ (0x80 - 0x61) * ones) & ~(lower &+ (0x80 - 0x67) * ones)
    guard text & highs == 0, (isDigit | isLetter) & highs == highs else { return nil }
    // A letter has bit 6, and counts from 10, where its low bits count from 1.
    let digits = (text & (0x0F * ones)) &+ 9 * ((text >> 6) & ones)
    let bytes = (digits << 4 | digits >> 8) & 0x00FF_00FF_00FF_00FF
    let pairs = (bytes | bytes >> 8) & 0x0000_FFFF_0000_FFFF
    return UInt32(truncatingIfNeeded: pairs | pairs >> 16).byteSwapped
}

/// The value of one hexadecimal digit, either case; nil for any other byte.
@inline(__always)
package func hexDigitValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// Sixteen lower-case hexadecimal digits, most significant first.
package func hexText(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}
