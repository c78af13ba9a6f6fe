// The same messages to many calls: framed once, connection by connection, so that what a stream
// needs is touched once and the first of a thousand streams does not wait for the last one.

import TriageBase
import TriageGRPC
import TriageHTTP2

extension ServerCore {
    /// Fewer calls than this get what they share at the end of the turn, together with the rest.
    private static let pushedCallsMin = 64

    func send(
        _ messages: [[UInt8]], to calls: [UInt64], _ report: (CallID, SendOutcome) -> Void
    ) {
        let framed = Self.framed(messages)
        let push = mayPush && calls.count >= Self.pushedCallsMin ? push : nil
        // Who was answered before goes first: the caller of what all of these hear about, say.
        if let push { for connection in dirty { push(connection) } }
        var next = 0
        while next < calls.count {
            guard let (call, connection) = open(CallID(raw: calls[next])) else {
                report(CallID(raw: calls[next]), .gone)
                next += 1
                continue
            }
            next = send(messages, framed, to: calls, from: next, on: connection, report)
            push?(Int(self.calls[call].connection))
        }
    }

    /// Sends to the calls of one connection, as far as they stand beside each other.
    ///
    /// - Returns: Where the next connection's begin.
    private func send(
        _ messages: [[UInt8]], _ framed: [UInt8], to ids: [UInt64], from first: Int,
        on connection: Connection, _ report: (CallID, SendOutcome) -> Void
    ) -> Int {
        var sent: UInt64 = 0
        defer { connection.messagesSent += sent }
        for index in first..<ids.count {
            let id = CallID(raw: ids[index])
            guard let call = calls.find(id), calls[call].machine.isOpen else {
                report(id, .gone)
                continue
            }
            guard connection.isMine(call) else { return index }
            var machine = calls[call].machine
            guard calls[call].extras == nil, connection.refusal(toHold: framed.count) == nil,
                case .message = machine.messageSent()
            else {
                let outcome = send(messages, call, connection)
                if outcome != .queued { report(id, outcome) }
                continue
            }
            sent += UInt64(messages.count)
            counters[Int(calls[call].method)].sent += UInt64(messages.count)
            let buffered = connection.send(calls[call].stream, framed: framed)
            connection.accountOutput()
            if buffered > Connection.highWaterBytes { report(id, .full) }
        }
        return ids.count
    }

    /// The way of a call that needs its headers first, or compression, or is refused.
    private func send(
        _ messages: [[UInt8]], _ call: Int, _ connection: Connection
    ) -> SendOutcome {
        var outcome = SendOutcome.queued
        for message in messages {
            if case .gone = outcome { break }
            outcome = send(call, connection, message)
        }
        return outcome
    }

    private static func framed(_ messages: [[UInt8]]) -> [UInt8] {
        var framed: [UInt8] = []
        framed.reserveCapacity(messages.reduce(0) { $0 + DataPrefix.count + $1.count })
        for message in messages {
            framed.append(0)
            for shift in [24, 16, 8, 0] {
                framed.append(UInt8(truncatingIfNeeded: message.count >> shift))
            }
            framed += message
        }
        return framed
    }
}
