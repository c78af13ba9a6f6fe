// `triaged check-config`: reads everything that `serve` would read, changes nothing, and says what
// it found.

internal import ArgumentParser
internal import TriageBase
internal import TriageIO
internal import TriageJournal
internal import TriageServices
internal import TriageTLS
internal import TriageTransport

/// Checks the configuration.
struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check settings, certificates and policy, and show what is in force.")

    @OptionGroup var flags: SettingFlags

    mutating func run() throws {
        do {
            let values = try flags.resolve(environment: Environment.value)
            let configuration = try ServeConfiguration(
                values, inherited: Self.doorsOfTheManager(values))
            for setting in Setting.allCases {
                guard let value = values[setting] else { continue }
                let text = value.text.isEmpty ? "(none)" : value.text
                StandardStream.output.write(
                    "\(setting.rawValue): \(text)  (\(value.source.rawValue))\n")
            }
            StandardStream.output.write(try Self.keys(configuration) + "\n")
            let policy = try PolicyFile.read(path: configuration.policyPath)
            StandardStream.output.write("policy: \(policy.entries.count) principals\n")
            do throws(TLSError) {
                for door in configuration.doors {
                    let context = try TLSContext(door.tls)
                    let expiry = Timestamp.rfc3339(context.certificateNotAfter)
                    StandardStream.output.write(
                        "\(door.audience) certificate: valid until \(expiry)\n")
                }
            } catch {
                throw ConfigurationError(error)
            }
            if let held = Handover.toldInRehearsal() {
                try Self.checkAddresses(configuration, held: held)
            }
        } catch let error as ConfigurationError {
            StandardStream.error.write("triaged: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }

    /// Stand-ins for sockets that a service manager hands to `serve` and nobody to us: of the doors
    /// that have a trust bundle and no address.
    private static func doorsOfTheManager(_ values: [Setting: SettingValue]) -> [InheritedSocket] {
        func isGiven(_ setting: Setting) -> Bool {
            values[setting].map { !$0.text.isEmpty } ?? false
        }
        let doors: [(String, Setting, Setting)] = [
            ("partner", .partnerListen, .partnerClientCA),
            ("external", .externalListen, .externalClientCA),
        ]
        return doors.filter { isGiven($0.2) && !isGiven($0.1) }.map { name, listen, _ in
            StandardStream.output.write(
                "\(listen.rawValue): that of the service manager's socket, named \(name)\n")
            return InheritedSocket(name: name, origin: .manager, descriptor: -1)
        }
    }

    /// Checks that what the process before does not leave us can be opened.
    ///
    /// - Parameters:
    ///   - configuration: The settings that are to come into force.
    ///   - held: What it leaves us: the names of doors, only the audience where the service manager
    ///     holds the socket; and, each after a colon, the ports that are free once it is gone.
    /// - Throws: ``ConfigurationError`` with exit code 71, as a start would have.
    private static func checkAddresses(
        _ configuration: ServeConfiguration, held: [String]
    ) throws(ConfigurationError) {
        let doors = configuration.doors.filter {
            !$0.isManagers && !held.contains("\($0.audience)")
        }
        var wanted = doors.map { ($0.nameOfSockets, $0.listen) }
        wanted.append((configuration.nameOfAdmin, configuration.admin))
        for (name, endpoint) in wanted where !held.contains(name) {
            // Of a port that is only ours for now, the address is still to be judged.
            let port = held.contains(":\(endpoint.port)") ? 0 : endpoint.port
            do throws(TransportError) {
                try Server.checkFree(host: endpoint.host, port: port)
            } catch {
                throw ConfigurationError("\(error)", exitCode: 71)
            }
        }
    }

    /// Whether the key opens what is in the data directory.
    private static func keys(_ configuration: ServeConfiguration) throws -> String {
        let source = try configuration.keys.load()
        let data = configuration.dataDirectory
        let isNew = FileStamp(path: data + "/identity") == nil
        if !isNew {
            do throws(JournalError) {
                try DataDirectory.checkKind(of: data)
            } catch {
                throw ConfigurationError("\(error)", exitCode: error.isDamage ? 65 : 74)
            }
        }
        do throws(JournalError) {
            let file = isNew ? nil : try KeyFile.read(data)
            switch (source, file) {
            case (nil, nil):
                return "encryption: off; what is on disk is readable by whoever has the disk"
            case (.some(let source), nil):
                guard isNew else { throw .keyUnexpected }
                return "encryption: the first start makes keys, wrapped by \(source.current.id)"
            case (_, .some(let file)):
                let ring = try KeyRing.open(RealDisk(), data, source)
                return "encryption: \(file.entries.count) keys open, wrapped by \(ring.kek)"
            }
        } catch {
            throw ConfigurationError("\(error)")
        }
    }
}
