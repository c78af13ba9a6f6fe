// One check for each kind of field that requests have: text, names, numbers, choices, times. Every
// check notes what is wrong in the form and gives a value that is used only when nothing is.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

/// The descriptions that more than one check uses.
private enum Wording {
    static let required = "is required"
    static let unknownChoice = "is not a value that this service knows"
    static let time = "must be between the years 1 and 9999, with 0 to 999,999,999 nanoseconds"
}

extension Form {
    // MARK: Text

    /// Checks a text's length in bytes.
    @inline(__always)
    mutating func checkText(
        _ text: CText?, min: Int = 0, max: Int, _ field: @autoclosure () -> String
    ) {
        let count = unsafe byteCount(text)
        if count < min || count > max { refuseLength(count, min, max, field) }
    }

    @inline(never)
    private mutating func refuseLength(_ count: Int, _ min: Int, _ max: Int, _ field: () -> String)
    {
        if count == 0 {
            refuse(field, Wording.required)
        } else if min <= 1 {
            refuse(field, "must be at most \(max) bytes")
        } else {
            refuse(field, "must be \(min) to \(max) bytes")
        }
    }

    /// Checks a text's length in bytes and copies it.
    mutating func text(
        _ text: CText?, min: Int = 0, max: Int, _ field: @autoclosure () -> String
    ) -> String {
        unsafe checkText(text, min: min, max: max, field())
        return unsafe string(text)
    }

    /// Checks how many values a repeated field has.
    @inline(__always)
    mutating func checkCount(
        _ count: Int, min: Int = 0, max: Int, _ field: @autoclosure () -> String
    ) {
        if count < min { refuse(field, "must have at least \(min)") }
        if count > max { refuse(field, "must have at most \(max)") }
    }

    /// Checks a repeated text of 1 to `bytesMax` bytes each and copies it.
    mutating func texts(
        _ start: UnsafeMutablePointer<CText?>?, _ count: Int, countMax: Int, bytesMax: Int,
        _ field: String
    ) -> [String] {
        checkCount(count, max: countMax, field)
        var copies: [String] = []
        for index in 0..<Swift.min(count, countMax) {
            let value = unsafe elements(start, Swift.min(count, countMax))[index]
            copies.append(unsafe text(value, min: 1, max: bytesMax, "\(field)[\(index)]"))
        }
        return copies
    }

    // MARK: Codes

    /// Checks a BCP 47 tag.
    @inline(__always)
    mutating func language(_ tag: CText?, _ field: @autoclosure () -> String) -> LanguageCode {
        if let code = unsafe withBytes(tag, Self.languageCode) { return code }
        refuse(field, "must be a BCP 47 tag with a primary subtag of two or three letters")
        return .undetermined
    }

    /// The primary subtag of a well-formed BCP 47 tag.
    static func languageCode(_ tag: Span<UInt8>) -> LanguageCode? {
        isLanguageTag(tag) ? LanguageCode(tag: tag) : nil
    }

    /// Subtags of 1 to 8 letters and digits, 35 bytes in all (RFC 5646 §4.4.1).
    private static func isLanguageTag(_ tag: Span<UInt8>) -> Bool {
        guard tag.count <= ReportBound.languageTag else { return false }
        var length = 0
        for index in tag.indices {
            switch tag[index] {
            case UInt8(ascii: "-"):
                guard length > 0 else { return false }
                length = 0
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                length += 1
                guard length <= 8 else { return false }
            default: return false
            }
        }
        return tag.isEmpty || length > 0
    }

    /// Checks an ISO 3166-1 alpha-2 code.
    @inline(__always)
    mutating func region(
        _ code: CText?, required: Bool = false, _ field: @autoclosure () -> String
    ) -> RegionCode {
        guard let region = unsafe withBytes(code, { RegionCode(text: $0) }) else {
            refuse(field, "must be an ISO 3166-1 alpha-2 code: two letters")
            return .unknown
        }
        if required, region == .unknown { refuse(field, Wording.required) }
        return region
    }

    /// Checks a closed choice.
    ///
    /// - Returns: The domain's value; any one after a problem.
    @inline(__always)
    mutating func choice<C: RawRepresentable, E: RawRepresentable & CaseIterable>(
        _ raw: C, required: Bool = true, _ field: @autoclosure () -> String
    ) -> E where C.RawValue == UInt32, E.RawValue == UInt8 {
        if raw.rawValue <= 255, let value = E(rawValue: UInt8(raw.rawValue)),
            !(required && raw.rawValue == 0)
        {
            return value
        }
        refuse(field, raw.rawValue == 0 ? Wording.required : Wording.unknownChoice)
        return E.allCases[E.allCases.startIndex]
    }

    /// Checks repeated choices and gives them as bits, bit `rawValue - 1` each.
    @inline(__always)
    mutating func modifiers(
        _ start: UnsafeMutablePointer<Triaged__V1__RiskModifier>?, _ count: Int,
        _ field: @autoclosure () -> String
    ) -> RiskModifiers {
        // Not `[]`, which goes through unspecialised code of the standard library.
        var set = RiskModifiers(rawValue: 0)
        for index in 0..<count {
            let value = unsafe elements(start, count)[index]
            set.formUnion(modifier(value, "\(field())[\(index)]"))
        }
        return set
    }

    /// Checks one circumstance.
    @inline(__always)
    mutating func modifier(
        _ value: Triaged__V1__RiskModifier, _ field: @autoclosure () -> String
    ) -> RiskModifiers {
        if value.rawValue >= 1, value.rawValue <= 7 {
            return RiskModifiers(rawValue: 1 << UInt8(value.rawValue - 1))
        }
        refuse(field, value.rawValue == 0 ? Wording.required : Wording.unknownChoice)
        return RiskModifiers(rawValue: 0)
    }

    // MARK: Identifiers

    /// Checks a request id.
    @inline(__always)
    mutating func requestID(_ text: CText?) -> RequestID {
        if let id = unsafe withBytes(text, { RequestID(uuid: $0) }) { return id }
        refuse({ "request_id" }, "must be a UUID that is not all zero, in the form 8-4-4-4-12")
        return .none
    }

    /// Checks the name of a case.
    mutating func caseName(
        _ text: CText?, required: Bool = true, _ field: @autoclosure () -> String
    ) -> CaseNumber {
        if let number = unsafe withBytes(text, ResourceName.parseCase) { return number }
        if unsafe required || byteCount(text) > 0 { refuse(field, "must be `cases/{number}`") }
        return .none
    }

    /// Checks the name of an assignment.
    mutating func assignmentName(_ text: CText?) -> AssignmentNumber {
        if let number = unsafe withBytes(text, ResourceName.parseAssignment) { return number }
        refuse({ "name" }, "must be `assignments/{number}`")
        return .none
    }

    /// Checks the name of a disclosure request.
    mutating func disclosureName(_ text: CText?) -> DisclosureID {
        if let id = unsafe withBytes(text, ResourceName.parseDisclosure) { return id }
        refuse(
            { "name" }, "must be `disclosureRequests/` and 16 lower-case hexadecimal digits")
        return .none
    }

    /// Checks a fencing token; none is allowed unless it is required.
    mutating func token(_ value: Int64, required: Bool = true) -> AssignmentNumber {
        if value == 0, required { refuse({ "fencing_token" }, Wording.required) }
        guard value >= 0, UInt64(value) <= ResourceName.numberMax else {
            refuse({ "fencing_token" }, "must be a token that an assignment gave")
            return .none
        }
        return AssignmentNumber(UInt64(value))
    }

    /// Checks an optional etag.
    mutating func etag(_ text: CText?) -> UInt64? {
        guard unsafe byteCount(text) > 0 else { return nil }
        if let revision = unsafe withBytes(text, ResourceName.parseEtag) { return revision }
        refuse({ "etag" }, "must be an etag that this service gave")
        return nil
    }

    /// Checks the name of an identity.
    mutating func principal(_ text: CText?, _ field: @autoclosure () -> String) -> Principal {
        let name = unsafe self.text(text, min: 1, max: 2_048, field())
        if !name.isEmpty, !name.hasPrefix("spiffe://"), !name.hasPrefix("dns:") {
            refuse(field, "must be an identity: `spiffe://...` or `dns:...`")
        }
        return Principal(journaled: name)
    }

    // MARK: Numbers and times

    /// Checks a revision to resume from.
    mutating func revision(_ value: Int64) -> UInt64 {
        if value < 0 { refuse({ "resume_revision" }, "must not be negative") }
        return UInt64(max(0, value))
    }

    /// Resolves a page size.
    mutating func pageSize(_ value: Int32) -> Int {
        if value < 0 { refuse({ "page_size" }, "must not be negative") }
        return value <= 0 ? Limits.pageSizeDefault : min(Int(value), Limits.pageSizeMax)
    }

    /// Checks an optional time without converting it.
    @inline(__always)
    mutating func checkTime(
        _ time: UnsafeMutablePointer<Google__Protobuf__Timestamp>?,
        _ field: @autoclosure () -> String
    ) {
        guard let time = unsafe time?.pointee else { return }
        if unsafe !Self.isInRange(time) { refuse(field, Wording.time) }
    }

    /// Checks a time and gives it in milliseconds, rounded down; the epoch when it is absent.
    mutating func time(
        _ time: UnsafeMutablePointer<Google__Protobuf__Timestamp>?, required: Bool = true,
        _ field: @autoclosure () -> String
    ) -> WallTime {
        guard let time = unsafe time?.pointee else {
            if required { refuse(field, Wording.required) }
            return .epoch
        }
        guard unsafe Self.isInRange(time) else {
            refuse(field, Wording.time)
            return .epoch
        }
        return unsafe WallTime(milliseconds: time.seconds * 1_000 + Int64(time.nanos) / 1_000_000)
    }

    /// Checks a half-open period.
    mutating func period(
        _ start: UnsafeMutablePointer<Google__Protobuf__Timestamp>?,
        _ end: UnsafeMutablePointer<Google__Protobuf__Timestamp>?, _ field: String
    ) -> (start: WallTime, end: WallTime) {
        let first = unsafe time(start, "\(field).start_time")
        let last = unsafe time(end, "\(field).end_time")
        if unsafe start != nil, unsafe end != nil, last <= first {
            refuse({ "\(field).end_time" }, "must be after start_time")
        }
        return (first, last)
    }

    /// Checks an optional span and gives it in milliseconds; 0 when it is absent.
    mutating func duration(
        _ duration: UnsafeMutablePointer<Google__Protobuf__Duration>?, max: Int64?,
        _ field: @autoclosure () -> String
    ) -> Int64 {
        guard let duration = unsafe duration?.pointee else { return 0 }
        let seconds = unsafe duration.seconds
        let nanos = unsafe duration.nanos
        // The largest span that protobuf allows: 10,000 years.
        guard (0...315_576_000_000).contains(seconds), (0...999_999_999).contains(nanos) else {
            refuse(field, "must not be negative, with 0 to 999,999,999 nanoseconds")
            return 0
        }
        let milliseconds = seconds * 1_000 + Int64(nanos) / 1_000_000
        if let max, milliseconds > max {
            refuse(field, "must be at most \(max / 1_000) seconds")
            return 0
        }
        return milliseconds
    }

    private static func isInRange(_ time: Google__Protobuf__Timestamp) -> Bool {
        unsafe isInRange(seconds: time.seconds, nanos: Int64(time.nanos))
    }

    /// Between the years 1 and 9999.
    @inline(__always)
    static func isInRange(seconds: Int64, nanos: Int64) -> Bool {
        seconds >= -62_135_596_800 && seconds <= 253_402_300_799 && nanos >= 0
            && nanos <= 999_999_999
    }
}
