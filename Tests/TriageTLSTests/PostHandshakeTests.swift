// What a client may not say once the handshake is over; renegotiation above all. TLS 1.3 has none:
// these tests show that the server holds to that, byte by byte.

import TestSupport
import Testing
import TriageBase
import TriageTLS

@Suite struct PostHandshakeTests {
    let fixture: TLSFixture

    init() throws { fixture = try TLSFixture() }

    private func open() throws -> (RawClient, TLSSession) {
        // The machine's clock: the raw client has no other.
        var leaf = CertificateFixture.Leaf()
        leaf.validity.to = "20990101000000Z"
        let identity = try fixture.certificates.leaf("raw", leaf)
        let server = try TLSSession(fixture.serverContext())
        let client = try RawClient(
            identity, trust: fixture.certificates.root.certificate, server: server)
        return (client, server)
    }

    private static func handshakeMessage(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
        [type, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
    }

    private static let handshake: UInt8 = 22
    private static let applicationData: UInt8 = 23
    private static let unexpectedMessage: Int32 = 10

    /// A message that only a server may send, or that only begins a handshake.
    struct Forbidden: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let type: UInt8
        var body: [UInt8] = []
    }

    @Test(arguments: [
        Forbidden(testDescription: "HelloRequest (TLS 1.2)", type: 0),
        Forbidden(
            testDescription: "ClientHello", type: 1,
            body: [3, 3] + [UInt8](repeating: 7, count: 32) + [0, 0, 2, 0x13, 1, 1, 0, 0, 0]),
        Forbidden(testDescription: "NewSessionTicket", type: 4, body: [0, 0, 0, 1]),
        Forbidden(testDescription: "CertificateRequest", type: 13, body: [0, 0, 0]),
        Forbidden(testDescription: "Certificate", type: 11, body: [0, 0, 0, 0]),
        Forbidden(testDescription: "Finished", type: 20, body: [UInt8](repeating: 1, count: 32)),
    ]) func rfc8446_4_1_2_aHandshakeAfterTheHandshake_isUnexpected(message: Forbidden) throws {
        let (client, server) = try open()
        server.receive(
            client.sealed(
                type: Self.handshake, Self.handshakeMessage(message.type, message.body)
            ).span)
        #expect(throws: TLSError.self) { try TLSPair.readAll(server) }
        #expect(client.alert(of: server) == Self.unexpectedMessage)
    }

    @Test func rfc8446_4_6_3_aKeyUpdate_isNotOneOfThem() throws {
        let (client, server) = try open()
        server.receive(client.sealed(type: Self.applicationData, [1, 2]).span)
        #expect(try TLSPair.readAll(server) == [1, 2], "records made by hand are understood")
        server.receive(
            client.sealed(type: Self.handshake, Self.handshakeMessage(24, [0])).span)
        #expect(try TLSPair.readAll(server).isEmpty)
    }

    @Test func rfc8446_5_changeCipherSpecAfterTheHandshake_isUnexpected() throws {
        let (client, server) = try open()
        server.receive(RawClient.plain(type: 20, [1]).span)
        #expect(throws: TLSError.self) { try TLSPair.readAll(server) }
        #expect(client.alert(of: server) == Self.unexpectedMessage)
    }

    @Test func rfc8446_5_1_plaintextAfterTheHandshake_isRefused() throws {
        let (_, server) = try open()
        server.receive(RawClient.plain(type: Self.applicationData, [1, 2, 3]).span)
        #expect(throws: TLSError.self) { try TLSPair.readAll(server) }
    }

    /// OpenSSL's own bounds, which cannot be set; a message callback does not see an empty record
    /// that is padded.
    ///
    /// user_canceled is the one warning that TLS 1.3 has left.
    @Test(arguments: [
        (applicationData, [], 32, "record too small"),
        (UInt8(21), [1, 90] as [UInt8], 4, "too many warn alerts"),
    ]) func emptyRecordsAndWarnings_endTheSession_withTheFirstBeyondSoManyInARow(
        type: UInt8, content: [UInt8], most: Int, reason: String
    ) throws {
        let (client, server) = try open()
        for _ in 0..<2 {
            for _ in 0..<most { server.receive(client.sealed(type: type, content).span) }
            #expect(try TLSPair.readAll(server).isEmpty)
            server.receive(client.sealed(type: Self.applicationData, [7]).span)
            #expect(try TLSPair.readAll(server) == [7], "no longer in a row")
        }
        for _ in 0...most { server.receive(client.sealed(type: type, content).span) }
        #expect(throws: TLSError.protocolViolation(reason)) { try TLSPair.readAll(server) }
    }
}
