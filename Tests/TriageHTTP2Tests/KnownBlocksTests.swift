// A session that recognises header blocks against one that does not: whatever a client sends, both
// must tell the same. And what it remembers, for how long.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let answer = HeaderFields.forever([.init(":status", "200")])

/// A client that compresses, and two server sessions that are given the same bytes.
private final class Twins {
    private let client: HTTP2Session
    let knowing: HTTP2Session
    private let plain: HTTP2Session

    init(headerListBytesMax: Int = 16 << 10) throws {
        var settings = HTTP2Settings()
        settings.headerListBytesMax = headerListBytesMax
        plain = try HTTP2Session(role: .server, settings: settings)
        settings.knowsBlocks = true
        knowing = try HTTP2Session(role: .server, settings: settings)
        client = try HTTP2Session(role: .client)
    }

    private func drained(_ session: HTTP2Session) throws -> [UInt8] {
        var bytes: [UInt8] = []
        _ = try session.drain(into: &bytes, atMost: .max)
        session.clearEvents()
        return bytes
    }

    /// Sends requests in pieces of so many bytes, and answers each.
    ///
    /// - Returns: The number of each request's block; 0: not known.
    func send(_ requests: [[HeaderFields.Field]], chunk: Int = .max) throws -> [UInt32] {
        for request in requests {
            _ = try client.submitRequest(HeaderFields(request), userData: 1, endStream: true)
        }
        let bytes = try drained(client)
        var numbers: [UInt32] = []
        var at = 0
        while at < bytes.count {
            let end = min(bytes.count, at + min(chunk, bytes.count))
            numbers += try receive(Array(bytes[at..<end]))
            at = end
        }
        let output = try drained(knowing)
        #expect(try drained(plain) == output)
        try client.receive(output.span)
        client.clearEvents()
        return numbers
    }

    private func receive(_ bytes: [UInt8]) throws -> [UInt32] {
        try knowing.receive(bytes.span)
        try plain.receive(bytes.span)
        #expect(knowing.happened(bytes, expanding: true) == plain.happened(bytes))
        var numbers: [UInt32] = []
        for session in [knowing, plain] {
            for event in session.events {
                guard case .headers(let stream, let block) = event else { continue }
                try session.submitHeaders(stream, answer, endStream: true)
                if session === knowing { numbers.append(block.known) }
            }
            session.clearEvents()
        }
        return numbers
    }
}

private func ask(_ path: String, _ more: [HeaderFields.Field] = []) -> [HeaderFields.Field] {
    [
        .init(":method", "POST"), .init(":scheme", "https"), .init(":path", path),
        .init(":authority", "a"), .init("content-type", "application/grpc"),
        .init("te", "trailers"),
    ] + more
}

@Suite struct KnownBlocksTests {
    @Test func theSameRequestAgain_isToldByNumber() throws {
        let twins = try Twins()
        let numbers = try (0..<4).flatMap { _ in try twins.send([ask("/a.A/A")]) }
        #expect(numbers[0] == 0)
        #expect(numbers[1] != 0)
        #expect(numbers[1...].allSatisfy { $0 == numbers[1] })
    }

    @Test func severalMethods_areKnownAtOneTime() throws {
        let twins = try Twins()
        let paths = ["/a.A/A", "/a.A/B", "/a.A/C", "/b.B/Longer"]
        var rounds: [[UInt32]] = []
        for _ in 0..<40 {
            rounds.append(try paths.flatMap { try twins.send([ask($0)]) })
        }
        let known = try #require(rounds.last)
        #expect(!known.contains(0))
        #expect(Set(known.map { Int($0) % HeaderBlock.knownMax }).count == 4)
        #expect(rounds[rounds.count - 2] == known)
    }

    @Test func fieldsThatDiffer_comeWithTheBlock() throws {
        let twins = try Twins()
        let numbers = try (0..<6).flatMap { index in
            try twins.send([
                ask(
                    "/a.A/A",
                    [
                        .init("grpc-timeout", "\(1_000 + index)u"), .init("x-id", "\(index)"),
                        .init("user-agent", "test"),
                    ])
            ])
        }
        // The first has its names for the first time; nghttp2 has other objects for them then.
        #expect(numbers.last != 0)
        #expect(Set(numbers.suffix(3)).count == 1)
    }

    @Test func secretsAndLargeBlocks_areNotRemembered() throws {
        for more in [
            [HeaderFields.Field("authorization", "Bearer x", sensitive: true)],
            (0..<12).map { HeaderFields.Field("user-agent", "\($0)") },
            [.init("user-agent", String(repeating: "u", count: 1_000))],
        ] {
            let twins = try Twins()
            for _ in 0..<5 { #expect(try twins.send([ask("/a.A/A", more)]) == [0]) }
        }
    }

    @Test func aKnownBlockOverTheLimit_isOversize() throws {
        let twins = try Twins(headerListBytesMax: 600)
        for count in [1, 1, 1, 300, 1, 400, 1] {
            let note = HeaderFields.Field("x-note", String(repeating: "n", count: count))
            _ = try twins.send([ask("/a.A/A", [note])])
        }
        #expect(twins.knowing.counters.oversizeHeaders == 2)
    }

    /// A block that is cut between two reads, once it has turned out to be none of the known ones:
    /// what it had that varies lies before what did not.
    @Test(arguments: [1, 2, 3, 5, 8]) func aMissBehindWhatVaries_cutAnywhere(chunk: Int) throws {
        let twins = try Twins()
        func request(_ names: [String]) -> [HeaderFields.Field] {
            ask("/a.A/A", [.init("grpc-timeout", "1S")] + names.map { .init($0, "1") })
        }
        // Each name is in nghttp2's table by now, and each block but the last is known.
        for names in [["x-a"], ["x-b"], ["x-c"], ["x-a"], ["x-a"]] {
            for _ in 0..<3 { _ = try twins.send([request(names)]) }
        }
        for _ in 0..<4 {
            _ = try twins.send(
                [request(["x-a"]), request(["x-b", "x-c"]), request(["x-c", "x-b", "x-a"])],
                chunk: chunk)
        }
    }

    /// Everything at once, many times over: see `Twins.receive` for what is checked.
    @Test(arguments: 1...12) func anyRequests_inAnyPieces_areToldTheSame(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        func one(in count: UInt64) -> Bool { random.next() % count == 0 }
        let twins = try Twins(headerListBytesMax: 700)
        let paths = ["/a.A/A", "/a.A/B", "/a.A/C", "/b.B/A", "/b.B/B", "/c.C/C"].prefix(
            seed % 6 + 1)
        var known = 0
        for round in 0..<80 {
            // Now and then everything is as it was, so that there is something to know.
            let isCalm = round / 10 % 2 == 0
            let requests = (0..<Int(random.next() % 5 + 1)).map { _ in
                var more: [HeaderFields.Field] = []
                if isCalm { return ask(paths[0]) }
                if one(in: 3) { more.append(.init("grpc-timeout", "\(random.next() % 4)S")) }
                if one(in: 5) { more.append(.init("x-id", "\(random.next() % 50)")) }
                if one(in: 9) { more.append(.init("x-key", "s", sensitive: one(in: 2))) }
                if one(in: 30) { more.append(.init("x-big", String(repeating: "b", count: 300))) }
                if one(in: 4) { more.shuffle(using: &random) }
                return ask(paths[Int(random.next() % UInt64(paths.count))], more)
            }
            let chunk = one(in: 2) ? Int.max : Int(random.next() % 40 + 1)
            known += try twins.send(requests, chunk: chunk).count { $0 != 0 }
        }
        #expect(known > 0, "nothing was compared")
    }
}
