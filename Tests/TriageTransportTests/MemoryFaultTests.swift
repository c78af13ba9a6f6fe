// Memory that runs out under whole gRPC calls: the n-th allocation of nghttp2 on a server's
// connection fails, for every n, once or from then on. Calls may fail, and the connection may end;
// nothing traps, no call is answered wrongly or forgotten, and no neighbour notices.

import TestSupport
import Testing
import TriageBase
import TriageGRPC
import TriageIO
import TriageTLS

@testable import TriageHTTP2
@testable import TriageTransport

@Suite struct ClientMemoryFaultTests {
    /// Hears of one connection.
    private final class Owner: ClientConnectionReceiver, ClientCallReceiver {
        var ends = 0
        func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>) {}
        func callWritable(_ call: ClientCall, _ tag: Int) {}
        func callEnded(_ call: ClientCall, _ tag: Int, _ end: ClientCallEnd) {}
        func connectionReady(_ connection: ClientConnection) {}
        func connectionDraining(_ connection: ClientConnection) {}
        func connectionEnded(_ connection: ClientConnection, _ error: TransportError) { ends += 1 }
    }

    /// It has no call whose end would end it.
    @Test func connectionThatTakesNoFirstCall_ends() throws {
        var refused = 0
        for failsAt in 1...200 {
            let memory = FailingMemory(failsAt: failsAt, forGood: false)
            guard let session = try? HTTP2Session(role: .client, pool: memory.pool) else {
                continue
            }
            let context = try ClientLoopContext(FakeClock(), WakeUp())
            let owner = Owner()
            let connection = ClientConnection(
                Wire(try TLSSession(Credentials.client()), session), context,
                Endpoint(host: "127.0.0.1", port: 1), index: 0, tag: 0, nil, owner)
            let method = ClientMethod(path: "/t.T/Echo", authority: "localhost")
            guard connection.open(method, receiver: owner) == nil else { continue }
            refused += 1
            #expect(connection.state == .draining && connection.openCallCount == 0)
            #expect(context.dirty.count == 1, "it is looked at again at the end of the turn")
            for dirty in context.dirty { dirty.flush(FrameBuffer()) }
            #expect(connection.state == .closed && owner.ends == 1)
        }
        #expect(refused > 0)
    }
}

@Suite struct MemoryFaultTests {
    /// What a client that gets an OK must have got with it, by stream.
    private typealias Promises = [Int32: [[UInt8]]]

    private static let long = [UInt8](repeating: 7, count: 200_000)
    private static let text = [UInt8](repeating: 65, count: 4_000)

    private static func echo(
        _ machine: Machine, _ method: String, _ message: [UInt8], _ changes: [(String, String)] = []
    ) throws -> HTTP2Stream {
        let stream = try machine.open(method, changes: changes)
        machine.send(stream, MessageFramer.frame(message.span), end: true)
        return stream
    }

    /// Every kind of call, good and bad, then a drain.
    private static func converse(_ machine: Machine) throws -> Promises {
        var promises: Promises = [:]
        for message in [[], [1, 2, 3], long] {
            promises[try echo(machine, "Echo", message).id] = [message]
        }
        let meta = [("x-long", String(repeating: "v", count: 3_000)), ("x-bin", "AAEC")]
        promises[try echo(machine, "Meta", [4], meta).id] = [[4]]
        promises[try echo(machine, "Twice", [1]).id] = [[1]]
        for method in ["Fail", "Nothing", "NoSuch"] { _ = try echo(machine, method, [1]) }
        _ = try echo(machine, "Page", text, [("grpc-accept-encoding", "gzip")])
        _ = try machine.open("", changes: [(":method", "GET"), (":path", "/")], endStream: true)
        try machine.turn()
        let push = try machine.open("Push")
        for number in 0..<3 { machine.send(push, MessageFramer.frame([UInt8(number)].span)) }
        try machine.turn()
        machine.http2.endStream(push)
        promises[push.id] = [[3]]
        promises[try echo(machine, "Pull", []).id] = [[1], long, [2]]
        let cancelled = try echo(machine, "Hold", [])
        _ = try echo(machine, "Hold", [], [("grpc-timeout", "10m")])
        try machine.turn()
        if let call = machine.handler.pulls.last {
            for message in [[1], long, [2]] { _ = machine.core.send(call, message) }
            machine.core.finish(call, nil)
        }
        machine.http2.reset(cancelled, .cancel)
        try machine.http2.ping(5)
        try machine.advance(milliseconds: 20)
        machine.connection.beginDrain()
        try machine.turn()
        try machine.advance(milliseconds: 1_100)
        return promises
    }

    /// Runs one conversation beside a neighbour on the same reactor, whose call comes after it.
    ///
    /// - Returns: How many allocations it asked for, and how many calls ended OK.
    private static func run(
        _ failsAt: Int, forGood: Bool
    ) throws -> (allocations: Int, answered: Int) {
        let memory = FailingMemory(failsAt: failsAt, forGood: forGood)
        let neighbour = try Machine(isBob: true)
        let core = neighbour.core
        var answered = 0
        // What such a session holds is given up.
        var isSpent = false
        do {
            let machine = try Machine(beside: neighbour, memory: memory.pool)
            let promises = try converse(machine)
            for (stream, messages) in promises {
                guard let seen = machine.seen[stream], seen.status == "0" else { continue }
                answered += 1
                #expect(seen.messages == messages, "allocation \(failsAt), stream \(stream)")
            }
            #expect(machine.connection.isEnding, "allocation \(failsAt): it drains")
            machine.connection.remove()
            isSpent = machine.connection.http2.isSpent
        } catch HTTP2Error.outOfMemory {
            // Already the session could not be made, and the reactor closes the socket.
            isSpent = true
        }
        #expect(isSpent || memory.outstanding == 0, "allocation \(failsAt): memory is lost")
        #expect(core.calls.count == 0, "allocation \(failsAt): calls are left")
        #expect(core.inputBytesHeld == 0 && core.outputBytesHeld == 0, "allocation \(failsAt)")
        let other = try neighbour.call("Echo", [9])
        #expect(other.status == "0" && other.messages == [[9]], "allocation \(failsAt)")
        return (memory.count, answered)
    }

    @Test(arguments: [false, true])
    func everyAllocationUnderCalls_mayFail(forGood: Bool) throws {
        let whole = try Self.run(0, forGood: false)
        #expect(whole.answered == 7, "without a fault all that can be is answered")
        #expect(whole.allocations > 100)
        // One more than there are: that run is whole again.
        for number in 1...whole.allocations {
            _ = try Self.run(number, forGood: forGood)
        }
        let again = try Self.run(whole.allocations + 1, forGood: forGood)
        #expect(again == whole)
    }
}
