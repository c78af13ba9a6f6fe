// Servers that are not there, go away, come back, or refuse: what calls notice of it.

import TestSupport
import Testing
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS
import TriageTransport

@testable import TriageClient

@Suite struct FailoverTests {
    /// A port of which nobody answers: bound, and never listened on.
    private static func deadPort() throws -> Endpoint {
        let socket = try Socket.listen(host: "127.0.0.1", port: 0, backlog: 1)
        return Endpoint(host: "127.0.0.1", port: try socket.localPort())
    }

    @Test(arguments: ["pick_first", "round_robin"])
    func oneDeadAddress_failsNoCall(balancing: String) async throws {
        let server = try TestServer()
        let client = try TestClient(
            [try Self.deadPort(), server.endpoint], balancing: balancing)
        for number in 0..<20 {
            let once = TestClient.options { $0.isIdempotent = false }
            #expect(try await client.call("Echo", "\(number)", once) == "\(number)")
        }
        client.client.close()
        server.stop()
    }

    @Test func withoutAnyServer_aCallFails_andSaysWhy() async throws {
        let dead = try Self.deadPort()
        let client = try TestClient([dead, try Self.deadPort()])
        let once = TestClient.options { $0.isIdempotent = false }
        let failure = try #require(await client.failure("Echo", "", once))
        #expect(failure.code == .unavailable && failure.reason == "SERVER_UNREACHABLE")
        #expect(failure.message.contains("\(dead)") && failure.message.contains("refused"))
        client.client.close()
    }

    @Test func aNameThatIsNone_isSaid() async throws {
        let client = try TestClient([Endpoint(host: "no-such-host.invalid", port: 1)])
        let failure = try #require(await client.failure("Echo"))
        #expect(failure.code == .unavailable)
        #expect(failure.message.contains("no-such-host.invalid"))
        client.client.close()
    }

    @Test func aName_standsForItsAddresses() async throws {
        let server = try TestServer()
        let client = try TestClient([Endpoint(host: "localhost", port: server.port)])
        #expect(try await client.call("Echo", "a") == "a")
        client.client.close()
        server.stop()
    }

    @Test func whoWaitsForReady_waits_untilTheServerIsThere() async throws {
        let dead = try Self.deadPort()
        let client = try TestClient([dead])
        let answer = try await withThrowingTaskGroup(of: String.self) { group in
            group.addTask {
                let waiting = TestClient.options { $0.waitsForReady = true }
                return try await client.call("Echo", "at last", waiting)
            }
            #expect(await client.events.wait("disconnected"))
            let server = try TestServer(port: dead.port)
            let answer = try await group.next()
            client.client.close()
            server.stop()
            return answer
        }
        #expect(answer == "at last")
    }

    @Test func whoWaitsInVain_isToldWhatFor() async throws {
        let client = try TestClient([try Self.deadPort()])
        let options = TestClient.options {
            $0.waitsForReady = true
            $0.deadline = .after(milliseconds: 200)
        }
        let failure = try #require(await client.failure("Echo", "", options))
        #expect(failure.code == .deadlineExceeded)
        #expect(failure.message.contains("waited for a connection"))
        client.client.close()
    }

    @Test func aCertificateThatIsRefused_isSaid() async throws {
        let other = try CertificateFixture(name: "other")
        let server = try TestServer(trust: other.root.certificate)
        let client = try TestClient([server.endpoint])
        let failure = try #require(await client.failure("Echo"))
        #expect(failure.code == .unavailable)
        #expect(failure.message.contains("TLS"))
        client.client.close()
        server.stop()
    }

    @Test func aServerOfAnotherName_isNotTrusted() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint]) { $0.serverName = "elsewhere.example" }
        let failure = try #require(await client.failure("Echo"))
        #expect(failure.message.contains("another server name"))
        client.client.close()
        server.stop()
    }

    // MARK: Going away under load

    /// Calls without pause, which may not be repeated, until told to stop.
    private func underLoad(
        _ client: TestClient, tasks: Int = 8, _ body: () async throws -> Void
    ) async throws -> (answered: Int, failures: [RPCError]) {
        let isOver = Lock(false)
        return try await withThrowingTaskGroup(of: (Int, [RPCError]).self) { group in
            for _ in 0..<tasks {
                group.addTask {
                    var answered = 0
                    var failures: [RPCError] = []
                    let once = TestClient.options { $0.isIdempotent = false }
                    while !isOver.withLock({ $0 }) {
                        if let failure = await client.failure("Echo", "x", once) {
                            failures.append(failure)
                        } else {
                            answered += 1
                        }
                    }
                    return (answered, failures)
                }
            }
            try await body()
            isOver.withLock { $0 = true }
            var all = (answered: 0, failures: [RPCError]())
            while let (answered, failures) = try await group.next() {
                all.answered += answered
                all.failures += failures
            }
            return all
        }
    }

    @Test(arguments: ["pick_first", "round_robin"])
    func drainedServers_failNoCall(balancing: String) async throws {
        var servers = [try TestServer(), try TestServer()]
        let ports = servers.map(\.port)
        let client = try TestClient(servers.map(\.endpoint), balancing: balancing)
        let (answered, failures) = try await underLoad(client) {
            #expect(await client.events.wait("connected"))
            for round in 0..<6 {
                let index = round % 2
                if balancing == "round_robin" {
                    #expect(await client.events.wait("connected \(ports[index])", round / 2 + 1))
                }
                servers[index].stop()
                servers[index] = try TestServer(port: ports[index])
                // Back in the rotation before the other one goes.
                for _ in 0..<200 { _ = await client.failure("Echo") }
                if balancing == "round_robin" {
                    #expect(await client.events.wait("connected \(ports[index])", round / 2 + 2))
                }
            }
        }
        #expect(failures.count == 0, "\(failures.prefix(3))")
        #expect(answered > 100)
        #expect(client.events.count("draining") >= 3)
        client.client.close()
        for server in servers { server.stop() }
    }

    @Test func connectionsThatReachTheServersAge_failNoCall() async throws {
        let server = try TestServer { $0.ageMillisecondsMax = 1_000 }
        let client = try TestClient([server.endpoint])
        let (answered, failures) = try await underLoad(client) {
            #expect(await client.events.wait("draining", 3))
        }
        #expect(failures.count == 0, "\(failures.prefix(3))")
        #expect(answered > 8, "each task went on")
        client.client.close()
        server.stop()
    }

    @Test func connectionsThatReachOurAge_failNoCall() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint]) { $0.ageMilliseconds = 100 }
        let (answered, failures) = try await underLoad(client) {
            #expect(await client.events.wait("connected", 10))
        }
        #expect(failures.count == 0, "\(failures.prefix(3))")
        #expect(answered > 8, "each task went on")
        #expect(client.events.count("draining") == 0, "we were first")
        client.client.close()
        server.stop()
    }

    @Test func aCallInFlight_isFinishedByADrain() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint])
        try await withThrowingTaskGroup(of: String.self) { group -> Void in
            group.addTask { try await client.call("Hold") }
            #expect(await server.events.wait("held"))
            server.server.beginDrain()
            #expect(await client.events.wait("draining"))
            server.release()
            let answer = try await group.next()
            #expect(answer == "\u{1}")
        }
        server.server.waitUntilStopped()
        client.client.close()
    }

    // MARK: Room

    @Test func moreCallsThanAConnectionTakes_getMoreConnections() async throws {
        let server = try TestServer { $0.concurrentStreamsMax = 10 }
        let client = try TestClient([server.endpoint])
        await withTaskGroup(of: RPCError?.self) { group in
            for _ in 0..<45 { group.addTask { await client.failure("Hold") } }
            #expect(await server.events.wait("held", 45))
            #expect(client.events.count("connected") == 5)
            server.release()
            for await failure in group { #expect(failure == nil) }
        }
        client.client.close()
        server.stop()
    }

    @Test func whatFindsNoRoom_waitsForItsDeadline_orForItsTurn() async throws {
        let server = try TestServer { $0.concurrentStreamsMax = 1 }
        let client = try TestClient([server.endpoint]) { $0.connectionsMax = 1 }
        await withTaskGroup(of: RPCError?.self) { group in
            group.addTask { await client.failure("Hold") }
            #expect(await server.events.wait("held"))
            let late = await client.failure("Echo", "", CallOptions(timeoutMilliseconds: 50))
            #expect(late?.code == .deadlineExceeded)
            group.addTask { await client.failure("Echo", "next") }
            server.release()
            for await failure in group { #expect(failure == nil) }
        }
        client.client.close()
        server.stop()
    }

    @Test func moreWatchesThanAConnectionMayHold_getMoreConnections() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint])
        var watches: [OpenCall] = []
        for number in 0..<45 {
            watches.append(
                client.client.serverStream(path: "/t.T/Watch", message: [UInt8(number)]))
        }
        for (number, watch) in watches.enumerated() {
            #expect(try await watch.next() == [UInt8(number)])
        }
        #expect(client.events.count("connected") == 3)
        client.client.close()
        server.stop()
    }

    // MARK: Silence and renewal

    @Test func aServerThatHangs_isGivenUp() async throws {
        // Somebody who accepts and never says a word.
        let mute = try Socket.listen(host: "127.0.0.1", port: 0, backlog: 16)
        let server = try TestServer()
        let silent = Endpoint(host: "127.0.0.1", port: try mute.localPort())
        let client = try TestClient([silent, server.endpoint])
        #expect(try await client.call("Echo", "a") == "a", "the race goes to the one that answers")
        client.client.close()
        server.stop()
    }

    @Test func aServerThatFallsSilent_isGivenUp() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint]) {
            $0.keepalive = KeepaliveTimes(silenceMilliseconds: 20, answerMilliseconds: 100)
        }
        #expect(try await client.call("Echo", "a") == "a")
        // Its one thread sleeps in a call: not a byte comes, not even the answer to a ping.
        let once = TestClient.options { $0.isIdempotent = false }
        let failure = try #require(await client.failure("Hang", "", once))
        #expect(failure.code == .unavailable && failure.message.contains("sign of life"))
        server.events.wakeHung()
        client.client.close()
        server.stop()
    }

    @Test func aServerThatFindsPingsTooMany_isPingedLess() async throws {
        let server = try TestServer()
        let client = try TestClient([server.endpoint]) {
            $0.keepalive = KeepaliveTimes(silenceMilliseconds: 1, answerMilliseconds: 60_000)
        }
        let failure = await client.failure(
            "Hold", "", TestClient.options { $0.isIdempotent = false })
        #expect(failure?.code == .unavailable)
        #expect(client.events.count("halved") == 1)
        client.client.close()
        server.stop()
    }

    @Test func renewedFiles_areUsedForNewConnections() async throws {
        let issued = try Certificates.issued()
        let directory = try TempDirectory()
        let paths = ["chain.pem", "key.pem"].map { directory.file($0) }
        func install(_ identity: CertificateFixture.Identity) throws {
            for (from, to) in zip([identity.certificate, identity.privateKey], paths) {
                _ = try directory.concatenate(String(to.split(separator: "/").last ?? ""), [from])
            }
            try directory.setMode(paths[1], 0o600)
        }
        try install(issued.ada)
        let server = try TestServer()
        let client = try TestClient([server.endpoint]) {
            $0.certificateChain = paths[0]
            $0.privateKey = paths[1]
            $0.ageMilliseconds = 1
        }
        #expect(try await client.call("Echo", "as ada") == "as ada")
        // One of the two is new, and the other not yet.
        _ = try directory.concatenate("chain.pem", [issued.bob.certificate])
        while client.events.count("refused") == 0 {
            #expect(try await client.call("Echo", "still as ada") == "still as ada")
        }
        try install(issued.bob)
        while client.events.count("reloaded") == 0 {
            #expect(try await client.call("Echo", "x") == "x")
        }
        #expect(try await client.call("Echo", "as bob") == "as bob")
        client.client.close()
        server.stop()
    }
}
