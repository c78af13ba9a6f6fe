// Header blocks to send, laid out once in the form that nghttp2 takes. Knows nothing of what they
// mean.

internal import CNghttp2

/// An immutable list of header fields, ready to be submitted any number of times.
///
/// Lists that never change (the headers and trailers of every good reply) are made once with
/// ``forever(_:)``: nghttp2 then refers to their bytes instead of copying them.
// Sendable: immutable after init; the pointers are to memory that only deinit frees.
@safe package final class HeaderFields: @unchecked Sendable {
    /// One field of a list.
    package struct Field {
        /// Lower case; pseudo-header fields come first.
        package var name: [UInt8]
        /// No CR, LF or NUL.
        package var value: [UInt8]
        /// Never put into a compression table, ours or an intermediary's.
        package var isSensitive: Bool

        /// Names and fills a field.
        package init(_ name: [UInt8], _ value: [UInt8], sensitive: Bool = false) {
            self.name = name
            self.value = value
            isSensitive = sensitive
        }

        /// Names and fills a field with text.
        package init(_ name: String, _ value: String, sensitive: Bool = false) {
            self.init(Array(name.utf8), Array(value.utf8), sensitive: sensitive)
        }
    }

    let count: Int
    /// It is never freed: nobody needs to hold on to it.
    let isForever: Bool
    let pointer: UnsafeMutablePointer<nghttp2_nv>
    private let bytes: UnsafeMutablePointer<UInt8>

    /// Lays out `fields`; nghttp2 copies them at every submission.
    package convenience init(_ fields: [Field]) {
        self.init(fields, flags: 0)
    }

    /// Lays out `fields` and keeps them until the process ends, so that no submission copies them.
    ///
    /// For a fixed number of lists made at start; each call leaks its list on purpose.
    package static func forever(_ fields: [Field]) -> HeaderFields {
        let kept = HeaderFields(
            fields,
            flags: UInt8(
                NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue))
        _ = unsafe Unmanaged.passRetained(kept)
        return kept
    }

    private init(_ fields: [Field], flags: UInt8) {
        count = fields.count
        isForever = flags != 0
        let total = fields.reduce(0) { $0 + $1.name.count + $1.value.count }
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, total))
        let pointer = UnsafeMutablePointer<nghttp2_nv>.allocate(capacity: max(1, fields.count))
        var at = unsafe bytes
        for (index, field) in fields.enumerated() {
            let name = unsafe at
            for byte in field.name {
                unsafe at.initialize(to: byte)
                unsafe at += 1
            }
            let value = unsafe at
            for byte in field.value {
                unsafe at.initialize(to: byte)
                unsafe at += 1
            }
            let noIndex = field.isSensitive ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0
            unsafe (pointer + index).initialize(
                to: nghttp2_nv(
                    name: name, value: value, namelen: field.name.count,
                    valuelen: field.value.count,
                    flags: flags | noIndex))
        }
        unsafe self.bytes = bytes
        unsafe self.pointer = pointer
    }

    deinit {
        unsafe pointer.deallocate()
        unsafe bytes.deallocate()
    }
}
