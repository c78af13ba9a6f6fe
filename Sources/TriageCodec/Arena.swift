// Memory for one message at a time: protobuf-c unpacks into it, replies and records are built in
// it, and all of it is given back at once. Knows nothing of what the messages mean.

internal import CProtobufC
internal import CTriageShims
internal import TriageBase

/// A bump allocator that is emptied between messages.
///
/// Everything handed out is valid until ``reset()``. Nothing is freed piecemeal, so that unpacking
/// a message costs a pointer increment an object instead of a malloc (measured: a fifth less time),
/// and no exit path can leak or free twice.
///
/// - Isolation: one thread at a time; one arena a reactor and one for the engine.
///
/// `@safe`: the pointers inside never leave the module, and every owner resets the arena only at
/// the start of a message, when nothing of the one before is referenced any more.
@safe
final class Arena {
    /// What the C callback sees: at a fixed address for the arena's life.
    @unsafe
    private struct State {
        var cursor: UnsafeMutableRawPointer
        var end: UnsafeMutableRawPointer
        /// Every chunk, the current one last.
        var chunks: [UnsafeMutableRawBufferPointer]
    }

    private static let firstChunkBytes = 16 << 10
    private static let alignment = 16

    private let state: UnsafeMutablePointer<State>
    /// The face that protobuf-c sees.
    let allocator: UnsafeMutablePointer<ProtobufCAllocator>

    /// Allocates the first chunk.
    init() {
        let chunk = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Self.firstChunkBytes, alignment: Self.alignment)
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: Self.state(of: chunk))
        unsafe allocator = .allocate(capacity: 1)
        unsafe allocator.initialize(
            to: ProtobufCAllocator(
                alloc: { data, size in
                    guard let data = unsafe data else { return nil }
                    return unsafe Arena.take(
                        size, from: data.assumingMemoryBound(to: State.self))
                },
                free: { _, _ in },
                allocator_data: UnsafeMutableRawPointer(state)))
    }

    deinit {
        unsafe state.pointee.chunks.forEach { unsafe $0.deallocate() }
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
        unsafe allocator.deallocate()
    }

    /// Takes everything back; keeps at most ``Limits/arenaRetainedBytesMax`` for the next message.
    ///
    /// - Complexity: O(1) unless the last message needed more than one chunk.
    func reset() {
        if unsafe state.pointee.chunks.count > 1 {
            let total = unsafe state.pointee.chunks.reduce(0) { $0 + $1.count }
            unsafe state.pointee.chunks.forEach { unsafe $0.deallocate() }
            let kept = UnsafeMutableRawBufferPointer.allocate(
                byteCount: min(total, Limits.arenaRetainedBytesMax), alignment: Self.alignment)
            unsafe state.pointee = Self.state(of: kept)
        } else if let chunk = unsafe state.pointee.chunks.last, let start = chunk.baseAddress {
            unsafe state.pointee.cursor = start
        }
    }

    /// Bytes held from the system, used or not.
    var capacity: Int { unsafe state.pointee.chunks.reduce(0) { $0 + $1.count } }

    /// Hands out `size` bytes, aligned to 8 and not initialised.
    @inline(__always)
    func take(_ size: Int) -> UnsafeMutableRawPointer { unsafe Self.take(size, from: state) }

    /// Hands out room for `count` values, not initialised.
    @inline(__always)
    func take<T: BitwiseCopyable>(_ count: Int, of type: T.Type) -> UnsafeMutablePointer<T> {
        unsafe take(count * MemoryLayout<T>.stride).bindMemory(to: type, capacity: count)
    }

    /// Makes an empty message with its generated `__init` function.
    @inline(__always)
    func new<M>(_ initialise: (UnsafeMutablePointer<M>?) -> Void) -> UnsafeMutablePointer<M> {
        let message = unsafe take(MemoryLayout<M>.stride).bindMemory(to: M.self, capacity: 1)
        unsafe initialise(message)
        return unsafe message
    }

    /// Copies text as a C string.
    ///
    /// - Precondition: `text` has no NUL; nothing that entered through the validator has one.
    func text(_ text: String) -> UnsafeMutablePointer<CChar> {
        var text = text
        return text.withUTF8 { utf8 in
            let copy = unsafe take(utf8.count + 1)
            if let source = utf8.baseAddress {
                unsafe copy.copyMemory(from: source, byteCount: utf8.count)
            }
            unsafe copy.storeBytes(of: 0, toByteOffset: utf8.count, as: UInt8.self)
            return unsafe copy.assumingMemoryBound(to: CChar.self)
        }
    }

    /// Copies bytes for a `bytes` field.
    func bytes(_ bytes: [UInt8]) -> ProtobufCBinaryData {
        let copy = unsafe take(bytes.count, of: UInt8.self)
        unsafe bytes.withUnsafeBufferPointer { source in
            if let start = source.baseAddress {
                unsafe copy.update(from: start, count: source.count)
            }
        }
        return unsafe ProtobufCBinaryData(len: bytes.count, data: copy)
    }

    /// Builds the array of pointers of a repeated message field.
    func list<Values: Collection, M>(
        _ values: Values, _ make: (Values.Element) -> UnsafeMutablePointer<M>
    ) -> UnsafeMutablePointer<UnsafeMutablePointer<M>?> {
        let list = unsafe take(values.count, of: UnsafeMutablePointer<M>?.self)
        for (index, value) in values.enumerated() { unsafe list[index] = make(value) }
        return unsafe list
    }

    /// Builds the array of a repeated text field.
    func texts(_ values: [String]) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
        unsafe list(values) { unsafe text($0) }
    }

    /// Serialises a message into bytes of exactly its size: one allocation.
    ///
    /// protobuf_c_message_pack
    func pack<M>(_ message: UnsafeMutablePointer<M>) -> [UInt8] {
        let base = unsafe UnsafePointer<ProtobufCMessage>(OpaquePointer(message))
        let size = unsafe protobuf_c_message_get_packed_size(base)
        var bytes: [UInt8] = []
        // Appending nothing writes to the empty array that all threads share.
        if size == 0 { return bytes }
        // Not `init(unsafeUninitializedCapacity:)`, whose allocation is not specialised (50 ns).
        bytes.append(addingCapacity: size) { output in
            unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                count = unsafe protobuf_c_message_pack(base, buffer.baseAddress)
            }
        }
        return bytes
    }

    /// Serialises a message inside the arena.
    ///
    /// protobuf_c_message_pack
    func packed<M>(_ message: UnsafeMutablePointer<M>) -> ProtobufCBinaryData {
        let base = unsafe UnsafePointer<ProtobufCMessage>(OpaquePointer(message))
        let size = unsafe protobuf_c_message_get_packed_size(base)
        let bytes = unsafe take(size, of: UInt8.self)
        let count = unsafe protobuf_c_message_pack(base, bytes)
        return unsafe ProtobufCBinaryData(len: count, data: bytes)
    }

    private static func state(of chunk: UnsafeMutableRawBufferPointer) -> State {
        guard let start = chunk.baseAddress else {
            preconditionFailure("an allocation of at least one byte has an address")
        }
        return unsafe State(cursor: start, end: start + chunk.count, chunks: [chunk])
    }

    @inline(__always)
    private static func take(
        _ size: Int, from state: UnsafeMutablePointer<State>
    ) -> UnsafeMutableRawPointer {
        let rounded = (size &+ 7) & ~7
        let start = unsafe state.pointee.cursor
        if unsafe rounded <= state.pointee.end - start {
            unsafe state.pointee.cursor = start + rounded
            return unsafe start
        }
        return unsafe takeFromNewChunk(rounded, state)
    }

    @inline(never)
    private static func takeFromNewChunk(
        _ size: Int, _ state: UnsafeMutablePointer<State>
    ) -> UnsafeMutableRawPointer {
        let last = unsafe state.pointee.chunks.last?.count ?? firstChunkBytes
        let chunk = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(size, last * 2), alignment: alignment)
        guard let start = chunk.baseAddress else {
            preconditionFailure("an allocation of at least one byte has an address")
        }
        unsafe state.pointee.chunks.append(chunk)
        unsafe state.pointee.cursor = start + size
        unsafe state.pointee.end = start + chunk.count
        return unsafe start
    }
}
