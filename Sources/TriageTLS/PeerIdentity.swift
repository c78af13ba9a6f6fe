// Who a certificate says its holder is: SPIFFE X509-SVID rules first, a DNS name second, a subject
// never. Works on a certificate whose chain was verified; knows nothing of policy.

internal import COpenSSL
internal import TriageBase

/// The identity in a leaf certificate.
enum PeerIdentity: Equatable {
    case principal(Principal)
    case refused(PeerRefusal)

    /// Reads the identity of a client's leaf.
    ///
    /// Source: SPIFFE X509-SVID §3.1 (SPIFFE ID), §4 (constraints and usage).
    static func of(_ certificate: OpaquePointer) -> PeerIdentity {
        let flags = unsafe X509_get_extension_flags(certificate)
        // UInt32.max when the extension is absent.
        let usage = unsafe X509_get_key_usage(certificate)
        let purposes = unsafe X509_get_extended_key_usage(certificate)
        guard flags & UInt32(EXFLAG_INVALID) == 0 else { return .refused(.wrongUsage) }
        guard flags & UInt32(EXFLAG_CA) == 0 else { return .refused(.wrongUsage) }
        guard usage & UInt32(KU_DIGITAL_SIGNATURE) != 0 else { return .refused(.wrongUsage) }
        guard purposes & UInt32(XKU_SSL_CLIENT) != 0 else { return .refused(.wrongUsage) }

        var names = SubjectNames()
        guard unsafe names.read(certificate) else { return .refused(.invalidIdentity) }
        if names.uriCount > 0 {
            guard names.uriCount == 1, isWorkloadID(names.uri) else {
                return .refused(.invalidIdentity)
            }
            // A SPIFFE ID without keyUsage, or of a signing key, is not a workload's.
            guard flags & UInt32(EXFLAG_KUSAGE) != 0,
                usage & UInt32(KU_KEY_CERT_SIGN | KU_CRL_SIGN) == 0,
                flags & UInt32(EXFLAG_XKUSAGE) != 0
            else { return .refused(.wrongUsage) }
            return .principal(Principal(spiffeID: String(decoding: names.uri, as: UTF8.self)))
        }
        guard names.hasDNS else { return .refused(.noIdentity) }
        guard isHostName(names.dns) else { return .refused(.invalidIdentity) }
        return .principal(Principal(dnsName: String(decoding: names.dns, as: UTF8.self)))
    }

    /// True for `spiffe://trust-domain/path` as the specification allows it for a workload.
    ///
    /// Source: SPIFFE-ID §2.1 to §2.4: at most 2048 bytes; trust domain of a-z 0-9 . - _; path
    /// segments of letters, digits, . - _, none empty, `.` or `..`; nothing else, no
    /// percent-encoding.
    static func isWorkloadID(_ uri: [UInt8]) -> Bool {
        let scheme = Array("spiffe://".utf8)
        guard uri.count <= 2_048, uri.starts(with: scheme) else { return false }
        let parts = uri[scheme.count...].split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count >= 2, let domain = parts.first, !domain.isEmpty, domain.count <= 255
        else {
            return false
        }
        guard domain.allSatisfy({ isNameByte($0) && !isUpper($0) }) else { return false }
        return parts.dropFirst().allSatisfy { segment in
            !segment.isEmpty && segment.allSatisfy(isNameByte)
                && !segment.elementsEqual(".".utf8) && !segment.elementsEqual("..".utf8)
        }
    }

    /// True for a plain host name: no wildcard, no NUL, no trailing dot.
    static func isHostName(_ name: [UInt8]) -> Bool {
        guard !name.isEmpty, name.count <= 253 else { return false }
        return name.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy
        {
            !$0.isEmpty && $0.count <= 63
                && $0.allSatisfy { isNameByte($0) && $0 != UInt8(ascii: ".") }
        }
    }

    private static func isUpper(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

/// The subject alternative names of a certificate, as far as identity needs them.
private struct SubjectNames {
    var uriCount = 0
    var uri: [UInt8] = []
    var hasDNS = false
    var dns: [UInt8] = []

    /// Reads the extension; false when it is there and cannot be decoded, or is there twice.
    mutating func read(_ certificate: OpaquePointer) -> Bool {
        var critical: Int32 = 0
        guard let raw = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nil)
        else {
            // -1: absent. Otherwise undecodable (-1 is not set) or present twice (-2).
            return critical == -1
        }
        let names = OpaquePointer(raw)
        defer { unsafe GENERAL_NAMES_free(names) }
        for index in 0..<max(0, unsafe OPENSSL_sk_num(names)) {
            guard let item = unsafe OPENSSL_sk_value(names, index) else { continue }
            let name = unsafe item.assumingMemoryBound(to: GENERAL_NAME.self)
            switch unsafe name.pointee.type {
            case GEN_URI:
                uriCount += 1
                if uriCount == 1 {
                    unsafe uri = Self.bytes(name.pointee.d.uniformResourceIdentifier)
                }
            case GEN_DNS where !hasDNS:
                hasDNS = true
                unsafe dns = Self.bytes(name.pointee.d.dNSName)
            default: break
            }
        }
        return true
    }

    private static func bytes(_ string: UnsafeMutablePointer<ASN1_IA5STRING>?) -> [UInt8] {
        guard let string = unsafe string, let data = unsafe ASN1_STRING_get0_data(string) else {
            return []
        }
        return unsafe Array(
            UnsafeBufferPointer(start: data, count: Int(ASN1_STRING_length(string))))
    }
}
