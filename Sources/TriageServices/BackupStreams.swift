// ListBackup and ReadBackup: each call has one part in flight between its reactor and the backup
// thread, so that a slow reader holds no memory but its part.
//
//   request -> backup thread: list, or open -> part, next, part, next ... -> end

internal import TriageBase
internal import TriageCodec
internal import TriageEngine
internal import TriageGRPC

/// A call of ListBackup or ReadBackup.
final class BackupCall {
    let holder: ServiceHandler.Holder
    var isFull = false

    init(_ holder: ServiceHandler.Holder) { self.holder = holder }
}

extension ServiceHandler {
    func openBackup(
        _ route: Route, _ caller: Caller, _ message: Span<UInt8>
    ) throws(RPCError) {
        let request: BackupRequest
        if route == .listBackup {
            try decoded { () throws(RequestError) in try decoder.decodeListBackup(message) }
            request = .list(caller.principal)
        } else {
            let wanted = try decoded { () throws(RequestError) in
                try decoder.decodeReadBackup(message)
            }
            request = .open(
                name: wanted.name, count: wanted.readBytes, size: wanted.sizeBytes, caller.principal
            )
        }
        guard shared.backup != nil else { throw Self.nothingToBackUp }
        guard responder.markLongLived(caller.call) else { return }
        longCalls[caller.call.raw] = .backup(BackupCall(caller.holder))
        submit(backup: request, caller.call)
    }

    private static let nothingToBackUp = RPCError(
        .failedPrecondition, reason: "NOTHING_ON_DISK",
        message: "this server keeps nothing on disk that could be backed up")

    func submit(backup request: BackupRequest, _ call: CallID) {
        shared.backup?.submit(request, call: call.raw, reactor: reactor)
    }

    /// Goes on with a call that the backup thread has answered.
    func backupReplied(_ raw: UInt64, _ reply: BackupReply) {
        let call = CallID(raw: raw)
        guard case .backup(let backup) = longCalls[raw] else { return }
        switch reply {
        case .opened: submit(backup: .next, call)
        case .files(let sequence, let root, let files):
            send(call, backup, encoder.listBackup(sequence: sequence, root: root, files))
        case .chunk(let bytes): send(call, backup, encoder.readBackup(chunk: bytes))
        case .ended(let digest):
            if let digest { _ = responder.send(call, encoder.readBackup(digest: digest)) }
            longCalls[raw] = nil
            responder.finish(call, nil)
        case .failed(let failure):
            longCalls[raw] = nil
            responder.finish(call, RPCError(failure))
        }
    }

    private func send(_ call: CallID, _ backup: BackupCall, _ message: [UInt8]) {
        switch responder.send(call, message) {
        case .queued: submit(backup: .next, call)
        case .full: backup.isFull = true
        case .gone:
            longCalls[call.raw] = nil
            submit(backup: .cancel, call)
        }
    }

    func backupWritable(_ call: CallID, _ backup: BackupCall) {
        guard backup.isFull else { return }
        backup.isFull = false
        submit(backup: .next, call)
    }
}

extension RPCError {
    /// Why a part of a backup could not be given, for the caller.
    init(_ failure: BackupFailure) {
        switch failure {
        case .busy: self = Self.backupStreams(Limits.backupStreamsMax, "")
        case .shareUsed:
            self = Self.backupStreams(Limits.backupStreamsPerIdentityMax, " of yours")
        case .gone:
            self.init(
                .notFound, reason: "BACKUP_FILE_GONE",
                message: "the file is not there, or not any more: list the backup again")
        case .damaged(let file):
            self.init(
                .dataLoss, reason: "STORAGE_DAMAGED",
                message: "\(file) does not verify in the server's data directory: run `triaged "
                    + "inspect verify` there, and keep the backups of before",
                metadata: ["file": file])
        case .failed:
            self.init(
                .unavailable, reason: "STORAGE_FAILED",
                message: "the server could not read its data directory: see its log")
        }
    }

    private static func backupStreams(_ count: Int, _ whose: String) -> RPCError {
        RPCError(
            .resourceExhausted, reason: "TOO_MANY_BACKUPS",
            message:
                "\(count) files are being read for backups\(whose) already: try again a little "
                + "later",
            // The transport counts it under this name.
            metadata: ["limit": "backup_streams", "limit_max": String(count)],
            retryAfterMilliseconds: 1_000)
    }
}

/// Carries answers from the backup thread to a reactor's.
final class ReactorBackupSink: BackupSink {
    private let mailbox: any ReactorMailbox

    init(_ mailbox: any ReactorMailbox) { self.mailbox = mailbox }

    func deliver(_ call: UInt64, _ reply: BackupReply) { mailbox.post(BackupJob(call, reply)) }
}

/// One answer of the backup thread.
private final class BackupJob: ReactorJob {
    private let call: UInt64
    private let reply: BackupReply

    init(_ call: UInt64, _ reply: BackupReply) {
        self.call = call
        self.reply = reply
    }

    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.backupReplied(call, reply)
    }
}
