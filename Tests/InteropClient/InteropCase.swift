// The interoperability cases, each a script of one or two calls.
// Source: grpc/grpc doc/interop-test-descriptions.md.

import InteropMessages
import TriageBase
import TriageGRPC

/// One case: its official name, and what it does.
struct InteropCase: Sendable {
    let name: String
    let run: @Sendable (InteropPeer) throws(CaseFailure) -> Void

    static let all: [InteropCase] = [
        InteropCase(name: "empty_unary", run: emptyUnary),
        InteropCase(name: "large_unary", run: largeUnary),
        InteropCase(name: "client_streaming", run: clientStreaming),
        InteropCase(name: "server_streaming", run: serverStreaming),
        InteropCase(name: "ping_pong", run: pingPong),
        InteropCase(name: "empty_stream", run: emptyStream),
        InteropCase(name: "cancel_after_begin", run: cancelAfterBegin),
        InteropCase(name: "cancel_after_first_response", run: cancelAfterFirstResponse),
        InteropCase(name: "timeout_on_sleeping_server", run: timeoutOnSleepingServer),
        InteropCase(name: "custom_metadata", run: customMetadata),
        InteropCase(name: "status_code_and_message", run: statusCodeAndMessage),
        InteropCase(name: "special_status_message", run: specialStatusMessage),
        InteropCase(name: "unimplemented_method", run: unimplementedMethod),
        InteropCase(name: "unimplemented_service", run: unimplementedService),
        InteropCase(name: "client_compressed_unary", run: clientCompressedUnary),
        InteropCase(name: "server_compressed_unary", run: serverCompressedUnary),
        InteropCase(name: "client_compressed_streaming", run: clientCompressedStreaming),
        InteropCase(name: "server_compressed_streaming", run: serverCompressedStreaming),
    ]

    private static let requestBytes = 271_828
    private static let responseBytes = 314_159
    private static let streamRequestBytes = [27_182, 8, 1_828, 45_904]
    private static let streamResponseBytes = [31_415, 9, 2_653, 58_979]

    // MARK: Helpers

    private static func check(_ condition: Bool, _ text: String) throws(CaseFailure) {
        if !condition { throw CaseFailure(text: text) }
    }

    private static func unary(
        _ peer: InteropPeer, _ name: String, _ message: [UInt8], compressed: Bool = false,
        sendsGzip: Bool = false, metadata: [MetadataField] = [],
        service: String = "grpc.testing.TestService"
    ) -> Conversation {
        let call = peer.call(
            .init(path: "/\(service)/\(name)", metadata: metadata, sendsGzip: sendsGzip))
        call.send(message, compressed: compressed)
        call.endInput()
        return call
    }

    private static func duplex(
        _ peer: InteropPeer, metadata: [MetadataField] = [], timeoutMilliseconds: UInt64? = nil
    ) -> Conversation {
        peer.call(
            .init(
                path: "/grpc.testing.TestService/FullDuplexCall", clientStreaming: true,
                serverStreaming: true, metadata: metadata, timeoutMilliseconds: timeoutMilliseconds)
        )
    }

    private static func isOK(_ call: Conversation) throws(CaseFailure) {
        if let error = try call.end() {
            throw CaseFailure(text: "ended with \(error.code.name): \(error.message)")
        }
    }

    private static func ends(
        _ call: Conversation, _ code: StatusCode, _ message: String? = nil
    ) throws(CaseFailure) {
        let error = try call.end()
        try check(error?.code == code, "ended with \(error?.code.name ?? "OK"), not \(code.name)")
        if let message {
            try check(error?.message == message, "the message is \(error?.message ?? "")")
        }
    }

    private static func payload(
        _ call: Conversation, _ size: Int
    ) throws(CaseFailure) -> Conversation.Message {
        guard let message = try call.next() else {
            let error = try call.end()
            throw CaseFailure(text: "no message, but \(error.map { "\($0)" } ?? "OK")")
        }
        let zeros = InteropCodec.zerosInPayload(message.bytes)
        try check(
            zeros == size, "a payload of \(zeros.map(String.init) ?? "other bytes"), not \(size)")
        return message
    }

    // MARK: Cases

    private static func emptyUnary(_ peer: InteropPeer) throws(CaseFailure) {
        let call = unary(peer, "EmptyCall", [])
        try check(try call.next()?.bytes == [], "the reply is not empty")
        try isOK(call)
    }

    private static func largeUnary(_ peer: InteropPeer) throws(CaseFailure) {
        let call = unary(
            peer, "UnaryCall",
            InteropCodec.simpleRequest(.init(size: responseBytes), payload: requestBytes))
        _ = try payload(call, responseBytes)
        try isOK(call)
    }

    private static func clientStreaming(_ peer: InteropPeer) throws(CaseFailure) {
        let call = peer.call(
            .init(path: "/grpc.testing.TestService/StreamingInputCall", clientStreaming: true))
        for size in streamRequestBytes { call.send(InteropCodec.withPayload(size)) }
        call.endInput()
        let reply = try call.next()
        try check(InteropCodec.number(reply?.bytes ?? []) == 74_922, "the sum is not 74922")
        try isOK(call)
    }

    private static func serverStreaming(_ peer: InteropPeer) throws(CaseFailure) {
        let call = peer.call(
            .init(path: "/grpc.testing.TestService/StreamingOutputCall", serverStreaming: true))
        call.send(InteropCodec.outputRequest(streamResponseBytes.map { .init(size: $0) }))
        call.endInput()
        for size in streamResponseBytes { _ = try payload(call, size) }
        try check(try call.next() == nil, "there is a fifth message")
        try isOK(call)
    }

    private static func pingPong(_ peer: InteropPeer) throws(CaseFailure) {
        let call = duplex(peer)
        for (request, response) in zip(streamRequestBytes, streamResponseBytes) {
            call.send(InteropCodec.outputRequest([.init(size: response)], payload: request))
            _ = try payload(call, response)
        }
        call.endInput()
        try check(try call.next() == nil, "there is a fifth message")
        try isOK(call)
    }

    private static func emptyStream(_ peer: InteropPeer) throws(CaseFailure) {
        let call = duplex(peer)
        call.endInput()
        try check(try call.next() == nil, "there is a message")
        try isOK(call)
    }

    private static func cancelAfterBegin(_ peer: InteropPeer) throws(CaseFailure) {
        let call = peer.call(
            .init(path: "/grpc.testing.TestService/StreamingInputCall", clientStreaming: true))
        call.cancel()
        try ends(call, .cancelled)
    }

    private static func cancelAfterFirstResponse(_ peer: InteropPeer) throws(CaseFailure) {
        let call = duplex(peer)
        call.send(InteropCodec.outputRequest([.init(size: 31_415)], payload: 27_182))
        _ = try payload(call, 31_415)
        call.cancel()
        try ends(call, .cancelled)
    }

    private static func timeoutOnSleepingServer(_ peer: InteropPeer) throws(CaseFailure) {
        let call = duplex(peer, timeoutMilliseconds: 1)
        call.send(InteropCodec.outputRequest([.init(size: 31_415)], payload: 27_182))
        try ends(call, .deadlineExceeded)
    }

    private static func customMetadata(_ peer: InteropPeer) throws(CaseFailure) {
        let text = MetadataField("x-grpc-test-echo-initial", "test_initial_metadata_value")
        let sent = MetadataField(
            name: Array("x-grpc-test-echo-trailing-bin".utf8),
            value: Base64.encode([0xAB, 0xAB, 0xAB].span))
        func checkEcho(_ call: Conversation) throws(CaseFailure) {
            try check(call.initialMetadata.contains(text), "the initial metadata did not come back")
            let echoed = call.trailingMetadata.first { $0.name == sent.name }
            let value = echoed.flatMap { Base64.decode($0.value.span) }
            try check(value == [0xAB, 0xAB, 0xAB], "the trailing metadata did not come back")
        }
        let single = unary(
            peer, "UnaryCall",
            InteropCodec.simpleRequest(.init(size: responseBytes), payload: requestBytes),
            metadata: [text, sent])
        _ = try payload(single, responseBytes)
        try isOK(single)
        try checkEcho(single)
        let stream = duplex(peer, metadata: [text, sent])
        stream.send(
            InteropCodec.outputRequest([.init(size: responseBytes)], payload: requestBytes))
        stream.endInput()
        _ = try payload(stream, responseBytes)
        try isOK(stream)
        try checkEcho(stream)
    }

    private static func statusCodeAndMessage(_ peer: InteropPeer) throws(CaseFailure) {
        let status = (code: 2, text: "test status message")
        let single = unary(
            peer, "UnaryCall",
            InteropCodec.simpleRequest(.init(size: 0), payload: 0, status: status))
        try ends(single, .unknown, status.text)
        let stream = duplex(peer)
        stream.send(InteropCodec.outputRequest([], status: status))
        stream.endInput()
        try ends(stream, .unknown, status.text)
    }

    private static func specialStatusMessage(_ peer: InteropPeer) throws(CaseFailure) {
        let text = "\t\ntest with whitespace\r\nand Unicode BMP \u{263A} and non-BMP \u{1F608}\t\n"
        let call = unary(
            peer, "UnaryCall",
            InteropCodec.simpleRequest(.init(size: 0), payload: 0, status: (2, text)))
        try ends(call, .unknown, text)
    }

    private static func unimplementedMethod(_ peer: InteropPeer) throws(CaseFailure) {
        try ends(unary(peer, "UnimplementedCall", []), .unimplemented)
    }

    private static func unimplementedService(_ peer: InteropPeer) throws(CaseFailure) {
        let call = unary(
            peer, "UnimplementedCall", [], service: "grpc.testing.UnimplementedService")
        try ends(call, .unimplemented)
    }

    private static func clientCompressedUnary(_ peer: InteropPeer) throws(CaseFailure) {
        func request(_ expected: Bool) -> [UInt8] {
            InteropCodec.simpleRequest(
                .init(size: responseBytes), payload: requestBytes, isExpectedCompressed: expected)
        }
        // A server that does not look at the flag is found out first.
        try ends(unary(peer, "UnaryCall", request(true), sendsGzip: true), .invalidArgument)
        for isCompressed in [true, false] {
            let call = unary(
                peer, "UnaryCall", request(isCompressed), compressed: isCompressed, sendsGzip: true)
            _ = try payload(call, responseBytes)
            try isOK(call)
        }
    }

    private static func serverCompressedUnary(_ peer: InteropPeer) throws(CaseFailure) {
        for isCompressed in [true, false] {
            let call = unary(
                peer, "UnaryCall",
                InteropCodec.simpleRequest(
                    .init(size: responseBytes, isCompressed: isCompressed), payload: requestBytes))
            let message = try payload(call, responseBytes)
            try check(
                message.isCompressed == isCompressed,
                "the reply is \(message.isCompressed ? "" : "not ")compressed")
            try isOK(call)
        }
    }

    private static func clientCompressedStreaming(_ peer: InteropPeer) throws(CaseFailure) {
        func start() -> Conversation {
            peer.call(
                .init(
                    path: "/grpc.testing.TestService/StreamingInputCall", clientStreaming: true,
                    sendsGzip: true))
        }
        let probe = start()
        probe.send(InteropCodec.withPayload(27_182, isExpectedCompressed: true))
        probe.endInput()
        try ends(probe, .invalidArgument)
        let call = start()
        call.send(InteropCodec.withPayload(27_182, isExpectedCompressed: true), compressed: true)
        call.send(InteropCodec.withPayload(45_904, isExpectedCompressed: false))
        call.endInput()
        let reply = try call.next()
        try check(InteropCodec.number(reply?.bytes ?? []) == 73_086, "the sum is not 73086")
        try isOK(call)
    }

    private static func serverCompressedStreaming(_ peer: InteropPeer) throws(CaseFailure) {
        let call = peer.call(
            .init(path: "/grpc.testing.TestService/StreamingOutputCall", serverStreaming: true))
        call.send(
            InteropCodec.outputRequest([
                .init(size: 31_415, isCompressed: true), .init(size: 92_653, isCompressed: false),
            ]))
        call.endInput()
        try check(try payload(call, 31_415).isCompressed, "the first message is not compressed")
        try check(try !payload(call, 92_653).isCompressed, "the second message is compressed")
        try check(try call.next() == nil, "there is a third message")
        try isOK(call)
    }
}
