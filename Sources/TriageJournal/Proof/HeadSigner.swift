// Signs heads of the journal and keeps them in the `heads` file: beside the commits, on the
// writer's helper thread. Which head, and when, is decided by others.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// How far heads are signed.
package struct SigningStatus: Equatable, Sendable {
    /// The newest signed head; nil when there is none yet.
    package var newest: SignedHead?
    /// Heads signed since the start.
    package var signed: UInt64 = 0
    /// Attempts that failed since the start.
    package var failures: UInt64 = 0
    /// Why the last attempt failed; nil when it did not.
    package var trouble: JournalError?

    /// None, so far.
    package init() {}
}

/// A head that was signed, and what others verify it with.
package struct SignedHeadReceipt: Equatable, Sendable {
    /// The head.
    package var signed: SignedHead
    /// The deployment.
    package var cluster: ClusterID
    /// The public half of the key that signed it.
    package var key: NoteKey

    /// The checkpoint as a signed note.
    package var note: SignedNote { signed.note(cluster, key.key) }
}

/// Signs heads of one directory.
///
/// - Isolation: ``sign(_:time:)`` from one thread; questions from any.
final class HeadSigner: Sendable {
    private struct State: Sendable {
        var status: SigningStatus
        /// Slots in the file; the next one goes behind them.
        var slots: Int
        var hasFile: Bool
    }

    private let disk: any Disk
    private let directory: String
    private let keys: KeyRing
    private let state: Monitor<State>

    /// Goes on behind what is there.
    ///
    /// - Parameters:
    ///   - disk: The file system.
    ///   - directory: The directory's path.
    ///   - keys: Its keys.
    ///   - file: What the file holds; nil when there is none yet.
    init(_ disk: any Disk, directory: String, keys: KeyRing, file: HeadsFile?) {
        self.disk = disk
        self.directory = directory
        self.keys = keys
        var status = SigningStatus()
        status.newest = file?.heads.last
        state = Monitor(
            State(status: status, slots: file?.heads.count ?? 0, hasFile: file != nil))
    }

    var status: SigningStatus { state.change { $0.status } }

    /// Writes the newest head once more as it was read.
    ///
    /// A killed process, or one whose sync failed, may have left it in a cache alone: behind it
    /// the next one is written, and what stands before a head must not go.
    ///
    /// - Durability: on disk when this returns
    func settle() throws(JournalError) {
        let before = state.change { $0 }
        guard let newest = before.status.newest else { return }
        try write(newest, slot: before.slots - 1)
    }

    /// Signs a head, unless the newest signed one is that head, signed with the key in use.
    ///
    /// A failure leaves what was signed before as it is; the next attempt overwrites the slot.
    ///
    /// - Parameters:
    ///   - head: At least as large as every one before it.
    ///   - time: Wall time now.
    /// - Returns: The head with its signature, or why there is none.
    /// - Durability: on disk when this returns
    func sign(_ head: JournalHead, time: WallTime) -> Result<SignedHeadReceipt, JournalError> {
        let before = state.change { $0 }
        let number = keys.signingKeyInUse
        guard let key = keys.signingKey(number) else {
            preconditionFailure("the signing key in use is in the ring")
        }
        let noteKey = HeadText.noteKey(keys.cluster, key.verifyingKey)
        if let newest = before.status.newest, newest.head == head, newest.keyNumber == number {
            return .success(
                SignedHeadReceipt(signed: newest, cluster: keys.cluster, key: noteKey))
        }
        do throws(JournalError) {
            let text = HeadText(cluster: keys.cluster, head: head, time: time)
            let signed = SignedHead(
                head: head, time: time, keyNumber: number, signature: try Self.sign(text, key))
            if !before.hasFile { try makeFile(time) }
            try write(signed, slot: before.slots)
            state.change { state in
                state.hasFile = true
                state.slots += 1
                state.status.newest = signed
                state.status.signed += 1
                state.status.trouble = nil
            }
            return .success(
                SignedHeadReceipt(signed: signed, cluster: keys.cluster, key: noteKey))
        } catch {
            state.change { state in
                state.status.failures += 1
                state.status.trouble = error
            }
            return .failure(error)
        }
    }

    private static func sign(
        _ text: HeadText, _ key: SigningKey
    ) throws(JournalError) -> Signature {
        do { return try key.sign(Array(text.description.utf8).span) } catch {
            throw .crypto(error)
        }
    }

    private func makeFile(_ time: WallTime) throws(JournalError) {
        let path = directory + "/" + FileName.heads
        var block = PageBuffer(capacity: Format.blockBytes)
        HeadsFile.header(keys.cluster, time).store(in: &block)
        do {
            let file = try disk.open(path + ".tmp", .create)
            try file.write(block, 0..<Format.blockBytes, at: 0)
            try file.sync()
            try disk.rename(path + ".tmp", to: path)
            try disk.syncDirectory(directory)
        } catch { throw .io(error) }
        // Also when the slot cannot be written: the file is there.
        state.change { $0.hasFile = true }
    }

    private func write(_ head: SignedHead, slot: Int) throws(JournalError) {
        var buffer = PageBuffer(capacity: HeadsFile.slotBytes)
        HeadsFile.store(head, keys.cluster, in: &buffer)
        do {
            let file = try disk.open(directory + "/" + FileName.heads, .update)
            try file.write(buffer, 0..<HeadsFile.slotBytes, at: HeadsFile.offset(of: slot))
            try file.sync()
        } catch { throw .io(error) }
    }
}
