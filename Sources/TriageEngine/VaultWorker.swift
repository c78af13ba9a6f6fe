// The vault's own thread: takes what the services ask for, one piece after the other, and tells the
// reactor that asked. Owns the vault; knows no case, no role and no message.

package import TriageBase
package import TriageCodec
package import TriageCrypto
package import TriageDomain
package import TriageIO
package import TriageJournal

/// What a call asks of the vault.
package enum VaultRequest: Sendable {
    /// Begins to put an object of that many bytes, for whom. Answered by `.ready`.
    case begin(size: Int, Principal)
    /// The next bytes of it; not more than were announced. Answered by `.ready`.
    case append([UInt8])
    /// Makes it durable, unless its SHA-256 is another than expected. Answered by `.stored`.
    case finish(expected: Digest?)
    /// Opens an object for reading, for whom. Answered by `.opened`.
    case open(ObjectName, Principal)
    /// The next bytes of it. Answered by `.chunk`, or `.ended`.
    case next
    /// Destroys an object. Answered by `.erased`.
    case erase(ObjectName)
    /// Gives up what the call has begun. No answer.
    case cancel
}

/// What the vault answers a call.
package enum VaultReply: Sendable {
    /// More may come.
    case ready
    /// The object is on disk, under that name; with the SHA-256 of its plaintext.
    case stored(ObjectName, sha256: Digest)
    /// The object is there.
    case opened
    /// 1 to 65,536 verified bytes.
    case chunk([UInt8])
    /// There are no more.
    case ended
    /// The object's key and bytes are gone.
    case erased
    /// It could not be done; what the call had begun is given up.
    case failed(VaultFailure)
}

/// Why the vault could not do what a call asked.
package enum VaultFailure: Error, Equatable, Sendable {
    /// As many objects are being put and read as may be.
    case busy
    /// As many of them are for this one as may be.
    case shareUsed
    /// No room on the disk.
    case noSpace
    /// Other bytes arrived than were announced by their digest.
    case otherDigest
    /// The object is missing or does not verify.
    case damaged
    /// The object was erased, perhaps while it was being read.
    case erased
    /// The disk failed.
    case failed
    /// The server stops.
    case stopping
}

/// Takes the vault's answers for one reactor; called on the vault's thread.
package protocol VaultSink: AnyObject, Sendable {
    /// Hands over an answer; must return at once.
    func deliver(_ call: UInt64, _ reply: VaultReply)
}

/// What the metrics show of the vault.
package struct VaultStatus: Equatable, Sendable {
    package var puts: UInt64 = 0
    package var reads: UInt64 = 0
    package var erasures: UInt64 = 0
    package var bytesPut: UInt64 = 0
    package var bytesRead: UInt64 = 0
    /// Objects that were missing or did not verify.
    package var damaged: UInt64 = 0
    /// Calls of the disk that failed.
    package var failures: UInt64 = 0
    /// Objects that are being put or read.
    package var open = 0
    /// Objects that are stored, were not there at the start, and are not erased since.
    package var missing = 0
    /// Objects that nothing refers to, set aside at this start or an earlier one.
    package var aside = 0
}

/// The vault with its thread.
package final class VaultWorker: VaultKeeper {
    private let worker: any Worker
    private let core: VaultCore
    private let sinks = Lock<[(any VaultSink)?]>([])
    private let published = Lock(VaultStatus())

    /// Takes over a vault that was reconciled.
    ///
    /// - Parameters:
    ///   - vault: Reconciled.
    ///   - keys: The directory's.
    ///   - clock: Tells when objects are made.
    ///   - workers: Where its thread comes from.
    ///   - random: For keys that are made.
    ///   - failed: Called on the vault's thread with what an operator has to know.
    /// - Throws: ``IOError``: `.thread`.
    package init(
        _ vault: Vault, _ keys: KeyRing, clock: any TimeSource, workers: any WorkerSource,
        random: consuming RandomBytes, failed: @escaping @Sendable (JournalError) -> Void
    ) throws(IOError) {
        core = VaultCore(vault, keys, clock, random, failed)
        worker = try workers.makeWorker(name: "vault", urgency: .background)
        publish()
    }

    /// Names where a reactor's answers go.
    package func connect(reactor: Int, sink: any VaultSink) {
        sinks.withLock { sinks in
            while sinks.count <= reactor { sinks.append(nil) }
            sinks[reactor] = sink
        }
    }

    /// Asks for a call; answered on the reactor's sink, in order.
    package func submit(_ request: VaultRequest, call: UInt64, reactor: Int) {
        worker.submit { [self] in
            let reply = core.carryOut(request, call)
            publish()
            guard let reply else { return }
            sinks.withLock { reactor < $0.count ? $0[reactor] : nil }?.deliver(call, reply)
        }
    }

    /// Destroys objects whose erasure is durable in the journal, whoever asked for it.
    package func erase(_ names: [ObjectName]) {
        worker.submit { [self] in
            for name in names { _ = core.erase(name) }
            publish()
        }
    }

    /// Makes a new key; a new data key wraps the keys of all objects anew.
    ///
    /// - Parameters:
    ///   - purpose: Which kind of key.
    ///   - report: Called on the vault's thread; with nil when it could not be made.
    package func renew(
        _ purpose: KeyPurpose, report: @escaping @Sendable (KeyAnswer?) -> Void
    ) {
        worker.submit { [self] in report(core.renew(purpose)) }
    }

    /// How it is.
    package var status: VaultStatus { published.withLock { $0 } }

    private func publish() {
        let status = core.status
        published.withLock { $0 = status }
    }

    /// Finishes what was submitted, and ends the thread.
    ///
    /// What was begun and not finished is removed at the next start.
    package func stop() { worker.stop() }
}

/// What the thread works on.
///
/// `@unchecked Sendable`: touched by the worker's thread alone, once that runs.
private final class VaultCore: @unchecked Sendable {
    private final class Put {
        let principal: Principal
        var writer: ObjectWriter?
        init(_ principal: Principal, _ writer: consuming ObjectWriter) {
            self.principal = principal
            self.writer = .some(consume writer)
        }
    }

    private final class Read {
        let principal: Principal
        let name: ObjectName
        /// nil: the object was erased.
        var reader: ObjectReader?
        init(_ principal: Principal, _ reader: consuming ObjectReader) {
            self.principal = principal
            name = reader.name
            self.reader = .some(consume reader)
        }
    }

    private let vault: Vault
    private let keys: KeyRing
    private let clock: any TimeSource
    private let failed: (JournalError) -> Void
    private var random: RandomBytes
    private var puts: [UInt64: Put] = [:]
    private var reads: [UInt64: Read] = [:]
    /// What was erased since the start: a read of it was allowed before that, and is no damage.
    private var erased: Set<ObjectName> = []
    private(set) var status = VaultStatus()

    init(
        _ vault: Vault, _ keys: KeyRing, _ clock: any TimeSource, _ random: consuming RandomBytes,
        _ failed: @escaping (JournalError) -> Void
    ) {
        self.vault = vault
        self.keys = keys
        self.clock = clock
        self.random = random
        self.failed = failed
        status.missing = vault.missingCount
        status.aside = vault.asideCount
    }

    func carryOut(_ request: VaultRequest, _ call: UInt64) -> VaultReply? {
        defer { status.open = puts.count + reads.count }
        do throws(JournalError) {
            switch request {
            case .begin(let size, let principal):
                if let refusal = refusal(principal) { return .failed(refusal) }
                puts[call] = Put(
                    principal, try vault.beginPut(size: size, time: clock.wallTime()))
                return .ready
            case .append(let bytes):
                try puts[call]?.writer?.append(bytes.span)
                return .ready
            case .finish(let expected): return try finish(call, expected)
            case .open(let name, let principal):
                if let refusal = refusal(principal) { return .failed(refusal) }
                if erased.contains(name) { return .failed(.erased) }
                reads[call] = Read(principal, try vault.read(name))
                return .opened
            case .next: return try next(call)
            case .erase(let name):
                try destroy(name)
                status.erasures += 1
                return .erased
            case .cancel:
                giveUp(call)
                return nil
            }
        } catch {
            giveUp(call)
            return .failed(note(error))
        }
    }

    /// Why no other object may be put or read for somebody now.
    private func refusal(_ principal: Principal) -> VaultFailure? {
        guard puts.count + reads.count < Limits.evidenceStreamsMax else { return .busy }
        let own =
            puts.values.count { $0.principal == principal }
            + reads.values.count { $0.principal == principal }
        return own < Limits.evidenceStreamsPerIdentityMax ? nil : .shareUsed
    }

    private func finish(_ call: UInt64, _ expected: Digest?) throws(JournalError) -> VaultReply {
        guard let put = puts.removeValue(forKey: call), let writer = put.writer.take() else {
            return .failed(.failed)
        }
        if let expected, writer.sha256 != expected {
            vault.discard(writer)
            return .failed(.otherDigest)
        }
        let object = try vault.finish(writer)
        erased.remove(object.name)
        status.puts += 1
        status.bytesPut += UInt64(object.size)
        return .stored(object.name, sha256: object.sha256)
    }

    private func next(_ call: UInt64) throws(JournalError) -> VaultReply {
        guard let read = reads[call] else { return .failed(.failed) }
        var bytes: [UInt8] = []
        guard let isMore = try read.reader?.next({ bytes.append(copying: $0) }) else {
            reads[call] = nil
            return .failed(.erased)
        }
        if isMore {
            status.bytesRead += UInt64(bytes.count)
            return .chunk(bytes)
        }
        reads[call] = nil
        status.reads += 1
        return .ended
    }

    /// Destroys an object, and what those who read it still have of it: an open file and its key.
    private func destroy(_ name: ObjectName) throws(JournalError) {
        erased.insert(name)
        for read in reads.values where read.name == name { read.reader = nil }
        try vault.erase(name)
        status.missing = vault.missingCount
    }

    private func giveUp(_ call: UInt64) {
        reads[call] = nil
        guard let put = puts.removeValue(forKey: call), let writer = put.writer.take() else {
            return
        }
        vault.discard(writer)
    }

    func erase(_ name: ObjectName) -> VaultFailure? {
        do throws(JournalError) {
            try destroy(name)
            return nil
        } catch {
            return note(error)
        }
    }

    func renew(_ purpose: KeyPurpose) -> KeyAnswer? {
        do throws(JournalError) {
            let number: UInt32
            var objects = 0
            switch purpose {
            case .data:
                try vault.requireWritable()
                number = try keys.renew(.data, time: clock.wallTime(), random: &random)
                objects = rewrap()
            case .signing:
                number = try keys.renew(.signing, time: clock.wallTime(), random: &random)
            }
            return KeyAnswer(number: number, objects: UInt64(objects))
        } catch {
            _ = note(error)
            return nil
        }
    }

    /// Wraps the keys of objects with a data key that was made.
    ///
    /// It is in use whatever comes of this, and the next one that is made does it for all that is
    /// left.
    private func rewrap() -> Int {
        do throws(JournalError) {
            let (count, unreadable) = try vault.rewrap()
            for error in unreadable { failed(error) }
            return count
        } catch {
            _ = note(error)
            return 0
        }
    }

    /// Tells the operator, and what the caller may know.
    private func note(_ error: JournalError) -> VaultFailure {
        if case .noSpace = error { return .noSpace }
        failed(error)
        if error.isDamage {
            status.damaged += 1
            return .damaged
        }
        status.failures += 1
        return .failed
    }
}
