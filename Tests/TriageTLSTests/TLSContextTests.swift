// What is refused at load, before the first connection, and in which words.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct TLSContextTests {
    let fixture: TLSFixture
    var directory: TempDirectory { fixture.certificates.directory }

    init() throws { fixture = try TLSFixture() }

    private func load(certificate: String, key: String, trust: String? = nil) throws(TLSError)
        -> TLSContext
    {
        try TLSContext(
            .server(
                certificateChain: certificate, privateKey: key,
                clientTrust: trust ?? fixture.certificates.root.certificate, crl: nil,
                clientCertificate: .required))
    }

    @Test func goodFiles_load() throws {
        let server = try fixture.certificates.server()
        let context = try load(certificate: server.certificate, key: server.privateKey)
        #expect(context.certificateNotAfter == WallTime(milliseconds: 4_102_444_799_000))
        #expect(context.revocationNextUpdate == nil)
    }

    @Test func missingFiles_areNamed() throws {
        let server = try fixture.certificates.server()
        let missing = directory.file("missing.pem")
        let error = TLSError.fileUnreadable(path: missing, reason: "No such file or directory")
        #expect(throws: error) { try load(certificate: missing, key: server.privateKey) }
        #expect(throws: error) { try load(certificate: server.certificate, key: missing) }
        #expect(throws: error) {
            try load(certificate: server.certificate, key: server.privateKey, trust: missing)
        }
        #expect(error.description == "cannot read \(missing): No such file or directory")
    }

    @Test func directoryInsteadOfAFile_isNamed() throws {
        let server = try fixture.certificates.server()
        #expect(throws: TLSError.fileUnreadable(path: directory.path, reason: "Is a directory")) {
            try load(certificate: directory.path, key: server.privateKey)
        }
    }

    @Test func expiredCertificate_isRefusedWithFileAndDate() throws {
        var leaf = CertificateFixture.Leaf("DNS:localhost")
        leaf.validity.to = "20240229235959Z"
        let old = try fixture.certificates.leaf("old", leaf)
        let error = #expect(throws: TLSError.self) {
            try load(certificate: old.certificate, key: old.privateKey)
        }
        #expect(
            error?.description
                == "certificate \(old.certificate) expired on 2024-02-29T23:59:59Z: "
                + "install a new one"
        )
    }

    @Test func certificateOfTheFuture_isRefusedWithFileAndDate() throws {
        var leaf = CertificateFixture.Leaf("DNS:localhost")
        leaf.validity.from = "20981231000000Z"
        let early = try fixture.certificates.leaf("early", leaf)
        let error = #expect(throws: TLSError.self) {
            try load(certificate: early.certificate, key: early.privateKey)
        }
        #expect(error?.description.contains("not valid before 2098-12-31T00:00:00Z") == true)
    }

    @Test(arguments: [
        ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ])
    func keyOfAnotherCertificate_isRefused(key: [String]) throws {
        let server = try fixture.certificates.server()
        var leaf = CertificateFixture.Leaf()
        leaf.key = key
        let other = try fixture.certificates.leaf("other", leaf)
        #expect(
            throws: TLSError.keyMismatch(
                certificate: server.certificate, privateKey: other.privateKey)
        ) { try load(certificate: server.certificate, key: other.privateKey) }
    }

    @Test func keyOpenToEveryone_isRefused() throws {
        let server = try fixture.certificates.server()
        for mode in [0o604, 0o644, 0o601] {
            try directory.setMode(server.privateKey, mode)
            #expect(
                throws: TLSError.privateKeyExposed(path: server.privateKey, mode: UInt16(mode))
            ) { try load(certificate: server.certificate, key: server.privateKey) }
        }
        try directory.setMode(server.privateKey, 0o640)
        _ = try load(certificate: server.certificate, key: server.privateKey)
    }

    @Test func garbage_isRefusedByName() throws {
        let server = try fixture.certificates.server()
        let garbage = try directory.write("garbage.pem", "not a certificate\n")
        let attempts: [(String, String, String?)] = [
            (garbage, server.privateKey, nil), (server.certificate, garbage, nil),
            (server.certificate, server.privateKey, garbage),
        ]
        for (certificate, key, trust) in attempts {
            let error = #expect(throws: TLSError.self) {
                try load(certificate: certificate, key: key, trust: trust)
            }
            guard case .fileInvalid(garbage, _) = error else {
                Issue.record("unexpected: \(String(describing: error))")
                return
            }
        }
    }

    @Test func encryptedKey_isRefusedWithoutAskingForAPassword() throws {
        let server = try fixture.certificates.server()
        let encrypted = try fixture.certificates.encryptedKey("encrypted")
        let error = #expect(throws: TLSError.self) {
            try load(certificate: server.certificate, key: encrypted)
        }
        guard case .fileInvalid(encrypted, _) = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
    }

    @Test func clientCertificateWithoutKey_isRefused() throws {
        let server = try fixture.certificates.server()
        #expect(throws: TLSError.self) {
            try TLSContext(
                .client(
                    certificateChain: server.certificate, privateKey: nil,
                    serverTrust: fixture.certificates.root.certificate, serverName: "localhost"))
        }
    }

    @Test func emptyServerName_isRefused() throws {
        let context = try fixture.clientContext(nil, serverName: "")
        #expect(throws: TLSError.self) { try TLSSession(context) }
    }

    @Test func everyErrorText_isDistinctAndSaysSomething() {
        let errors: [TLSError] = [
            .fileUnreadable(path: "p", reason: "r"), .fileInvalid(path: "p", reason: "r"),
            .privateKeyExposed(path: "p", mode: 0o644),
            .keyMismatch(certificate: "c", privateKey: "p"),
            .certificateExpired(path: "p", notAfter: .epoch),
            .certificateNotYetValid(path: "p", notBefore: .epoch),
            .revocationListExpired(path: "p", nextUpdate: .epoch),
            .revocationListNotYetValid(path: "p", thisUpdate: .epoch), .peerRefused(.untrusted),
            .alertReceived("r"), .handshakeFailed("r"), .protocolViolation("r"), .noCommonProtocol,
            .tooManyKeyUpdates, .unavailable("r"),
        ]
        let texts = errors.map(\.description)
        #expect(Set(texts).count == texts.count)
        #expect(texts.allSatisfy { $0.count > 10 })
    }
}
