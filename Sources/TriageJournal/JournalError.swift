// Everything that can go wrong with a data directory, each with what an operator needs to know.
// Knows nothing of statuses on the wire.

package import TriageBase
package import TriageCrypto
package import TriageIO

/// Why a data directory, a journal or a snapshot cannot be used, or not any more.
package enum JournalError: Error, Equatable, Sendable {
    /// A call failed while opening, reading or preparing. What was durable still is.
    case io(IOError)
    /// A write or sync of the journal failed before: nothing further is accepted until a restart.
    case poisoned(IOError)
    /// Bytes that were durable do not verify. Nothing was changed.
    case dataLoss(file: String, offset: Int, what: String)
    /// Records are missing: the first missing sequence, and the file that begins too late.
    case gap(file: String, missing: UInt64)
    /// A file that is none of ours.
    case foreignFile(file: String)
    /// A file of another deployment.
    case foreignCluster(file: String, expected: ClusterID, found: ClusterID)
    /// A file of a later release.
    case newerVersion(file: String, found: UInt32, supported: UInt32)
    /// A file of an earlier release, which this one reads but does not write to.
    case olderVersion(file: String, found: UInt32, supported: UInt32)
    /// A directory that is of the current version already.
    case notOlder(directory: String)
    /// A directory that should be new and holds something.
    case notEmpty(directory: String)
    /// A backup, which a server does not write into.
    case isBackup(directory: String)
    /// A record, or a time, at which the journal cannot be made to end.
    case noSuchPoint(what: String)
    /// Another server owns the directory; its process id if known.
    case locked(file: String, processID: Int32?)
    /// The bounded commit buffer cannot take the record before the next commit. Nothing was
    /// appended.
    case bufferFull
    /// A record longer than ``Limits/recordBytesMax``. Nothing was appended.
    case recordTooLarge(bytes: Int)
    /// No room for the next segment, on the disk or among the files that may be open. Nothing was
    /// appended; works again when there is room.
    case noSpace(IOError)
    /// The cryptographic library does not do its part.
    case crypto(CryptoError)
    /// The directory is encrypted, and no key was given; which one wraps its keys.
    case keyMissing(expected: KeyID)
    /// A key was given, and the directory was begun without encryption.
    case keyUnexpected
    /// The directory's keys are wrapped by another key than the one that was given.
    case wrongKey(expected: KeyID, found: KeyID)
    /// No room in `keys` for another key. Nothing was changed.
    case tooManyKeys(limit: Int)
    /// The state machine does not take a record that verifies: written by a release unlike this
    /// one.
    case rejected(file: String, offset: Int, what: String)
}

extension JournalError: CustomStringConvertible {
    /// Whether files were read and do not hold what they should; false when they could not be
    /// read or written, or are somebody else's.
    package var isDamage: Bool {
        switch self {
        case .dataLoss, .gap, .foreignCluster, .rejected: true
        case .io, .poisoned, .foreignFile, .newerVersion, .olderVersion, .notOlder, .notEmpty,
            .isBackup, .noSuchPoint, .locked, .bufferFull, .recordTooLarge, .noSpace, .crypto,
            .keyMissing,
            .keyUnexpected, .wrongKey, .tooManyKeys:
            false
        }
    }

    /// Whether it is the key that is wrong, and not the directory.
    package var isAboutKeys: Bool {
        switch self {
        case .keyMissing, .keyUnexpected, .wrongKey: true
        default: false
        }
    }

    /// What happened and, where an operator can do something, what to do.
    package var description: String {
        switch self {
        case .io(let error): "storage: \(error)\(Self.advice(error.errno))"
        case .poisoned(let error):
            "storage failed and takes no more writes: \(error); check the disk, then restart"
        case .dataLoss(let file, let offset, let what):
            "data loss: \(file) at byte \(offset): \(what); nothing was changed: "
                + "restore from a backup, or inspect with `triaged inspect`"
        case .gap(let file, let missing):
            "data loss: record \(missing) is missing before \(file): "
                + "restore the segment that held it"
        case .foreignFile(let file): "\(file) does not belong into a data directory: move it away"
        case .foreignCluster(let file, let expected, let found):
            "\(file) is of cluster \(found), this directory is of \(expected): move it back"
        case .newerVersion(let file, let found, let supported):
            "\(file) has format version \(found), this release reads up to \(supported): upgrade"
        case .olderVersion(let file, let found, let supported):
            "\(file) has format version \(found), this release writes \(supported): run "
                + "`triaged upgrade --from DIR --data NEW` and go on with the new directory"
        case .notOlder(let directory):
            "\(directory) has the current format version already: there is nothing to upgrade"
        case .notEmpty(let directory):
            "\(directory) is not empty: name a directory that is not there yet"
        case .isBackup(let directory):
            "\(directory) is a backup: `triaged restore --from \(directory) --to NEW` makes a data "
                + "directory of it"
        case .noSuchPoint(let what): what
        case .locked(let file, let processID):
            "\(file) is locked by another server"
                + (processID.map { " (process \($0))" } ?? "") + ": stop it first"
        case .bufferFull: "the journal's buffer is full: the disk is slower than the intake"
        case .recordTooLarge(let bytes): "a journal record of \(bytes) bytes is too large"
        case .noSpace(let error): "no room for the next journal segment: \(error)"
        case .crypto(let error): "encryption: \(error)"
        case .keyMissing(let expected):
            "the directory is encrypted, its keys are wrapped by key \(expected): "
                + "give it with --key-file or --key-command"
        case .keyUnexpected:
            "a key was given, but the directory was begun without encryption, and stays so: "
                + "leave the key out, or begin a new directory with it"
        case .wrongKey(let expected, let found):
            "the directory's keys are wrapped by key \(expected), and the key given is \(found): "
                + "give that one, or the one before it with --previous-key-file; "
                + "nothing was changed"
        case .tooManyKeys(let limit):
            "there are \(limit) keys already: drop those of which nothing is left, "
                + "with `triaged keys drop`"
        case .rejected(let file, let offset, let what):
            "\(file) at byte \(offset) holds what this release does not understand: \(what)"
        }
    }
}

extension JournalError {
    /// What to do about a call that failed.
    private static func advice(_ errno: Errno) -> String {
        switch errno {
        case .accessDenied: ": let the service's user read and write it"
        case .readOnly: ": mount it for writing"
        case .noSpace, .quotaExceeded: ": make room"
        case .inputOutput: ": check the disk"
        default: ""
        }
    }
}

/// Runs calls of the disk, turning their errors into ``JournalError/io(_:)``.
@inline(__always)
func disk<R>(_ body: () throws(IOError) -> R) throws(JournalError) -> R {
    do { return try body() } catch { throw .io(error) }
}
