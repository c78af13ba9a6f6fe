// grpc.testing.TestService as grpc-swift-2 serves it.
// Source: grpc/grpc doc/interop-test-descriptions.md "Server".

import GRPCCore
import GRPCNIOTransportHTTP2Posix

struct TestService: RegistrableRPCService {
    static let name = "grpc.testing.TestService"
    private static let initial = "x-grpc-test-echo-initial"
    private static let trailing = "x-grpc-test-echo-trailing-bin"

    static func method(_ name: String) -> MethodDescriptor {
        MethodDescriptor(fullyQualifiedService: Self.name, method: name)
    }

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        func register(
            _ name: String,
            _ handler:
                @Sendable @escaping (StreamingServerRequest<[UInt8]>) async throws
                -> StreamingServerResponse<[UInt8]>
        ) {
            router.registerHandler(
                forMethod: Self.method(name), deserializer: Bytes(), serializer: Bytes()
            ) { request, _ in try await handler(request) }
        }
        register("EmptyCall") { request in
            for try await _ in request.messages {}
            return StreamingServerResponse(single: ServerResponse(message: []))
        }
        register("UnaryCall") { request in try await Self.unary(request) }
        register("StreamingInputCall") { request in
            var sum = 0
            for try await message in request.messages { sum += TestRequest.zeros(message) ?? 0 }
            return StreamingServerResponse(
                single: ServerResponse(message: TestRequest.aggregate(sum)))
        }
        register("StreamingOutputCall") { request in Self.stream(request) }
        register("FullDuplexCall") { request in Self.stream(request) }
    }

    private static func unary(
        _ request: StreamingServerRequest<[UInt8]>
    ) async throws -> StreamingServerResponse<[UInt8]> {
        var asked = TestRequest()
        for try await message in request.messages { asked = TestRequest(simple: message) }
        try check(asked)
        return StreamingServerResponse(
            single: ServerResponse(
                message: TestRequest.withPayload(asked.sizes.first ?? 0),
                metadata: echo(request.metadata), trailingMetadata: trailer(request.metadata)))
    }

    private static func stream(
        _ request: StreamingServerRequest<[UInt8]>
    ) -> StreamingServerResponse<[UInt8]> {
        StreamingServerResponse(metadata: echo(request.metadata)) { writer in
            for try await message in request.messages {
                let asked = TestRequest(streaming: message)
                try check(asked)
                for size in asked.sizes { try await writer.write(TestRequest.withPayload(size)) }
            }
            return trailer(request.metadata)
        }
    }

    private static func check(_ asked: TestRequest) throws {
        guard let status = asked.status, let code = Status.Code(rawValue: status.code),
            let error = RPCError(status: Status(code: code, message: status.message))
        else { return }
        throw error
    }

    private static func echo(_ metadata: Metadata) -> Metadata {
        var echoed = Metadata()
        for value in metadata[stringValues: initial] { echoed.addString(value, forKey: initial) }
        return echoed
    }

    private static func trailer(_ metadata: Metadata) -> Metadata {
        var echoed = Metadata()
        for value in metadata[binaryValues: trailing] { echoed.addBinary(value, forKey: trailing) }
        return echoed
    }

    /// Serves until the process is ended; prints the port that was bound.
    static func serve(_ options: Options) async throws {
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Posix(
                address: .ipv4(host: "127.0.0.1", port: options.port),
                transportSecurity: .mTLS(
                    certificateChain: [.file(path: options.certificate, format: .pem)],
                    privateKey: .file(path: options.key, format: .pem)
                ) { tls in
                    tls.trustRoots = .certificates([.file(path: options.ca, format: .pem)])
                    tls.requireALPN = true
                }), services: [TestService()])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let address = try await server.listeningAddress
            print("listening 127.0.0.1:\(address?.ipv4?.port ?? 0)")
            Options.flush()
            try await group.next()
        }
    }
}
