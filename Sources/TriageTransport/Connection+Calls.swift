// From stream events to calls: headers are judged, bodies assembled, the handler called. The rules
// are TriageGRPC's; here they meet streams and slots.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

extension Connection {
    // MARK: Begin

    /// A request's headers have come.
    ///
    /// Those that came before, and were a plain call's, are not judged again: all that can differ
    /// is what the block still has.
    func callBegan(_ stream: HTTP2Stream, _ block: HeaderBlock) {
        guard block.known != 0 else { return judge(stream, block, known: 0) }
        let plain = plainHeads[Int(block.known) & (HeaderBlock.knownMax - 1)]
        guard plain.known == block.known, hasAdvertised else {
            return judge(stream, http2.expand(block), known: block.known)
        }
        if block.count == 0 { return open(stream, Int(plain.method), nil, nil) }
        var timeout: UInt64?
        let headers = http2.headers
        for index in block.range {
            let field = headers.fields[index]
            guard field.token == .grpcTimeout else { continue }
            timeout = Timeout.parse(headers.value(field))
            // Let it be refused as any other.
            if timeout == nil { return judge(stream, http2.expand(block), known: block.known) }
        }
        open(stream, Int(plain.method), timeout, nil)
    }

    /// Judges all fields of a header block.
    private func judge(_ stream: HTTP2Stream, _ block: HeaderBlock, known: UInt32) {
        let headers = http2.headers
        var head = RequestHead()
        if block.isOversize {
            head.isOversize = true
            if let size = http2.oversizeBlock(stream) { head.oversize = (size.bytes, size.fields) }
        }
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
            default: break
            }
        }
        switch head.verdict(core.table, isIdentified: peer.principal != nil) {
        case .accept(let method, let timeout):
            let traits = core.table.traits[method]
            let isPlain =
                traits.isEmpty && head.encoding == .identity && head.previousAttempts == 0
            if known != 0, isPlain {
                plainHeads[Int(known) & (HeaderBlock.knownMax - 1)] = PlainHead(
                    known: known, method: Int32(method))
            }
            open(
                stream, method, timeout,
                isPlain && hasAdvertised
                    ? nil : makeExtras(head, traits, acceptEncoding: acceptEncoding, block, headers)
            )
        case .http(let status):
            guard mayRefuse(stream) else { return }
            plainBegan(
                stream, status == 415 ? .notGRPC : head.isHead ? .notPostHead : .notPost)
        case .refuse(let error):
            guard mayRefuse(stream) else { return }
            core.noteRefusal(error.code, method: nil)
            sendWhole(stream, core.fields.trailersOnly(error))
        }
    }

    /// Takes what a refusal costs; false when the peer has used up its calls.
    ///
    /// To say why costs more than to answer a small call: then a reset has to do.
    private func mayRefuse(_ stream: HTTP2Stream) -> Bool {
        if share.take(1, at: core.now) { return true }
        core.metrics.count(.callRate)
        core.noteRefusal(.resourceExhausted, method: nil)
        http2.reset(stream, .enhanceYourCalm)
        markDirty()
        return false
    }

    private func open(
        _ stream: HTTP2Stream, _ method: Int, _ timeout: UInt64?, _ extras: CallExtras?
    ) {
        let refusal =
            refusal(toHold: 0)
            ?? (share.take(core.table.costs[method], at: core.now) ? nil : .callRate)
        if let refusal {
            core.noteRefusal(.resourceExhausted, method: method)
            return sendWhole(stream, core.fields.trailersOnly(core.refuse(refusal)))
        }
        // Reset in the same batch: nobody waits, and nothing would end it any more.
        guard http2.isOpen(stream) else { return core.noteRefusal(.cancelled, method: method) }
        let call = core.calls.open(index, stream)
        let client = timeout.map { core.now.advanced(byNanoseconds: $0) } ?? .never
        let cap = core.now.advanced(
            byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000)
        let machine = core.table.shapes[method]
        core.calls[call].machine = machine
        core.calls[call].method = Int32(method)
        core.calls[call].startedAt = core.now
        core.calls[call].clientDeadline = client
        // Of a stream only the request is capped: see deliverRequest and extendCap.
        core.calls[call].deadline = min(client, cap)
        core.calls[call].hasCredit = true
        if let extras { core.calls[call].extras = extras }
        openCallCount += 1
        http2.setUserData(stream, call + 1)
        core.counters[method].started += 1
        if machine.isClientStreaming {
            core.handlerWasCalled = true
            core.handler?.streamOpened(core.id(call), makeHead(call))
        }
    }

    @inline(__always)
    private func makeHead(_ call: Int) -> CallHead {
        let machine = core.calls[call].machine
        let isUnary = !machine.isClientStreaming && !machine.isServerStreaming
        return CallHead(
            method: Int(core.calls[call].method), peer: peer,
            deadline: isUnary ? core.calls[call].deadline : core.calls[call].clientDeadline,
            extras: core.calls[call].extras)
    }

    // MARK: Body

    func bodyReceived(_ stream: HTTP2Stream, _ bytes: Span<UInt8>, ended: Bool) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainReceived(stream, bytes.count, ended: ended) }
        // A copy in and out: no access of the call lasts while another module works on it.
        var machine = core.calls[slot].machine
        guard machine.isOpen else { return http2.consume(stream, bytes.count) }
        if machine.isClientStreaming {
            streamBytesReceived(slot, bytes)
        } else if ended, core.calls[slot].input == nil,
            let range = MessageDeframer.wholeMessage(in: bytes, limit: core.messageBytesMax),
            case .hold = machine.messageReceived()
        {
            // The whole request in one frame: no copy, and its bytes return with the stream's end.
            _ = machine.inputEnded(atBoundary: true)
            core.calls[slot].machine = machine
            return deliverRequest(slot, bytes.extracting(range))
        } else {
            requestBytesReceived(slot, bytes)
        }
        if ended { inputEnded(stream) }
    }

    /// Gathers the one message of a method that takes one.
    private func requestBytesReceived(_ call: Int, _ bytes: Span<UInt8>) {
        http2.consume(core.calls[call].stream, bytes.count)
        guard bytes.count > 0, hold(call, bytes) else { return }
        let input = core.calls.input(call)
        do throws(DeframeError) {
            while let range = try input.deframer.next() {
                guard case .hold = core.calls[call].machine.messageReceived() else {
                    return refuse(call, WireError.requestCardinality)
                }
                input.request = range
                core.calls[call].extras?.isMessageCompressed = input.deframer.isCompressed
            }
        } catch {
            refuse(call, error)
        }
    }

    /// Keeps bytes for a call, unless too many are kept already.
    private func hold(_ call: Int, _ bytes: Span<UInt8>) -> Bool {
        if let refusal = refusal(toHold: bytes.count) {
            refuse(call, core.refuse(refusal))
            return false
        }
        core.calls.input(call).deframer.append(bytes)
        holdInput(call, bytes.count)
        return true
    }

    /// Books bytes that are held for a call.
    func holdInput(_ call: Int, _ bytes: Int) {
        core.inputBytesHeld += bytes
        share.bytesHeld += bytes
        core.calls[call].heldBytes += bytes
    }

    private func refuse(_ call: Int, _ error: DeframeError) {
        if case .tooLarge = error { core.metrics.count(.messageBytes) }
        refuse(call, WireError.deframe(error))
    }

    /// Ends a call for a fault of its client; the handler hears of it if it knows the call.
    func refuse(_ call: Int, _ error: RPCError) {
        guard core.calls[call].machine.isOpen else { return }
        let handlerKnows = core.calls[call].machine.isClientStreaming
        core.end(call, self, error)
        if handlerKnows { core.notifyCancelled(call, .byClient) }
    }

    func inputEnded(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainReceived(stream, 0, ended: true) }
        if core.calls[slot].isHolding {
            core.calls[slot].isEndHeld = true
            return
        }
        endInput(slot)
    }

    private func endInput(_ call: Int) {
        let input = core.calls[call].input
        let atBoundary = input?.deframer.isAtBoundary ?? true
        switch core.calls[call].machine.inputEnded(atBoundary: atBoundary) {
        case .deliverRequest:
            guard let input, let range = input.request else { return }
            // A copy of the deframer, so that the handler may answer while it reads.
            let deframer = input.deframer
            if core.calls[call].extras?.isMessageCompressed == true {
                guard let message = deframer.withBytes(range, { inflated(call, $0) }) else {
                    return
                }
                return deliverRequest(call, message.span)
            }
            deframer.withBytes(range) { deliverRequest(call, $0) }
        case .endStream:
            if core.calls[call].isLongLived {
                // What is left to do is ours, and takes as long as the disk: a whole object.
                core.setDeadline(call, core.calls[call].clientDeadline)
            } else {
                extendCap(call)
            }
            core.handlerWasCalled = true
            core.handler?.streamInputEnded(core.id(call))
        case .refuseCardinality: refuse(call, WireError.requestCardinality)
        case .refuseTruncated: refuse(call, WireError.messageTruncated)
        case .ignore: break
        }
    }

    @inline(__always)
    private func deliverRequest(_ call: Int, _ message: Span<UInt8>) {
        core.counters[Int(core.calls[call].method)].received += 1
        messagesReceived += 1
        if core.calls[call].machine.isServerStreaming {
            // The cap was for the request; what the answer may take is the client's to say.
            core.setDeadline(call, core.calls[call].clientDeadline)
        }
        core.handlerWasCalled = true
        core.handler?.requestReceived(core.id(call), makeHead(call), message)
    }

    // MARK: Client streaming

    private func streamBytesReceived(_ call: Int, _ bytes: Span<UInt8>) {
        guard bytes.count > 0 else { return }
        guard hold(call, bytes) else {
            return http2.consume(core.calls[call].stream, bytes.count)
        }
        if core.calls[call].isHolding { return holdWindow(call) }
        deliverMessages(call)
    }

    /// While a message waits for the handler its stream's window closes by itself, but not the
    /// connection's, which the calls beside it need.
    ///
    /// From half of the peer's share on that closes too: who has many such streams is slowed down,
    /// and not refused.
    private func holdWindow(_ call: Int) {
        if share.bytesHeld <= share.bytesMax / 2 { http2.hold(core.calls[call].stream) }
    }

    /// Gives the handler messages as long as it wants them.
    func deliverMessages(_ call: Int) {
        // The handler may end the call, and even its connection, while it looks at a message.
        let id = core.id(call)
        let input = core.calls.input(call)
        core.calls[call].isHolding = false
        while core.calls.find(id) != nil, core.calls[call].machine.isOpen {
            guard core.calls[call].hasCredit else {
                core.calls[call].isHolding = input.deframer.bufferedCount > 0
                break
            }
            guard share.mayInflate(in: core.metrics.turns) else {
                core.metrics.count(.inflatedPerTurn)
                core.calls[call].isHolding = input.deframer.bufferedCount > 0
                if core.calls[call].isHolding { core.deliveries.append(id) }
                break
            }
            let range: Range<Int>?
            do throws(DeframeError) {
                range = try input.deframer.next()
            } catch {
                return refuse(call, error)
            }
            guard let range else { break }
            guard deliver(call, id, input.deframer, range) else { return }
        }
        guard core.calls.find(id) != nil else { return }
        if core.calls[call].isHolding { return holdWindow(call) }
        let stream = core.calls[call].stream
        http2.consume(stream, http2.unconsumedBytes(stream))
        if core.calls[call].isEndHeld {
            core.calls[call].isEndHeld = false
            endInput(call)
        }
        markDirty()
    }

    /// Gives the handler one message; false when the call takes no more.
    private func deliver(
        _ call: Int, _ id: CallID, _ deframer: MessageDeframer, _ range: Range<Int>
    ) -> Bool {
        holdInput(call, -(range.count + MessageDeframer.prefixBytes))
        core.calls[call].hasCredit = false
        guard case .deliver = core.calls[call].machine.messageReceived() else { return false }
        core.counters[Int(core.calls[call].method)].received += 1
        messagesReceived += 1
        core.handlerWasCalled = true
        core.calls[call].extras?.isMessageCompressed = deframer.isCompressed
        if deframer.isCompressed {
            guard let message = deframer.withBytes(range, { inflated(call, $0) }) else {
                return false
            }
            core.handler?.streamMessageReceived(id, message.span)
        } else {
            deframer.withBytes(range) { core.handler?.streamMessageReceived(id, $0) }
        }
        return true
    }

    /// Sets how long a stream may take to what comes next, now that it has moved.
    ///
    /// Without a deadline of its client's a stream lives as long as it moves; so does a long-lived
    /// one with a deadline: what it holds others wait for.
    func extendCap(_ call: Int) {
        let client = core.calls[call].clientDeadline
        guard client == .never || core.calls[call].isLongLived else {
            if core.calls[call].deadline != client { core.setDeadline(call, client) }
            return
        }
        let cap = core.now.advanced(
            byNanoseconds: UInt64(core.limits.unaryMillisecondsMax) * 1_000_000)
        core.setDeadline(call, min(client, cap))
    }

    /// A cap has run out while the handler has the last message and did not ask for another: it is
    /// not the client who is slow.
    func isOurTurn(_ call: Int) -> Bool {
        core.calls[call].deadline != core.calls[call].clientDeadline
            && core.calls[call].machine.isClientStreaming && !core.calls[call].hasCredit
            && !core.calls[call].machine.isInputEnded
    }

    // MARK: End

    func streamClosed(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return plainClosed(stream) }
        if core.calls[slot].machine.isOpen { core.cancelled(slot, .byClient) }
        release(slot)
    }

    /// Gives a call's place back.
    @inline(__always)
    func release(_ call: Int) {
        let held = core.calls[call].heldBytes
        if held > 0 { holdInput(call, -held) }
        if core.calls[call].isLongLived { longLivedCount -= 1 }
        openCallCount -= 1
        core.calls.close(call)
    }
}
