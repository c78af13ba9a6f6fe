// Reads messages that are written as every encoder writes them: fields in the order of their
// numbers, none twice, none that has its default, numbers in as few bytes as they need, texts of
// UTF-8 without NUL. Anything else is not wrong, but not for this reader: protobuf-c's way, with
// the validator before it, reads every message and says what is wrong with it. Knows no message.

/// Walks over the bytes of one canonical message.
///
/// Once something is otherwise, ``isCanonical`` is false for good, nothing more is found, and what
/// was read means nothing.
///
/// `@safe`: lives only inside functions that keep the bytes, and every access is below the end.
@safe struct CanonicalReader {
    private var at: UnsafePointer<UInt8>
    private var end: UnsafePointer<UInt8>
    private(set) var isCanonical = true

    /// Walks over these bytes.
    init(_ bytes: UnsafeBufferPointer<UInt8>, at start: UnsafePointer<UInt8>) {
        unsafe at = unsafe start
        unsafe end = unsafe start + bytes.count
    }

    /// True when all was read.
    var isAtEnd: Bool { unsafe at == end }

    /// What is left of the message that the reader is in.
    var bytesLeft: Int { unsafe end - at }

    /// Gives up.
    @inline(__always)
    mutating func refuse() {
        isCanonical = false
        unsafe at = unsafe end
    }

    // MARK: Fields

    /// Moves past a tag of one byte if it is the next.
    @inline(__always)
    mutating func take(_ tag: UInt8) -> Bool {
        guard unsafe at < end, unsafe at.pointee == tag else { return false }
        unsafe at += 1
        return true
    }

    /// Moves past a tag of two bytes if it is the next.
    @inline(__always)
    mutating func take(_ first: UInt8, _ second: UInt8) -> Bool {
        guard unsafe end - at >= 2, unsafe at[0] == first, unsafe at[1] == second else {
            return false
        }
        unsafe at += 2
        return true
    }

    @inline(__always)
    private mutating func take(_ field: UInt8, kind: UInt8) -> Bool {
        if field < 16 { return take(field << 3 | kind) }
        return take(0x80 | (field & 15) << 3 | kind, field >> 4)
    }

    /// Moves past the tag of a text, of bytes or of a message if it is the next.
    @inline(__always)
    mutating func take(bytes field: UInt8) -> Bool { take(field, kind: WireTag.bytesKind) }

    /// The number of a field, up to `max`; 0 when it is not there.
    @inline(__always)
    mutating func number(_ field: UInt8, max: UInt64) -> UInt64 {
        guard take(field, kind: WireTag.varintKind) else { return 0 }
        let value = number()
        if value > max { refuse() }
        return value
    }

    /// An `int64`; 0 when it is not there.
    @inline(__always)
    mutating func signed(_ field: UInt8) -> Int64 { Int64(bitPattern: number(field, max: .max)) }

    /// A truth value; false when it is not there.
    @inline(__always)
    mutating func flag(_ field: UInt8) -> Bool { number(field, max: 1) == 1 }

    /// A `fixed64`; 0 when it is not there.
    @inline(__always)
    mutating func fixed(_ field: UInt8) -> UInt64 {
        take(field, kind: WireTag.fixed64Kind) ? fixed64() : 0
    }

    /// A closed choice; the one with the number 0 when it is not there.
    @inline(__always)
    mutating func choice<E: RawRepresentable>(_ field: UInt8) -> E? where E.RawValue == UInt8 {
        E(rawValue: take(field, kind: WireTag.varintKind) ? choice(0x7F) : 0)
    }

    /// A number that is not 0.
    @inline(__always)
    mutating func number() -> UInt64 {
        let value = varint()
        if value == 0 { refuse() }
        return value
    }

    /// A number from 1 up to `max`, which is below 128.
    @inline(__always)
    mutating func choice(_ max: UInt8) -> UInt8 {
        guard unsafe at < end, unsafe at.pointee >= 1, unsafe at.pointee <= max else {
            refuse()
            return 0
        }
        let value = unsafe at.pointee
        unsafe at += 1
        return value
    }

    @inline(__always)
    private mutating func varint() -> UInt64 {
        guard unsafe at < end else {
            refuse()
            return 0
        }
        let first = unsafe at.pointee
        if first < 0x80 {
            unsafe at += 1
            return UInt64(first)
        }
        return longVarint()
    }

    @inline(never)
    private mutating func longVarint() -> UInt64 {
        guard unsafe end - at >= 8 else { return lastVarint() }
        let word = unsafe UInt64(
            littleEndian: UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
        let ends = ~word & 0x8080_8080_8080_8080
        guard ends != 0 else { return lastVarint() }
        // All up to the first byte that has no other behind it; then the groups of seven bits
        // closer together: pairs of bytes, of those, of those.
        let bits = UInt64(ends.trailingZeroBitCount + 1)
        var value = word & (.max >> (64 - bits)) & 0x7F7F_7F7F_7F7F_7F7F
        // A last byte of 0 says nothing: there is a shorter form.
        if value >> (bits - 8) == 0 {
            refuse()
            return 0
        }
        value = value & 0x007F_007F_007F_007F | (value & 0x7F00_7F00_7F00_7F00) >> 1
        value = value & 0x0000_3FFF_0000_3FFF | (value & 0x3FFF_0000_3FFF_0000) >> 2
        value = value & 0x0000_0000_0FFF_FFFF | (value & 0x0FFF_FFFF_0000_0000) >> 4
        unsafe at += Int(bits / 8)
        return value
    }

    /// A number at the end of the message, or one of nine or ten bytes.
    @inline(never)
    private mutating func lastVarint() -> UInt64 {
        var value: UInt64 = 0
        for index in unsafe 0..<min(10, end - at) {
            let byte = unsafe at[index]
            if index == 9, byte > 1 { break }
            value |= UInt64(byte & 0x7F) << UInt64(7 * index)
            if byte < 0x80 {
                // A last byte of 0 says nothing: there is a shorter form.
                if byte == 0 { break }
                unsafe at += index + 1
                return value
            }
        }
        refuse()
        return 0
    }

    /// Eight bytes that are not all 0.
    mutating func fixed64() -> UInt64 {
        guard unsafe end - at >= 8 else {
            refuse()
            return 0
        }
        let value = unsafe UInt64(
            littleEndian: UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
        unsafe at += 8
        if value == 0 { refuse() }
        return value
    }

    /// A text of 1 to `max` bytes; empty once nothing is canonical.
    @inline(__always)
    mutating func text(_ max: Int) -> UnsafeBufferPointer<UInt8> {
        let count = Int(truncatingIfNeeded: varint())
        guard count >= 1, count <= max, unsafe count <= end - at,
            unsafe MessageValidator.isText(at, count)
        else {
            refuse()
            return unsafe UnsafeBufferPointer(start: at, count: 0)
        }
        defer { unsafe at += count }
        return unsafe UnsafeBufferPointer(start: at, count: count)
    }

    /// The content of a `bytes` field, which is not empty; empty when it is not there.
    @inline(__always)
    mutating func blob(_ field: UInt8) -> UnsafeBufferPointer<UInt8> {
        guard take(bytes: field) else { return unsafe UnsafeBufferPointer(start: at, count: 0) }
        let count = Int(truncatingIfNeeded: varint())
        guard count >= 1, unsafe count <= end - at else {
            refuse()
            return unsafe UnsafeBufferPointer(start: at, count: 0)
        }
        defer { unsafe at += count }
        return unsafe UnsafeBufferPointer(start: at, count: count)
    }

    // MARK: Messages inside

    /// Where the enclosing message ends.
    @safe struct Outer {
        fileprivate let end: UnsafePointer<UInt8>
    }

    /// Goes into a message whose tag was taken.
    @inline(__always)
    mutating func enter() -> Outer {
        let outer = unsafe Outer(end: end)
        let count = Int(truncatingIfNeeded: varint())
        guard count >= 0, unsafe count <= end - at else {
            refuse()
            return outer
        }
        unsafe end = unsafe at + count
        return outer
    }

    /// Leaves it, if all of it was read.
    @inline(__always)
    mutating func leave(_ outer: Outer) {
        if unsafe at != end { isCanonical = false }
        unsafe end = unsafe outer.end
        if !isCanonical { unsafe at = unsafe end }
    }

    /// Where the reader is, so that what follows can be copied as it is.
    var place: UnsafePointer<UInt8> { unsafe at }

    /// The bytes from a place on.
    @inline(__always)
    func bytes(from place: UnsafePointer<UInt8>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: place, count: at - place)
    }
}
