package import TriageGRPC
package struct ClientConfiguration: Sendable {
    package init(host: String, port: UInt16, serverTrust: String, certificateChain: String?, privateKey: String?, serverName: String) {}
}
package final class TriageClient: Sendable {
    package init(_ configuration: ClientConfiguration) throws(RPCError) {}
    package func unary(path: String, message: [UInt8], timeoutMilliseconds: Int64) async throws(RPCError) -> [UInt8] { fatalError() }
    package func serverStream(path: String, message: [UInt8]) throws(RPCError) -> AsyncThrowingStream<[UInt8], any Error> { fatalError() }
    package func clientStream(path: String, messages: [[UInt8]], timeoutMilliseconds: Int64) async throws(RPCError) -> [UInt8] { fatalError() }
    package func close() {}
}
