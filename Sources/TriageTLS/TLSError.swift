// Everything that can go wrong in TLS, in words for whoever runs the service. No text here names a
// peer's subject, address or key.

package import TriageBase

/// Why TLS configuration could not be loaded, or why a session ended.
package enum TLSError: Error, Equatable, Sendable {
    // MARK: Configuration

    /// A file is missing or unreadable; `reason` is the system's.
    case fileUnreadable(path: String, reason: String)
    /// A file was read and does not hold what it should.
    case fileInvalid(path: String, reason: String)
    /// Others than its owner and group may use the private key; `mode` is the file's.
    case privateKeyExposed(path: String, mode: UInt16)
    /// The private key does not belong to the certificate.
    case keyMismatch(certificate: String, privateKey: String)
    /// Our own certificate has expired.
    case certificateExpired(path: String, notAfter: WallTime)
    /// Our own certificate is not valid yet.
    case certificateNotYetValid(path: String, notBefore: WallTime)
    /// The revocation list is past its next update: every peer would be refused.
    case revocationListExpired(path: String, nextUpdate: WallTime)
    /// The revocation list is of a time to come: until then every peer would be refused.
    case revocationListNotYetValid(path: String, thisUpdate: WallTime)

    // MARK: Sessions

    /// The peer's certificate was refused; the alert waits in the output.
    case peerRefused(PeerRefusal)
    /// The peer ended the handshake or the session with this alert.
    case alertReceived(String)
    /// The handshake failed for another reason, OpenSSL's words.
    case handshakeFailed(String)
    /// The peer broke the protocol after the handshake, OpenSSL's words.
    case protocolViolation(String)
    /// The peer does not offer `h2`.
    case noCommonProtocol
    /// The peer changed keys more often than a session may.
    case tooManyKeyUpdates
    /// Memory ran out, or OpenSSL could not be set up.
    case unavailable(String)
}

/// What is wrong with a peer's certificate.
package enum PeerRefusal: Equatable, Sendable {
    /// None was presented where one is required.
    case missing
    /// Its chain leads to no authority that we trust.
    case untrusted
    /// Its chain has more certificates, or more bytes, than allowed.
    case chainTooLong
    /// It, or one of its chain, has expired.
    case expired
    /// It, or one of its chain, is not valid yet.
    case notYetValid
    /// It, or one of its chain, was revoked.
    case revoked
    /// No current revocation list says that it is not revoked.
    case revocationUnknown
    /// It may not be used for this purpose: not a leaf, or lacks digitalSignature or clientAuth.
    case wrongUsage
    /// It has no SPIFFE ID and no DNS name.
    case noIdentity
    /// It has several URIs, or one that is no SPIFFE ID of a workload.
    case invalidIdentity
    /// It is for another server name.
    case wrongName
    /// It is damaged or refused for another reason; X509_V_ERR code.
    case other(Int32)
}

extension TLSError {
    /// What was refused is good later, as it is: when our clock has caught up with its issuer's.
    package var passesWithTime: Bool {
        switch self {
        case .certificateNotYetValid, .revocationListNotYetValid: true
        default: false
        }
    }
}

extension TLSError: CustomStringConvertible {
    /// What failed and what to do about it, for the operator.
    package var description: String {
        switch self {
        case .fileUnreadable(let path, let reason): "cannot read \(path): \(reason)"
        case .fileInvalid(let path, let reason): "\(path) is not usable: \(reason)"
        case .privateKeyExposed(let path, let mode):
            "private key \(path) is open to everyone (mode \(String(mode, radix: 8))): "
                + "remove the permissions of others, as with chmod 0640"
        case .keyMismatch(let certificate, let privateKey):
            "private key \(privateKey) does not belong to certificate \(certificate)"
        case .certificateExpired(let path, let notAfter):
            "certificate \(path) expired on \(dateText(notAfter)): install a new one"
        case .certificateNotYetValid(let path, let notBefore):
            "certificate \(path) is not valid before \(dateText(notBefore)): check the clock"
        case .revocationListExpired(let path, let nextUpdate):
            "revocation list \(path) was due for an update on \(dateText(nextUpdate)): "
                + "install a new one"
        case .revocationListNotYetValid(let path, let thisUpdate):
            "revocation list \(path) is not valid before \(dateText(thisUpdate)): check the clock"
        case .peerRefused(let refusal): "the peer's certificate was refused: \(refusal)"
        case .alertReceived(let reason): "the peer ended TLS: \(reason)"
        case .handshakeFailed(let reason): "TLS handshake failed: \(reason)"
        case .protocolViolation(let reason): "TLS protocol violation: \(reason)"
        case .noCommonProtocol: "the peer does not offer HTTP/2 (ALPN h2)"
        case .tooManyKeyUpdates: "the peer changed TLS keys too often"
        case .unavailable(let reason): "TLS is not available: \(reason)"
        }
    }
}

extension PeerRefusal: CustomStringConvertible {
    /// The reason in words that a log or a metric label may carry.
    package var description: String {
        switch self {
        case .missing: "none was presented"
        case .untrusted: "its issuer is not trusted"
        case .chainTooLong: "its chain is too long"
        case .expired: "it has expired"
        case .notYetValid: "it is not valid yet"
        case .revoked: "it was revoked"
        case .revocationUnknown: "no current revocation list covers it"
        case .wrongUsage: "it is not meant for this use"
        case .noIdentity: "it has neither a SPIFFE ID nor a DNS name"
        case .invalidIdentity: "its URI is not exactly one SPIFFE ID"
        case .wrongName: "it is for another server name"
        case .other(let code): "verification error \(code)"
        }
    }
}

extension PeerRefusal {
    /// What metrics call the reasons, in the order of ``index``.
    package static let labels = [
        "missing", "untrusted", "chain_too_long", "expired", "not_yet_valid", "revoked",
        "revocation_unknown", "wrong_usage", "no_identity", "invalid_identity", "wrong_name",
        "other",
    ]

    /// Its place among ``labels``.
    package var index: Int {
        switch self {
        case .missing: 0
        case .untrusted: 1
        case .chainTooLong: 2
        case .expired: 3
        case .notYetValid: 4
        case .revoked: 5
        case .revocationUnknown: 6
        case .wrongUsage: 7
        case .noIdentity: 8
        case .invalidIdentity: 9
        case .wrongName: 10
        case .other: 11
        }
    }
}

/// `2031-05-04T23:59:59Z`, for error texts.
private func dateText(_ time: WallTime) -> String {
    let seconds = time.milliseconds.quotientAndRemainder(dividingBy: 1_000).quotient
    var days = seconds / 86_400
    var rest = seconds % 86_400
    if rest < 0 {
        rest += 86_400
        days -= 1
    }
    // Days to a civil date: years counted from March, eras of 400 years.
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return
        "\(year)-\(two(month))-\(two(day))"
        + "T\(two(rest / 3_600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
}
