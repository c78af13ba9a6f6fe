// The messages of grpc.testing as far as the cases need them, in protobuf's wire format by hand:
// what is tried here is the transport, and generated code would bring a compiler plug-in along.
// Source: Tests/Interop/protos/grpc/testing/messages.proto.

import GRPCCore

/// Messages cross the transport as bytes.
struct Bytes: MessageSerializer, MessageDeserializer {
    func serialize<Target: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Target {
        Target(message)
    }

    func deserialize<Source: GRPCContiguousBytes>(_ bytes: Source) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }
}

/// A message that is written field by field, and read the same way.
struct Wire {
    enum Value {
        case number(UInt64)
        case bytes([UInt8])
    }

    private(set) var bytes: [UInt8] = []

    mutating func number(_ field: Int, _ value: Int) {
        guard value != 0 else { return }
        varint(UInt64(field << 3))
        varint(UInt64(value))
    }

    mutating func bytes(_ field: Int, _ value: [UInt8]) {
        varint(UInt64(field << 3 | 2))
        varint(UInt64(value.count))
        bytes += value
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The fields of a message; empty when it is broken.
    static func fields(_ bytes: [UInt8]) -> [(field: Int, value: Value)] {
        var found: [(Int, Value)] = []
        var at = 0
        func varint() -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while at < bytes.count, shift < 64 {
                let byte = bytes[at]
                at += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }
        while at < bytes.count {
            guard let tag = varint(), let value = varint() else { return [] }
            switch tag & 7 {
            case 0: found.append((Int(tag >> 3), .number(value)))
            case 2:
                guard value <= UInt64(bytes.count - at) else { return [] }
                found.append((Int(tag >> 3), .bytes(Array(bytes[at..<at + Int(value)]))))
                at += Int(value)
            default: return []
            }
        }
        return found
    }
}

/// What a request asks for; unary and streaming ones differ in numbers only.
struct TestRequest {
    var sizes: [Int] = []
    var payload = 0
    var status: (code: Int, message: String)?

    /// `SimpleRequest`.
    var simple: [UInt8] {
        var wire = Wire()
        wire.number(2, sizes.first ?? 0)
        wire.bytes(3, Self.payload(payload))
        write(&wire, status: 7)
        return wire.bytes
    }

    /// `StreamingOutputCallRequest`.
    var streaming: [UInt8] {
        var wire = Wire()
        for size in sizes {
            var parameters = Wire()
            parameters.number(1, size)
            wire.bytes(2, parameters.bytes)
        }
        if payload > 0 { wire.bytes(3, Self.payload(payload)) }
        write(&wire, status: 7)
        return wire.bytes
    }

    private func write(_ wire: inout Wire, status field: Int) {
        guard let status else { return }
        var inner = Wire()
        inner.number(1, status.code)
        inner.bytes(2, Array(status.message.utf8))
        wire.bytes(field, inner.bytes)
    }

    init(sizes: [Int] = [], payload: Int = 0, status: (code: Int, message: String)? = nil) {
        self.sizes = sizes
        self.payload = payload
        self.status = status
    }

    init(simple bytes: [UInt8]) {
        for (field, value) in Wire.fields(bytes) {
            switch (field, value) {
            case (2, .number(let size)): sizes = [Int(size)]
            case (7, .bytes(let status)): read(status)
            default: break
            }
        }
    }

    init(streaming bytes: [UInt8]) {
        for (field, value) in Wire.fields(bytes) {
            switch (field, value) {
            case (2, .bytes(let parameters)):
                var size = 0
                for case (1, .number(let number)) in Wire.fields(parameters) { size = Int(number) }
                sizes.append(size)
            case (7, .bytes(let status)): read(status)
            default: break
            }
        }
    }

    private mutating func read(_ bytes: [UInt8]) {
        var code = 0
        var message = ""
        for (field, value) in Wire.fields(bytes) {
            switch (field, value) {
            case (1, .number(let number)): code = Int(number)
            case (2, .bytes(let text)): message = String(decoding: text, as: UTF8.self)
            default: break
            }
        }
        status = (code, message)
    }

    // MARK: Payloads

    /// `Payload` of so many zeros.
    static func payload(_ count: Int) -> [UInt8] {
        var wire = Wire()
        wire.bytes(2, [UInt8](repeating: 0, count: count))
        return wire.bytes
    }

    /// A message with a payload as its first field: a response, or a `StreamingInputCallRequest`.
    static func withPayload(_ count: Int) -> [UInt8] {
        var wire = Wire()
        wire.bytes(1, payload(count))
        return wire.bytes
    }

    /// How many zeros such a message holds; nil when there is anything else.
    static func zeros(_ bytes: [UInt8]) -> Int? {
        for case (1, .bytes(let payload)) in Wire.fields(bytes) {
            for case (2, .bytes(let body)) in Wire.fields(payload) {
                return body.allSatisfy { $0 == 0 } ? body.count : nil
            }
        }
        return nil
    }

    /// `StreamingInputCallResponse`.
    static func aggregate(_ count: Int) -> [UInt8] {
        var wire = Wire()
        wire.number(1, count)
        return wire.bytes
    }

    /// The sum in it.
    static func sum(_ bytes: [UInt8]) -> Int {
        for case (1, .number(let sum)) in Wire.fields(bytes) { return Int(sum) }
        return 0
    }
}
