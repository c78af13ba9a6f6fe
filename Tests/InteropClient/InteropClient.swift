// A client that runs gRPC's interoperability cases against a stock server. Never shipped.
// Usage: triage-interop-client --port N --ca FILE [--cert FILE --key FILE] [--case NAME]...

import Glibc
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS
import TriageTransport

enum InteropClient {
    static func main() {
        var options: [String: String] = [:]
        var names: [String] = []
        var arguments = CommandLine.arguments.dropFirst()
        while let name = arguments.popFirst(), let value = arguments.popFirst() {
            if name == "--case" { names.append(value) } else { options[name] = value }
        }
        guard let port = UInt16(options["--port"] ?? ""), let ca = options["--ca"] else {
            print(
                "usage: triage-interop-client --port N --ca FILE [--cert FILE --key FILE] "
                    + "[--case NAME]...")
            exit(64)
        }
        let cases =
            names.isEmpty ? InteropCase.all : InteropCase.all.filter { names.contains($0.name) }
        guard !cases.isEmpty else {
            print("no such case; the cases are: \(InteropCase.all.map(\.name))")
            exit(64)
        }
        do {
            let loop = try ClientLoop()
            try loop.start()
            let endpoint = try ClientEndpoint(
                Endpoint(host: options["--host"] ?? "127.0.0.1", port: port),
                certificateChain: options["--cert"], privateKey: options["--key"],
                serverTrust: ca, serverName: options["--server-name"] ?? "localhost")
            let passed = run(cases, loop, endpoint)
            // Not while the loop runs: exit would tear OpenSSL down under it.
            loop.stop()
            exit(passed ? 0 : 1)
        } catch {
            print("triage-interop-client: \(error)")
            exit(1)
        }
    }

    private static func run(
        _ cases: [InteropCase], _ loop: ClientLoop, _ endpoint: ClientEndpoint
    ) -> Bool {
        var passed = 0
        for each in cases {
            let peer = InteropPeer(loop, endpoint)
            do throws(CaseFailure) {
                try each.run(peer)
                passed += 1
                print("\(each.name): passed")
            } catch {
                print("\(each.name): FAILED: \(error.text)")
            }
            peer.close()
        }
        print("\(passed) passed, \(cases.count - passed) failed")
        fflush(nil)
        return passed == cases.count
    }
}

/// Why a case failed.
struct CaseFailure: Error {
    let text: String
}
