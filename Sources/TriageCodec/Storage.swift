// The pieces that every stored message is made of, both ways. Reading trusts nothing: a bit that
// has rotted on a disk is an error with the name of the field, never a trap.

internal import CProtobufC
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

    /// A time between the years 1 and 9999; beyond, the domain's arithmetic means nothing.
    static func time(_ milliseconds: Int64) throws(CodecError) -> WallTime {
        guard isTime(milliseconds) else { throw .outOfRange("time") }
        return WallTime(milliseconds: milliseconds)
    }

    @inline(__always)
    static func isTime(_ milliseconds: Int64) -> Bool {
        milliseconds >= -62_135_596_800_000
            && milliseconds <= WallTime.distantFuture.milliseconds
    }

    /// The number of a case; 0 for none.
    static func caseNumber(_ raw: Int64) throws(CodecError) -> CaseNumber {
        CaseNumber(try named(raw, "case_number"))
    }

    /// The number of a report.
    static func reportNumber(_ raw: Int64) throws(CodecError) -> ReportNumber {
        ReportNumber(try named(raw, "report_number"))
    }

    /// The number of an assignment; 0 for none.
    static func assignmentNumber(_ raw: Int64) throws(CodecError) -> AssignmentNumber {
        AssignmentNumber(try named(raw, "assignment_number"))
    }

    private static func named(_ raw: Int64, _ field: StaticString) throws(CodecError) -> UInt64 {
        guard raw >= 0, UInt64(raw) <= ResourceName.numberMax else { throw .outOfRange("\(field)") }
        return UInt64(raw)
    }

    /// Packed report content, which the encoder of replies will unpack without asking again.
    static func content(_ bytes: Span<UInt8>) throws(CodecError) -> [UInt8] {
        var empty = unsafe Triaged__Storage__V1__ReportContent()
        unsafe triaged__storage__v1__report_content__init(&empty)
        guard let descriptor = unsafe empty.base.descriptor else {
            preconditionFailure("a generated message has a descriptor")
        }
        do {
            unsafe try bytes.withUnsafeBufferPointer { bytes throws(MessageFault) in
                unsafe try MessageValidator.validate(bytes, descriptor, .storage)
            }
        } catch { throw .wire(error) }
        return [UInt8](copying: bytes)
    }

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
