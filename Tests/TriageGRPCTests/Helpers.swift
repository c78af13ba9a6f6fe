// The functions under test with arrays instead of spans, which `#expect` cannot take.

import TriageBase
import TriageGRPC

func parseTimeout(_ text: String) -> UInt64? { Timeout.parse(Array(text.utf8).span) }
func parseTimeout(_ bytes: [UInt8]) -> UInt64? { Timeout.parse(bytes.span) }
func percentDecode(_ bytes: [UInt8]) -> String { PercentEncoding.decode(bytes.span) }
func base64Encode(_ bytes: [UInt8]) -> [UInt8] { Base64.encode(bytes.span) }
func base64Decode(_ bytes: [UInt8]) -> [UInt8]? { Base64.decode(bytes.span) }
func base64Decode(_ text: String) -> [UInt8]? { Base64.decode(Array(text.utf8).span) }
func isValidName(_ text: String) -> Bool { Metadata.isValidName(Array(text.utf8).span) }
func isValidValue(_ text: String) -> Bool { Metadata.isValidASCIIValue(Array(text.utf8).span) }
func isReserved(_ text: String) -> Bool { Metadata.isReserved(Array(text.utf8).span) }
func isBinary(_ text: String) -> Bool { Metadata.isBinary(Array(text.utf8).span) }
func frame(_ message: [UInt8]) -> [UInt8] { MessageFramer.frame(message.span) }
func wholeMessage(_ bytes: [UInt8], limit: Int = Limits.messageBytesMax) -> Range<Int>? {
    MessageDeframer.wholeMessage(in: bytes.span, limit: limit)
}
func find(_ table: MethodTable, _ path: String) -> Int? {
    table.index(path: Array(path.utf8).span)
}

extension MessageDeframer {
    mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

    /// All complete messages.
    mutating func drain() throws(DeframeError) -> [[UInt8]] {
        var out: [[UInt8]] = []
        while let range = try next() { out.append(withBytes(range) { [UInt8](copying: $0) }) }
        return out
    }
}

/// What the first `next()` of a deframer says about some bytes.
func deframe(_ bytes: [UInt8], limit: Int = Limits.messageBytesMax) throws -> [[UInt8]] {
    var deframer = MessageDeframer(limit: limit)
    deframer.append(bytes)
    return try deframer.drain()
}
