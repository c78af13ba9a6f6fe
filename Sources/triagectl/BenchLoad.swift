// The load generator: many calls in flight on several connections, all on one client loop's thread,
// so that one core of client loads one core of server. Knows nothing of what the calls mean.

internal import Histogram
internal import Synchronization
internal import TriageBase
internal import TriageClient
internal import TriageGRPC
internal import TriageTransport

/// How to load.
struct LoadPlan: Sendable {
    var connections: Int
    /// Calls in flight a connection.
    var streams: Int
    /// Measured span; nil: until `callsMax`.
    var seconds: Double?
    var warmup: Double
    var callsMax: Int?
    /// Calls a second, open loop; nil: closed loop.
    var rate: Double?
    /// Closed loop: whether the loop's thread asks for events without ever sleeping.
    var busyPoll: Bool
}

/// What a load measured.
struct LoadResult: Sendable {
    var calls = 0
    var errors = 0
    var firstError: String?
    var seconds = 0.0
    /// Nanoseconds.
    var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
}

/// Gives the calls of a load; confined to its loop's thread.
protocol CallSource: Sendable {
    /// `/package.Service/Method`.
    var path: String { get }
    /// The serialised request of call `number`, counted from 0.
    func message(_ number: Int) -> [UInt8]
}

/// One run of a load.
///
/// `@unchecked Sendable`: made before the loop starts, and from then on touched on its thread only,
/// but for `continuation`'s result.
final class LoadRun: @unchecked Sendable {
    private let plan: LoadPlan
    private let source: any CallSource
    private let method: ClientMethod
    private let finished: CheckedContinuation<Result<LoadResult, RPCError>, Never>
    private var context: ClientLoopContext?
    private var connections: [ClientConnection] = []
    private var starts: [MonotonicTime]
    private var free: [Int] = []
    private var readyCount = 0
    private var started = 0
    private var inFlight = 0
    private var measureFrom = MonotonicTime.never
    private var measureUntil = MonotonicTime.never
    private var nextDue = MonotonicTime.never
    private var result = LoadResult()
    private var isOver = false
    private var lastEnd = MonotonicTime(nanoseconds: 0)

    private init(
        _ plan: LoadPlan, _ source: any CallSource, authority: String,
        _ finished: CheckedContinuation<Result<LoadResult, RPCError>, Never>
    ) {
        self.plan = plan
        self.source = source
        self.finished = finished
        method = ClientMethod(path: source.path, authority: authority)
        starts = Array(
            repeating: MonotonicTime(nanoseconds: 0), count: plan.connections * plan.streams)
    }

    /// Loads a server and waits for the end.
    ///
    /// - Throws: ``CallFailure`` when no connection can be made.
    static func run(
        _ plan: LoadPlan, _ source: any CallSource, _ client: ClientConfiguration
    ) async throws -> LoadResult {
        let loop: ClientLoop
        let endpoint: ClientEndpoint
        do {
            endpoint = try client.endpoint()
        } catch {
            throw CallFailure(error: error)
        }
        do {
            loop = try ClientLoop()
            try loop.start(name: "bench")
        } catch {
            throw CallFailure(
                error: RPCError(.unavailable, reason: "CLIENT_START", message: "\(error)"))
        }
        defer { loop.stop() }
        let result = await withCheckedContinuation { continuation in
            let run = LoadRun(plan, source, authority: "\(endpoint.name)", continuation)
            loop.post { run.connect($0, endpoint) }
        }
        switch result {
        case .success(let result): return result
        case .failure(let error): throw CallFailure(error: error)
        }
    }

    private func connect(_ context: ClientLoopContext, _ endpoint: ClientEndpoint) {
        self.context = context
        for tag in 0..<plan.connections {
            do throws(TransportError) {
                connections.append(
                    try context.connect(endpoint, tag: tag, receiver: self))
            } catch {
                return fail("\(error)")
            }
        }
    }

    private func begin() {
        guard let context else { return }
        let now = context.preciseNow
        measureFrom = now.advanced(byNanoseconds: UInt64(plan.warmup * 1e9))
        if let seconds = plan.seconds {
            measureUntil = measureFrom.advanced(byNanoseconds: UInt64(seconds * 1e9))
        }
        free = Array(starts.indices.reversed())
        if plan.rate != nil {
            nextDue = now
            context.setTurnHook { [unowned self] in startDue() }
        } else {
            // A hook that is due at once keeps the loop from sleeping.
            if plan.busyPoll { context.setTurnHook { [unowned context] in context.now } }
            while let slot = free.popLast() { start(slot, intended: now) }
        }
    }

    /// Starts what is due; with nothing free the due time stays, and counts against the server.
    private func startDue() -> MonotonicTime {
        guard let context, let rate = plan.rate, !isOver else { return .never }
        let interval = UInt64(1e9 / rate)
        let now = context.preciseNow
        if now >= measureUntil {
            if inFlight == 0 { finish() }
            return inFlight == 0 ? .never : now.advanced(byNanoseconds: 1_000_000)
        }
        while nextDue <= now, let slot = free.popLast() {
            start(slot, intended: nextDue)
            nextDue = nextDue.advanced(byNanoseconds: interval)
        }
        return max(nextDue, now)
    }

    private func start(_ slot: Int, intended: MonotonicTime) {
        starts[slot] = intended
        let connection = connections[slot / plan.streams]
        let message = source.message(started)
        guard connection.call(method, message, tag: slot, receiver: self) != nil else {
            return fail("a connection takes no further calls")
        }
        started += 1
        inFlight += 1
    }

    private func fail(_ what: String) {
        guard !isOver else { return }
        isOver = true
        finished.resume(
            returning: .failure(RPCError(.unavailable, reason: "CONNECTION_LOST", message: what)))
    }

    private func finish() {
        guard !isOver else { return }
        isOver = true
        let end = min(measureUntil, lastEnd)
        result.seconds = Double(end.nanoseconds(since: measureFrom)) / 1e9
        finished.resume(returning: .success(result))
    }
}

extension LoadRun: ClientCallReceiver {
    func messageReceived(_ call: ClientCall, _ tag: Int, _ message: Span<UInt8>) {}

    func callWritable(_ call: ClientCall, _ tag: Int) {}

    func callEnded(_ call: ClientCall, _ tag: Int, _ end: ClientCallEnd) {
        guard let context, !isOver else { return }
        let now = context.preciseNow
        inFlight -= 1
        if now >= measureFrom, now < measureUntil {
            result.calls += 1
            lastEnd = now
            result.latency.record(max(1, now.nanoseconds(since: starts[tag])))
        }
        if let error = end.error {
            result.errors += 1
            if result.firstError == nil { result.firstError = "\(error.reason): \(error.message)" }
        }
        let isDone = now >= measureUntil || started >= plan.callsMax ?? .max
        if plan.rate != nil {
            free.append(tag)
        } else if isDone {
            if inFlight == 0 { finish() }
        } else {
            start(tag, intended: now)
        }
    }
}

extension LoadRun: ClientConnectionReceiver {
    func connectionReady(_ connection: ClientConnection) {
        readyCount += 1
        if readyCount == plan.connections { begin() }
    }

    func connectionDraining(_ connection: ClientConnection) {
        fail("the server drains")
    }

    func connectionEnded(_ connection: ClientConnection, _ error: TransportError) {
        fail("\(error)")
    }
}
