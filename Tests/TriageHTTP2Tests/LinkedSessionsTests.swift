// A client session against a server session, joined in memory.

import TestSupport
import Testing
import TriageBase
import TriageHTTP2

private let good = HeaderFields.forever([
    .init(":status", "200"), .init("content-type", "application/grpc"),
])
private let ok = HeaderFields.forever([.init("grpc-status", "0")])
private let call = HeaderFields(request.map { .init($0.0, $0.1) })

/// Two sessions; whatever one drains, the other receives in pieces of a chosen size.
final class LinkedSessions {
    let client: HTTP2Session
    let server: HTTP2Session
    var chunk = Int.max
    /// Called for each event of the server, with the bytes that it refers to.
    var onServer: (HTTP2Event, [UInt8]) throws -> Void = { _, _ in }
    /// The same for the client.
    var onClient: (HTTP2Event, [UInt8]) throws -> Void = { _, _ in }

    init(
        client: HTTP2Settings = HTTP2Settings(), server: HTTP2Settings = HTTP2Settings(),
        serverPool: HTTP2Memory = HTTP2Memory()
    ) throws {
        self.client = try HTTP2Session(role: .client, settings: client)
        self.server = try HTTP2Session(role: .server, settings: server, pool: serverPool)
    }

    private func dispatch(_ session: HTTP2Session, _ input: [UInt8]) throws {
        let events = session.events
        for event in events { try (session === server ? onServer : onClient)(event, input) }
        session.clearEvents()
    }

    private func carry(
        _ from: HTTP2Session, _ to: HTTP2Session, atMost limit: Int = 32_768
    ) throws -> Bool {
        var bytes: [UInt8] = []
        _ = try from.drain(into: &bytes, atMost: limit)
        try dispatch(from, [])
        var at = 0
        while at < bytes.count {
            let piece = Array(bytes[at..<min(bytes.count, at + min(chunk, bytes.count))])
            try to.receive(piece.span)
            try dispatch(to, piece)
            at += piece.count
        }
        return !bytes.isEmpty
    }

    /// One frame of the server's.
    func step() throws { _ = try carry(server, client, atMost: 1) }

    /// Lets both sides talk until neither has anything to say.
    func settle() throws {
        var moved = true
        while moved {
            let there = try carry(client, server)
            let back = try carry(server, client)
            moved = there || back
        }
    }
}

/// A server that answers each complete request with its own body.
private func echo(_ link: LinkedSessions) {
    var bodies: [Int32: [UInt8]] = [:]
    link.onServer = { [unowned link] event, input in
        switch event {
        case .data(let stream, let offset, let count):
            bodies[stream.id, default: []] += input[offset..<offset + count]
            link.server.consume(stream, count)
        case .endStream(let stream):
            try link.server.submitHeaders(stream, good, endStream: false)
            link.server.submitData(stream, bodies[stream.id] ?? [])
            link.server.submitTrailers(stream, ok)
        case .streamClosed(let stream, _): bodies[stream.id] = nil
        default: break
        }
    }
}

/// What a client got on each stream.
private final class Answers {
    var bodies: [Int: [UInt8]] = [:]
    var trailers: [Int: Int] = [:]
    var closed: [Int: HTTP2ErrorCode] = [:]
    var order: [Int] = []

    func attach(_ link: LinkedSessions) {
        link.onClient = { [unowned link, self] event, input in
            switch event {
            case .data(let stream, let offset, let count):
                bodies[link.client.userData(stream), default: []] += input[offset..<offset + count]
                link.client.consume(stream, count)
            case .trailers(let stream, let block):
                trailers[link.client.userData(stream)] = Int(block.count)
            case .streamClosed(let stream, let code):
                closed[link.client.userData(stream)] = code
                order.append(link.client.userData(stream))
            default: break
            }
        }
    }
}

@Suite struct LinkedSessionsTests {
    @Test(arguments: [1, 9, 1_000, Int.max]) func unaryCall_inAnyPieces(chunk: Int) throws {
        let link = try LinkedSessions()
        link.chunk = chunk
        echo(link)
        let answers = Answers()
        answers.attach(link)
        let stream = try link.client.submitRequest(call, userData: 7, endStream: false)
        #expect(link.client.userData(stream) == 7)
        link.client.submitData(stream, [1, 2, 3], prefix: DataPrefix(flag: 0, length: 3))
        link.client.endStream(stream)
        try link.settle()
        #expect(answers.bodies == [7: [0, 0, 0, 0, 3, 1, 2, 3]])
        #expect(answers.trailers == [7: 1])
        #expect(answers.closed == [7: .noError])
        #expect(link.client.openStreamCount == 0)
        #expect(link.server.openStreamCount == 0)
        #expect(link.server.counters.resetsProvoked == 0)
    }

    /// A stream's source is let go of when its queue has drained; whatever is queued at whatever
    /// moment, the bytes come in order, and the end after them.
    @Test(arguments: 0..<40 as Range<UInt64>)
    func streamedBodies_whateverIsQueuedWhen(seed: UInt64) throws {
        let link = try LinkedSessions()
        let answers = Answers()
        answers.attach(link)
        var random = SeededRandom(seed: seed)
        var open: [HTTP2Stream] = []
        link.onServer = { event, _ in
            if case .endStream(let stream) = event { open.append(stream) }
        }
        for number in 1...3 {
            _ = try link.client.submitRequest(call, userData: number, endStream: true)
        }
        try link.settle()
        var bodies: [Int: [UInt8]] = [:]
        for stream in open { try link.server.submitHeaders(stream, good, endStream: false) }
        for _ in 0..<60 {
            let index = Int(random.next() % 3)
            let count = random.next() % 5 == 0 ? 40_000 : random.next() % 300
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &+ random.next()) }
            let prefix = DataPrefix(flag: 0, length: UInt32(count))
            let framed = [0, 0, 0, UInt8(count >> 8), UInt8(count & 255)] + bytes
            bodies[index + 1, default: []] += framed
            if random.next() % 2 == 0 {
                link.server.submitData(open[index], bytes, prefix: prefix)
            } else {
                #expect(link.server.submitFramed(open[index], framed) >= framed.count)
            }
            // Frame by frame: the last one of a queue is out, and nghttp2 does not know it yet.
            for _ in 0..<random.next() % 3 { try link.step() }
            if random.next() % 4 == 0 { try link.settle() }
        }
        link.server.submitTrailers(open[0], ok)
        link.server.endStream(open[1])
        try link.settle()
        link.server.submitTrailers(open[2], ok)
        try link.settle()
        #expect(answers.bodies == bodies)
        #expect(answers.trailers == [1: 1, 3: 1])
        #expect(answers.closed == [1: .noError, 2: .noError, 3: .noError])
        #expect(link.server.bufferedBytes == 0 && link.server.openStreamCount == 0)
    }

    @Test func requestWithoutBody_isAnswered() throws {
        let link = try LinkedSessions()
        echo(link)
        let answers = Answers()
        answers.attach(link)
        _ = try link.client.submitRequest(call, userData: 1, endStream: true)
        try link.settle()
        #expect(answers.closed == [1: .noError])
        #expect(answers.trailers == [1: 1])
    }

    @Test func hundredStreamsAtOnce_eachWithItsOwnBody() throws {
        let link = try LinkedSessions()
        link.chunk = 1_777
        echo(link)
        let answers = Answers()
        answers.attach(link)
        var random = SeededRandom(seed: 0x4802_0002)
        var bodies: [Int: [UInt8]] = [:]
        for index in 0..<100 {
            let body = (0..<Int(random.next() % 30_000)).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            bodies[index] = body
            let stream = try link.client.submitRequest(call, userData: index, endStream: false)
            link.client.submitData(stream, body)
            link.client.endStream(stream)
        }
        try link.settle()
        #expect(answers.bodies == bodies.filter { !$0.value.isEmpty })
        #expect(answers.closed.count == 100)
        #expect(answers.closed.values.allSatisfy { $0 == .noError })
        #expect(link.server.counters.streamsOpened == 100)
    }

    @Test func requestsAboveTheServersLimit_waitTheirTurn() throws {
        let link = try LinkedSessions()
        echo(link)
        let answers = Answers()
        answers.attach(link)
        for index in 0..<350 {
            _ = try link.client.submitRequest(call, userData: index, endStream: true)
        }
        try link.settle()
        #expect(answers.closed.count == 350)
        #expect(answers.closed.values.allSatisfy { $0 == .noError })
        #expect(answers.order == Array(0..<350))
    }

    // MARK: Flow control

    @Test func aStreamThatIsNotConsumed_stopsAtItsWindow_andGoesOnAfterwards() throws {
        let link = try LinkedSessions()
        var received = 0
        var held: HTTP2Stream?
        link.onServer = { event, _ in
            if case .data(let stream, _, let count) = event {
                received += count
                held = stream
            }
        }
        let body = [UInt8](repeating: 5, count: 3 << 20)
        let stream = try link.client.submitRequest(call, userData: 1, endStream: false)
        link.client.submitData(stream, body)
        link.client.endStream(stream)
        try link.settle()
        #expect(received == 1 << 20)
        #expect(link.client.bufferedBytes(stream) == 2 << 20)
        let server = try #require(held)
        #expect(link.server.unconsumedBytes(server) == 1 << 20)
        // Less than half a window is not worth an update.
        link.server.consume(server, 1_000)
        try link.settle()
        #expect(received == 1 << 20)
        link.server.consume(server, (1 << 20) - 1_000)
        try link.settle()
        #expect(received == 2 << 20)
        link.server.consume(server, .max)
        try link.settle()
        #expect(received == 3 << 20)
        #expect(link.client.bufferedBytes == 0)
    }

    @Test func fourStreamsThatAreNotConsumed_exhaustTheConnection() throws {
        let link = try LinkedSessions()
        var received: [Int32: Int] = [:]
        var streams: [Int32: HTTP2Stream] = [:]
        link.onServer = { event, _ in
            if case .data(let stream, _, let count) = event {
                received[stream.id, default: 0] += count
                streams[stream.id] = stream
            }
        }
        for index in 0..<6 {
            let stream = try link.client.submitRequest(call, userData: index, endStream: false)
            link.client.submitData(stream, [UInt8](repeating: 5, count: 1 << 20))
            link.client.endStream(stream)
        }
        try link.settle()
        #expect(received.values.reduce(0, +) == 4 << 20)
        // Streams that go away give their share back, once it is half of the connection's window.
        let gone = streams.values.filter { received[$0.id] == 1 << 20 }.prefix(2)
        #expect(gone.count == 2)
        for stream in gone { link.server.reset(stream, .cancel) }
        try link.settle()
        #expect(received.values.reduce(0, +) == 6 << 20)
    }

    @Test func streamsThatAreHeld_leaveTheConnectionToOthers() throws {
        let link = try LinkedSessions()
        var received: [Int32: Int] = [:]
        var streams: [HTTP2Stream] = []
        link.onServer = { [unowned link] event, _ in
            guard case .data(let stream, _, let count) = event else { return }
            if received.updateValue((received[stream.id] ?? 0) + count, forKey: stream.id) == nil {
                streams.append(stream)
            }
            link.server.hold(stream)
        }
        for index in 0..<6 {
            let stream = try link.client.submitRequest(call, userData: index, endStream: false)
            link.client.submitData(stream, [UInt8](repeating: 5, count: 2 << 20))
            link.client.endStream(stream)
        }
        try link.settle()
        // Six streams of one window each, on a connection of four.
        #expect(received.values.sorted() == [Int](repeating: 1 << 20, count: 6))
        // What was held counts once when it is used, and so does what follows.
        for stream in streams { link.server.consume(stream, 1 << 20) }
        try link.settle()
        #expect(received.values.sorted() == [Int](repeating: 2 << 20, count: 6))
        for stream in streams { link.server.consume(stream, 1 << 20) }
        for index in 0..<4 {
            let stream = try link.client.submitRequest(call, userData: index, endStream: false)
            link.client.submitData(stream, [UInt8](repeating: 5, count: 1 << 20))
        }
        try link.settle()
        #expect(received.values.reduce(0, +) == 16 << 20, "the connection's window is whole")
    }

    /// What a paused call had received was given back to the connection while it was paused: the
    /// next call in its place must not do so in its stead, or miss it.
    @Test func streamsThatEndWhileTheyAreHeld_leaveNothingToTheNextInTheirPlace() throws {
        let link = try LinkedSessions()
        var received = 0
        var paused: [HTTP2Stream] = []
        var isPausing = true
        link.onServer = { [unowned link] event, _ in
            guard case .data(let stream, _, let count) = event else { return }
            received += count
            if isPausing {
                if !paused.contains(stream) { paused.append(stream) }
                link.server.hold(stream)
            } else {
                link.server.consume(stream, count)
            }
        }
        func send(_ streams: Int, _ bytes: Int) throws {
            for index in 0..<streams {
                let stream = try link.client.submitRequest(call, userData: index, endStream: false)
                link.client.submitData(stream, [UInt8](repeating: 5, count: bytes))
                link.client.endStream(stream)
            }
            try link.settle()
        }
        for _ in 0..<3 {
            received = 0
            isPausing = true
            try send(6, 2 << 20)
            #expect(received == 6 << 20, "a window each")
            for stream in paused { link.server.reset(stream, .cancel) }
            paused = []
            try link.settle()
            isPausing = false
            received = 0
            // More than the connection's window: all of it must come back.
            try send(6, 4 << 20)
            #expect(received == 24 << 20)
        }
    }

    @Test func responsesLargerThanTheClientsWindows_flowAsTheClientReads() throws {
        var narrow = HTTP2Settings()
        narrow.streamWindowBytes = 65_535
        narrow.connectionWindowBytes = 65_535
        let link = try LinkedSessions(client: narrow)
        echo(link)
        let answers = Answers()
        answers.attach(link)
        let body = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let stream = try link.client.submitRequest(call, userData: 1, endStream: false)
        link.client.submitData(stream, body)
        link.client.endStream(stream)
        try link.settle()
        #expect(answers.bodies[1] == body)
    }

    @Test func aWatcherThatDoesNotRead_holdsItsOwnStreamOnly() throws {
        let link = try LinkedSessions()
        var watch: HTTP2Stream?
        link.onServer = { [unowned link] event, _ in
            guard case .endStream(let stream) = event else { return }
            try link.server.submitHeaders(stream, good, endStream: false)
            if watch == nil {
                watch = stream
                link.server.submitData(stream, [UInt8](repeating: 1, count: 2 << 20))
            } else {
                link.server.submitData(stream, [2])
                link.server.submitTrailers(stream, ok)
            }
        }
        var finished: [Int] = []
        link.onClient = { [unowned link] event, _ in
            if case .streamClosed(let stream, _) = event {
                finished.append(link.client.userData(stream))
            }
        }
        for index in 0..<5 {
            _ = try link.client.submitRequest(call, userData: index, endStream: true)
        }
        try link.settle()
        #expect(finished.sorted() == [1, 2, 3, 4])
        #expect(link.server.bufferedBytes(try #require(watch)) == 1 << 20)
    }

    @Test func outputDrained_isToldOnceThePeerHasRead() throws {
        let link = try LinkedSessions()
        var watch: HTTP2Stream?
        var drained = 0
        link.onServer = { [unowned link] event, _ in
            switch event {
            case .endStream(let stream):
                watch = stream
                try link.server.submitHeaders(stream, good, endStream: false)
                link.server.submitData(stream, [UInt8](repeating: 1, count: (1 << 20) + 50_000))
            case .outputDrained: drained += 1
            default: break
            }
        }
        var held = 0
        link.onClient = { event, _ in if case .data(_, _, let count) = event { held += count } }
        let stream = try link.client.submitRequest(call, userData: 1, endStream: true)
        try link.settle()
        #expect(held == 1 << 20)
        #expect(drained == 0)
        link.client.consume(stream, held)
        try link.settle()
        #expect(drained == 1)
        // A queue that never was above the mark is not announced.
        link.server.submitData(try #require(watch), [1, 2, 3])
        try link.settle()
        #expect(drained == 1)
    }

    // MARK: Endings

    @Test func drainingServer_refusesWhatItWillNotServe() throws {
        let link = try LinkedSessions()
        var held: [HTTP2Stream] = []
        link.onServer = { event, _ in if case .endStream(let stream) = event { held.append(stream) }
        }
        let answers = Answers()
        answers.attach(link)
        _ = try link.client.submitRequest(call, userData: 1, endStream: true)
        try link.settle()
        try link.server.goAway(.noError)
        try link.settle()
        // Refused without a byte on the wire.
        _ = try link.client.submitRequest(call, userData: 2, endStream: true)
        try link.settle()
        #expect(
            answers.closed[2] == .refusedStream
                || answers.closed[2] == nil && link.client.openStreamCount == 1)
        #expect(answers.closed[1] == nil)
        for stream in held { try link.server.submitHeaders(stream, good, endStream: true) }
        try link.settle()
        #expect(answers.closed[1] == .noError)
        #expect(!link.client.wantsRead)
        #expect(!link.server.wantsRead)
    }

    @Test func requestQueuedBehindTheLimit_isRefusedByAGoAway() throws {
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = 1
        let link = try LinkedSessions(server: settings)
        let answers = Answers()
        answers.attach(link)
        try link.settle()
        _ = try link.client.submitRequest(call, userData: 1, endStream: true)
        _ = try link.client.submitRequest(call, userData: 2, endStream: true)
        try link.settle()
        try link.server.goAway(.noError)
        try link.settle()
        #expect(answers.closed == [2: .refusedStream])
        #expect(link.client.openStreamCount == 1)
    }

    @Test func whatTheServerMayHaveSeen_isKnown() throws {
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = 1
        let link = try LinkedSessions(server: settings)
        try link.settle()
        #expect(link.client.peerStreamsMax == 1)
        let sent = try link.client.submitRequest(call, userData: 1, endStream: true)
        let queued = try link.client.submitRequest(call, userData: 2, endStream: true)
        #expect(!link.client.mayHaveSent(sent) && !link.client.mayHaveSent(queued))
        try link.settle()
        #expect(link.client.mayHaveSent(sent) && !link.client.mayHaveSent(queued))
        try link.server.goAway(.enhanceYourCalm, debug: "too_many_pings")
        try link.settle()
        #expect(link.client.goAwayDebug == Array("too_many_pings".utf8))
        // What is over may have been anything.
        #expect(link.client.mayHaveSent(queued))
    }

    /// A call goes into the place of one that is over: it has not been sent itself.
    @Test func whatTheServerMayHaveSeen_isNotWhatItSawInTheSamePlace() throws {
        let link = try LinkedSessions()
        echo(link)
        Answers().attach(link)
        let sent = try link.client.submitRequest(call, userData: 1, endStream: true)
        try link.settle()
        #expect(link.client.openStreamCount == 0)
        let queued = try link.client.submitRequest(call, userData: 2, endStream: true)
        try #require(queued.slot == sent.slot)
        #expect(!link.client.mayHaveSent(queued))
        try link.settle()
        #expect(link.client.mayHaveSent(queued))
    }

    @Test func clientsReset_reachesTheServer() throws {
        let link = try LinkedSessions()
        var closed: [HTTP2ErrorCode] = []
        link.onServer = { event, _ in
            if case .streamClosed(_, let code) = event { closed.append(code) }
        }
        let stream = try link.client.submitRequest(call, userData: 1, endStream: false)
        try link.settle()
        link.client.reset(stream, .cancel)
        try link.settle()
        #expect(closed == [.cancel])
        #expect(link.server.counters.resets == 1)
    }

    @Test func informationalResponse_isNotTheResponse() throws {
        let talk = try Conversation(.client)
        _ = try talk.session.submitRequest(call, userData: 1, endStream: true)
        _ = try talk.frames()
        try talk.send(
            .headers(1, [(":status", "103"), ("link", "x")]), .headers(1, [(":status", "200")]),
            .headers(1, [("grpc-status", "0")], end: true))
        #expect(
            talk.take() == [
                .informational(1, [":status=103", "link=x"]), .headers(1, [":status=200"]),
                .trailers(1, ["grpc-status=0"]), .end(1), .closed(1, .noError),
            ])
    }

    @Test func pushPromise_endsTheConnection() throws {
        let talk = try Conversation(.client)
        _ = try talk.session.submitRequest(call, userData: 1, endStream: true)
        _ = try talk.frames()
        let promise = Frame(
            type: 5, flags: 4, stream: 1, payload: [0, 0, 0, 2] + HPACK.encode(request))
        let (_, answer) = try talk.exchange(promise)
        #expect(answer.last?.type == 7)
    }

    @Test func randomConversations_deliverEverything() throws {
        for seed in UInt64(1)...20 {
            var random = SeededRandom(seed: 0x4802_1000 + seed)
            let link = try LinkedSessions()
            link.chunk = 1 + Int(random.next() % 3_000)
            echo(link)
            let answers = Answers()
            answers.attach(link)
            var bodies: [Int: [UInt8]] = [:]
            for index in 0..<40 {
                let stream = try link.client.submitRequest(call, userData: index, endStream: false)
                var body: [UInt8] = []
                for _ in 0..<random.next() % 5 {
                    let part = (0..<Int(random.next() % 20_000)).map { _ in
                        UInt8(truncatingIfNeeded: random.next())
                    }
                    link.client.submitData(stream, part)
                    body += part
                    if random.next() % 2 == 0 { try link.settle() }
                }
                if random.next() % 5 == 0 {
                    link.client.reset(stream, .cancel)
                } else {
                    link.client.endStream(stream)
                    bodies[index] = body
                }
                if random.next() % 3 == 0 { try link.settle() }
            }
            try link.settle()
            for (index, body) in bodies {
                #expect(
                    answers.bodies[index, default: []].elementsEqual(body),
                    "seed \(seed) call \(index)")
                #expect(answers.closed[index] == .noError, "seed \(seed) call \(index)")
            }
            #expect(link.client.openStreamCount == 0)
            #expect(link.server.openStreamCount == 0)
            #expect(link.server.bufferedBytes == 0)
        }
    }
}
