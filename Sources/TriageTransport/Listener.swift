// The doors of a server as sockets: one for each reactor, either opened here, with SO_REUSEPORT, or
// handed over by the service manager. Knows no connections.

import TriageBase
import TriageGRPC
import TriageIO

/// One reactor's socket of one door.
final class Listener: Sendable {
    let socket: Socket
    let audience: Audience
    /// The queue belongs to the service manager.
    let isInherited: Bool

    private init(_ socket: consuming Socket, _ audience: Audience, isInherited: Bool) {
        self.socket = socket
        self.audience = audience
        self.isInherited = isInherited
    }

    /// Opens a door for so many reactors.
    ///
    /// - Returns: A listener each, and the port that is bound.
    static func open(
        _ door: ServerListener, count: Int
    ) throws(TransportError) -> (listeners: [Listener], port: UInt16) {
        let address = door.inherited == nil ? try Socket.address(of: door.host) : ""
        do throws(SocketError) {
            if let inherited = door.inherited { return try adopt(inherited, door.audience, count) }
            return try bind(door, address, count)
        } catch {
            throw .cannotListen(host: door.host, port: door.port, error)
        }
    }

    /// One socket that all reactors accept from.
    ///
    /// Its queue belongs to the service manager, and stays when this process ends.
    private static func adopt(
        _ inherited: InheritedSocket, _ audience: Audience, _ count: Int
    ) throws(SocketError) -> ([Listener], UInt16) {
        var listeners: [Listener] = []
        for _ in 0..<count {
            listeners.append(Listener(try inherited.open(), audience, isInherited: true))
        }
        return (listeners, try listeners[0].socket.localPort())
    }

    private static func bind(
        _ door: ServerListener, _ address: String, _ count: Int
    ) throws(SocketError) -> ([Listener], UInt16) {
        var port = door.port
        if port != 0 { try Socket.checkFree(host: address, port: port) }
        var listeners: [Listener] = []
        for _ in 0..<count {
            let socket = try Socket.listen(
                host: address, port: port, backlog: Limits.acceptQueueMax, shared: true)
            if port == 0 { port = try socket.localPort() }
            listeners.append(Listener(socket, door.audience, isInherited: false))
        }
        return (listeners, port)
    }
}
