// Backups beside the engine: lists files and gives their bytes, on a thread of its own. Knows no
// role and no message.

package import TriageBase
package import TriageCodec
internal import TriageIO
internal import TriageJournal

/// What a call asks of the backup thread.
package enum BackupRequest: Sendable {
    /// What a backup of this moment consists of, for whom. Answered by `.files`, then more after
    /// `.next`.
    case list(Principal)
    /// Opens a file, of which that many bytes are wanted, and which was listed with that length in
    /// the backup (nil: with any), for whom. Answered by `.opened`.
    case open(name: String, count: Int, size: Int?, Principal)
    /// The next part of what was begun.
    case next
    /// Gives up what the call has begun. No answer.
    case cancel
}

/// What the backup thread answers.
package enum BackupReply: Sendable {
    /// A part of the list, of a journal that ends there.
    case files(sequence: UInt64, root: Digest, [BackupFileReport])
    /// The file verifies.
    case opened
    /// 1 to 65,536 bytes.
    case chunk([UInt8])
    /// There is no more; the SHA-256 of the bytes, if they were a file's.
    case ended(Digest?)
    /// It could not be done; what the call had begun is given up.
    case failed(BackupFailure)
}

/// Why a part of a backup could not be given.
package enum BackupFailure: Error, Equatable, Sendable {
    /// As many files are being read as may be.
    case busy
    /// As many of them are for this one as may be.
    case shareUsed
    /// There is no such file, or not any more.
    case gone
    /// The file does not verify.
    case damaged(file: String)
    /// The disk failed.
    case failed
}

/// Takes answers for one reactor; called on the backup thread.
package protocol BackupSink: AnyObject, Sendable {
    /// Hands over an answer; must return at once.
    func deliver(_ call: UInt64, _ reply: BackupReply)
}

/// Reads a data directory for whoever backs it up.
package final class BackupWorker: Sendable {
    private let worker: any Worker
    private let core: BackupCore
    private let sinks = Lock<[(any BackupSink)?]>([])

    /// Makes its thread.
    ///
    /// - Parameters:
    ///   - directory: What is read.
    ///   - workers: Where its thread comes from.
    ///   - failed: Called on its thread with what an operator has to know.
    /// - Throws: ``IOError``: `.thread`.
    init(
        _ directory: DataDirectory, _ workers: any WorkerSource,
        failed: @escaping @Sendable (JournalError) -> Void
    ) throws(IOError) {
        core = BackupCore(directory, failed)
        worker = try workers.makeWorker(name: "backup", urgency: .background)
    }

    /// Names where a reactor's answers go.
    package func connect(reactor: Int, sink: any BackupSink) {
        sinks.withLock { sinks in
            while sinks.count <= reactor { sinks.append(nil) }
            sinks[reactor] = sink
        }
    }

    /// Asks for a call; answered on the reactor's sink, in order.
    package func submit(_ request: BackupRequest, call: UInt64, reactor: Int) {
        worker.submit { [self] in
            guard let reply = core.carryOut(request, call) else { return }
            sinks.withLock { reactor < $0.count ? $0[reactor] : nil }?.deliver(call, reply)
        }
    }

    /// Finishes what was submitted, and ends the thread.
    package func stop() { worker.stop() }
}

/// What the thread works on.
///
/// `@unchecked Sendable`: touched by the worker's thread alone, once that runs.
private final class BackupCore: @unchecked Sendable {
    private struct List {
        let principal: Principal
        let head: JournalHead
        var rest: ArraySlice<BackupFile>
    }

    /// Files of a message: with the longest names some 100 KB.
    private static let filesAtOnce = 500

    private let directory: DataDirectory
    private let failed: (JournalError) -> Void
    private var lists: [UInt64: List] = [:]
    private var reads: [UInt64: (principal: Principal, reader: BackupReader)] = [:]

    init(_ directory: DataDirectory, _ failed: @escaping (JournalError) -> Void) {
        self.directory = directory
        self.failed = failed
    }

    func carryOut(_ request: BackupRequest, _ call: UInt64) -> BackupReply? {
        do throws(JournalError) {
            switch request {
            case .list(let principal):
                if let refusal = refusal(principal) { return .failed(refusal) }
                let listing = try directory.listBackup()
                lists[call] = List(
                    principal: principal, head: listing.head, rest: listing.files[...])
                return next(call)
            case .open(let name, let count, let size, let principal):
                if let refusal = refusal(principal) { return .failed(refusal) }
                guard
                    let reader = try directory.openBackupFile(name, count: count, listed: size)
                else { return .failed(.gone) }
                reads[call] = (principal, reader)
                return .opened
            case .next:
                if lists[call] != nil { return next(call) }
                guard let reader = reads[call]?.reader else { return nil }
                if let bytes = try reader.next() { return .chunk(bytes) }
                reads[call] = nil
                return .ended(reader.digest)
            case .cancel:
                lists[call] = nil
                reads[call] = nil
                return nil
            }
        } catch {
            lists[call] = nil
            reads[call] = nil
            // Retention took it between its listing and its opening.
            if error.isMissingFile { return .failed(.gone) }
            failed(error)
            return .failed(error.isDamage ? .damaged(file: error.file) : .failed)
        }
    }

    /// Why nothing else may be listed or read for somebody now.
    private func refusal(_ principal: Principal) -> BackupFailure? {
        guard lists.count + reads.count < Limits.backupStreamsMax else { return .busy }
        let own =
            lists.values.count { $0.principal == principal }
            + reads.values.count { $0.principal == principal }
        return own < Limits.backupStreamsPerIdentityMax ? nil : .shareUsed
    }

    /// The next files of a list.
    private func next(_ call: UInt64) -> BackupReply? {
        guard var list = lists.removeValue(forKey: call) else { return nil }
        guard !list.rest.isEmpty else { return .ended(nil) }
        let files = list.rest.prefix(Self.filesAtOnce).map { file in
            BackupFileReport(
                name: file.name, readBytes: file.count, sizeBytes: file.size,
                isFinal: file.isFinal)
        }
        list.rest = list.rest.dropFirst(Self.filesAtOnce)
        lists[call] = list
        return .files(sequence: list.head.sequence, root: list.head.root, files)
    }
}

extension JournalError {
    /// The file that does not verify.
    fileprivate var file: String {
        switch self {
        case .dataLoss(let file, _, _), .gap(let file, _), .rejected(let file, _, _),
            .foreignCluster(let file, _, _):
            file
        default: ""
        }
    }
}
