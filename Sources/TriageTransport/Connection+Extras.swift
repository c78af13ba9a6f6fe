// What a request has beyond the usual: metadata of its own, earlier attempts, compressed messages.
// Plain requests never come here.

import TriageBase
import TriageGRPC
import TriageHTTP2

extension Connection {
    /// Gathers the extras of a call that was accepted.
    ///
    /// - Parameters:
    ///   - head: What its headers said.
    ///   - traits: What its method needs.
    ///   - acceptEncoding: The `grpc-accept-encoding` among the fields of `block`, if any.
    ///   - block: The request's header block.
    ///   - headers: Where that is kept.
    /// - Returns: The extras, some of them perhaps empty.
    func makeExtras(
        _ head: borrowing RequestHead, _ traits: MethodTraits, acceptEncoding: Int?,
        _ block: HeaderBlock, _ headers: HeaderStore
    ) -> CallExtras {
        let extras = CallExtras()
        extras.previousAttempts = head.previousAttempts
        if head.previousAttempts > 0 { core.metrics.callsRetried += 1 }
        extras.isRequestGzip = head.encoding == .gzip
        if traits.contains(.compressesReplies), let acceptEncoding {
            extras.mayCompress = MessageEncoding.acceptsGzip(
                headers.value(headers.fields[acceptEncoding]))
        }
        if traits.contains(.readsTrace) {
            for index in block.range where headers.fields[index].token == .traceparent {
                extras.traceparentReceived(headers.value(headers.fields[index]))
            }
        }
        if traits.contains(.readsMetadata) {
            for index in block.range where headers.fields[index].token == .other {
                let field = headers.fields[index]
                extras.metadata.append(
                    MetadataField(
                        name: [UInt8](copying: headers.name(field)),
                        value: [UInt8](copying: headers.value(field))))
            }
        }
        return extras
    }

    /// Unpacks a message of a call; nil when the call was refused for it.
    func inflated(_ call: Int, _ message: Span<UInt8>) -> [UInt8]? {
        do throws(RPCError) {
            let unpacked = try core.gzip.inflate(message)
            core.metrics.messagesInflated += 1
            share.inflated(unpacked.count, in: core.metrics.turns)
            return unpacked
        } catch {
            switch error.reason {
            case WireError.messageRatio.reason: core.metrics.count(.compressionRatio)
            case WireError.messageUnpacksTooLarge(limit: 0).reason:
                core.metrics.count(.messageBytes)
            default: break
            }
            refuse(call, error)
            return nil
        }
    }
}
