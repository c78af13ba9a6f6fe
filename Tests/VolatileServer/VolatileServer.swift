// triaged's services and engine over a journal that keeps nothing, so that a measurement can tell
// what a call costs from what its disk costs. Never shipped.
// Usage: triage-volatile PORT CERT_DIR [reactors=N]

import Glibc
import TriageBase
import TriageDomain
import TriageEngine
import TriageGRPC
import TriageIO
import TriageServices
import TriageTLS
import TriageTransport

enum VolatileServer {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3, let port = UInt16(arguments[1]) else {
            print("usage: triage-volatile PORT CERT_DIR [reactors=N]")
            exit(2)
        }
        do {
            let reactors = arguments.dropFirst(3).first { $0.hasPrefix("reactors=") }
            try serve(port, arguments[2], reactors.flatMap { Int($0.dropFirst(9)) } ?? 1)
        } catch {
            print("triage-volatile: \(error)")
            exit(1)
        }
    }

    private static func serve(_ port: UInt16, _ certificates: String, _ reactors: Int) throws {
        Heap.keepFreedMemory()
        TLSMemory.keepFreed()
        SignalSource.ignoreBrokenPipes()
        let signals = try SignalSource([SignalSource.terminate, SignalSource.interrupt])
        let tls = try TLSContext(
            .server(
                certificateChain: certificates + "/server.crt",
                privateKey: certificates + "/server.key", clientTrust: certificates + "/ca.crt",
                crl: nil, clientCertificate: .required))
        let engine = try Engine.over(VolatileJournal())
        let health = HealthState()
        let services = ServiceFactory(
            engine: engine, policy: PolicyStore(policy), health: health, version: "volatile")
        var configuration = ServerConfiguration(
            host: "127.0.0.1", port: port, reactorCount: reactors, tls: tls,
            methods: services.methods)
        // One identity makes all calls: what is measured is not its share.
        configuration.limits.callsPerSecondPerIdentity = 100_000_000
        configuration.limits.callBurstPerIdentity = 100_000_000
        let server = try Server(configuration, factory: services)
        services.attach(server)
        engine.start()
        try server.start()
        health.set(serving: true)
        print("listening 127.0.0.1:\(server.ports[0])")
        fflush(nil)
        _ = signals.next(waitMilliseconds: -1)
        server.beginDrain()
        server.waitUntilStopped()
        engine.stop()
    }

    /// Who calls in a measurement: the identity of Certs/mint that hands in reports.
    private static var policy: Policy {
        let nothing = Eligibility(skills: 0, clearances: 0, regions: 0, languages: [])
        let classifier = Principal(spiffeID: "spiffe://triaged.example/intake/classifier")
        return Policy(entries: [
            classifier: PolicyEntry(roles: RoleSet(.intake), eligibility: nothing)
        ])
    }
}
