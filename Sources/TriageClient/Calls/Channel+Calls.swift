// Calls on the loop's thread: from their start over connections and attempts to their end.

internal import TriageBase
internal import TriageGRPC
internal import TriageTransport

extension Channel {
    // MARK: What callers ask for

    /// Begins a call.
    func start(_ call: Call) {
        // Its task may have been cancelled before it could begin.
        guard !call.isEnded else { return }
        guard context != nil else { return end(call, Self.closedError) }
        if let refused = Self.refusal(of: call.options.metadata) { return end(call, refused) }
        if let slot = freeSlots.popLast() {
            call.slot = slot
            slots[slot] = call
        } else {
            call.slot = slots.count
            slots.append(call)
        }
        guard call.startAt > now else {
            timers.set(call.slot, call.deadline)
            return enqueue(call)
        }
        call.phase = .pausing(until: call.startAt)
        timers.set(call.slot, min(call.startAt, call.deadline))
    }

    /// Sends a message; `sender` goes on when there is room for the next.
    func send(_ call: Call, _ message: [UInt8], _ sender: SendContinuation?) {
        if case .ended(let error) = call.phase {
            sender?.resume(returning: .failure(error ?? Call.over))
            return
        }
        guard message.count <= call.requestBytesMax else {
            let error = Self.messageTooLarge(message.count, call.requestBytesMax)
            finish(call, error)
            sender?.resume(returning: .failure(error))
            return
        }
        call.requests.append(message)
        if call.requests.keptBytes > Limits.replayBytesMax { call.commit() }
        if let sender { call.senders.append(sender) }
        feed(call)
    }

    /// No further message follows.
    func endInput(_ call: Call) {
        guard !call.isEnded else { return }
        call.requests.end()
        feed(call)
    }

    /// Hands the next reply, or the end, to `reader`, now or when it comes.
    func read(_ call: Call, _ reader: ReplyContinuation) {
        call.readers.append(reader)
        call.wakeReaders()
        if call.replies.letsGo(), case .active(let connection, let handle, _) = call.phase {
            connection.resume(handle)
        }
    }

    /// Hands the one reply to `reader` when the call has ended.
    func readResult(_ call: Call, _ reader: ResultContinuation) {
        call.resultReader = reader
        call.wakeResultReader()
    }

    /// Hands the server's own metadata to `reader`, now or when it comes.
    func readMetadata(_ call: Call, _ reader: MetadataContinuation) {
        call.metadataReaders.append(reader)
        call.wakeMetadataReaders()
    }

    /// Ends a call at the wish of its caller.
    func cancel(_ call: Call) { finish(call, Self.cancelledError) }

    static let cancelledError = RPCError(
        .cancelled, reason: "CANCELLED", message: "The caller cancelled the call.")

    private static func messageTooLarge(_ count: Int, _ limit: Int) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "MESSAGE_TOO_LARGE",
            message: "A request of \(count) bytes is above the limit of \(limit) bytes.",
            metadata: ["bytes": String(count), "bytes_max": String(limit)])
    }

    private static func refusal(of metadata: [MetadataField]) -> RPCError? {
        for field in metadata {
            let name = field.name.span
            guard Metadata.isValidName(name), !Metadata.isReserved(name),
                Metadata.isValidASCIIValue(field.value.span)
            else {
                return RPCError(
                    .invalidArgument, reason: "METADATA_INVALID",
                    message: "Metadata takes lower-case names without grpc- in front, and values "
                        + "of printable ASCII; values of names in -bin are base64.",
                    metadata: ["name": String(decoding: field.name, as: UTF8.self)])
            }
        }
        return nil
    }

    // MARK: To a connection

    private func enqueue(_ call: Call, first: Bool = false) {
        call.phase = .waiting
        let queue = call.isLongLived ? 1 : 0
        if first { queues[queue].prepend(call) } else { queues[queue].append(call) }
    }

    /// Gives calls that wait to connections with room, and fails those that shall not wait while no
    /// server can be reached.
    func placeCalls() {
        for queue in queues.indices { place(queue) }
    }

    private func place(_ queue: Int) {
        while let call = queues[queue].first {
            guard case .waiting = call.phase else {
                _ = queues[queue].popFirst()
                continue
            }
            switch pool.pick(isLongLived: call.isLongLived, now) {
            case .connection(let id):
                _ = queues[queue].popFirst()
                if !launch(call, on: id) { queues[queue].prepend(call) }
            case .wait: return
            case .failing(let reason):
                let all = queues[queue].removeAll()
                for call in all where call.waitsForReady { queues[queue].append(call) }
                for call in all where !call.waitsForReady { fail(call, unreachable: reason) }
                return
            }
        }
    }

    /// Starts an attempt.
    ///
    /// - Returns: False when the connection takes no calls any more; the pool then knows.
    private func launch(_ call: Call, on id: Int) -> Bool {
        guard let connection = connections[id], let target = pool.members[id]?.address.target
        else {
            pool.ended(id, "the connection is gone", now)
            return false
        }
        let extra =
            call.options.metadata.isEmpty && call.retry.previousAttempts == 0
            ? nil
            : ClientCallExtra(
                metadata: call.options.metadata, previousAttempts: call.retry.previousAttempts)
        guard
            let handle = connection.open(
                method(call, target: target), deadline: call.deadline, extra: extra,
                tag: call.slot, receiver: self)
        else {
            pool.draining(id, now)
            if call.isLongLived { pool.longLivedCallEnded(id) }
            return false
        }
        call.phase = .active(connection, handle, member: id)
        feed(call)
        return true
    }

    /// Sends what there is and the connection takes.
    private func feed(_ call: Call) {
        guard case .active(let connection, let handle, _) = call.phase else {
            return call.wakeSenders()
        }
        while !call.isBlocked, let message = call.requests.next() {
            let outcome = connection.send(handle, message, compressed: call.options.sendsGzip)
            call.isBlocked = outcome != .queued
        }
        if call.requests.isDone, !call.isInputEnded {
            call.isInputEnded = true
            connection.endInput(handle)
        }
        call.wakeSenders()
    }

    // MARK: From one attempt to the next

    private func fail(_ call: Call, unreachable reason: String) {
        guard case .waiting = call.phase else { return }
        let error = RPCError(
            .unavailable, reason: "SERVER_UNREACHABLE", message: "No server answers: \(reason)")
        judge(
            call, error,
            AttemptEnd(code: .unavailable, isUnprocessed: false, pushback: .none))
    }

    private func judge(_ call: Call, _ error: RPCError, _ end: AttemptEnd) {
        let verdict = call.retry.attemptFailed(
            end, mayRepeat: call.mayRepeat, now: now, deadline: call.deadline,
            throttle: &throttle, random: &random)
        call.lastFailure = error
        switch verdict {
        case .give: finish(call, error)
        case .again:
            call.rewind()
            enqueue(call, first: true)
        case .againAt(let time):
            call.rewind()
            call.phase = .pausing(until: time)
            timers.set(call.slot, min(time, call.deadline))
            tell(
                .retrying(
                    path: call.path, attempt: call.retry.attempts - 1, error: error,
                    pauseMilliseconds: Int64(time.nanoseconds(since: now) / 1_000_000)))
        }
    }

    /// Ends calls whose deadlines have passed, and lets those go on whose pauses have.
    func expireCalls() {
        var expired: [Int] = []
        timers.advance(to: now, into: &expired)
        for slot in expired {
            guard let call = slots[slot] else { continue }
            if now >= call.deadline {
                finish(call, deadlineError(call))
            } else if case .pausing = call.phase {
                timers.set(slot, call.deadline)
                enqueue(call)
            }
        }
    }

    /// Says what the time was spent on.
    private func deadlineError(_ call: Call) -> RPCError {
        var error = WireError.deadlineExceeded
        switch call.phase {
        case .waiting: error.message += " It waited for a connection"
        case .pausing: error.message += " It waited to be tried again"
        case .active, .ended: return error
        }
        if let failure = call.lastFailure {
            error.message += " after: \(failure.message)"
        } else {
            error.message += "."
        }
        return error
    }

    // MARK: The end

    /// Ends a call, wherever it is; nil for OK.
    func finish(_ call: Call, _ error: RPCError?) {
        guard !call.isEnded else { return }
        let phase = call.phase
        var error = error
        if error != nil, call.retry.attempts > 1 {
            error?.metadata["attempts"] = String(call.retry.attempts)
        }
        if call.slot >= 0 {
            timers.clear(call.slot)
            slots[call.slot] = nil
            freeSlots.append(call.slot)
            call.slot = -1
        }
        call.phase = .ended(error)
        if case .active(let connection, let handle, let member) = phase {
            if call.isLongLived { pool.longLivedCallEnded(member) }
            connection.cancel(handle)
        }
        end(call, error)
    }

    private func end(_ call: Call, _ error: RPCError?) {
        call.phase = .ended(error)
        call.requests.commit()
        call.wakeResultReader()
        call.wakeReaders()
        call.wakeSenders()
        call.wakeMetadataReaders()
    }

    private func active(_ tag: Int) -> Call? {
        guard tag < slots.count, let call = slots[tag], case .active = call.phase else {
            return nil
        }
        return call
    }
}

extension Channel: ClientCallReceiver {
    func messageReceived(_ handle: ClientCall, _ tag: Int, _ message: Span<UInt8>) {
        guard let call = active(tag) else { return }
        call.commit()
        call.replies.append([UInt8](copying: message))
        call.wakeReaders()
        if call.replies.holdsBack(), case .active(let connection, _, _) = call.phase {
            connection.pause(handle)
        }
    }

    func metadataReceived(
        _ handle: ClientCall, _ tag: Int, _ metadata: [MetadataField], isTrailing: Bool
    ) {
        guard let call = active(tag) else { return }
        if isTrailing {
            call.trailingMetadata = metadata
        } else {
            // The server has begun to answer.
            call.commit()
            call.initialMetadata = metadata
            call.wakeMetadataReaders()
        }
    }

    func callWritable(_ handle: ClientCall, _ tag: Int) {
        guard let call = active(tag) else { return }
        call.isBlocked = false
        feed(call)
    }

    func callEnded(_ handle: ClientCall, _ tag: Int, _ end: ClientCallEnd) {
        guard let call = active(tag), case .active(let connection, _, let member) = call.phase
        else { return }
        guard var error = end.error else {
            throttle.succeeded()
            return finish(call, nil)
        }
        // Not on the connection any more: it is neither to be cancelled nor counted there.
        call.phase = .waiting
        if call.isLongLived { pool.longLivedCallEnded(member) }
        if error.reason == "CONNECTION_LOST" {
            error.message = "\(connection.address): \(error.message)"
            error.metadata["endpoint"] = "\(connection.address)"
        }
        judge(
            call, error,
            AttemptEnd(
                code: error.code, isUnprocessed: end.isUnprocessed, pushback: end.pushback))
    }
}
