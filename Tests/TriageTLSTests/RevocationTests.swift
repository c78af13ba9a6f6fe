// Revocation lists and resumption: what held once must still hold when a session is taken up again.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct RevocationTests {
    let fixture: TLSFixture
    let ada: CertificateFixture.Identity

    init() throws {
        fixture = try TLSFixture()
        ada = try fixture.certificates.leaf("ada")
    }

    private func connect(_ server: TLSContext, _ client: TLSContext) throws -> TLSPair {
        var pair = try TLSPair(server, client)
        pair.handshake()
        return pair
    }

    /// A client whose own clock stands still, so that it offers sessions that it should have
    /// dropped.
    private func forgetfulClient(_ identity: CertificateFixture.Identity) throws -> TLSContext {
        try fixture.clientContext(identity, time: TestClock.start)
    }

    // MARK: Lists

    @Test func revokedClient_isRefused_othersAreNot() throws {
        let eve = try fixture.certificates.leaf("eve")
        let list = try fixture.certificates.revocationList("list", revoked: [eve])
        let server = try fixture.serverContext(crl: list)
        #expect(
            try connect(server, fixture.clientContext(eve)).serverOutcome
                == .failed(.peerRefused(.revoked)))
        #expect(try connect(server, fixture.clientContext(ada)).server.peerPrincipal != nil)
        #expect(server.revocationNextUpdate == WallTime(milliseconds: 4_102_444_799_000))
    }

    @Test func staleList_refusesEveryone() throws {
        let list = try fixture.certificates.revocationList("list", nextUpdate: "20260105000000Z")
        let server = try fixture.serverContext(crl: list)
        #expect(try connect(server, fixture.clientContext(ada)).serverOutcome == .open)
        fixture.clock.advance(days: 10)
        #expect(
            try connect(server, fixture.clientContext(ada)).serverOutcome
                == .failed(.peerRefused(.revocationUnknown)))
    }

    @Test func staleList_isNotLoaded() throws {
        let list = try fixture.certificates.revocationList("list", nextUpdate: "20251231000000Z")
        #expect(
            throws: TLSError.revocationListExpired(
                path: list, nextUpdate: WallTime(milliseconds: 1_767_139_200_000))
        ) { try fixture.serverContext(crl: list) }
    }

    /// Its authority's clock is ahead of ours.
    @Test func listOfTheFuture_isNotLoaded_untilItsTimeHasCome() throws {
        let list = try fixture.certificates.revocationList("list", lastUpdate: "20260102000000Z")
        let error = #expect(throws: TLSError.self) { try fixture.serverContext(crl: list) }
        #expect(
            error
                == .revocationListNotYetValid(
                    path: list, thisUpdate: TestClock.start.advanced(byMilliseconds: TestClock.day))
        )
        #expect(error?.passesWithTime == true)
        fixture.clock.advance(days: 1)
        let server = try fixture.serverContext(crl: list)
        #expect(try connect(server, fixture.clientContext(ada)).serverOutcome == .open)
    }

    /// Of another name, and of our authority's name with another key: a list that was signed anew.
    @Test(arguments: ["foreign", "root"]) func listOfAnotherAuthority_isNotLoaded(
        name: String
    ) throws {
        let foreign = try CertificateFixture(name: name)
        let list = try foreign.revocationList("list", namesKey: false)
        let error = #expect(throws: TLSError.self) { try fixture.serverContext(crl: list) }
        withExtendedLifetime(foreign) {}
        guard case .fileInvalid(list, let reason) = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
        #expect(reason.contains("every client would be refused"))
    }

    @Test func everyAuthorityOfTheChain_needsAList() throws {
        let certificates = fixture.certificates
        let team = try certificates.authority("team", under: certificates.root)
        let member = try certificates.leaf("member", by: team)
        let rootList = try certificates.revocationList("root-list")
        let teamList = try certificates.revocationList("team-list", of: team)
        let both = try certificates.directory.concatenate("both.crl", [rootList, teamList])
        let unknown = Outcome.failed(.peerRefused(.revocationUnknown))
        #expect(throws: TLSError.self, "nobody's chain has a list of its root") {
            try fixture.serverContext(crl: teamList)
        }
        for (list, outcome) in [(rootList, unknown), (both, .open)] {
            let pair = try connect(fixture.serverContext(crl: list), fixture.clientContext(member))
            #expect(pair.serverOutcome == outcome, "\(list)")
        }
    }

    // MARK: Lists that were found good before

    @Test func listsSignature_isCheckedOnce_andTheListEachTime() throws {
        let certificates = fixture.certificates
        let eve = try certificates.leaf("eve")
        let list = try certificates.revocationList(
            "list", revoked: [eve], nextUpdate: "20260105000000Z")
        let server = try fixture.serverContext(crl: list)
        for _ in 0..<3 {
            #expect(try connect(server, fixture.clientContext(ada)).serverOutcome == .open)
            #expect(
                try connect(server, fixture.clientContext(eve)).serverOutcome
                    == .failed(.peerRefused(.revoked)))
        }
        #expect(server.revocationListChecks == 1)
        fixture.clock.advance(days: 10)
        #expect(
            try connect(server, fixture.clientContext(ada)).serverOutcome
                == .failed(.peerRefused(.revocationUnknown)))
    }

    @Test func goodList_saysNothingForAnotherAuthorityOfTheSameName() throws {
        // Two authorities of one name and two keys, both trusted, and a list of the first alone.
        let other = try CertificateFixture()
        let root = fixture.certificates.root.certificate
        var leaf = CertificateFixture.Leaf()
        leaf.authorityKeyIdentifier = "keyid"
        let ada = try fixture.clientContext(fixture.certificates.leaf("ada", leaf))
        let bob = try fixture.clientContext(other.leaf("bob", leaf), trust: root)
        let trust = try fixture.certificates.directory.concatenate(
            "both.crt", [root, other.root.certificate])
        let server = try fixture.serverContext(
            trust: trust, crl: fixture.certificates.revocationList("list", namesKey: false))
        #expect(try connect(server, ada).serverOutcome == .open)
        for _ in 0..<2 {
            #expect(
                try connect(server, bob).serverOutcome
                    == .failed(.peerRefused(.revocationUnknown)))
        }
        #expect(server.revocationListChecks == 3)
    }

    @Test func listOfAnIntermediate_isCheckedEachTime() throws {
        let certificates = fixture.certificates
        let team = try certificates.authority("team", under: certificates.root)
        let member = try certificates.leaf("member", by: team)
        let both = try certificates.directory.concatenate(
            "both.crl",
            [
                certificates.revocationList("root-list"),
                certificates.revocationList("team-list", of: team),
            ])
        let server = try fixture.serverContext(crl: both)
        for count in [2, 3, 4] {
            // A context of its own, so that no session is resumed.
            #expect(try connect(server, fixture.clientContext(member)).serverOutcome == .open)
            #expect(server.revocationListChecks == count)
        }
    }

    @Test(arguments: ["", "hello\n", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
    func fileWithoutAGoodList_isNotLoaded(contents: String) throws {
        let path = try fixture.certificates.directory.write("bad.crl", contents)
        let error = #expect(throws: TLSError.self) { try fixture.serverContext(crl: path) }
        guard case .fileInvalid(path, _) = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
    }

    @Test func goodListFollowedByDamage_isNotLoaded() throws {
        let good = try fixture.certificates.revocationList("good")
        let bad = try fixture.certificates.directory.write(
            "bad.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        let both = try fixture.certificates.directory.concatenate("both.crl", [good, bad])
        #expect(throws: TLSError.self) { try fixture.serverContext(crl: both) }
    }

    // MARK: Resumption

    @Test func secondConnection_resumesWithTheSamePrincipal() throws {
        let (server, client) = try (fixture.serverContext(), fixture.clientContext(ada))
        let first = try connect(server, client)
        #expect(!first.server.resumed)
        for _ in 0..<3 {
            let next = try connect(server, client)
            #expect(next.serverOutcome == .open)
            #expect(next.server.resumed)
            #expect(next.client.resumed)
            #expect(next.server.peerPrincipal == first.server.peerPrincipal)
            #expect(next.server.peerNotAfter == first.server.peerNotAfter)
            #expect(next.server.negotiatedH2)
        }
        #expect(server.handshakeCounts.full == 1)
        #expect(server.handshakeCounts.resumed == 3)
    }

    @Test func closedAndDroppedConnections_leaveTheirSessionsResumable() throws {
        let (server, client) = try (fixture.serverContext(), fixture.clientContext(ada))
        do {
            let first = try connect(server, client)
            first.client.close()
            TLSPair.move(first.client, first.server)
            _ = try TLSPair.readAll(first.server)
            first.server.close()
        }
        #expect(try connect(server, client).server.resumed)
        // The pair of the line above was dropped without any close.
        #expect(try connect(server, client).server.resumed)
    }

    @Test func expiredClient_isNotResumed() throws {
        var leaf = CertificateFixture.Leaf()
        leaf.validity.to = "20260105000000Z"
        let brief = try fixture.certificates.leaf("brief", leaf)
        let server = try fixture.serverContext()
        let client = try forgetfulClient(brief)
        #expect(try connect(server, client).serverOutcome == .open)
        #expect(try connect(server, client).server.resumed)
        fixture.clock.advance(days: 10)
        let late = try connect(server, client)
        #expect(late.serverOutcome == .failed(.peerRefused(.expired)))
        #expect(late.server.peerPrincipal == nil)
    }

    @Test func staleList_endsResumptionToo() throws {
        let list = try fixture.certificates.revocationList("list", nextUpdate: "20260105000000Z")
        let server = try fixture.serverContext(crl: list)
        let client = try forgetfulClient(ada)
        #expect(try connect(server, client).serverOutcome == .open)
        #expect(try connect(server, client).server.resumed)
        fixture.clock.advance(days: 10)
        guard case .failed(.peerRefused) = try connect(server, client).serverOutcome else {
            Issue.record("resumed on a stale revocation list")
            return
        }
    }

    @Test func reloadedContext_resumesNothing_soThatARevocationHolds() throws {
        let identity = try fixture.certificates.server()
        let before = try fixture.serverContext(identity)
        let client = try fixture.clientContext(ada)
        #expect(try connect(before, client).serverOutcome == .open)
        let list = try fixture.certificates.revocationList("list", revoked: [ada])
        let after = try fixture.serverContext(identity, crl: list)
        #expect(try connect(after, client).serverOutcome == .failed(.peerRefused(.revoked)))
    }

    @Test func connectionWithoutCertificate_resumesAsNobody() throws {
        let server = try fixture.serverContext(nil, .optional)
        let client = try fixture.clientContext(nil)
        _ = try connect(server, client)
        let second = try connect(server, client)
        #expect(second.server.resumed)
        #expect(second.server.peerPrincipal == nil)
    }
}
