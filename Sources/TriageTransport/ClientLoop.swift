// The thread on which client connections live: sockets, time, and the order of a turn. Everything
// that concerns calls is on that thread; other threads post work to it.

import Synchronization
package import TriageBase
import TriageGzip
import TriageHTTP2
import TriageIO
package import TriageTLS

/// Work for a client loop's thread.
package typealias ClientWork = @Sendable (ClientLoopContext) -> Void

/// The handle of a client loop, for any thread.
package final class ClientLoop: Sendable {
    private struct Waiting: Sendable {
        var work: [ClientWork] = []
        /// The thread has taken its last work.
        var isOver = false

        /// Takes what waits.
        mutating func take() -> [ClientWork] {
            let taken = work
            work = []
            return taken
        }
    }

    private let waiting = Lock(Waiting())
    private let wakeUp: WakeUp
    private let thread = Mutex<Thread?>(nil)
    private let isStopping = Atomic<Bool>(false)
    private let clock: any TimeSource

    /// Makes a loop; ``start(name:cpu:)`` gives it its thread.
    ///
    /// - Parameter clock: Time; the system's outside of tests.
    /// - Throws: ``TransportError/socket(_:)`` when the kernel has no descriptors left.
    package init(clock: any TimeSource = SystemClock()) throws(TransportError) {
        do throws(SocketError) { wakeUp = try WakeUp() } catch { throw .socket(error) }
        self.clock = clock
    }

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - name: The thread's name.
    ///   - cpu: The only CPU that it may use; nil: any.
    /// - Throws: ``TransportError/socket(_:)`` when the system has no threads or descriptors left.
    package func start(name: String = "client", cpu: Int? = nil) throws(TransportError) {
        do throws(SocketError) {
            let ready = try Latch()
            let failed = FailureBox()
            let made = try Thread(name: name, cpu: cpu) { [self] in
                let context: ClientLoopContext
                do throws(SocketError) {
                    context = try ClientLoopContext(clock, wakeUp)
                } catch {
                    failed.error.withLock { $0 = error }
                    ready.arrive()
                    return
                }
                ready.arrive()
                run(context)
            }
            thread.withLock { $0 = made }
            _ = ready.wait(for: 1, milliseconds: -1)
            if let error = failed.error.withLock({ $0 }) { throw error }
        } catch {
            throw .socket(error)
        }
    }

    private final class FailureBox: Sendable {
        let error = Mutex<SocketError?>(nil)
    }

    /// The clock as it stands now, for deadlines of calls; for any thread.
    package var now: MonotonicTime { clock.monotonicTime() }

    /// Runs `work` on the loop's thread, soon.
    ///
    /// - Returns: False when the loop has stopped: `work` will never run.
    @discardableResult package func post(_ work: @escaping ClientWork) -> Bool {
        let isTaken = waiting.withLock { waiting in
            if waiting.isOver { return false }
            waiting.work.append(work)
            return true
        }
        if isTaken { wakeUp.wake() }
        return isTaken
    }

    /// Lets the thread end as ``stop()``, without waiting for it.
    package func end() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        wakeUp.wake()
    }

    /// Closes all connections, runs the work that still waits, ends the thread and waits for it;
    /// not to be called on it.
    package func stop() {
        end()
        thread.withLock { $0.take() }?.join()
    }

    private func run(_ context: ClientLoopContext) {
        while !isStopping.load(ordering: .sequentiallyConsistent) {
            context.turn(
                isIdle: {
                    waiting.withLock { $0.work.isEmpty }
                        && !isStopping.load(ordering: .sequentiallyConsistent)
                },
                work: {
                    for work in waiting.withLock({ $0.take() }) { work(context) }
                })
        }
        context.closeAll()
        // Whoever waits for an answer to what it has posted gets one: that there is no connection.
        while true {
            let last = waiting.withLock { waiting in
                waiting.isOver = waiting.work.isEmpty
                return waiting.take()
            }
            if last.isEmpty { return }
            for work in last { work(context) }
        }
    }
}

/// A client connection and its socket.
private final class ClientChannel {
    let socket: Socket
    let connection: ClientConnection
    let deadline: MonotonicTime
    var isConnected = false
    var mayRead = false
    var sawEnd = false

    init(_ socket: consuming Socket, _ connection: ClientConnection, deadline: MonotonicTime) {
        self.socket = socket
        self.connection = connection
        self.deadline = deadline
    }
}

/// What a client loop offers to those who run on its thread.
///
/// - Isolation: confined to the loop's thread.
package final class ClientLoopContext {
    /// The clock as it stood when the turn began.
    package private(set) var now: MonotonicTime
    var dirty: [ClientConnection] = []
    var ending: [ClientConnection] = []

    /// Packs and unpacks the messages of all calls.
    ///
    /// Whom a client calls it trusts further than a server its clients: any ratio within a message.
    let gzip = MessageGzip(
        InflateLimits(
            bytesMax: ClientMethod.replyBytesMax, ratioMax: Limits.inflateRatioMax,
            ratioFreeBytes: Limits.messageBytesMax))

    private let clock: any TimeSource
    private let loop: EventLoop
    private let pool = HTTP2Memory()
    private var channels: [ClientChannel?] = []
    private var resumed: [Int] = []
    private var input = [UInt8](repeating: 0, count: 64 << 10)
    private var plaintext = [UInt8](repeating: 0, count: 16 << 10)
    private let staging = FrameBuffer()
    private var turnHook: (() -> MonotonicTime)?
    private var hookAt = MonotonicTime.never
    private var isStopping = false

    init(_ clock: any TimeSource, _ wakeUp: WakeUp) throws(SocketError) {
        self.clock = clock
        now = clock.monotonicTime()
        loop = try EventLoop(wakeUp)
    }

    /// The clock as it stands now; ``now`` is cheaper and good enough for most.
    package var preciseNow: MonotonicTime { clock.monotonicTime() }

    /// Calls `hook` once a turn, before anything is sent; it returns when it wants to be called
    /// next at the latest.
    ///
    /// What it starts in one turn leaves in one write a connection.
    package func setTurnHook(_ hook: (() -> MonotonicTime)?) {
        turnHook = hook
        hookAt = now
    }

    /// Starts to connect.
    ///
    /// - Parameters:
    ///   - address: IPv4 or IPv6 literal; see `Socket.resolveAll`.
    ///   - port: The server's port.
    ///   - tls: Our certificate, the server's name and whom to trust.
    ///   - tag: The owner's number for the connection.
    ///   - timeoutMilliseconds: How long it may take to become ready.
    ///   - keepalive: After which silence to ask the server for a sign of life; nil: never.
    ///   - receiver: Hears what becomes of it.
    /// - Returns: The connection; calls may be started at once and leave when it is ready.
    /// - Throws: ``TransportError`` when the attempt fails at once.
    package func connect(
        address: String, port: UInt16, tls: TLSContext, tag: Int = 0,
        timeoutMilliseconds: Int64 = 20_000, keepalive: KeepaliveTimes? = nil,
        receiver: any ClientConnectionReceiver
    ) throws(TransportError) -> ClientConnection {
        guard !isStopping else { throw .closed("the client is closed") }
        let wire: Wire
        do throws(TLSError) {
            let session = try TLSSession(tls)
            guard let http2 = try? HTTP2Session(role: .client, pool: pool) else {
                throw TLSError.unavailable("memory ran out")
            }
            wire = Wire(session, http2)
        } catch {
            throw .tls(error)
        }
        let index = channels.firstIndex { $0 == nil } ?? channels.count
        let connection = ClientConnection(
            wire, self, Endpoint(host: address, port: port), index: index, tag: tag, keepalive,
            receiver)
        do throws(SocketError) {
            let socket = try Socket.connect(host: address, port: port)
            let descriptor = socket.descriptor
            let channel = ClientChannel(
                socket, connection,
                deadline: now.advanced(
                    byNanoseconds: UInt64(timeoutMilliseconds) * 1_000_000))
            if index == channels.count { channels.append(nil) }
            channels[index] = channel
            try loop.add(descriptor, token: UInt64(index), .onChange)
        } catch {
            if index < channels.count { channels[index] = nil }
            throw .socket(error)
        }
        return connection
    }

    // MARK: A turn

    func turn(isIdle: () -> Bool, work: () -> Void) {
        let count = loop.wait(
            until: waitsUntil(), now: clock.monotonicTime(), isIdle: isIdle)
        now = clock.monotonicTime()
        for position in 0..<count { handle(loop.event(position)) }
        let waiting = resumed
        resumed.removeAll(keepingCapacity: true)
        for index in waiting {
            if let channel = channels[index] { read(index, channel) }
        }
        work()
        expire()
        if let turnHook { hookAt = turnHook() }
        flush()
    }

    private func waitsUntil() -> MonotonicTime {
        if !resumed.isEmpty || !dirty.isEmpty { return now }
        var next = hookAt
        for channel in channels {
            guard let channel else { continue }
            next = min(next, channel.connection.nextExpiry)
            if channel.connection.state == .connecting { next = min(next, channel.deadline) }
        }
        return next
    }

    private func handle(_ event: ReadyEvent) {
        let index = Int(event.token)
        guard let channel = channels[index] else { return }
        if !channel.isConnected, event.isWritable || event.isBroken {
            let code = channel.socket.takeError()
            guard code == 0, !event.isBroken else {
                return channel.connection.end(
                    .socket(SocketError(operation: "connect", errno: code)))
            }
            channel.isConnected = true
            // The first flight of the handshake needs no input.
            process(channel)
        }
        if event.isWritable { transmit(channel) }
        if event.isEnded || event.isBroken { channel.sawEnd = true }
        if event.isReadable || event.isBroken {
            channel.mayRead = true
            read(index, channel)
        }
    }

    private func read(_ index: Int, _ channel: ClientChannel) {
        guard channel.mayRead, channel.connection.state != .closed else { return }
        switch channel.socket.read(into: &input) {
        case .bytes(let count):
            channel.mayRead = count == input.count || channel.sawEnd
            let bytes = input
            channel.connection.wire.tls.receive(bytes.span.extracting(first: count))
            channel.connection.heard()
            process(channel)
            if channel.mayRead { resumed.append(index) }
        case .wouldBlock: channel.mayRead = false
        case .ended: channel.connection.end(.closed("the server closed the connection"))
        case .failed(let code):
            channel.connection.end(.socket(SocketError(operation: "recv", errno: code)))
        }
    }

    private func process(_ channel: ClientChannel) {
        var buffer: [UInt8] = []
        swap(&buffer, &plaintext)
        channel.connection.process(&buffer)
        swap(&buffer, &plaintext)
    }

    private func expire() {
        for channel in channels {
            guard let channel else { continue }
            channel.connection.expireCalls()
            channel.connection.askIfSilent()
            if channel.connection.state == .connecting, now >= channel.deadline {
                channel.connection.end(.timedOut)
            }
        }
    }

    private func flush() {
        var flushing: [ClientConnection] = []
        swap(&flushing, &dirty)
        for connection in flushing {
            connection.flush(staging)
            if let channel = channels[connection.index] { transmit(channel) }
        }
        flushing.removeAll(keepingCapacity: true)
        if dirty.isEmpty { swap(&flushing, &dirty) }
        guard !ending.isEmpty else { return }
        let ended = ending
        ending = []
        for connection in ended {
            channels[connection.index] = nil
        }
    }

    private func transmit(_ channel: ClientChannel) {
        let tls = channel.connection.wire.tls
        guard channel.isConnected else { return }
        if tls.outputCount > 0 {
            var failure: Int32?
            tls.withOutput { bytes in
                switch channel.socket.write(bytes) {
                case .bytes(let count): return count
                case .wouldBlock, .ended: return 0
                case .failed(let code):
                    failure = code
                    return 0
                }
            }
            if let failure {
                return channel.connection.end(
                    .socket(SocketError(operation: "send", errno: failure)))
            }
        }
        if tls.outputCount == 0, channel.connection.hasMoreOutput { channel.connection.markDirty() }
    }

    func closeAll() {
        isStopping = true
        for channel in channels { channel?.connection.close() }
        flush()
    }
}
