// What a server shows of itself to channelz, from one reactor's connections.

import Synchronization
import Testing
import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

@testable import TriageTransport

@Suite struct InspectionTests {
    private static func facts(_ machine: Machine, _ question: ServerQuestion) -> ServerFacts {
        machine.core.facts(for: question) { _ in
            (
                SocketAddress(bytes: [127, 0, 0, 1], port: 1),
                SocketAddress(bytes: [127, 0, 0, 2], port: 2)
            )
        }
    }

    @Test func aServer_countsItsCalls() throws {
        let machine = try Machine()
        _ = try machine.call("Echo")
        _ = try machine.call("Fail")
        _ = try machine.call("NoSuch")
        let facts = Self.facts(machine, .server)
        #expect(facts.callsStarted == 3)
        #expect(facts.callsSucceeded == 1)
        #expect(facts.callsFailed == 2)
    }

    @Test func aConnection_countsStreamsAndMessages() throws {
        let machine = try Machine()
        _ = try machine.call("Echo")
        let held = try machine.open("Hold")
        machine.send(held, MessageFramer.frame([UInt8]([1]).span), end: true)
        try machine.turn()
        machine.http2.reset(held, .cancel)
        _ = try machine.open("Push")
        try machine.turn()
        let id = machine.core.inspectionID(machine.connection)
        let socket = try #require(Self.facts(machine, .socket(id: id)).sockets.first)
        #expect(socket.id == id)
        #expect(socket.streamsStarted == 3)
        #expect(socket.streamsFailed == 1)
        #expect(socket.streamsOpen == 1)
        #expect(socket.messagesReceived == 2)
        #expect(socket.messagesSent == 1)
        #expect(socket.remoteName == "spiffe://triage.example/specialist/ada")
        #expect(socket.cipherSuite.hasPrefix("TLS_"))
        #expect(socket.localPort == 1 && socket.remotePort == 2)
        #expect(Self.facts(machine, .socket(id: id + 1)).sockets.isEmpty)
    }

    @Test func sockets_areListedFromAnID() throws {
        let machine = try Machine()
        let id = machine.core.inspectionID(machine.connection)
        let all = Self.facts(machine, .sockets(from: 0, count: 10))
        #expect(all.sockets.map(\.id) == [id])
        #expect(!all.hasMoreSockets)
        #expect(Self.facts(machine, .sockets(from: id + 1, count: 10)).sockets.isEmpty)
    }

    @Test func factsOfReactors_addUp_andPagesStayInOrder() {
        final class Job: InspectionJob {
            let facts = Mutex(ServerFacts())
            func found(_ facts: ServerFacts) { self.facts.withLock { $0 = facts } }
            func run(_ handler: any CallHandler) {}
        }
        final class Box: ReactorMailbox {
            let posted = Mutex(0)
            func post(_ job: any ReactorJob) { posted.withLock { $0 += 1 } }
        }
        let job = Job()
        let box = Box()
        let inspection = Inspection(
            .sockets(from: 0, count: 3), reactorCount: 2, job, box)
        var first = ServerFacts()
        first.sockets = [SocketFacts(id: 9), SocketFacts(id: 4)]
        inspection.add(first)
        let early = box.posted.withLock { $0 }
        #expect(early == 0, "the other reactor has not answered")
        var second = ServerFacts()
        second.sockets = [SocketFacts(id: 7), SocketFacts(id: 5)]
        inspection.add(second)
        let posted = box.posted.withLock { $0 }
        let facts = job.facts.withLock { $0 }
        #expect(posted == 1)
        #expect(facts.sockets.map(\.id) == [4, 5, 7])
        #expect(facts.hasMoreSockets)
    }
}
