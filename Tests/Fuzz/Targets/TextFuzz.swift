// The texts of gRPC's headers: percent encoding both ways, timeouts against a plain reading, a
// status with its message and details.

import TriageBase
import TriageGRPC

enum TextFuzz {
    static func run(_ bytes: [UInt8]) {
        var input = FuzzInput(bytes)
        switch input.byte() & 3 {
        case 0: percent(input.rest())
        case 1: timeout(input.rest())
        case 2: format(input.piece(8))
        default: status(&input)
        }
    }

    private static func percent(_ bytes: [UInt8]) {
        let text = PercentEncoding.decode(bytes.span)
        let encoded = PercentEncoding.encode(text)
        check(encoded.allSatisfy { (0x20...0x7E).contains($0) }, "a byte that no header may have")
        check(PercentEncoding.decode(encoded.span) == text, "not what was encoded")
        for limit in [0, 1, 7, 50] {
            let short = PercentEncoding.encode(text, bytesMax: limit)
            check(short.count <= limit, "\(short.count) bytes, \(limit) allowed")
        }
    }

    private static func timeout(_ bytes: [UInt8]) {
        let units: [UInt8: UInt64] = [
            UInt8(ascii: "H"): 3_600_000_000_000, UInt8(ascii: "M"): 60_000_000_000,
            UInt8(ascii: "S"): 1_000_000_000, UInt8(ascii: "m"): 1_000_000,
            UInt8(ascii: "u"): 1_000, UInt8(ascii: "n"): 1,
        ]
        var expected: UInt64?
        let digits = bytes.dropLast()
        if let unit = bytes.last.flatMap({ units[$0] }), (1...8).contains(digits.count),
            digits.allSatisfy({ (0x30...0x39).contains($0) })
        {
            let value = digits.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) }
            let (product, overflow) = value.multipliedReportingOverflow(by: unit)
            expected = overflow ? .max : product
        }
        let parsed = Timeout.parse(bytes.span)
        check(parsed == expected, "\(String(describing: parsed)) for \(bytes)")
    }

    private static func format(_ bytes: [UInt8]) {
        let nanoseconds = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let text = Timeout.format(nanoseconds: nanoseconds)
        guard let parsed = Timeout.parse(text.span) else {
            return check(false, "\(nanoseconds) is written in a way that is not understood")
        }
        check(parsed >= nanoseconds, "\(nanoseconds) became \(parsed)")
    }

    private static func status(_ input: inout FuzzInput) {
        let code = input.piece(Int(input.byte() & 3))
        let message = input.piece(Int(input.byte() & 31))
        let details = input.rest()
        guard
            let error = Status.decode(
                status: code.span, message: message.span, details: details.span)
        else { return }
        // An error that was understood can be said again.
        let fields = Status.trailers(error)
        let size = fields.reduce(0) { $0 + $1.name.count + $1.value.count + 32 }
        check(size <= Limits.headerListBytesMax, "\(size) bytes of trailers")
    }
}
