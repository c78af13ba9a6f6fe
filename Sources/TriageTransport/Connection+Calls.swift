// From stream events to calls: headers are judged, bodies assembled, the handler called. The rules
// are TriageGRPC's; here they meet streams and slots.

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
        var acceptEncoding: Int?
        for index in block.range {
            let field = headers.fields[index]
            switch field.token {
            case .method: head.methodReceived(headers.value(field))
            case .path: head.pathReceived(headers.value(field), core.table)
            case .contentType: head.contentTypeReceived(headers.value(field))
            case .te: head.teReceived(headers.value(field))
            case .grpcEncoding: head.encodingReceived(headers.value(field))
            case .grpcAcceptEncoding: acceptEncoding = index
            case .grpcPreviousRPCAttempts: head.previousAttemptsReceived(headers.value(field))
            case .grpcTimeout: head.timeoutReceived(headers.value(field))
            case .traceparent:
                let value = headers.value(field)
                if value.count == Self.traceparentBytes { traceparent = [UInt8](copying: value) }
            default: break
            }
        }
        switch head.verdict(core.table, isIdentified: peer.principal != nil) {
        case .accept(let method, let timeout):
            let traits = core.table.traits[method]
            let hasExtras =
                !traits.isEmpty || !hasAdvertised || head.encoding != .identity
                || head.previousAttempts > 0
            open(
                stream, method, timeout, traceparent,
                hasExtras
                    ? makeExtras(head, traits, acceptEncoding: acceptEncoding, block, headers) : nil
            )
        case .http(let status):
            plainBegan(
                stream, status == 415 ? .notGRPC : head.isHead ? .notPostHead : .notPost)
        case .refuse(let error):
            core.noteRefusal(error.code, method: nil)
            sendWhole(stream, core.fields.trailersOnly(error))
        }
    }

    /// Length of a W3C `traceparent` of version 00.
    private static let traceparentBytes = 55

    private func open(
        _ stream: HTTP2Stream, _ method: Int, _ timeout: UInt64?, _ traceparent: [UInt8],
        _ extras: CallExtras?
    ) {
        let refusal =
            refusal(toHold: 0)
            ?? (share.take(core.table.costs[method], at: core.now) ? nil : .callRate)
        if let refusal {
            core.noteRefusal(.resourceExhausted, method: method)
            return sendWhole(stream, core.fields.trailersOnly(core.refuse(refusal)))
        }
        let call = core.calls.open(self, stream, core.counters[method])
        let client = timeout.map { core.now.advanced(byNanoseconds: $0) } ?? .never
        let cap = core.now.advanced(
            byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000)
        let machine = core.table.shapes[method]
        call.machine = machine
        call.method = method
        call.startedAt = core.now
        call.clientDeadline = client
        // Of a stream only the request is capped: see deliverRequest and extendCap.
        call.deadline = min(client, cap)
        call.hasCredit = true
        if !traceparent.isEmpty { call.traceparent = traceparent }
        if let extras {
            call.extras = extras
            call.deframer.acceptsCompressed = extras.isRequestGzip
        }
        openCallCount += 1
        http2.setUserData(stream, call.slot + 1)
        call.counters.started += 1
        if machine.isClientStreaming {
            core.handlerWasCalled = true
            core.handler?.streamOpened(core.id(call), makeHead(call))
        }
    }

    @inline(__always)
    private func makeHead(_ call: Call) -> CallHead {
        let isUnary = !call.machine.isClientStreaming && !call.machine.isServerStreaming
        return CallHead(
            method: call.method, peer: peer,
            deadline: isUnary ? call.deadline : call.clientDeadline,
            traceparent: call.traceparent, extras: call.extras)
    }

    // MARK: Body

    func bodyReceived(_ stream: HTTP2Stream, _ bytes: Span<UInt8>, ended: Bool) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainReceived(stream, bytes.count, ended: ended) }
        let call = core.calls[slot]
        // A copy in and out: no access of the call lasts while another module works on it.
        var machine = call.machine
        guard machine.isOpen else { return http2.consume(stream, bytes.count) }
        if machine.isClientStreaming {
            streamBytesReceived(call, bytes)
        } else if ended, !call.hasHeldBytes,
            let range = MessageDeframer.wholeMessage(in: bytes, limit: core.messageBytesMax),
            case .hold = machine.messageReceived()
        {
            // The whole request in one frame: no copy, and its bytes return with the stream's end.
            _ = machine.inputEnded(atBoundary: true)
            call.machine = machine
            return deliverRequest(call, bytes.extracting(range))
        } else {
            requestBytesReceived(call, bytes)
        }
        if ended { inputEnded(stream) }
    }

    /// Gathers the one message of a method that takes one.
    private func requestBytesReceived(_ call: Call, _ bytes: Span<UInt8>) {
        http2.consume(call.stream, bytes.count)
        guard bytes.count > 0, hold(call, bytes) else { return }
        do throws(DeframeError) {
            while let range = try call.deframer.next() {
                guard case .hold = call.machine.messageReceived() else {
                    return refuse(call, WireError.requestCardinality)
                }
                call.request = range
                call.extras?.isMessageCompressed = call.deframer.isCompressed
            }
        } catch {
            refuse(call, error)
        }
    }

    /// Keeps bytes for a call, unless too many are kept already.
    private func hold(_ call: Call, _ bytes: Span<UInt8>) -> Bool {
        if let refusal = refusal(toHold: bytes.count) {
            refuse(call, core.refuse(refusal))
            return false
        }
        call.deframer.append(bytes)
        holdInput(call, bytes.count)
        call.hasHeldBytes = true
        return true
    }

    private func holdInput(_ call: Call, _ bytes: Int) {
        core.inputBytesHeld += bytes
        share.bytesHeld += bytes
        call.heldBytes += bytes
    }

    private func refuse(_ call: Call, _ error: DeframeError) {
        if case .tooLarge = error { core.metrics.count(.messageBytes) }
        refuse(call, WireError.deframe(error))
    }

    /// Ends a call for a fault of its client; the handler hears of it if it knows the call.
    func refuse(_ call: Call, _ error: RPCError) {
        guard call.machine.isOpen else { return }
        let handlerKnows = call.machine.isClientStreaming
        core.end(call, self, error)
        if handlerKnows { core.notifyCancelled(call, .byClient) }
    }

    func inputEnded(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainReceived(stream, 0, ended: true) }
        let call = core.calls[slot]
        if call.isHolding {
            call.isEndHeld = true
            return
        }
        endInput(call)
    }

    private func endInput(_ call: Call) {
        let atBoundary = call.deframer.isAtBoundary
        switch call.machine.inputEnded(atBoundary: atBoundary) {
        case .deliverRequest:
            guard let range = call.request else { return }
            // A copy of the deframer, so that the handler may answer while it reads.
            let deframer = call.deframer
            if call.extras?.isMessageCompressed == true {
                guard let message = deframer.withBytes(range, { inflated(call, $0) }) else {
                    return
                }
                return deliverRequest(call, message.span)
            }
            deframer.withBytes(range) { deliverRequest(call, $0) }
        case .endStream:
            core.handlerWasCalled = true
            core.handler?.streamInputEnded(core.id(call))
        case .refuseCardinality: refuse(call, WireError.requestCardinality)
        case .refuseTruncated: refuse(call, WireError.messageTruncated)
        case .ignore: break
        }
    }

    @inline(__always)
    private func deliverRequest(_ call: Call, _ message: Span<UInt8>) {
        call.counters.received += 1
        messagesReceived += 1
        if call.machine.isServerStreaming {
            // The cap was for the request; what the answer may take is the client's to say.
            core.setDeadline(call, call.clientDeadline)
        }
        core.handlerWasCalled = true
        core.handler?.requestReceived(core.id(call), makeHead(call), message)
    }

    // MARK: Client streaming

    private func streamBytesReceived(_ call: Call, _ bytes: Span<UInt8>) {
        guard bytes.count > 0 else { return }
        guard hold(call, bytes) else { return http2.consume(call.stream, bytes.count) }
        // While a message waits for the handler, nothing is consumed: the window closes by itself.
        if call.isHolding { return }
        deliverMessages(call)
    }

    /// Gives the handler messages as long as it wants them.
    func deliverMessages(_ call: Call) {
        // The handler may end the call, and even its connection, while it looks at a message.
        let id = core.id(call)
        call.isHolding = false
        while core.calls.find(id) != nil, call.machine.isOpen {
            guard call.hasCredit else {
                call.isHolding = call.deframer.bufferedCount > 0
                break
            }
            let range: Range<Int>?
            do throws(DeframeError) {
                range = try call.deframer.next()
            } catch {
                return refuse(call, error)
            }
            guard let range else { break }
            holdInput(call, -(range.count + MessageDeframer.prefixBytes))
            call.hasCredit = false
            extendCap(call)
            guard case .deliver = call.machine.messageReceived() else { return }
            call.counters.received += 1
            messagesReceived += 1
            core.handlerWasCalled = true
            let deframer = call.deframer
            call.extras?.isMessageCompressed = deframer.isCompressed
            if deframer.isCompressed {
                guard let message = deframer.withBytes(range, { inflated(call, $0) }) else {
                    return
                }
                core.handler?.streamMessageReceived(id, message.span)
            } else {
                deframer.withBytes(range) { core.handler?.streamMessageReceived(id, $0) }
            }
        }
        guard core.calls.find(id) != nil, !call.isHolding else { return }
        http2.consume(call.stream, http2.unconsumedBytes(call.stream))
        if call.isEndHeld {
            call.isEndHeld = false
            endInput(call)
        }
        markDirty()
    }

    /// A stream of messages has its client's deadline from the first one on; without a deadline it
    /// lives as long as it moves.
    private func extendCap(_ call: Call) {
        guard !call.isLongLived else { return }
        guard call.clientDeadline == .never else {
            if call.deadline != call.clientDeadline { core.setDeadline(call, call.clientDeadline) }
            return
        }
        core.setDeadline(
            call,
            core.now.advanced(
                byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000))
    }

    // MARK: End

    func streamClosed(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainClosed(stream) }
        let call = core.calls[slot]
        if call.machine.isOpen { core.cancelled(call, .byClient) }
        release(call)
    }

    /// Gives a call's place back.
    @inline(__always)
    func release(_ call: Call) {
        if call.heldBytes > 0 { holdInput(call, -call.heldBytes) }
        if call.isLongLived { longLivedCount -= 1 }
        openCallCount -= 1
        core.calls.close(call)
    }
}
