// Writes the blocks of a file on a thread of its own, in order, while the next one is being made:
// what fills, encrypts and sums a block does not wait for the disk. Knows nothing of what they say.

internal import TriageBase
internal import TriageIO

/// The blocks of a file, written behind whoever makes them.
///
/// - Isolation: one thread at a time.
final class BlocksBehind {
    /// A block on its way to the disk, or back.
    ///
    /// `@unchecked Sendable`: owned by the thread that makes, then by the one that writes.
    private final class Block: @unchecked Sendable {
        /// nil only while a call changes it.
        var memory: PageBuffer?

        init(capacity: Int) { memory = .some(PageBuffer(capacity: capacity)) }

        func write(to file: any DiskFile, _ count: Int, at offset: Int) throws(IOError) {
            guard let memory = memory.take() else { preconditionFailure("memory is put back") }
            var failure: IOError?
            do throws(IOError) { try file.write(memory, 0..<count, at: offset) } catch {
                failure = error
            }
            self.memory = .some(memory)
            if let failure { throw failure }
        }

        func swap(_ other: inout PageBuffer) {
            guard var memory = memory.take() else { preconditionFailure("memory is put back") }
            Swift.swap(&memory, &other)
            self.memory = .some(memory)
        }
    }

    private struct State: Sendable {
        var spares: [Block]
        /// The first failure: nothing is written after it.
        var failure: IOError?
    }

    /// One is written while another waits.
    private static let blocksMax = 2

    private let file: any DiskFile
    private let source: any WorkerSource
    private let thread: (any Worker)?
    private let state: Monitor<State>

    /// Begins.
    ///
    /// - Parameters:
    ///   - file: What is written.
    ///   - blockBytes: Bytes of a block, mostly.
    ///   - workers: Where the thread comes from; nil, or when the system has none left: blocks are
    ///     written by whoever hands them over.
    init(_ file: any DiskFile, blockBytes: Int, workers: (any WorkerSource)?) {
        self.file = file
        source = workers ?? SystemWorkers()
        thread = try? workers?.makeWorker(name: "snapshot disk", urgency: .background)
        let count = thread == nil ? 0 : Self.blocksMax
        state = Monitor(State(spares: (0..<count).map { _ in Block(capacity: blockBytes) }))
    }

    deinit { thread?.stop() }

    /// Writes a block, or hands it over to be written.
    ///
    /// - Parameters:
    ///   - memory: Holds it; afterwards other memory, with anything in it.
    ///   - count: Its bytes, from the first one on.
    ///   - offset: Where it goes in the file.
    /// - Throws: ``IOError`` of this block or of one before it; final.
    func write(_ memory: inout PageBuffer, _ count: Int, at offset: Int) throws(IOError) {
        guard let thread else { return try file.write(memory, 0..<count, at: offset) }
        let block = try spare()
        block.swap(&memory)
        let (file, state) = (file, state)
        thread.submit { Self.write(block, to: file, count, at: offset, state) }
    }

    /// Waits until everything that was handed over is written.
    ///
    /// - Throws: ``IOError`` of any of it.
    func finish() throws(IOError) {
        guard thread != nil else { return }
        let failure: IOError?? = source.wait(on: state, before: .never) { state in
            state.spares.count == Self.blocksMax ? .some(state.failure) : nil
        }
        if let failure = failure ?? nil { throw failure }
    }

    private func spare() throws(IOError) -> Block {
        let spare: Result<Block, IOError>? = source.wait(on: state, before: .never) { state in
            if let failure = state.failure { return .failure(failure) }
            return state.spares.popLast().map { .success($0) }
        }
        guard let spare else { preconditionFailure("it waits without an end") }
        return try spare.get()
    }

    private static func write(
        _ block: Block, to file: any DiskFile, _ count: Int, at offset: Int, _ state: Monitor<State>
    ) {
        var failure = state.change { $0.failure }
        if failure == nil {
            do throws(IOError) { try block.write(to: file, count, at: offset) } catch {
                failure = error
            }
        }
        state.change {
            $0.failure = failure
            $0.spares.append(block)
        }
    }
}
