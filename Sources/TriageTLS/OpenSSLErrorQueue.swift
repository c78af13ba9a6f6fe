// OpenSSL's per-thread error queue: cleared before every SSL call, drained after a failed one, so
// that no call is ever blamed for an earlier one's failure.

internal import COpenSSL

/// The calling thread's error queue.
enum OpenSSLErrorQueue {
    /// Forgets everything; mostly there is nothing, and to look costs a fifth of emptying all the
    /// places of the queue.
    @inline(__always)
    static func clear() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    /// One entry, decoded.
    struct Entry {
        var reason: Int32
        var text: String
        /// True when the entry records an alert that the peer sent.
        var isPeerAlert: Bool
    }

    /// Takes all entries; returns the oldest one, which is the cause.
    static func drain() -> Entry? {
        let first = ERR_get_error()
        guard first != 0 else { return nil }
        defer { ERR_clear_error() }
        let reason = Int32(truncatingIfNeeded: ERR_GET_REASON(first))
        var text = "error \(first)"
        if let words = unsafe ERR_reason_error_string(first) {
            text = unsafe String(cString: words)
        }
        // Alerts that a peer sent are reasons 1000 + alert number.
        return Entry(reason: reason, text: text, isPeerAlert: reason >= SSL_AD_REASON_OFFSET)
    }

    /// Takes all entries; the cause in words.
    static func drainText() -> String { drain()?.text ?? "no reason given" }
}
