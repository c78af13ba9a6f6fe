// When the names of servers are looked up: at first, and again after a failure, but not all the
// time. Pure. Who looks them up, and how, is not known here.

internal import TriageBase

/// The times of looking names up.
struct NameLookup {
    private let interval: UInt64
    private var backoff: Backoff
    /// Something has failed, or nothing is known yet.
    var isWanted = true
    private var isAsking = false
    private var notBefore = MonotonicTime(nanoseconds: 0)
    /// Why the last look failed; nil when it did not.
    private(set) var failure: String?

    init(interval: UInt64, backoff: Backoff.Shape) {
        self.interval = interval
        self.backoff = Backoff(backoff)
    }

    /// Whether to ask now; it is then asked.
    mutating func asks(_ now: MonotonicTime) -> Bool {
        guard isWanted, !isAsking, now >= notBefore else { return false }
        isWanted = false
        isAsking = true
        return true
    }

    /// The names were looked up.
    mutating func answered(_ now: MonotonicTime) {
        isAsking = false
        failure = nil
        backoff.reset()
        notBefore = now.advanced(byNanoseconds: interval)
    }

    /// They could not be.
    mutating func failed(_ reason: String, _ now: MonotonicTime, _ random: inout SeededRandom) {
        isAsking = false
        isWanted = true
        failure = reason
        notBefore = now.advanced(byNanoseconds: backoff.pause(&random))
    }

    /// After a long silence nothing is known to fail.
    mutating func wake() {
        failure = nil
        notBefore = MonotonicTime(nanoseconds: 0)
    }

    /// When it may want to ask.
    var nextLook: MonotonicTime { isWanted && !isAsking ? notBefore : .never }
}

/// Puts the addresses of one name into the order in which they are tried: the families take turns,
/// so that one that does not work costs one attempt.
///
/// Source: RFC 8305 §4.
func interleaved(_ addresses: [String]) -> [String] {
    guard let first = addresses.first else { return [] }
    let isSix = first.contains(":")
    let preferred = addresses.filter { $0.contains(":") == isSix }
    let other = addresses.filter { $0.contains(":") != isSix }
    var out: [String] = []
    for index in 0..<max(preferred.count, other.count) {
        if index < preferred.count { out.append(preferred[index]) }
        if index < other.count { out.append(other[index]) }
    }
    return out
}
