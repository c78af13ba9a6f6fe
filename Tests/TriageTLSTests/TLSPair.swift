// A client and a server session joined in memory, without sockets or sleeping.

import Synchronization
import TestSupport
import TriageBase
import TriageTLS

/// A clock that tests turn.
final class TestClock: Sendable {
    private let milliseconds: Mutex<Int64>

    /// Starts on 2026-01-01.
    init(_ start: WallTime = TestClock.start) {
        milliseconds = Mutex(start.milliseconds)
    }

    static let start = WallTime(milliseconds: 1_767_225_600_000)
    static let day: Int64 = 86_400_000

    var now: WallTime { WallTime(milliseconds: milliseconds.withLock { $0 }) }
    func advance(days: Int64) { milliseconds.withLock { $0 += days * Self.day } }
}

/// How one side's handshake ended.
enum Outcome: Equatable {
    case open
    case failed(TLSError)
}

/// Two sessions and the bytes between them.
struct TLSPair {
    var server: TLSSession
    var client: TLSSession
    var serverOutcome = Outcome.open
    var clientOutcome = Outcome.open

    init(_ server: TLSContext, _ client: TLSContext) throws {
        self.server = try TLSSession(server)
        self.client = try TLSSession(client)
    }

    /// Moves all waiting ciphertext from one session to another, `chunk` bytes at a time.
    ///
    /// - Returns: How many bytes moved.
    @discardableResult
    static func move(_ from: TLSSession, _ to: TLSSession, chunk: Int = .max) -> Int {
        var moved = 0
        while from.outputCount > 0 {
            from.withOutput { bytes in
                let part = bytes.extracting(0..<min(chunk, bytes.count))
                to.receive(part)
                moved += part.count
                return part.count
            }
        }
        return moved
    }

    private static func step(_ session: TLSSession, _ outcome: inout Outcome) -> Bool {
        guard case .open = outcome else { return false }
        do {
            return try session.handshake() == .complete
        } catch {
            outcome = .failed(error)
            return false
        }
    }

    /// Shakes hands until both are complete, one fails, or nothing moves any more.
    ///
    /// A client learns of its own refusal after its handshake: it reads once more.
    mutating func handshake(chunk: Int = .max) {
        var complete = false
        repeat {
            let clientDone = Self.step(client, &clientOutcome)
            let toServer = Self.move(client, server, chunk: chunk)
            let serverDone = Self.step(server, &serverOutcome)
            let toClient = Self.move(server, client, chunk: chunk)
            complete = clientDone && serverDone || toServer + toClient == 0
        } while !complete
        guard case .open = clientOutcome else { return }
        do {
            guard try client.handshake() == .complete else { return }
            var buffer = [UInt8](repeating: 0, count: 256)
            _ = try client.read(into: &buffer)
        } catch {
            clientOutcome = .failed(error)
        }
    }

    /// Encrypts on one side, decrypts everything on the other.
    static func send(_ bytes: [UInt8], from: TLSSession, to: TLSSession, chunk: Int = .max) throws
        -> [UInt8]
    {
        try from.write(bytes.span)
        move(from, to, chunk: chunk)
        return try readAll(to)
    }

    /// Everything that can be read now.
    static func readAll(_ session: TLSSession) throws -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 5_000)
        while case .bytes(let count) = try session.read(into: &buffer) {
            all.append(contentsOf: buffer[0..<count])
        }
        return all
    }
}

/// Contexts made from one fixture.
struct TLSFixture {
    let certificates: CertificateFixture
    let clock = TestClock()

    init() throws { certificates = try CertificateFixture() }

    func serverContext(
        _ identity: CertificateFixture.Identity? = nil, trust: String? = nil, crl: String? = nil,
        _ clientCertificate: TLSConfiguration.ClientCertificate = .required
    ) throws -> TLSContext {
        let identity = try identity ?? certificates.server()
        var configuration = TLSConfiguration.server(
            certificateChain: identity.certificate, privateKey: identity.privateKey,
            clientTrust: trust ?? certificates.root.certificate, crl: crl,
            clientCertificate: clientCertificate)
        configuration.clock = { [clock] in clock.now }
        return try TLSContext(configuration)
    }

    func clientContext(
        _ identity: CertificateFixture.Identity?, trust: String? = nil,
        serverName: String = "localhost",
        protocols: [String] = ["h2"], time: WallTime? = nil
    ) throws -> TLSContext {
        var configuration = TLSConfiguration.client(
            certificateChain: identity?.certificate, privateKey: identity?.privateKey,
            serverTrust: trust ?? certificates.root.certificate, serverName: serverName)
        configuration.clock = { [clock] in time ?? clock.now }
        configuration.offeredProtocols = protocols
        return try TLSContext(configuration)
    }

    /// Shakes hands with a client that presents `leaf`.
    func pair(presenting leaf: CertificateFixture.Leaf, clientTime: WallTime? = nil) throws
        -> TLSPair
    {
        let identity = try certificates.leaf("client", leaf)
        var pair = try TLSPair(serverContext(), clientContext(identity, time: clientTime))
        pair.handshake()
        return pair
    }
}
