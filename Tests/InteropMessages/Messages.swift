// The messages of grpc.testing, as far as the interoperability cases need them; the definitions are
// in Tests/Interop/protos, and stock peers made from those are the test of this file.

import TriageGRPC

/// `SimpleRequest`, `StreamingInputCallRequest` and `StreamingOutputCallRequest`: what they ask
/// for, whichever of them it is.
package struct InteropRequest: Sendable {
    /// One message that the server is asked for.
    package struct Wanted: Sendable {
        package var size: Int
        package var intervalMicroseconds = 0
        package var isCompressed: Bool?

        package init(size: Int, isCompressed: Bool? = nil) {
            self.size = size
            self.isCompressed = isCompressed
        }
    }

    package var wanted: [Wanted] = []
    package var payloadBytes = 0
    package var isExpectedCompressed: Bool?
    package var status: (code: Int, text: String)?

    package init() {}
}

/// Reads and writes the messages.
package enum InteropCodec {
    /// Reads a `SimpleRequest`.
    package static func unary(_ bytes: [UInt8]) -> InteropRequest {
        var request = InteropRequest()
        var wanted = InteropRequest.Wanted(size: 0)
        read(bytes) { reader, field, value in
            switch (field, value) {
            case (2, .varint(let size)): wanted.size = Int(clamping: size)
            case (3, .bytes(let range)): request.payloadBytes = payload(reader.reader(range))
            case (6, .bytes(let range)): wanted.isCompressed = flag(reader.reader(range))
            case (7, .bytes(let range)): request.status = status(reader.reader(range))
            case (8, .bytes(let range)): request.isExpectedCompressed = flag(reader.reader(range))
            default: break
            }
        }
        request.wanted = [wanted]
        return request
    }

    /// Reads a `StreamingInputCallRequest`.
    package static func streamingInput(_ bytes: [UInt8]) -> InteropRequest {
        var request = InteropRequest()
        read(bytes) { reader, field, value in
            guard case .bytes(let range) = value else { return }
            if field == 1 { request.payloadBytes = payload(reader.reader(range)) }
            if field == 2 { request.isExpectedCompressed = flag(reader.reader(range)) }
        }
        return request
    }

    /// Reads a `StreamingOutputCallRequest`.
    package static func streamingOutput(_ bytes: [UInt8]) -> InteropRequest {
        var request = InteropRequest()
        read(bytes) { reader, field, value in
            guard case .bytes(let range) = value else { return }
            if field == 2 { request.wanted.append(parameters(reader.reader(range))) }
            if field == 3 { request.payloadBytes = payload(reader.reader(range)) }
            if field == 7 { request.status = status(reader.reader(range)) }
        }
        return request
    }

    /// A message whose field 1 is a payload of so many zeros: every reply with a payload, and
    /// `StreamingInputCallRequest`.
    package static func withPayload(_ size: Int, isExpectedCompressed: Bool? = nil) -> [UInt8] {
        var writer = ProtoWriter()
        if size > 0 {
            writer.message(1) { $0.lengthDelimited(2, [UInt8](repeating: 0, count: size)) }
        }
        write(isExpectedCompressed, 2, &writer)
        return writer.bytes
    }

    /// A `StreamingInputCallResponse`.
    package static func aggregate(_ size: Int) -> [UInt8] {
        var writer = ProtoWriter()
        writer.varint(1, UInt64(size))
        return writer.bytes
    }

    /// A `SimpleRequest`.
    package static func simpleRequest(
        _ wanted: InteropRequest.Wanted, payload: Int, isExpectedCompressed: Bool? = nil,
        status: (code: Int, text: String)? = nil
    ) -> [UInt8] {
        var writer = ProtoWriter()
        writer.varint(2, UInt64(wanted.size))
        if payload > 0 {
            writer.message(3) { $0.lengthDelimited(2, [UInt8](repeating: 0, count: payload)) }
        }
        write(wanted.isCompressed, 6, &writer)
        write(status, &writer)
        write(isExpectedCompressed, 8, &writer)
        return writer.bytes
    }

    /// A `StreamingOutputCallRequest`.
    package static func outputRequest(
        _ wanted: [InteropRequest.Wanted], payload: Int = 0,
        status: (code: Int, text: String)? = nil
    ) -> [UInt8] {
        var writer = ProtoWriter()
        for each in wanted {
            writer.message(2) { parameters in
                parameters.varint(1, UInt64(each.size))
                parameters.varint(2, UInt64(each.intervalMicroseconds))
                write(each.isCompressed, 3, &parameters)
            }
        }
        if payload > 0 {
            writer.message(3) { $0.lengthDelimited(2, [UInt8](repeating: 0, count: payload)) }
        }
        write(status, &writer)
        return writer.bytes
    }

    /// How many bytes the payload in field 1 has; nil unless all of them are zero.
    package static func zerosInPayload(_ bytes: [UInt8]) -> Int? {
        var count: Int? = 0
        read(bytes) { reader, field, value in
            guard field == 1, case .bytes(let range) = value else { return }
            var inner = reader.reader(range)
            while let (field, value) = inner.next() {
                guard field == 2, case .bytes(let body) = value else { continue }
                count = bytes[body].allSatisfy { $0 == 0 } ? body.count : nil
            }
        }
        return count
    }

    /// The number in field 1.
    package static func number(_ bytes: [UInt8]) -> Int {
        var number = 0
        read(bytes) { _, field, value in
            if field == 1, case .varint(let raw) = value { number = Int(clamping: raw) }
        }
        return number
    }

    private static func read(
        _ bytes: [UInt8], _ body: (ProtoReader, Int, ProtoReader.Value) -> Void
    ) {
        var reader = ProtoReader(bytes, 0..<bytes.count)
        while let (field, value) = reader.next() { body(reader, field, value) }
    }

    private static func parameters(_ reader: ProtoReader) -> InteropRequest.Wanted {
        var reader = reader
        var wanted = InteropRequest.Wanted(size: 0)
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (1, .varint(let size)): wanted.size = Int(clamping: size)
            case (2, .varint(let interval)): wanted.intervalMicroseconds = Int(clamping: interval)
            case (3, .bytes(let range)): wanted.isCompressed = flag(reader.reader(range))
            default: break
            }
        }
        return wanted
    }

    private static func flag(_ reader: ProtoReader) -> Bool {
        var reader = reader
        var isSet = false
        while let (field, value) = reader.next() {
            if field == 1, case .varint(let raw) = value { isSet = raw != 0 }
        }
        return isSet
    }

    private static func status(_ reader: ProtoReader) -> (code: Int, text: String) {
        var reader = reader
        var status = (code: 0, text: "")
        while let (field, value) = reader.next() {
            if field == 1, case .varint(let raw) = value { status.code = Int(clamping: raw) }
            if field == 2, case .bytes(let range) = value { status.text = reader.text(range) }
        }
        return status
    }

    private static func payload(_ reader: ProtoReader) -> Int {
        var reader = reader
        var count = 0
        while let (field, value) = reader.next() {
            if field == 2, case .bytes(let range) = value { count = range.count }
        }
        return count
    }

    private static func write(_ flag: Bool?, _ field: Int, _ writer: inout ProtoWriter) {
        guard let flag else { return }
        writer.message(field) { $0.varint(1, flag ? 1 : 0) }
    }

    private static func write(_ status: (code: Int, text: String)?, _ writer: inout ProtoWriter) {
        guard let status else { return }
        writer.message(7) { echo in
            echo.varint(1, UInt64(status.code))
            echo.text(2, status.text)
        }
    }
}
