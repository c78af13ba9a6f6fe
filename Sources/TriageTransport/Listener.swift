// The doors of a server as sockets: one for each reactor, either opened here, with SO_REUSEPORT, or
// handed over by the service manager, or by the process that this one was. Knows no connections.

import TriageBase
import TriageGRPC
import TriageIO

/// One socket that one reactor accepts from.
final class Listener: Sendable {
    let socket: Socket
    let audience: Audience
    /// Index of its door.
    let door: Int
    /// The queue belongs to the service manager.
    let isManagers: Bool

    private init(
        _ socket: consuming Socket, _ audience: Audience, door: Int, isManagers: Bool = false
    ) {
        self.socket = socket
        self.audience = audience
        self.door = door
        self.isManagers = isManagers
    }

    /// Opens a door for so many reactors.
    ///
    /// - Returns: The listeners of each, and the port that is bound.
    static func open(
        _ door: ServerListener, index: Int, count: Int
    ) throws(TransportError) -> (listeners: [[Listener]], port: UInt16) {
        // Where sockets are open already their host was looked up by whoever opened them.
        let address =
            door.inherited.isEmpty
            ? try Socket.address(of: door.host)
            : (try? Socket.address(of: door.host)) ?? door.host
        do throws(SocketError) {
            if door.inherited.isEmpty { return try bind(door, address, index, count) }
            return try adopt(door, address, index, count)
        } catch {
            throw .cannotListen(host: door.host, port: door.port, error)
        }
    }

    /// Takes sockets that are open already.
    ///
    /// From the service manager's all reactors accept: its queue stays when this process ends.
    /// Those of a predecessor are one for each of its reactors, with a queue of its own: of those
    /// too many now a reactor takes several, and a reactor without one opens its own beside them.
    private static func adopt(
        _ door: ServerListener, _ address: String, _ index: Int, _ count: Int
    ) throws(SocketError) -> ([[Listener]], UInt16) {
        var listeners = [[Listener]](repeating: [], count: count)
        var port: UInt16 = 0
        for (number, inherited) in door.inherited.enumerated() {
            switch inherited.origin {
            case .manager:
                for reactor in 0..<count {
                    listeners[reactor].append(
                        Listener(
                            try inherited.open(), door.audience, door: index, isManagers: true))
                }
            case .predecessor:
                listeners[number % count].append(
                    Listener(try inherited.open(), door.audience, door: index))
            }
        }
        port = try listeners[0][0].socket.localPort()
        for reactor in 0..<count where listeners[reactor].isEmpty {
            listeners[reactor].append(try own(door, address, index, port: port))
        }
        return (listeners, port)
    }

    private static func bind(
        _ door: ServerListener, _ address: String, _ index: Int, _ count: Int
    ) throws(SocketError) -> ([[Listener]], UInt16) {
        var port = door.port
        if port != 0 { try Socket.checkFree(host: address, port: port) }
        var listeners: [[Listener]] = []
        for _ in 0..<count {
            let listener = try own(door, address, index, port: port)
            if port == 0 { port = try listener.socket.localPort() }
            listeners.append([listener])
        }
        return (listeners, port)
    }

    private static func own(
        _ door: ServerListener, _ address: String, _ index: Int, port: UInt16
    ) throws(SocketError) -> Listener {
        let socket = try Socket.listen(
            host: address, port: port, backlog: Limits.acceptQueueMax, shared: true)
        return Listener(socket, door.audience, door: index)
    }
}

/// The sockets that a drain keeps open, with whoever waits in them, for the process's successor.
final class KeptListeners: Sendable {
    private let kept = Lock<[Listener]>([])

    func keep(_ listener: Listener) { kept.withLock { $0.append(listener) } }

    /// All of them, under the names of their doors.
    func sockets(named names: [String]) -> [SocketToLeave] {
        kept.withLock { kept in
            kept.sorted { $0.socket.descriptor < $1.socket.descriptor }.map {
                SocketToLeave(name: names[$0.door], descriptor: $0.socket.descriptor)
            }
        }
    }
}
