// What the server sends on one connection: handshake, HTTP/2 events, headers, messages, statuses.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

extension ClientConnection {
    /// Handles decrypted bytes until there are no more.
    func process(_ buffer: inout [UInt8]) {
        if wire.isHandshaking {
            switch wire.handshake() {
            case .needsInput: return markDirty()
            case .complete:
                markDirty()
                guard wire.tls.negotiatedH2 else { return end(.tls(.noCommonProtocol)) }
            case .failed(let error):
                return end(.tls(error))
            }
        }
        while state != .closed {
            switch wire.read(into: &buffer) {
            case .events(let count):
                handleEvents(buffer.span.extracting(first: count))
                markDirty()
            case .needsInput: return
            case .closed: end(.closed("the server closed TLS"))
            case .failed(let reason), .overLimit(_, let reason): end(.closed(reason))
            }
        }
    }

    func handleEvents(_ plaintext: Span<UInt8>) {
        let events = http2.events
        guard !events.isEmpty else { return }
        let headers = http2.headers
        for event in events {
            if state == .closed { break }
            switch event {
            case .headers(let stream, let block), .trailers(let stream, let block):
                guard !block.isOversize else {
                    oversizeReceived(stream)
                    continue
                }
                if case .headers = event {
                    headersReceived(stream, block, headers)
                    continue
                }
                statusReceived(stream, block, headers)
                let slot = http2.userData(stream) - 1
                if slot >= 0 { metadataReceived(slot, block, headers, isTrailing: true) }
            case .data(let stream, let offset, let count):
                dataReceived(stream, plaintext.extracting(offset..<(offset + count)))
            case .endStream(let stream):
                let slot = http2.userData(stream) - 1
                if slot >= 0 { inputEnded(slot) }
            case .streamClosed(let stream, let code): streamClosed(stream, code)
            case .outputDrained(let stream): drained(stream)
            case .goAwayReceived:
                if state == .ready || state == .connecting {
                    state = .draining
                    receiver.connectionDraining(self)
                }
            case .settingsReceived:
                if state == .connecting {
                    state = .ready
                    receiver.connectionReady(self)
                }
            case .informational, .pingAcknowledged, .settingsAcknowledged: break
            }
        }
        http2.clearEvents()
    }

    /// What was dropped may have been the status.
    private func oversizeReceived(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, slots[slot].isUsed, !slots[slot].isEnded else { return }
        http2.reset(stream, .cancel)
        ended(slot, ClientCallEnd(error: ClientError.metadataTooLarge))
    }

    private func headersReceived(
        _ stream: HTTP2Stream, _ block: HeaderBlock, _ headers: HeaderStore
    ) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        for index in block.range {
            let field = headers.fields[index]
            switch field.token {
            case .status:
                let text = headers.value(field)
                for position in text.indices {
                    slots[slot].httpStatus =
                        slots[slot].httpStatus * 10 + Int(text[position]) - Int(UInt8(ascii: "0"))
                }
            case .contentType:
                slots[slot].isGRPC = RequestHead.isGRPCContentType(headers.value(field))
            case .grpcStatus: statusReceived(stream, block, headers)
            case .grpcEncoding:
                switch MessageEncoding(headers.value(field)) {
                case .identity: break
                case .gzip: slots[slot].deframer.acceptsCompressed = true
                case .unknown:
                    http2.reset(stream, .cancel)
                    return ended(slot, ClientCallEnd(error: ClientError.encodingUnknown))
                }
            default: break
            }
        }
        let isAnswer = slots[slot].httpStatus == 200 && slots[slot].isGRPC
        guard isAnswer || slots[slot].status != nil else {
            // A proxy's page, or a plain server's: no server has answered the call.
            http2.reset(stream, .cancel)
            return ended(
                slot,
                ClientCallEnd(error: ClientError.notGRPC(httpStatus: slots[slot].httpStatus)))
        }
        // Headers with a status are a whole answer, "Trailers-Only".
        metadataReceived(slot, block, headers, isTrailing: slots[slot].status != nil)
    }

    private func metadataReceived(
        _ slot: Int, _ block: HeaderBlock, _ headers: HeaderStore, isTrailing: Bool
    ) {
        guard slots[slot].method?.readsMetadata == true, !slots[slot].isEnded else { return }
        var metadata: [MetadataField] = []
        for index in block.range where headers.fields[index].token == .other {
            let field = headers.fields[index]
            metadata.append(
                MetadataField(
                    name: [UInt8](copying: headers.name(field)),
                    value: [UInt8](copying: headers.value(field))))
        }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.metadataReceived(
            call, slots[slot].tag, metadata, isTrailing: isTrailing)
    }

    private func statusReceived(
        _ stream: HTTP2Stream, _ block: HeaderBlock, _ headers: HeaderStore
    ) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        var status: Int?
        var message: Int?
        var details: Int?
        var pushback: Int?
        for index in block.range {
            switch headers.fields[index].token {
            case .grpcStatus: status = index
            case .grpcMessage: message = index
            case .grpcStatusDetailsBin: details = index
            case .grpcRetryPushbackMs: pushback = index
            default: break
            }
        }
        guard let status else { return }
        let code = headers.value(headers.fields[status])
        if code.count == 1, code[0] == UInt8(ascii: "0") {
            slots[slot].status = .ok
            return
        }
        let messageText = message.map { [UInt8](copying: headers.value(headers.fields[$0])) } ?? []
        let detailsText = details.map { [UInt8](copying: headers.value(headers.fields[$0])) } ?? []
        var error = Status.decode(
            status: code, message: messageText.span, details: detailsText.span)
        if let pushback {
            let delay = Status.pushback(headers.value(headers.fields[pushback]))
            error?.retryAfterMilliseconds = delay
            slots[slot].pushback = delay.map { .after(milliseconds: $0) } ?? .never
        }
        slots[slot].status = error.map { .error($0) } ?? .ok
    }

    private func dataReceived(_ stream: HTTP2Stream, _ bytes: Span<UInt8>) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, !slots[slot].isEnded else { return http2.consume(stream, bytes.count) }
        if !slots[slot].isPaused, slots[slot].deframer.isAtBoundary,
            let range = MessageDeframer.wholeMessage(
                in: bytes, limit: slots[slot].deframer.limit)
        {
            http2.consume(stream, bytes.count)
            return messageReceived(slot, bytes.extracting(range))
        }
        slots[slot].deframer.append(bytes)
        if slots[slot].isPaused { http2.hold(stream) } else { deliver(slot, stream) }
    }

    func deliver(_ slot: Int, _ stream: HTTP2Stream) {
        while slots[slot].isUsed, !slots[slot].isEnded, !slots[slot].isPaused {
            let range: Range<Int>?
            do throws(DeframeError) {
                range = try slots[slot].deframer.next()
            } catch {
                http2.reset(stream, .cancel)
                return ended(slot, ClientCallEnd(error: WireError.deframe(error)))
            }
            guard let range else { break }
            let deframer = slots[slot].deframer
            http2.consume(stream, MessageDeframer.prefixBytes + range.count)
            if deframer.isCompressed {
                do throws(RPCError) {
                    let message = try deframer.withBytes(range) { bytes throws(RPCError) in
                        try loop.gzip.inflate(bytes, bytesMax: deframer.limit)
                    }
                    slots[slot].isMessageCompressed = true
                    messageReceived(slot, message.span)
                    slots[slot].isMessageCompressed = false
                } catch {
                    http2.reset(stream, .cancel)
                    return ended(slot, ClientCallEnd(error: error))
                }
            } else {
                deframer.withBytes(range) { messageReceived(slot, $0) }
            }
        }
        if slots[slot].isPaused {
            http2.hold(stream)
        } else {
            http2.consume(stream, http2.unconsumedBytes(stream))
        }
    }

    @inline(__always)
    private func messageReceived(_ slot: Int, _ message: Span<UInt8>) {
        slots[slot].messages += 1
        if slots[slot].messages > 1, slots[slot].method?.serverStreaming == false {
            if let stream = slots[slot].stream { http2.reset(stream, .cancel) }
            return ended(slot, ClientCallEnd(error: ClientError.responseCardinality))
        }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.messageReceived(call, slots[slot].tag, message)
    }

    func inputEnded(_ slot: Int) {
        guard slots[slot].isUsed, !slots[slot].isEnded else { return }
        if slots[slot].isPaused {
            slots[slot].endHeld = true
            return
        }
        if let stream = slots[slot].stream, http2.isOutputOpen(stream) {
            // The answer is whole, and nobody reads what we would still send: without this the
            // stream, and its place among those that the server allows, would stay taken.
            http2.reset(stream, .cancel)
            markDirty()
        }
        switch slots[slot].status {
        case .error(let error):
            ended(slot, ClientCallEnd(error: error, pushback: slots[slot].pushback))
        case .ok:
            let isShort = slots[slot].messages == 0 && slots[slot].method?.serverStreaming == false
            if !slots[slot].deframer.isAtBoundary {
                ended(slot, ClientCallEnd(error: ClientError.messageTruncated))
            } else if isShort {
                ended(slot, ClientCallEnd(error: ClientError.responseCardinality))
            } else {
                ended(slot, .ok)
            }
        case nil:
            ended(slot, ClientCallEnd(error: ClientError.statusMissing))
        }
    }

    private func streamClosed(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, slots[slot].isUsed else { return }
        if slots[slot].endHeld {
            // The messages that are held die with the stream's slot: deliver what there is first.
            slots[slot].isPaused = false
            deliver(slot, stream)
            inputEnded(slot)
        }
        // Also what nghttp2 says of streams above the last one of a GOAWAY, and of requests that
        // never left. Source: RFC 9113 §8.7.
        ended(
            slot,
            ClientCallEnd(
                error: ClientError.reset(code.rawValue), isUnprocessed: code == .refusedStream))
        closeSlot(slot)
        if state == .draining, openCallCount == 0 { end(.closed(farewell)) }
    }

    private func drained(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, slots[slot].isUsed, !slots[slot].isEnded else { return }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.callWritable(call, slots[slot].tag)
    }
}
