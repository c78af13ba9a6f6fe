// Backups that are taken while everything goes on, as a client of the service takes them: each must
// verify, be the beginning of what the server has afterwards, and give the state of its records
// when it is restored.

import TestSupport
import TriageBase
import TriageCodec
import TriageCrypto
import TriageDomain
import TriageEngine
import TriageIO
import TriageJournal

/// Takes what the backup thread answers, as long as there is a machine to deliver it.
private final class BackupMailroom: BackupSink {
    private let disk: SimDisk
    private let arrivals = Monitor<[(call: UInt64, reply: BackupReply)]>([])

    init(_ disk: SimDisk) { self.disk = disk }

    func deliver(_ call: UInt64, _ reply: BackupReply) {
        if disk.isOff { return }
        arrivals.change { $0.append((call, reply)) }
    }

    func take() -> [(call: UInt64, reply: BackupReply)] {
        arrivals.change { arrivals in
            defer { arrivals = [] }
            return arrivals
        }
    }
}

/// A backup that came to its end.
struct TakenBackup {
    let sequence: UInt64
    let root: Digest
    /// By their names below the directory.
    var files: [String: [UInt8]] = [:]
}

/// Takes backups in one life, one at a time.
final class BackupClient {
    private let worker: BackupWorker
    private let disk: SimDisk
    private let mailroom: BackupMailroom
    private let promises: Promises
    private let transcript: Transcript
    private var call: UInt64 = 0
    private var open: TakenBackup?
    private var missing: ArraySlice<BackupFileReport> = []
    private var isListed = false
    private var bytes: [UInt8] = []
    private(set) var isBusy = false
    private(set) var taken: [TakenBackup] = []

    init(_ worker: BackupWorker, _ disk: SimDisk, _ promises: Promises, _ transcript: Transcript) {
        self.worker = worker
        self.disk = disk
        self.promises = promises
        self.transcript = transcript
        mailroom = BackupMailroom(disk)
        worker.connect(reactor: 0, sink: mailroom)
    }

    /// Begins to take one.
    func begin() {
        isBusy = true
        isListed = false
        open = nil
        missing = []
        transcript.note("a backup begins")
        ask(.list(.system))
    }

    /// Gives up the one that is on its way.
    func cancel() {
        worker.submit(.cancel, call: call, reactor: 0)
        end("given up")
    }

    private func end(_ how: String) {
        isBusy = false
        transcript.note("backup: \(how)")
        transcript.count("backup \(how)")
    }

    private func ask(_ request: BackupRequest) {
        call += 1
        worker.submit(request, call: call, reactor: 0)
    }

    /// Goes on with what was answered.
    ///
    /// - Returns: Whether anything arrived.
    func collect() throws(Violation) -> Bool {
        let arrivals = mailroom.take()
        for (number, reply) in arrivals where isBusy && number == call { try goOn(reply) }
        return !arrivals.isEmpty
    }

    private func goOn(_ reply: BackupReply) throws(Violation) {
        switch reply {
        case .files(let sequence, let root, let files):
            // It is durable: no power cut may take it from the server.
            promises.showBackup(sequence)
            open = open ?? TakenBackup(sequence: sequence, root: root)
            missing += files
            worker.submit(.next, call: call, reactor: 0)
        case .opened: worker.submit(.next, call: call, reactor: 0)
        case .chunk(let chunk):
            bytes += chunk
            worker.submit(.next, call: call, reactor: 0)
        case .ended(let digest):
            if isListed {
                guard let file = missing.popFirst() else {
                    throw Violation("a backup was sent a file that it had not asked for")
                }
                let sent = bytes
                try require(
                    digest == SHA256.hash(sent.span), "other bytes of \(file.name) were sent")
                let zeros = max(0, file.sizeBytes - sent.count)
                open?.files[file.name] = sent + [UInt8](repeating: 0, count: zeros)
            }
            isListed = true
            bytes = []
            if let next = missing.first {
                return ask(
                    .open(
                        name: next.name, count: next.readBytes, size: next.sizeBytes, .system))
            }
            if let open { taken.append(open) }
            end("taken")
        // Retention, or an erasure, took what was listed.
        case .failed(.gone): end("overtaken")
        case .failed(.failed):
            try require(!disk.failures.isEmpty, "a backup failed without reason")
            end("failed")
        case .failed(let failure):
            throw Violation("a backup was refused: \(failure) of \(missing.first?.name ?? "all")")
        }
    }
}

extension TakenBackup {
    /// Where it is judged: a disk of its own, without faults.
    private static let directory = "backup"

    /// Judges it by what the server had when it ended.
    ///
    /// - Parameters:
    ///   - plan: How to open it.
    ///   - history: What the server has, by now.
    ///   - promises: What was put into its vault.
    ///   - lots: Draws to which record it is restored.
    ///   - transcript: Counts.
    /// - Throws: ``Violation``.
    func judge(
        _ plan: borrowing Plan, _ history: History, _ promises: Promises, _ lots: inout Lots,
        _ transcript: Transcript
    ) throws(Violation) {
        let disk = SimDisk(seed: lots.next())
        do {
            try disk.makeDirectory(Self.directory)
            if files.keys.contains(where: { $0.hasPrefix("vault/") }) {
                try disk.makeDirectory(Self.directory + "/vault")
            }
            for (name, bytes) in files { disk.replace(Self.directory + "/" + name, with: bytes) }
            disk.replace(Self.directory + "/backup", with: Array(manifest.utf8))
            // Of a journal without a record there is nothing to restore.
            guard sequence > 0 else { return }
            let first = try compare(disk, plan, history)
            let last = lots.oneIn(2) ? sequence : first + lots.next() % (sequence - first + 1)
            let random = lots.next()
            do {
                let restore = try Restore(
                    from: Self.directory, to: Plan.directory, disk: disk, keys: plan.keys,
                    makeRandom: { RandomBytes(replaying: random) })
                let report = try restore.run(
                    last == sequence ? .end : .sequence(last), time: history.world.counters.time
                ) { _, _, _ in }
                try require(report.head.sequence == last, "a restore ended elsewhere")
            }
            let recovered = try recover(disk, plan)
            try require(recovered.head == last, "what was restored ends elsewhere")
            var expected = history.world(at: last)
            history.forget(in: &expected)
            history.forget(in: &recovered.world)
            try requireEqual(
                recovered.world, expected, inFull: lots.oneIn(8),
                "what was restored from a backup")
            try compareVault(disk, plan, recovered.world, history.world, promises)
            transcript.count("backup restored")
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation("the backup of record \(sequence) is no good: \(error)")
        }
    }

    /// What a client writes beside them (FORMAT.md §16).
    private var manifest: String {
        files.keys.sorted().reduce("triaged/backup@v1\nsequence \(sequence)\nroot \(root)\n") {
            let bytes = files[$1] ?? []
            return $0 + "open \(SHA256.hash(bytes.span)) \(bytes.count) \($1)\n"
        }
    }

    /// Verifies it, and compares its records with those that the server has.
    ///
    /// - Returns: The first record to which it can be restored.
    private func compare(
        _ disk: SimDisk, _ plan: borrowing Plan, _ history: History
    ) throws -> UInt64 {
        let inspection = try Inspection(
            path: Self.directory, disk: disk, keys: plan.keys,
            pieceBytes: plan.storage.recoveryPieceBytes)
        var reader = HistoryReader()
        let statistics = try inspection.readJournal(into: &reader)
        try require(
            statistics.head == JournalHead(sequence: sequence, root: root),
            "a backup of record \(sequence) ends at \(statistics.head?.sequence ?? 0)")
        for record in reader.records {
            let place = Int(record.header.sequence) - 1
            try require(
                history.records.indices.contains(place)
                    && history.records[place].isSame(as: record),
                "record \(place + 1) of a backup is not the server's")
        }
        let problems = try inspection.verify().problems
        try require(problems.isEmpty, "a backup does not verify: \(problems)")
        let oldest = statistics.segments.first?.first ?? 1
        return oldest == 1 ? 1 : statistics.snapshots.first?.head.sequence ?? sequence
    }

    /// Every object that its state names is there, unless it was erased since the list was made.
    private func compareVault(
        _ disk: SimDisk, _ plan: borrowing Plan, _ world: borrowing World,
        _ newest: borrowing World, _ promises: Promises
    ) throws {
        let directory = try DataDirectory(
            opening: Plan.directory, disk: disk, options: plan.storage, keys: plan.keys)
        guard let vault = try directory.openVault() else { return }
        let named = world.storedObjects
        let report = try vault.reconcile(
            stored: named, erased: world.erasedObjects, time: newest.counters.time,
            stateTime: newest.counters.time)
        try require(
            newest.erasedObjects.isSuperset(of: report.missing),
            "a backup lacks evidence: \(report.missing)")
        for name in named.subtracting(report.missing) {
            try require(
                try readObject(name, from: vault) == promises.content(of: name),
                "object \(name) of a backup has other bytes")
        }
    }
}
