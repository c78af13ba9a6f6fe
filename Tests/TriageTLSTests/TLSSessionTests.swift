// Handshakes and data between our client and our server, in memory.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct TLSSessionTests {
    let fixture: TLSFixture
    let client: CertificateFixture.Identity

    init() throws {
        fixture = try TLSFixture()
        client = try fixture.certificates.leaf("ada")
    }

    private func open(chunk: Int = .max) throws -> TLSPair {
        var pair = try TLSPair(fixture.serverContext(), fixture.clientContext(client))
        pair.handshake(chunk: chunk)
        try #require(pair.serverOutcome == .open)
        try #require(pair.clientOutcome == .open)
        return pair
    }

    @Test func server_sendsTheChainOfItsFile_andNoRoot() throws {
        let certificates = fixture.certificates
        let root = certificates.root.certificate
        let team = try certificates.authority("team", under: certificates.root)
        let leaf = CertificateFixture.Leaf("DNS:localhost")
        let identities = try [
            certificates.leaf("alone", leaf), certificates.leaf("member", leaf, by: team),
        ]
        for (identity, count) in zip(identities, [1, 2] as [Int32]) {
            // It trusts the root itself, and so knows it.
            let server = try TLSSession(fixture.serverContext(identity))
            let peer = try RawClient(client, trust: root, server: server)
            #expect(peer.peerCertificateCount == count)
        }
    }

    @Test func handshake_givesThePrincipalOfTheClient() throws {
        let pair = try open()
        #expect(pair.server.peerPrincipal?.text == "spiffe://triage.example/specialist/ada")
        #expect(pair.server.peerNotAfter == WallTime(milliseconds: 4_102_444_799_000))
        #expect(pair.server.negotiatedH2)
        #expect(pair.client.negotiatedH2)
        #expect(!pair.server.resumed)
        #expect(pair.client.peerPrincipal == nil)
        #expect(pair.client.peerNotAfter != nil)
    }

    @Test(arguments: [1, 7, 100]) func handshake_inSmallPieces_completes(chunk: Int) throws {
        let pair = try open(chunk: chunk)
        #expect(pair.server.peerPrincipal != nil)
        #expect(
            try TLSPair.send([1, 2, 3], from: pair.client, to: pair.server, chunk: 1) == [1, 2, 3])
    }

    @Test func bytes_ofManyRecords_arriveInOrderBothWays() throws {
        let pair = try open()
        var random = SeededRandom(seed: 0x7C15_0001)
        for size in [1, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
            let bytes = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let chunk = 1 + Int(random.next() % 70_000)
            #expect(
                try TLSPair.send(bytes, from: pair.client, to: pair.server, chunk: chunk) == bytes)
            #expect(
                try TLSPair.send(bytes, from: pair.server, to: pair.client, chunk: chunk) == bytes)
        }
    }

    @Test func partiallySentOutput_keepsTheRest() throws {
        let pair = try open()
        let bytes = [UInt8](repeating: 7, count: 40_000)
        try pair.server.write(bytes.span)
        let waiting = pair.server.outputCount
        pair.server.withOutput { span in
            pair.client.receive(span.extracting(0..<1_000))
            return 1_000
        }
        #expect(pair.server.outputCount == waiting - 1_000)
        #expect(try TLSPair.readAll(pair.client).isEmpty)
        TLSPair.move(pair.server, pair.client)
        #expect(try TLSPair.readAll(pair.client) == bytes)
    }

    @Test func close_isSeenByThePeerAfterTheLastBytes() throws {
        let pair = try open()
        try pair.client.write([9, 9].span)
        pair.client.close()
        TLSPair.move(pair.client, pair.server)
        var buffer = [UInt8](repeating: 0, count: 64)
        #expect(try pair.server.read(into: &buffer) == .bytes(2))
        #expect(try pair.server.read(into: &buffer) == .closed)
        #expect(try pair.server.read(into: &buffer) == .closed)
    }

    @Test func tamperedRecord_isAProtocolViolation() throws {
        let pair = try open()
        try pair.client.write([1, 2, 3, 4].span)
        var record: [UInt8] = []
        pair.client.withOutput { span in
            for index in span.indices { record.append(span[index]) }
            return span.count
        }
        record[record.count - 1] ^= 1
        pair.server.receive(record.span)
        var buffer = [UInt8](repeating: 0, count: 64)
        let error = #expect(throws: TLSError.self) { try pair.server.read(into: &buffer) }
        guard case .protocolViolation = error else {
            Issue.record("not a protocol violation: \(String(describing: error))")
            return
        }
        #expect(pair.server.outputCount > 0, "an alert tells the peer why")
        TLSPair.move(pair.server, pair.client)
        let seen = #expect(throws: TLSError.self) { try pair.client.read(into: &buffer) }
        guard case .alertReceived = seen else {
            Issue.record("not an alert: \(String(describing: seen))")
            return
        }
    }

    @Test func keyUpdates_upToTheLimitAreServed_oneMoreIsRefused() throws {
        let pair = try open()
        for round in 0..<32 {
            try pair.client.updateKeys()
            let byte = UInt8(round)
            #expect(try TLSPair.send([byte], from: pair.client, to: pair.server) == [byte])
        }
        try pair.client.updateKeys()
        #expect(throws: TLSError.tooManyKeyUpdates) {
            try TLSPair.send([1], from: pair.client, to: pair.server)
        }
    }

    @Test func keyUpdates_ofOneRead_areNotHandledBeyondTheLimit() throws {
        let pair = try open()
        for _ in 0..<2_000 { try pair.client.updateKeys() }
        TLSPair.move(pair.client, pair.server)
        #expect(throws: TLSError.tooManyKeyUpdates) { try TLSPair.readAll(pair.server) }
        #expect(pair.server.keyUpdates == Limits.keyUpdatesMax + 1)
    }

    @Test func plainHTTPRequest_failsTheHandshake() throws {
        let server = try TLSSession(fixture.serverContext())
        server.receive(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8).span)
        let error = #expect(throws: TLSError.self) { try server.handshake() }
        guard case .handshakeFailed = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
    }

    @Test func olderTLS_isRefusedWithAProtocolVersionAlert() throws {
        let server = try TLSSession(fixture.serverContext())
        server.receive(clientHelloOfTLS12().span)
        #expect(throws: TLSError.handshakeFailed("unsupported protocol")) { try server.handshake() }
        var alert: [UInt8] = []
        server.withOutput { span in
            for index in span.indices { alert.append(span[index]) }
            return span.count
        }
        #expect(Array(alert.suffix(2)) == [2, 70])
    }

    /// A well-formed ClientHello that offers TLS 1.2 with ALPN h2 and nothing newer.
    private func clientHelloOfTLS12() -> [UInt8] {
        func sized16(_ bytes: [UInt8]) -> [UInt8] {
            [UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes
        }
        let alpn: [UInt8] = [0, 16] + sized16(sized16([2] + Array("h2".utf8)))
        let groups: [UInt8] = [0, 10] + sized16(sized16([0, 23]))
        let signatures: [UInt8] = [0, 13] + sized16(sized16([4, 3]))
        let body: [UInt8] =
            [3, 3] + [UInt8](repeating: 0x5A, count: 32) + [0] + sized16([0xC0, 0x2B]) + [1, 0]
            + sized16(alpn + groups + signatures)
        return [22, 3, 1] + sized16([1, 0] + sized16(body))
    }

    @Test func randomBytes_neverPassTheHandshake() throws {
        var random = SeededRandom(seed: 0x7C15_0002)
        let context = try fixture.serverContext()
        for _ in 0..<300 {
            let server = try TLSSession(context)
            var bytes = (0..<Int(random.next() % 600)).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            // Half of them look like a handshake record, to get past the first check.
            if random.next() % 2 == 0 { bytes = [22, 3, 1, 2, 0] + bytes }
            server.receive(bytes.span)
            let step = try? server.handshake()
            #expect(step != .complete)
        }
    }

    @Test func session_isFreedWithItsLastReference() throws {
        weak var server: TLSSession?
        do {
            let pair = try open()
            server = pair.server
            #expect(server != nil)
        }
        #expect(server == nil)
    }
}
