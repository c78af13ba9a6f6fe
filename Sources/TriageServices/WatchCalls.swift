// Watches of the board, of assignments and of a disclosure request: parts come from the engine, go
// out as messages, and give credit back once the call's buffer has room. A part for a group of
// watches goes to all their calls at once, and to nobody's bookkeeping.

internal import TriageBase
internal import TriageCodec
internal import TriageEngine
internal import TriageGRPC

extension ServiceHandler {
    /// Credit is given back in steps, so that a quiet watch does not wake the engine for each part.
    private static let creditStep = 4
    /// More than a watch may ever have: the engine gives what it may.
    private static let wholeCredit = 1_024

    /// Opens a watch.
    func watch(_ caller: Caller, echo: UInt64, _ operation: EngineOperation) {
        guard responder.markLongLived(caller.call) else { return }
        longCalls[caller.call.raw] = .watch(WatchCall(holder: caller.holder))
        ask(caller, echo: echo, operation)
    }

    /// Sends one part of a watch, or ends it.
    func watchPart(_ call: CallID, _ watch: WatchCall, _ completion: Completion) {
        switch completion.reply {
        case .boardChanges(let part): send(call, watch, board(part))
        case .assignmentChanges(let part):
            send(call, watch, assignments(part, completion.principal))
        case .disclosureChange(let view, let ended):
            send(
                call, watch,
                [
                    encoder.watchDisclosure(
                        view, audience: Echo.audience(completion.echo))
                ])
            if ended { end(call, nil) }
        case .refused(let error): end(call, RPCError(error))
        case .failed(let failure): end(call, RPCError(failure))
        case .receipt, .outcome, .caseView, .board, .disclosure, .disclosures, .attachable,
            .sharedBoardChanges, .evidence, .evidenceList, .holdList, .status, .snapshot, .audit:
            end(call, Self.internalError)
        }
    }

    /// Sends one part to every watch of a group.
    func sharedPart(_ shared: SharedBoardChanges) {
        responder.send(board(shared.part), to: shared.calls) { call, outcome in
            switch outcome {
            case .queued: break
            case .full: pause(call)
            case .gone: forget(call)
            }
        }
        ask(Self.noCall, echo: 0, .system, .taken(group: shared.group))
    }

    /// Takes a watch out of its group until its stream has drained.
    private func pause(_ call: CallID) {
        guard case .watch(let watch)? = longCalls[call.raw], !watch.isFull else { return }
        watch.isFull = true
        watch.partsTaken = Self.wholeCredit
        ask(call, echo: 0, .system, .pause)
    }

    private func forget(_ call: CallID) {
        longCalls[call.raw] = nil
        ask(call, echo: 0, .system, .cancel)
    }

    private func end(_ call: CallID, _ error: RPCError?) {
        longCalls[call.raw] = nil
        responder.finish(call, error)
    }

    private func send(_ call: CallID, _ watch: WatchCall, _ messages: [[UInt8]]) {
        for message in messages {
            switch responder.send(call, message) {
            case .queued: break
            case .full: watch.isFull = true
            case .gone: return forget(call)
            }
        }
        watch.partsTaken += 1
        if !watch.isFull, watch.partsTaken >= Self.creditStep {
            ask(call, echo: 0, .system, .credit(watch.partsTaken))
            watch.partsTaken = 0
        }
    }

    /// The messages of a part; each says what the caller knows once it has it.
    private func board(_ part: BoardChanges) -> [[UInt8]] {
        if let encodedPart, encodedPart.part === part { return encodedPart.messages }
        var messages: [[UInt8]] = []
        messages.reserveCapacity(part.changes.count + 1)
        let last = part.bookmark == nil ? part.changes.count - 1 : part.changes.count
        for (index, change) in part.changes.enumerated() {
            let revision = index == last ? part.revision : part.revisions[index]
            switch change {
            case .changed(let view):
                messages.append(encoder.watchBoard(changed: view, revision: revision))
            case .removed(let number):
                messages.append(encoder.watchBoard(removed: number, revision: revision))
            }
        }
        if let openCount = part.bookmark {
            messages.append(
                encoder.watchBoard(bookmarkOpenCount: openCount, revision: part.revision))
        }
        encodedPart = (part, messages)
        return messages
    }

    private func assignments(_ part: AssignmentChanges, _ viewer: Principal) -> [[UInt8]] {
        var messages: [[UInt8]] = []
        let last = part.bookmark ? part.assignments.count : part.assignments.count - 1
        for (index, view) in part.assignments.enumerated() {
            let revision = index == last ? part.revision : part.previousRevision
            messages.append(encoder.watchAssignments(view, revision: revision, viewer: viewer))
        }
        if part.bookmark {
            messages.append(encoder.watchAssignments(nil, revision: part.revision, viewer: viewer))
        }
        return messages
    }
}
