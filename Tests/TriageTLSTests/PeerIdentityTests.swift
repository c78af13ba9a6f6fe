// Who may come in, and as whom: one row per rule.

import TestSupport
import Testing
import TriageBase
import TriageTLS

/// A leaf that must be refused, and why.
struct BadLeaf: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let leaf: CertificateFixture.Leaf
    let refusal: PeerRefusal
    /// The clock of the client, which would not load a certificate that is out of date for itself.
    var clientTime = TestClock.start

    init(
        _ name: String, _ refusal: PeerRefusal, _ change: (inout CertificateFixture.Leaf) -> Void
    ) {
        testDescription = name
        self.refusal = refusal
        var leaf = CertificateFixture.Leaf()
        change(&leaf)
        self.leaf = leaf
    }

    init(_ name: String, names: String?, _ refusal: PeerRefusal = .invalidIdentity) {
        self.init(name, refusal) { $0.subjectAltName = names }
    }

    static let all = [
        BadLeaf("two URIs", names: "URI:spiffe://a.example/x,URI:spiffe://a.example/y"),
        BadLeaf(
            "a SPIFFE ID and another URI", names: "URI:spiffe://a.example/x,URI:https://a.example"),
        BadLeaf("a URI that is no SPIFFE ID", names: "URI:https://a.example/x"),
        BadLeaf("a SPIFFE ID without a path", names: "URI:spiffe://a.example"),
        BadLeaf("an empty path", names: "URI:spiffe://a.example/"),
        BadLeaf("a slash at the end", names: "URI:spiffe://a.example/x/"),
        BadLeaf("an empty segment", names: "URI:spiffe://a.example/x//y"),
        BadLeaf("a dot segment", names: "URI:spiffe://a.example/x/../y"),
        BadLeaf("percent-encoding", names: "URI:spiffe://a.example/x%2fy"),
        BadLeaf("a query", names: "URI:spiffe://a.example/x?y"),
        BadLeaf("a port", names: "URI:spiffe://a.example:1/x"),
        BadLeaf("user information", names: "URI:spiffe://u@a.example/x"),
        BadLeaf("an upper-case trust domain", names: "URI:spiffe://A.example/x"),
        BadLeaf("an upper-case scheme", names: "URI:SPIFFE://a.example/x"),
        BadLeaf("an empty trust domain", names: "URI:spiffe:///x"),
        // SEQUENCE { [6] "spiffe://a.example/x\0y" }
        BadLeaf(
            "a NUL in the URI",
            names:
                "DER:30:18:86:16:73:70:69:66:66:65:3a:2f:2f:61:2e:65:"
                + "78:61:6d:70:6c:65:2f:78:00:79"),
        // SEQUENCE { [2] "good.example\0.evil" }
        BadLeaf(
            "a NUL in the DNS name",
            names: "DER:30:14:82:12:67:6f:6f:64:2e:65:78:61:6d:70:6c:65:00:2e:65:76:69:6c"),
        BadLeaf("a wildcard", names: "DNS:*.example"),
        BadLeaf("no alternative name", names: nil, .noIdentity),
        BadLeaf("an e-mail address only", names: "email:a@b.example", .noIdentity),
        BadLeaf("an address only", names: "IP:127.0.0.1", .noIdentity),
        BadLeaf("no key usage", .wrongUsage) { $0.keyUsage = nil },
        BadLeaf("no digitalSignature", .wrongUsage) { $0.keyUsage = "keyAgreement" },
        BadLeaf("keyCertSign", .wrongUsage) { $0.keyUsage = "digitalSignature,keyCertSign" },
        BadLeaf("cRLSign", .wrongUsage) { $0.keyUsage = "digitalSignature,cRLSign" },
        BadLeaf("no extended key usage", .wrongUsage) { $0.extendedKeyUsage = nil },
        BadLeaf("serverAuth only", .wrongUsage) { $0.extendedKeyUsage = "serverAuth" },
        BadLeaf("an authority as a leaf", .wrongUsage) {
            $0.basicConstraints = "critical,CA:TRUE"
            $0.keyUsage = "digitalSignature,keyCertSign"
        },
        BadLeaf("expired", .expired) { $0.validity.to = "20260101000000Z" }
            .presented(daysFromNow: -1),
        BadLeaf("not valid yet", .notYetValid) { $0.validity.from = "20260102000000Z" }
            .presented(daysFromNow: 2),
    ]

    private func presented(daysFromNow days: Int64) -> BadLeaf {
        var late = self
        late.clientTime = clientTime.advanced(byMilliseconds: days * TestClock.day)
        return late
    }
}

@Suite struct PeerIdentityTests {
    let fixture: TLSFixture

    init() throws { fixture = try TLSFixture() }

    @Test(arguments: BadLeaf.all) func badLeaf_isRefusedWithAnAlert(_ bad: BadLeaf) throws {
        let pair = try fixture.pair(presenting: bad.leaf, clientTime: bad.clientTime)
        #expect(pair.serverOutcome == .failed(.peerRefused(bad.refusal)))
        #expect(pair.server.peerPrincipal == nil)
        guard case .failed(.alertReceived) = pair.clientOutcome else {
            Issue.record("the client was not told: \(pair.clientOutcome)")
            return
        }
    }

    @Test(arguments: [
        ("URI:spiffe://a.example/x", "spiffe://a.example/x"),
        ("URI:spiffe://a-b.example/ns/prod/sa/Ada_1.x", "spiffe://a-b.example/ns/prod/sa/Ada_1.x"),
        ("DNS:other.example,URI:spiffe://a.example/x", "spiffe://a.example/x"),
        ("DNS:Partner.Example", "dns:partner.example"),
        ("DNS:first.example,DNS:second.example", "dns:first.example"),
        ("email:a@b.example,DNS:first.example", "dns:first.example"),
    ])
    func goodName_isThePrincipal(names: String, principal: String) throws {
        let pair = try fixture.pair(presenting: .init(names))
        #expect(pair.serverOutcome == .open)
        #expect(pair.server.peerPrincipal?.text == principal)
    }

    @Test func dnsNameOfAClientWithoutUsages_isAccepted() throws {
        var leaf = CertificateFixture.Leaf("DNS:partner.example")
        leaf.keyUsage = nil
        leaf.extendedKeyUsage = nil
        let pair = try fixture.pair(presenting: leaf)
        #expect(pair.server.peerPrincipal?.text == "dns:partner.example")
    }

    @Test(arguments: [
        ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], ["-algorithm", "ED25519"],
    ])
    func otherKeyTypes_areAccepted(key: [String]) throws {
        var leaf = CertificateFixture.Leaf()
        leaf.key = key
        let pair = try fixture.pair(presenting: leaf)
        #expect(pair.server.peerPrincipal != nil)
    }

    @Test func clientOfAForeignAuthority_isRefused() throws {
        let foreign = try CertificateFixture(name: "foreign")
        var pair = try TLSPair(
            fixture.serverContext(), fixture.clientContext(foreign.leaf("mallory")))
        pair.handshake()
        #expect(pair.serverOutcome == .failed(.peerRefused(.untrusted)))
        #expect(pair.clientOutcome == .failed(.alertReceived("tlsv1 alert unknown ca")))
    }

    @Test func missingCertificate_isRefusedWhereRequired() throws {
        var pair = try TLSPair(fixture.serverContext(), fixture.clientContext(nil))
        pair.handshake()
        #expect(pair.serverOutcome == .failed(.peerRefused(.missing)))
        #expect(pair.clientOutcome == .failed(.alertReceived("tlsv13 alert certificate required")))
    }

    @Test func missingCertificate_whereOptional_isNobody() throws {
        var pair = try TLSPair(
            fixture.serverContext(nil, .optional), fixture.clientContext(nil))
        pair.handshake()
        #expect(pair.serverOutcome == .open)
        #expect(pair.server.peerPrincipal == nil)
        #expect(pair.server.peerNotAfter == nil)
    }

    @Test func badCertificate_whereOptional_isRefusedAllTheSame() throws {
        let identity = try fixture.certificates.leaf("two", .init(nil))
        var pair = try TLSPair(
            fixture.serverContext(nil, .optional), fixture.clientContext(identity))
        pair.handshake()
        #expect(pair.serverOutcome == .failed(.peerRefused(.noIdentity)))
    }

    @Test func chainWithTwoIntermediates_isAccepted_withThreeRefused() throws {
        let certificates = fixture.certificates
        let first = try certificates.authority("first", under: certificates.root)
        let second = try certificates.authority("second", under: first)
        let third = try certificates.authority("third", under: second)
        let server = try fixture.serverContext()

        let short = try certificates.leaf("short", by: second)
        var accepted = try TLSPair(server, fixture.clientContext(short))
        accepted.handshake()
        #expect(accepted.serverOutcome == .open)
        #expect(accepted.server.peerPrincipal != nil)

        let long = try certificates.leaf("long", by: third)
        var refused = try TLSPair(server, fixture.clientContext(long))
        refused.handshake()
        #expect(refused.serverOutcome == .failed(.peerRefused(.chainTooLong)))
    }

    /// The same certificates again and again, as many as fit, and more.
    @Test func chainOfTooManyBytes_isRefusedAsTooLong() throws {
        let certificates = fixture.certificates
        let first = try certificates.authority("first", under: certificates.root)
        let identity = try certificates.leaf("wide", by: first)
        let server = try fixture.serverContext()
        var outcomes: [Outcome] = []
        for copies in [10, 50] {
            let chain = try certificates.directory.concatenate(
                "wide-\(copies).pem", [String](repeating: identity.certificate, count: copies))
            let client = try TLSContext(
                .client(
                    certificateChain: chain, privateKey: identity.privateKey,
                    serverTrust: certificates.root.certificate, serverName: "localhost"))
            var pair = try TLSPair(server, client)
            pair.handshake()
            outcomes.append(pair.serverOutcome)
        }
        #expect(outcomes == [.open, .failed(.peerRefused(.chainTooLong))])
    }

    @Test(arguments: [[], ["http/1.1"], ["h2c", "h3"]])
    func withoutH2_theHandshakeEndsWithAlert120(protocols: [String]) throws {
        let identity = try fixture.certificates.leaf("ada")
        var pair = try TLSPair(
            fixture.serverContext(), fixture.clientContext(identity, protocols: protocols))
        pair.handshake()
        #expect(pair.serverOutcome == .failed(.noCommonProtocol))
        #expect(
            pair.clientOutcome == .failed(.alertReceived("tlsv1 alert no application protocol")))
    }

    @Test func h2AmongOthers_isSelected() throws {
        let identity = try fixture.certificates.leaf("ada")
        var pair = try TLSPair(
            fixture.serverContext(),
            fixture.clientContext(identity, protocols: ["h3", "http/1.1", "h2"]))
        pair.handshake()
        #expect(pair.serverOutcome == .open)
        #expect(pair.server.negotiatedH2)
    }

    // MARK: The client's view of the server

    private func clientOutcome(
        _ server: CertificateFixture.Leaf, trust: String? = nil, serverName: String = "localhost"
    ) throws -> Outcome {
        let ada = try fixture.certificates.leaf("ada")
        let identity = try fixture.certificates.leaf("other-server", server)
        var pair = try TLSPair(
            fixture.serverContext(identity),
            fixture.clientContext(ada, trust: trust, serverName: serverName))
        pair.handshake()
        return pair.clientOutcome
    }

    @Test func serverForAnotherName_isRefused() throws {
        #expect(try clientOutcome(.init("DNS:else.example")) == .failed(.peerRefused(.wrongName)))
    }

    @Test func serverNamedInItsSubjectOnly_isRefused() throws {
        var leaf = CertificateFixture.Leaf("URI:spiffe://a.example/x")
        leaf.commonName = "localhost"
        #expect(try clientOutcome(leaf) == .failed(.peerRefused(.wrongName)))
    }

    @Test func serverByAddress_isCheckedAgainstItsAddresses() throws {
        let outcome = try clientOutcome(.init("IP:127.0.0.1"), serverName: "127.0.0.1")
        #expect(outcome == .open)
    }

    @Test func serverByAnotherAddress_isRefused() throws {
        let outcome = try clientOutcome(
            .init("IP:127.0.0.1,DNS:127.0.0.2"), serverName: "127.0.0.2")
        #expect(outcome == .failed(.peerRefused(.wrongName)))
    }

    @Test func serverOfAForeignAuthority_isRefused() throws {
        let foreign = try CertificateFixture(name: "foreign")
        let outcome = try clientOutcome(.init("DNS:localhost"), trust: foreign.root.certificate)
        #expect(outcome == .failed(.peerRefused(.untrusted)))
    }

    @Test func serverWithAClientsCertificate_isRefused() throws {
        var leaf = CertificateFixture.Leaf("DNS:localhost")
        leaf.extendedKeyUsage = "clientAuth"
        #expect(try clientOutcome(leaf) == .failed(.peerRefused(.wrongUsage)))
    }

    @Test func expiredServer_isRefused() throws {
        var leaf = CertificateFixture.Leaf("DNS:localhost")
        leaf.validity.to = "20260105000000Z"
        let ada = try fixture.certificates.leaf("ada")
        let identity = try fixture.certificates.leaf("short-lived", leaf)
        let contexts = try (fixture.serverContext(identity), fixture.clientContext(ada))
        fixture.clock.advance(days: 10)
        var pair = try TLSPair(contexts.0, contexts.1)
        pair.handshake()
        #expect(pair.clientOutcome == .failed(.peerRefused(.expired)))
    }
}
