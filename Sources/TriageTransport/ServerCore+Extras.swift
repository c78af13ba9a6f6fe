// Replies that are more than messages and a status: metadata of their own, compressed messages, the
// encodings that the server accepts. Only calls with extras come here.

import TriageBase
import TriageGRPC
import TriageHTTP2

extension ServerCore {
    func setMetadata(_ id: CallID, initial: [MetadataField], trailing: [MetadataField]) {
        guard let call = calls.find(id), calls[call].machine.isOpen else { return }
        let extras = calls[call].extras ?? CallExtras()
        extras.initialMetadata = initial.filter { !Metadata.isReserved($0.name.span) }
        extras.trailingMetadata = trailing.filter { !Metadata.isReserved($0.name.span) }
        calls[call].extras = extras
    }

    func setCompression(_ id: CallID, _ compression: ReplyCompression) {
        guard let call = calls.find(id), calls[call].machine.isOpen else { return }
        let extras = calls[call].extras ?? CallExtras()
        extras.compression = compression
        calls[call].extras = extras
    }

    /// A whole unary reply of a call with extras.
    func reply(
        _ call: Int, _ connection: Connection, _ extras: CallExtras, _ message: [UInt8]
    ) {
        let packed = packed(message, extras)
        sendHead(call, connection, extras, isGzip: packed != nil)
        _ = connection.send(calls[call].stream, packed ?? message, flag: packed == nil ? 0 : 1)
        connection.sendTrailers(calls[call].stream, okTrailers(extras))
    }

    /// One message of a stream.
    func send(
        _ call: Int, _ connection: Connection, _ extras: CallExtras, _ message: [UInt8]
    ) -> Int {
        let packed = packed(message, extras)
        return connection.send(calls[call].stream, packed ?? message, flag: packed == nil ? 0 : 1)
    }

    /// Response headers; those of a stream name the encoding if any message may have it.
    func sendHead(
        _ call: Int, _ connection: Connection, _ extras: CallExtras, isGzip: Bool
    ) {
        if extras.initialMetadata.isEmpty, connection.hasAdvertised {
            return connection.sendHead(calls[call].stream, isGzip ? fields.gzipHead : fields.head)
        }
        connection.hasAdvertised = true
        connection.sendHead(
            calls[call].stream, fields.head(isGzip: isGzip, metadata: extras.initialMetadata))
    }

    /// Lets go of extras that have nothing more to say once the headers are sent, so that a stream
    /// that was the first of its connection goes the quick way of the others.
    func headSent(_ call: Int, _ extras: CallExtras) {
        if extras.trailingMetadata.isEmpty, !extras.mayCompress, !extras.isRequestGzip {
            calls[call].extras = nil
        }
    }

    func okTrailers(_ extras: CallExtras?) -> HeaderFields {
        guard let extras, !extras.trailingMetadata.isEmpty else { return fields.ok }
        return fields.ok(metadata: extras.trailingMetadata)
    }

    /// The message as it should leave compressed; nil when it should leave as it is.
    private func packed(_ message: [UInt8], _ extras: CallExtras) -> [UInt8]? {
        guard extras.compresses(message.count), let packed = gzip.deflate(message) else {
            return nil
        }
        if extras.compression == .whenItPays, packed.count >= message.count { return nil }
        metrics.messagesDeflated += 1
        return packed
    }
}

/// The header blocks of replies: the usual ones made once, the others from an error.
struct ReplyFields: Sendable {
    /// The one instance of the process.
    static let shared = ReplyFields()
    private static let contentType = HeaderFields.Field("content-type", "application/grpc")
    private static let status200 = HeaderFields.Field(":status", "200")
    private static let statusOK = HeaderFields.Field("grpc-status", "0")
    private static let gzip = HeaderFields.Field("grpc-encoding", "gzip")
    private static let accepted = HeaderFields.Field(
        "grpc-accept-encoding", MessageEncoding.accepted)

    /// In front of every message.
    let head = HeaderFields.forever([status200, contentType])
    /// In front of messages that may be compressed.
    let gzipHead = HeaderFields.forever([status200, contentType, gzip])
    /// After the last one.
    let ok = HeaderFields.forever([statusOK])

    /// Headers with the encodings that we accept, and a call's own metadata.
    func head(isGzip: Bool, metadata: [MetadataField]) -> HeaderFields {
        HeaderFields(
            [Self.status200, Self.contentType, Self.accepted] + (isGzip ? [Self.gzip] : [])
                + metadata.map(Self.field))
    }

    /// Trailers of OK with a call's own metadata.
    func ok(metadata: [MetadataField]) -> HeaderFields {
        HeaderFields([Self.statusOK] + metadata.map(Self.field))
    }

    /// The trailers of an error.
    func trailers(_ error: RPCError, metadata: [MetadataField] = []) -> HeaderFields {
        HeaderFields((Status.trailers(error) + metadata).map(Self.field))
    }

    /// The one header block of an error without messages.
    func trailersOnly(_ error: RPCError, metadata: [MetadataField] = []) -> HeaderFields {
        var fields = [Self.status200, Self.contentType]
        if error.reason == WireError.encodingUnsupported.reason { fields.append(Self.accepted) }
        fields += (Status.trailers(error) + metadata).map(Self.field)
        return HeaderFields(fields)
    }

    private static func field(_ field: MetadataField) -> HeaderFields.Field {
        HeaderFields.Field(field.name, field.value)
    }
}
