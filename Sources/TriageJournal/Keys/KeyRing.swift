// A directory's keys, unwrapped: what files are encrypted and heads are signed with, and how keys
// are replaced while everything goes on. The only place where a wrapped key is opened.

package import TriageBase
package import TriageCrypto
package import TriageIO

/// The keys of one data directory.
///
/// ```
///   make --\
///   open ---+--> settle (writes the file if --> dataKey, signingKey, rotate(to:), renew, drop
///                it has to be)
/// ```
///
/// - Isolation: any. Replacements of the file exclude each other; questions never wait for them.
package final class KeyRing: Sendable {
    private struct State: Sendable {
        var file: KeyFile
        var kek: KeyEncryptionKey
        var secrets: [UInt32: SecretKey]
        var signers: [UInt32: SigningKey]
        /// Whether the file must be written before anything uses the keys.
        var isUnwritten = false
        /// Why the file must be written anew.
        var repairs: [String] = []
        var isReplacing = false

        func dataKey(_ number: UInt32) -> SecretKey? {
            file.entries.contains { $0.number == number && $0.kind == .data }
                ? secrets[number] : nil
        }
    }

    /// Which deployment the keys belong to.
    package let cluster: ClusterID
    private let disk: any Disk
    private let directory: String
    /// What the file was opened with; nil for keys that were made here.
    private let source: KeySource?
    private let state: Monitor<State>

    private init(
        _ state: State, _ disk: any Disk, _ directory: String, _ source: KeySource? = nil
    ) {
        self.source = source
        self.state = Monitor(state)
        self.disk = disk
        self.directory = directory
        cluster = state.file.cluster
    }

    // MARK: Opening

    /// Makes the first keys of a directory; they are written by ``settle(time:random:)``.
    ///
    /// - Throws: `.crypto`.
    /// - Durability: none
    package static func make(
        _ disk: any Disk, _ directory: String, cluster: ClusterID, kek: KeyEncryptionKey,
        random: inout RandomBytes
    ) throws(JournalError) -> KeyRing {
        let file = KeyFile(cluster: cluster, generation: 0, written: .epoch, entries: [])
        var draft = Draft(State(file: file, kek: kek, secrets: [:], signers: [:]))
        _ = try draft.add(.data, .epoch, &random)
        _ = try draft.add(.signing, .epoch, &random)
        draft.state.isUnwritten = true
        return KeyRing(draft.state, disk, directory)
    }

    /// Opens the keys of a directory; changes nothing.
    ///
    /// - Parameters:
    ///   - disk: The file system.
    ///   - directory: The data directory.
    ///   - source: Nil: none was given.
    /// - Returns: The ring; ``settle(time:random:)`` writes what has to be written.
    /// - Throws: `.keyMissing` without a key; `.wrongKey` when it is another one; `.dataLoss` when
    ///   the file is damaged beyond its second copy; `.newerVersion`, `.io`, `.crypto`.
    package static func open(
        _ disk: any Disk, _ directory: String, _ source: KeySource?
    ) throws(JournalError) -> KeyRing {
        let file = try KeyFile(disk, directory)
        let wrapping = Set(file.entries.map(\.kek)).sorted { $0.value < $1.value }
        guard let source else { throw .keyMissing(expected: wrapping[0]) }
        var state = State(file: file, kek: source.current, secrets: [:], signers: [:])
        if let damage = file.damage {
            state.repairs.append("keys at byte \(damage.offset): \(damage.what)")
        }
        for id in wrapping {
            guard let kek = source.key(id) else {
                throw .wrongKey(expected: id, found: source.current.id)
            }
            if kek.id != source.current.id {
                state.repairs.append("keys was wrapped by the previous key \(id)")
            }
            try unwrap(&state, kek)
        }
        return KeyRing(state, disk, directory, source)
    }

    /// Unwraps every entry that `kek` wraps.
    private static func unwrap(
        _ state: inout State, _ kek: KeyEncryptionKey
    ) throws(JournalError) {
        do {
            var cipher = try MessageCipher(kek.key)
            for (index, entry) in state.file.entries.enumerated() where entry.kek == kek.id {
                let additional = entry.additional(state.file.cluster)
                guard
                    let secret = try? SecretKey(
                        opening: entry.sealed.span, with: &cipher, nonce: entry.nonce,
                        tag: entry.tag, additional: additional.span)
                else {
                    throw JournalError.dataLoss(
                        file: FileName.keys,
                        offset: Format.blockBytes + index * KeyFile.entryBytes,
                        what: "key \(entry.number) was not wrapped so by key \(kek.id)")
                }
                state.secrets[entry.number] = secret
                if entry.kind == .signing {
                    state.signers[entry.number] = try SigningKey(seed: secret)
                }
            }
        } catch let error as CryptoError {
            throw .crypto(error)
        } catch let error as JournalError {
            throw error
        } catch {
            throw .crypto(.unavailable("\(error)"))
        }
    }

    /// Writes the file if the keys are new, a copy was damaged, or the previous KEK wrapped it: to
    /// be called once everything else in the directory was found good.
    ///
    /// - Throws: `.io`, `.crypto`.
    /// - Durability: on disk when this returns
    package func settle(time: WallTime, random: inout RandomBytes) throws(JournalError) {
        let (isUnwritten, repairs) = state.change { ($0.isUnwritten, $0.repairs) }
        guard isUnwritten || !repairs.isEmpty else { return }
        try replace(time, &random) { draft, random throws(JournalError) in
            if isUnwritten { draft.date(time) }
            try draft.rewrap(under: draft.kek, &random)
        }
    }

    // MARK: Questions

    /// What ``settle(time:random:)`` will mend, in words for the log.
    package var repairs: [String] { state.change { $0.repairs } }

    /// The data key that new files are encrypted with.
    package var dataKeyInUse: UInt32 { inUse(.data) }

    /// The key that new heads are signed with.
    package var signingKeyInUse: UInt32 { inUse(.signing) }

    /// A data key by its number; nil when there is none of that number.
    package func dataKey(_ number: UInt32) -> SecretKey? {
        sought { $0.dataKey(number) }
    }

    /// A signing key by its number; nil when there is none of that number.
    package func signingKey(_ number: UInt32) -> SigningKey? {
        sought { $0.signers[number] }
    }

    /// Looks for a key; if there is none, once more in the file: where a server owns the directory
    /// and this process only reads it, one may have been made since it was opened.
    private func sought<Key>(_ find: (State) -> Key?) -> Key? {
        if let key = state.change({ find($0) }) { return key }
        let generation = state.change { $0.isReplacing ? nil : $0.file.generation }
        guard let source, let generation,
            let ring = try? Self.open(disk, directory, source), ring.cluster == cluster
        else { return nil }
        let newer = ring.state.change { $0 }
        return state.change { state in
            if newer.file.generation > generation, state.file.generation == generation,
                !state.isReplacing
            {
                state = newer
            }
            return find(state)
        }
    }

    /// What is known of every key, in the order in which they were made.
    package var keys: [KeyInfo] { state.change { $0.file.entries.map(KeyInfo.init) } }

    /// Which KEK wraps them.
    package var kek: KeyID { state.change { $0.kek.id } }

    private func inUse(_ kind: KeyEntry.Kind) -> UInt32 {
        state.change { state in
            let entry = state.file.entries.last { $0.kind == kind && $0.state == .inUse }
            guard let entry else { preconditionFailure("one \(kind) key is always in use") }
            return entry.number
        }
    }

    // MARK: Replacement

    /// Wraps every key with another KEK.
    ///
    /// - Returns: False when they are wrapped with it already.
    /// - Throws: `.io`, `.crypto`; the ring is as before then, the file as before or rewrapped.
    /// - Durability: on disk when this returns
    package func rotate(
        to kek: KeyEncryptionKey, time: WallTime, random: inout RandomBytes
    ) throws(JournalError) -> Bool {
        if self.kek == kek.id { return false }
        try replace(time, &random) { draft, random throws(JournalError) in
            try draft.rewrap(under: kek, &random)
        }
        return true
    }

    /// Makes a new key of a kind; the one in use is kept for what is older.
    ///
    /// - Returns: Its number.
    /// - Throws: `.tooManyKeys`, `.io`, `.crypto`; the ring is as before then.
    /// - Durability: on disk when this returns
    package func renew(
        _ kind: KeyEntry.Kind, time: WallTime, random: inout RandomBytes
    ) throws(JournalError) -> UInt32 {
        try replace(time, &random) { draft, random throws(JournalError) in
            try draft.add(kind, time, &random)
        }
    }

    /// Forgets keys of which nothing is left that needs them.
    ///
    /// - Precondition: none of them is in use.
    /// - Throws: `.io`, `.crypto`; the ring is as before then.
    /// - Durability: on disk when this returns
    package func drop(
        _ numbers: Set<UInt32>, time: WallTime, random: inout RandomBytes
    ) throws(JournalError) {
        try replace(time, &random) { draft, _ throws(JournalError) in draft.drop(numbers) }
    }

    /// Changes a copy of the keys, writes it, and puts it in force.
    @discardableResult
    private func replace<R>(
        _ time: WallTime, _ random: inout RandomBytes,
        _ change: (inout Draft, inout RandomBytes) throws(JournalError) -> R
    ) throws(JournalError) -> R {
        let before: State = state.wait { state in
            if state.isReplacing { return nil }
            state.isReplacing = true
            return state
        }
        var after: State?
        defer {
            state.change { state in
                if let after { state = after }
                state.isReplacing = false
            }
        }
        var draft = Draft(before)
        let result = try change(&draft, &random)
        draft.state.file.generation += 1
        draft.state.file.written = time
        draft.state.file.damage = nil
        draft.state.isUnwritten = false
        draft.state.repairs = []
        do { try draft.state.file.write(disk, directory) } catch { throw .io(error) }
        after = draft.state
        return result
    }

    /// Keys that are being changed.
    private struct Draft {
        var state: State
        var kek: KeyEncryptionKey { state.kek }

        init(_ state: State) { self.state = state }

        mutating func add(
            _ kind: KeyEntry.Kind, _ time: WallTime, _ random: inout RandomBytes
        ) throws(JournalError) -> UInt32 {
            let number = (state.file.entries.last?.number ?? 0) + 1
            guard state.file.entries.count < KeyFile.entriesMax, number < .max else {
                throw .tooManyKeys(limit: KeyFile.entriesMax)
            }
            let secret = SecretKey(random: &random)
            state.secrets[number] = secret
            var publicKey = [UInt8](repeating: 0, count: VerifyingKey.byteCount)
            if kind == .signing {
                do throws(CryptoError) {
                    let signer = try SigningKey(seed: secret)
                    publicKey = [UInt8](copying: signer.verifyingKey.span)
                    state.signers[number] = signer
                } catch { throw .crypto(error) }
            }
            for index in state.file.entries.indices
            where state.file.entries[index].kind == kind
                && state.file.entries[index].state == .inUse
            {
                state.file.entries[index].state = .kept
                try wrap(index, &random)
            }
            state.file.entries.append(
                KeyEntry(
                    number: number, kind: kind, state: .inUse, made: time, kek: kek.id,
                    publicKey: publicKey))
            try wrap(state.file.entries.count - 1, &random)
            return number
        }

        /// Says when keys were made that are about to be written for the first time.
        mutating func date(_ time: WallTime) {
            for index in state.file.entries.indices { state.file.entries[index].made = time }
        }

        mutating func rewrap(
            under kek: KeyEncryptionKey, _ random: inout RandomBytes
        ) throws(JournalError) {
            state.kek = kek
            for index in state.file.entries.indices { try wrap(index, &random) }
        }

        mutating func drop(_ numbers: Set<UInt32>) {
            precondition(
                !state.file.entries.contains { numbers.contains($0.number) && $0.state == .inUse },
                "a key in use cannot be dropped")
            state.file.entries.removeAll { numbers.contains($0.number) }
            for number in numbers {
                state.secrets[number] = nil
                state.signers[number] = nil
            }
        }

        private mutating func wrap(
            _ index: Int, _ random: inout RandomBytes
        ) throws(JournalError) {
            var entry = state.file.entries[index]
            guard let secret = state.secrets[entry.number] else {
                preconditionFailure("every key of the ring was unwrapped")
            }
            entry.kek = kek.id
            entry.nonce = random.nonce()
            let nonce = entry.nonce
            let additional = entry.additional(state.file.cluster)
            var sealed = [UInt8](repeating: 0, count: SecretKey.byteCount)
            do throws(CryptoError) {
                var cipher = try MessageCipher(kek.key)
                var target = sealed.mutableSpan
                entry.tag = secret.seal(
                    into: &target, with: &cipher, nonce: nonce, additional: additional.span)
            } catch { throw .crypto(error) }
            entry.sealed = sealed
            state.file.entries[index] = entry
        }
    }
}

/// What is known of a key without knowing it.
package struct KeyInfo: Equatable, Sendable {
    /// Its number.
    package let number: UInt32
    /// What it is for.
    package let kind: KeyEntry.Kind
    /// Whether new things are made with it.
    package let state: KeyEntry.State
    /// When it was made.
    package let made: WallTime
    /// Which KEK wraps it.
    package let kek: KeyID

    /// What an entry says.
    package init(_ entry: KeyEntry) {
        number = entry.number
        kind = entry.kind
        state = entry.state
        made = entry.made
        kek = entry.kek
    }
}
