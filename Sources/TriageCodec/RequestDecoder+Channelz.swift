// The requests of channelz: ids and page sizes. Knows nothing of what they name.

internal import CTriageProtos
internal import TriageBase

/// What is asked of channelz.
package enum ChannelzQuestion: Equatable, Sendable {
    case topChannels
    case servers(from: Int64)
    case server(id: Int64)
    /// `count` 0 lets the server choose.
    case sockets(server: Int64, from: Int64, count: Int64)
    case channel
    case subchannel
    case socket(id: Int64)
}

extension RequestDecoder {
    /// Decodes GetTopChannels.
    package func decodeTopChannels(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        _ = unsafe try unpack(bytes, grpc__channelz__v1__get_top_channels_request__init)
        return .topChannels
    }

    /// Decodes GetServers.
    package func decodeServers(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        let message = unsafe try unpack(bytes, grpc__channelz__v1__get_servers_request__init)
        return unsafe .servers(from: message.pointee.start_server_id)
    }

    /// Decodes GetServer.
    package func decodeServer(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        let message = unsafe try unpack(bytes, grpc__channelz__v1__get_server_request__init)
        return unsafe .server(id: message.pointee.server_id)
    }

    /// Decodes GetServerSockets.
    package func decodeServerSockets(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> ChannelzQuestion {
        let message = unsafe try unpack(
            bytes, grpc__channelz__v1__get_server_sockets_request__init)
        return unsafe .sockets(
            server: message.pointee.server_id, from: message.pointee.start_socket_id,
            count: message.pointee.max_results)
    }

    /// Decodes GetChannel.
    package func decodeChannel(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        _ = unsafe try unpack(bytes, grpc__channelz__v1__get_channel_request__init)
        return .channel
    }

    /// Decodes GetSubchannel.
    package func decodeSubchannel(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        _ = unsafe try unpack(bytes, grpc__channelz__v1__get_subchannel_request__init)
        return .subchannel
    }

    /// Decodes GetSocket.
    package func decodeSocket(_ bytes: Span<UInt8>) throws(RequestError) -> ChannelzQuestion {
        let message = unsafe try unpack(bytes, grpc__channelz__v1__get_socket_request__init)
        return unsafe .socket(id: message.pointee.socket_id)
    }
}
