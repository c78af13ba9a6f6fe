// The seam through which a service looks at the server that it runs in: what channelz shows. The
// transport gathers facts from every reactor; nobody waits for another thread. Values only.

import TriageBase

/// What is asked of the server.
package enum ServerQuestion: Sendable {
    /// The server itself.
    case server
    /// So many connections, from an id on.
    case sockets(from: Int64, count: Int)
    /// One connection, or a listening socket.
    case socket(id: Int64)
}

/// What a server counts.
package struct ServerFacts: Sendable {
    /// Calls begun.
    package var callsStarted: UInt64 = 0
    /// Calls ended with OK.
    package var callsSucceeded: UInt64 = 0
    /// Calls ended with anything else.
    package var callsFailed: UInt64 = 0
    /// The sockets that were asked for, by id.
    package var sockets: [SocketFacts] = []
    /// There are further sockets than those that were asked for.
    package var hasMoreSockets = false

    /// Nothing yet.
    package init() {}

    /// Adds what another reactor knows.
    package mutating func add(_ other: ServerFacts) {
        callsStarted += other.callsStarted
        callsSucceeded += other.callsSucceeded
        callsFailed += other.callsFailed
        sockets += other.sockets
        hasMoreSockets = hasMoreSockets || other.hasMoreSockets
    }

    /// Puts the sockets in order, and keeps so many.
    package mutating func keep(_ count: Int) {
        sockets.sort { $0.id < $1.id }
        if sockets.count > count {
            sockets.removeLast(sockets.count - count)
            hasMoreSockets = true
        }
    }
}

/// What a connection is and counts.
package struct SocketFacts: Sendable {
    /// Never given again while the process lives.
    package var id: Int64
    /// For people.
    package var name = ""
    /// 4 or 16 bytes; empty when unknown.
    package var localAddress: [UInt8] = []
    package var localPort: UInt16 = 0
    /// 4 or 16 bytes; empty for a listening socket.
    package var remoteAddress: [UInt8] = []
    package var remotePort: UInt16 = 0
    /// The verified identity; empty without a certificate.
    package var remoteName = ""
    /// IANA's name of the cipher suite; empty before the handshake.
    package var cipherSuite = ""
    package var streamsStarted = 0
    /// Streams that were reset, by either side.
    package var streamsFailed = 0
    package var streamsOpen = 0
    package var messagesSent: UInt64 = 0
    package var messagesReceived: UInt64 = 0
    /// Pings that were sent to see whether the peer lives.
    package var keepAlivesSent = 0

    /// Names a socket.
    package init(id: Int64) { self.id = id }
}

/// Takes the answer to a question, on the thread of the reactor that asked.
package protocol InspectionJob: ReactorJob {
    /// Stores what was found out; called once, before the job runs.
    func found(_ facts: ServerFacts)
}

/// A server that can be looked at.
package protocol ServerInspector: AnyObject, Sendable {
    /// The server's id in channelz.
    var inspectionID: Int64 { get }
    /// Its listening sockets, by id.
    var listeners: [SocketFacts] { get }
    /// Asks every reactor, and posts `job` with the answer to `mailbox`.
    func inspect(
        _ question: ServerQuestion, _ job: any InspectionJob, to mailbox: any ReactorMailbox)
}
