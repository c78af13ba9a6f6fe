// Header blocks that came before. Most requests of a connection differ in nothing but their body,
// and nghttp2 names a field of its compression table by the same two objects each time: two
// comparisons of pointers tell that a field is the known one, and a block of known fields needs to
// be judged once. Gain: 2,000 of a call's 26,000 instructions. Knows nothing of what fields mean.

internal import CNghttp2

/// One field of a known block: nghttp2's own objects, which it counts references of.
///
/// An object that we hold is not freed and never changes, so that the same pointers are the same
/// bytes.
@safe struct KnownField {
    /// nil: behind the last field.
    let name: OpaquePointer?
    /// nil: it may differ each time, and is kept with the block.
    let value: OpaquePointer?
    let token: HeaderToken

    var varies: Bool { unsafe value == nil }

    static func bytes(_ object: OpaquePointer?) -> UnsafeBufferPointer<UInt8> {
        guard let object = unsafe object else { return UnsafeBufferPointer(_empty: ()) }
        let buffer = unsafe nghttp2_rcbuf_get_buf(object)
        return unsafe UnsafeBufferPointer(start: buffer.base, count: buffer.len)
    }

    /// True when the value is these bytes: some clients never put a path into the table.
    func has(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        let known = unsafe Self.bytes(value)
        guard known.count == bytes.count else { return false }
        guard let first = known.baseAddress, let second = bytes.baseAddress else {
            return bytes.isEmpty
        }
        return unsafe HeaderToken.isEqual(first, second, bytes.count)
    }

    func release() {
        unsafe nghttp2_rcbuf_decref(name)
        if let value = unsafe value { unsafe nghttp2_rcbuf_decref(value) }
    }
}

/// The last few different request header blocks of one session.
///
/// A block that is not known is recorded, unless the last ones were all new: then fewer and fewer
/// are looked at, so that a client that never repeats itself costs next to nothing.
///
/// - Isolation: its session's.
@safe struct KnownBlocks: ~Copyable {
    /// A power of two.
    static let capacity = 4
    /// Larger blocks are not worth the memory.
    static let fieldsMax = 16
    static let bytesMax = 1 << 10
    private static let restMax = 63

    @safe private struct Block {
        /// `count` fields and an end mark; nil: free.
        var fields: UnsafeMutablePointer<KnownField>?
        var count = 0
        /// Decoded bytes of those that do not vary, 32 added for each.
        var bytes = 0
        var serial: UInt32 = 0
        /// When it came last.
        var turn: UInt32 = 0
    }

    private var blocks = InlineArray<4, Block>(repeating: Block())
    /// The one that is compared, or came last.
    private var current = 0
    /// What the block that is being received should go on with; nil: it is not compared.
    var next: UnsafePointer<KnownField>?
    private var record: UnsafeMutablePointer<KnownField>?
    private var recordCount = 0
    private var recordBytes = 0
    private var serial: UInt32 = 0
    /// Counts the owner's turns: what it still looks at is not replaced.
    private var turn: UInt32 = 1
    private var rest = 0
    private var restNext = 0
    private let isOn: Bool

    init(isOn: Bool) { self.isOn = isOn }

    deinit {
        // Not through `drop`, which mutates.
        if let record = unsafe record {
            for index in 0..<recordCount { unsafe record[index].release() }
            unsafe record.deallocate()
        }
        for slot in 0..<Self.capacity { Self.free(blocks[slot]) }
    }

    private static func free(_ block: Block) {
        guard let fields = unsafe block.fields else { return }
        for index in 0..<block.count { unsafe fields[index].release() }
        unsafe fields.deallocate()
    }

    // MARK: One block

    /// A block begins; `isRequest` says whether it can be known.
    @inline(__always)
    mutating func begin(isRequest: Bool) {
        if unsafe record != nil { drop() }
        guard isOn, isRequest, rest == 0 else {
            if rest > 0 { rest -= 1 }
            return unsafe next = nil
        }
        unsafe next = UnsafePointer(blocks[current].fields)
        if unsafe next == nil { startRecording(0) }
    }

    /// How many fields of the block were the known ones.
    var matched: Int {
        guard let next = unsafe next, let first = unsafe blocks[current].fields else { return 0 }
        return unsafe next - UnsafePointer(first)
    }

    /// The fields of the block that is compared.
    func field(_ index: Int) -> KnownField {
        guard let fields = unsafe blocks[current].fields else {
            preconditionFailure("a block is compared")
        }
        return unsafe fields[index]
    }

    /// Decoded bytes of the compared block's fields that do not vary.
    var fixedBytes: Int { blocks[current].bytes }

    /// Looks for another block that begins as this one did and goes on with this field.
    ///
    /// - Returns: True when there is one; the field is then matched.
    mutating func turnTo(
        _ name: OpaquePointer, _ value: OpaquePointer, _ bytes: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        let matched = matched
        for slot in 0..<Self.capacity where slot != current && blocks[slot].count > matched {
            guard let fields = unsafe blocks[slot].fields, unsafe fields[matched].name == name,
                unsafe !fields[matched].varies,
                unsafe fields[matched].value == value || fields[matched].has(bytes),
                unsafe begins(fields, matched)
            else { continue }
            current = slot
            unsafe next = UnsafePointer(fields + matched + 1)
            return true
        }
        return false
    }

    private func begins(_ fields: UnsafeMutablePointer<KnownField>, _ count: Int) -> Bool {
        for index in 0..<count {
            let known = field(index)
            guard unsafe fields[index].name == known.name,
                unsafe fields[index].varies == known.varies,
                unsafe fields[index].value == known.value
                    || fields[index].has(KnownField.bytes(known.value))
            else { return false }
        }
        return true
    }

    /// The block has ended as it should; returns what names it until the next turn.
    mutating func hit() -> UInt32 {
        unsafe next = nil
        restNext = 0
        blocks[current].turn = turn
        return blocks[current].serial
    }

    /// The block is not the one that it was compared with; it is recorded from its start.
    mutating func miss() {
        startRecording(matched)
        unsafe next = nil
    }

    // MARK: Recording

    private mutating func startRecording(_ matched: Int) {
        rest = restNext
        restNext = min(Self.restMax, restNext * 2 + 1)
        // An end mark more.
        let record = UnsafeMutablePointer<KnownField>.allocate(capacity: Self.fieldsMax + 1)
        unsafe self.record = unsafe record
        recordCount = 0
        recordBytes = 0
        for index in 0..<matched { keep(field(index)) }
    }

    private mutating func keep(_ field: KnownField) {
        guard let record = unsafe record else { return }
        unsafe nghttp2_rcbuf_incref(field.name)
        if let value = unsafe field.value {
            unsafe nghttp2_rcbuf_incref(value)
            recordBytes +=
                unsafe KnownField.bytes(field.name).count + KnownField.bytes(value).count + 32
        }
        unsafe (record + recordCount).initialize(to: field)
        recordCount += 1
    }

    /// Records a field of a block that is not known.
    @inline(__always)
    mutating func note(
        _ name: OpaquePointer, _ value: OpaquePointer, _ token: HeaderToken, sensitive: Bool
    ) {
        if unsafe record != nil { unsafe keep(name, value, token, sensitive) }
    }

    private mutating func keep(
        _ name: OpaquePointer, _ value: OpaquePointer, _ token: HeaderToken, _ sensitive: Bool
    ) {
        guard !sensitive, recordCount < Self.fieldsMax else { return drop() }
        unsafe keep(KnownField(name: name, value: token.varies ? nil : value, token: token))
        if recordBytes > Self.bytesMax { drop() }
    }

    private mutating func drop() {
        guard let record = unsafe record else { return }
        for index in 0..<recordCount { unsafe record[index].release() }
        unsafe record.deallocate()
        unsafe self.record = nil
    }

    /// The block has ended; it is known from now on if it was recorded, and nothing that the owner
    /// still looks at is in its way.
    @inline(__always)
    mutating func end(isComplete: Bool) {
        if unsafe record != nil { learn(isComplete) }
    }

    private mutating func learn(_ isComplete: Bool) {
        var oldest = 0
        for slot in 1..<Self.capacity where blocks[slot].turn < blocks[oldest].turn {
            oldest = slot
        }
        guard let record = unsafe record, isComplete, blocks[oldest].turn != turn else {
            return drop()
        }
        Self.free(blocks[oldest])
        let fields = UnsafeMutablePointer<KnownField>.allocate(capacity: recordCount + 1)
        unsafe fields.initialize(from: record, count: recordCount)
        unsafe (fields + recordCount).initialize(
            to: KnownField(name: nil, value: nil, token: .other))
        unsafe record.deallocate()
        unsafe self.record = nil
        serial &+= UInt32(Self.capacity)
        // The first is not 0, which names no block.
        if serial == 0 { serial = UInt32(Self.capacity) }
        blocks[oldest] = unsafe Block(
            fields: fields, count: recordCount, bytes: recordBytes,
            serial: serial | UInt32(oldest), turn: turn)
        current = oldest
    }

    // MARK: Turns

    /// The owner has handled what it was told: known blocks may be replaced.
    @inline(__always)
    mutating func turnEnded() { turn &+= 1 }

    /// Runs `body` on each field of a block that came in this turn.
    func forEach(_ serial: UInt32, _ body: (KnownField) -> Void) {
        let block = blocks[Int(serial) & (Self.capacity - 1)]
        precondition(block.serial == serial, "a known block outlives its turn")
        for index in 0..<block.count {
            if let fields = unsafe block.fields { unsafe body(fields[index]) }
        }
    }
}

extension HeaderToken {
    /// The field may be another one in each call of a client; it does not make a block unknown.
    var varies: Bool {
        switch self {
        case .other, .grpcTimeout, .traceparent, .tracestate, .contentLength: true
        default: false
        }
    }
}

extension SessionState {
    /// A field has come; the known one in its place costs two comparisons.
    ///
    /// - Returns: false when the block is so far over its limits that the connection must end.
    @inline(__always)
    mutating func fieldReceived(
        _ name: OpaquePointer, _ value: OpaquePointer, sensitive: Bool
    ) -> Bool {
        if let field = unsafe known.next, unsafe field.pointee.name == name,
            unsafe field.pointee.value == value
        {
            unsafe known.next = unsafe field + 1
            return true
        }
        return unsafe otherFieldReceived(name, value, sensitive)
    }

    private mutating func otherFieldReceived(
        _ name: OpaquePointer, _ value: OpaquePointer, _ sensitive: Bool
    ) -> Bool {
        let valueBytes = unsafe KnownField.bytes(value)
        if let field = unsafe known.next {
            if unsafe field.pointee.name == name, !sensitive {
                let goesOn =
                    unsafe field.pointee.varies
                    ? unsafe keepVarying(name, valueBytes) : unsafe field.pointee.has(valueBytes)
                if goesOn {
                    unsafe known.next = unsafe field + 1
                    return true
                }
            }
            if unsafe !sensitive && known.turnTo(name, value, valueBytes) { return true }
            forgetComparison()
        }
        guard
            let token = unsafe fieldReceived(
                name: KnownField.bytes(name), value: valueBytes, sensitive: sensitive)
        else { return false }
        unsafe known.note(name, value, token, sensitive: sensitive)
        return true
    }

    /// Keeps a field of the block that is compared; false when the block might be over its limit.
    private mutating func keepVarying(
        _ name: OpaquePointer, _ value: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        let name = unsafe KnownField.bytes(name)
        let size = name.count + value.count + 32
        guard blockBytes + size + known.fixedBytes <= settings.headerListBytesMax else {
            return false
        }
        return unsafe fieldReceived(name: name, value: value, sensitive: false) != nil
    }

    /// The block is none of the known ones: its fields so far are kept as those of any other.
    private mutating func forgetComparison() {
        var varying = headers.takeLast(Int(block.count))
        varying.reverse()
        block.count = 0
        for index in 0..<known.matched {
            let field = known.field(index)
            if field.varies {
                if let kept = varying.popLast() { headers.append(kept) }
            } else {
                let name = unsafe KnownField.bytes(field.name)
                let value = unsafe KnownField.bytes(field.value)
                unsafe headers.append(
                    token: field.token, sensitive: false, name: name, value: value)
                blockBytes += name.count + value.count + 32
                blockFields += 1
            }
            block.count += 1
        }
        known.miss()
    }

    /// The block has ended: it is a known one, or may become one.
    @inline(__always)
    mutating func blockEnded(isComplete: Bool) {
        if let field = unsafe known.next {
            if unsafe field.pointee.name == nil {
                block.known = known.hit()
                return
            }
            forgetComparison()
        }
        known.end(isComplete: isComplete && !block.isOversize)
    }

    /// All fields of a known block, until the next call or the end of the turn.
    mutating func expand(_ short: HeaderBlock) -> HeaderBlock {
        headers.dropExpansion()
        var varying = Array(headers.fields[short.range].reversed())
        var whole = headers.beginExpansion()
        known.forEach(short.known) { field in
            if field.varies {
                if let kept = varying.popLast() { headers.append(kept) }
            } else {
                unsafe headers.append(
                    token: field.token, sensitive: false,
                    name: unsafe KnownField.bytes(field.name),
                    value: unsafe KnownField.bytes(field.value))
            }
            whole.count += 1
        }
        return whole
    }
}
