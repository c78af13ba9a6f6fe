// Which requests are calls, and what the others are told.

import Testing
import TriageGRPC

@Suite struct RequestHeadTests {
    private let table = MethodTable([
        Method(path: "/a.B/C", clientStreaming: false, serverStreaming: false),
        Method(
            path: "/grpc.health.v1.Health/Check", clientStreaming: false, serverStreaming: false,
            allowedWithoutIdentity: true),
    ])

    private func verdict(
        method: String = "POST", path: String = "/a.B/C", type: String? = "application/grpc",
        te: String? = "trailers", encoding: String? = nil, timeout: String? = nil,
        identified: Bool = true, oversize: Bool = false
    ) -> String {
        var head = RequestHead()
        head.isOversize = oversize
        head.methodReceived(Array(method.utf8).span)
        head.pathReceived(Array(path.utf8).span, table)
        if let type { head.contentTypeReceived(Array(type.utf8).span) }
        if let te { head.teReceived(Array(te.utf8).span) }
        if let encoding { head.encodingReceived(Array(encoding.utf8).span) }
        if let timeout { head.timeoutReceived(Array(timeout.utf8).span) }
        switch head.verdict(table, isIdentified: identified) {
        case .accept(let method, let timeout): return "\(method) \(timeout.map(String.init) ?? "-")"
        case .http(let status): return "HTTP \(status)"
        case .refuse(let error): return "\(error.code) \(error.reason)"
        }
    }

    @Test func good_isAccepted() {
        #expect(verdict() == "0 -")
        #expect(verdict(timeout: "5m") == "0 5000000")
        #expect(verdict(encoding: "identity") == "0 -")
    }

    @Test(arguments: [
        "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
        "application/grpc+proto; x=y",
    ])
    func contentType_ofGRPC_isAccepted(type: String) {
        #expect(verdict(type: type) == "0 -")
    }

    @Test(arguments: [
        "", "application/json", "application/grpc-web", "application/grpc+json",
        "application/grpcx", "application/grp", "Application/grpc",
    ])
    func contentType_ofAnythingElse_is415(type: String) {
        #expect(verdict(type: type) == "HTTP 415")
    }

    @Test func missingContentType_is415() { #expect(verdict(type: nil) == "HTTP 415") }

    @Test func otherMethods_are405() {
        for method in ["GET", "PUT", "post", "POSTS", "PO", ""] {
            #expect(verdict(method: method) == "HTTP 405")
        }
    }

    @Test func te_mustBeTrailers() {
        #expect(verdict(te: nil) == "internal TE_TRAILERS_MISSING")
        #expect(verdict(te: "gzip") == "internal TE_TRAILERS_MISSING")
    }

    @Test func gzipAndIdentity_areKnown() {
        #expect(verdict(encoding: "gzip") == "0 -")
        #expect(verdict(encoding: "identity") == "0 -")
    }

    @Test(arguments: ["Gzip", "deflate", "snappy", "identit", "identityx", ""])
    func unknownEncoding_isUnimplemented(encoding: String) {
        #expect(verdict(encoding: encoding) == "unimplemented ENCODING_UNSUPPORTED")
    }

    @Test func malformedTimeout_isRefused() {
        #expect(verdict(timeout: "123456789S") == "invalidArgument TIMEOUT_MALFORMED")
    }

    @Test(arguments: ["/a.B/D", "/a.B/", "a.B/C", "/a.B/C/", "", "/", "/a.B/c"])
    func unknownPath_isUnimplemented(path: String) {
        #expect(verdict(path: path) == "unimplemented METHOD_UNKNOWN")
    }

    @Test func stranger_mayOnlyProbe_andLearnsNoMethods() {
        let check = "/grpc.health.v1.Health/Check"
        #expect(verdict(path: check, identified: false) == "1 -")
        let refused = "unauthenticated CLIENT_CERTIFICATE_REQUIRED"
        #expect(verdict(identified: false) == refused)
        #expect(verdict(path: "/no.Such/Method", identified: false) == refused)
    }

    @Test func oversize_comesFirst() {
        #expect(verdict(method: "GET", oversize: true) == "resourceExhausted METADATA_TOO_LARGE")
        var head = RequestHead()
        head.isOversize = true
        head.oversize = (bytes: 17_001, fields: 12)
        guard case .refuse(let error) = head.verdict(table, isIdentified: true) else {
            Issue.record("it was not refused")
            return
        }
        #expect(error.message.contains("17001 bytes in 12 fields"))
        #expect(error.metadata["bytes"] == "17001" && error.metadata["bytes_max"] == "16384")
        #expect(error.metadata["fields"] == "12" && error.metadata["fields_max"] == "100")
    }

    @Test func methodTable_findsAllOfMany() {
        let many = MethodTable(
            (0..<500).map {
                Method(path: "/s.S/Method\($0)", clientStreaming: false, serverStreaming: false)
            })
        for index in 0..<500 {
            #expect(find(many, "/s.S/Method\(index)") == index)
        }
        #expect(find(many, "/s.S/Method500") == nil)
        #expect(table.methods[1].service == "grpc.health.v1.Health")
        #expect(table.methods[1].name == "Check")
    }
}
