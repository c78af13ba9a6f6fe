// Length-prefixed messages in any pieces, compared with a plain reading of the same bytes; and
// gzip members of any kind, within their bounds.

import TriageBase
import TriageGRPC
import TriageGzip

enum DeframerFuzz {
    private static let limit = 2_000

    static func run(_ bytes: [UInt8]) {
        var input = FuzzInput(bytes)
        let step = Int(input.byte())
        if step == 255 { return gunzip(input.rest()) }
        let stream = input.rest()
        let expected = reference(stream)
        var deframer = MessageDeframer(limit: limit)
        var found: [[UInt8]] = []
        var failure: DeframeError?
        var at = 0
        repeat {
            let end = min(stream.count, at + step + 1)
            deframer.append(stream.span.extracting(at..<end))
            at = end
            do throws(DeframeError) {
                while let range = try deframer.next() {
                    found.append(deframer.withBytes(range) { [UInt8](copying: $0) })
                }
            } catch { failure = error }
        } while at < stream.count && failure == nil
        check(found == expected.messages, "\(found.count) messages, not \(expected.messages.count)")
        check((failure != nil) == expected.isBroken, "\(String(describing: failure))")
        if failure == nil {
            check(deframer.isAtBoundary == (expected.rest == 0), "the boundary")
            check(deframer.bufferedCount == expected.rest, "\(deframer.bufferedCount) bytes held")
        }
        if let whole = MessageDeframer.wholeMessage(in: stream.span, limit: limit) {
            check(expected.messages == [Array(stream[whole])] && expected.rest == 0, "the shortcut")
        }
    }

    private static func reference(
        _ bytes: [UInt8]
    ) -> (messages: [[UInt8]], rest: Int, isBroken: Bool) {
        var messages: [[UInt8]] = []
        var rest = bytes[...]
        while let flag = rest.first {
            if flag != 0 { return (messages, 0, true) }
            guard rest.count >= 5 else { break }
            let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
            if length > limit { return (messages, 0, true) }
            guard rest.count >= 5 + length else { break }
            messages.append(Array(rest.dropFirst(5).prefix(length)))
            rest = rest.dropFirst(5 + length)
        }
        return (messages, rest.count, false)
    }

    private static func gunzip(_ bytes: [UInt8]) {
        let limits = InflateLimits(bytesMax: 100_000, ratioMax: 50, ratioFreeBytes: 1_000)
        guard let inflater = Inflater(), let deflater = Deflater() else { return }
        for _ in 0..<2 {
            guard let plain = try? inflater.inflate(bytes.span, limits) else { continue }
            check(plain.count <= 100_000, "\(plain.count) bytes unpacked")
            check(plain.count <= max(1_000, bytes.count * 50), "a ratio above the limit")
        }
        // What we pack ourselves is unpacked to the same, after whatever went wrong before.
        guard let packed = deflater.deflate(bytes.span) else { return }
        check(
            (try? inflater.inflate(packed.span, limits)) == bytes || bytes.count > 1_000, "our own")
    }
}
