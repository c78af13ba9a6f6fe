// A server on the real transport with methods that tests and benchmarks need: the peers' Submit,
// and echoes of every shape. Never shipped. Usage: triage-echo PORT CERT_DIR [optional]
// [reactors=N] [cpu=N] [connections=N] [calls=N]   (the last two: of one identity, calls a second)

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
                "usage: triage-echo PORT CERT_DIR [optional] [reactors=N] [cpu=N]"
                    + " [connections=N] [calls=N]")
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
        func number(_ name: String) -> Int? {
            options.first { $0.hasPrefix(name + "=") }.flatMap { Int($0.dropFirst(name.count + 1)) }
        }
        let signals = try SignalSource([SignalSource.terminate, SignalSource.interrupt])
        let tls = try TLSContext(
            .server(
                certificateChain: certificates + "/server.crt",
                privateKey: certificates + "/server.key", clientTrust: certificates + "/ca.crt",
                crl: nil, clientCertificate: options.contains("optional") ? .optional : .required))
        var configuration = ServerConfiguration(
            host: "127.0.0.1", port: port, reactorCount: number("reactors") ?? 1, tls: tls,
            methods: EchoMethods.table)
        if let cpu = number("cpu") { configuration.cpus = [cpu] }
        if let count = number("connections") {
            configuration.limits.connectionsPerIdentityMax = count
        }
        if let count = number("calls") {
            configuration.limits.callsPerSecondPerIdentity = count
            configuration.limits.callBurstPerIdentity = count
        }
        let server = try Server(configuration, factory: EchoFactory())
        try server.start()
        let admin = try AdminListener(
            host: "127.0.0.1", port: 0,
            routes: AdminRoutes(
                live: { true }, ready: { true },
                metrics: {
                    var page = PrometheusText()
                    if let metrics = server.scrape() { page.append(metrics, EchoMethods.table) }
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
