// The pieces that every stored message is made of, both ways. Reading trusts nothing: a bit that has
// rotted on a disk is an error with the name of the field, never a trap.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

/// Builds stored messages in an arena.
struct StorageWriter {
    let arena: Arena

    /// A text field.
    @inline(__always)
    func text(_ text: String) -> CText { unsafe arena.text(text) }
}

/// Checks the fields of stored messages.
enum StorageReader {
    /// A closed choice by its number.
    static func choice<E: RawRepresentable>(
        _ raw: Int32, _ field: StaticString
    ) throws(CodecError) -> E where E.RawValue == UInt8 {
        guard let small = UInt8(exactly: raw), let value = E(rawValue: small) else {
            throw .outOfRange("\(field)")
        }
        return value
    }

    /// A number that is not negative.
    static func number(_ raw: Int64, _ field: StaticString) throws(CodecError) -> UInt64 {
        guard raw >= 0 else { throw .outOfRange("\(field)") }
        return UInt64(raw)
    }

    /// A place in the World's table.
    static func principal(_ raw: Int32, _ field: StaticString) throws(CodecError) -> PrincipalIndex
    {
        guard raw >= 0 else { throw .outOfRange("\(field)") }
        return PrincipalIndex(UInt32(raw))
    }

    /// Circumstances as bits.
    static func modifiers(_ raw: Int32, _ field: StaticString) throws(CodecError) -> RiskModifiers {
        guard (0...0x7F).contains(raw) else { throw .outOfRange("\(field)") }
        return RiskModifiers(rawValue: UInt8(raw))
    }

    /// A time.
    @inline(__always)
    static func time(_ milliseconds: Int64) -> WallTime { WallTime(milliseconds: milliseconds) }

    /// A part that is always written.
    @inline(__always)
    static func part<M>(
        _ part: UnsafeMutablePointer<M>?, _ field: StaticString
    ) throws(CodecError) -> M {
        guard let part = unsafe part else { throw .missing("\(field)") }
        return unsafe part.pointee
    }

    /// Every element of a repeated message.
    static func list<M, T>(
        _ start: UnsafeMutablePointer<UnsafeMutablePointer<M>?>?, _ count: Int,
        _ read: (M) throws(CodecError) -> T
    ) throws(CodecError) -> [T] {
        var values: [T] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            guard let message = unsafe elements(start, count)[index] else { continue }
            values.append(unsafe try read(message.pointee))
        }
        return values
    }

    /// Every element of a repeated text.
    static func texts(_ start: UnsafeMutablePointer<CText?>?, _ count: Int) -> [String] {
        var values: [String] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            values.append(unsafe string(elements(start, count)[index]))
        }
        return values
    }
}
