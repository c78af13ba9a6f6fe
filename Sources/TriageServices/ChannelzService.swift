// Channelz v1 for the server and its connections: an operator's look at a running process. What is
// shown is gathered from every reactor through the transport's inspector, without waiting for any.

internal import Synchronization
internal import TriageBase
internal import TriageCodec
internal import TriageGRPC

/// Where the inspector is put once there is a server.
final class InspectorBox: Sendable {
    private let inspector = Mutex<(any ServerInspector)?>(nil)

    func set(_ made: any ServerInspector) { inspector.withLock { $0 = made } }

    var value: (any ServerInspector)? { inspector.withLock { $0 } }
}

extension ServiceHandler {
    func channelz(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        let question = try decoded { () throws(RequestError) in
            switch route {
            case .channelzTopChannels: try decoder.decodeTopChannels(message)
            case .channelzServers: try decoder.decodeServers(message)
            case .channelzServer: try decoder.decodeServer(message)
            case .channelzServerSockets: try decoder.decodeServerSockets(message)
            case .channelzChannel: try decoder.decodeChannel(message)
            case .channelzSubchannel: try decoder.decodeSubchannel(message)
            default: try decoder.decodeSocket(message)
            }
        }
        let call = caller.call
        guard let inspector = shared.inspector.value else { throw Self.internalError }
        switch question {
        case .topChannels: responder.respond(call, ChannelzReply.end(fieldNumber: 2))
        case .servers(let first):
            guard first <= inspector.inspectionID else {
                return responder.respond(call, ChannelzReply.end(fieldNumber: 2))
            }
            inspect(.server, call, .servers, inspector)
        case .server(let id):
            guard id == inspector.inspectionID else { throw ChannelzReply.unknown("server") }
            inspect(.server, call, .server, inspector)
        case .sockets(let server, let first, let count):
            guard server == inspector.inspectionID else { throw ChannelzReply.unknown("server") }
            let page = count <= 0 ? Limits.pageSizeDefault : Int(clamping: count)
            inspect(
                .sockets(from: max(0, first), count: min(page, Limits.pageSizeMax)), call, .sockets,
                inspector)
        case .channel, .subchannel: throw ChannelzReply.unknown("channel")
        case .socket(let id):
            if let listener = inspector.listeners.first(where: { $0.id == id }) {
                return responder.respond(call, ChannelzReply.socket(listener))
            }
            inspect(.socket(id: id), call, .socket, inspector)
        }
    }

    private func inspect(
        _ question: ServerQuestion, _ call: CallID, _ form: ChannelzForm,
        _ inspector: any ServerInspector
    ) {
        inspector.inspect(question, ChannelzJob(call, form), to: mailbox)
    }

    fileprivate func inspected(_ call: CallID, _ form: ChannelzForm, _ facts: ServerFacts) {
        guard let inspector = shared.inspector.value else { return }
        switch form {
        case .servers: responder.respond(call, ChannelzReply.servers(inspector, facts))
        case .server: responder.respond(call, ChannelzReply.server(inspector, facts))
        case .sockets: responder.respond(call, ChannelzReply.sockets(facts))
        case .socket:
            guard let socket = facts.sockets.first else {
                return responder.finish(call, ChannelzReply.unknown("socket"))
            }
            responder.respond(call, ChannelzReply.socket(socket))
        }
    }
}

/// Which reply the facts become.
private enum ChannelzForm: Sendable {
    case servers, server, sockets, socket
}

/// Brings the facts back to the reactor that asked.
private final class ChannelzJob: InspectionJob {
    private let call: CallID
    private let form: ChannelzForm
    private let facts = Mutex(ServerFacts())

    init(_ call: CallID, _ form: ChannelzForm) {
        self.call = call
        self.form = form
    }

    func found(_ facts: ServerFacts) { self.facts.withLock { $0 = facts } }

    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.inspected(call, form, facts.withLock { $0 })
    }
}

/// The replies of channelz, on the wire.
///
/// Source: Protos/grpc/channelz/v1/channelz.proto.
private enum ChannelzReply {
    /// An empty page, the last one.
    static func end(fieldNumber: Int) -> [UInt8] {
        var reply = ProtoWriter()
        reply.varint(fieldNumber, 1)
        return reply.bytes
    }

    static func unknown(_ kind: String) -> RPCError {
        RPCError(
            .notFound, reason: "CHANNELZ_ID_UNKNOWN",
            message: "there is no \(kind) of that id: ask for the list again",
            metadata: ["kind": kind])
    }

    static func servers(_ inspector: any ServerInspector, _ facts: ServerFacts) -> [UInt8] {
        var reply = ProtoWriter()
        reply.message(1) { write(inspector, facts, &$0) }
        reply.varint(2, 1)
        return reply.bytes
    }

    static func server(_ inspector: any ServerInspector, _ facts: ServerFacts) -> [UInt8] {
        var reply = ProtoWriter()
        reply.message(1) { write(inspector, facts, &$0) }
        return reply.bytes
    }

    private static func write(
        _ inspector: any ServerInspector, _ facts: ServerFacts, _ server: inout ProtoWriter
    ) {
        server.message(1) { reference in
            reference.varint(5, UInt64(inspector.inspectionID))
            reference.text(6, "triaged")
        }
        server.message(2) { data in
            data.varint(2, facts.callsStarted)
            data.varint(3, facts.callsSucceeded)
            data.varint(4, facts.callsFailed)
        }
        for listener in inspector.listeners {
            server.message(3) { write(reference: listener, &$0) }
        }
    }

    static func sockets(_ facts: ServerFacts) -> [UInt8] {
        var reply = ProtoWriter()
        for socket in facts.sockets { reply.message(1) { write(reference: socket, &$0) } }
        reply.varint(2, facts.hasMoreSockets ? 0 : 1)
        return reply.bytes
    }

    static func socket(_ facts: SocketFacts) -> [UInt8] {
        var reply = ProtoWriter()
        reply.message(1) { socket in
            socket.message(1) { write(reference: facts, &$0) }
            socket.message(2) { data in
                let ended = facts.streamsStarted - facts.streamsOpen
                data.varint(1, UInt64(facts.streamsStarted))
                data.varint(2, UInt64(max(0, ended - facts.streamsFailed)))
                data.varint(3, UInt64(facts.streamsFailed))
                data.varint(4, facts.messagesSent)
                data.varint(5, facts.messagesReceived)
                data.varint(6, UInt64(facts.keepAlivesSent))
            }
            write(address: facts.localAddress, facts.localPort, 3, &socket)
            write(address: facts.remoteAddress, facts.remotePort, 4, &socket)
            if !facts.cipherSuite.isEmpty {
                socket.message(5) { $0.message(1) { $0.text(1, facts.cipherSuite) } }
            }
            socket.text(6, facts.remoteName)
        }
        return reply.bytes
    }

    private static func write(reference socket: SocketFacts, _ reference: inout ProtoWriter) {
        reference.varint(3, UInt64(socket.id))
        reference.text(4, socket.name)
    }

    private static func write(
        address: [UInt8], _ port: UInt16, _ field: Int, _ socket: inout ProtoWriter
    ) {
        guard !address.isEmpty || port != 0 else { return }
        socket.message(field) { ends in
            ends.message(1) { tcp in
                if !address.isEmpty { tcp.lengthDelimited(1, address) }
                tcp.varint(2, UInt64(port))
            }
        }
    }
}
