// Which doors the settings open: one for everybody, and one each for partner teams and external
// partners if they are configured, with trust of their own. Matches sockets that are open already
// to them.

internal import TriageBase
internal import TriageGRPC
internal import TriageIO
internal import TriageTLS

extension SettingReader {
    /// The doors, the internal one first.
    ///
    /// - Parameter inherited: Sockets that are open already. The service manager's: one named
    ///   `partner` or `external` is for that door, any other for the internal one. A predecessor's:
    ///   each for the door that it is named after, as long as that has the address that it had.
    /// - Returns: At least one.
    /// - Throws: ``ConfigurationError`` naming the setting.
    func doors(
        _ inherited: [InheritedSocket]
    ) throws(ConfigurationError) -> [ServeConfiguration.Door] {
        let sockets = try managers(inherited)
        var doors = [
            ServeConfiguration.Door(
                audience: .internal, listen: try endpoint(.listen),
                tls: try tls(.clientCA, .crl, try clientCertificate(.clientCertificates)),
                inherited: sockets[.internal].map { [$0] } ?? [])
        ]
        let others: [(Audience, Setting, Setting, Setting, Setting)] = [
            (.partner, .partnerListen, .partnerClientCA, .partnerCRL, .partnerCertificates),
            (.external, .externalListen, .externalClientCA, .externalCRL, .externalCertificates),
        ]
        for (audience, listen, trust, crl, certificates) in others {
            let socket = sockets[audience]
            guard try !text(listen).isEmpty || socket != nil else {
                for setting in [trust, crl, certificates]
                where try text(setting) != setting.defaultValue {
                    throw wrong(setting, "goes with \(listen.rawValue)")
                }
                continue
            }
            guard try !text(trust).isEmpty else {
                throw wrong(trust, "is missing: \(listen.rawValue) needs a trust bundle of its own")
            }
            let anywhere = Endpoint(host: "127.0.0.1", port: 0)
            doors.append(
                ServeConfiguration.Door(
                    audience: audience,
                    listen: try text(listen).isEmpty ? anywhere : try endpoint(listen),
                    tls: try tls(trust, crl, try clientCertificate(certificates)),
                    inherited: socket.map { [$0] } ?? []))
        }
        for index in doors.indices where doors[index].inherited.isEmpty {
            doors[index].inherited = inherited.filter { doors[index].hasLeft($0) }
        }
        return doors
    }

    private func managers(
        _ inherited: [InheritedSocket]
    ) throws(ConfigurationError) -> [Audience: InheritedSocket] {
        var sockets: [Audience: InheritedSocket] = [:]
        for socket in inherited where socket.origin == .manager {
            let audience: Audience =
                switch socket.name {
                case "partner": .partner
                case "external": .external
                default: .internal
                }
            guard sockets.updateValue(socket, forKey: audience) == nil else {
                throw ConfigurationError(
                    "the service manager hands over two sockets for the \(audience) listener:"
                        + " name them partner and external with FileDescriptorName=")
            }
        }
        return sockets
    }

    private func clientCertificate(
        _ setting: Setting
    ) throws(ConfigurationError) -> TLSConfiguration.ClientCertificate {
        switch try text(setting) {
        case "required": return .required
        case "optional": return .optional
        default: throw wrong(setting, "must be required or optional")
        }
    }

    private func tls(
        _ trust: Setting, _ crl: Setting, _ clientCertificate: TLSConfiguration.ClientCertificate
    ) throws(ConfigurationError) -> TLSConfiguration {
        let list = try text(crl)
        return .server(
            certificateChain: try text(.cert), privateKey: try text(.key),
            clientTrust: try text(trust), crl: list.isEmpty ? nil : list,
            clientCertificate: clientCertificate)
    }
}
