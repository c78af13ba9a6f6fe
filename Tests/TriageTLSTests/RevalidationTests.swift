// Open connections after a reload: who would not be let in any more is not kept, and who would be
// is. And when a renewal is urgent.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct RevalidationTests {
    let fixture: TLSFixture
    let ada: CertificateFixture.Identity

    init() throws {
        fixture = try TLSFixture()
        ada = try fixture.certificates.leaf("ada")
    }

    private func connect(_ server: TLSContext, _ client: TLSContext) throws -> TLSPair {
        var pair = try TLSPair(server, client)
        pair.handshake()
        #expect(pair.serverOutcome == .open)
        return pair
    }

    @Test func newList_findsTheRevoked_andNobodyElse_resumedOrNot() throws {
        let eve = try fixture.certificates.leaf("eve")
        let old = try fixture.serverContext(
            crl: fixture.certificates.revocationList("before"))
        let client = try fixture.clientContext(eve)
        let full = try connect(old, client)
        let resumed = try connect(old, client)
        #expect(resumed.server.resumed)
        let other = try connect(old, fixture.clientContext(ada))
        for pair in [full, resumed, other] { #expect(pair.server.refusal(under: old) == nil) }
        let new = try fixture.serverContext(
            crl: fixture.certificates.revocationList("after", revoked: [eve]))
        #expect(full.server.refusal(under: new) == .revoked)
        #expect(resumed.server.refusal(under: new) == .revoked)
        #expect(other.server.refusal(under: new) == nil)
        // The session itself is as good as before.
        #expect(try TLSPair.send([1, 2], from: other.client, to: other.server) == [1, 2])
    }

    @Test func revokedIntermediate_takesItsLeavesAlong() throws {
        let certificates = fixture.certificates
        let team = try certificates.authority("team", under: certificates.root)
        let member = try certificates.leaf("member", by: team)
        let client = try fixture.clientContext(member)
        let old = try fixture.serverContext()
        _ = try connect(old, client)
        let pair = try connect(old, client)
        #expect(pair.server.resumed, "the chain is remembered with the session")
        #expect(pair.server.refusal(under: old) == nil)
        let teamList = try certificates.revocationList("team-list", of: team)
        let rootOnly = try fixture.serverContext(
            crl: certificates.revocationList("root-list"))
        #expect(pair.server.refusal(under: rootOnly) == .revocationUnknown)
        let both = try certificates.directory.concatenate(
            "both.crl", [certificates.revocationList("root-list"), teamList])
        #expect(pair.server.refusal(under: try fixture.serverContext(crl: both)) == nil)
    }

    @Test func otherTrust_orTime_isSeen() throws {
        let foreign = try CertificateFixture(name: "foreign")
        let pair = try connect(fixture.serverContext(), fixture.clientContext(ada))
        let elsewhere = try fixture.serverContext(trust: foreign.root.certificate)
        #expect(pair.server.refusal(under: elsewhere) == .untrusted)
        var leaf = CertificateFixture.Leaf()
        leaf.validity.to = "20260105000000Z"
        let brief = try connect(
            fixture.serverContext(),
            fixture.clientContext(fixture.certificates.leaf("brief", leaf)))
        #expect(brief.server.peerMillisecondsLeft == 4 * TestClock.day)
        let context = try fixture.serverContext()
        #expect(brief.server.refusal(under: context) == nil)
        fixture.clock.advance(days: 10)
        #expect(brief.server.refusal(under: context) == .expired)
        #expect(brief.server.peerMillisecondsLeft == 0)
    }

    @Test func peerWithoutCertificate_isNotRefused() throws {
        let context = try fixture.serverContext(nil, .optional)
        let pair = try connect(context, fixture.clientContext(nil))
        #expect(pair.server.refusal(under: context) == nil)
        #expect(pair.server.peerMillisecondsLeft == nil)
    }
}

@Suite struct TLSValidityTests {
    @Test(arguments: [
        // Days of life, days left, alarm.
        (365, 300, TLSAlarm.none), (365, 8, .none), (365, 6, .soon), (365, 0, .past),
        (365, -1, .past), (3, 2, .none), (3, 1, .none), (9, 2, .soon),
    ]) func alarm(life: Int64, left: Int64, expected: TLSAlarm) {
        let end = TestClock.start
        let validity = TLSValidity(
            from: end.advanced(byMilliseconds: -life * TestClock.day), until: end)
        #expect(
            validity.alarm(at: end.advanced(byMilliseconds: -left * TestClock.day)) == expected)
    }

    @Test func hourOfLife_alarmsInItsLastThird() {
        let validity = TLSValidity(
            from: TestClock.start, until: TestClock.start.advanced(byMilliseconds: 3_600_000))
        func at(_ minutes: Int64) -> TLSAlarm {
            validity.alarm(at: TestClock.start.advanced(byMilliseconds: minutes * 60_000))
        }
        #expect([at(0), at(39), at(41), at(60)] == [.none, .none, .soon, .past])
    }
}
