// Channelz: what an operator sees of a running server, and that nobody else does (that is in
// AuthorizationTests). The inspector is a stand-in; the real one is in TriageTransportTests.

import Synchronization
import Testing
import TriageBase
import TriageCodec
import TriageGRPC

@testable import TriageServices

/// A server with two listeners and two connections.
private final class FakeInspector: ServerInspector {
    let inspectionID: Int64 = 1
    let asked = Mutex<[String]>([])

    var listeners: [SocketFacts] {
        var listener = SocketFacts(id: 2)
        listener.name = "listener"
        listener.localPort = 8_443
        var external = SocketFacts(id: 3)
        external.name = "external listener"
        external.localPort = 9_443
        return [listener, external]
    }

    func inspect(
        _ question: ServerQuestion, _ job: any InspectionJob, to mailbox: any ReactorMailbox
    ) {
        asked.withLock { $0.append("\(question)") }
        var facts = ServerFacts()
        switch question {
        case .server:
            facts.callsStarted = 10
            facts.callsSucceeded = 7
            facts.callsFailed = 2
        case .sockets(let first, let count):
            facts.sockets = [70, 60].filter { $0 >= first }.map { SocketFacts(id: $0) }
            facts.keep(count)
        case .socket(let id) where id == 60:
            var socket = SocketFacts(id: 60)
            socket.localAddress = [127, 0, 0, 1]
            socket.localPort = 8_443
            socket.remoteAddress = [192, 0, 2, 7]
            socket.remotePort = 5_000
            socket.remoteName = "spiffe://triage.example/operator/sre"
            socket.cipherSuite = "TLS_AES_128_GCM_SHA256"
            socket.streamsStarted = 9
            socket.streamsOpen = 1
            socket.streamsFailed = 2
            socket.messagesSent = 4
            socket.messagesReceived = 5
            facts.sockets = [socket]
        case .socket: break
        }
        job.found(facts)
        mailbox.post(job)
    }
}

@Suite struct ChannelzTests {
    private let bench = ServiceBench()
    private let inspector = FakeInspector()

    init() { bench.factory.attach(inspector) }

    @Test func servers_areOne_withItsCounts() throws {
        let reply = try bench.reply(.channelzServers, by: "operator")
        let server = try #require(reply.messages("server").first)
        #expect(reply.messages("server").count == 1 && reply.bool("end"))
        #expect(server.message("ref")?.int("server_id") == 1)
        #expect(server.message("data")?.int("calls_started") == 10)
        #expect(server.message("data")?.int("calls_succeeded") == 7)
        #expect(server.message("data")?.int("calls_failed") == 2)
        #expect(server.messages("listen_socket").map { $0.int("socket_id") } == [2, 3])
        let same = try bench.reply(.channelzServer, by: "operator", ["server_id": .long(1)])
        #expect(same.message("server")?.message("data")?.int("calls_started") == 10)
        let none = try bench.reply(
            .channelzServers, by: "operator", ["start_server_id": .long(2)])
        #expect(none.messages("server").isEmpty && none.bool("end"))
    }

    @Test func sockets_comeInPages_byID() throws {
        let first = try bench.reply(
            .channelzServerSockets, by: "operator",
            ["server_id": .long(1), "max_results": .long(1)])
        #expect(first.messages("socket_ref").map { $0.int("socket_id") } == [60])
        #expect(!first.bool("end"))
        let rest = try bench.reply(
            .channelzServerSockets, by: "operator",
            ["server_id": .long(1), "start_socket_id": .long(61)])
        #expect(rest.messages("socket_ref").map { $0.int("socket_id") } == [70])
        #expect(rest.bool("end"))
        _ = try bench.reply(
            .channelzServerSockets, by: "operator",
            ["server_id": .long(1), "start_socket_id": .long(-5), "max_results": .long(1 << 40)])
        let asked = inspector.asked.withLock { $0.last }
        #expect(asked == "\(ServerQuestion.sockets(from: 0, count: Limits.pageSizeMax))")
    }

    @Test func aSocket_hasBothEnds_theCipherAndTheName() throws {
        let reply = try bench.reply(.channelzSocket, by: "operator", ["socket_id": .long(60)])
        let socket = try #require(reply.message("socket"))
        let data = try #require(socket.message("data"))
        #expect(data.int("streams_started") == 9)
        #expect(data.int("streams_succeeded") == 6)
        #expect(data.int("streams_failed") == 2)
        #expect(data.int("messages_sent") == 4)
        #expect(data.int("messages_received") == 5)
        let remote = socket.message("remote")?.message("tcpip_address")
        #expect(remote?.int("port") == 5_000)
        #expect(socket.text("remote_name") == "spiffe://triage.example/operator/sre")
        let tls = socket.message("security")?.message("tls")
        #expect(tls?.text("standard_name") == "TLS_AES_128_GCM_SHA256")
        for (id, port) in [(2, 8_443), (3, 9_443)] {
            let listener = try bench.reply(
                .channelzSocket, by: "operator", ["socket_id": .long(Int64(id))])
            let local = listener.message("socket")?.message("local")?.message("tcpip_address")
            #expect(local?.int("port") == Int64(port))
        }
    }

    @Test func whatIsNotThere_isNOT_FOUND() throws {
        for (route, field) in [
            (Route.channelzServer, "server_id"), (.channelzServerSockets, "server_id"),
            (.channelzSocket, "socket_id"), (.channelzChannel, "channel_id"),
            (.channelzSubchannel, "subchannel_id"),
        ] {
            let error = try bench.refusal(
                route, by: "operator", DynamicFields.one(field, .long(99)))
            #expect(error.code == .notFound && error.reason == "CHANNELZ_ID_UNKNOWN", "\(route)")
        }
        let top = try bench.reply(.channelzTopChannels, by: "operator")
        #expect(top.messages("channel").isEmpty && top.bool("end"))
    }
}

private enum DynamicFields {
    static func one(_ name: String, _ value: DynamicValue) -> KeyValuePairs<String, DynamicValue> {
        // A literal is the only way to make one.
        [name: value]
    }
}
