// Certificates, keys, trust bundles and revocation lists of the doors: loads them, loads them again
// when their files change, and says early when one is about to run out. Knows nothing of who may do
// what.

internal import Logging
internal import TriageBase
internal import TriageGRPC
internal import TriageIO
internal import TriageTLS

/// What the metrics show of it.
struct TrustStatus: Sendable {
    /// The server's certificate.
    var certificate: TLSValidity
    /// The revocation list that is due first; nil without lists.
    var revocationList: TLSValidity?
    /// Loaded again since the start.
    var reloads: UInt64 = 0
    /// Tries that left the old ones in force.
    var failures: UInt64 = 0
}

/// The TLS side of all doors; used by the main thread.
final class Trust {
    let status: Published<TrustStatus>
    private let doors: [ServeConfiguration.Door]
    private let log: Logger
    private var watch: FileWatch
    /// When the last try failed; nil when it did not.
    private var failedAt: MonotonicTime?
    private var alarms: [String: (level: TLSAlarm, at: WallTime)] = [:]

    /// Loads everything for the first time.
    ///
    /// - Returns: Itself, and a context for each door.
    /// - Throws: ``ConfigurationError`` saying which file cannot be used.
    static func load(
        _ doors: [ServeConfiguration.Door], _ log: Logger
    ) throws(ConfigurationError) -> (Trust, [TLSContext]) {
        // Taken before the files are read: a change in between is seen at the next look.
        let watch = FileWatch(doors.flatMap(\.tls.files))
        do throws(TLSError) {
            let contexts = try contexts(doors)
            return (Trust(doors, log, watch, contexts), contexts)
        } catch {
            throw ConfigurationError(error)
        }
    }

    private init(
        _ doors: [ServeConfiguration.Door], _ log: Logger, _ watch: FileWatch,
        _ contexts: [TLSContext]
    ) {
        self.doors = doors
        self.log = log
        self.watch = watch
        status = Published(
            TrustStatus(
                certificate: contexts[0].certificateValidity,
                revocationList: Self.firstDue(contexts)))
    }

    private static func contexts(
        _ doors: [ServeConfiguration.Door]
    ) throws(TLSError) -> [TLSContext] {
        var contexts: [TLSContext] = []
        for door in doors { contexts.append(try TLSContext(door.tls)) }
        return contexts
    }

    private static func firstDue(_ contexts: [TLSContext]) -> TLSValidity? {
        contexts.compactMap(\.revocationValidity).min { $0.until < $1.until }
    }

    /// Whether to load again: a file was replaced or written, and has not changed since the last
    /// look; or the last try failed some time ago, for a reason that may have passed.
    func isDue(at now: MonotonicTime) -> Bool {
        if watch.settled() { return true }
        guard let failedAt else { return false }
        return now.nanoseconds(since: failedAt) >= Self.retryNanoseconds
    }

    private static let retryNanoseconds: UInt64 = 10_000_000_000

    /// Loads all files again; the old ones stay when one of the new cannot be used.
    ///
    /// - Parameter now: When that is.
    /// - Returns: The new contexts, by door; nil when the old ones stay.
    func reload(at now: MonotonicTime) -> [TLSContext]? {
        var next = status.current
        defer { status.replace(next) }
        do throws(TLSError) {
            let contexts = try Self.contexts(doors)
            next.certificate = contexts[0].certificateValidity
            next.revocationList = Self.firstDue(contexts)
            next.reloads += 1
            failedAt = nil
            log.info("certificates reloaded")
            return contexts
        } catch {
            next.failures += 1
            failedAt = now
            log.error(
                "certificates not reloaded; the old ones stay", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Logs what is about to run out: when that begins, and once an hour.
    func warn(at now: WallTime) {
        let status = status.current
        warn("certificate", status.certificate, at: now)
        if let list = status.revocationList { warn("crl", list, at: now) }
    }

    private func warn(_ name: String, _ validity: TLSValidity, at now: WallTime) {
        let level = validity.alarm(at: now)
        let last = alarms[name] ?? (.none, .epoch)
        let isDue = now.milliseconds - last.at.milliseconds >= Self.repeatMilliseconds
        guard level != last.level || level != .none && isDue else { return }
        alarms[name] = (level, now)
        let metadata: Logger.Metadata = [
            "what": "\(name)", "until": "\(Timestamp.rfc3339(validity.until))",
        ]
        switch level {
        case .none: log.info("renewed in time", metadata: metadata)
        case .soon: log.warning("runs out soon; renew it", metadata: metadata)
        case .past: log.critical("has run out: clients are refused", metadata: metadata)
        }
    }

    private static let repeatMilliseconds: Int64 = 3_600_000
}
