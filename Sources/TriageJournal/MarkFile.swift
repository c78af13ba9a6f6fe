// The second mark: the journal's head, remembered in another file, so that a journal that was cut
// at a batch's end does not pass for a shorter one (FORMAT.md §7).

internal import TriageBase
internal import TriageIO

/// The mark file: two slots, written in turn.
final class MarkFile: Sendable {
    private struct State: Sendable {
        var generation: UInt64
        var failures = 0
    }

    private let file: any DiskFile
    private let cluster: ClusterID
    private let state: Monitor<State>

    init(file: any DiskFile, cluster: ClusterID, generation: UInt64) {
        self.file = file
        self.cluster = cluster
        state = Monitor(State(generation: generation))
    }

    /// Marks not written because of an error.
    var failures: Int { state.change { $0.failures } }

    /// Overwrites the older slot with `head`.
    ///
    /// An error is counted; the newer slot stays true.
    func write(_ head: JournalHead, _ time: WallTime) {
        let generation = state.change { state in
            state.generation += 1
            return state.generation
        }
        var block = PageBuffer(capacity: Format.blockBytes)
        HeaderBlock(
            kind: .mark, cluster: cluster, sequence: head.sequence, time: time, size: generation,
            chain: head.chain
        ).store(in: &block)
        do {
            let offset = Int(generation % 2) * Format.blockBytes
            try file.write(block.span(0..<Format.blockBytes), at: offset)
            try file.sync()
        } catch {
            state.change { $0.failures += 1 }
        }
    }

    /// Reads the newer good slot.
    ///
    /// One bad slot is what a crash while writing leaves behind; two are damage.
    static func read(
        _ file: any DiskFile, _ cluster: ClusterID
    ) throws(JournalError) -> HeaderBlock {
        var best: HeaderBlock?
        var error: JournalError?
        for slot in 0..<2 {
            do {
                let header = try readHeader(
                    of: file, .mark, FileName.mark, cluster, at: slot * Format.blockBytes)
                if header.size > best?.size ?? 0 { best = header }
            } catch .dataLoss(let file, let offset, let what) {
                error = .dataLoss(file: file, offset: offset, what: what)
            }
        }
        if let best { return best }
        throw error ?? .dataLoss(file: FileName.mark, offset: 0, what: "no mark in it")
    }
}
