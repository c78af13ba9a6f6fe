// `grpc-status-details-bin`: google.rpc.Status with ErrorInfo, BadRequest and RetryInfo, both ways,
// without a protobuf library and within bounds. Knows nothing of headers or base64.
//
// Source: google/rpc/status.proto, google/rpc/error_details.proto, google/protobuf/any.proto.

import TriageBase

/// Encodes and decodes the typed details of an error.
package enum StatusDetails {
    /// `google.rpc.ErrorInfo.domain` of every error of this service.
    package static let domain = "triaged.v1"
    /// Longest message inside the details, in bytes of UTF-8.
    static let messageBytesMax = 1 << 10
    private static let typePrefix = "type.googleapis.com/google.rpc."

    /// Encodes an error as google.rpc.Status.
    ///
    /// What does not fit is left out from the end: field violations first, then metadata. ErrorInfo
    /// with its reason is always there.
    ///
    /// - Returns: At most `bytesMax` bytes.
    package static func encode(
        _ error: RPCError, bytesMax: Int = Limits.statusDetailsBytesMax
    ) -> [UInt8] {
        var violations = error.fieldViolations[...]
        var metadata = error.metadata.sorted { $0.key < $1.key }[...]
        while true {
            let bytes = encode(error, metadata, violations)
            if bytes.count <= bytesMax || (violations.isEmpty && metadata.isEmpty) { return bytes }
            if violations.isEmpty {
                metadata = metadata.dropLast(max(1, metadata.count / 2))
            } else {
                violations = violations.dropLast(max(1, violations.count / 4))
            }
        }
    }

    private static func encode(
        _ error: RPCError, _ metadata: ArraySlice<(key: String, value: String)>,
        _ violations: ArraySlice<FieldViolation>
    ) -> [UInt8] {
        var status = ProtoWriter()
        status.varint(1, UInt64(error.code.rawValue))
        status.text(2, truncated(error.message, messageBytesMax))
        status.message(3) { any in
            any.text(1, typePrefix + "ErrorInfo")
            any.message(2) { info in
                info.text(1, error.reason)
                info.text(2, domain)
                for (key, value) in metadata {
                    info.message(3) { entry in
                        entry.text(1, key)
                        entry.text(2, value)
                    }
                }
            }
        }
        if !violations.isEmpty {
            status.message(3) { any in
                any.text(1, typePrefix + "BadRequest")
                any.message(2) { request in
                    for violation in violations {
                        request.message(1) { field in
                            field.text(1, violation.field)
                            field.text(2, violation.description)
                        }
                    }
                }
            }
        }
        if let delay = error.retryAfterMilliseconds {
            status.message(3) { any in
                any.text(1, typePrefix + "RetryInfo")
                any.message(2) { retry in
                    retry.message(1) { duration in
                        duration.varint(1, UInt64(max(0, delay) / 1_000))
                        duration.varint(2, UInt64(max(0, delay) % 1_000 * 1_000_000))
                    }
                }
            }
        }
        return status.bytes
    }

    /// Fills the typed parts of an error from the details that came with it.
    ///
    /// Unknown and malformed parts are skipped: details are a help, the status code is the
    /// contract.
    package static func decode(_ bytes: [UInt8], into error: inout RPCError) {
        var status = ProtoReader(bytes, 0..<bytes.count)
        while let (field, value) = status.next() {
            guard field == 3, case .bytes(let range) = value else { continue }
            var any = status.reader(range)
            var type = ""
            var body: ProtoReader?
            while let (field, value) = any.next() {
                guard case .bytes(let range) = value else { continue }
                if field == 1 { type = any.text(range) }
                if field == 2 { body = any.reader(range) }
            }
            guard let body else { continue }
            switch type {
            case typePrefix + "ErrorInfo": decodeErrorInfo(body, &error)
            case typePrefix + "BadRequest": decodeBadRequest(body, &error)
            case typePrefix + "RetryInfo": decodeRetryInfo(body, &error)
            default: continue
            }
        }
    }

    private static func decodeErrorInfo(_ reader: ProtoReader, _ error: inout RPCError) {
        var reader = reader
        while let (field, value) = reader.next() {
            guard case .bytes(let range) = value else { continue }
            if field == 1 { error.reason = reader.text(range) }
            if field == 3 {
                let (key, text) = decodePair(reader.reader(range))
                error.metadata[key] = text
            }
        }
    }

    private static func decodeBadRequest(_ reader: ProtoReader, _ error: inout RPCError) {
        var reader = reader
        while let (field, value) = reader.next() {
            guard field == 1, case .bytes(let range) = value else { continue }
            let (path, description) = decodePair(reader.reader(range))
            error.fieldViolations.append(FieldViolation(field: path, description: description))
        }
    }

    private static func decodeRetryInfo(_ reader: ProtoReader, _ error: inout RPCError) {
        var reader = reader
        guard let (field, value) = reader.next(), field == 1, case .bytes(let range) = value else {
            return
        }
        var duration = reader.reader(range)
        var milliseconds: Int64 = 0
        while let (field, value) = duration.next() {
            guard case .varint(let number) = value, let count = Int64(exactly: number) else {
                continue
            }
            // A day is more than any retry delay that means something; it also bounds the sum.
            if field == 1 { milliseconds += min(count, 86_400) * 1_000 }
            if field == 2 { milliseconds += min(count, 999_999_999) / 1_000_000 }
        }
        error.retryAfterMilliseconds = milliseconds
    }

    /// Fields 1 and 2 of a message as text: a map entry, or a field violation.
    private static func decodePair(_ reader: ProtoReader) -> (String, String) {
        var reader = reader
        var first = ""
        var second = ""
        while let (field, value) = reader.next() {
            guard case .bytes(let range) = value else { continue }
            if field == 1 { first = reader.text(range) }
            if field == 2 { second = reader.text(range) }
        }
        return (first, second)
    }

    private static func truncated(_ text: String, _ bytesMax: Int) -> String {
        guard text.utf8.count > bytesMax else { return text }
        var out = String.UnicodeScalarView()
        var count = 0
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            if count > bytesMax { break }
            out.append(scalar)
        }
        return String(out)
    }
}
