// What tests do to a simulated disk: let calls fail, cut the power, damage what is durable. The
// fault model is at the head of SimDisk.swift.

internal import TriageBase
package import TriageIO

/// What a disk does by itself, by chance.
package struct SimChances: Sendable {
    /// Of 65,536 calls of ``calls``, how many fail.
    package var failing: UInt64 = 0
    /// Which calls may fail.
    package var calls: [SimCall] = []
    /// How they fail.
    package var errno = Errno.inputOutput
    /// On which paths: those that end in this.
    package var suffix = ""
    /// Of 65,536 calls, how many take up to ``slowNanoseconds``.
    package var slow: UInt64 = 0
    /// The longest that a call takes.
    package var slowNanoseconds: UInt64 = 0
    /// What a call usually takes.
    package var nanoseconds: UInt64 = 0

    /// A disk without faults that takes no time.
    package init() {}
}

/// A call that failed although the power was on.
package struct SimFailure: Sendable {
    /// Which.
    package let call: SimCall
    /// On which file or directory.
    package let path: String
    /// How.
    package let errno: Errno
}

extension SimDisk {
    // MARK: Failing calls

    /// Lets the next call of that kind on a path that ends in `suffix` fail, once.
    package func failNext(_ call: SimCall, on suffix: String = "", _ errno: Errno) {
        state.change { $0.faults.append((call, suffix, errno)) }
    }

    /// Lets the call with that number fail, having done nothing; nil for none.
    package func failCall(_ number: Int?, _ errno: Errno) {
        state.change { $0.failingCall = number.map { ($0, errno) } }
    }

    /// Sets what the disk does by itself.
    package func setChances(_ chances: SimChances) { state.change { $0.chances = chances } }

    /// Bounds the bytes of all files together.
    package func limit(bytes: Int?) {
        state.change { $0.capacity = bytes }
    }

    /// Whether there is such a bound.
    package var isLimited: Bool { state.change { $0.capacity != nil } }

    /// Bytes of all files together.
    package var bytesUsed: Int {
        state.change { $0.bytesUsed }
    }

    /// Cuts the power at the call with that number, before, in or after it; every later call fails.
    package func cutPower(at call: Int?) {
        state.change { $0.powerCutAt = call }
    }

    /// Whether the power has been cut.
    package var isOff: Bool { state.change { $0.isOff } }

    // MARK: What happened

    /// Calls made so far.
    package var calls: Int { state.change { $0.calls } }
    /// Writes made so far.
    package var writes: Int { state.change { $0.writes } }
    /// Calls made so far that change what a reader sees, but for the lock file.
    package var changes: Int { state.change { $0.changes } }
    /// File syncs made so far.
    package var syncs: Int { state.change { $0.syncs } }
    /// Calls that failed while the power was on, but for those that had no space.
    package var failures: [SimFailure] { state.change { $0.failures } }

    // MARK: What is there

    /// What a reader sees of a file; nil if there is none.
    package func bytes(of path: String) -> [UInt8]? {
        state.change { state in state.names[path].flatMap { state.files[$0]?.current } }
    }

    /// What is left of a file if nothing more of it is synced; nil if there is none.
    package func syncedBytes(of path: String) -> [UInt8]? {
        state.change { state in state.names[path].flatMap { state.files[$0]?.durable } }
    }

    /// Names of all files, in order.
    package var fileNames: [String] { state.change { $0.names.keys.sorted() } }

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

    /// Makes a sector of a file unreadable, until it is written.
    package func spoil(_ path: String, sector: Int) {
        state.change { state in
            guard let id = state.names[path] else { return }
            state.files[id]?.unreadable.insert(sector)
        }
    }

    /// Keeps files whose name ends in `suffix`, when they are removed, in a directory that is the
    /// test's own.
    package func keepRemoved(_ suffix: String, in directory: String) {
        state.change { $0.grave = (suffix, directory) }
    }

    /// Removes a file, or a directory with all that is in it, durably.
    package func erase(_ path: String) {
        state.change { state in
            state.directories.remove(path)
            let mine = { (name: String) in name == path || name.hasPrefix(path + "/") }
            state.names = state.names.filter { !mine($0.key) }
            state.durableNames = state.durableNames.filter { !mine($0.key) }
        }
    }

    // MARK: Other disks

    /// The same disk at another place: changes to one are not seen in the other.
    ///
    /// Locks are free there.
    package func copy() -> SimDisk {
        var copy = state.change { $0 }
        copy.locks = []
        return SimDisk(copy, threads)
    }

    /// The disk as the next process finds it when this one was killed: nothing is lost of what was
    /// written, and nothing of it is durable that was not.
    ///
    /// - Returns: Another disk, without faults; this one stays as it is.
    package func afterKill() -> SimDisk {
        let copy = copy()
        copy.state.change { $0.mend() }
        return copy
    }

    /// What is on the disk when the power comes back; chance decides as the fault model says.
    ///
    /// - Parameter seed: Which chances; nil goes on with the disk's own.
    /// - Returns: Another disk, without faults; this one stays as it is.
    package func afterPowerCut(seed: UInt64? = nil) -> SimDisk {
        let copy = copy()
        copy.state.change { state in
            if let seed { state.random = SeededRandom(seed: seed) }
            state.mend()
            // Each directory is on its own, and either all, some first, or any of its changes have
            // happened.
            let pending = Dictionary(grouping: state.pendingNames, by: \.directory)
            for directory in pending.keys.sorted() {
                let changes = pending[directory] ?? []
                let isOrdered = state.random.next() & 1 == 0
                let kept = Int(state.random.next() % UInt64(changes.count + 1))
                for (index, change) in changes.enumerated()
                where isOrdered ? index < kept : state.random.next() & 1 == 0 {
                    change.apply(to: &state.durableNames)
                }
            }
            state.pendingNames = []
            state.names = state.durableNames
            for id in state.files.keys.sorted() {
                guard var file = state.files.removeValue(forKey: id) else { continue }
                file.settle(&state.random)
                file.current = file.durable
                state.files[id] = file
            }
        }
        return copy
    }
}

extension SimDisk.State {
    /// Ends every fault.
    mutating func mend() {
        powerCutAt = nil
        isOff = false
        failingCall = nil
        faults = []
        chances = SimChances()
        capacity = nil
        failures = []
    }

    /// Whether a call fails, and how.
    mutating func fault(_ call: SimCall, _ path: String) -> Errno? {
        if let index = faults.firstIndex(where: { $0.call == call && path.hasSuffix($0.path) }) {
            return faults.remove(at: index).errno
        }
        guard chances.failing > 0, chances.calls.contains(call), path.hasSuffix(chances.suffix),
            random.next() & 0xFFFF < chances.failing
        else { return nil }
        return chances.errno
    }

    /// How long the next call takes.
    mutating func delay() -> UInt64 {
        guard chances.slow > 0, random.next() & 0xFFFF < chances.slow else {
            return chances.nanoseconds
        }
        return random.next() % (chances.slowNanoseconds + 1)
    }

    /// A write that ends in the middle: its first sectors, or any of them.
    mutating func storePart(_ bytes: [UInt8], at offset: Int, in id: Int, _ path: String) {
        let sector = SimDisk.sectorBytes
        var pieces: [Range<Int>] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, ((offset + start) / sector + 1) * sector - offset)
            pieces.append(start..<end)
            start = end
        }
        let isShort = random.next() & 1 == 0
        let kept = Int(random.next() % UInt64(pieces.count + 1))
        for (index, piece) in pieces.enumerated()
        where isShort ? index < kept : random.next() & 1 == 0 {
            changes += 1
            _ = store(Array(bytes[piece]), at: offset + piece.lowerBound, in: id, path)
        }
    }

    /// A sync that fails: by chance the cache goes on to show what is not on the disk.
    mutating func failSync(_ id: Int) {
        guard var file = files.removeValue(forKey: id) else { return }
        let shown = file.current
        file.settle(&random)
        if random.next() & 1 == 0 { file.current = file.durable } else { file.current = shown }
        files[id] = file
    }
}
