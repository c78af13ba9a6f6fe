// From stream events to calls: headers are judged, bodies assembled, the handler called. The rules are
// TriageGRPC's; here they meet streams and slots.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

extension Connection {
    // MARK: Begin

    func callBegan(_ stream: HTTP2Stream, _ block: HeaderBlock, _ headers: HeaderStore) {
        var head = RequestHead()
        head.isOversize = block.isOversize
        var traceparent: [UInt8] = []
        for index in block.range {
            let field = headers.fields[index]
            switch field.token {
            case .method: head.methodReceived(headers.value(field))
            case .path: head.pathReceived(headers.value(field), core.table)
            case .contentType: head.contentTypeReceived(headers.value(field))
            case .te: head.teReceived(headers.value(field))
            case .grpcEncoding: head.encodingReceived(headers.value(field))
            case .grpcTimeout: head.timeoutReceived(headers.value(field))
            case .traceparent:
                let value = headers.value(field)
                if value.count == Self.traceparentBytes { traceparent = [UInt8](copying: value) }
            default: break
            }
        }
        switch head.verdict(core.table, isIdentified: peer.principal != nil) {
        case .accept(let method, let timeout):
            open(stream, method, timeout, traceparent)
        case .http(let status):
            core.noteRefusal(.unknown, method: nil)
            sendWhole(stream, status == 405 ? core.fields.notPost : core.fields.notGRPC)
        case .refuse(let error):
            if block.isOversize { core.metrics.count(.headerBytes) }
            core.noteRefusal(error.code, method: nil)
            sendWhole(stream, core.fields.trailersOnly(error))
        }
    }

    /// Length of a W3C `traceparent` of version 00.
    private static let traceparentBytes = 55

    private func open(
        _ stream: HTTP2Stream, _ method: Int, _ timeout: UInt64?, _ traceparent: [UInt8]
    ) {
        guard core.hasRoom(for: 0) else {
            core.metrics.count(.messageBytesInFlight)
            core.noteRefusal(.resourceExhausted, method: method)
            return sendWhole(stream, core.fields.trailersOnly(WireError.memoryExhausted))
        }
        let rules = core.table.methods[method]
        let slot = core.calls.open()
        let client = timeout.map { core.now.advanced(byNanoseconds: $0) } ?? .never
        let cap = core.now.advanced(
            byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000)
        let isUnary = !rules.clientStreaming && !rules.serverStreaming
        core.calls[slot].machine = CallStateMachine(
            clientStreaming: rules.clientStreaming, serverStreaming: rules.serverStreaming)
        core.calls[slot].method = Int32(method)
        core.calls[slot].connection = Int32(index)
        core.calls[slot].stream = stream
        core.calls[slot].startedAt = core.now
        core.calls[slot].clientDeadline = client
        core.calls[slot].deadline = isUnary || client == .never ? min(client, cap) : client
        core.calls[slot].hasCredit = true
        if !traceparent.isEmpty { core.calls[slot].traceparent = traceparent }
        core.calls[slot].position = Int32(openCalls.count)
        openCalls.append(Int32(slot))
        http2.setUserData(stream, slot + 1)
        core.fresh.append(slot)
        core.metrics.started[method] += 1
        if rules.clientStreaming {
            core.handlerWasCalled = true
            core.handler?.streamOpened(core.id(slot), makeHead(slot))
        }
    }

    private func makeHead(_ slot: Int) -> CallHead {
        let machine = core.calls[slot].machine
        let isUnary = !machine.isClientStreaming && !machine.isServerStreaming
        return CallHead(
            method: Int(core.calls[slot].method), peer: peer,
            deadline: isUnary ? core.calls[slot].deadline : core.calls[slot].clientDeadline,
            traceparent: core.calls[slot].traceparent)
    }

    // MARK: Body

    func bodyReceived(_ stream: HTTP2Stream, _ bytes: Span<UInt8>, ended: Bool) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, core.calls[slot].machine.isOpen else {
            return http2.consume(stream, bytes.count)
        }
        if core.calls[slot].machine.isClientStreaming {
            streamBytesReceived(slot, stream, bytes)
        } else if ended, core.calls[slot].deframer.isAtBoundary,
            let range = MessageDeframer.wholeMessage(in: bytes, limit: core.limits.messageBytesMax),
            core.calls[slot].machine.messageReceived() == .hold
        {
            // The whole request in one frame: no copy, and its bytes return with the stream's end.
            _ = core.calls[slot].machine.inputEnded(atBoundary: true)
            return deliverRequest(slot, bytes.extracting(range))
        } else {
            requestBytesReceived(slot, stream, bytes)
        }
        if ended { inputEnded(stream) }
    }

    /// Gathers the one message of a method that takes one.
    private func requestBytesReceived(_ slot: Int, _ stream: HTTP2Stream, _ bytes: Span<UInt8>) {
        http2.consume(stream, bytes.count)
        guard bytes.count > 0, hold(slot, stream, bytes) else { return }
        do throws(DeframeError) {
            while let range = try core.calls[slot].deframer.next() {
                guard core.calls[slot].machine.messageReceived() == .hold else {
                    return refuse(slot, stream, WireError.requestCardinality)
                }
                core.calls[slot].request = range
            }
        } catch {
            refuse(slot, stream, error)
        }
    }

    /// Keeps bytes for a call, unless too many are kept already.
    private func hold(_ slot: Int, _ stream: HTTP2Stream, _ bytes: Span<UInt8>) -> Bool {
        guard core.hasRoom(for: bytes.count) else {
            core.metrics.count(.messageBytesInFlight)
            refuse(slot, stream, WireError.memoryExhausted)
            return false
        }
        core.calls[slot].deframer.append(bytes)
        core.inputBytesHeld += bytes.count
        core.calls[slot].heldBytes += bytes.count
        return true
    }

    private func refuse(_ slot: Int, _ stream: HTTP2Stream, _ error: DeframeError) {
        if case .tooLarge = error { core.metrics.count(.messageBytes) }
        refuse(slot, stream, WireError.deframe(error))
    }

    /// Ends a call for a fault of its client; the handler hears of it if it knows the call.
    private func refuse(_ slot: Int, _ stream: HTTP2Stream, _ error: RPCError) {
        guard core.calls[slot].machine.isOpen else { return }
        let handlerKnows = core.calls[slot].machine.isClientStreaming
        core.end(slot, self, stream, error)
        if handlerKnows { core.notifyCancelled(slot, .byClient) }
    }

    func inputEnded(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        if core.calls[slot].isHolding {
            core.calls[slot].isEndHeld = true
            return
        }
        endInput(slot, stream)
    }

    private func endInput(_ slot: Int, _ stream: HTTP2Stream) {
        let atBoundary = core.calls[slot].deframer.isAtBoundary
        switch core.calls[slot].machine.inputEnded(atBoundary: atBoundary) {
        case .deliverRequest:
            guard let range = core.calls[slot].request else { return }
            // A copy of the deframer, so that the handler may answer while it reads.
            let deframer = core.calls[slot].deframer
            deframer.withBytes(range) { deliverRequest(slot, $0) }
        case .endStream:
            core.handlerWasCalled = true
            core.handler?.streamInputEnded(core.id(slot))
        case .refuseCardinality: refuse(slot, stream, WireError.requestCardinality)
        case .refuseTruncated: refuse(slot, stream, WireError.messageTruncated)
        case .ignore: break
        }
    }

    @inline(__always)
    private func deliverRequest(_ slot: Int, _ message: Span<UInt8>) {
        core.metrics.received[Int(core.calls[slot].method)] += 1
        if core.calls[slot].machine.isServerStreaming {
            // The cap was for the request; what the answer may take is the client's to say.
            core.calls[slot].deadline = core.calls[slot].clientDeadline
            core.timers.set(slot, core.calls[slot].deadline)
        }
        core.handlerWasCalled = true
        core.handler?.requestReceived(core.id(slot), makeHead(slot), message)
    }

    // MARK: Client streaming

    private func streamBytesReceived(_ slot: Int, _ stream: HTTP2Stream, _ bytes: Span<UInt8>) {
        guard bytes.count > 0 else { return }
        guard hold(slot, stream, bytes) else { return http2.consume(stream, bytes.count) }
        // While a message waits for the handler, nothing is consumed: the window closes by itself.
        if core.calls[slot].isHolding { return }
        deliverMessages(slot, stream)
    }

    /// Gives the handler messages as long as it wants them.
    func deliverMessages(_ slot: Int, _ stream: HTTP2Stream) {
        let call = core.id(slot)
        core.calls[slot].isHolding = false
        while core.calls.find(call) != nil, core.calls[slot].machine.isOpen {
            guard core.calls[slot].hasCredit else {
                core.calls[slot].isHolding = core.calls[slot].deframer.bufferedCount > 0
                break
            }
            let range: Range<Int>?
            do throws(DeframeError) {
                range = try core.calls[slot].deframer.next()
            } catch {
                return refuse(slot, stream, error)
            }
            guard let range else { break }
            core.inputBytesHeld -= range.count + MessageDeframer.prefixBytes
            core.calls[slot].heldBytes -= range.count + MessageDeframer.prefixBytes
            core.calls[slot].hasCredit = false
            extendCap(slot)
            guard core.calls[slot].machine.messageReceived() == .deliver else { return }
            core.metrics.received[Int(core.calls[slot].method)] += 1
            core.handlerWasCalled = true
            let deframer = core.calls[slot].deframer
            deframer.withBytes(range) { core.handler?.streamMessageReceived(call, $0) }
        }
        guard core.calls.find(call) != nil, !core.calls[slot].isHolding else { return }
        http2.consume(stream, http2.unconsumedBytes(stream))
        if core.calls[slot].isEndHeld {
            core.calls[slot].isEndHeld = false
            endInput(slot, stream)
        }
        markDirty()
    }

    /// A stream of messages without a deadline lives as long as it moves.
    private func extendCap(_ slot: Int) {
        guard core.calls[slot].clientDeadline == .never, !core.calls[slot].isLongLived else {
            return
        }
        core.calls[slot].deadline = core.now.advanced(
            byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000)
        core.timers.set(slot, core.calls[slot].deadline)
    }

    // MARK: End

    func streamClosed(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        if core.calls[slot].machine.isOpen { core.cancelled(slot, .byClient) }
        release(slot)
    }

    /// Gives a call's slot back.
    func release(_ slot: Int) {
        core.inputBytesHeld -= core.calls[slot].heldBytes
        if core.calls[slot].isLongLived { longLivedCount -= 1 }
        let position = Int(core.calls[slot].position)
        let last = openCalls.removeLast()
        if Int(last) != slot {
            openCalls[position] = last
            core.calls[Int(last)].position = Int32(position)
        }
        core.calls.close(slot)
    }
}
