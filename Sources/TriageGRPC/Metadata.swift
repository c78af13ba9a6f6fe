// Rules for the names and values of metadata. HTTP/2 has already refused
// what RFC 9113 forbids; these are the rules that gRPC adds.

import TriageBase

/// One header or trailer field, owned.
package struct MetadataField: Equatable, Sendable {
    /// Lower-case name.
    package var name: [UInt8]
    /// The value as it stands on the wire.
    package var value: [UInt8]

    /// Groups a name and a value.
    package init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// Groups a name and a value given as text.
    package init(_ name: String, _ value: String) {
        self.init(name: Array(name.utf8), value: Array(value.utf8))
    }
}

/// Rules for metadata.
///
/// Source: gRPC PROTOCOL-HTTP2 "Custom-Metadata".
package enum Metadata {
    /// True for `1*( %x30-39 / %x61-7A / "_" / "-" / "." )`.
    package static func isValidName(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0 else { return false }
        for index in name.indices {
            switch name[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                continue
            default: return false
            }
        }
        return true
    }

    /// True for printable ASCII, the only bytes of a value that is not binary.
    package static func isValidASCIIValue(_ value: Span<UInt8>) -> Bool {
        for index in value.indices where value[index] < 0x20 || value[index] > 0x7E { return false }
        return true
    }

    /// True when the name ends in `-bin`: the value is base64.
    package static func isBinary(_ name: Span<UInt8>) -> Bool {
        let count = name.count
        return count > 4 && name[count - 4] == UInt8(ascii: "-")
            && name[count - 3] == UInt8(ascii: "b") && name[count - 2] == UInt8(ascii: "i")
            && name[count - 1] == UInt8(ascii: "n")
    }

    /// True when the name is gRPC's own and must not be set by an application.
    package static func isReserved(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0 else { return true }
        if name[0] == UInt8(ascii: ":") { return true }
        let reserved: [UInt8] = Array("grpc-".utf8)
        guard name.count >= reserved.count else { return false }
        return equal(name.extracting(first: reserved.count), reserved)
    }
}
