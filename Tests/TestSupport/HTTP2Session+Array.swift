// A session's output as an array, which tests compare, cut into pieces and hand on.

import TriageBase
package import TriageHTTP2

extension HTTP2Session {
    /// Appends what may be sent to an array; see `drain(into:atMost:)` of a buffer.
    package func drain(into output: inout [UInt8], atMost limit: Int) throws(HTTP2Error) -> Bool {
        let buffer = FrameBuffer()
        let more = try drain(into: buffer, atMost: limit == .max ? limit : limit - output.count)
        buffer.withBytes { output.append(copying: $0) }
        return more
    }
}
