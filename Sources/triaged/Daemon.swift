// The service's life: open the data, bind the ports, serve, reload on SIGHUP, hand over on SIGUSR2,
// drain on SIGTERM. Joins the state half and the wire half; decides nothing about cases or calls.

internal import Logging
internal import TriageBase
internal import TriageCrypto
internal import TriageEngine
internal import TriageGRPC
internal import TriageIO
internal import TriageJournal
internal import TriageServices
internal import TriageTLS
internal import TriageTransport

/// A started service.
final class Daemon {
    private let configuration: ServeConfiguration
    private let log: Logger
    private let policy: PolicyStore
    private let health: HealthState
    private let engine: Engine
    private let server: Server
    private let admin: AdminListener
    private let trust: Trust
    private var room = ScarcityWatch(
        nothingLeft: "no room for the next journal segment: writes are refused until there is",
        enough: "no write is refused for want of room")
    private var descriptors = ScarcityWatch(
        nothingLeft: "no descriptor or memory for another connection; raise LimitNOFILE",
        enough: "everybody who connects is accepted")
    /// Asks for keys; nil until that is wanted.
    private var keyWorker: (any Worker)?

    /// Serves until a signal ends it.
    ///
    /// - Parameter configuration: Checked settings.
    /// - Returns: The process's exit code.
    /// - Throws: `ConfigurationError` or ``StartError`` when it cannot start.
    static func run(_ configuration: ServeConfiguration) throws -> Int32 {
        Limits.assertRelations()
        CoreFiles.forbid()
        Heap.keepFreedMemory()
        TLSMemory.keepFreed()
        // Before any thread: all of them inherit what is blocked here.
        SignalSource.ignoreBrokenPipes()
        let signals: SignalSource
        do {
            signals = try SignalSource([
                SignalSource.terminate, SignalSource.interrupt, SignalSource.hangUp,
                SignalSource.handOver,
            ])
        } catch {
            throw StartError(description: "signals cannot be received: \(error)", exitCode: 71)
        }
        let daemon: Daemon
        if Handover.isSuccessor() {
            // The manager has been watching since the first process said that it was ready.
            daemon = try ServiceManager.alive { () throws in try Daemon(configuration) }
        } else {
            daemon = try Daemon(configuration)
        }
        try daemon.start()
        switch daemon.serve(until: signals) {
        case .stop: return daemon.stop(signals)
        case .handOver: return daemon.handOver()
        }
    }

    /// How serving ends.
    private enum End {
        case stop, handOver
    }

    private init(_ configuration: ServeConfiguration) throws {
        self.configuration = configuration
        let level = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        let log = Logger(label: "triaged") { JSONLogHandler(label: $0, level: level) }
        self.log = log
        policy = PolicyStore(try PolicyFile.read(path: configuration.policyPath))
        let (trust, contexts) = try Trust.load(configuration.doors, log)
        self.trust = trust
        let health = HealthState()
        self.health = health
        let keys = try configuration.keys.load()
        engine = try Self.openEngine(configuration, keys, health, log)
        let services = ServiceFactory(
            engine: engine, policy: policy, health: health, version: Build.version)
        var serving = ServerConfiguration(
            host: configuration.doors[0].listen.host, port: configuration.doors[0].listen.port,
            reactorCount: configuration.reactorCount, tls: contexts[0], methods: services.methods)
        serving.listeners = zip(configuration.doors, contexts).map { door, context in
            ServerListener(
                host: door.listen.host, port: door.listen.port, tls: context,
                audience: door.audience, inherited: door.inherited)
        }
        serving.limits.connectionsMax = Self.connections(Descriptors.raiseLimit(), log)
        serving.limits.ageMillisecondsMax = configuration.connectionAgeMilliseconds
        serving.limits.callsPerSecondPerIdentity = configuration.identityCallsPerSecond
        serving.limits.callBurstPerIdentity = configuration.identityCallsPerSecond
        do {
            server = try Server(serving, factory: services, clock: SystemClock())
            services.attach(server)
            admin = try AdminListener(
                host: configuration.admin.host, port: configuration.admin.port,
                routes: Metrics.routes(
                    server: server, engine: engine, methods: services.methods, health: health,
                    trust: trust.status))
        } catch {
            throw StartError(description: "\(error)", exitCode: 71)
        }
    }

    /// How many connections there are descriptors for, beside everything else.
    private static func connections(_ descriptors: Int, _ log: Logger) -> Int {
        let count = descriptors - Limits.descriptorsReserved
        if count >= Limits.connectionsMax { return Limits.connectionsMax }
        let served = max(count, Limits.connectionsMin)
        log.warning(
            "too few descriptors: fewer connections are served; raise LimitNOFILE",
            metadata: [
                "descriptors": "\(descriptors)", "connections": "\(served)",
                "descriptors_needed": "\(Limits.connectionsMax + Limits.descriptorsReserved)",
            ])
        return served
    }

    private static func openEngine(
        _ configuration: ServeConfiguration, _ keys: KeySource?, _ health: HealthState,
        _ log: Logger
    ) throws -> Engine {
        var settings = EngineConfiguration()
        settings.snapshotRecords = configuration.snapshotRecords
        settings.snapshotMilliseconds = configuration.snapshotMilliseconds
        settings.headMilliseconds = configuration.headMilliseconds
        var storage = StorageOptions()
        storage.snapshotsKept = configuration.snapshotsKept
        storage.journalRetention = configuration.journalRetention
        do {
            return try Engine.open(
                configuration.dataDirectory, storage: storage, keys: keys,
                configuration: settings,
                journalFailed: { error in
                    // Final: nothing more is acknowledged until an operator has looked and
                    // restarted.
                    health.set(serving: false)
                    log.critical(
                        "journal failed; writes are refused", metadata: ["error": "\(error)"])
                },
                reloadFailed: { error in
                    log.error(
                        "the stored state was not read back; lists stay as they are",
                        metadata: ["error": "\(error)"])
                },
                housekeepingFailed: { error in
                    log.error(
                        "the journal's mark or leaves were not written; they are tried again",
                        metadata: ["error": "\(error)"])
                }, snapshotEnded: { Self.note($0, log) },
                vaultFailed: { error in
                    log.error("the vault failed", metadata: ["error": "\(error)"])
                },
                auditFailed: { error in
                    log.error(
                        "no head signed, or no proof made", metadata: ["error": "\(error)"])
                },
                backupFailed: { error in
                    log.error("no backup made", metadata: ["error": "\(error)"])
                })
        } catch EngineError.storage(let error) where error.isAboutKeys {
            throw ConfigurationError("\(error)")
        } catch {
            throw StartError(description: "\(error)", exitCode: error.isDamage ? 65 : 74)
        }
    }

    /// Logs what became of a snapshot.
    private static func note(_ result: SnapshotResult, _ log: Logger) {
        switch result {
        case .taken(let receipt):
            log.info(
                "snapshot taken",
                metadata: [
                    "sequence": "\(receipt.sequence)", "bytes": "\(receipt.bytes)",
                    "milliseconds": "\(receipt.durationMilliseconds)",
                ])
        case .failed(let error):
            log.error("no snapshot taken", metadata: ["error": "\(error)"])
        case .forgotten(let forgotten):
            guard !forgotten.segments.isEmpty else { return }
            log.info(
                "erased words taken out of the journal",
                metadata: [
                    "records": "\(forgotten.records)", "segments": "\(forgotten.segments.count)",
                    "reports_waiting": "\(forgotten.waiting)",
                ])
        case .forgetFailed(let error):
            log.error(
                "erased words are still in the journal; the next snapshot tries again",
                metadata: ["error": "\(error)"])
        case .tidied(let tidied):
            if !tidied.leaves.isEmpty {
                log.info(
                    "leaves made that could not be written before",
                    metadata: ["files": "\(tidied.leaves.joined(separator: " "))"])
            }
            guard !tidied.segments.isEmpty else { return }
            log.info(
                "journal segments retired",
                metadata: [
                    "segments": "\(tidied.segments.joined(separator: " "))",
                    "first_sequence": "\(tidied.holdings.firstSequence)",
                ])
        case .tidyFailed(let error):
            log.error(
                "the data directory could not be tidied; the next snapshot tries again",
                metadata: ["error": "\(error)"])
        }
    }

    private func start() throws {
        // Nobody can ask yet; later it would hide a journal that fails in the first turn.
        health.set(serving: true)
        engine.start()
        do {
            try server.start()
            try admin.start()
        } catch {
            throw StartError(description: "\(error)", exitCode: 71)
        }
        let addresses = zip(configuration.doors, server.ports).map {
            Endpoint(host: $0.listen.host, port: $1)
        }
        let adminAddress = Endpoint(host: configuration.admin.host, port: admin.port)
        let recovery = engine.status.recovery
        log.info(
            "serving",
            metadata: [
                "address": "\(addresses.map(\.description).joined(separator: " "))",
                "admin": "\(adminAddress)", "version": "\(Build.version)",
                "recovery_ms": "\(recovery.milliseconds)",
                "records_replayed": "\(recovery.recordsReplayed)",
            ])
        if !recovery.report.isEmpty {
            log.warning("recovery repaired the data", metadata: ["report": "\(recovery.report)"])
        }
        if engine.keys == nil {
            log.warning("the data on disk is not encrypted: see --key-file in the runbook")
        }
        trust.warn(at: SystemClock().wallTime())
        ServiceManager.notify("READY=1")
        // The first line is the internal door's; scripts wait for it.
        StandardStream.output.write("listening \(addresses[0])\n")
        for (door, address) in zip(configuration.doors, addresses).dropFirst() {
            StandardStream.output.write("listening \(door.audience) \(address)\n")
        }
    }

    private func serve(until signals: borrowing SignalSource) -> End {
        let watchdog = ServiceManager.watchdogMilliseconds()
        let pause = Int32(clamping: min(Self.lookMilliseconds, watchdog ?? .max))
        var rehearsal: Rehearsal?
        var looked = SystemClock().monotonicTime()
        while true {
            let wait = rehearsal == nil ? pause : min(pause, Rehearsal.lookMilliseconds)
            switch signals.next(waitMilliseconds: wait) {
            case SignalSource.hangUp?: reload()
            case SignalSource.handOver?: rehearsal = rehearsal ?? beginRehearsal()
            case nil:
                let now = SystemClock().monotonicTime()
                if rehearsal == nil || now.nanoseconds(since: looked) >= UInt64(pause) * 1_000_000 {
                    looked = now
                    lookAround(alive: watchdog != nil)
                }
            default: return .stop
            }
            guard let verdict = rehearsal?.verdict else { continue }
            rehearsal = nil
            guard case .unfit(let trouble) = verdict else { return .handOver }
            log.error("not handed over; this process goes on", metadata: ["error": "\(trouble)"])
        }
    }

    /// How often files are looked at: revocation is to hold within 10 s.
    private static let lookMilliseconds: Int64 = 1_000

    /// What is done now and then.
    private func lookAround(alive: Bool) {
        if trust.isDue(at: SystemClock().monotonicTime()) { reloadTrust() }
        trust.warn(at: SystemClock().wallTime())
        room.look(engine.status.counters.storageFull, log)
        descriptors.look(server.wantsOfDescriptors, log)
        // Only reactors that answer are alive.
        if alive, server.scrape() != nil { ServiceManager.notify("WATCHDOG=1") }
    }

    /// Reads policy and certificates again; either stays as it was when its file has an error.
    private func reload() {
        let since = SystemClock().monotonicTime().nanoseconds / 1_000
        ServiceManager.notify("RELOADING=1\nMONOTONIC_USEC=\(since)")
        do {
            policy.replace(try PolicyFile.read(path: configuration.policyPath))
            log.info("policy reloaded")
        } catch {
            log.error("policy not reloaded; the old one stays", metadata: ["error": "\(error)"])
        }
        reloadTrust()
        reloadKeys()
        ServiceManager.notify("READY=1")
    }

    /// Wraps the directory's keys with the key that is configured now, if it is another one.
    ///
    /// Beside everything else: whoever is asked for the key may take its time.
    private func reloadKeys() {
        guard let ring = engine.keys, configuration.keys.isGiven else { return }
        do {
            let worker = try keyWorker ?? SystemWorkers().makeWorker(name: "keys", urgency: .normal)
            keyWorker = worker
            worker.submit { [keys = configuration.keys, log] in Self.reload(keys, ring, log) }
        } catch {
            Self.keysStay(error, log)
        }
    }

    private static func reload(_ keys: KeyMaterial, _ ring: KeyRing, _ log: Logger) {
        do {
            guard let source = try keys.load() else { return }
            var random = RandomBytes()
            let before = ring.kek
            let time = SystemClock().wallTime()
            guard try ring.rotate(to: source.current, time: time, random: &random) else { return }
            log.info("keys wrapped anew", metadata: ["from": "\(before)", "to": "\(ring.kek)"])
        } catch {
            keysStay(error, log)
        }
    }

    private static func keysStay(_ error: any Error, _ log: Logger) {
        log.error(
            "keys not wrapped anew; the key before stays in force: keep it",
            metadata: ["error": "\(error)"])
    }

    private func reloadTrust() {
        let contexts = trust.reload(at: SystemClock().monotonicTime())
        if let contexts { server.reload(tls: contexts) }
    }

    // MARK: End

    private func stop(_ signals: borrowing SignalSource) -> Int32 {
        log.info("draining")
        ServiceManager.notify("STOPPING=1")
        health.set(serving: false)
        goOnAccepting(until: signals)
        server.beginDrain()
        if let code = end() { return code }
        log.info("stopped")
        return 0
    }

    /// Serves on for a while, not ready: whoever chooses servers by that has to hear of it first.
    ///
    /// Ends early at a second signal to stop; another one changes nothing any more.
    private func goOnAccepting(until signals: borrowing SignalSource) {
        let clock = SystemClock()
        let end = clock.monotonicTime().advanced(
            byNanoseconds: UInt64(configuration.drainWaitMilliseconds) * 1_000_000)
        let watchdog = ServiceManager.watchdogMilliseconds()
        let pause = min(Self.lookMilliseconds, watchdog ?? .max)
        while true {
            let now = clock.monotonicTime()
            guard now < end else { return }
            let left = Int64(clamping: end.nanoseconds(since: now) / 1_000_000) + 1
            switch signals.next(waitMilliseconds: Int32(clamping: min(pause, left))) {
            case SignalSource.terminate?, SignalSource.interrupt?: return
            case nil: lookAround(alive: watchdog != nil)
            default: continue
            }
        }
    }

    /// Waits for the drain and lets go of the data; an exit code when the journal has failed.
    private func end() -> Int32? {
        server.waitUntilStopped()
        engine.stop()
        admin.stop()
        guard engine.status.state == .journalFailed else { return nil }
        log.critical("stopped after the journal failed; see the runbook before a restart")
        return 70
    }

    /// Finds out whether the program, as it is on disk now, would serve with the settings as they
    /// are now; nil when there is no thread for it.
    private func beginRehearsal() -> Rehearsal? {
        var words = CommandLine.arguments
        if let verb = words.firstIndex(of: "serve") { words[verb] = "check-config" }
        do {
            return try Rehearsal(
                words, telling: addressesHeld, milliseconds: Self.rehearsalMilliseconds)
        } catch {
            log.error("not handed over; this process goes on", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Finishes what is in flight and becomes the successor, which finds everybody who has
    /// connected meanwhile in the sockets.
    ///
    /// Health stays what it is: nobody is to go elsewhere.
    private func handOver() -> Int32 {
        log.info("handing over")
        let since = SystemClock().monotonicTime().nanoseconds / 1_000
        ServiceManager.notify("RELOADING=1\nMONOTONIC_USEC=\(since)")
        server.beginDrain(keepingSockets: true)
        // A failed journal is not for a successor to find out.
        if let code = ServiceManager.alive(during: end) { return code }
        let error = Handover.become(
            CommandLine.arguments,
            leaving: server.keptSockets(named: configuration.doors.map(\.nameOfSockets)))
        log.critical("the successor could not be started", metadata: ["error": "\(error)"])
        return 71
    }

    /// What a successor need not open, or finds free: see `CheckConfigCommand`.
    private var addressesHeld: [String] {
        let doors = zip(configuration.doors, server.ports).flatMap { door, port in
            [door.isManagers ? "\(door.audience)" : door.nameOfSockets, ":\(port)"]
        }
        return doors + [configuration.nameOfAdmin, ":\(admin.port)"]
    }

    /// A start may wait as long for its key, and reads for a moment what else it needs.
    private static let rehearsalMilliseconds = Int32(KeyMaterial.commandMilliseconds) + 5_000
}

/// Logs when something has run out, and when there is enough again: once each, however often
/// somebody was refused meanwhile.
private struct ScarcityWatch {
    /// Looks in a row without a refusal after which there is enough.
    private static let quietLooks = 10

    let nothingLeft: Logger.Message
    let enough: Logger.Message
    private var refused: UInt64 = 0
    private var looksSince = quietLooks

    init(nothingLeft: Logger.Message, enough: Logger.Message) {
        self.nothingLeft = nothingLeft
        self.enough = enough
    }

    /// Takes a look at how often somebody was refused so far.
    mutating func look(_ count: UInt64, _ log: Logger) {
        if count > refused {
            if looksSince >= Self.quietLooks {
                log.error(nothingLeft)
            }
            looksSince = 0
        } else if looksSince < Self.quietLooks {
            looksSince += 1
            if looksSince == Self.quietLooks { log.info(enough) }
        }
        refused = count
    }
}
