// One thread that serves: waits for sockets, moves bytes between them and the connections, runs
// jobs, and flushes each connection once a turn. All system calls of the server's hot path start
// here.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO
import TriageTLS

/// A connection and its socket.
private final class Channel {
    let socket: Socket
    let connection: Connection
    /// Which door it came through.
    let door: Int
    /// What its handshake was judged by.
    var tls: TLSContext
    /// The socket may have bytes: it was reported and not yet read to the end.
    var mayRead = false
    /// The peer has ended its side: a short read does not mean that nothing follows.
    var sawEnd = false
    /// Ciphertext that a full turn left in the TLS session.
    var hasLeftover = false
    var isQueuedForHandshake = false
    var isResumed = false
    /// Reading waits for the output to shrink.
    var isPaused = false
    /// Our side is shut down; the peer's bytes are thrown away until it closes.
    var lingersSince: MonotonicTime?

    init(
        _ socket: consuming Socket, _ connection: Connection, _ door: Int, _ tls: TLSContext
    ) {
        self.socket = socket
        self.connection = connection
        self.door = door
        self.tls = tls
    }
}

/// One event loop of a server.
///
/// - Isolation: everything runs on its thread; others reach it through the mailbox.
final class Reactor {
    private let core: ServerCore
    private let clock: any TimeSource
    private let mailbox: Mailbox
    private let admission: Admission
    private let loop: EventLoop
    private var listeners: [Listener]
    /// By door.
    private var contexts: [TLSContext]
    private let pool = HTTP2Memory()

    private var channels: [Channel?] = []
    private var resumed: [Channel] = []
    private var handshakes: [Channel] = []
    /// Whose certificates are to be judged anew.
    private var rechecks = RecheckQueue<Channel>()
    private var input = [UInt8](repeating: 0, count: 64 << 10)
    private var flushing: [Int] = []
    /// The listeners are not watched: there was no descriptor for who waits in them.
    private var areListenersResting = false
    private var sweptAt: MonotonicTime
    private var drainingSince: MonotonicTime?
    private var isDone = false

    /// Listeners have the tokens from here on; connections those below.
    private static let listenerTokens: UInt64 = 1 << 32
    private static let sweepNanoseconds: UInt64 = 1_000_000_000
    /// How often one turn flushes again because flushing made handlers send.
    private static let flushRoundsMax = 4

    init(
        _ core: ServerCore, _ clock: any TimeSource, _ mailbox: Mailbox, _ admission: Admission,
        _ wakeUp: WakeUp, _ listeners: [Listener], _ contexts: [TLSContext]
    ) throws(SocketError) {
        let loop = try EventLoop(wakeUp)
        for (index, listener) in listeners.enumerated() {
            try loop.add(
                listener.socket.descriptor, token: Self.listenerTokens + UInt64(index),
                .whileReadable)
        }
        self.core = core
        self.clock = clock
        self.mailbox = mailbox
        self.admission = admission
        self.loop = loop
        self.listeners = listeners
        self.contexts = contexts
        sweptAt = core.now
        core.push = { [unowned self] in push($0) }
    }

    /// Serves until a drain is complete.
    func run() {
        while !isDone { turn() }
    }

    // MARK: A turn

    private func turn() {
        let mailbox = mailbox
        let count = loop.wait(until: waitsUntil(), now: core.now) { mailbox.isEmpty }
        core.now = clock.monotonicTime()
        for index in 0..<count { handle(loop.event(index)) }
        resumeChannels()
        runJobs()
        core.deliver()
        core.expireCalls()
        if core.now.nanoseconds(since: sweptAt) >= Self.sweepNanoseconds { sweep() }
        answer()
        verifyPeers()
        if drainingSince != nil, core.metrics.connectionsOpen == 0 { isDone = true }
    }

    /// Sends what the handler and the connections have.
    private func answer() {
        endHandlerTurn()
        core.observe(at: clock.monotonicTime())
        flushAll()
    }

    /// Goes on with handshakes and verdicts on certificates: last, when all that the turn has
    /// brought is answered, because each costs as much as hundreds of calls.
    private func verifyPeers() {
        guard !handshakes.isEmpty || !rechecks.isEmpty else { return }
        core.now = clock.monotonicTime()
        advanceHandshakes()
        recheckPeers()
        answer()
    }

    /// Until when there is nothing to do, if nothing happens.
    private func waitsUntil() -> MonotonicTime {
        if !resumed.isEmpty || !handshakes.isEmpty || !core.deliveries.isEmpty
            || !core.dirty.isEmpty || !rechecks.isEmpty
        {
            return core.now
        }
        var next = core.timers.nextExpiry ?? .never
        if core.metrics.connectionsOpen > 0 || areListenersResting {
            next = min(next, sweptAt.advanced(byNanoseconds: Self.sweepNanoseconds))
        }
        return next
    }

    private func handle(_ event: ReadyEvent) {
        if event.token >= Self.listenerTokens {
            accept(Int(event.token - Self.listenerTokens))
            return
        }
        guard let channel = channels[Int(event.token) - 1] else { return }
        if event.isWritable, channel.connection.wire.tls.outputCount > 0 { transmit(channel) }
        if event.isEnded || event.isBroken { channel.sawEnd = true }
        if event.isReadable || event.isBroken {
            channel.mayRead = true
            pump(channel)
        }
    }

    private func endHandlerTurn() {
        core.handlerWasCalled = false
        core.handler?.turnEnded()
    }

    private func runJobs() {
        let (jobs, controls) = mailbox.take()
        if !jobs.isEmpty, let handler = core.handler {
            // Several turns of the engine leave in one record.
            core.mayPush = jobs.count == 1
            for job in jobs { job.run(handler) }
            core.mayPush = false
        }
        for control in controls {
            switch control {
            case .reload(let new): reload(new)
            case .drain(let kept): beginDrain(kept)
            case .scrape(let scrape): scrape.add(core.snapshot())
            case .inspect(let inspection):
                inspection.add(
                    core.facts(for: inspection.question) { index in
                        guard let channel = channels[index] else { return (nil, nil) }
                        return (channel.socket.localAddress(), channel.socket.peerAddress())
                    })
            }
        }
    }

    // MARK: Accept

    /// Takes what waits; true when there may be more than one turn may take.
    @discardableResult
    private func accept(_ listener: Int) -> Bool {
        if areListenersResting { return false }
        for _ in 0..<core.limits.acceptsPerTurnMax {
            let accepted: Socket?
            do throws(SocketError) {
                // The listener is gone while a drain runs; an event of this turn may still name it.
                guard listener < listeners.count,
                    let socket = try listeners[listener].socket.accept()
                else { return false }
                accepted = consume socket
            } catch {
                restListeners()
                return false
            }
            guard let socket = accepted else { return false }
            add(socket, listeners[listener])
        }
        return true
    }

    /// No descriptors or memory: the queue holds who waits until a connection closes or, because it
    /// may be another thread's, a second has passed.
    ///
    /// Watched meanwhile it would be reported for ever.
    private func restListeners() {
        core.metrics.count(.descriptors)
        admission.noteWantOfDescriptors()
        areListenersResting = true
        for listener in listeners { loop.remove(listener.socket.descriptor) }
    }

    private func watchListeners() {
        guard areListenersResting else { return }
        areListenersResting = false
        for (index, listener) in listeners.enumerated() {
            do throws(SocketError) {
                try watch(listener, index)
            } catch {
                // No memory for that either: the next sweep tries again.
                areListenersResting = true
            }
        }
    }

    private func watch(_ listener: Listener, _ index: Int) throws(SocketError) {
        loop.remove(listener.socket.descriptor)
        try loop.add(
            listener.socket.descriptor, token: Self.listenerTokens + UInt64(index),
            .whileReadable)
    }

    private func add(_ socket: consuming Socket, _ listener: Listener) {
        let tls = contexts[listener.door]
        var refusal = admission.accept()
        if refusal == .unidentifiedConnections, evictTurnedAway() || evictOldHandshake() {
            core.metrics.count(.unidentifiedConnections)
            refusal = admission.accept()
        }
        if let refusal { return core.metrics.count(refusal) }
        var settings = HTTP2Settings()
        settings.concurrentStreamsMax = core.limits.concurrentStreamsMax
        settings.knowsBlocks = true
        let wire: Wire
        do {
            wire = Wire(
                try TLSSession(tls),
                try HTTP2Session(role: .server, settings: settings, pool: pool))
        } catch {
            // Memory ran out.
            admission.close(.unidentified)
            return
        }
        let connection = Connection(core, wire, admission, listener.audience)
        let descriptor = socket.descriptor
        let channel = Channel(socket, connection, listener.door, tls)
        while channels.count <= connection.index { channels.append(nil) }
        channels[connection.index] = channel
        do throws(SocketError) {
            try loop.add(descriptor, token: UInt64(connection.index) + 1, .onChange)
        } catch {
            close(channel)
        }
    }

    /// Makes room for a newcomer: one goes that was turned away, and has heard so by now.
    private func evictTurnedAway() -> Bool {
        let turnedAway = channels.lazy.compactMap { $0 }.first { $0.connection.isTurnedAway }
        guard let turnedAway else { return false }
        close(turnedAway)
        return true
    }

    /// Makes room for a newcomer: the oldest handshake goes that began a while ago.
    ///
    /// Without this, a hundred connections that say nothing, or something now and then, would keep
    /// everybody out for as long as a handshake may take. Those that wait for us are not touched.
    private func evictOldHandshake() -> Bool {
        let patience = UInt64(Limits.handshakePatienceMilliseconds) * 1_000_000
        let waiting = channels.lazy.compactMap { $0 }.filter {
            !$0.isQueuedForHandshake && $0.connection.wire.isHandshaking
                && self.core.now.nanoseconds(since: $0.connection.acceptedAt) > patience
        }
        guard let oldest = waiting.min(by: { $0.connection.acceptedAt < $1.connection.acceptedAt })
        else { return false }
        oldest.connection.end("another connection needs its place")
        close(oldest)
        return true
    }

    // MARK: In

    /// Reads and handles what a channel has, up to what one turn may bring.
    private func pump(_ channel: Channel) {
        let connection = channel.connection
        if connection.isEnding { return discard(channel) }
        if channel.hasLeftover {
            channel.hasLeftover = false
            if process(channel) { return }
        }
        // While a step of the handshake waits for its turn the peer waits: bytes would pile up.
        guard channel.mayRead, !connection.isEnding, !channel.isQueuedForHandshake else { return }
        if connection.wire.tls.outputCount >= core.limits.outputBytesMax {
            if !channel.isPaused { core.metrics.count(.outputBytes) }
            channel.isPaused = true
            return
        }
        switch channel.socket.read(into: &input) {
        case .bytes(let count):
            core.metrics.bytesReceived += UInt64(count)
            // A short read has emptied the socket, unless the end of the stream waits behind it.
            channel.mayRead = count == input.count || channel.sawEnd
            let bytes = input
            connection.wire.tls.receive(bytes.span.extracting(first: count))
            if connection.wire.isHandshaking {
                queueHandshake(channel)
            } else if process(channel) {
                return
            }
            if channel.mayRead { resume(channel) }
        case .wouldBlock:
            channel.mayRead = false
        case .ended:
            connection.end("the peer closed the connection")
            close(channel)
        case .failed:
            connection.end("the connection broke")
            close(channel)
        }
    }

    /// Handles decrypted bytes; true when some are left for the next turn.
    private func process(_ channel: Channel) -> Bool {
        switch channel.connection.process() {
        case .idle: return false
        case .more:
            channel.hasLeftover = true
            resume(channel)
            return true
        }
    }

    private func resume(_ channel: Channel) {
        guard !channel.isResumed else { return }
        channel.isResumed = true
        resumed.append(channel)
    }

    private func resumeChannels() {
        guard !resumed.isEmpty else { return }
        let waiting = resumed
        resumed.removeAll(keepingCapacity: true)
        // Not the same one first each time: those of one identity share what a turn may unpack.
        let first = Int(truncatingIfNeeded: core.metrics.turns) % waiting.count
        for place in waiting.indices {
            let channel = waiting[(first + place) % waiting.count]
            channel.isResumed = false
            if isCurrent(channel) { pump(channel) }
        }
    }

    private func isCurrent(_ channel: Channel) -> Bool {
        let index = channel.connection.index
        return channels[index] === channel
    }

    private func queueHandshake(_ channel: Channel) {
        guard !channel.isQueuedForHandshake else { return }
        channel.isQueuedForHandshake = true
        handshakes.append(channel)
    }

    /// Goes on with a few handshakes: each step costs as much as hundreds of calls.
    private func advanceHandshakes() {
        guard !handshakes.isEmpty else { return }
        let count = min(handshakes.count, core.limits.handshakeStepsPerTurnMax)
        let batch = Array(handshakes.prefix(count))
        handshakes.removeFirst(count)
        let start = clock.monotonicTime()
        for channel in batch {
            channel.isQueuedForHandshake = false
            guard isCurrent(channel) else { continue }
            if channel.connection.advanceHandshake(), !channel.connection.isEnding {
                // Begun under other trust: a revocation in between must not slip through.
                if channel.tls !== contexts[channel.door] { recheck(channel) }
                // The first requests may have come in the same segment.
                _ = process(channel)
            }
            if channel.mayRead { resume(channel) }
        }
        core.metrics.handshakeNanoseconds += clock.monotonicTime().nanoseconds(since: start)
    }

    // MARK: Trust

    /// Uses other certificates for new connections, and has the open ones judged by them.
    private func reload(_ new: [TLSContext]) {
        contexts = new
        rechecks.add(channels.compactMap { $0 }, at: core.now)
    }

    /// Judges a few: each costs as much as tens of calls.
    private func recheckPeers() {
        for channel in rechecks.take(at: core.now)
        where isCurrent(channel) && !channel.connection.wire.isHandshaking { recheck(channel) }
    }

    private func recheck(_ channel: Channel) {
        channel.tls = contexts[channel.door]
        channel.connection.recheck(under: channel.tls)
    }

    // MARK: Out

    private func flushAll() {
        var rounds = 0
        while !core.dirty.isEmpty, rounds < Self.flushRoundsMax {
            swap(&flushing, &core.dirty)
            for index in flushing {
                guard let channel = channels[index] else { continue }
                channel.connection.flush()
                transmit(channel)
            }
            flushing.removeAll(keepingCapacity: true)
            if core.handlerWasCalled { endHandlerTurn() }
            rounds += 1
        }
    }

    /// Writes what a connection has so far; whatever is wrong with it is found at the end of the
    /// turn, not in the middle of a handler's work.
    private func push(_ index: Int) {
        guard let channel = channels[index], channel.lingersSince == nil else { return }
        let connection = channel.connection
        connection.seal()
        guard connection.wire.tls.outputCount > 0 else { return }
        connection.wire.tls.withOutput { bytes in
            guard case .bytes(let count) = channel.socket.write(bytes) else { return 0 }
            core.metrics.bytesSent += UInt64(count)
            connection.sentAt = core.now
            return count
        }
    }

    /// Writes what waits to the socket; once, because a socket that took less is full.
    private func transmit(_ channel: Channel) {
        let connection = channel.connection
        let tls = connection.wire.tls
        if tls.outputCount > 0, channel.lingersSince == nil {
            var isBroken = false
            tls.withOutput { bytes in
                switch channel.socket.write(bytes) {
                case .bytes(let count):
                    core.metrics.bytesSent += UInt64(count)
                    connection.sentAt = core.now
                    return count
                case .wouldBlock: return 0
                case .ended, .failed:
                    isBroken = true
                    return 0
                }
            }
            if isBroken {
                connection.end("the connection broke")
                return close(channel)
            }
        } else {
            connection.sentAt = core.now
        }
        if connection.isEnding, !connection.mayLinger { return close(channel) }
        if tls.outputCount == 0 {
            if connection.isEnding { return linger(channel) }
            if connection.hasMoreOutput { connection.markDirty() }
        }
        if channel.isPaused, tls.outputCount < core.limits.outputBytesMax / 2 {
            channel.isPaused = false
            resume(channel)
        }
    }

    // MARK: End

    /// Shuts our side down and waits a little for the peer's, so that it reads our last words.
    ///
    /// Closing with unread input would make TCP destroy them. Source: RFC 9112 §9.6.
    private func linger(_ channel: Channel) {
        guard channel.lingersSince == nil else { return }
        channel.socket.endOutput()
        channel.lingersSince = core.now
        channel.mayRead = true
        discard(channel)
    }

    private func discard(_ channel: Channel) {
        guard channel.mayRead else { return }
        switch channel.socket.read(into: &input) {
        case .bytes:
            // The rest comes with the next event or is cut off by the sweep.
            resume(channel)
        case .wouldBlock: channel.mayRead = false
        case .ended, .failed: close(channel)
        }
    }

    private func close(_ channel: Channel) {
        guard isCurrent(channel) else { return }
        loop.remove(channel.socket.descriptor)
        channel.connection.remove()
        channels[channel.connection.index] = nil
        watchListeners()
    }

    private func sweep() {
        sweptAt = core.now
        watchListeners()
        for channel in channels {
            guard let channel else { continue }
            channel.connection.sweep()
            if channel.connection.isOverdue(lingersSince: channel.lingersSince) { close(channel) }
        }
        core.resetStalledStreams()
        core.shares.sweep(now: core.now)
        guard let drainingSince else { return }
        let grace = UInt64(core.limits.drainMillisecondsMax) * 1_000_000
        if core.now.nanoseconds(since: drainingSince) > grace {
            for channel in channels { channel?.connection.finishDrain() }
        }
    }

    private func beginDrain(_ kept: KeptListeners?) {
        guard drainingSince == nil else { return }
        drainingSince = core.now
        core.isDraining = true
        for channel in channels { channel?.connection.beginDrain() }
        areListenersResting = false
        for (index, listener) in listeners.enumerated() {
            // The kernel would reset those that wait in the queue when it goes. The manager's
            // stays, and so does one that is kept: for the process after us.
            if !listener.isManagers {
                if let kept { kept.keep(listener) } else { while accept(index) {} }
            }
            loop.remove(listener.socket.descriptor)
        }
        listeners = []
    }
}
