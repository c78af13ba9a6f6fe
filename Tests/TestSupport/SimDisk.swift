// A disk in memory that keeps apart what was written and what is durable, fails where it is told
// to or by chance, and loses power.
//
// Fault model. We survive:
//   - a power cut before, in or after any call: every 512-byte sector written since the file's last
//     sync holds its old or its new bytes, each by chance; each change of names since the
//     directory's last sync has happened or not, each by chance; a file whose size changed and was
//     not synced has the old or the new size;
//   - a process that is killed before, in or after any call: what it wrote is there, and durable
//     only once somebody syncs it; the write that it was in has reached some of its sectors;
//   - a call that fails with any error: a write has then reached some of its sectors (a short
//     write), any other call has done nothing;
//   - a failed sync: unsynced sectors hold old or new bytes, each by chance, and what is read back
//     is either that, or still the new bytes, which a later sync does not write any more;
//   - no space, for a while; a disk that is slow, for a while.
// We only detect: a byte that changed after it was durable, a sector that cannot be read, that was
// written to another place or not at all although its sync succeeded, one that is torn inside; a
// file that was cut, emptied or is missing. Not modelled: a directory that changes by itself.

package import TriageBase
package import TriageIO

/// Which calls of the disk count for faults.
package enum SimCall: Hashable, CaseIterable, Sendable {
    case open, read, write, sync, allocate, list, makeDirectory, syncDirectory, rename, remove, lock
}

/// A simulated disk.
package final class SimDisk: Disk {
    struct Contents: Sendable {
        /// What a reader sees.
        var current: [UInt8] = []
        /// What a power cut leaves, but for the dirty sectors.
        var durable: [UInt8] = []
        /// Sectors written since the last sync.
        var dirty: Set<Int> = []
        /// Whether the file was emptied since the last sync.
        var wasEmptied = false
        /// Sectors that cannot be read until they are written.
        var unreadable: Set<Int> = []
    }

    /// One change of names, which happens whole or not at all.
    struct NameChange: Sendable {
        var removed: String?
        var added: (name: String, file: Int)?
    }

    struct State: Sendable {
        var files: [Int: Contents] = [:]
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var pendingNames: [NameChange] = []
        var directories: Set<String> = []
        var nextFile = 1
        var locks: Set<String> = []
        var nanoseconds: UInt64 = 0
        var random: SeededRandom
        var calls = 0
        var syncs = 0
        var writes = 0
        var changes = 0
        var powerCutAt: Int?
        var isOff = false
        var failingCall: (number: Int, errno: Errno)?
        var faults: [(call: SimCall, path: String, errno: Errno)] = []
        var chances = SimChances()
        var capacity: Int?
        /// Where files of the suffix go that are removed, for a test to read.
        var grave: (suffix: String, directory: String)?
        /// Failures so far, those of a power cut left out.
        var failures: [SimFailure] = []
    }

    let state: Monitor<State>
    let threads: SimThreads?
    static let sectorBytes = 512

    /// An empty disk whose every chance follows from `seed`.
    ///
    /// - Parameters:
    ///   - seed: Decides every chance.
    ///   - threads: Whose time passes, and who take turns, at each call; nil: the caller alone.
    package init(seed: UInt64 = 0, threads: SimThreads? = nil) {
        state = Monitor(State(random: SeededRandom(seed: seed)))
        self.threads = threads
    }

    init(_ state: State, _ threads: SimThreads?) {
        self.state = Monitor(state)
        self.threads = threads
    }

    // MARK: Calls

    /// Carries out one call, or lets it fail.
    ///
    /// - Parameters:
    ///   - call: Which.
    ///   - operation: For the error.
    ///   - path: On which file or directory.
    ///   - partly: What a call leaves behind that ends in the middle.
    ///   - body: The call.
    /// - Returns: What the call gives.
    /// - Throws: ``IOError`` when the call fails.
    func perform<R: Sendable>(
        _ call: SimCall, _ operation: IOError.Operation, _ path: String,
        partly: (inout State) -> Void = { _ in }, _ body: (inout State) -> Result<R, IOError>
    ) throws(IOError) -> R {
        wait()
        let result: Result<R, IOError> = state.change { state in
            state.calls += 1
            func failed(_ errno: Errno) -> Result<R, IOError> {
                .failure(IOError(operation, path: path, errno))
            }
            if state.isOff { return failed(.inputOutput) }
            if let cut = state.powerCutAt, state.calls >= cut {
                state.isOff = true
                // Before, in or after it.
                switch state.random.next() % 3 {
                case 0: break
                case 1: partly(&state)
                default: _ = body(&state)
                }
                return failed(.inputOutput)
            }
            if let failing = state.failingCall, state.calls == failing.number {
                return failed(failing.errno)
            }
            guard let errno = state.fault(call, path) else { return body(&state) }
            partly(&state)
            state.failures.append(SimFailure(call: call, path: path, errno: errno))
            return failed(errno)
        }
        return try result.get()
    }

    /// Lets others come first, and time pass.
    private func wait() {
        guard let threads else { return }
        let delay = state.change { $0.delay() }
        if delay > 10_000_000 {
            threads.pause(nanoseconds: delay)
        } else {
            threads.take(nanoseconds: delay)
        }
        threads.pass()
    }

    private final class File: DiskFile {
        let disk: SimDisk
        let path: String
        let id: Int

        init(_ disk: SimDisk, _ path: String, _ id: Int) {
            self.disk = disk
            self.path = path
            self.id = id
        }

        func read(into buffer: inout MutableSpan<UInt8>, at offset: Int) throws(IOError) -> Int {
            let wanted = buffer.count
            let (id, path) = (id, path)
            let bytes: ArraySlice<UInt8> = try disk.perform(.read, .read, path) { state in
                guard let file = state.files[id], offset < file.current.count else {
                    return .success([])
                }
                let range = offset..<min(offset + wanted, file.current.count)
                if file.unreadable.contains(where: { Self.sector($0).overlaps(range) }) {
                    return .failure(IOError(.read, path: path, .inputOutput))
                }
                return .success(file.current[range])
            }
            unsafe buffer.withUnsafeMutableBytes { target in
                unsafe bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            }
            return bytes.count
        }

        private static func sector(_ index: Int) -> Range<Int> {
            index * sectorBytes..<(index + 1) * sectorBytes
        }

        func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError) {
            let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
            let (id, path) = (id, path)
            try disk.perform(
                .write, .write, path,
                partly: { $0.storePart(copy, at: offset, in: id, path) }
            ) { (state: inout State) -> Result<Void, IOError> in
                state.writes += 1
                state.changes += 1
                return state.store(copy, at: offset, in: id, path)
            }
        }

        func sync() throws(IOError) {
            let id = id
            try disk.perform(
                .sync, .sync, path, partly: { $0.failSync(id) }
            ) { (state: inout State) -> Result<Void, IOError> in
                state.syncs += 1
                if var file = state.files.removeValue(forKey: id) {
                    file.sync()
                    state.files[id] = file
                }
                return .success(())
            }
        }

        func allocate(_ count: Int) throws(IOError) {
            let (id, path) = (id, path)
            try disk.perform(.allocate, .allocate, path) {
                (state: inout State) -> Result<Void, IOError> in
                let missing = count - (state.files[id]?.current.count ?? 0)
                guard missing > 0 else { return .success(()) }
                guard state.hasRoom(missing) else {
                    return .failure(IOError(.allocate, path: path, .noSpace))
                }
                state.files[id]?.current += [UInt8](repeating: 0, count: missing)
                return .success(())
            }
        }

        func size() throws(IOError) -> Int {
            let id = id
            return disk.state.change { $0.files[id]?.current.count ?? 0 }
        }
    }

    private final class Lock: DiskLock {
        let disk: SimDisk
        let path: String

        init(_ disk: SimDisk, _ path: String) {
            self.disk = disk
            self.path = path
        }

        deinit {
            let path = path
            disk.state.change { _ = $0.locks.remove(path) }
        }
    }

    package func open(_ path: String, _ access: FileAccess) throws(IOError) -> any DiskFile {
        let id: Int = try perform(.open, .open, path) { state in
            if let id = state.names[path] {
                switch access {
                case .read, .update, .updateDirect, .ensure: break
                case .create, .createDirect:
                    state.changes += 1
                    state.files[id]?.empty()
                case .exclusive: return .failure(IOError(.open, path: path, .exists))
                }
                return .success(id)
            }
            switch access {
            case .read, .update, .updateDirect:
                return .failure(IOError(.open, path: path, .notFound))
            case .ensure, .create, .createDirect, .exclusive:
                state.changes += 1
                return .success(state.makeFile(path))
            }
        }
        return File(self, path, id)
    }

    package func list(_ path: String) throws(IOError) -> [DirectoryEntry] {
        try perform(.list, .list, path) { state in
            guard let entries = state.entries(of: path) else {
                return .failure(IOError(.list, path: path, .notFound))
            }
            return .success(entries)
        }
    }

    package func makeDirectory(_ path: String) throws(IOError) {
        try perform(.makeDirectory, .makeDirectory, path) {
            (state: inout State) -> Result<Void, IOError> in
            if state.names[path] != nil {
                return .failure(IOError(.makeDirectory, path: path, .notDirectory))
            }
            state.directories.insert(path)
            return .success(())
        }
    }

    package func syncDirectory(_ path: String) throws(IOError) {
        try openDirectory(path).sync()
    }

    private func sync(directory path: String) throws(IOError) {
        try perform(.syncDirectory, .syncDirectory, path) {
            (state: inout State) -> Result<Void, IOError> in
            let mine = { (change: NameChange) in change.directory == path }
            for change in state.pendingNames where mine(change) {
                change.apply(to: &state.durableNames)
            }
            state.pendingNames.removeAll(where: mine)
            return .success(())
        }
    }

    private final class OpenDirectory: DiskDirectory {
        let disk: SimDisk
        let path: String

        init(_ disk: SimDisk, _ path: String) {
            self.disk = disk
            self.path = path
        }

        func sync() throws(IOError) { try disk.sync(directory: path) }
    }

    package func openDirectory(_ path: String) throws(IOError) -> any DiskDirectory {
        try perform(.open, .syncDirectory, path) { _ in .success(OpenDirectory(self, path)) }
    }

    package func rename(_ path: String, to newPath: String) throws(IOError) {
        try perform(.rename, .rename, path) { (state: inout State) -> Result<Void, IOError> in
            state.changes += 1
            guard let id = state.names.removeValue(forKey: path) else {
                return .failure(IOError(.rename, path: path, .notFound))
            }
            state.names[newPath] = id
            state.pendingNames.append(NameChange(removed: path, added: (newPath, id)))
            return .success(())
        }
    }

    package func remove(_ path: String) throws(IOError) {
        try perform(.remove, .remove, path) { (state: inout State) -> Result<Void, IOError> in
            state.changes += 1
            guard let id = state.names.removeValue(forKey: path) else {
                return .failure(IOError(.remove, path: path, .notFound))
            }
            state.bury(path, id)
            state.pendingNames.append(NameChange(removed: path))
            return .success(())
        }
    }

    package func lock(_ path: String) throws(IOError) -> LockOutcome {
        let taken: Bool = try perform(.lock, .lock, path) { state in
            guard !state.locks.contains(path) else { return .success(false) }
            state.locks.insert(path)
            if state.names[path] == nil { _ = state.makeFile(path) }
            return .success(true)
        }
        return taken ? .acquired(Lock(self, path)) : .held(processID: 1)
    }

    package func monotonicTime() -> MonotonicTime {
        threads?.monotonicTime() ?? state.change { MonotonicTime(nanoseconds: $0.nanoseconds) }
    }

    package func pause(nanoseconds: UInt64) {
        if let threads { return threads.pause(nanoseconds: nanoseconds) }
        state.change { $0.nanoseconds += nanoseconds }
    }
}

extension SimDisk.NameChange {
    /// The directory that it is in; files are never moved to another one.
    var directory: String {
        let name = removed ?? added?.name ?? ""
        return name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
    }

    func apply(to names: inout [String: Int]) {
        if let removed { names[removed] = nil }
        if let added { names[added.name] = added.file }
    }
}

extension SimDisk.Contents {
    mutating func empty() {
        current = []
        dirty = []
        unreadable = []
        wasEmptied = true
    }

    /// Makes durable what was written since the last sync, and nothing that was written before a
    /// sync that failed.
    mutating func sync() {
        if wasEmptied { durable = [] }
        resize()
        for sector in dirty { copySector(sector) }
        dirty = []
        wasEmptied = false
    }

    /// Gives what is durable the length of what is read.
    mutating func resize() {
        durable += [UInt8](repeating: 0, count: max(0, current.count - durable.count))
        durable.removeLast(max(0, durable.count - current.count))
    }

    mutating func copySector(_ sector: Int) {
        let start = sector * SimDisk.sectorBytes
        let end = min(start + SimDisk.sectorBytes, current.count, durable.count)
        if start < end { durable.replaceSubrange(start..<end, with: current[start..<end]) }
    }

    /// Decides by chance what of the unsynced is durable after all.
    mutating func settle(_ random: inout SeededRandom) {
        if current.count != durable.count, random.next() & 1 == 0 { resize() }
        // All old, all new and a mixture are equally likely: long runs of each occur in practice.
        let mode = random.next() % 3
        for sector in dirty.sorted() where mode == 0 || mode == 1 && random.next() & 1 == 0 {
            copySector(sector)
        }
        dirty = []
        wasEmptied = false
    }
}

extension SimDisk.State {
    mutating func makeFile(_ path: String) -> Int {
        let id = nextFile
        nextFile += 1
        files[id] = SimDisk.Contents()
        names[path] = id
        pendingNames.append(SimDisk.NameChange(added: (path, id)))
        return id
    }

    mutating func bury(_ path: String, _ id: Int) {
        guard let grave, path.hasSuffix(grave.suffix), let bytes = files[id]?.current,
            let slash = path.lastIndex(of: "/")
        else { return }
        let name = grave.directory + path[slash...]
        files[nextFile] = SimDisk.Contents(current: bytes, durable: bytes)
        names[name] = nextFile
        durableNames[name] = nextFile
        nextFile += 1
    }

    /// Names in a directory; nil when there is none.
    func entries(of path: String) -> [DirectoryEntry]? {
        let prefix = path + "/"
        func own(_ name: String) -> String? {
            guard name.hasPrefix(prefix) else { return nil }
            let rest = name.dropFirst(prefix.count)
            return rest.contains("/") ? nil : String(rest)
        }
        let found =
            names.keys.compactMap(own).map { DirectoryEntry(name: $0, isDirectory: false) }
            + directories.compactMap(own).map { DirectoryEntry(name: $0, isDirectory: true) }
        if found.isEmpty, !directories.contains(path) { return nil }
        return found.sorted { $0.name < $1.name }
    }

    func hasRoom(_ bytes: Int) -> Bool {
        guard let capacity else { return true }
        return bytesUsed + bytes <= capacity
    }

    var bytesUsed: Int {
        names.reduce(0) { sum, each in
            if let grave, each.key.hasPrefix(grave.directory + "/") { return sum }
            return sum + (files[each.value]?.current.count ?? 0)
        }
    }

    mutating func store(
        _ bytes: [UInt8], at offset: Int, in id: Int, _ path: String
    ) -> Result<Void, IOError> {
        guard let length = files[id]?.current.count else {
            return .failure(IOError(.write, path: path, .inputOutput))
        }
        let missing = offset + bytes.count - length
        guard missing <= 0 || hasRoom(missing) else {
            return .failure(IOError(.write, path: path, .noSpace))
        }
        guard !bytes.isEmpty, var file = files.removeValue(forKey: id) else { return .success(()) }
        if missing > 0 { file.current += [UInt8](repeating: 0, count: missing) }
        file.current.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        let last = (offset + bytes.count - 1) / SimDisk.sectorBytes
        for sector in offset / SimDisk.sectorBytes...last {
            file.dirty.insert(sector)
            file.unreadable.remove(sector)
        }
        files[id] = file
        return .success(())
    }
}
