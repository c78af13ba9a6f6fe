// The cases, as a grpc-swift-2 client runs them. The four of compression are left out: grpc-swift-2
// tells neither side whether a message came compressed.
// Source: grpc/grpc doc/interop-test-descriptions.md "Client".

import GRPCCore
import GRPCNIOTransportHTTP2Posix

/// Why a case failed.
struct CaseFailure: Error {
    let text: String
}

struct TestClient: Sendable {
    typealias Client = GRPCClient<HTTP2ClientTransport.Posix>
    typealias Case = @Sendable (TestClient) async throws -> Void

    let client: Client

    static let cases: [String: Case] = [
        "empty_unary": { try await $0.emptyUnary() },
        "large_unary": { try await $0.largeUnary() },
        "client_streaming": { try await $0.clientStreaming() },
        "server_streaming": { try await $0.serverStreaming() },
        "ping_pong": { try await $0.pingPong() },
        "empty_stream": { try await $0.emptyStream() },
        "cancel_after_begin": { try await $0.cancelAfterBegin() },
        "cancel_after_first_response": { try await $0.cancelAfterFirstResponse() },
        "timeout_on_sleeping_server": { try await $0.timeoutOnSleepingServer() },
        "custom_metadata": { try await $0.customMetadata() },
        "status_code_and_message": { try await $0.statusCodeAndMessage() },
        "special_status_message": { try await $0.specialStatusMessage() },
        "unimplemented_method": { try await $0.unimplementedMethod() },
        "unimplemented_service": { try await $0.unimplementedService() },
    ]

    private static let requestBytes = 271_828
    private static let responseBytes = 314_159
    private static let streamRequestBytes = [27_182, 8, 1_828, 45_904]
    private static let streamResponseBytes = [31_415, 9, 2_653, 58_979]

    // MARK: Helpers

    private func check(_ condition: Bool, _ text: @autoclosure () -> String) throws {
        if !condition { throw CaseFailure(text: text()) }
    }

    private func unary(
        _ name: String, _ message: [UInt8], metadata: Metadata = [:],
        service: String = TestService.name
    ) async throws -> ClientResponse<[UInt8]> {
        try await client.unary(
            request: ClientRequest(message: message, metadata: metadata),
            descriptor: MethodDescriptor(fullyQualifiedService: service, method: name),
            serializer: Bytes(), deserializer: Bytes(), options: .defaults
        ) { $0 }
    }

    private func duplex<Result: Sendable>(
        metadata: Metadata = [:], timeout: Duration? = nil,
        _ producer: @escaping @Sendable (RPCWriter<[UInt8]>) async throws -> Void,
        _ consumer: @escaping @Sendable (StreamingClientResponse<[UInt8]>) async throws -> Result
    ) async throws -> Result {
        var options = CallOptions.defaults
        options.timeout = timeout
        return try await client.bidirectionalStreaming(
            request: StreamingClientRequest(metadata: metadata, producer: producer),
            descriptor: TestService.method("FullDuplexCall"), serializer: Bytes(),
            deserializer: Bytes(), options: options, onResponse: consumer)
    }

    private func code<Message: Sendable>(_ response: ClientResponse<Message>) -> RPCError? {
        switch response.accepted {
        case .failure(let error): return error
        case .success(let contents):
            if case .failure(let error) = contents.message { return error }
            return nil
        }
    }

    private func ends(
        _ response: ClientResponse<[UInt8]>, _ wanted: RPCError.Code, _ message: String? = nil
    ) throws {
        let error = code(response)
        try check(error?.code == wanted, "ended with \(error.map { "\($0)" } ?? "OK")")
        if let message {
            try check(error?.message == message, "the message is \(error?.message ?? "")")
        }
    }

    // MARK: Cases

    private func emptyUnary() async throws {
        let reply = try await unary("EmptyCall", [])
        try check(try reply.message.isEmpty, "the reply is not empty")
    }

    private func largeUnary() async throws {
        let reply = try await unary(
            "UnaryCall",
            TestRequest(sizes: [Self.responseBytes], payload: Self.requestBytes).simple)
        try check(
            TestRequest.zeros(try reply.message) == Self.responseBytes, "not the payload")
    }

    private func clientStreaming() async throws {
        let reply = try await client.clientStreaming(
            request: StreamingClientRequest<[UInt8]> { writer in
                for size in Self.streamRequestBytes {
                    try await writer.write(TestRequest.withPayload(size))
                }
            },
            descriptor: TestService.method("StreamingInputCall"), serializer: Bytes(),
            deserializer: Bytes(), options: .defaults
        ) { (response: ClientResponse<[UInt8]>) in response }
        try check(TestRequest.sum(try reply.message) == 74_922, "the sum is not 74922")
    }

    private func serverStreaming() async throws {
        let sizes = try await client.serverStreaming(
            request: ClientRequest(
                message: TestRequest(sizes: Self.streamResponseBytes).streaming),
            descriptor: TestService.method("StreamingOutputCall"), serializer: Bytes(),
            deserializer: Bytes(), options: .defaults
        ) { (response: StreamingClientResponse<[UInt8]>) in
            var sizes: [Int?] = []
            for try await message in response.messages { sizes.append(TestRequest.zeros(message)) }
            return sizes
        }
        try check(sizes == Self.streamResponseBytes, "the messages are \(sizes)")
    }

    private func pingPong() async throws {
        let (turns, turn) = AsyncStream.makeStream(of: Int.self)
        turn.yield(0)
        let sizes = try await duplex { writer in
            for await index in turns {
                try await writer.write(
                    TestRequest(
                        sizes: [Self.streamResponseBytes[index]],
                        payload: Self.streamRequestBytes[index]
                    ).streaming)
            }
        } _: { response in
            var sizes: [Int?] = []
            for try await message in response.messages {
                sizes.append(TestRequest.zeros(message))
                if sizes.count < Self.streamResponseBytes.count {
                    turn.yield(sizes.count)
                } else {
                    turn.finish()
                }
            }
            return sizes
        }
        try check(sizes == Self.streamResponseBytes, "the messages are \(sizes)")
    }

    private func emptyStream() async throws {
        let count = try await duplex { _ in
        } _: { response in
            var count = 0
            for try await _ in response.messages { count += 1 }
            return count
        }
        try check(count == 0, "there is a message")
    }

    private func cancelAfterBegin() async throws {
        let (begun, beginning) = AsyncStream.makeStream(of: Void.self)
        try await isCancelled {
            try await withThrowingTaskGroup(of: RPCError?.self) { group in
                group.addTask {
                    let reply = try await client.clientStreaming(
                        request: StreamingClientRequest<[UInt8]> { _ in
                            beginning.finish()
                            try await Self.waitForCancellation()
                        },
                        descriptor: TestService.method("StreamingInputCall"), serializer: Bytes(),
                        deserializer: Bytes(), options: .defaults
                    ) { (response: ClientResponse<[UInt8]>) in response }
                    return code(reply)
                }
                for await _ in begun {}
                group.cancelAll()
                throw try await group.next().flatMap { $0 } ?? CaseFailure(text: "ended with OK")
            }
        }
    }

    private func cancelAfterFirstResponse() async throws {
        let (answers, answer) = AsyncStream.makeStream(of: Int?.self)
        try await isCancelled {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await duplex { writer in
                        try await writer.write(
                            TestRequest(sizes: [31_415], payload: 27_182).streaming)
                        try await Self.waitForCancellation()
                    } _: { response in
                        for try await message in response.messages {
                            answer.yield(TestRequest.zeros(message))
                        }
                    }
                }
                var seen = answers.makeAsyncIterator()
                let first = await seen.next()
                try check(first == 31_415, "the first message is not there")
                group.cancelAll()
                try await group.next()
                throw CaseFailure(text: "ended with OK")
            }
        }
    }

    /// Keeps a request stream open until its call is over.
    private static func waitForCancellation() async throws {
        let (forever, end) = AsyncStream.makeStream(of: Void.self)
        for await _ in forever {}
        end.finish()
        try Task.checkCancellation()
    }

    /// Checks how a cancelled call ended.
    ///
    /// With that status, with Swift's own error, wrapped or not, or with what the library's 2.9.2
    /// makes of its own closed stream. A reset by the server has another text.
    private func isCancelled(_ body: () async throws -> Void) async throws {
        do { try await body() } catch is CancellationError {
        } catch let error as RPCError {
            let isOwnClose =
                error.code == .unavailable
                && error.message == "Stream unexpectedly closed with error."
            try check(
                error.code == .cancelled || error.cause is CancellationError || isOwnClose,
                "ended with \(error)")
        }
    }

    private func timeoutOnSleepingServer() async throws {
        do {
            try await duplex(timeout: .milliseconds(1)) { writer in
                try await writer.write(TestRequest(payload: 27_182).streaming)
                try await Self.waitForCancellation()
            } _: { response in
                for try await _ in response.messages {}
            }
            throw CaseFailure(text: "ended with OK")
        } catch let error as RPCError {
            try check(error.code == .deadlineExceeded, "ended with \(error)")
        }
    }

    private func customMetadata() async throws {
        let initial = "x-grpc-test-echo-initial"
        let trailing = "x-grpc-test-echo-trailing-bin"
        let value = "test_initial_metadata_value"
        var metadata = Metadata()
        metadata.addString(value, forKey: initial)
        metadata.addBinary([0xAB, 0xAB, 0xAB], forKey: trailing)
        func isEchoed(_ first: Metadata, _ last: Metadata) throws {
            try check(Array(first[stringValues: initial]) == [value], "no initial metadata")
            try check(
                Array(last[binaryValues: trailing]) == [[0xAB, 0xAB, 0xAB]], "no trailing metadata")
        }
        let reply = try await unary(
            "UnaryCall",
            TestRequest(sizes: [Self.responseBytes], payload: Self.requestBytes).simple,
            metadata: metadata)
        try check(TestRequest.zeros(try reply.message) == Self.responseBytes, "not the payload")
        try isEchoed(reply.metadata, reply.trailingMetadata)
        let ends = try await duplex(metadata: metadata) { writer in
            try await writer.write(
                TestRequest(sizes: [Self.responseBytes], payload: Self.requestBytes).streaming)
        } _: { response in
            var last = Metadata()
            for try await part in response.bodyParts {
                if case .trailingMetadata(let metadata) = part { last = metadata }
            }
            return (response.metadata, last)
        }
        try isEchoed(ends.0, ends.1)
    }

    private func statusCodeAndMessage() async throws {
        let status = (code: 2, message: "test status message")
        try ends(
            try await unary("UnaryCall", TestRequest(status: status).simple), .unknown,
            status.message)
        do {
            try await duplex { writer in
                try await writer.write(TestRequest(status: (2, "test status message")).streaming)
            } _: { response in
                for try await _ in response.messages {}
            }
            throw CaseFailure(text: "ended with OK")
        } catch let error as RPCError {
            try check(error.code == .unknown && error.message == status.message, "\(error)")
        }
    }

    private func specialStatusMessage() async throws {
        let text = "\t\ntest with whitespace\r\nand Unicode BMP \u{263A} and non-BMP \u{1F608}\t\n"
        try ends(
            try await unary("UnaryCall", TestRequest(status: (2, text)).simple), .unknown, text)
    }

    private func unimplementedMethod() async throws {
        try ends(try await unary("UnimplementedCall", []), .unimplemented)
    }

    private func unimplementedService() async throws {
        try ends(
            try await unary(
                "UnimplementedCall", [], service: "grpc.testing.UnimplementedService"),
            .unimplemented)
    }

    // MARK: Run

    /// Runs one case; true when it passed.
    static func run(_ name: String, _ options: Options) async throws -> Bool {
        guard let body = cases[name] else {
            print("no such case; the cases are: \(cases.keys.sorted())")
            return false
        }
        let transport = try HTTP2ClientTransport.Posix(
            target: .dns(host: "localhost", port: options.port),
            transportSecurity: .mTLS(
                certificateChain: [.file(path: options.certificate, format: .pem)],
                privateKey: .file(path: options.key, format: .pem)
            ) { tls in
                tls.trustRoots = .certificates([.file(path: options.ca, format: .pem)])
            })
        return try await withGRPCClient(transport: transport) { client in
            do {
                try await body(TestClient(client: client))
                print("\(name): passed")
                return true
            } catch let failure as CaseFailure {
                print("\(name): FAILED: \(failure.text)")
            } catch {
                print("\(name): FAILED: \(error)")
            }
            return false
        }
    }
}
