// From wire bytes to a C message in the arena, and from C text to Swift: the only doors through
// which bytes from outside become values. Knows no message type.

internal import CProtobufC
internal import CTriageShims
internal import TriageBase

/// Text as protobuf-c holds it; never NULL in a message that was unpacked.
typealias CText = UnsafeMutablePointer<CChar>

extension Arena {
    /// Validates wire bytes and unpacks them into the arena.
    ///
    /// - Parameters:
    ///   - bytes: The wire bytes; not referenced afterwards.
    ///   - limits: How much the message may hold.
    ///   - initialise: The generated `__init` function of the type.
    /// - Returns: The message, valid until ``reset()``.
    /// - Throws: ``MessageFault`` for the first fault of the bytes.
    ///
    /// protobuf_c_message_unpack
    @inline(__always)
    func unpack<M>(
        _ bytes: Span<UInt8>, _ limits: WireLimits, _ initialise: (UnsafeMutablePointer<M>?) -> Void
    ) throws(MessageFault) -> UnsafeMutablePointer<M> {
        let empty = unsafe UnsafeRawPointer(new(initialise))
            .assumingMemoryBound(to: ProtobufCMessage.self)
        guard let descriptor = unsafe empty.pointee.descriptor else {
            preconditionFailure("a generated message has a descriptor")
        }
        return unsafe try bytes.withUnsafeBufferPointer { buffer throws(MessageFault) in
            try unsafe UnsafeMutableRawPointer(unpack(buffer, limits, descriptor))
                .assumingMemoryBound(to: M.self)
        }
    }

    private func unpack(
        _ bytes: UnsafeBufferPointer<UInt8>, _ limits: WireLimits,
        _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>
    ) throws(MessageFault) -> UnsafeMutablePointer<ProtobufCMessage> {
        try unsafe MessageValidator.validate(bytes, descriptor, limits)
        guard
            let message = unsafe protobuf_c_message_unpack(
                descriptor, allocator, bytes.count, bytes.baseAddress)
        else { throw MessageFault(kind: .notUnpacked, offset: 0) }
        return unsafe message
    }
}

/// The number of bytes of a text, without its NUL.
@inline(__always)
func byteCount(_ text: CText?) -> Int {
    guard let text = unsafe text else { return 0 }
    return unsafe CTriageShims_strlen(text)
}

/// Lends the bytes of a text.
@inline(__always)
func withBytes<R>(_ text: CText?, _ body: (Span<UInt8>) -> R) -> R {
    let raw = unsafe UnsafeRawBufferPointer(start: text, count: byteCount(text))
    return unsafe raw.withMemoryRebound(to: UInt8.self) { unsafe body($0.span) }
}

/// Copies a text, which the validator has found to be UTF-8.
func string(_ text: CText?) -> String {
    guard let text = unsafe text else { return "" }
    return unsafe String(cString: text)
}

/// Lends a `bytes` field to a reader.
@inline(__always)
func withBytes<R, E: Error>(
    _ data: ProtobufCBinaryData, _ body: (Span<UInt8>) throws(E) -> R
) throws(E) -> R {
    unsafe try body(UnsafeBufferPointer(start: data.data, count: data.len).span)
}

/// The elements of a repeated field.
@inline(__always)
func elements<T>(_ start: UnsafeMutablePointer<T>?, _ count: Int) -> UnsafeBufferPointer<T> {
    unsafe UnsafeBufferPointer(start: start, count: count)
}
