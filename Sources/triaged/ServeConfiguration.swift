// The daemon's settings as values: every text checked, with the setting's name in each error.

internal import TriageBase
internal import TriageGRPC
internal import TriageIO
internal import TriageJournal
internal import TriageTLS

/// What `serve` needs to know.
struct ServeConfiguration {
    var dataDirectory: String
    /// The first is for everybody who is not sent to another.
    var doors: [Door]
    var admin: Endpoint
    var policyPath: String
    var reactorCount: Int
    var connectionAgeMilliseconds: Int64
    var identityCallsPerSecond: Int
    var snapshotRecords: UInt64
    var snapshotMilliseconds: Int64
    var headMilliseconds: Int64
    var drainWaitMilliseconds: Int64
    var snapshotsKept: Int
    var journalRetention: JournalRetention
    var keys: KeyMaterial
    var logLevel: LogLevel

    /// One address to serve on.
    struct Door {
        var audience: Audience
        var listen: Endpoint
        var tls: TLSConfiguration
        /// Sockets that are open already, instead of the address.
        var inherited: [InheritedSocket]

        /// The name under which its sockets are left to a successor.
        var nameOfSockets: String { "\(audience)@\(listen)" }

        /// Whether the service manager holds its socket.
        var isManagers: Bool { inherited.contains { $0.origin == .manager } }

        /// Whether a predecessor has left the socket for this door.
        func hasLeft(_ socket: InheritedSocket) -> Bool {
            socket.origin == .predecessor && socket.name == nameOfSockets
        }
    }

    /// What a rehearsal calls the address of the admin port.
    var nameOfAdmin: String { "admin@\(admin)" }

    /// How much is logged.
    enum LogLevel: String, CaseIterable {
        case debug, info, warning, error
    }

    /// Checks the texts.
    ///
    /// - Throws: `ConfigurationError` naming the setting and where it came from.
    init(
        _ values: [Setting: SettingValue], inherited: [InheritedSocket] = []
    ) throws(ConfigurationError) {
        let reader = SettingReader(values: values)
        dataDirectory = try reader.text(.data)
        admin = try reader.endpoint(.admin)
        guard ["127.0.0.1", "::1", "localhost"].contains(admin.host) else {
            throw reader.wrong(.admin, "must be on loopback: it is plaintext and not authenticated")
        }
        doors = try reader.doors(inherited)
        policyPath = try reader.text(.policy)
        reactorCount = Int(try reader.number(.reactors, 1...64))
        connectionAgeMilliseconds = try reader.number(.connectionAge, 1...604_800) * 1_000
        identityCallsPerSecond = Int(try reader.number(.identityCalls, 1_000...100_000_000))
        snapshotRecords = UInt64(try reader.number(.snapshotRecords, 1...1_000_000_000))
        snapshotMilliseconds = try reader.number(.snapshotMinutes, 1...10_080) * 60_000
        headMilliseconds = try reader.number(.headSeconds, 1...86_400) * 1_000
        drainWaitMilliseconds = try reader.number(.drainWait, 0...60) * 1_000
        snapshotsKept = Int(try reader.number(.snapshotsKept, 1...64))
        journalRetention = try Self.retention(reader, data: dataDirectory)
        keys = try reader.keyMaterial(data: dataDirectory)
        guard let level = LogLevel(rawValue: try reader.text(.logLevel)) else {
            throw reader.wrong(.logLevel, "must be debug, info, warning or error")
        }
        logLevel = level
    }

    /// Closes what a predecessor has left and no door has a use for: its address is free again.
    func close(others inherited: [InheritedSocket]) {
        for socket in inherited
        where socket.origin == .predecessor && !doors.contains(where: { $0.hasLeft(socket) }) {
            // Dropped as soon as it is taken.
            _ = try? socket.open()
        }
    }

    private static func retention(
        _ reader: SettingReader, data: String
    ) throws(ConfigurationError) -> JournalRetention {
        var archive = try reader.text(.journalArchive)
        while archive.count > 1, archive.hasSuffix("/") { archive.removeLast() }
        let word = try reader.text(.journalRetention)
        guard word == "archive" || archive.isEmpty else {
            throw reader.wrong(.journalArchive, "goes with journal-retention archive only")
        }
        switch word {
        case "keep": return .keep
        case "remove": return .remove
        case "archive":
            guard !archive.isEmpty else {
                throw reader.wrong(.journalRetention, "archive needs journal-archive, a folder")
            }
            // The server would refuse its own directory for a folder that is none of its files.
            guard !ResolvedPath(data).contains(ResolvedPath(archive)) else {
                throw reader.wrong(.journalArchive, "must be outside the data folder")
            }
            return .archive(archive)
        default: throw reader.wrong(.journalRetention, "must be keep, archive or remove")
        }
    }
}

/// Reads settings as values.
struct SettingReader {
    let values: [Setting: SettingValue]

    func wrong(_ setting: Setting, _ what: String) -> ConfigurationError {
        let source = values[setting].map { " (from the \($0.source.rawValue))" } ?? ""
        return ConfigurationError("\(setting.rawValue)\(source): \(what)")
    }

    func text(_ setting: Setting) throws(ConfigurationError) -> String {
        guard let value = values[setting] else {
            throw ConfigurationError(
                "\(setting.rawValue) is missing: give --\(setting.rawValue),"
                    + " \(setting.environmentName), or \(setting.rawValue) in the --config file")
        }
        return value.text
    }

    func endpoint(_ setting: Setting) throws(ConfigurationError) -> Endpoint {
        guard let endpoint = Endpoint(try text(setting)) else {
            throw wrong(setting, "must be HOST:PORT, such as 127.0.0.1:8443")
        }
        return endpoint
    }

    func number(
        _ setting: Setting, _ range: ClosedRange<Int64>
    ) throws(ConfigurationError) -> Int64 {
        guard let number = Int64(try text(setting)), range.contains(number) else {
            throw wrong(
                setting, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
