// One header block of any bytes: what is kept stays within the limits, gRPC judges it without a
// trap, and the compression state survives, so that a good request after it is understood.

import TestSupport
import TriageBase
import TriageGRPC
import TriageHTTP2

enum HeaderFuzz {
    private static let table = MethodTable([
        Method(path: "/f.F/F", clientStreaming: false, serverStreaming: false)
    ])
    /// A good request in literals.
    private static let good: [UInt8] = {
        var block: [UInt8] = [0x83, 0x87, 1, 1, 0x66]
        for (name, value) in [
            (":path", "/f.F/F"), ("te", "trailers"), ("content-type", "application/grpc"),
        ] {
            block += [0, UInt8(name.utf8.count)] + name.utf8 + [UInt8(value.utf8.count)]
            block += value.utf8
        }
        return block
    }()

    static func run(_ bytes: [UInt8]) {
        var input = FuzzInput(bytes)
        // Half of the inputs begin with a good request, so that the rest is not refused for want
        // of one.
        let isWhole = input.byte() & 1 == 1
        let block = Array(((isWhole ? good : []) + input.rest()).prefix(16_384))
        guard let session = try? HTTP2Session(role: .server) else { return }
        do throws(HTTP2Error) {
            let greeting =
                Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
            try session.receive((greeting + frame(1, block)).span)
            judge(session)
            // A session that ends says so only when its GOAWAY has left.
            var output: [UInt8] = []
            _ = try session.drain(into: &output, atMost: .max)
            guard session.wantsRead else { return }
            session.clearEvents()
            try session.receive(frame(3, good).span)
            guard session.wantsRead else { return }
            var isUnderstood = false
            for event in session.events {
                if case .headers(let stream, let block) = event, stream.id == 3 {
                    isUnderstood = block.range.count == 6
                }
            }
            check(isUnderstood, "the request after it is not understood")
        } catch {
            check(error == .continuationFlood || error == .flooded, "\(error)")
        }
    }

    private static func frame(_ stream: Int32, _ block: [UInt8]) -> [UInt8] {
        [UInt8(block.count >> 16), UInt8(block.count >> 8 & 255), UInt8(block.count & 255), 1, 5]
            + RawID.bytes(stream) + block
    }

    private static func judge(_ session: HTTP2Session) {
        let headers = session.headers
        for event in session.events {
            guard case .headers(_, let block) = event else { continue }
            HTTP2Fuzz.checkBlock(headers, block)
            var head = RequestHead()
            head.isOversize = block.isOversize
            for index in block.range {
                let value = headers.value(headers.fields[index])
                switch headers.fields[index].token {
                case .method: head.methodReceived(value)
                case .path: head.pathReceived(value, table)
                case .contentType: head.contentTypeReceived(value)
                case .te: head.teReceived(value)
                case .grpcEncoding: head.encodingReceived(value)
                case .grpcPreviousRPCAttempts: head.previousAttemptsReceived(value)
                case .grpcTimeout: head.timeoutReceived(value)
                default:
                    let name = headers.name(headers.fields[index])
                    _ = Metadata.isValidName(name) && Metadata.isValidASCIIValue(value)
                }
            }
            if case .accept(let method, _) = head.verdict(table, isIdentified: true) {
                check(method == 0 && !block.isOversize, "an impossible call is accepted")
            }
        }
    }
}
