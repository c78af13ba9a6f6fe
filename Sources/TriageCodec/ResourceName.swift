// The names of resources and the text of etags, both ways: the only place that knows their form.
//
// Numbers are written in decimal without leading zeros: short, lower-case by nature, never spelling
// a word, and fit to be read out over a telephone. Each resource has exactly one name: what parses
// is what would be written.

package import TriageBase
internal import TriageDomain

/// Names as they appear in the API.
///
/// | resource | form |
/// | --- | --- |
/// | case | `cases/{number}` |
/// | report | `cases/{number}/reports/{number}` |
/// | evidence | `cases/{number}/evidence/{number}` |
/// | hold | `cases/{number}/holds/{number}` |
/// | assignment | `assignments/{number}` |
/// | disclosure request | `disclosureRequests/{16 lower-case hexadecimal digits}` |
/// | etag | 16 lower-case hexadecimal digits of the revision |
package enum ResourceName {
    /// Largest number in a name: 48 bits, as everywhere in the domain.
    static let numberMax: UInt64 = 1 << 48 - 1

    fileprivate static let cases: StaticString = "cases/"
    fileprivate static let reports: StaticString = "/reports/"
    fileprivate static let evidence: StaticString = "/evidence/"
    fileprivate static let holds: StaticString = "/holds/"
    fileprivate static let assignments: StaticString = "assignments/"
    fileprivate static let disclosureRequests: StaticString = "disclosureRequests/"

    /// The name of a case; empty for none.
    package static func text(_ number: CaseNumber) -> String {
        number == .none ? "" : "\(cases)\(number.value)"
    }

    /// The name of a report.
    package static func text(_ number: CaseNumber, _ report: ReportNumber) -> String {
        "\(cases)\(number.value)\(reports)\(report.value)"
    }

    /// The name of evidence.
    package static func text(_ number: CaseNumber, _ evidence: EvidenceNumber) -> String {
        "\(cases)\(number.value)\(self.evidence)\(evidence.value)"
    }

    /// The name of a hold.
    package static func text(_ number: CaseNumber, _ hold: HoldNumber) -> String {
        "\(cases)\(number.value)\(holds)\(hold.value)"
    }

    /// The name of an assignment; empty for none.
    package static func text(_ number: AssignmentNumber) -> String {
        number == .none ? "" : "\(assignments)\(number.value)"
    }

    /// The name of a disclosure request; empty for none.
    package static func text(_ id: DisclosureID) -> String {
        id == .none ? "" : "\(disclosureRequests)" + hexText(id.value)
    }

    /// The etag of a revision.
    package static func etag(revision: UInt64) -> String { hexText(revision) }

    /// Parses `cases/{number}`; nil for anything else.
    package static func parseCase(_ text: Span<UInt8>) -> CaseNumber? {
        parseNumber(text, after: cases).map { CaseNumber($0) }
    }

    /// Parses `cases/{number}/reports/{number}`; nil for anything else.
    package static func parseReport(_ text: Span<UInt8>) -> (CaseNumber, ReportNumber)? {
        parsePart(text, reports).map { ($0, ReportNumber($1)) }
    }

    /// Parses `cases/{number}/evidence/{number}`; nil for anything else.
    package static func parseEvidence(_ text: Span<UInt8>) -> (CaseNumber, EvidenceNumber)? {
        parsePart(text, evidence).map { ($0, EvidenceNumber($1)) }
    }

    /// Parses `cases/{number}/holds/{number}`; nil for anything else.
    package static func parseHold(_ text: Span<UInt8>) -> (CaseNumber, HoldNumber)? {
        parsePart(text, holds).map { ($0, HoldNumber($1)) }
    }

    /// Parses what belongs to a case.
    private static func parsePart(
        _ text: Span<UInt8>, _ middle: StaticString
    ) -> (CaseNumber, UInt64)? {
        var slash = -1
        for index in text.indices where text[index] == UInt8(ascii: "/") {
            slash = index
            if index > 6 { break }
        }
        guard
            slash > 6,
            let number = parseNumber(text.extracting(0..<slash), after: cases),
            let part = parseNumber(text.extracting(slash..<text.count), after: middle)
        else { return nil }
        return (CaseNumber(number), part)
    }

    /// Parses `assignments/{number}`; nil for anything else.
    package static func parseAssignment(_ text: Span<UInt8>) -> AssignmentNumber? {
        parseNumber(text, after: assignments).map { AssignmentNumber($0) }
    }

    /// Parses `disclosureRequests/{hex}`; nil for anything else.
    package static func parseDisclosure(_ text: Span<UInt8>) -> DisclosureID? {
        let start = disclosureRequests.utf8CodeUnitCount
        guard
            hasPrefix(text, disclosureRequests),
            let value = parseHex(text.extracting(start..<text.count)),
            value != 0
        else { return nil }
        return DisclosureID(value)
    }

    /// Parses an etag; nil for anything that ``etag(revision:)`` does not write.
    package static func parseEtag(_ text: Span<UInt8>) -> UInt64? { parseHex(text) }

    private static func parseNumber(_ text: Span<UInt8>, after prefix: StaticString) -> UInt64? {
        guard hasPrefix(text, prefix) else { return nil }
        let start = prefix.utf8CodeUnitCount
        // 15 digits hold every number of 48 bits and overflow nothing.
        guard
            text.count > start, text.count - start <= 15, text[start] != UInt8(ascii: "0")
        else { return nil }
        var value: UInt64 = 0
        for index in start..<text.count {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value * 10 + UInt64(digit)
        }
        return value <= numberMax ? value : nil
    }

    private static func parseHex(_ text: Span<UInt8>) -> UInt64? {
        guard text.count == 16 else { return nil }
        var value: UInt64 = 0
        for index in text.indices {
            guard
                let digit = hexDigitValue(text[index]),
                text[index] < UInt8(ascii: "A") || text[index] > UInt8(ascii: "F")
            else { return nil }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    private static func hasPrefix(_ text: Span<UInt8>, _ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { prefix in
            guard text.count >= prefix.count else { return false }
            for index in 0..<prefix.count where unsafe text[index] != prefix[index] { return false }
            return true
        }
    }
}

extension FieldWriter {
    /// The name of a case.
    mutating func name(_ number: CaseNumber) {
        ascii(ResourceName.cases)
        decimal(number.value)
    }

    /// The name of a report.
    mutating func name(_ number: CaseNumber, _ report: ReportNumber) {
        name(number)
        ascii(ResourceName.reports)
        decimal(report.value)
    }
}

extension Arena {
    /// The name of a case as a C string; empty for none.
    func name(_ number: CaseNumber) -> CText {
        unsafe name(ResourceName.cases, number.value, nil, 0)
    }

    /// The name of a report as a C string.
    func name(_ number: CaseNumber, _ report: ReportNumber) -> CText {
        unsafe name(ResourceName.cases, number.value, ResourceName.reports, report.value)
    }

    /// The name of an assignment as a C string; empty for none.
    func name(_ number: AssignmentNumber) -> CText {
        unsafe name(ResourceName.assignments, number.value, nil, 0)
    }

    /// The etag of a revision as a C string.
    func etag(revision: UInt64) -> CText {
        let text = unsafe take(17, of: UInt8.self)
        for index in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: revision >> UInt64(60 - 4 * index) & 0xF)
            unsafe text[index] =
                digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
        }
        unsafe text[16] = 0
        return unsafe UnsafeMutableRawPointer(text).assumingMemoryBound(to: CChar.self)
    }

    private func name(
        _ prefix: StaticString, _ number: UInt64, _ middle: StaticString?, _ second: UInt64
    ) -> CText {
        // Room for the longest prefix and middle, two numbers of 20 digits, and the NUL.
        let text = unsafe take(72, of: UInt8.self)
        var count = 0
        if number != 0 {
            unsafe append(prefix, to: text, &count)
            unsafe append(number, to: text, &count)
            if let middle {
                unsafe append(middle, to: text, &count)
                unsafe append(second, to: text, &count)
            }
        }
        unsafe text[count] = 0
        return unsafe UnsafeMutableRawPointer(text).assumingMemoryBound(to: CChar.self)
    }

    private func append(
        _ part: StaticString, to text: UnsafeMutablePointer<UInt8>, _ count: inout Int
    ) {
        unsafe (text + count).update(from: part.utf8Start, count: part.utf8CodeUnitCount)
        count += part.utf8CodeUnitCount
    }

    private func append(
        _ number: UInt64, to text: UnsafeMutablePointer<UInt8>, _ count: inout Int
    ) {
        var digits = 1
        var rest = number / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        rest = number
        for index in (count..<(count + digits)).reversed() {
            unsafe text[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        count += digits
    }
}
