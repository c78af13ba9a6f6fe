// A disk in memory that keeps apart what was written and what is durable, fails where it is told
// to, and loses power.
//
// Fault model. We survive:
//   - a power cut before any call: every 512-byte sector written since the file's last sync holds
//     its old or its new bytes, each by chance; of each directory's changes since its last sync
//     some first ones happened; a file whose size changed and was not synced has the old or the new
//     size;
//   - a call that fails once with any error, having done nothing, and a failed sync after which the
//     unsynced sectors hold old or new bytes by chance (the cache forgot them);
//   - no space.
// We only detect: a byte that changed after it was durable, a file that was cut, emptied or is
// missing. Not modelled: a sector that is torn inside, a disk that confirms a sync it did not do.

package import TriageBase
package import TriageIO

/// Which calls of the disk count for faults.
package enum SimCall: Hashable, Sendable {
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
    }

    enum NameChange: Sendable {
        case set(String, Int)
        case remove(String)
    }

    struct State: Sendable {
        var files: [Int: Contents] = [:]
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var pendingNames: [NameChange] = []
        var nextFile = 1
        var locks: Set<String> = []
        var nanoseconds: UInt64 = 0
        var random: SeededRandom
        var calls = 0
        var syncs = 0
        var writes = 0
        var changes = 0
        var powerCutAt: Int?
        var failingCall: (number: Int, errno: Errno)?
        var faults: [(call: SimCall, path: String, errno: Errno)] = []
        var capacity: Int?
    }

    let state: Monitor<State>
    static let sectorBytes = 512

    /// An empty disk whose every chance follows from `seed`.
    package init(seed: UInt64 = 0) {
        state = Monitor(State(random: SeededRandom(seed: seed)))
    }

    private init(_ state: State) {
        self.state = Monitor(state)
    }

    // MARK: What tests do to it

    /// The same disk at another place: changes to one are not seen in the other.
    ///
    /// Locks are free there.
    package func copy() -> SimDisk {
        SimDisk(
            state.change { state in
                var copy = state
                copy.locks = []
                return copy
            })
    }

    /// Lets the next call of that kind on a path that ends in `suffix` fail, once.
    package func failNext(_ call: SimCall, on suffix: String = "", _ errno: Errno) {
        state.change { $0.faults.append((call, suffix, errno)) }
    }

    /// Cuts the power before the call with that number; every later call fails.
    package func cutPower(at call: Int?) {
        state.change { $0.powerCutAt = call }
    }

    /// Lets the call with that number fail, having done nothing; nil for none.
    package func failCall(_ number: Int?, _ errno: Errno) {
        state.change { $0.failingCall = number.map { ($0, errno) } }
    }

    /// Calls made so far.
    package var calls: Int { state.change { $0.calls } }
    /// Writes made so far.
    package var writes: Int { state.change { $0.writes } }
    /// Calls made so far that change what a reader sees, but for the lock file.
    package var changes: Int { state.change { $0.changes } }
    /// File syncs made so far.
    package var syncs: Int { state.change { $0.syncs } }

    /// Bounds the bytes of all files together.
    package func limit(bytes: Int?) {
        state.change { $0.capacity = bytes }
    }

    /// What a reader sees of a file; nil if there is none.
    package func bytes(of path: String) -> [UInt8]? {
        state.change { state in state.names[path].flatMap { state.files[$0]?.current } }
    }

    /// Replaces a file's bytes, durably: damage, or another's hand.
    package func replace(_ path: String, with bytes: [UInt8]) {
        state.change { state in
            let id = state.names[path] ?? state.nextFile
            if id == state.nextFile { state.nextFile += 1 }
            state.files[id] = Contents(current: bytes, durable: bytes)
            state.names[path] = id
            state.durableNames[path] = id
        }
    }

    /// Removes a file, durably.
    package func erase(_ path: String) {
        state.change { state in
            state.names[path] = nil
            state.durableNames[path] = nil
        }
    }

    /// Names of all files, in order.
    package var fileNames: [String] { state.change { $0.names.keys.sorted() } }

    /// What is on the disk when the power comes back; chance decides as the fault model says.
    ///
    /// - Parameter seed: Which chances; nil goes on with the disk's own.
    /// - Returns: Another disk; this one stays as it is.
    package func afterPowerCut(seed: UInt64? = nil) -> SimDisk {
        let copy = copy()
        copy.state.change { state in
            if let seed { state.random = SeededRandom(seed: seed) }
            // Each directory is on its own: all may have happened in one, and nothing in another.
            let pending = Dictionary(grouping: state.pendingNames, by: Self.directory)
            for directory in pending.keys.sorted() {
                let changes = pending[directory] ?? []
                let kept = Int(state.random.next() % UInt64(changes.count + 1))
                for change in changes.prefix(kept) { Self.apply(change, &state.durableNames) }
            }
            state.pendingNames = []
            state.names = state.durableNames
            for id in state.files.keys.sorted() {
                guard var file = state.files[id] else { continue }
                Self.settle(&file, &state.random)
                state.files[id] = file
            }
            state.powerCutAt = nil
            state.faults = []
        }
        return copy
    }

    /// Decides by chance which dirty sectors hold their new bytes.
    private static func settle(_ file: inout Contents, _ random: inout SeededRandom) {
        if file.current.count != file.durable.count, random.next() & 1 == 0 {
            file.durable += [UInt8](
                repeating: 0, count: max(0, file.current.count - file.durable.count))
            file.durable.removeLast(max(0, file.durable.count - file.current.count))
        }
        // All old, all new and a mixture are equally likely: long runs of each occur in practice.
        let mode = random.next() % 3
        for sector in file.dirty.sorted() where mode == 0 || mode == 1 && random.next() & 1 == 0 {
            let start = sector * sectorBytes
            let end = min(start + sectorBytes, file.current.count, file.durable.count)
            if start < end {
                file.durable.replaceSubrange(start..<end, with: file.current[start..<end])
            }
        }
        file.current = file.durable
        file.dirty = []
    }

    private static func directory(of change: NameChange) -> String {
        let name =
            switch change {
            case .set(let name, _), .remove(let name): name
            }
        return name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
    }

    private static func apply(_ change: NameChange, _ names: inout [String: Int]) {
        switch change {
        case .set(let name, let id): names[name] = id
        case .remove(let name): names[name] = nil
        }
    }

    // MARK: Disk

    func perform<R: Sendable>(
        _ call: SimCall, _ operation: IOError.Operation, _ path: String,
        _ body: (inout State) -> Result<R, IOError>
    ) throws(IOError) -> R {
        let result: Result<R, IOError> = state.change { state in
            state.calls += 1
            if let cut = state.powerCutAt, state.calls >= cut {
                return .failure(IOError(operation, path: path, .inputOutput))
            }
            if let failing = state.failingCall, state.calls == failing.number {
                return .failure(IOError(operation, path: path, failing.errno))
            }
            let index = state.faults.firstIndex { $0.call == call && path.hasSuffix($0.path) }
            if let index {
                let errno = state.faults.remove(at: index).errno
                if call == .sync, let id = state.names[path], var file = state.files[id] {
                    Self.settle(&file, &state.random)
                    state.files[id] = file
                }
                return .failure(IOError(operation, path: path, errno))
            }
            return body(&state)
        }
        return try result.get()
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
            let id = id
            let bytes: ArraySlice<UInt8> = try disk.perform(.read, .read, path) { state in
                let content = state.files[id]?.current ?? []
                guard offset < content.count else { return .success([]) }
                return .success(content[offset..<min(offset + wanted, content.count)])
            }
            unsafe buffer.withUnsafeMutableBytes { target in
                unsafe bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            }
            return bytes.count
        }

        func write(_ bytes: Span<UInt8>, at offset: Int) throws(IOError) {
            let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
            let id = id
            let path = path
            try disk.perform(.write, .write, path) {
                (state: inout State) -> Result<Void, IOError> in
                state.writes += 1
                state.changes += 1
                return state.store(copy, at: offset, in: id, path)
            }
        }

        func sync() throws(IOError) {
            let id = id
            try disk.perform(.sync, .sync, path) { (state: inout State) -> Result<Void, IOError> in
                state.syncs += 1
                if var file = state.files[id] {
                    file.durable = file.current
                    file.dirty = []
                    state.files[id] = file
                }
                return .success(())
            }
        }

        func allocate(_ count: Int) throws(IOError) {
            let id = id
            let path = path
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
                    state.files[id]?.current = []
                }
                return .success(id)
            }
            switch access {
            case .read, .update, .updateDirect:
                return .failure(IOError(.open, path: path, .notFound))
            case .ensure, .create, .createDirect:
                state.changes += 1
                return .success(state.makeFile(path))
            }
        }
        return File(self, path, id)
    }

    package func list(_ path: String) throws(IOError) -> [DirectoryEntry] {
        try perform(.list, .list, path) { state in
            let prefix = path + "/"
            let names = state.names.keys.filter { $0.hasPrefix(prefix) }.sorted()
            var entries: [DirectoryEntry] = []
            for name in names {
                let rest = name.dropFirst(prefix.count)
                let first = String(rest.prefix { $0 != "/" })
                let entry = DirectoryEntry(name: first, isDirectory: first.count < rest.count)
                if entries.last != entry { entries.append(entry) }
            }
            return .success(entries)
        }
    }

    package func makeDirectory(_ path: String) throws(IOError) {
        try perform(.makeDirectory, .makeDirectory, path) {
            (_: inout State) -> Result<Void, IOError> in .success(())
        }
    }

    package func syncDirectory(_ path: String) throws(IOError) {
        try perform(.syncDirectory, .syncDirectory, path) {
            (state: inout State) -> Result<Void, IOError> in
            let mine = { (change: NameChange) in Self.directory(of: change) == path }
            for change in state.pendingNames where mine(change) {
                Self.apply(change, &state.durableNames)
            }
            state.pendingNames.removeAll(where: mine)
            return .success(())
        }
    }

    package func rename(_ path: String, to newPath: String) throws(IOError) {
        try perform(.rename, .rename, path) { (state: inout State) -> Result<Void, IOError> in
            state.changes += 1
            guard let id = state.names.removeValue(forKey: path) else {
                return .failure(IOError(.rename, path: path, .notFound))
            }
            state.names[newPath] = id
            state.pendingNames += [.remove(path), .set(newPath, id)]
            return .success(())
        }
    }

    package func remove(_ path: String) throws(IOError) {
        try perform(.remove, .remove, path) { (state: inout State) -> Result<Void, IOError> in
            state.changes += 1
            guard state.names.removeValue(forKey: path) != nil else {
                return .failure(IOError(.remove, path: path, .notFound))
            }
            state.pendingNames.append(.remove(path))
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
        state.change { MonotonicTime(nanoseconds: $0.nanoseconds) }
    }

    package func pause(nanoseconds: UInt64) {
        state.change { $0.nanoseconds += nanoseconds }
    }
}

extension SimDisk.State {
    mutating func makeFile(_ path: String) -> Int {
        let id = nextFile
        nextFile += 1
        files[id] = SimDisk.Contents()
        names[path] = id
        pendingNames.append(.set(path, id))
        return id
    }

    func hasRoom(_ bytes: Int) -> Bool {
        guard let capacity else { return true }
        let used = names.values.reduce(0) { $0 + (files[$1]?.current.count ?? 0) }
        return used + bytes <= capacity
    }

    mutating func store(
        _ bytes: [UInt8], at offset: Int, in id: Int, _ path: String
    ) -> Result<Void, IOError> {
        guard var file = files.removeValue(forKey: id) else {
            return .failure(IOError(.write, path: path, .inputOutput))
        }
        defer { files[id] = file }
        let missing = offset + bytes.count - file.current.count
        if missing > 0 {
            files[id] = file
            guard hasRoom(missing) else { return .failure(IOError(.write, path: path, .noSpace)) }
            files[id] = nil
            file.current += [UInt8](repeating: 0, count: missing)
        }
        file.current.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        for sector in offset / SimDisk.sectorBytes...(offset + max(0, bytes.count - 1))
            / SimDisk.sectorBytes
        {
            file.dirty.insert(sector)
        }
        return .success(())
    }
}
