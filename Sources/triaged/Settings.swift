// Where the daemon's configuration comes from: flag over environment over file over default. One
// table names every setting, so that the three sources and their documentation cannot drift apart.

internal import ArgumentParser
internal import TriageBase
internal import TriageIO
internal import TriageTLS
internal import Yams

/// A setting of the daemon.
enum Setting: String, CaseIterable {
    case data
    case listen
    case admin
    case cert
    case key
    case clientCA = "client-ca"
    case crl
    case policy
    case clientCertificates = "client-certificates"
    case partnerListen = "partner-listen"
    case partnerClientCA = "partner-client-ca"
    case partnerCRL = "partner-crl"
    case partnerCertificates = "partner-client-certificates"
    case externalListen = "external-listen"
    case externalClientCA = "external-client-ca"
    case externalCRL = "external-crl"
    case externalCertificates = "external-client-certificates"
    case reactors
    case connectionAge = "connection-age-seconds"
    case identityCalls = "identity-calls-per-second"
    case snapshotRecords = "snapshot-records"
    case snapshotMinutes = "snapshot-minutes"
    case headSeconds = "head-seconds"
    case drainWait = "drain-wait-seconds"
    case snapshotsKept = "snapshots-kept"
    case journalRetention = "journal-retention"
    case journalArchive = "journal-archive"
    case keyFile = "key-file"
    case keyCommand = "key-command"
    case previousKeyFile = "previous-key-file"
    case logLevel = "log-level"

    /// The environment variable, such as `TRIAGED_CLIENT_CA`.
    var environmentName: String {
        "TRIAGED_" + rawValue.uppercased().replacing("-", with: "_")
    }

    /// The value when no source gives one; nil where one must be given.
    var defaultValue: String? {
        switch self {
        case .listen: "127.0.0.1:8443"
        case .admin: "127.0.0.1:8444"
        case .crl, .journalArchive, .keyFile, .keyCommand, .previousKeyFile: ""
        case .partnerListen, .partnerClientCA, .partnerCRL: ""
        case .externalListen, .externalClientCA, .externalCRL: ""
        case .clientCertificates, .partnerCertificates, .externalCertificates: "required"
        case .reactors: "1"
        case .connectionAge: String(Limits.ageMillisecondsMax / 1_000)
        case .identityCalls: String(Limits.callsPerSecondPerIdentity)
        case .snapshotRecords: "2000000"
        case .snapshotMinutes: "60"
        case .headSeconds: "300"
        case .drainWait: "0"
        case .snapshotsKept: "2"
        case .journalRetention: "keep"
        case .logLevel: "info"
        case .data, .cert, .key, .clientCA, .policy: nil
        }
    }
}

/// A setting's value and where it came from.
struct SettingValue {
    /// Which source gave it.
    enum Source: String {
        case flag, environment, file, `default`
    }
    var text: String
    var source: Source
}

/// Why the configuration cannot be used, in words for whoever wrote it.
struct ConfigurationError: Error, CustomStringConvertible {
    let description: String
    /// What the process ends with: 78, or 74 for what may be right at the next try.
    let exitCode: Int32

    init(_ description: String, exitCode: Int32 = 78) {
        self.description = description
        self.exitCode = exitCode
    }

    /// What is wrong with a file of TLS; what is good later is not final.
    init(_ error: TLSError) {
        self.init("\(error)", exitCode: error.passesWithTime ? 74 : 78)
    }
}

/// The flags that `serve` and `check-config` share.
struct SettingFlags: ParsableArguments {
    @Option(name: .customLong("data"), help: "Folder of the journal and the snapshots.")
    var data: String?
    @Option(help: "HOST:PORT to serve gRPC on; port 0 picks one.")
    var listen: String?
    @Option(help: "HOST:PORT for /livez, /readyz and /metrics: plaintext, loopback only.")
    var admin: String?
    @Option(help: "Server certificate chain, PEM.")
    var cert: String?
    @Option(help: "Its private key, PEM.")
    var key: String?
    @Option(
        name: .customLong("client-ca"),
        help: "Certificates that client certificates must chain to, PEM.")
    var clientCA: String?
    @Option(help: "Revoked client certificates, PEM. Checked for every client when given.")
    var crl: String?
    @Option(help: "Who may do what: YAML, read again on SIGHUP.")
    var policy: String?
    @Option(
        name: .customLong("client-certificates"),
        help: "required, or optional: then a client without one may call Health only.")
    var clientCertificates: String?
    @Option(
        name: .customLong("partner-listen"), help: "HOST:PORT of a door for partner teams alone.")
    var partnerListen: String?
    @Option(
        name: .customLong("partner-client-ca"),
        help: "Certificates that theirs must chain to, PEM.")
    var partnerClientCA: String?
    @Option(name: .customLong("partner-crl"), help: "Their revoked certificates, PEM.")
    var partnerCRL: String?
    @Option(
        name: .customLong("partner-client-certificates"),
        help: "required, or optional for health probes at that door.")
    var partnerCertificates: String?
    @Option(
        name: .customLong("external-listen"),
        help: "HOST:PORT of a door for external partners alone.")
    var externalListen: String?
    @Option(
        name: .customLong("external-client-ca"),
        help: "Certificates that theirs must chain to, PEM.")
    var externalClientCA: String?
    @Option(name: .customLong("external-crl"), help: "Their revoked certificates, PEM.")
    var externalCRL: String?
    @Option(
        name: .customLong("external-client-certificates"),
        help: "required, or optional for health probes at that door.")
    var externalCertificates: String?
    @Option(help: "Threads that serve connections.")
    var reactors: String?
    @Option(
        name: .customLong("connection-age-seconds"),
        help: "A connection that is so old is told to end; clients connect anew.")
    var connectionAge: String?
    @Option(
        name: .customLong("identity-calls-per-second"),
        help: "Calls that one identity may begin on each reactor; reports are not counted.")
    var identityCalls: String?
    @Option(name: .customLong("snapshot-records"), help: "Take a snapshot after this many records.")
    var snapshotRecords: String?
    @Option(name: .customLong("snapshot-minutes"), help: "Take a snapshot after this many minutes.")
    var snapshotMinutes: String?
    @Option(
        name: .customLong("head-seconds"),
        help: "Sign a head of the journal within so many seconds of a record.")
    var headSeconds: String?
    @Option(
        name: .customLong("drain-wait-seconds"),
        help: "A drain goes on accepting for so long after readiness is off.")
    var drainWait: String?
    @Option(name: .customLong("snapshots-kept"), help: "Keep this many snapshots.")
    var snapshotsKept: String?
    @Option(
        name: .customLong("journal-retention"),
        help: "Segments before the oldest kept snapshot: keep, archive or remove.")
    var journalRetention: String?
    @Option(
        name: .customLong("journal-archive"),
        help: "Folder outside --data that --journal-retention archive moves segments to.")
    var journalArchive: String?
    @Option(
        name: .customLong("key-file"),
        help: "File of the key that wraps the data's keys: mode 0600 or 0400, outside --data.")
    var keyFile: String?
    @Option(
        name: .customLong("key-command"),
        help: "Instead: a program, with its arguments, that writes the key to standard output.")
    var keyCommand: String?
    @Option(
        name: .customLong("previous-key-file"),
        help: "File of the key before, while the data's keys may still be wrapped by it.")
    var previousKeyFile: String?
    @Option(name: .customLong("log-level"), help: "debug, info, warning or error.")
    var logLevel: String?
    @Option(help: "Configuration file: YAML, the flags' names as keys.")
    var config: String?

    private func flag(_ setting: Setting) -> String? {
        switch setting {
        case .data: data
        case .listen: listen
        case .admin: admin
        case .cert: cert
        case .key: key
        case .clientCA: clientCA
        case .crl: crl
        case .policy: policy
        case .clientCertificates: clientCertificates
        case .partnerListen: partnerListen
        case .partnerClientCA: partnerClientCA
        case .partnerCRL: partnerCRL
        case .partnerCertificates: partnerCertificates
        case .externalListen: externalListen
        case .externalClientCA: externalClientCA
        case .externalCRL: externalCRL
        case .externalCertificates: externalCertificates
        case .reactors: reactors
        case .connectionAge: connectionAge
        case .identityCalls: identityCalls
        case .snapshotRecords: snapshotRecords
        case .snapshotMinutes: snapshotMinutes
        case .headSeconds: headSeconds
        case .drainWait: drainWait
        case .snapshotsKept: snapshotsKept
        case .journalRetention: journalRetention
        case .journalArchive: journalArchive
        case .keyFile: keyFile
        case .keyCommand: keyCommand
        case .previousKeyFile: previousKeyFile
        case .logLevel: logLevel
        }
    }

    /// Gathers every setting from its highest source.
    ///
    /// - Parameter environment: Looks up an environment variable.
    /// - Returns: A value for each setting that has one.
    /// - Throws: `ConfigurationError` when the file cannot be used.
    func resolve(
        environment: (String) -> String?
    ) throws(ConfigurationError) -> [Setting: SettingValue] {
        var values: [Setting: SettingValue] = [:]
        let path = config ?? environment("TRIAGED_CONFIG")
        let file =
            try path.map { path throws(ConfigurationError) in
                try SettingsFile.read(path: path)
            } ?? [:]
        for setting in Setting.allCases {
            if let text = flag(setting) {
                values[setting] = SettingValue(text: text, source: .flag)
            } else if let text = environment(setting.environmentName) {
                values[setting] = SettingValue(text: text, source: .environment)
            } else if let text = file[setting] {
                values[setting] = SettingValue(text: text, source: .file)
            } else if let text = setting.defaultValue {
                values[setting] = SettingValue(text: text, source: .default)
            }
        }
        return values
    }
}

/// The configuration file: a YAML mapping of settings to scalars.
enum SettingsFile {
    /// Reads and checks the file.
    ///
    /// - Throws: `ConfigurationError` naming file, line and column.
    static func read(path: String) throws(ConfigurationError) -> [Setting: String] {
        let root = try YAMLFile.compose(path: path)
        guard let mapping = root.mapping else {
            throw YAMLFile.problem(path, root, "expected a mapping of settings to values")
        }
        var values: [Setting: String] = [:]
        for (key, value) in mapping {
            guard let name = key.scalar?.string, let setting = Setting(rawValue: name) else {
                let known = Setting.allCases.map(\.rawValue).joined(separator: ", ")
                throw YAMLFile.problem(path, key, "unknown setting; known are \(known)")
            }
            guard let text = value.scalar?.string else {
                throw YAMLFile.problem(path, value, "\(name) takes one value")
            }
            if values.updateValue(text, forKey: setting) != nil {
                throw YAMLFile.problem(path, key, "\(name) is given twice")
            }
        }
        return values
    }
}

/// Reads YAML with errors that name line and column.
enum YAMLFile {
    /// Parses a file into a node tree.
    static func compose(path: String) throws(ConfigurationError) -> Node {
        let text: String
        do {
            text = try TextFile.read(path: path, bytesMax: 16 << 20)
        } catch {
            throw ConfigurationError("\(path): cannot be read: \(error)")
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw ConfigurationError("\(path):\(describe(error))")
        } catch {
            throw ConfigurationError("\(path): is not YAML")
        }
        guard let root else { throw ConfigurationError("\(path): is empty") }
        return root
    }

    /// An error at a node of a file.
    static func problem(_ path: String, _ node: Node, _ what: String) -> ConfigurationError {
        guard let mark = node.mark else { return ConfigurationError("\(path): \(what)") }
        return ConfigurationError("\(path):\(mark.line):\(mark.column): \(what)")
    }

    private static func describe(_ error: YamlError) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "\(mark.line):\(mark.column): \(problem)"
        case .duplicatedKeysInMapping(_, let context):
            "\(context.mark.line):\(context.mark.column): a key is given twice"
        default: " is not YAML"
        }
    }
}
