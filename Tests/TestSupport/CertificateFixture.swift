// Certificates for tests, good and bad, made by the openssl command in a temporary directory.
// Nothing here knows what the service makes of them.

internal import Foundation

/// Why a fixture could not be made.
package struct FixtureError: Error, CustomStringConvertible {
    /// The command's own words.
    package let description: String
}

/// A certificate authority with everything that it issued, in one temporary directory.
package final class CertificateFixture: Sendable {
    /// A certificate and its key.
    package struct Identity: Sendable {
        /// PEM: the leaf, then its intermediates.
        package let certificate: String
        /// PEM, mode 0600.
        package let privateKey: String
    }

    /// An issuer of certificates.
    package struct Authority: Sendable {
        /// PEM, its own certificate only.
        package let certificate: String
        fileprivate let directory: String
        /// PEM of the authorities between its leaves and the root, itself first; empty for a root.
        fileprivate let intermediates: [String]
    }

    /// What a leaf says about itself; the defaults make a good SPIFFE client.
    package struct Leaf: Sendable {
        /// `subjectAltName` in openssl's syntax; nil for none.
        package var subjectAltName: String? = "URI:spiffe://triage.example/specialist/ada"
        /// `keyUsage`; nil for none.
        package var keyUsage: String? = "critical,digitalSignature"
        /// `extendedKeyUsage`; nil for none.
        package var extendedKeyUsage: String? = "serverAuth,clientAuth"
        /// `authorityKeyIdentifier`; nil for none: then the issuer's name says all.
        package var authorityKeyIdentifier: String?
        /// `basicConstraints`.
        package var basicConstraints = "critical,CA:FALSE"
        /// The subject's common name, which never identifies anyone.
        package var commonName = "test"
        /// First and last second of validity, `YYYYMMDDHHMMSSZ`.
        package var validity = (from: "20200101000000Z", to: "20991231235959Z")
        /// `openssl genpkey` arguments.
        package var key = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]

        /// A good SPIFFE client, to be changed.
        package init() {}

        /// A leaf with another alternative name.
        package init(_ subjectAltName: String?) { self.subjectAltName = subjectAltName }
    }

    /// Where everything is.
    package let directory: TempDirectory
    /// The root.
    package let root: Authority

    /// Makes a root authority.
    package init(name: String = "root") throws {
        directory = try TempDirectory()
        root = try Self.makeAuthority(directory, name, issuer: nil)
    }

    /// Makes an authority under another one.
    package func authority(_ name: String, under issuer: Authority) throws -> Authority {
        try Self.makeAuthority(directory, name, issuer: issuer)
    }

    /// A good server certificate for `localhost` and 127.0.0.1.
    package func server(_ name: String = "server") throws -> Identity {
        try leaf(name, Leaf("DNS:localhost,IP:127.0.0.1"))
    }

    /// Issues a leaf.
    ///
    /// - Parameters:
    ///   - name: Base name of its files; files of that name are replaced.
    ///   - leaf: What it says.
    ///   - issuer: Who signs; the root if nil.
    /// - Returns: The files, intermediates included.
    /// - Throws: ``FixtureError`` when openssl refuses.
    package func leaf(_ name: String, _ leaf: Leaf = Leaf(), by issuer: Authority? = nil) throws
        -> Identity
    {
        let issuer = issuer ?? root
        let key = directory.file("\(name).key")
        try openssl(["genpkey", "-out", key] + leaf.key)
        try directory.setMode(key, 0o600)
        var extensions = "basicConstraints=\(leaf.basicConstraints)\n"
        if let usage = leaf.keyUsage { extensions += "keyUsage=\(usage)\n" }
        if let usage = leaf.extendedKeyUsage { extensions += "extendedKeyUsage=\(usage)\n" }
        if let issuer = leaf.authorityKeyIdentifier {
            extensions += "authorityKeyIdentifier=\(issuer)\n"
        }
        if let names = leaf.subjectAltName { extensions += "subjectAltName=\(names)\n" }
        let certificate = try Self.sign(
            directory, name, key: key, commonName: leaf.commonName, extensions: extensions,
            validity: leaf.validity, issuer: issuer.directory)
        let chain = try directory.concatenate(
            "\(name).chain.pem", [certificate] + issuer.intermediates)
        return Identity(certificate: chain, privateKey: key)
    }

    /// Makes a private key that needs a password.
    ///
    /// - Returns: Its path.
    package func encryptedKey(_ name: String) throws -> String {
        let path = directory.file("\(name).key")
        try openssl([
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256",
            "-pass",
            "pass:secret", "-out", path,
        ])
        return path
    }

    /// Makes a revocation list of an authority.
    ///
    /// - Parameters:
    ///   - name: Base name of the file.
    ///   - issuer: The authority; the root if nil.
    ///   - revoked: Certificates that it revokes, on top of those of earlier lists.
    ///   - lastUpdate: When the list was made, `YYYYMMDDHHMMSSZ`.
    ///   - nextUpdate: When the list is due.
    ///   - namesKey: Whether it says which of the issuer's keys signed it.
    /// - Returns: The path of the list.
    /// - Throws: ``FixtureError`` when openssl refuses.
    package func revocationList(
        _ name: String, of issuer: Authority? = nil, revoked: [Identity] = [],
        lastUpdate: String = "20200101000000Z", nextUpdate: String = "20991231235959Z",
        namesKey: Bool = true
    ) throws -> String {
        let configuration = (issuer ?? root).directory + "/ca.conf"
        for identity in revoked {
            try openssl(["ca", "-config", configuration, "-revoke", identity.certificate])
        }
        let path = directory.file("\(name).crl")
        try openssl([
            "ca", "-config", configuration, "-gencrl", "-crl_lastupdate", lastUpdate,
            "-crl_nextupdate", nextUpdate, "-out", path, "-crlexts", namesKey ? "crl" : "no_key",
        ])
        return path
    }

    private static func makeAuthority(
        _ temporary: TempDirectory, _ name: String, issuer: Authority?
    ) throws -> Authority {
        let directory = temporary.file("ca-\(name)")
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false)
        let key = directory + "/ca.key"
        try openssl([
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key,
        ])
        try write(
            directory + "/ca.conf",
            """
            [ca]
            default_ca = this
            [this]
            certificate = \(directory)/ca.pem
            private_key = \(key)
            database = \(directory)/index
            new_certs_dir = \(directory)
            rand_serial = yes
            default_md = sha256
            policy = any
            unique_subject = no
            [any]
            commonName = optional
            [crl]
            authorityKeyIdentifier = keyid
            [no_key]
            issuerAltName = URI:urn:none
            """)
        try write(directory + "/index", "")
        let extensions = """
            basicConstraints=critical,CA:TRUE
            keyUsage=critical,keyCertSign,cRLSign
            subjectKeyIdentifier=hash

            """
        let validity = (from: "20200101000000Z", to: "20991231235959Z")
        let signed = try sign(
            temporary, "ca-\(name)", key: key, commonName: "triaged test \(name)",
            extensions: extensions, validity: validity, issuer: issuer?.directory ?? directory,
            selfSigned: issuer == nil)
        try FileManager.default.copyItem(atPath: signed, toPath: directory + "/ca.pem")
        let intermediates = issuer.map { [directory + "/ca.pem"] + $0.intermediates } ?? []
        return Authority(
            certificate: directory + "/ca.pem", directory: directory, intermediates: intermediates)
    }

    private static func sign(
        _ temporary: TempDirectory, _ name: String, key: String, commonName: String,
        extensions: String, validity: (from: String, to: String), issuer: String,
        selfSigned: Bool = false
    ) throws -> String {
        let request = temporary.file("\(name).csr")
        let certificate = temporary.file("\(name).pem")
        let extensionFile = temporary.file("\(name).ext")
        try write(extensionFile, extensions)
        try openssl(["req", "-new", "-key", key, "-subj", "/CN=\(commonName)", "-out", request])
        try openssl(
            [
                "ca", "-batch", "-notext", "-config", issuer + "/ca.conf", "-in", request, "-out",
                certificate, "-extfile", extensionFile, "-startdate", validity.from, "-enddate",
                validity.to,
            ] + (selfSigned ? ["-selfsign", "-keyfile", key] : []))
        return certificate
    }

    private static func write(_ path: String, _ contents: String) throws {
        try Data(contents.utf8).write(to: URL(fileURLWithPath: path))
    }

    private func openssl(_ arguments: [String]) throws { try Self.openssl(arguments) }

    private static func openssl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw FixtureError(
                description: "openssl \(arguments.joined(separator: " ")): "
                    + String(decoding: text, as: UTF8.self))
        }
    }
}
