// Keeps one spare segment ready: reserved, written full of zeros, synced, under a temporary name,
// so that a commit overwrites blocks that exist. Knows nothing of what goes into a segment.

internal import TriageBase
internal import TriageIO

/// Prepares the next segment, by a helper or when asked.
final class SegmentPreparer: Sendable {
    private enum State: Sendable {
        case idle
        case preparing
        case ready(any DiskFile)
        case failed(IOError, at: MonotonicTime)
    }

    private static let chunkBytes = 256 << 10
    /// After a failure appends fail at once for this long, before the disk is tried again.
    private static let retryNanoseconds: UInt64 = 1_000_000_000

    private let disk: any Disk
    private let path: String
    private let options: StorageOptions
    private let helper: (any Worker)?
    private let state = Monitor(State.idle)

    init(
        _ disk: any Disk, directory: String, options: StorageOptions, helper: (any Worker)?
    ) {
        self.disk = disk
        path = directory + "/" + FileName.spare
        self.options = options
        self.helper = helper
    }

    /// Whether a spare can be taken without waiting.
    var isReady: Bool {
        state.change { state in
            if case .ready = state { true } else { false }
        }
    }

    /// Starts preparing, if there is a helper and nothing is ready or under way.
    func request() {
        guard helper != nil else { return }
        start(paced: true)
    }

    private func start(paced: Bool) {
        let starts = state.change { state in
            switch state {
            case .preparing, .ready: return false
            case .failed(_, let at):
                guard disk.monotonicTime().nanoseconds(since: at) >= Self.retryNanoseconds else {
                    return false
                }
                state = .preparing
            case .idle: state = .preparing
            }
            return true
        }
        guard starts else { return }
        if let helper { helper.submit { [self] in run(paced: paced) } } else { run(paced: paced) }
    }

    /// Waits until a spare is ready.
    ///
    /// - Throws: `.noSpace` when the disk, or the system, has no room for it; `.io`. The next call
    ///   tries again, but not more often than once a second.
    func waitUntilReady() throws(JournalError) {
        start(paced: false)
        let settled = { (state: inout State) -> Result<Void, IOError>? in
            switch state {
            case .ready: .success(())
            case .failed(let error, _): .failure(error)
            case .idle, .preparing: nil
            }
        }
        // Without a helper it is settled by now.
        let workers = options.workers ?? SystemWorkers()
        guard case .failure(let failure)? = workers.wait(on: state, before: .never, until: settled)
        else { return }
        switch failure.errno {
        case .noSpace, .quotaExceeded, .tooManyFiles, .tooManyFilesInSystem, .noMemory:
            throw .noSpace(failure)
        default: throw .io(failure)
        }
    }

    /// The spare, for the caller to rename.
    ///
    /// It was never closed, so that taking it needs no descriptor when there is none left.
    func take() -> any DiskFile {
        state.change { state in
            guard case .ready(let file) = state else {
                preconditionFailure("nothing goes into a segment that is not prepared")
            }
            state = .idle
            return file
        }
    }

    private func run(paced: Bool) {
        let result: State
        do {
            result = .ready(
                try prepare(bytesPerSecond: paced ? options.preparationBytesPerSecond : nil))
        } catch {
            // Gives the room back; if even that fails, the next attempt cuts the file anyway.
            try? disk.remove(path)
            result = .failed(error, at: disk.monotonicTime())
        }
        state.change { $0 = result }
    }

    private func prepare(bytesPerSecond: Int?) throws(IOError) -> any DiskFile {
        let file = try disk.open(path, .createDirect)
        try file.allocate(options.segmentBytes)
        let zeros = PageBuffer(capacity: Self.chunkBytes)
        var pacer = Pacer(disk, bytesPerSecond: bytesPerSecond)
        var offset = 0
        while offset < options.segmentBytes {
            let count = min(Self.chunkBytes, options.segmentBytes - offset)
            try file.write(zeros.span(0..<count), at: offset)
            offset += count
            pacer.wrote(count)
        }
        try file.sync()
        return file
    }
}
