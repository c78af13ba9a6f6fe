// What a server keeps of its clients for resumption: a bounded part for each, and nothing that
// nobody can use.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct KeptSessionsTests {
    let fixture: TLSFixture
    let ada: CertificateFixture.Identity

    init() throws {
        fixture = try TLSFixture()
        ada = try fixture.certificates.leaf("ada")
    }

    private func connect(_ server: TLSContext, _ client: TLSContext) throws -> TLSPair {
        var pair = try TLSPair(server, client)
        pair.handshake()
        try #require(pair.serverOutcome == .open)
        return pair
    }

    /// A client that sends its certificate so many times.
    private func client(copies: Int) throws -> TLSContext {
        let certificates = fixture.certificates
        let chain = try certificates.directory.concatenate(
            "wide-\(copies).pem", [String](repeating: ada.certificate, count: copies))
        return try TLSContext(
            .client(
                certificateChain: chain, privateKey: ada.privateKey,
                serverTrust: certificates.root.certificate, serverName: "localhost"))
    }

    @Test func anIdentity_pushesOutItsOwn_andNobodyElses() throws {
        var leaf = CertificateFixture.Leaf()
        leaf.subjectAltName = "URI:spiffe://triage.example/specialist/bob"
        let bob = try fixture.clientContext(fixture.certificates.leaf("bob", leaf))
        let server = try fixture.serverContext()
        _ = try connect(server, bob)
        // Its first session, to be shown when there are many of its own that are newer.
        let first = try fixture.clientContext(ada)
        _ = try connect(server, first)
        let other = try fixture.clientContext(ada)
        let most = Limits.sessionsPerIdentityMax
        for round in 2...(most + 50) {
            let pair = try connect(server, other)
            #expect(pair.server.resumed == (round > 2), "the latest is kept")
            #expect(server.sessionsKept == 1 + min(round, most))
        }
        #expect(try !connect(server, first).server.resumed, "the oldest of its own went")
        #expect(try connect(server, bob).server.resumed)
    }

    @Test func thoseWithoutACertificate_areOneToo() throws {
        let server = try fixture.serverContext(nil, .optional)
        _ = try connect(server, fixture.clientContext(ada))
        let client = try fixture.clientContext(nil)
        for _ in 0..<(Limits.sessionsPerIdentityMax + 10) { _ = try connect(server, client) }
        #expect(server.sessionsKept == 1 + Limits.sessionsPerIdentityMax)
    }

    @Test func sessionOfALongChain_isNotKept() throws {
        let server = try fixture.serverContext()
        let small = try client(copies: 3)
        let wide = try client(copies: Limits.sessionChainBytesMax / 300)
        let first = try connect(server, small)
        #expect(!first.server.isTooLargeToResume)
        #expect(try connect(server, small).server.resumed)
        #expect(server.sessionsKept == 2)
        for _ in 0..<2 {
            let pair = try connect(server, wide)
            #expect(!pair.server.resumed)
            #expect(pair.server.isTooLargeToResume)
            #expect(pair.server.peerPrincipal == first.server.peerPrincipal)
            #expect(try TLSPair.send([1], from: pair.client, to: pair.server) == [1])
        }
        #expect(server.sessionsKept == 2)
    }

    @Test func contextThatWasReplaced_keepsNone() throws {
        let server = try fixture.serverContext()
        let client = try fixture.clientContext(ada)
        let open = try connect(server, client)
        for _ in 0..<20 { _ = try connect(server, client) }
        #expect(server.sessionsKept == 21)
        server.retire()
        #expect(server.sessionsKept == 0)
        #expect(try TLSPair.send([1], from: open.client, to: open.server) == [1])
        // A handshake that began before ends after.
        #expect(try !connect(server, client).server.resumed)
        #expect(server.sessionsKept == 0)
    }
}
