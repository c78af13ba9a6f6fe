// Which doors the settings open: one for everybody, and one each for partner teams and external
// partners if they are configured, with trust of their own. Matches the service manager's sockets
// to them.

internal import TriageBase
internal import TriageGRPC
internal import TriageIO
internal import TriageTLS

extension SettingReader {
    /// The doors, the internal one first.
    ///
    /// - Parameter inherited: The service manager's sockets: one named `partner` or `external` is
    ///   for that door, any other for the internal one.
    /// - Returns: At least one.
    /// - Throws: ``ConfigurationError`` naming the setting.
    func doors(
        _ inherited: [InheritedSocket]
    ) throws(ConfigurationError) -> [ServeConfiguration.Door] {
        var sockets: [Audience: InheritedSocket] = [:]
        for socket in inherited {
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
        var doors = [
            ServeConfiguration.Door(
                audience: .internal, listen: try endpoint(.listen),
                tls: try tls(.clientCA, .crl, try clientCertificate()),
                inherited: sockets[.internal])
        ]
        let others: [(Audience, Setting, Setting, Setting)] = [
            (.partner, .partnerListen, .partnerClientCA, .partnerCRL),
            (.external, .externalListen, .externalClientCA, .externalCRL),
        ]
        for (audience, listen, trust, crl) in others {
            let socket = sockets[audience]
            guard try !text(listen).isEmpty || socket != nil else {
                for setting in [trust, crl] where try !text(setting).isEmpty {
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
                    tls: try tls(trust, crl, .required), inherited: socket))
        }
        return doors
    }

    private func clientCertificate() throws(ConfigurationError)
        -> TLSConfiguration.ClientCertificate
    {
        switch try text(.clientCertificates) {
        case "required": return .required
        case "optional": return .optional
        default: throw wrong(.clientCertificates, "must be required or optional")
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
