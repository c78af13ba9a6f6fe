// Judges the header list of a request: is it a gRPC call that we can answer, and which one. Fed
// field by field by the transport, which knows the names; knows nothing of HPACK or of streams.

import TriageBase

/// What is to be done with a request, from its headers alone.
package enum RequestVerdict {
    /// A call of this method, with the client's timeout in nanoseconds (nil: none).
    case accept(method: Int, timeout: UInt64?)
    /// Not gRPC: answer with a plain HTTP status.
    case http(status: Int)
    /// gRPC, but refused.
    case refuse(RPCError)
}

/// Gathers what the headers of one request say.
///
/// The order of the rules: what is not gRPC at all; what is too large to be looked at; who calls;
/// then which method, and how. Identity comes before the method, so that a stranger cannot list
/// methods.
///
/// Source: gRPC PROTOCOL-HTTP2 "Requests".
package struct RequestHead {
    private var isPost = false
    /// The method is HEAD: a reply to it has no body.
    package private(set) var isHead = false
    private var isGRPC = false
    private var acceptsTrailers = false
    /// The encoding that the request's messages may have.
    package private(set) var encoding = MessageEncoding.identity
    /// How often the client's library has tried before.
    package private(set) var previousAttempts = 0
    private var timeoutValid = true
    private var timeout: UInt64?
    private var method: Int?
    /// Set when the header list was over its limit and was not stored.
    package var isOversize = false
    /// How large it was then; bytes with 32 added a field.
    package var oversize = (bytes: 0, fields: 0)

    /// Starts with nothing seen.
    package init() {}

    /// Sees `:method`.
    package mutating func methodReceived(_ value: Span<UInt8>) {
        isPost =
            value.count == 4 && value[0] == UInt8(ascii: "P") && value[1] == UInt8(ascii: "O")
            && value[2] == UInt8(ascii: "S") && value[3] == UInt8(ascii: "T")
        if !isPost { isHead = equal(value, Array("HEAD".utf8)) }
    }

    /// Sees `:path`.
    package mutating func pathReceived(_ value: Span<UInt8>, _ table: MethodTable) {
        method = table.index(path: value)
    }

    /// Sees `content-type`.
    package mutating func contentTypeReceived(_ value: Span<UInt8>) {
        isGRPC = Self.isGRPCContentType(value)
    }

    /// Sees `te`.
    package mutating func teReceived(_ value: Span<UInt8>) {
        if value.count == 8, Self.word(value, 0) == Self.trailers { acceptsTrailers = true }
    }

    /// Sees `grpc-encoding`.
    package mutating func encodingReceived(_ value: Span<UInt8>) {
        encoding = MessageEncoding(value)
    }

    /// Sees `grpc-previous-rpc-attempts`; what is no number counts as one attempt.
    package mutating func previousAttemptsReceived(_ value: Span<UInt8>) {
        var attempts = 0
        for index in value.indices where attempts < Self.attemptsMax {
            let digit = value[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            attempts = attempts * 10 + Int(digit)
        }
        previousAttempts = min(max(1, attempts), Self.attemptsMax)
    }

    /// More attempts than this are not told apart; gRPC's own clients stop at five.
    static var attemptsMax: Int { 999 }

    /// Sees `grpc-timeout`.
    package mutating func timeoutReceived(_ value: Span<UInt8>) {
        timeout = Timeout.parse(value)
        timeoutValid = timeout != nil
    }

    /// Judges what was seen.
    ///
    /// - Parameters:
    ///   - table: The methods.
    ///   - isIdentified: Whether the connection has a principal.
    /// - Returns: What to do with the request.
    package func verdict(_ table: MethodTable, isIdentified: Bool) -> RequestVerdict {
        if isOversize {
            return .refuse(
                WireError.metadataTooLarge(bytes: oversize.bytes, fields: oversize.fields))
        }
        guard isPost else { return .http(status: 405) }
        guard isGRPC else { return .http(status: 415) }
        if !isIdentified {
            guard let method, table.methods[method].allowedWithoutIdentity else {
                return .refuse(WireError.identityRequired)
            }
        }
        guard let method else { return .refuse(WireError.methodUnknown) }
        guard acceptsTrailers else { return .refuse(WireError.trailersUnsupported) }
        guard encoding != .unknown else { return .refuse(WireError.encodingUnsupported) }
        guard timeoutValid else { return .refuse(WireError.timeoutMalformed) }
        return .accept(method: method, timeout: timeout)
    }

    // Eight bytes at a time: what is compared here is compared for every call.
    static var trailers: UInt64 { 0x7472_6169_6C65_7273 }
    static var applicat: UInt64 { 0x6170_706C_6963_6174 }
    static var ionSlashGRPC: UInt64 { 0x696F_6E2F_6772_7063 }

    static func word(_ bytes: Span<UInt8>, _ start: Int) -> UInt64 {
        var word: UInt64 = 0
        for index in start..<(start + 8) { word = word << 8 | UInt64(bytes[index]) }
        return word
    }

    /// True for `application/grpc` and `application/grpc+proto`, with or without parameters.
    package static func isGRPCContentType(_ value: Span<UInt8>) -> Bool {
        guard value.count >= 16, word(value, 0) == applicat, word(value, 8) == ionSlashGRPC else {
            return false
        }
        return value.count == 16 || isGRPCSuffix(value.extracting(droppingFirst: 16))
    }

    /// What may follow `application/grpc`.
    static func isGRPCSuffix(_ value: Span<UInt8>) -> Bool {
        let proto = Array("+proto".utf8)
        var rest = value
        if rest.count >= proto.count, equal(rest.extracting(first: proto.count), proto) {
            rest = rest.extracting(droppingFirst: proto.count)
        }
        return rest.isEmpty || rest[0] == UInt8(ascii: ";") || rest[0] == UInt8(ascii: " ")
    }
}
