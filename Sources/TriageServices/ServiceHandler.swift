// Answers the calls of one reactor: authorises, decodes, gathers what the engine is asked in a turn
// and hands it over once, and turns the engine's completions into replies. Everything here runs on
// that reactor's thread. Knows nothing of sockets, nor of how state is kept.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
package import TriageEngine
package import TriageGRPC

/// The engine as the services see it, so that a test can stand in for it.
package protocol EngineDoor: AnyObject, Sendable {
    /// Hands over one reactor's turn; false when nothing was taken.
    func submit(_ requests: [EngineRequest], reactor: Int, journalBytes: Int) -> Bool
}

extension Engine: EngineDoor {}

/// The services of one reactor.
package final class ServiceHandler: CallHandler {
    /// A call that is more than one request and one reply.
    enum LongCall {
        /// A claim that may wait in the engine.
        case claim(Holder)
        /// A list, whose next page's token is bound to its request.
        case list(PageBinding)
        /// SubmitReports.
        case reports(ReportStream)
        /// A watch that the engine feeds.
        case watch(WatchCall)
        /// AttachEvidence.
        case attach(AttachCall)
        /// ReadEvidence.
        case read(ReadCall)
        /// ListBackup or ReadBackup.
        case backup(BackupCall)
        /// An erasure that is on record, and waits for the vault.
        case erasure(EvidenceView)
        /// Health Watch of a service, and what it was told last.
        case health(HealthService, toldServing: Bool)
        /// A reflection stream.
        case reflection(Holder, paused: Bool)
    }

    /// Who has a call that outlives its turn, under which entry of the policy it began, and one of
    /// which roles it takes.
    struct Holder {
        let principal: Principal
        let door: Audience
        let entry: PolicyEntry
        let roles: RoleSet
    }

    /// What a watch has had and not given credit for.
    final class WatchCall {
        let holder: Holder
        var partsTaken = 0
        var isFull = false

        init(holder: Holder) { self.holder = holder }
    }

    let shared: SharedServices
    let responder: any CallResponder
    let mailbox: any ReactorMailbox
    let decoder: RequestDecoder
    let encoder: ReplyEncoder
    var longCalls: [UInt64: LongCall] = [:]
    /// The part of a board watch that was encoded last: a thousand watches get the same one.
    var encodedPart: (part: BoardChanges, messages: [[UInt8]])?
    /// Objects that are durable and not yet recorded, by call, also one that is over.
    var attaching: [UInt64: ObjectName] = [:]
    let reactor: Int
    private var gathered: [EngineRequest] = []
    /// Handed over a few at a time, behind everything else of a turn.
    private var bulkReads = BulkReads()
    private var gatheredBytes = 0
    /// Calls that were cancelled since the last hand-over: what was gathered of them is not done.
    private var withdrawn: Set<UInt64> = []

    init(
        shared: SharedServices, reactor: Int, responder: any CallResponder,
        mailbox: any ReactorMailbox
    ) {
        self.mailbox = mailbox
        self.shared = shared
        decoder = RequestDecoder(pageTokenKey: shared.pageTokenKey)
        encoder = ReplyEncoder(pageTokenKey: shared.pageTokenKey)
        self.reactor = reactor
        self.responder = responder
    }

    // MARK: Calls in

    package func requestReceived(
        _ call: CallID, _ head: borrowing CallHead, _ message: Span<UInt8>
    ) {
        let (route, roles) = shared.routes[head.method]
        do {
            guard let roles else {
                try health(route, call, message)
                return
            }
            let peer = PeerPolicy.resolve(head.peer, shared.policy)
            let entry = try Authorization.check(roles, peer)
            guard let peer else { throw Authorization.unauthenticated }
            let caller = Caller(
                call: call, principal: peer.principal, door: peer.door, entry: entry, roles: roles,
                deadline: head.deadline)
            try dispatch(route, caller, message)
        } catch let error as RPCError {
            responder.finish(call, error)
        } catch {
            responder.finish(call, Self.internalError)
        }
    }

    /// Who calls, with what rights.
    struct Caller {
        let call: CallID
        let principal: Principal
        let door: Audience
        let entry: PolicyEntry
        /// Those of which the method takes one.
        let roles: RoleSet
        let deadline: MonotonicTime

        /// What a call that outlives its turn remembers of its caller.
        var holder: Holder {
            Holder(principal: principal, door: door, entry: entry, roles: roles)
        }

        /// Whether the caller sees only its own disclosure requests.
        var isExternal: Bool { entry.isExternal }
    }

    private func dispatch(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        switch route {
        case .submitReport, .getCase, .listCases, .answerProtocol, .decideCase, .closeCase,
            .reopenCase, .watchBoard:
            try triage(route, caller, message)
        case .claimNext, .acceptCase, .renewLease, .releaseLease, .handOffCase, .completeCase,
            .watchAssignments:
            try assignment(route, caller, message)
        case .submitDisclosureRequest, .getDisclosureRequest, .listDisclosureRequests,
            .addVerification, .setScope, .approveDisclosure, .rejectDisclosure,
            .watchDisclosureRequest:
            try disclosure(route, caller, message)
        case .listEvidence, .readEvidence, .eraseEvidence, .eraseReportTexts, .placeHold,
            .releaseHold, .listHolds, .listHoldRules:
            try evidence(route, caller, message)
        case .getStatus, .createSnapshot, .rotateKeys:
            try operations(route, caller, message)
        case .listBackup, .readBackup: try openBackup(route, caller, message)
        case .signHead, .proveRecord, .proveHistory: try audit(route, caller, message)
        case .channelzTopChannels, .channelzServers, .channelzServer, .channelzServerSockets,
            .channelzChannel, .channelzSubchannel, .channelzSocket:
            try channelz(route, caller, message)
        case .healthList: try healthList(caller.call, message)
        case .submitReports, .attachEvidence, .healthCheck, .healthWatch, .reflection,
            .reflectionAlpha:
            // The method table says that these are streams, or they were answered before.
            throw Self.internalError
        }
    }

    package func streamOpened(_ call: CallID, _ head: borrowing CallHead) {
        let (route, roles) = shared.routes[head.method]
        do {
            let peer = PeerPolicy.resolve(head.peer, shared.policy)
            let entry = try Authorization.check(roles ?? .all, peer)
            guard let peer else { throw Authorization.unauthenticated }
            switch route {
            case .submitReports:
                let holder = Holder(
                    principal: peer.principal, door: peer.door, entry: entry,
                    roles: roles ?? .all)
                longCalls[call.raw] = .reports(ReportStream(holder))
            case .attachEvidence:
                guard shared.vault != nil else {
                    throw RPCError(EngineFailure.encryptionRequired)
                }
                let holder = Holder(
                    principal: peer.principal, door: peer.door, entry: entry,
                    roles: roles ?? .all)
                guard responder.markLongLived(call) else { return }
                longCalls[call.raw] = .attach(AttachCall(holder))
            case .reflection, .reflectionAlpha:
                let holder = Holder(
                    principal: peer.principal, door: peer.door, entry: entry,
                    roles: roles ?? .all)
                longCalls[call.raw] = .reflection(holder, paused: false)
            default: throw Self.internalError
            }
        } catch let error as RPCError {
            responder.finish(call, error)
        } catch {
            responder.finish(call, Self.internalError)
        }
    }

    package func streamMessageReceived(_ call: CallID, _ message: Span<UInt8>) {
        switch longCalls[call.raw] {
        case .reports(let stream): reportReceived(call, stream, message)
        case .attach(let attach): attachReceived(call, attach, message)
        case .reflection: questionReceived(call, message)
        case .claim, .list, .watch, .read, .backup, .erasure, .health, nil: break
        }
    }

    package func streamInputEnded(_ call: CallID) {
        switch longCalls[call.raw] {
        case .reports(let stream):
            stream.inputEnded = true
            finishIfComplete(call, stream)
        case .attach(let attach): attachEnded(call, attach)
        case .reflection:
            longCalls[call.raw] = nil
            responder.finish(call, nil)
        case .claim, .list, .watch, .read, .backup, .erasure, .health, nil: break
        }
    }

    package func callCancelled(_ call: CallID, _ reason: CancelReason) {
        if !gathered.isEmpty { withdrawn.insert(call.raw) }
        guard let known = longCalls.removeValue(forKey: call.raw) else { return }
        switch known {
        case .claim, .watch: ask(call, echo: 0, .system, .cancel)
        case .attach, .read: submit(.cancel, call)
        case .backup: submit(backup: .cancel, call)
        case .list, .reports, .erasure, .health, .reflection: break
        }
    }

    package func streamWritable(_ call: CallID) {
        switch longCalls[call.raw] {
        case .watch(let watch):
            watch.isFull = false
            ask(call, echo: 0, .system, .credit(watch.partsTaken))
            watch.partsTaken = 0
        case .reflection(let holder, paused: true):
            longCalls[call.raw] = .reflection(holder, paused: false)
            responder.requestMore(call)
        case .read(let read): readWritable(call, read)
        case .backup(let backup): backupWritable(call, backup)
        case .reflection, .reports, .attach, .erasure, .claim, .list, .health, nil: break
        }
    }

    /// Ends what those have open who may not have it any more, or may only have it otherwise.
    func policyChanged() {
        for (raw, known) in longCalls {
            do {
                try check(known)
                if case .reports(let stream) = known { stream.refusal = nil }
            } catch {
                // What stands is told of; only what follows is refused.
                if case .reports(let stream) = known, !stream.results.isEmpty {
                    stream.refusal = error
                    continue
                }
                longCalls[raw] = nil
                let call = CallID(raw: raw)
                responder.finish(call, error)
                ask(call, echo: 0, .system, .cancel)
                submit(.cancel, call)
                submit(backup: .cancel, call)
            }
        }
    }

    /// Judges an open call by the policy in force.
    ///
    /// - Throws: Why it must end.
    private func check(_ known: LongCall) throws(RPCError) {
        let holder: Holder
        switch known {
        case .claim(let claimant): holder = claimant
        case .watch(let watch): holder = watch.holder
        case .reports(let stream): holder = stream.holder
        // Past its commit point.
        case .attach(let attach) where attach.step == .recording: return
        case .attach(let attach): holder = attach.holder
        case .read(let read): holder = read.holder
        case .backup(let backup): holder = backup.holder
        case .reflection(let asking, paused: _): holder = asking
        case .list, .erasure, .health: return
        }
        let peer = PeerPolicy(
            holder.principal, through: holder.door, shared.policy, generation: 0)
        let entry = try Authorization.check(holder.roles, peer)
        switch known {
        case .claim:
            // What it may take was fixed when it began to wait.
            if entry.eligibility != holder.entry.eligibility { throw Self.policyChange }
        case .watch:
            // So was how much of a disclosure request it is shown.
            if entry.isExternal != holder.entry.isExternal { throw Self.policyChange }
        case .attach, .read:
            // And whether it sees what lies behind the wall.
            if entry.clearedForChildSafety != holder.entry.clearedForChildSafety {
                throw Self.policyChange
            }
        case .reports, .list, .backup, .erasure, .health, .reflection: break
        }
    }

    private static let policyChange = RPCError(
        .aborted, reason: "POLICY_CHANGED",
        message: "what the policy says of you has changed: call again")

    // MARK: To the engine

    /// Gathers a unary call's request for the engine, with the call's deadline.
    func ask(_ caller: Caller, echo: UInt64, _ operation: consuming EngineOperation) {
        ask(caller.call, echo: echo, caller.principal, operation, deadline: caller.deadline)
    }

    /// Gathers a request for the engine; it is handed over at the end of the turn.
    ///
    /// That is the commit point of a call: one that is cancelled in the same turn is taken back, a
    /// later one stands whether its caller still waits or not, and the same request id tells what
    /// became of it. Claims that wait, and watches, can be taken back for as long as they do.
    func ask(
        _ call: CallID, echo: UInt64, _ principal: Principal,
        _ operation: consuming EngineOperation, deadline: MonotonicTime = .never
    ) {
        gatheredBytes += operation.journalBytes
        if operation.isBulkRead {
            bulkReads.add(
                EngineRequest(
                    call: call.raw, echo: echo | Echo.bulkRead, principal: principal,
                    operation: operation, deadline: deadline))
        } else {
            gathered.append(
                EngineRequest(
                    call: call.raw, echo: echo, principal: principal, operation: operation,
                    deadline: deadline))
        }
    }

    /// Drops what was gathered for calls that are over already.
    private func withdraw() {
        gathered.removeAll { request in
            if case .cancel = request.operation { return false }
            guard withdrawn.contains(request.call) else { return false }
            if request.echo & Echo.attachment != 0 { attachWithdrawn(request.call) }
            return true
        }
        gatheredBytes = gathered.reduce(0) { $0 + $1.operation.journalBytes }
        withdrawn.removeAll(keepingCapacity: withdrawn.count < 256)
    }

    package func turnEnded() {
        if !withdrawn.isEmpty { withdraw() }
        if !bulkReads.isEmpty {
            bulkReads.release(into: &gathered) { longCalls[$0] != nil }
        }
        guard !gathered.isEmpty else { return }
        let requests = gathered
        let bytes = gatheredBytes
        gathered = []
        gathered.reserveCapacity(requests.count)
        gatheredBytes = 0
        if shared.engine.submit(requests, reactor: reactor, journalBytes: bytes) { return }
        handOverApart(requests)
    }

    /// Too much waits for the disk: what would not add to it goes on, and of the rest what is of
    /// those who have not more than their part in there.
    private func handOverApart(_ requests: [EngineRequest]) {
        let rest = requests.filter { $0.operation.journalBytes == 0 }
        guard shared.engine.submit(rest, reactor: reactor, journalBytes: 0) else {
            return refuse(requests, .stopping)
        }
        let writes = requests.filter { $0.operation.journalBytes > 0 }
        for own in Dictionary(grouping: writes, by: \.principal).values {
            let bytes = own.reduce(0) { $0 + $1.operation.journalBytes }
            if !shared.engine.submit(own, reactor: reactor, journalBytes: bytes) {
                refuse(own, .overloaded)
            }
        }
    }

    private func refuse(_ requests: [EngineRequest], _ failure: EngineFailure) {
        for request in requests {
            switch request.operation {
            case .cancel, .credit, .pause, .taken: continue
            default:
                complete(
                    Completion(
                        call: request.call, echo: request.echo, principal: request.principal,
                        reply: .failed(failure)))
            }
        }
    }

    // MARK: From the engine

    /// Answers everything that the engine has let go in one of its turns.
    func completed(_ completions: [Completion]) {
        for completion in completions { complete(completion) }
        encodedPart = nil
    }

    private func complete(_ completion: Completion) {
        if case .sharedBoardChanges(let shared) = completion.reply { return sharedPart(shared) }
        let call = CallID(raw: completion.call)
        if completion.echo & Echo.bulkRead != 0 { bulkReads.completed() }
        if completion.echo & Echo.streamItem != 0 {
            reportCompleted(call, completion)
            return
        }
        if completion.echo & Echo.attachment != 0 {
            attachRecorded(call, completion)
            return
        }
        if completion.echo & Echo.erasure != 0,
            case .outcome(.evidence(let view)) = completion.reply
        {
            erasureRecorded(call, view)
            return
        }
        var binding: PageBinding?
        if !longCalls.isEmpty, let known = longCalls[completion.call] {
            switch known {
            case .watch(let watch):
                watchPart(call, watch, completion)
                return
            case .list(let bound): binding = bound
            case .attach(let attach):
                attachChecked(call, attach, completion)
                return
            case .read(let read):
                readRecorded(call, read, completion)
                return
            case .claim, .reports, .backup, .erasure, .health, .reflection: break
            }
            longCalls[completion.call] = nil
        }
        if case .receipt(let receipt) = completion.reply {
            return encoder.withSubmitReport(receipt) { responder.respond(call, copying: $0) }
        }
        switch reply(completion, binding) {
        case .success(let message): responder.respond(call, message)
        case .failure(let error): responder.finish(call, error)
        }
    }

    /// The message that answers a call.
    private func reply(
        _ completion: Completion, _ binding: PageBinding?
    ) -> Result<[UInt8], RPCError> {
        switch completion.reply {
        case .outcome(let outcome): reply(outcome, completion)
        case .caseView(let view):
            .success(
                encoder.case(
                    view, detail: completion.echo & Echo.fullView != 0 ? .full : .basic))
        case .board(let page, let openCount, let revision):
            binding.map {
                .success(
                    encoder.listCases(
                        page, openCount: openCount, revision: revision, binding: $0))
            } ?? .failure(Self.internalError)
        case .disclosure(let view):
            .success(encoder.disclosure(view, audience: Echo.audience(completion.echo)))
        case .disclosures(let page):
            binding.map {
                .success(
                    encoder.listDisclosures(
                        page, audience: Echo.audience(completion.echo), binding: $0))
            }
                ?? .failure(Self.internalError)
        case .evidenceList(let part):
            binding.map { .success(encoder.listEvidence(part, binding: $0)) }
                ?? .failure(Self.internalError)
        case .holdList(let part):
            binding.map { .success(encoder.listHolds(part, binding: $0)) }
                ?? .failure(Self.internalError)
        case .status(let status): .success(encoder.status(report(status)))
        case .snapshot(let answer): .success(encoder.createSnapshot(answer))
        case .audit(let answer): reply(answer)
        case .refused(let error): .failure(RPCError(error))
        case .failed(let failure): .failure(RPCError(failure))
        // A receipt was answered before; what may be attached, and evidence, have streams of their
        // own; the others are parts of watches.
        case .receipt, .boardChanges, .sharedBoardChanges, .assignmentChanges,
            .disclosureChange, .attachable, .evidence:
            .failure(Self.internalError)
        }
    }

    private func reply(
        _ outcome: Outcome, _ completion: Completion
    ) -> Result<[UInt8], RPCError> {
        switch outcome {
        case .changedCase(let view): .success(encoder.case(view, detail: .basic))
        case .offer(let assignment, let view, let explanation):
            .success(encoder.claimNext(assignment, view, explanation))
        case .nothingToClaim: .success(encoder.nothingToClaim())
        case .changedAssignment(let view):
            .success(encoder.assignment(view, viewer: completion.principal))
        case .changedDisclosure(let view):
            .success(encoder.disclosure(view, audience: Echo.audience(completion.echo)))
        case .evidence(let view): .success(encoder.evidence(view))
        case .hold(let view): .success(encoder.hold(view))
        case .erasedTexts(let number, let count, let revision):
            .success(encoder.erasedTexts(number, reportCount: count, revision: revision))
        case .key(let answer): .success(encoder.rotateKeys(answer))
        // A receipt and a snapshot's answer are EngineReplies of their own.
        case .receipt, .snapshot, .recorded: .failure(Self.internalError)
        }
    }

    /// What the engine is told that concerns no call.
    static let noCall = CallID(raw: .max)

    /// Our own broken promise, in words that say nothing of it.
    static let internalError = RPCError(
        .internal, reason: "INTERNAL",
        message: "the server made a mistake: report it to its operator")
}

/// What a request carries to the engine and back, so that no table of pending calls is needed.
enum Echo {
    /// One message of a SubmitReports stream; its index is in the low bits.
    static let streamItem: UInt64 = 1 << 63
    /// The FULL view of a case was asked for.
    static let fullView: UInt64 = 1 << 62
    /// One of ``BulkReads``.
    static let bulkRead: UInt64 = 1 << 60
    /// An object of evidence that is to be recorded.
    static let attachment: UInt64 = 1 << 59
    /// Evidence that is to be erased.
    static let erasure: UInt64 = 1 << 58
    /// The caller is an outside agency.
    static let external: UInt64 = 1 << 61

    /// Whom a disclosure request is shown to.
    static func audience(_ echo: UInt64) -> DisclosureAudience {
        echo & external != 0 ? .requester : .internal
    }
}

/// What the handlers of all reactors share.
final class SharedServices: Sendable {
    let engine: any EngineDoor
    /// nil without encryption.
    let vault: (any VaultDoor)?
    /// nil without a data directory.
    let backup: BackupWorker?
    let policy: PolicyStore
    let health: HealthState
    /// By method index: the route, and who may take it; nil for anyone.
    let routes: [(route: Route, roles: RoleSet?)]
    let descriptors: DescriptorSet
    let pageTokenKey: PageTokenKey
    let version: String
    let inspector = InspectorBox()

    init(
        engine: any EngineDoor, vault: (any VaultDoor)?, backup: BackupWorker?,
        policy: PolicyStore, health: HealthState, routes: [Route],
        descriptors: DescriptorSet, pageTokenKey: PageTokenKey, version: String
    ) {
        self.engine = engine
        self.vault = vault
        self.backup = backup
        self.policy = policy
        self.health = health
        self.routes = routes.map { ($0, $0.roles) }
        self.descriptors = descriptors
        self.pageTokenKey = pageTokenKey
        self.version = version
    }
}
