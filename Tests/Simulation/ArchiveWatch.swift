// Looks into the archive: no segment went there with words in it of which the newest snapshot knew
// by then that they were erased. Nothing can be taken out of it any more.

import TestSupport

/// What the last look at the archive has seen.
struct ArchiveWatch {
    /// First sequences of the segments that were there.
    private var segments: Set<UInt64> = []
    /// The newest snapshot: what retires segments after one knows all that is in it.
    private var snapshot: UInt64 = 0

    /// Looks at what has come since.
    mutating func look(
        at path: String, _ disk: SimDisk, _ reader: HistoryReader, _ history: History
    ) throws(Violation) {
        let there = Self.segments(in: path, disk)
        // Of a segment that is in both places the directory's was read.
        let oldest = Self.segments(in: Plan.directory, disk).first ?? 0
        let left = history.unforgotten(reader, erasedUpTo: snapshot).filter { record in
            guard record < oldest, let segment = there.last(where: { $0 <= record }) else {
                return false
            }
            return !segments.contains(segment)
        }
        try require(
            left.isEmpty,
            "the words of records \(left) were erased, and went into the archive after snapshot "
                + "\(snapshot)")
        segments = Set(there)
        snapshot = newestSnapshot(on: disk)
    }

    private static func segments(in path: String, _ disk: SimDisk) -> [UInt64] {
        disk.fileNames.filter { $0.hasPrefix(path + "/") && $0.hasSuffix(".journal") }
            .compactMap { UInt64($0.dropFirst(path.count + 1).prefix(20)) }
    }
}
