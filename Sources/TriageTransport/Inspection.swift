// What a server shows of itself: every reactor adds what it knows to an inspection, and the last
// one posts it back. Ids: 1 is the server, those from 2 on its listeners, and a connection's has
// its reactor in front.

import Synchronization
import TriageBase
package import TriageGRPC
import TriageHTTP2
import TriageIO
import TriageTLS

/// One question on its way through the reactors.
final class Inspection: Sendable {
    let question: ServerQuestion
    private let state: Mutex<(facts: ServerFacts, missing: Int)>
    private let job: any InspectionJob
    private let mailbox: any ReactorMailbox

    init(
        _ question: ServerQuestion, reactorCount: Int, _ job: any InspectionJob,
        _ mailbox: any ReactorMailbox
    ) {
        self.question = question
        self.job = job
        self.mailbox = mailbox
        state = Mutex((ServerFacts(), reactorCount))
    }

    /// Adds what one reactor knows.
    func add(_ facts: ServerFacts) {
        let whole: ServerFacts? = state.withLock { state in
            state.facts.add(facts)
            state.missing -= 1
            return state.missing == 0 ? state.facts : nil
        }
        guard var whole else { return }
        if case .sockets(_, let count) = question { whole.keep(count) }
        job.found(whole)
        mailbox.post(job)
    }
}

extension ServerFacts {
    /// Adds up the calls of all methods.
    mutating func count(_ methods: [ServerMetrics.PerMethod]) {
        for method in methods {
            callsStarted += method.started
            callsSucceeded += method.handled[0]
            callsFailed += method.handled.dropFirst().reduce(0, +)
        }
    }
}

extension Server: ServerInspector {
    package var inspectionID: Int64 { 1 }

    /// One for each address of each door: reactors with a queue each are one listener to clients.
    static func facts(_ doors: [[[Listener]]]) -> [SocketFacts] {
        var facts: [SocketFacts] = []
        for door in doors {
            var addresses: [SocketAddress] = []
            for listener in door.joined() {
                guard let address = listener.socket.localAddress(), !addresses.contains(address)
                else { continue }
                addresses.append(address)
                var listening = SocketFacts(id: firstListenerID + Int64(facts.count))
                listening.name = "\(listener.audience) listener \(address.text)"
                listening.localAddress = address.bytes
                listening.localPort = address.port
                facts.append(listening)
            }
        }
        return facts
    }

    private static var firstListenerID: Int64 { 2 }

    package func inspect(
        _ question: ServerQuestion, _ job: any InspectionJob, to mailbox: any ReactorMailbox
    ) {
        let inspection = Inspection(
            question, reactorCount: mailboxes.count, job, mailbox)
        for mailbox in mailboxes { (mailbox as? Mailbox)?.post(.inspect(inspection)) }
    }
}

extension ServerCore {
    /// A connection's id: the reactor and a number of its own; above every listener's.
    func inspectionID(_ connection: Connection) -> Int64 {
        Int64(reactor + 1) << 40 | Int64(connection.serial)
    }

    /// What this reactor knows of what is asked.
    ///
    /// - Parameters:
    ///   - question: What is asked.
    ///   - address: The two ends of a connection's socket, by its index.
    /// - Returns: This reactor's part of the answer.
    func facts(
        for question: ServerQuestion,
        address: (Int) -> (local: SocketAddress?, remote: SocketAddress?)
    ) -> ServerFacts {
        var facts = ServerFacts()
        switch question {
        case .server:
            facts.count(methodCounts)
        case .sockets(let first, let count):
            for connection in connections {
                guard let connection, inspectionID(connection) >= first else { continue }
                var socket = SocketFacts(id: inspectionID(connection))
                socket.name = "\(connection.peer.audience) connection \(socket.id)"
                facts.sockets.append(socket)
            }
            facts.keep(count)
        case .socket(let id):
            for connection in connections {
                guard let connection, inspectionID(connection) == id else { continue }
                let ends = address(connection.index)
                facts.sockets.append(
                    Self.facts(connection, id: id, local: ends.local, remote: ends.remote))
            }
        }
        return facts
    }

    private static func facts(
        _ connection: Connection, id: Int64, local: SocketAddress?, remote: SocketAddress?
    ) -> SocketFacts {
        var facts = SocketFacts(id: id)
        facts.name = "\(connection.peer.audience) connection \(id)"
        facts.localAddress = local?.bytes ?? []
        facts.localPort = local?.port ?? 0
        facts.remoteAddress = remote?.bytes ?? []
        facts.remotePort = remote?.port ?? 0
        facts.remoteName = connection.peer.principal?.text ?? ""
        if !connection.wire.isHandshaking { facts.cipherSuite = connection.wire.tls.cipherSuite }
        let counters = connection.http2.counters
        facts.streamsStarted = counters.streamsOpened
        facts.streamsFailed = counters.resets + counters.resetsProvoked
        facts.streamsOpen = connection.http2.openStreamCount
        facts.messagesSent = connection.messagesSent
        facts.messagesReceived = connection.messagesReceived
        facts.keepAlivesSent = connection.keepAlivesSent
        return facts
    }
}
