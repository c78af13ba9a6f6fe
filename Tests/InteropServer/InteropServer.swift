// A server of grpc.testing.TestService on the real transport, for stock clients. Never shipped.
// Usage: triage-interop-server --port N --ca FILE --cert FILE --key FILE

import Glibc
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS
import TriageTransport

enum InteropServer {
    static func main() {
        var options: [String: String] = [:]
        var arguments = CommandLine.arguments.dropFirst()
        while let name = arguments.popFirst(), let value = arguments.popFirst() {
            options[name] = value
        }
        guard let port = UInt16(options["--port"] ?? "0"), let ca = options["--ca"],
            let certificate = options["--cert"], let key = options["--key"]
        else {
            print("usage: triage-interop-server --port N --ca FILE --cert FILE --key FILE")
            exit(64)
        }
        do {
            try serve(port, ca, certificate, key, options)
        } catch {
            print("triage-interop-server: \(error)")
            exit(1)
        }
    }

    private static func serve(
        _ port: UInt16, _ ca: String, _ certificate: String, _ key: String,
        _ options: [String: String]
    ) throws {
        let signals = try SignalSource([SignalSource.terminate, SignalSource.interrupt])
        let tls = try TLSContext(
            .server(
                certificateChain: certificate, privateKey: key, clientTrust: ca, crl: nil,
                clientCertificate: .optional))
        let host = options["--host"] ?? "127.0.0.1"
        var configuration = ServerConfiguration(
            host: host, port: port, reactorCount: 1, tls: tls,
            methods: InteropMethods.table)
        // The official payloads are zeros, which pack a thousand times.
        configuration.limits.inflateRatioFreeBytes = configuration.limits.messageBytesMax
        let server = try Server(configuration, factory: InteropFactory())
        try server.start()
        print("listening \(host):\(server.port)")
        fflush(nil)
        _ = signals.next(waitMilliseconds: -1)
        server.beginDrain()
        server.waitUntilStopped()
    }
}
