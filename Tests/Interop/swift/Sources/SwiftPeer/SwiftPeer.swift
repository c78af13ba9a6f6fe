// The third stock peer of gRPC's interoperability cases, as a server or as a client.
// Usage: swift-peer server --port N --ca FILE --cert FILE --key FILE
//        swift-peer client --port N --ca FILE --cert FILE --key FILE --case NAME

import Glibc

struct Options: Sendable {
    var port = 0
    var ca = ""
    var certificate = ""
    var key = ""
    var name = ""

    /// Nil when a word is not understood.
    init?(_ words: some Sequence<String>) {
        var words = Array(words)[...]
        while let flag = words.popFirst() {
            guard let value = words.popFirst() else { return nil }
            switch flag {
            case "--port": port = Int(value) ?? -1
            case "--ca": ca = value
            case "--cert": certificate = value
            case "--key": key = value
            case "--case": name = value
            default: return nil
            }
        }
    }

    /// Standard output is a pipe here: what was printed leaves now.
    static func flush() { fflush(nil) }
}

@main
enum SwiftPeer {
    static func main() async throws {
        let words = CommandLine.arguments.dropFirst()
        guard let role = words.first, let options = Options(words.dropFirst()) else {
            print(
                "usage: swift-peer server|client --port N --ca FILE --cert FILE --key FILE"
                    + " [--case NAME]"
            )
            exit(64)
        }
        if role == "server" {
            try await TestService.serve(options)
        } else {
            let passed = try await TestClient.run(options.name, options)
            Options.flush()
            exit(passed ? 0 : 1)
        }
    }
}
