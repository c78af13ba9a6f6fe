// Times in certificates and revocation lists, and the time to judge them by.

internal import COpenSSL
internal import CTriageShims
internal import TriageBase

extension WallTime {
    /// The machine's clock, to the second, as OpenSSL reads it.
    static func machine() -> WallTime { WallTime(milliseconds: CTriageShims_time() * 1_000) }

    /// An ASN.1 time; ``WallTime/epoch``, which is long past, when it cannot be read.
    init(asn1 time: UnsafePointer<ASN1_TIME>?) {
        self = .epoch
        guard let time = unsafe time, let start = unsafe ASN1_TIME_set(nil, 0) else { return }
        defer { unsafe ASN1_STRING_free(start) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard unsafe ASN1_TIME_diff(&days, &seconds, start, time) == 1 else { return }
        self = WallTime(milliseconds: (Int64(days) * 86_400 + Int64(seconds)) * 1_000)
    }
}
