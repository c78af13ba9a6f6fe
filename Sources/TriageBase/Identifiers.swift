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
        guard text.count == 36 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for index in 0..<36 {
            let byte = text[index]
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let value = hexDigitValue(byte) else { return nil }
            if digits < 16 {
                words.0 = words.0 << 4 | UInt64(value)
            } else {
                words.1 = words.1 << 4 | UInt64(value)
            }
            digits += 1
        }
        high = words.0
        low = words.1
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
