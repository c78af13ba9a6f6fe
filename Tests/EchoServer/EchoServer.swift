// A server on the real transport with methods that tests and benchmarks need: the peers' Submit,
// and echoes of every shape. Never shipped. Usage: triage-echo PORT CERT_DIR [optional]
// [reactors=N] [cpus=N,N] [connections=N]   (connections: in all, and of one identity)

import Glibc
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS
import TriageTransport

enum EchoServer {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3, let port = UInt16(arguments[1]) else {
            print(
                "usage: triage-echo PORT CERT_DIR [optional] [reactors=N] [cpus=N,N]"
                    + " [connections=N]")
            exit(2)
        }
        do {
            try serve(port, arguments[2], Array(arguments.dropFirst(3)))
        } catch {
            print("triage-echo: \(error)")
            exit(1)
        }
    }

    private static func serve(_ port: UInt16, _ certificates: String, _ options: [String]) throws {
        func numbers(_ name: String) -> [Int] {
            options.first { $0.hasPrefix(name + "=") }.map {
                $0.dropFirst(name.count + 1).split(separator: ",").compactMap { Int($0) }
            } ?? []
        }
        Heap.keepFreedMemory()
        TLSMemory.keepFreed()
        let signals = try SignalSource([SignalSource.terminate, SignalSource.interrupt])
        let tls = try TLSContext(
            .server(
                certificateChain: certificates + "/server.crt",
                privateKey: certificates + "/server.key", clientTrust: certificates + "/ca.crt",
                crl: nil, clientCertificate: options.contains("optional") ? .optional : .required))
        var configuration = ServerConfiguration(
            host: "127.0.0.1", port: port, reactorCount: numbers("reactors").first ?? 1, tls: tls,
            methods: EchoMethods.table)
        configuration.cpus = numbers("cpus")
        // One identity makes all calls of a measurement: what is measured is not its share.
        configuration.limits.callsPerSecondPerIdentity = 100_000_000
        configuration.limits.callBurstPerIdentity = 100_000_000
        if let count = numbers("connections").first {
            configuration.limits.connectionsMax = count
            configuration.limits.connectionsPerIdentityMax = count
        }
        let server = try Server(configuration, factory: EchoFactory())
        try server.start()
        let admin = try AdminListener(
            host: "127.0.0.1", port: 0,
            routes: AdminRoutes(
                live: { true }, ready: { true },
                metrics: { hits in
                    var page = PrometheusText()
                    if var metrics = server.scrape() {
                        metrics.limits.add(hits)
                        page.append(metrics, EchoMethods.table)
                    }
                    return page.text
                }))
        try admin.start()
        print("listening 127.0.0.1:\(server.port) admin 127.0.0.1:\(admin.port)")
        fflush(nil)
        _ = signals.next(waitMilliseconds: -1)
        server.beginDrain()
        server.waitUntilStopped()
        admin.stop()
    }
}
