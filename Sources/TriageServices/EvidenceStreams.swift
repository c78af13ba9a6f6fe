// Evidence in and out: each call has one piece in flight between its reactor and the vault's
// thread, so that a fast client is held back by the disk, and a slow one holds no memory but its
// piece.
//
//   attach: start -> engine: may it? -> vault: begin -> chunk, ready, chunk, ready ... -> finish
//                 -> stored -> engine: write -> reply
//   read:   engine: record -> vault: open -> evidence, next, chunk, next, chunk ... -> end

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
package import TriageEngine
internal import TriageGRPC

/// The vault as the services see it, so that a test can stand in for it.
package protocol VaultDoor: AnyObject, Sendable {
    /// Asks for a call; answered on the reactor's sink, in order.
    func submit(_ request: VaultRequest, call: UInt64, reactor: Int)
    /// Names where a reactor's answers go.
    func connect(reactor: Int, sink: any VaultSink)
}

extension VaultWorker: VaultDoor {}

/// One AttachEvidence call.
final class AttachCall {
    enum Step {
        /// Nothing has come yet.
        case started
        /// The engine is asked whether it may be attached.
        case checking
        /// The vault begins.
        case beginning
        /// The vault waits for the next chunk.
        case taking
        /// The vault writes a chunk.
        case writing
        /// The vault makes the object durable.
        case finishing
        /// The engine is asked to record it.
        case recording
    }

    let holder: ServiceHandler.Holder
    var step = Step.started
    var start: AttachStart?
    var taken = 0
    var inputEnded = false

    init(_ holder: ServiceHandler.Holder) { self.holder = holder }
}

/// One ReadEvidence call.
final class ReadCall {
    let holder: ServiceHandler.Holder
    /// nil until the record of the read is durable.
    var view: EvidenceView?
    var isFull = false

    init(_ holder: ServiceHandler.Holder) { self.holder = holder }
}

extension ServiceHandler {
    // MARK: Attaching

    func attachReceived(_ call: CallID, _ attach: AttachCall, _ message: Span<UInt8>) {
        let part: AttachPart
        do { part = try decoder.decodeAttachEvidence(message) } catch {
            giveUp(call, RPCError(error))
            return
        }
        switch (attach.step, part) {
        case (.started, .start(let start)):
            attach.start = start
            attach.step = .checking
            ask(
                call, echo: 0, attach.holder.principal,
                .checkAttachment(
                    start.caseNumber, size: start.size, start.key,
                    clearedForChildSafety: attach.holder.entry.clearedForChildSafety))
        case (.taking, .chunk(let bytes)):
            attach.taken += bytes.count
            guard let start = attach.start, attach.taken <= start.size else {
                giveUp(call, Self.otherSize)
                return
            }
            attach.step = .writing
            submit(.append(bytes), call)
        case (.started, .chunk):
            giveUp(call, Self.attachOrder("the first message must be a start"))
        default:
            giveUp(call, Self.attachOrder("only the first message may be a start"))
        }
    }

    func attachEnded(_ call: CallID, _ attach: AttachCall) {
        attach.inputEnded = true
        switch attach.step {
        case .started: giveUp(call, Self.attachOrder("the first message must be a start"))
        case .taking: finish(call, attach)
        case .checking, .beginning, .writing, .finishing, .recording: break
        }
    }

    /// The engine's word on whether something may be attached, or on a repeat.
    func attachChecked(_ call: CallID, _ attach: AttachCall, _ completion: Completion) {
        switch completion.reply {
        case .attachable:
            guard shared.vault != nil, let start = attach.start else {
                giveUp(call, RPCError(EngineFailure.encryptionRequired))
                return
            }
            attach.step = .beginning
            submit(.begin(size: start.size, attach.holder.principal), call)
        case .outcome(.evidence(let view)):
            longCalls[call.raw] = nil
            responder.respond(call, encoder.evidence(view))
        case .refused(let error): giveUp(call, RPCError(error))
        case .failed(let failure): giveUp(call, RPCError(failure))
        default: giveUp(call, Self.internalError)
        }
    }

    func attachReply(_ call: CallID, _ attach: AttachCall, _ reply: VaultReply) {
        switch (attach.step, reply) {
        case (.beginning, .ready), (.writing, .ready):
            attach.step = .taking
            if attach.inputEnded { finish(call, attach) } else { responder.requestMore(call) }
        case (.finishing, .stored(let name, let sha256)):
            guard let start = attach.start else { return }
            attach.step = .recording
            attaching[call.raw] = name
            ask(
                call, echo: Echo.attachment, attach.holder.principal,
                .write(
                    .attachEvidence(
                        case: start.caseNumber,
                        attachment: AttachedObject(
                            mediaType: start.mediaType, caption: start.caption, object: name,
                            sha256: sha256, size: start.size)), start.key))
        case (_, .failed(let failure)):
            longCalls[call.raw] = nil
            responder.finish(call, RPCError(failure))
        default: giveUp(call, Self.internalError)
        }
    }

    private func finish(_ call: CallID, _ attach: AttachCall) {
        guard let start = attach.start, attach.taken == start.size else {
            giveUp(call, Self.otherSize)
            return
        }
        attach.step = .finishing
        submit(.finish(expected: start.sha256), call)
    }

    /// The engine has recorded an object, or refused it: then it goes, whoever still waits.
    func attachRecorded(_ call: CallID, _ completion: Completion) {
        let name = attaching.removeValue(forKey: completion.call)
        let isWaiting = longCalls.removeValue(forKey: completion.call) != nil
        var recorded: EvidenceView?
        if case .outcome(.evidence(let view)) = completion.reply { recorded = view }
        // Whether a failed journal has the event is not certain: the next start tells.
        let isUncertain =
            if case .failed(.journalFailed) = completion.reply { true } else { false }
        if let name, !isUncertain, recorded?.value.attachment.object != name {
            submit(.erase(name), Self.nobody)
        }
        guard isWaiting else { return }
        switch completion.reply {
        case .outcome where recorded != nil:
            if let recorded { responder.respond(call, encoder.evidence(recorded)) }
        case .refused(let error): responder.finish(call, RPCError(error))
        case .failed(let failure): responder.finish(call, RPCError(failure))
        default: responder.finish(call, Self.internalError)
        }
    }

    /// The engine was not asked after all: nothing refers to the object.
    func attachWithdrawn(_ call: UInt64) {
        guard let name = attaching.removeValue(forKey: call) else { return }
        submit(.erase(name), Self.nobody)
    }

    private func giveUp(_ call: CallID, _ error: RPCError) {
        longCalls[call.raw] = nil
        submit(.cancel, call)
        responder.finish(call, error)
    }

    private static func attachOrder(_ what: String) -> RPCError {
        RPCError(
            .invalidArgument, reason: "INVALID_STREAM",
            message: "\(what), and all others chunks",
            fieldViolations: [FieldViolation(field: "part", description: what)])
    }

    private static let otherSize = RPCError(
        .invalidArgument, reason: "SIZE_MISMATCH",
        message: "other bytes arrived than start.size_bytes announced: nothing was kept",
        fieldViolations: [
            FieldViolation(field: "start.size_bytes", description: "is not that of the bytes")
        ])

    // MARK: Reading

    func openRead(_ caller: Caller, _ message: Span<UInt8>) throws(RPCError) {
        let request = try decoded { () throws(RequestError) in
            try decoder.decodeReadEvidence(message)
        }
        guard shared.vault != nil else { throw RPCError(EngineFailure.encryptionRequired) }
        guard responder.markLongLived(caller.call) else { return }
        longCalls[caller.call.raw] = .read(ReadCall(caller.holder))
        ask(
            caller.call, echo: 0, caller.principal,
            .readEvidence(
                request.caseNumber, request.evidence, purpose: request.purpose,
                clearedForChildSafety: caller.entry.clearedForChildSafety))
    }

    /// The record of the read is durable, or there is none.
    func readRecorded(_ call: CallID, _ read: ReadCall, _ completion: Completion) {
        switch completion.reply {
        case .evidence(let view):
            guard view.value.erasure == nil else {
                endRead(call, .evidenceErased)
                return
            }
            read.view = view
            submit(.open(view.value.attachment.object, read.holder.principal), call)
        case .refused(let error): endRead(call, RPCError(error))
        case .failed(let failure): endRead(call, RPCError(failure))
        default: endRead(call, Self.internalError)
        }
    }

    func readReply(_ call: CallID, _ read: ReadCall, _ reply: VaultReply) {
        switch reply {
        case .opened:
            guard let view = read.view else { return }
            send(call, read, encoder.readEvidence(view))
        case .chunk(let bytes): send(call, read, encoder.readEvidence(chunk: bytes))
        case .ended: endRead(call, nil)
        case .failed(let failure): endRead(call, RPCError(failure))
        case .ready, .stored, .erased: endRead(call, Self.internalError)
        }
    }

    func readWritable(_ call: CallID, _ read: ReadCall) {
        guard read.isFull else { return }
        read.isFull = false
        submit(.next, call)
    }

    private func send(_ call: CallID, _ read: ReadCall, _ message: [UInt8]) {
        switch responder.send(call, message) {
        case .queued: submit(.next, call)
        case .full: read.isFull = true
        case .gone:
            longCalls[call.raw] = nil
            submit(.cancel, call)
        }
    }

    private func endRead(_ call: CallID, _ error: RPCError?) {
        longCalls[call.raw] = nil
        submit(.cancel, call)
        responder.finish(call, error)
    }

    // MARK: From the vault

    /// Goes on with a call that the vault has answered.
    func vaultReplied(_ raw: UInt64, _ reply: VaultReply) {
        let call = CallID(raw: raw)
        switch longCalls[raw] {
        case .attach(let attach): attachReply(call, attach, reply)
        case .read(let read): readReply(call, read, reply)
        case .erasure(let view): erasureReply(call, view, reply)
        case .claim, .list, .reports, .watch, .backup, .health, .reflection, nil:
            // The call is over; what it had begun goes, and so does what nothing refers to.
            if case .stored(let name, _) = reply { submit(.erase(name), Self.nobody) }
        }
    }

    func submit(_ request: VaultRequest, _ call: CallID) {
        shared.vault?.submit(request, call: call.raw, reactor: reactor)
    }

    /// Whose answers nobody waits for.
    private static let nobody = CallID(raw: .max)
}

/// Carries answers from the vault's thread to a reactor's.
final class ReactorVaultSink: VaultSink {
    private let mailbox: any ReactorMailbox

    init(_ mailbox: any ReactorMailbox) { self.mailbox = mailbox }

    func deliver(_ call: UInt64, _ reply: VaultReply) { mailbox.post(VaultJob(call, reply)) }
}

/// One answer of the vault.
private final class VaultJob: ReactorJob {
    private let call: UInt64
    private let reply: VaultReply

    init(_ call: UInt64, _ reply: VaultReply) {
        self.call = call
        self.reply = reply
    }

    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.vaultReplied(call, reply)
    }
}
